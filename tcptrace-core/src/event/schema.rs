//! The JSON Schema (draft 2020-12) of one line of output, generated from the types that are written.

use super::{
    Anomaly, Connection, Established, IcmpErrorEvent, Kind, SCHEMA_VERSION, SegmentEvent, Start, Stats,
    Transition,
};
use schemars::{JsonSchema as _, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

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
