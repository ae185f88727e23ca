//! The fields of an event, as its JSON has them and as a script writes them.

use super::{START, number};
use serde_json::{Map, Value};
use tcptrace_core::event::Event;

/// The JSON of an event, with `ts` and `start` as nanoseconds since the beginning of the script.
pub(super) struct Fields(Map<String, Value>);

/// The most important fields of an event, each with the value with which it need not be shown.
type ShownFields = &'static [(&'static str, &'static str)];

const ESTABLISHED: ShownFields = &[
    ("syn_to_established_ns", ""),
    ("syn_to_synack_ns", "null"),
    ("synack_to_ack_ns", "null"),
    ("syn_retransmits", "0"),
    ("synack_retransmits", "0"),
    ("partial", "false"),
    ("complete", "true"),
];

const CONNECTION: ShownFields = &[
    ("outcome", ""),
    ("closed_by", "null"),
    ("reset_by", "null"),
    ("reset_phase", "null"),
    ("half_closed", "false"),
    ("simultaneous_open", "false"),
    ("partial", "false"),
    ("direction_inferred", "false"),
    ("complete", "true"),
    ("client_state", ""),
    ("server_state", ""),
    ("client_bytes", "null"),
    ("server_bytes", "null"),
    ("bytes_mod_4gib", "false"),
    ("syn_retransmits", "0"),
    ("synack_retransmits", "0"),
    ("syn_backoff", "null"),
    ("synack_again", "null"),
    ("challenge_ack", "false"),
    ("resets_ignored", "0"),
    ("self_connection", "false"),
    ("no_such_connection", "false"),
    ("wrong_answers.rsts", "null"),
    ("wrong_answers.synacks", "null"),
    ("earlier_closed_ns", "null"),
    ("answered_elsewhere.ip", "null"),
    ("answered_elsewhere.port", "null"),
    ("ecn.unanswered_syns", "0"),
    ("client_first_data_ns", "null"),
    ("server_first_data_ns", "null"),
    ("first_response_ns", "null"),
    ("first_response_server_ns", "null"),
    ("server_spoke_first", "null"),
    ("close_wait_ns", "null"),
    ("teardown_ns", "null"),
    ("lifetime_ns", "null"),
    ("icmp_error.type", "null"),
    ("icmp_error.code", "null"),
];

const ANOMALY: ShownFields = &[("reason", ""), ("expected", "null")];

const ICMP_ERROR: ShownFields = &[("type", ""), ("code", ""), ("quoted_sender", ""), ("meaning", "")];

impl Fields {
    pub(super) fn of(event: &Event) -> Self {
        let Ok(Value::Object(mut fields)) = serde_json::to_value(event) else { return Self(Map::new()) };
        fields.insert("ts".to_owned(), event.ts().since(START).into());
        if let Event::Connection(connection) = event {
            fields.insert("start".to_owned(), connection.start.since(START).into());
            fields.insert("resets_ignored".to_owned(), connection.resets_ignored.len().into());
            fields.insert("self_connection".to_owned(), connection.self_connection.into());
        }
        Self(fields)
    }

    /// The names of the fields that are worth showing of this event.
    pub(super) fn worth_showing(&self, event: &Event) -> Vec<&'static str> {
        let fields = match event {
            Event::Established(_) => ESTABLISHED,
            Event::Connection(_) => CONNECTION,
            Event::Anomaly(_) => ANOMALY,
            Event::IcmpError(_) => ICMP_ERROR,
            Event::Start(_) | Event::Segment(_) | Event::Transition(_) | Event::Stats(_) => &[],
        };
        let shown = |(name, nothing): &(&'static str, &'static str)| {
            self.get(name).filter(|value| text(value) != *nothing).map(|_| *name)
        };
        fields.iter().filter_map(shown).collect()
    }

    /// Whether the field has this value.
    pub(super) fn is(&self, path: &str, expected: &str) -> bool {
        self.get(path).is_some_and(|value| match unit(path) {
            Some(unit) => is_time(value, expected, unit),
            None => text(value) == expected,
        })
    }

    /// Writes a field as `path=value`.
    pub(super) fn written(&self, path: &str) -> String {
        let Some(value) = self.get(path) else { return format!("{path}=(there is no such field)") };
        let value = unit(path).map_or_else(|| text(value), |unit| time(value, unit));
        if value.contains(char::is_whitespace) {
            format!("{path}=\"{value}\"")
        } else {
            format!("{path}={value}")
        }
    }

    /// The value of a field. A field within null is null, and so is `vlan` where the packet has no tag; `None` where
    /// there is no such field.
    fn get(&self, path: &str) -> Option<&Value> {
        const NULL: &Value = &Value::Null;
        let mut names = path.split('.');
        let mut place = match self.0.get(names.next()?) {
            None if path == "vlan" => NULL,
            found => found?,
        };
        for name in names {
            place = match place.get(name) {
                None if place.is_null() => NULL,
                found => found?,
            };
        }
        Some(place)
    }
}

/// The unit in nanoseconds of a number without one, if the field is a time.
fn unit(path: &str) -> Option<u64> {
    match path {
        "ts" | "start" => Some(number::MILLISECOND),
        _ => path.split('.').any(|name| name.ends_with("_ns")).then_some(1),
    }
}

/// Whether a time, or several with commas between them, has the expected value.
fn is_time(value: &Value, expected: &str, unit: u64) -> bool {
    match value {
        Value::Array(items) => {
            let words: Vec<&str> = expected.split(',').collect();
            words.len() == items.len()
                && items.iter().zip(words).all(|(item, word)| is_time(item, word, unit))
        }
        Value::Number(ns) => ns.as_u64().is_some_and(|ns| number::duration(expected, unit) == Ok(ns)),
        other => text(other) == expected,
    }
}

fn time(value: &Value, unit: u64) -> String {
    match (value, value.as_u64()) {
        (Value::Array(items), _) => items.iter().map(|item| time(item, unit)).collect::<Vec<_>>().join(","),
        (_, Some(ns)) if unit == number::MILLISECOND => number::milliseconds(ns),
        (_, Some(ns)) => number::in_words(ns),
        (other, None) => text(other),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join("."),
        other => other.to_string(),
    }
}
