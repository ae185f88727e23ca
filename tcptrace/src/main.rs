//! The `tcptrace` command: parses the arguments, dispatches, and turns errors into one line and an exit code.

use anyhow::Context as _;
use std::{
    env, fs,
    io::{self, Write as _},
    process::ExitCode,
};
use tcptrace::{
    check,
    cli::{self, CheckConfig, Command, ParseError, SchemaOf, Surroundings},
    event,
    kernel::calls::errors::{RAISE_OPEN_FILES, is_open_files},
    merge::merge_schema,
    run::{self, RunError},
    sink::output::OutputError,
    stderr,
};

fn main() -> ExitCode {
    let surroundings = Surroundings {
        words: env::args_os().collect(),
        variables: env::vars_os().collect(),
        read: &|path| fs::read_to_string(path),
    };
    let command = match cli::parse(&surroundings) {
        Ok(command) => command,
        // clap prints its own errors and exits with 2.
        Err(ParseError::Usage(error)) => error.exit(),
        Err(error) => {
            stderr::say(error);
            return ExitCode::from(2);
        }
    };
    log_to_stderr(&command);
    match execute(&command) {
        Ok(code) => code,
        Err(error) if is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(wrong @ RunError::Filter { .. }) = error.downcast_ref::<RunError>() {
                // A filter's error has a second line that points at its place, and the exit code of wrong usage.
                stderr::write(&format!("tcptrace: {wrong}\n"));
                return ExitCode::from(2);
            }
            stderr::say(one_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn execute(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(config) => return print_check(config),
        Command::Schema(of) => print_schema(*of),
        Command::Show(config) => Ok(run::show(config)?),
        Command::Merge(config) => Ok(run::merge(config)?),
        Command::Report(config) => Ok(run::report(config)?),
        Command::Extcap(question) => {
            io::stdout().write_all(run::extcap(question)?.as_bytes()).context("cannot answer")
        }
        Command::Top(config) => Ok(run::top(config)?),
        Command::PrintConfig(text) => {
            io::stdout().write_all(text.as_bytes()).context("cannot write the settings")
        }
        Command::Trace(config) => Ok(run::trace(config)?),
        Command::ListInterfaces { netns } => {
            io::stdout().write_all(run::interfaces(netns)?.as_bytes()).context("cannot write the list")
        }
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Prints the report of `tcptrace check`. The command fails if a trace could not begin, although the report was made.
fn print_check(config: &CheckConfig) -> anyhow::Result<ExitCode> {
    let report = check::check(config)?;
    let text = if config.json { report.to_json().context("cannot write JSON")? } else { report.to_string() };
    match io::stdout().write_all(text.as_bytes()) {
        // Somebody who stops reading early still gets the exit status that says whether a trace can begin.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(error).context("cannot write the report");
        }
        _ => {}
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_schema(of: SchemaOf) -> anyhow::Result<()> {
    let schema = match of {
        SchemaOf::Events => event::schema(),
        SchemaOf::Merge => merge_schema(),
    };
    let mut text = serde_json::to_string_pretty(&schema).context("cannot write the schema as JSON")?;
    text.push('\n');
    io::stdout().write_all(text.as_bytes()).context("cannot write the schema")
}

/// Sets the log up, which goes to stderr. Nothing is logged unless `RUST_LOG` asks for it, or --kernel-log asks for the
/// log of the kernel programs.
fn log_to_stderr(command: &Command) {
    let kernel_log = matches!(command, Command::Trace(config) if config.kernel_log);
    let default = if kernel_log { "tcptrace=trace" } else { "off" };
    let mut builder = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(default));
    if matches!(command, Command::Top(_)) {
        // What goes to stderr straight would be drawn over.
        builder.target(env_logger::Target::Pipe(Box::new(stderr::Stderr)));
    }
    builder.init();
}

/// An error with its causes on one line, whatever they contain. A cause that an error before it has named already is
/// not repeated.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
    }
    if !line.contains(RAISE_OPEN_FILES) && error.chain().any(is_open_files) {
        line = format!("{line}: {RAISE_OPEN_FILES}");
    }
    line
}

/// Whether the reader of our output has gone away, as `head` does when it has enough. That is success. It arrives as an
/// error because Rust ignores SIGPIPE.
fn is_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
            || matches!(cause.downcast_ref::<RunError>(), Some(RunError::Output(OutputError::Closed)))
    })
}
