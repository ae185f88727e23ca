//! The pages have all that they are about, and a program that reads man pages has nothing to say against them.

use super::{command, completions, events, pages};
use clap::Command;
use serde_json::{Value, json};
use std::{
    io::Write as _,
    process::{self, Stdio},
};
use tcptrace::event;
use tcptrace_testing::skips::skip;

const DATE: &str = "2026-01-02";

fn page(name: &str) -> String {
    let found = pages(DATE).into_iter().find(|(file, _)| file == name);
    found.unwrap_or_else(|| panic!("no page {name}")).1
}

/// The part of a page from this heading to the next.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let quoted = if heading.contains(' ') { format!("\"{heading}\"") } else { heading.to_owned() };
    let (_, from) = page.split_once(&format!("\n.SH {quoted}\n")).unwrap_or_else(|| panic!("no {heading}"));
    from.split_once("\n.SH ").map_or(from, |(section, _)| section)
}

/// As roff has it, in which a hyphen that is typed is escaped.
fn roff(text: &str) -> String {
    text.replace('-', "\\-")
}

fn commands() -> Vec<Command> {
    let command = command();
    command.get_subcommands().cloned().chain([command.clone()]).collect()
}

#[test]
fn each_command_has_a_page_with_all_its_options() {
    for command in commands() {
        let name = command.get_display_name().unwrap_or(command.get_name());
        let page = page(&format!("{name}.1"));
        let options = section(&page, "OPTIONS");
        for option in command.get_arguments().filter(|it| !it.is_hide_set()) {
            let long = option.get_long().map(|long| format!("--{long}"));
            let typed = long.or(option.get_short().map(|short| format!("-{short}")));
            // What is typed without an option goes by the name of its value.
            let value = || option.get_value_names().expect("arguments have names").join(" ");
            let typed = typed.map_or_else(|| roff(&value()), |typed| format!("\\fB{}\\fR", roff(&typed)));
            assert!(options.contains(&typed), "{name} has no {typed}");
        }
        assert!(!options.contains("tcpdump's '-"), "{name} has what is hidden");
    }
}

#[test]
fn pages_have_the_sections_that_readers_look_for() {
    let trace = page("tcptrace.1");
    assert!(section(&trace, "NAME").starts_with("tcptrace \\- "), "{trace}");
    assert!(section(&trace, "SYNOPSIS").contains("[OPTIONS] [FILTER]"), "{trace}");
    for (heading, has) in [
        ("DESCRIPTION", "CAP_BPF"),
        ("EXAMPLES", "\\fBsudo tcptrace \\-i eth0\\fR\nConnections of eth0"),
        ("SIGNALS", "\\fBSIGUSR1\\fR"),
        ("ENVIRONMENT", "\\fBNO_COLOR\\fR"),
        ("EXIT STATUS", "\\fB2\\fR\nWrong usage"),
        ("SEE ALSO", "\\fBtcptrace\\-events\\fR(5)"),
    ] {
        assert!(section(&trace, heading).contains(has), "{heading}: {}", section(&trace, heading));
    }
    let check = page("tcptrace-check.1");
    assert!(section(&check, "EXIT STATUS").contains("\\fBproblem\\fR"), "{check}");
    assert!(section(&check, "SEE ALSO").contains("\\fBtcptrace\\fR(1)"), "{check}");
    assert!(!section(&check, "SEE ALSO").contains("check"), "{check}");
}

/// Each name of the schema as a term of its own, in the place where it belongs.
#[test]
fn the_page_of_events_has_every_kind_field_and_value() {
    let schema = event::schema();
    let page = page("tcptrace-events.5");
    let names = |of: &Value| -> Vec<String> {
        of["properties"].as_object().into_iter().flatten().map(|(name, _)| roff(name)).collect()
    };
    let kinds = schema["oneOf"].as_array().expect("kinds");
    for kind in kinds {
        let title = kind["title"].as_str().expect("a title");
        assert!(section(&page, "EVENTS").contains(&format!("\\fB{title}\\fR")), "{title}");
        let own = section(&page, &format!("THE {} EVENT", title.to_uppercase()));
        let mut at = 0;
        for name in names(kind) {
            let found = own[at..].find(&format!("\\fB{name}\\fR"));
            at += found.unwrap_or_else(|| panic!("{title} has no {name}, or not in its place"));
        }
    }
    for (title, printed) in [("start", "by default"), ("transition", "with -v"), ("segment", "with -vv")] {
        let term = format!("\\fB{title}\\fR (\\fI{}\\fR)\n", roff(printed));
        assert!(section(&page, "EVENTS").contains(&term), "{term}");
    }
    let types = section(&page, "TYPES");
    for (name, defined) in schema["$defs"].as_object().expect("types") {
        let (_, from) = types.split_once(&format!(".SS {name}\n")).unwrap_or_else(|| panic!("no {name}"));
        let own = from.split_once("\n.SS ").map_or(from, |(own, _)| own);
        for field in names(defined) {
            assert!(own.contains(&format!("\\fB{field}\\fR")), "{name} has no {field}");
        }
        for choice in defined["oneOf"].as_array().into_iter().flatten() {
            let value = roff(choice["const"].as_str().expect("a string"));
            assert!(own.contains(&format!("\\fB{value}\\fR")), "{name} has no {value}");
        }
    }
}

