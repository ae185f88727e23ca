//! What is said of the sockets of this host: who uses them, and what the kernel knows of them at the end. The truth comes from
//! the processes themselves, and from `ss`, which asks the kernel. Needs root, `ip` and `nft`; fails without them.

mod cgroups;
mod numbers;
mod owners;
mod processes;
mod roles;

use libtest_mimic::{Arguments, Failed, Trial};
use std::process::ExitCode;

/// A test by its name. It fails by a panic.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    // Processes that the tests need are this program once more.
    if roles::play() {
        return ExitCode::SUCCESS;
    }
    let tests = [cgroups::TESTS, numbers::TESTS, owners::TESTS, processes::TESTS].concat();
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
