//! Captures that nobody here wrote. They are not part of the project: `TCPTRACE_CORPUS` says where they are, else they
//! are looked for in `../shared/corpus` beside the workspace. Where they are in neither place, every test here counts
//! as ignored.

mod corpus;
mod reader;
mod writer;

use corpus::Corpus;
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = match Corpus::find() {
        Some(corpus) => {
            let mut trials = reader::trials(&corpus);
            trials.extend(writer::trials(&corpus));
            trials
        }
        None => vec![Trial::test("the corpus was not found", || Ok(())).with_ignored_flag(true)],
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}
