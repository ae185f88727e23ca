//! The kinds of events, and sets of them: who wants to hear of what.

use super::{
    define::names,
    put::{Line, Put, array},
};
use serde::{Deserialize, Deserializer};
use std::str::FromStr;
use thiserror::Error;

names! {
    /// The kinds of events, as the JSON's `event` and the command line's `--events` name them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[repr(u8)]
    pub enum Kind {
        /// [`super::Event::Start`].
        Start = "start",
        /// [`super::Event::Segment`].
        Segment = "segment",
        /// [`super::Event::Transition`].
        Transition = "transition",
        /// [`super::Event::Established`].
        Established = "established",
        /// [`super::Event::Connection`].
        Connection = "connection",
        /// [`super::Event::Anomaly`].
        Anomaly = "anomaly",
        /// [`super::Event::IcmpError`].
        IcmpError = "icmp_error",
        /// [`super::Event::Stats`].
        Stats = "stats",
    }
}

impl Kind {
    /// The name in the JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.json_name()
    }
}

/// A set of kinds: what somebody wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Kinds(u8);

impl Kinds {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them: a bit for each of [`Kind::ALL`].
    pub const ALL: Self = Self(u8::MAX >> (u8::BITS as usize - Kind::ALL.len()));

    /// The set with one more.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// The set without one.
    #[must_use]
    pub const fn without(self, kind: Kind) -> Self {
        Self(self.0 & !(1 << kind as u8))
    }

    /// What is in one of the two sets.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Is it in the set?
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

impl Put for Kinds {
    fn put(&self, out: &mut Line) {
        array(Kind::ALL.iter().filter(|kind| self.contains(**kind)), out);
    }
}

impl<'de> Deserialize<'de> for Kinds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Kind>::deserialize(deserializer)?.into_iter().collect())
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<T: IntoIterator<Item = Kind>>(kinds: T) -> Self {
        kinds.into_iter().fold(Self::NONE, Self::with)
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownKind)
    }
}

/// No kind has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not one of start, segment, transition, established, connection, anomaly, icmp_error, stats")]
pub struct UnknownKind;
