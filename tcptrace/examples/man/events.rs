//! The page about the events, from their schema: each kind with its fields, in the order in which they are written.

use crate::page::{Page, fold, named, paragraph, term};
use clap::Parser as _;
use clap_mangen::roff::{Roff, bold, roman};
use serde_json::{Map, Value};
use tcptrace::cli::{Args, Command};

/// How the page is to be read.
const INTRODUCTION: [&str; 3] = [
    "`tcptrace --json` prints each event as a JSON object on a line of its own, with its fields in the order in which they stand \
     here. `--events` chooses which kinds are printed. `tcptrace schema` prints the JSON Schema that this page is made of.",
    "After the name of a field stands its type. What this page calls by a name, such as Address, is described under TYPES. A \
     field that can be null is null where its value is not known, or where there is none. Every field is there unless it is \
     said that it may be absent.",
    "Names of fields end in their unit: `_ns` are nanoseconds, `_bytes` are bytes, and `_percent` is a percentage. `ts` and other \
     times of day are UTC, to the nanosecond.",
];

/// Examples, with what they do.
const EXAMPLES: [(&str, &str); 3] = [
    (
        "tcptrace -r trace.pcapng --json | jq 'select(.failed)'",
        "The connections of a capture file whose handshake failed.",
    ),
    (
        "sudo tcptrace -i eth0 --json --events connection | jq -r '[.server.ip, .syn_to_established_ns] | @tsv'",
        "Each server with the time of its handshake, as a table.",
    ),
    (
        "sudo tcptrace -i eth0 --json --stats-interval 10s | jq 'select(.event == \"stats\").records_lost'",
        "What was lost so far, every ten seconds.",
    ),
];

type Fields = Map<String, Value>;

/// The page, made of this schema.
pub(crate) fn page(schema: &Value, date: &str) -> String {
    let kinds: Vec<&Value> = schema["oneOf"].as_array().into_iter().flatten().collect();
    let common = common(&kinds);
    let mut page = Page::new("tcptrace-events", "5", date);
    page.section("name", |roff| {
        roff.text([roman("tcptrace-events - the lines that tcptrace --json prints")]);
    });
    page.section("description", |roff| {
        for text in INTRODUCTION {
            paragraph(roff, text);
        }
    });
    page.section("events", |roff| {
        for kind in &kinds {
            term(roff, named(title(kind), printed(title(kind))), description(kind));
        }
    });
    page.section("fields of a connection", |roff| {
        paragraph(
            roff,
            &format!("Each {} event is about one connection, and begins with these.", list(&about(&kinds))),
        );
        for name in &common {
            field(roff, kinds.iter().find(|kind| is_about(kind)).unwrap_or(&schema), name);
        }
    });
    for kind in &kinds {
        page.section(&format!("the {} event", title(kind)), |roff| {
            let own = own(kind, &common);
            paragraph(roff, description(kind));
            if is_about(kind) {
                paragraph(
                    roff,
                    &format!(
                        "It begins with the fields of a connection: {}. Then come these.",
                        list(&common)
                    ),
                );
            }
            fields(roff, kind, &own);
        });
    }
    page.section("types", |roff| {
        for (name, defined) in schema["$defs"].as_object().into_iter().flatten() {
            roff.control("SS", [name.as_str()]);
            definition(roff, defined);
        }
    });
    page.section("examples", |roff| {
        for (command, does) in EXAMPLES {
            term(roff, vec![bold(command)], does);
        }
    });
    page.see_also([("tcptrace", "1"), ("tcptrace-schema", "1"), ("jq", "1")]);
    page.finish()
}

fn title(kind: &Value) -> &str {
    kind["title"].as_str().unwrap_or_default()
}

/// What has an event of this kind printed, by what the command line makes of it.
fn printed(title: &str) -> &'static str {
    let has = |options: &[&str]| {
        let words = ["tcptrace", "--json"].iter().chain(options);
        let command = Args::try_parse_from(words).and_then(Args::command);
        matches!((command, title.parse()), (Ok(Command::Trace(config)), Ok(kind)) if config.output.events.contains(kind))
    };
    match (has(&[]), has(&["-v"]), has(&["-vv"])) {
        (true, ..) => "by default",
        (_, true, _) => "with -v",
        (.., true) => "with -vv",
        _ => "with --events",
    }
}

fn description(of: &Value) -> &str {
    of["description"].as_str().unwrap_or_default()
}

/// An event of one connection, which has a number.
fn is_about(kind: &Value) -> bool {
    kind["properties"]["id"].is_object()
}

fn about(kinds: &[&Value]) -> Vec<String> {
    kinds.iter().filter(|kind| is_about(kind)).map(|kind| title(kind).to_owned()).collect()
}

fn properties(of: &Value) -> impl Iterator<Item = (&String, &Value)> {
    of["properties"].as_object().into_iter().flatten()
}

