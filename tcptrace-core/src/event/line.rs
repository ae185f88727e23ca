//! An event as one line of JSON: what every line begins with, and the way back.

use super::{
    Event, Kind, SCHEMA_VERSION,
    put::{Line, Put, PutFields, serialize},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

impl Put for Event {
    fn put(&self, out: &mut Line) {
        match self {
            Self::Start(body) => line(Kind::Start, &**body, out),
            Self::Segment(body) => line(Kind::Segment, body, out),
            Self::Transition(body) => line(Kind::Transition, body, out),
            Self::Established(body) => line(Kind::Established, body, out),
            Self::Connection(body) => line(Kind::Connection, &**body, out),
            Self::Anomaly(body) => line(Kind::Anomaly, body, out),
            Self::IcmpError(body) => line(Kind::IcmpError, body, out),
            Self::Stats(body) => line(Kind::Stats, &**body, out),
        }
    }
}

/// The kind and the schema's version come before everything else.
#[inline]
fn line(kind: Kind, body: &impl PutFields, out: &mut Line) {
    out.extend_from_slice(b"{\"event\":");
    kind.put(out);
    out.extend_from_slice(b",\"schema\":");
    SCHEMA_VERSION.put(out);
    body.put_fields(out);
    out.push(b'}');
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self, serializer)
    }
}

/// From a line of this [`SCHEMA_VERSION`]. What the line does not tell ([`super::Common::origin`], and the order in
/// which states were entered) is then as by default, and fields that are not known are passed over.
impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Versioned {
            #[serde(rename = "schema", deserialize_with = "this_version")]
            _schema: (),
            #[serde(flatten, deserialize_with = "Event::deserialize")]
            event: Event,
        }
        Versioned::deserialize(deserializer).map(|versioned| versioned.event)
    }
}

fn this_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match u32::deserialize(deserializer)? {
        SCHEMA_VERSION => Ok(()),
        other => Err(D::Error::custom(format_args!(
            "the event has schema version {other}, and only {SCHEMA_VERSION} is understood: read it with a tcptrace that writes it"
        ))),
    }
}
