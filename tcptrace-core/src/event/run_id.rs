//! What tells one run of the program from all others.

use super::put::{Line, Put, displayed};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{borrow::Cow, fmt};

/// A trace's identifier, written as a UUID. The default one stands for a trace that nobody runs, as in tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RunId([u8; 16]);

impl RunId {
    /// Of random bits, of which six give way to what a UUID says of itself: that it is random (RFC 9562 §5.4).
    #[must_use]
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl Put for RunId {
    fn put(&self, out: &mut Line) {
        displayed(self, out);
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // 128 bits as they are written: a number that is not written so has its hyphens elsewhere, or is none.
        let number = u128::from_str_radix(&text.replace('-', ""), 16).unwrap_or_default();
        let id = Self(number.to_be_bytes());
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(D::Error::custom(format_args!("{text} is not a UUID")))
        }
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

#[cfg(test)]
mod tests {
    use super::RunId;

    #[test]
    fn it_is_a_random_uuid_whatever_the_bits_are() {
        for (byte, text) in [
            (0x00, "00000000-0000-4000-8000-000000000000"),
            (0xff, "ffffffff-ffff-4fff-bfff-ffffffffffff"),
            (0x5a, "5a5a5a5a-5a5a-4a5a-9a5a-5a5a5a5a5a5a"),
        ] {
            assert_eq!(RunId::from_random([byte; 16]).to_string(), text);
        }
    }
}
