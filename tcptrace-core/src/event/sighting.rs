//! What joins the sightings of one connection on several interfaces, and what comes of it.

use super::put::{Line, Put, array};
use crate::segment::Timestamp;
use serde::{Deserialize, Deserializer};
use std::sync::Arc;

/// Where and how a connection was met on one interface: enough to tell that another interface shows the same one, or
/// one of the same addresses and ports only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Origin {
    /// The interface's number: two of a file can have the same name.
    pub interface: u32,
    /// The tunnel's identity ([`crate::segment::Flow::tunnel`]), 0 for none: an interface can show a connection in one and
    /// outside of it.
    pub tunnel: u32,
    /// The first segment that was seen there.
    pub start: Timestamp,
    /// The client's initial sequence number, once it was seen there.
    pub client_isn: Option<u32>,
    /// The server's.
    pub server_isn: Option<u32>,
    /// It is over there; what follows is late.
    pub ended: bool,
}

/// Names of interfaces, in the order in which the first segment of a connection passed them; empty where every
/// interface is reported by itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Path(Option<Arc<[Arc<str>]>>);

impl Path {
    /// None: not asked for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// One after the other.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|names| names.iter()).map(|name| &**name)
    }
}

impl FromIterator<Arc<str>> for Path {
    fn from_iter<T: IntoIterator<Item = Arc<str>>>(names: T) -> Self {
        let names: Arc<[Arc<str>]> = names.into_iter().collect();
        Self((!names.is_empty()).then_some(names))
    }
}

impl Put for Path {
    fn put(&self, out: &mut Line) {
        array(self.names(), out);
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Arc<str>>::deserialize(deserializer)?.into_iter().collect())
    }
}
