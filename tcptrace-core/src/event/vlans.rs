//! The VLANs that a connection was seen in.

use super::put::{Line, Put, array};
use serde::{Deserialize, Deserializer, de::Error as _};

/// Up to two VLAN identifiers, outer first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Vlans {
    /// The outer (or only) one.
    pub outer: Option<u16>,
    /// The inner one.
    pub inner: Option<u16>,
}

impl Vlans {
    /// No tag at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.outer.is_none() && self.inner.is_none()
    }
}

impl Put for Vlans {
    fn put(&self, out: &mut Line) {
        array(self.outer.iter().chain(&self.inner), out);
    }
}

impl<'de> Deserialize<'de> for Vlans {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Vec::<u16>::deserialize(deserializer)?[..] {
            [] => Ok(Self::default()),
            [outer] => Ok(Self { outer: Some(outer), inner: None }),
            [outer, inner] => Ok(Self { outer: Some(outer), inner: Some(inner) }),
            ref more => Err(D::Error::invalid_length(more.len(), &"at most two VLAN identifiers")),
        }
    }
}
