//! Plays scripts, and prints what the tracker makes of them: `cargo xtask lifecycle FILE`, see CONTRIBUTING.md.

use anyhow::{Context as _, Result, bail};
use std::{
    convert::Infallible,
    env, fs,
    io::{self, Write as _},
    process::ExitCode,
};
use tcptrace_testing::script::Script;

fn main() -> ExitCode {
    let mut files: Vec<String> = env::args().skip(1).collect();
    let write = files.first().is_some_and(|word| word == "--write");
    if write {
        files.remove(0);
    }
    let mut good = true;
    for file in &files {
        good &= play_file(file, write).unwrap_or_else(|error| {
            // A closed stderr is no reason to stop.
            _ = writeln!(io::stderr(), "error: {error:#}");
            false
        });
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the story of a file, or writes it into the file. Returns false if it is not what the file expects.
fn play_file(file: &str, write: bool) -> Result<bool> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let script = match Script::parse(&text) {
        Ok(script) => script,
        Err(error) => bail!("{file}:{}: {}", error.line, error.problem),
    };
    let Ok(played) = script.play(|input| Ok::<_, Infallible>(Some(input.clone())));
    if write {
        let story = played.story(false);
        if story != text {
            fs::write(file, story).with_context(|| format!("cannot write {file}"))?;
        }
        return Ok(true);
    }
    let mut out = io::stdout().lock();
    write!(out, "{}", played.story(true))?;
    match played.difference() {
        Some(difference) if script.expects() => {
            writeln!(io::stderr(), "\n{file}:{difference}")?;
            Ok(false)
        }
        _ => Ok(true),
    }
}
