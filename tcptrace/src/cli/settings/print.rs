//! Prints what is in force as a file of settings.

use super::{FILTER, Setting, Takes, options};
use clap::{Arg, ArgMatches, parser::ValueSource};
use std::fmt::Write as _;
use toml_edit::{Array, Value};

/// What the file says of itself.
const HEADER: &str = "\
# Settings of tcptrace, as `tcptrace config` prints them: tcptrace --config FILE reads them, and the variables TCPTRACE_...
# of the environment and the options of the command line go before them. A line that is a comment has the default.
";

/// All options with what is in force: those that are set with whence they are, the others as comments.
pub(super) fn print(whole: &clap::Command, matches: &ArgMatches, settings: &[Setting]) -> String {
    let mut text = HEADER.to_owned();
    let mut heading = None;
    for (key, arg) in options(whole) {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            let _ = write!(text, "\n### {}\n", heading.unwrap_or_default());
        }
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = write!(text, "\n# {}\n", help.trim_end_matches('.'));
        let source = matches.value_source(arg.get_id().as_str());
        let value = value(arg, matches);
        let setting = settings.iter().find(|setting| setting.id == arg.get_id().as_str());
        let _ = match (value, source) {
            (Some(value), Some(ValueSource::CommandLine)) => match setting {
                Some(setting) => writeln!(text, "{key} = {value}  # {}", setting.source),
                None => writeln!(text, "{key} = {value}  # the command line"),
            },
            (Some(value), _) => writeln!(text, "# {key} = {value}"),
            (None, _) => writeln!(text, "# {key} = {}", example(arg)),
        };
    }
    text
}

/// The value of an option that has one, be it by default.
fn value(arg: &Arg, matches: &ArgMatches) -> Option<Value> {
    let id = arg.get_id().as_str();
    match Takes::of(arg) {
        Takes::Switch => Some(matches.get_flag(id).into()),
        Takes::Count => Some(i64::from(matches.get_count(id)).into()),
        takes => {
            let values = matches.get_raw(id)?.map(|value| value.to_string_lossy().into_owned());
            let values: Vec<_> = values.collect();
            Some(match takes {
                _ if id == FILTER => values.join(" ").into(),
                Takes::Several => values.into_iter().collect::<Array>().into(),
                _ => one(values.into_iter().next()?),
            })
        }
    }
}

/// A number as such, all else as text.
fn one(value: String) -> Value {
    match value.parse::<i64>() {
        Ok(number) if number.to_string() == value => number.into(),
        _ => value.into(),
    }
}

/// What stands for the value of an option that has no default: what the help calls it.
fn example(arg: &Arg) -> Value {
    let names: Vec<_> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let name = names.first().cloned().unwrap_or_default();
    if Takes::of(arg) == Takes::Several { [name].into_iter().collect::<Array>().into() } else { name.into() }
}
