//! Settings in the environment: `TCPTRACE_` and the option's name in capitals, with `_` for `-`.

use super::{CONFIG, ParseError, Setting, Source, Takes, count, option, switch, words};
use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

/// What the names of our variables begin with.
const PREFIX: &str = "TCPTRACE_";

/// The key of the option that a variable sets, if it is one of ours.
fn key(variable: &OsStr) -> Option<String> {
    let key = variable.to_str()?.strip_prefix(PREFIX)?;
    Some(key.to_lowercase().replace('_', "-"))
}

/// The file that the environment names, if it does.
pub(super) fn file(variables: &[(OsString, OsString)]) -> Option<PathBuf> {
    let (_, path) = variables.iter().find(|(variable, _)| key(variable).as_deref() == Some(CONFIG))?;
    (!path.is_empty()).then(|| path.into())
}

/// The settings in the environment. Variables that are no option's are somebody else's, and one that is empty counts as not set.
pub(super) fn settings(
    whole: &clap::Command,
    variables: &[(OsString, OsString)],
) -> Result<Vec<Setting>, ParseError> {
    let mut settings = Vec::new();
    for (variable, value) in variables {
        let set = key(variable).and_then(|key| option(whole, &key)).filter(|_| !value.is_empty());
        let Some(arg) = set else { continue };
        let source = Source::Environment(variable.to_string_lossy().into_owned());
        let wrong = |reason: &str| ParseError::Setting { place: source.clone(), reason: reason.to_owned() };
        let value = value.to_str().ok_or_else(|| wrong("it is no text of UTF-8"))?;
        let takes = Takes::of(arg);
        let words = match (takes, value) {
            (Takes::Switch, "true" | "1") => vec![switch(arg)],
            (Takes::Switch, "false" | "0") => Vec::new(),
            (Takes::Switch, _) => return Err(wrong(takes.what())),
            (Takes::Count, _) => count(arg, value.parse().map_err(|_| wrong(takes.what()))?),
            (Takes::One, _) => words(arg, &[value.to_owned()]),
            (Takes::Several, _) => words(arg, &value.split(',').map(str::to_owned).collect::<Vec<_>>()),
        };
        settings.push(Setting { id: arg.get_id().to_string(), words, source });
    }
    Ok(settings)
}
