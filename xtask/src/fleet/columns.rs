//! Checks that the columns of `packaging/fleet/clickhouse/schema.sql` are fields of the events' JSON Schema, by the same
//! names and of types that hold their values: an insert takes lines as they are, and passes over what it does not know.

use crate::shell::root;
use serde_json::Value;
use std::{collections::BTreeMap, fs};

/// What the shipper adds to each line.
const ADDED: &str = "from_host";
/// These are null only of captures whose clock cannot be told, and a fleet is traced live.
const NEVER_NULL_LIVE: [&str; 2] = ["ts", "start"];

/// The types of the columns by their paths, those of tuples by their elements' (`client.ip`).
fn columns(list: &str, within: &str, all: &mut BTreeMap<String, String>) {
    for item in split(list) {
        let (name, rest) = item.split_once(char::is_whitespace).expect("a name and a type");
        if name == "INDEX" || rest.contains(" ALIAS ") {
            continue;
        }
        let path = format!("{within}{}", name.trim_matches('`'));
        match rest.strip_prefix("Tuple(").map(|rest| &rest[..closing(rest)]) {
            Some(elements) => columns(elements, &format!("{path}."), all),
            None => drop(all.insert(path, rest.to_owned())),
        }
    }
}

/// Where the parenthesis closes that was opened before the text.
fn closing(text: &str) -> usize {
    let mut depth = 1;
    let end = text.char_indices().find(|&(_, c)| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    });
    end.expect("as many parentheses are closed as opened").0
}

/// The items of a list, whose commas are those in no parentheses.
fn split(list: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut depth = 0;
    for c in list.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        match (c, items.last_mut()) {
            (',', _) if depth == 0 => items.push(String::new()),
            (_, Some(item)) => item.push(c),
            _ => {}
        }
    }
    items.into_iter().map(|item| item.trim().to_owned()).collect()
}

/// The schema of the field at a path of a `connection` event, and whether it, or what it is within, can be null or absent.
fn field<'a>(schema: &'a Value, path: &str) -> Option<(&'a Value, bool)> {
    let kinds = schema["oneOf"].as_array()?;
    let mut at = kinds.iter().find(|kind| kind["title"] == "connection")?;
    let mut nullable = false;
    for name in path.split('.') {
        nullable |= !at["required"].as_array()?.iter().any(|it| it == name);
        at = at["properties"].get(name)?;
        if let Some(choices) =
            at["anyOf"].as_array().filter(|list| list.iter().any(|it| it["type"] == "null"))
        {
            nullable = true;
            at = choices.first()?;
        }
        nullable |= at["type"].as_array().is_some_and(|types| types.iter().any(|it| it == "null"));
        if let Some(reference) = at["$ref"].as_str() {
            at = schema.pointer(reference.strip_prefix('#')?)?;
        }
    }
    Some((at, nullable))
}

/// What the type of a column has to contain for the values of a field.
fn fitting(field: &Value) -> &'static str {
    let kind = field["type"].as_array().and_then(|types| types.first()).unwrap_or(&field["type"]);
    match (kind.as_str(), field["format"].as_str()) {
        (Some("boolean"), _) => "Bool",
        (Some("integer"), Some("uint8")) => "UInt8",
        (Some("integer"), Some("uint16")) => "UInt16",
        (Some("integer"), Some("uint32")) => "UInt32",
        (Some("integer"), Some("uint64")) => "UInt64",
        (Some("string"), Some("date-time")) => "DateTime64(9, 'UTC')",
        _ if field["enum"] == serde_json::json!([4, 6]) => "UInt8",
        _ if field["anyOf"][0]["format"] == "ipv4" => "IPv6",
        _ => "String",
    }
}

/// What is wrong with the columns.
fn faults(columns: &BTreeMap<String, String>, schema: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for (path, kind) in columns.iter().filter(|(path, _)| *path != ADDED) {
        let Some((field, nullable)) = field(schema, path) else {
            all.push(format!("{path} is no field of a connection event"));
            continue;
        };
        if !kind.contains(fitting(field)) {
            all.push(format!("{path} is {kind}, and its field wants {}", fitting(field)));
        }
        if nullable && !kind.contains("Nullable") && !NEVER_NULL_LIVE.contains(&path.as_str()) {
            all.push(format!("{path} is {kind}, and its field can be null"));
        }
    }
    all
}

fn schema() -> Value {
    let text = fs::read_to_string(root().join("tcptrace/schema/events.schema.json")).expect("it is there");
    serde_json::from_str(&text).expect("it is JSON")
}

#[test]
fn columns_are_fields_of_the_schema() {
    let text = fs::read_to_string(root().join("packaging/fleet/clickhouse/schema.sql")).expect("it is there");
    let (_, text) = text.split_once("tcptrace.connections\n(").expect("the table is there");
    let lines = text.lines().map(|line| line.split_once("--").map_or(line, |(line, _)| line));
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut found = BTreeMap::new();
    columns(&text[..closing(&text)], "", &mut found);
    assert!(found.contains_key("client.ip") && found.contains_key(ADDED), "{found:?}");
    let faults = faults(&found, &schema());
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_column_that_does_not_fit_is_found() {
    let list = "ts DateTime64(9, 'UTC'), server Tuple(ip String, `port` UInt16, name String), failed Bool,\n\
                lifetime_ns UInt64 CODEC(T64, ZSTD(1)), service String ALIAS concat('a', 'b'), speed UInt64,\n\
                icmp_error Tuple(`from` IPv6)";
    let mut found = BTreeMap::new();
    columns(list, "", &mut found);
    let expected = [
        "icmp_error.from is IPv6, and its field can be null",
        "lifetime_ns is UInt64 CODEC(T64, ZSTD(1)), and its field can be null",
        "server.ip is String, and its field wants IPv6",
        "server.name is no field of a connection event",
        "speed is no field of a connection event",
    ];
    assert_eq!(faults(&found, &schema()), expected);
}
