//! How single values are read back and described in the schema, where their types do not tell. What writes them is in
//! [`super::put`].

use super::Kind;
use crate::segment::{Direction, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::borrow::Cow;
use tcptrace_common::tcp::TcpFlags;

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(Self::UNKNOWN) };
        let time = text.parse::<jiff::Timestamp>().map_err(D::Error::custom)?;
        let ns = u64::try_from(time.as_nanosecond());
        ns.map(Self).map_err(|_| D::Error::custom(format_args!("{text} is before 1970 or after 2554")))
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "null"],
            "format": "date-time",
            "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{9}Z$",
        })
    }
}

impl<'de> Deserialize<'de> for Direction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<String>::deserialize(deserializer)?.as_deref() {
            Some("ingress") => Ok(Self::Ingress),
            Some("egress") => Ok(Self::Egress),
            None => Ok(Self::Unknown),
            Some(other) => Err(D::Error::unknown_variant(other, &["ingress", "egress"])),
        }
    }
}

impl JsonSchema for Direction {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Direction".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["ingress", "egress", null] })
    }
}

/// Control bits, from the letters that they are written with.
pub(super) fn flags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TcpFlags, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "none" {
        return Ok(TcpFlags(0));
    }
    let bits =
        text.chars().try_fold(TcpFlags(0), |all, letter| Some(all.union(TcpFlags::from_letter(letter)?)));
    bits.ok_or_else(|| D::Error::custom(format_args!("{text} is not what control bits are written as")))
}

pub(super) fn flags_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^(none|F?S?R?P?\\.?U?E?W?e?)$" })
}

pub(super) fn uuid_or_null(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "format": "uuid" })
}

pub(super) fn kinds(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "enum": Kind::ALL.map(Kind::name) } })
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
