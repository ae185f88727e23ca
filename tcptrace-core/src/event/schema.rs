//! The JSON Schema (draft 2020-12) of one line of output, generated from the types that are written.

use super::{
    Anomaly, Connection, Established, IcmpErrorEvent, Kind, RunId, SCHEMA_VERSION, SegmentEvent, Start,
    State, StateTimes, Stats, Transition,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The schema of the union of all events.
#[must_use]
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let events: Vec<Value> = Kind::ALL.into_iter().map(|kind| line(kind, &mut generator)).collect();
    let mut definitions = generator.take_definitions(true);
    definitions.values_mut().for_each(close);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tcptrace events",
        "description": "One line of `tcptrace --json`. Durations end in _ns (integer nanoseconds), sizes in _bytes; \
                        what was not seen is null, never 0.",
        "oneOf": events,
        "$defs": definitions,
    })
}

/// Allows no other field than those described, so that a line that says more than the schema is found by the tests.
fn close(schema: &mut Value) {
    if let Value::Object(schema) = schema
        && schema.contains_key("properties")
    {
        schema.insert("additionalProperties".into(), false.into());
    }
}

/// One kind's schema: the type's own, behind the two fields that every line begins with.
fn line(kind: Kind, generator: &mut SchemaGenerator) -> Value {
    let body = match kind {
        Kind::Start => Start::json_schema(generator),
        Kind::Segment => SegmentEvent::json_schema(generator),
        Kind::Transition => Transition::json_schema(generator),
        Kind::Established => Established::json_schema(generator),
        Kind::Connection => Connection::json_schema(generator),
        Kind::Anomaly => Anomaly::json_schema(generator),
        Kind::IcmpError => IcmpErrorEvent::json_schema(generator),
        Kind::Stats => Stats::json_schema(generator),
    };
    let mut properties = Map::new();
    properties.insert("event".into(), json!({ "description": "The kind of event.", "const": kind.name() }));
    properties.insert(
        "schema".into(),
        json!({ "description": "Raised on any incompatible change.", "const": SCHEMA_VERSION }),
    );
    let mut required = vec![json!("event"), json!("schema")];
    if let Some(Value::Object(fields)) = body.get("properties") {
        properties.extend(fields.clone());
    }
    if let Some(Value::Array(names)) = body.get("required") {
        required.extend(names.iter().cloned());
    }
    let mut line = json!({
        "title": kind.name(),
        "description": body.get("description"),
        "type": "object",
        "properties": properties,
        "required": required,
    });
    close(&mut line);
    line
}

impl JsonSchema for StateTimes {
    fn schema_name() -> Cow<'static, str> {
        "StateTimes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let ns = json!({ "type": ["integer", "null"], "format": "uint64", "minimum": 0 });
        let names = State::TIMED.map(|state| state.name().replace('-', "_"));
        let states: Map<String, Value> = names.iter().map(|name| (name.clone(), ns.clone())).collect();
        json_schema!({
            "description": "Nanoseconds spent in each state; null of a state that the endpoint was not seen to enter and to \
                            leave, and of one whose time the source's clock does not tell, which is then in \
                            client_states_untimed or server_states_untimed.",
            "type": "object",
            "properties": states,
            "required": names,
            "additionalProperties": false,
        })
    }
}

impl JsonSchema for RunId {
    fn schema_name() -> Cow<'static, str> {
        "RunId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Random, as a UUID (RFC 9562 §5.4).",
            "type": "string",
            "format": "uuid",
        })
    }
}

pub(super) fn uuid_or_null(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "format": "uuid" })
}

pub(super) fn kinds(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "enum": Kind::ALL.map(Kind::name) } })
}

pub(super) fn timestamp(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "null"],
        "format": "date-time",
        "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{9}Z$",
    })
}

pub(super) fn ip(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] })
}

pub(super) fn ip_version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": [4, 6] })
}

pub(super) fn community_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^1:[A-Za-z0-9+/]{27}=$" })
}

pub(super) fn vlan(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": { "type": "integer", "minimum": 0, "maximum": 4095 },
        "minItems": 1,
        "maxItems": 2,
    })
}

pub(super) fn server_vlan(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = vlan(generator);
    schema.insert("minItems".to_owned(), 0.into());
    schema
}

pub(super) fn path(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string" }, "minItems": 1 })
}

pub(super) fn direction(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["ingress", "egress", null] })
}

pub(super) fn flags(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^(none|F?S?R?P?\\.?U?E?W?e?)$" })
}
