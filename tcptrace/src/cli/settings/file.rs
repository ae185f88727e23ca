//! Settings in a file, in TOML.

use super::{ParseError, Setting, Source, Takes, count, key, option, options, switch, words};
use crate::near::{Suggestion, near_names};
use std::{ops::Range, path::Path};
use toml_edit::{Document, Item, Value};

/// The settings in a file's text.
pub(super) fn settings(whole: &clap::Command, path: &Path, text: &str) -> Result<Vec<Setting>, ParseError> {
    let line = |span: Option<Range<usize>>| {
        let begin = span.map_or(0, |span| span.start);
        Source::File(path.to_owned(), 1 + text.bytes().take(begin).filter(|byte| *byte == b'\n').count())
    };
    let document = Document::parse(text).map_err(|error| ParseError::Setting {
        place: line(error.span()),
        reason: error.message().split_whitespace().collect::<Vec<_>>().join(" "),
    })?;
    let mut settings = Vec::new();
    for (name, item) in document.iter() {
        let span = document.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
        let source = line(span);
        let wrong = |reason: String| ParseError::Setting { place: source.clone(), reason };
        if !item.is_value() {
            return Err(wrong(format!(
                "[{name}]: the file has no sections, each option is a line by itself"
            )));
        }
        let arg = option(whole, name).ok_or_else(|| wrong(unknown(whole, name)))?;
        let takes = Takes::of(arg);
        let words = match (takes, item) {
            (Takes::Switch, Item::Value(Value::Boolean(on))) => {
                on.value().then(|| switch(arg)).into_iter().collect()
            }
            (Takes::Count, Item::Value(Value::Integer(times))) => count(
                arg,
                u8::try_from(*times.value()).map_err(|_| wrong(format!("{name}: {}", takes.what())))?,
            ),
            (Takes::One | Takes::Several, Item::Value(value)) => {
                let values = texts(value, takes).ok_or_else(|| wrong(format!("{name}: {}", takes.what())))?;
                words(arg, &values)
            }
            _ => return Err(wrong(format!("{name}: {}", takes.what()))),
        };
        settings.push(Setting { id: arg.get_id().to_string(), words, source });
    }
    Ok(settings)
}

/// What to say of a key that no option has.
fn unknown(whole: &clap::Command, name: &str) -> String {
    if let Some(arg) = whole.get_arguments().find(|arg| key(arg) == Some(name)) {
        return format!("{name} is for the command line alone, as {} is", switch(arg).to_string_lossy());
    }
    let near = near_names(name, options(whole).map(|(key, _)| key));
    format!("there is no option {name}{}; `tcptrace config` has all", Suggestion(&near))
}

/// A value as texts, if it is one or, where several are taken, a list of such.
fn texts(value: &Value, takes: Takes) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.value().clone()]),
        Value::Integer(number) => Some(vec![number.value().to_string()]),
        Value::Array(values) if takes == Takes::Several => {
            let texts = values.iter().map(|value| match value {
                Value::Array(_) => None,
                value => texts(value, Takes::One),
            });
            Some(texts.collect::<Option<Vec<_>>>()?.concat())
        }
        _ => None,
    }
}
