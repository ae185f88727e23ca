//! Options from a file and from the environment, besides those on the command line. Which options there are is read from the
//! definition of the command line, so that none is defined twice: an option's key is its long name.
//!
//! What the file and the environment add is put before what was typed, as if it had been typed too. An option that was typed
//! takes the place of the same one elsewhere, and of those that it conflicts with; the environment goes before the file.

mod environment;
mod file;
mod print;

use super::{Args, Command};
use clap::{
    Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches as _, error::ErrorKind, parser::ValueSource,
};
use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// The identifier of the option that names the file.
const CONFIG: &str = "config";

/// The identifier of the filter, which has no option: all words that are none.
const FILTER: &str = "filter";

/// Options that make no sense in a file: they ask for something else than a trace that is left running, or name the file.
const TYPED_ONLY: [&str; 5] = [CONFIG, "help", "list_interfaces", "read", "version"];

/// The argument that names a file of settings.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(super) struct SettingsFile {
    /// Read options from a TOML file; `tcptrace config` prints one.
    ///
    /// Keys are the long names of options, as in `interface = ["eth0"]`. Variables of the environment go before it, such as
    /// `TCPTRACE_INTERFACE=eth0,eth1`, and what is typed goes before both. [default: what TCPTRACE_CONFIG names, or none]
    #[expect(clippy::doc_markdown, reason = "printed as it stands")]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    config: Option<PathBuf>,
}

/// Why the command line, the environment or the file makes no sense.
#[derive(Debug, Error)]
pub enum ParseError {
    /// The command line makes no sense, or asks for the help. The error prints itself and chooses the exit code.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// A setting makes no sense. It is in one line.
    #[error("{place}: {reason}")]
    Setting {
        /// Where it is.
        place: Source,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: {source}; --config names the file", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An environment variable has it.
    Environment(String),
    /// A line of a file has it.
    File(PathBuf, usize),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(variable) => write!(f, "{variable} in the environment"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
        }
    }
}

/// A setting: an option with its values, as a file or the environment has it.
#[derive(Clone, Debug)]
struct Setting {
    /// The option.
    id: String,
    /// What would be typed for it.
    words: Vec<OsString>,
    source: Source,
}

/// What is around the program.
pub struct Surroundings<'a> {
    /// The words of the command line, the program's name first.
    pub words: Vec<OsString>,
    /// The variables of the environment.
    pub variables: Vec<(OsString, OsString)>,
    /// Reads a file.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
}

/// Makes of what was typed, with what a file and the environment add, what is to be done.
pub fn parse(surroundings: &Surroundings<'_>) -> Result<Command, ParseError> {
    let words = &surroundings.words;
    let whole = <Args as CommandFactory>::command();
    // What is wrong with the command line is said below; here only what is there matters.
    let typed = whole.clone().ignore_errors(true).try_get_matches_from(words);
    let Ok(typed) = typed else {
        return Ok(Args::from_arg_matches(&whole.try_get_matches_from(words)?)?.command()?);
    };
    let (command, matches) = match typed.subcommand() {
        Some((name, matches)) => (whole.find_subcommand(name).unwrap_or(&whole), matches),
        None => (&whole, &typed),
    };
    let settings = if option_by_id(command, CONFIG).is_some() {
        added(settings(&whole, matches, surroundings)?, command, matches)
    } else {
        Vec::new()
    };
    let mut all = words.clone();
    let begin =
        if command.get_name() == whole.get_name() { 1 } else { place_behind(words, command.get_name()) };
    all.splice(begin..begin, settings.iter().flat_map(|setting| setting.words.iter().cloned()));
    let matches =
        whole.clone().try_get_matches_from(all).map_err(|error| attribute(&whole, error, &settings))?;
    let args = Args::from_arg_matches(&matches)?;
    let prints = matches
        .subcommand()
        .filter(|(name, _)| *name == "config")
        .map(|(_, matches)| print::print(&whole, matches, &settings));
    let command = args.command()?;
    Ok(prints.map_or(command, Command::PrintConfig))
}

/// The place behind the word that is the name of a subcommand.
fn place_behind(words: &[OsString], name: &str) -> usize {
    words.iter().position(|word| word == name).map_or(words.len(), |place| place + 1)
}