/// A schema with one of each form, and what is said of it.
#[test]
fn types_units_and_absence_are_said_in_words() {
    let forms = [
        ("plain", json!({"type": "string"}), "string"),
        ("null_too", json!({"type": ["boolean", "null"]}), "boolean or null"),
        ("wait_ns", json!({"type": ["integer", "null"], "format": "uint64"}), "integer or null, nanoseconds"),
        ("ts", json!({"type": ["string", "null"], "format": "date-time"}), "time of day or null"),
        ("run", json!({"type": "string", "format": "uuid"}), "UUID"),
        ("ip", json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}), "IP address"),
        ("way", json!({"enum": ["ingress", "egress", null]}), "ingress, egress or null"),
        ("number", json!({"const": 2}), "always 2"),
        ("named", json!({"anyOf": [{"$ref": "#/$defs/Role"}, {"type": "null"}]}), "Role or null"),
        (
            "waits_ns",
            json!({"type": "array", "items": {"type": ["integer", "null"]}}),
            "list of (integer or null), nanoseconds",
        ),
        ("pair", json!({"type": ["array", "null"], "items": {"type": "integer"}}), "list of integer or null"),
    ];
    let described = |(name, value, _): &(&str, Value, &str)| {
        let mut value = value.clone();
        value["description"] = json!("What it is.");
        ((*name).to_owned(), value)
    };
    let properties: serde_json::Map<_, _> = forms.iter().map(described).collect();
    let required: Vec<&str> = forms.iter().map(|(name, ..)| *name).filter(|name| *name != "plain").collect();
    let kind =
        json!({"title": "a", "description": "An event.", "properties": properties, "required": required});
    let page = events::page(&json!({"oneOf": [kind], "$defs": {}}), DATE);
    for (name, _, what) in forms {
        let absent = if name == "plain" { ", may be absent" } else { "" };
        let line = format!("\\fB{name}\\fR (\\fI{what}{absent}\\fR)\nWhat it is.");
        assert!(section(&page, "THE A EVENT").contains(&line), "{line} is not in\n{page}");
    }
}

#[test]
fn each_completion_has_every_long_option_and_subcommand() {
    let completions = completions().expect("they can be made");
    let names: Vec<&str> = completions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["tcptrace.bash", "_tcptrace", "tcptrace.fish"]);
    for (name, script) in &completions {
        for command in commands() {
            for long in command.get_arguments().filter(|it| !it.is_hide_set()).filter_map(clap::Arg::get_long)
            {
                let typed = if name.ends_with("fish") { format!("-l {long}") } else { format!("--{long}") };
                assert!(has_word(script, &typed), "{name} has no {long}");
            }
            assert!(script.contains(command.get_name()), "{name} has no {}", command.get_name());
        }
    }
    // The shell that is everywhere completes by its own; the others need not be here.
    let typed = "COMP_WORDS=(tcptrace --summary-) COMP_CWORD=1\n_tcptrace tcptrace --summary- tcptrace\necho ${COMPREPLY[@]}\n";
    let completed = said(&["bash"], &format!("{}\n{typed}", completions[0].1));
    assert_eq!(completed, "--summary-by --summary-top --summary-interval\n");
}

/// The word is in the text, and not as the beginning of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|next: char| next.is_alphanumeric() || next == '-');
    text.match_indices(word).any(|(at, _)| !goes_on(&text[at + word.len()..]))
}

/// What a program says, on both streams, that reads this from its standard input.
fn said(words: &[&str], text: &str) -> String {
    let mut program = process::Command::new(words[0]);
    program.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let mut stdin = child.stdin.take().expect("it is a pipe");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat()
}

/// No macro that is wrong, empty or out of its place, by the program that checks man pages.
#[test]
fn mandoc_has_nothing_to_say_against_the_pages() {
    const NAME: &str = "mandoc_has_nothing_to_say_against_the_pages";
    if process::Command::new("mandoc").arg("/dev/null").output().is_err() {
        return skip(NAME, "mandoc is not installed");
    }
    for (name, page) in pages(DATE) {
        assert_eq!(said(&["mandoc", "-T", "lint", "-W", "warning"], &page), "", "{name}");
    }
    // It finds what is wrong.
    let wrong = format!("{}.SH\n", page("tcptrace.1"));
    assert_ne!(said(&["mandoc", "-T", "lint", "-W", "warning"], &wrong), "");
}
