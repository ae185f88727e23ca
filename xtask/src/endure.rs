//! `cargo xtask soak` and `cargo xtask chaos`: what `cargo xtask test` runs for half a minute each, for longer, with a
//! tracer that is built as for use.

use crate::{setup, shell::say, test};
use anyhow::{Context as _, Result};
use std::process::ExitCode;

/// Traces mixed traffic at a steady rate for so many minutes.
pub(crate) fn soak(minutes: f64, rate: u32) -> Result<ExitCode> {
    say(format_args!("==> soak: {minutes} minutes at {rate} connections a second"));
    let settings = [("TCPTRACE_SOAK_MINUTES", minutes.to_string()), ("TCPTRACE_SOAK_RATE", rate.to_string())];
    run("soak::soak", &settings)
}

/// Makes random troubles for tracers for so many minutes. Without a seed the troubles differ each time.
pub(crate) fn chaos(minutes: f64, seed: Option<u64>) -> Result<ExitCode> {
    say(format_args!("==> chaos: {minutes} minutes"));
    let mut settings = vec![("TCPTRACE_CHAOS_MINUTES", minutes.to_string())];
    settings.extend(seed.map(|seed| ("TCPTRACE_CHAOS_SEED", seed.to_string())));
    run("chaos::chaos", &settings)
}

fn run(name: &str, settings: &[(&str, String)]) -> Result<ExitCode> {
    let env = setup::ensure()?;
    test::install_commands(&env)?;
    let words = ["test", "--release", "--package", "tcptrace", "--test", "endure", "--"];
    let mut command = env.cargo_as_root(words)?;
    command.args(["--exact", "--nocapture", name]);
    command.envs(settings.iter().map(|(variable, value)| (variable, value)));
    let good = command.status().context("cannot run cargo")?.success();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
