//! Captures that nobody here wrote. They are not part of the project: `TCPTRACE_CORPUS` says where they are, else they
//! are looked for in `../shared/corpus` beside the workspace. Where they are in neither place, every test here counts
//! as ignored. At the end of the run come the tables of what was compared.

mod case;
mod corpus;
mod filters;
mod invariants;
mod kernel;
mod ours;
mod reader;
mod stream;
mod tally;
mod truth;
mod writer;
mod zeek;

use corpus::Corpus;
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

#[expect(clippy::print_stdout, reason = "the tables are what these tests are run for")]
fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tables = tally::Tables::default();
    let trials = match Corpus::find() {
        Some(corpus) => {
            let mut trials = reader::trials(&corpus);
            trials.extend(writer::trials(&corpus));
            trials.extend(truth::trials(&corpus, &tables));
            trials.extend(zeek::trials(&corpus, &tables));
            trials.extend(kernel::trials(&corpus, &tables));
            trials.extend(invariants::trials(&corpus));
            trials.push(filters::trial(&corpus, &tables));
            trials
        }
        None => vec![Trial::test("the corpus was not found", || Ok(())).with_ignored_flag(true)],
    };
    let conclusion = libtest_mimic::run(&arguments, trials);
    print!("{tables}");
    conclusion.exit_code()
}
