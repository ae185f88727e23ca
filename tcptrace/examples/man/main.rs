//! Writes the man pages and the completions of shells: `cargo xtask man`, see CONTRIBUTING.md. The pages of the commands and the
//! completions come from the definition of the command line, the page of the events from their schema.

mod commands;
mod events;
mod page;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, Result, bail};
use clap::CommandFactory;
use clap_complete::{Generator as _, Shell};
use jiff::{Timestamp, tz::TimeZone};
use std::{
    env, fs,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};
use tcptrace::{cli::Args, event};

/// A file's name and its content.
type Named = (String, String);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed stderr is no reason to stop.
            _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let folders: Vec<_> = env::args_os().skip(1).collect();
    let [folder] = &folders[..] else { bail!("one folder is needed, in which the files are to be") };
    let folder = Path::new(folder);
    write(&folder.join("man"), &pages(&date()?))?;
    write(&folder.join("completions"), &completions()?)
}

fn write(folder: &Path, files: &[Named]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, content) in files {
        let path = folder.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        _ = writeln!(io::stderr(), "{} is written", path.display());
    }
    Ok(())
}

/// The day that stands on the pages. `SOURCE_DATE_EPOCH` tells it where the same source is to give the same files
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn date() -> Result<String> {
    let now = match env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => seconds
            .parse()
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .with_context(|| format!("SOURCE_DATE_EPOCH is {seconds}, and not a number of seconds"))?,
        Err(_) => Timestamp::now(),
    };
    Ok(now.to_zoned(TimeZone::UTC).date().to_string())
}

/// The command line, as it is documented.
fn command() -> clap::Command {
    // `tcptrace help check` has no page of its own.
    let mut command = <Args as CommandFactory>::command().disable_help_subcommand(true);
    command.build();
    command
}

fn pages(date: &str) -> Vec<Named> {
    let mut pages = commands::pages(&command(), date);
    pages.push(("tcptrace-events.5".to_owned(), events::page(&event::schema(), date)));
    pages
}

fn completions() -> Result<Vec<Named>> {
    let mut command = command();
    let name = command.get_name().to_owned();
    let complete = |shell: Shell| {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, &name, &mut script);
        Ok((shell.file_name(&name), String::from_utf8(script)?))
    };
    [Shell::Bash, Shell::Zsh, Shell::Fish].into_iter().map(complete).collect()
}
