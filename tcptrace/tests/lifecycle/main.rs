//! Every lifecycle case is a file: `GROUP/CASE.tcp`, in the language of [`tcptrace::script`]. Each is played at three
//! levels, and all must give what it expects: its segments straight to the tracker; as packets through the header parser
//! and the lifecycle test in user space; and as packets through the loaded kernel programs, which needs root and BPF.

mod cases;
mod demands;
mod kernel;
mod packet;
mod packets;

use libtest_mimic::Arguments;
use std::process::ExitCode;

#[expect(clippy::print_stdout, reason = "what is not played everywhere must be seen")]
fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let cases = cases::all();
    let mut trials = cases::trials(&cases);
    trials.extend(demands::trials(&cases));
    trials.extend(packets::trials(&cases));
    trials.extend(kernel::trials(&cases));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        print!("{}", cases::restricted(&cases));
    }
    conclusion.exit_code()
}
