//! The kinds of events, and sets of them: who wants to hear of what.

use serde::{Serialize, Serializer};
use std::str::FromStr;
use thiserror::Error;

/// The kinds of events, as the JSON's `event` and the command line's `--events` name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// [`super::Event::Start`].
    Start,
    /// [`super::Event::Segment`].
    Segment,
    /// [`super::Event::Transition`].
    Transition,
    /// [`super::Event::Established`].
    Established,
    /// [`super::Event::Connection`].
    Connection,
    /// [`super::Event::Anomaly`].
    Anomaly,
    /// [`super::Event::IcmpError`].
    IcmpError,
    /// [`super::Event::Stats`].
    Stats,
}

impl Kind {
    /// All eight.
    pub const ALL: [Self; 8] = [
        Self::Start,
        Self::Segment,
        Self::Transition,
        Self::Established,
        Self::Connection,
        Self::Anomaly,
        Self::IcmpError,
        Self::Stats,
    ];

    /// The name in the JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Segment => "segment",
            Self::Transition => "transition",
            Self::Established => "established",
            Self::Connection => "connection",
            Self::Anomaly => "anomaly",
            Self::IcmpError => "icmp_error",
            Self::Stats => "stats",
        }
    }
}

/// A set of kinds: what somebody wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Kinds(u8);

impl Kinds {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self::NONE
        .with(Kind::Start)
        .with(Kind::Segment)
        .with(Kind::Transition)
        .with(Kind::Established)
        .with(Kind::Connection)
        .with(Kind::Anomaly)
        .with(Kind::IcmpError)
        .with(Kind::Stats);

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

impl Serialize for Kinds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = Kind::ALL.into_iter().filter(|kind| self.contains(*kind)).map(Kind::name);
        serializer.collect_seq(names)
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
