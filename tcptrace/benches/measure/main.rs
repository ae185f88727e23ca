//! What tcptrace costs and what it withstands: `cargo xtask bench live` and so on, each part its own question. Most of
//! them need root, since they make network namespaces. Whatever is compared is measured in turns in one run, so that
//! what else runs on the machine falls on all alike.

mod alloc;
mod bulk;
mod flood;
mod live;
mod load;
mod memory;
mod process;
mod report;
mod user;
mod world;

use clap::Parser;
use std::{
    env,
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};
use tcptrace_testing::packets;

#[derive(Debug, Parser)]
#[command(name = "measure", disable_help_subcommand = true)]
enum Part {
    Live(live::Args),
    Bulk(bulk::Args),
    User(user::Args),
    Memory(memory::Args),
    Flood(flood::Args),
}

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let part = Part::parse_from(env::args().filter(|argument| argument != "--bench"));
    let result: Result<(), Box<dyn Error>> = match part {
        Part::Live(args) => live::run(&args),
        Part::Bulk(args) => bulk::run(&args),
        Part::User(args) => user::run(&args),
        Part::Memory(args) => memory::run(&args),
        Part::Flood(args) => flood::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If stderr is gone too, the exit code is all that is left.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