/// All settings of the file and the environment, the latter last.
fn settings(
    whole: &clap::Command,
    typed: &ArgMatches,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<Setting>, ParseError> {
    let mut settings = Vec::new();
    let named = typed.get_one::<PathBuf>(CONFIG).cloned();
    if let Some(path) = named.or_else(|| environment::file(&surroundings.variables)) {
        let text =
            (surroundings.read)(&path).map_err(|source| ParseError::File { path: path.clone(), source })?;
        settings = file::settings(whole, &path, &text)?;
    }
    settings.extend(environment::settings(whole, &surroundings.variables)?);
    for setting in &settings {
        check(whole, setting)?;
    }
    Ok(settings)
}

/// What comes of the words of a setting alone.
fn alone(whole: &clap::Command, setting: &Setting) -> Result<ArgMatches, clap::Error> {
    let words = [OsString::from(whole.get_name())].into_iter().chain(setting.words.iter().cloned());
    whole.clone().try_get_matches_from(words)
}

/// Whether the words of a setting are such as its option takes. Whether it goes with the others is not asked.
fn check(whole: &clap::Command, setting: &Setting) -> Result<(), ParseError> {
    match alone(whole, setting) {
        Err(error)
            if !matches!(error.kind(), ErrorKind::MissingRequiredArgument | ErrorKind::ArgumentConflict) =>
        {
            Err(ParseError::Setting { place: setting.source.clone(), reason: in_a_line(&error) })
        }
        _ => Ok(()),
    }
}

/// An option of a trace that means something else in a subcommand: what `check --json` prints is no event.
const OWN_MEANING: (&str, &str) = ("check", "json");

/// The settings that count for a command: those that it knows, and that nothing of more weight replaces or conflicts with.
fn added(settings: Vec<Setting>, command: &clap::Command, typed: &ArgMatches) -> Vec<Setting> {
    let is_typed = |id: &str| {
        typed.try_contains_id(id).is_ok() && typed.value_source(id) == Some(ValueSource::CommandLine)
    };
    let mut weightier: Vec<String> =
        command.get_arguments().map(|arg| arg.get_id().to_string()).filter(|id| is_typed(id)).collect();
    let mut added: Vec<Setting> = Vec::new();
    let settings = settings.into_iter().filter(|setting| (command.get_name(), &*setting.id) != OWN_MEANING);
    // The environment is last, and has more weight than the file.
    let (environment, file): (Vec<_>, Vec<_>) =
        settings.partition(|setting| matches!(setting.source, Source::Environment(_)));
    for layer in [environment, file] {
        let layer: Vec<Setting> = layer
            .into_iter()
            .filter(|setting| {
                option_by_id(command, &setting.id)
                    .is_some_and(|arg| !weightier.iter().any(|other| excludes(command, arg, other)))
            })
            .collect();
        weightier.extend(layer.iter().map(|setting| setting.id.clone()));
        added.extend(layer);
    }
    added
}

/// Whether an option has no effect beside another: it is the same, or the two conflict.
fn excludes(command: &clap::Command, arg: &Arg, other: &str) -> bool {
    let conflicts =
        |one: &Arg, other: &str| command.get_arg_conflicts_with(one).iter().any(|it| it.get_id() == other);
    arg.get_id() == other
        || conflicts(arg, other)
        || option_by_id(command, other).is_some_and(|other| conflicts(other, arg.get_id().as_str()))
}

/// An error about all words together, which names the setting that it is about, if it is about one.
fn attribute(whole: &clap::Command, error: clap::Error, settings: &[Setting]) -> ParseError {
    let text = in_a_line(&error);
    let is_about = |setting: &&Setting| {
        if error.kind() == ErrorKind::MissingRequiredArgument {
            // The option that is missing is named, and not the one that needs it.
            return alone(whole, setting).is_err_and(|alone| alone.kind() == error.kind());
        }
        let key =
            setting.words.first().and_then(|word| word.to_str()).and_then(|word| word.split('=').next());
        key.is_some_and(|key| text.contains(&format!("'{key}")))
    };
    match settings.iter().find(is_about) {
        Some(setting) => ParseError::Setting { place: setting.source.clone(), reason: text },
        None => ParseError::Usage(error),
    }
}

/// The first part of what clap says of an error, without the hints at the usage.
fn in_a_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The options that can be set in a file, with their keys, in the order of the help.
fn options(whole: &clap::Command) -> impl Iterator<Item = (&str, &Arg)> {
    let all = whole
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !TYPED_ONLY.contains(&arg.get_id().as_str()));
    all.filter_map(|arg| Some((key(arg)?, arg)))
}

/// The option that a file or the environment can set by this key.
fn option<'a>(whole: &'a clap::Command, name: &str) -> Option<&'a Arg> {
    options(whole).find(|(key, _)| *key == name).map(|(_, arg)| arg)
}

/// The key of an option: its long name, or what it is called where it has only a letter. The options that have neither an
/// effect nor a long name have no key.
fn key(arg: &Arg) -> Option<&str> {
    match arg.get_id().as_str() {
        FILTER => Some(FILTER),
        "verbose" => Some("verbose"),
        "times" => Some("times"),
        _ => arg.get_long(),
    }
}

fn option_by_id<'a>(command: &'a clap::Command, id: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_id() == id)
}

/// What an option takes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// Nothing: it is there or not.
    Switch,
    /// How often it is given.
    Count,
    /// One value.
    One,
    /// Several values.
    Several,
}

impl Takes {
    fn of(arg: &Arg) -> Self {
        match arg.get_action() {
            ArgAction::SetTrue | ArgAction::SetFalse => Self::Switch,
            ArgAction::Count => Self::Count,
            // The filter is one text of as many words as one likes.
            ArgAction::Append if arg.get_id() != FILTER => Self::Several,
            _ => Self::One,
        }
    }

    /// What is to be there, in a sentence.
    const fn what(self) -> &'static str {
        match self {
            Self::Switch => "true or false is needed",
            Self::Count => "a number from 0 to 255 is needed",
            Self::One => "a text or a number is needed",
            Self::Several => "a list of texts is needed, as in [\"a\", \"b\"], or one text",
        }
    }
}

/// What would be typed for an option with these values.
fn words(arg: &Arg, values: &[String]) -> Vec<OsString> {
    let word = |value: &String| match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}={value}").into(),
        (None, Some(short)) => format!("-{short}{value}").into(),
        (None, None) => OsString::from(value),
    };
    values.iter().map(word).collect()
}

/// What would be typed for a switch that is on.
fn switch(arg: &Arg) -> OsString {
    match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}").into(),
        (None, short) => short.map_or_else(OsString::new, |short| format!("-{short}").into()),
    }
}

/// What would be typed to give an option so often; nothing for 0.
fn count(arg: &Arg, times: u8) -> Vec<OsString> {
    (0..times).map(|_| switch(arg)).collect()
}

#[cfg(test)]
mod tests;
