//! What is wrong with an expectation is noticed, in each file.

use crate::{
    cases::{Case, Cases},
    packets,
};
use libtest_mimic::{Failed, Trial};
use std::sync::Arc;
use tcptrace::script::{Level, Script};

pub(crate) fn trials(cases: &Cases) -> Vec<Trial> {
    let one = |case: &Arc<Case>| {
        let changed = Arc::clone(case);
        Trial::test(format!("demands: {}", case.name), move || demands(&changed))
    };
    cases.iter().map(one).collect()
}

/// What is wrong with an expectation is noticed, whatever it is: without that a file could say anything. And it says
/// which case it is.
fn demands(case: &Case) -> Result<(), Failed> {
    if case.script()?.title().is_none() {
        return Err(format!("{}:1: the first line is to say which case it is", case.path).into());
    }
    let lines: Vec<&str> = case.text.lines().collect();
    for (place, line) in lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with('=')) {
        let others = fields(line).map(|(name, value)| {
            let other = if value == "null" { "0" } else { "null" };
            Some(line.replacen(&format!("{name}={value}"), &format!("{name}={other}"), 1))
        });
        // A line of nothing but fields may go: without it less is demanded, and nothing else.
        let none = (!is_more(line)).then_some(None);
        for wrong in others.chain(none) {
            let rest = lines[place + 1..].iter().skip_while(|line| wrong.is_none() && is_more(line));
            let text: Vec<&str> =
                lines[..place].iter().chain(&wrong.as_deref()).chain(rest).copied().collect();
            if holds(case, &text.join("\n"))? {
                let wrong = wrong.unwrap_or_else(|| "nothing in its place".to_owned());
                return Err(format!("{}:{}: holds as well with: {wrong}", case.path, place + 1).into());
            }
        }
    }
    Ok(())
}

/// The case with another text is what comes.
fn holds(case: &Case, text: &str) -> Result<bool, Failed> {
    let script = Script::parse(text)?;
    let played = if case.has_level(Level::Tracker) {
        script.play(|input| Ok(Some(input.clone())))
    } else {
        let mut parser = packets::parser();
        script.play(|input| packets::see(&mut parser, input))
    };
    Ok(played?.difference().is_none())
}

fn is_more(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("=") && words.next().is_some_and(|word| word.contains('='))
}

/// Each `NAME=VALUE` of a line.
fn fields(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut quoted = false;
    let words = line.split(move |c: char| {
        quoted ^= c == '"';
        c == ' ' && !quoted
    });
    words.filter_map(|word| word.split_once('=')).filter(|(name, _)| !name.is_empty())
}