/// The first fields of all events of a connection, as far as they are alike but for the name of the kind.
fn common(kinds: &[&Value]) -> Vec<String> {
    let mut kinds = kinds.iter().filter(|kind| is_about(kind));
    let Some(first) = kinds.next() else { return Vec::new() };
    let mut common: Vec<(&String, &Value)> = properties(first).collect();
    for kind in kinds {
        let alike = properties(kind).zip(&common).take_while(|((name, value), (common, as_common))| {
            name == common && (*name == "event" || value == as_common)
        });
        common.truncate(alike.count());
    }
    common.into_iter().map(|(name, _)| name.clone()).collect()
}

/// The fields of a kind that are not common to all events of a connection.
fn own(kind: &Value, common: &[String]) -> Vec<String> {
    let is_own = |name: &&String| !is_about(kind) || !common.contains(*name);
    properties(kind).map(|(name, _)| name).filter(is_own).cloned().collect()
}

/// These fields; of such as nothing is said of, all in one paragraph.
fn fields(roff: &mut Roff, of: &Value, names: &[String]) {
    let is_described = |name: &&String| !description(&of["properties"][name.as_str()]).is_empty();
    let (described, bare): (Vec<&String>, Vec<&String>) = names.iter().partition(is_described);
    for name in described {
        field(roff, of, name);
    }
    if let Some(&first) = bare.first() {
        let names: Vec<String> = bare.into_iter().cloned().collect();
        let what = what(&of["properties"][first.as_str()], first, true);
        paragraph(roff, &format!("Each of these is {what}: {}.", list(&names)));
    }
}

fn field(roff: &mut Roff, of: &Value, name: &str) {
    let value = &of["properties"][name];
    let required = of["required"].as_array().is_some_and(|it| it.iter().any(|it| it == name));
    term(roff, named(name, &what(value, name, required)), description(value));
}

/// The type of a field, its unit, and whether it may be absent.
fn what(value: &Value, name: &str, required: bool) -> String {
    // Which kind an event is, the kind's own section says.
    let of = if name == "event" { "string".to_owned() } else { type_of(value) };
    let unit = unit(name).map(|unit| format!(", {unit}")).unwrap_or_default();
    let absent = if required { "" } else { ", may be absent" };
    format!("{of}{unit}{absent}")
}

fn unit(name: &str) -> Option<&'static str> {
    let units = [("_ns", "nanoseconds"), ("_bytes", "bytes"), ("_percent", "percent")];
    units.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, unit)| unit)
}

/// A type, in words.
fn type_of(value: &Value) -> String {
    if let Some(name) = value["$ref"].as_str() {
        return name.rsplit('/').next().unwrap_or(name).to_owned();
    }
    if let Some(only) = value.get("const") {
        return format!("always {}", literal(only));
    }
    if let Some(values) = value["enum"].as_array() {
        return or(&values.iter().map(literal).collect::<Vec<_>>());
    }
    if value["type"] == "array" || value["type"][0] == "array" {
        let null = if value["type"].is_array() { " or null" } else { "" };
        let items = type_of(&value["items"]);
        let items = if items.contains(' ') { format!("({items})") } else { items };
        return format!("list of {items}{null}");
    }
    match (&value["type"], value["anyOf"].as_array()) {
        (_, Some(any)) if value["type"].is_null() => or(&any.iter().map(type_of).collect::<Vec<_>>()),
        (Value::Array(types), _) => {
            let named =
                |name: &Value| if name == "null" { "null".to_owned() } else { formatted(name, value) };
            or(&types.iter().map(named).collect::<Vec<_>>())
        }
        (name, _) => formatted(name, value),
    }
}

/// What is a string in JSON is more than that by its format.
fn formatted(name: &Value, value: &Value) -> String {
    let is_address = value["anyOf"].as_array().is_some_and(|any| any.iter().any(|it| it["format"] == "ipv4"));
    match (name.as_str(), value["format"].as_str()) {
        (Some("string"), Some("date-time")) => "time of day".to_owned(),
        (Some("string"), Some("uuid")) => "UUID".to_owned(),
        (Some("string"), _) if is_address => "IP address".to_owned(),
        (name, _) => name.unwrap_or("any").to_owned(),
    }
}

fn literal(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// `a, b or c`.
fn or(words: &[String]) -> String {
    join(words, "or")
}

/// Names as they are typed.
fn list(names: &[String]) -> String {
    join(&names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>(), "and")
}

fn join(words: &[String], before_last: &str) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {before_last} {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// A named type: an object with its fields, a choice of strings, or a plain one.
fn definition(roff: &mut Roff, defined: &Value) {
    let choices: Vec<&Value> = defined["oneOf"].as_array().into_iter().flatten().collect();
    let fields_of: Option<&Fields> = defined["properties"].as_object();
    let kind = match (fields_of, choices.is_empty()) {
        (Some(_), _) => "An object".to_owned(),
        (None, false) => "One of the strings below".to_owned(),
        (None, true) => format!("A value: {}", type_of(defined)),
    };
    let text = fold(&format!("{kind}. {}", description(defined)));
    roff.text([roman(text)]);
    if let Some(all) = fields_of {
        fields(roff, defined, &all.keys().cloned().collect::<Vec<_>>());
    }
    for choice in choices {
        term(roff, vec![bold(literal(&choice["const"]))], description(choice));
    }
}
