//! The columns of the table of groups: what each says, how wide it is, and how groups are sorted by it.

use super::{
    RATE_SECONDS,
    board::Board,
    group::{Group, Time},
    spark::Marks,
    window::SECONDS,
};
use crate::{event::Outcome, segment::Timestamp};
use std::cmp::Ordering;

/// The characters of a spark line.
const SPARK: usize = 10;

/// A column of the table of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// What the connections of the group have in common.
    Group,
    /// The process or unit.
    Owner,
    /// Connections that are open now.
    Open,
    /// Connections a second, in the last seconds.
    Rate,
    /// Connections in all.
    Total,
    /// The failed handshakes of a hundred.
    Failed,
    /// Why most of them failed.
    Reason,
    /// The median of the time to establish.
    P50,
    /// Its 90th percentile.
    P90,
    /// Its 99th percentile.
    P99,
    /// The median of the network's part.
    Network,
    /// The median of this host's part.
    Host,
    /// The median of the time from the first request to the first answer.
    FirstResponse,
    /// The median of the round-trip time.
    RoundTrip,
    /// SYNs and SYN-ACKs that were sent again.
    Retries,
    /// Segments that the sockets of this host sent again.
    Retransmits,
    /// Connections that were reset after their handshake.
    Resets,
    /// How many connections began in each part of the last minute.
    Spark,
}

impl Column {
    /// Each of them, in the order in which they stand beside each other.
    pub const ALL: [Self; 18] = [
        Self::Group,
        Self::Owner,
        Self::Open,
        Self::Rate,
        Self::Total,
        Self::Failed,
        Self::Reason,
        Self::P50,
        Self::P90,
        Self::P99,
        Self::Network,
        Self::Host,
        Self::FirstResponse,
        Self::RoundTrip,
        Self::Retries,
        Self::Retransmits,
        Self::Resets,
        Self::Spark,
    ];

    /// Each of them, the one first that is left out last.
    const BY_WEIGHT: [Self; 18] = [
        Self::Group,
        Self::Open,
        Self::Rate,
        Self::Failed,
        Self::Reason,
        Self::P50,
        Self::P99,
        Self::P90,
        Self::Spark,
        Self::Network,
        Self::Host,
        Self::Owner,
        Self::FirstResponse,
        Self::RoundTrip,
        Self::Retries,
        Self::Retransmits,
        Self::Total,
        Self::Resets,
    ];

    /// What stands above the column. Times are in milliseconds.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Group => "",
            Self::Owner => "PROCESS/UNIT",
            Self::Open => "OPEN",
            Self::Rate => "CONN/S",
            Self::Total => "TOTAL",
            Self::Failed => "FAILED",
            Self::Reason => "REASON",
            Self::P50 => "P50 ms",
            Self::P90 => "P90 ms",
            Self::P99 => "P99 ms",
            Self::Network => "NET ms",
            Self::Host => "HOST ms",
            Self::FirstResponse => "1st ms",
            Self::RoundTrip => "RTT ms",
            Self::Retries => "SYN-RE",
            Self::Retransmits => "RETRANS",
            Self::Resets => "RESET",
            Self::Spark => "LAST MIN",
        }
    }

    /// What the column says, for the help.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Group => "what the connections have in common",
            Self::Owner => "whose socket the server's is, else the client's",
            Self::Open => "connections that are open now",
            Self::Rate => "new connections a second, in the last 10 s",
            Self::Total => "connections since the start",
            Self::Failed => "failed of all handshakes, since the start",
            Self::Reason => "how most of these failed",
            Self::P50 => "SYN to established: half took at most so long",
            Self::P90 => "nine tenths",
            Self::P99 => "99 of 100",
            Self::Network => "the network's part of that, median",
            Self::Host => "this host's part of that, median",
            Self::FirstResponse => "request to answer, median (--first-byte)",
            Self::RoundTrip => "round trip of this host's sockets, median",
            Self::Retries => "SYNs and SYN-ACKs that were sent again",
            Self::Retransmits => "segments that this host's sockets sent again",
            Self::Resets => "connections reset after their handshake",
            Self::Spark => "new connections in each 6 s of the last minute",
        }
    }

    /// How many characters wide the column is, with the blank before it. The group's takes what is left.
    const fn width(self) -> usize {
        match self {
            // An IPv4 address with a port.
            Self::Group => 21,
            Self::Owner => 16,
            Self::Rate | Self::Failed | Self::Retries | Self::Host | Self::Retransmits => 8,
            Self::Total => 9,
            Self::Reason => 12,
            Self::Open
            | Self::Resets
            | Self::P50
            | Self::P90
            | Self::P99
            | Self::Network
            | Self::FirstResponse
            | Self::RoundTrip => 7,
            Self::Spark => SPARK + 1,
        }
    }

    /// Whether the text stands at the left.
    #[must_use]
    pub const fn is_left(self) -> bool {
        matches!(self, Self::Group | Self::Owner | Self::Reason | Self::Spark)
    }

    /// Whether the largest come first, unless it is asked otherwise.
    #[must_use]
    pub const fn falls(self) -> bool {
        !matches!(self, Self::Group | Self::Owner | Self::Reason)
    }

    /// The columns that have room in this width, each with its own, in the order in which they stand. The one that groups are
    /// sorted by is among them wherever possible.
    #[must_use]
    pub fn fitting(width: usize, sort: Self) -> Vec<(Self, usize)> {
        let mut left = width;
        let mut fit = Vec::new();
        let first = [Self::Group, sort];
        let rest = Self::BY_WEIGHT.into_iter().filter(|column| !first.contains(column));
        for column in first.into_iter().take(if sort == Self::Group { 1 } else { 2 }).chain(rest) {
            // What is wider than the room ends the row: lighter ones do not slip in.
            if column.width() > left {
                break;
            }
            left -= column.width();
            fit.push(column);
        }
        let width = |column: Self| column.width() + if column == Self::Group { left } else { 0 };
        Self::ALL.into_iter().filter(|it| fit.contains(it)).map(|it| (it, width(it))).collect()
    }

    /// What the column says of a group.
    #[must_use]
    pub(super) fn text(self, group: &Group, board: &Board, marks: Marks) -> String {
        let now = board.now();
        match self {
            Self::Group => {
                let key = group.key.named(board.names());
                group.name.as_ref().map_or(key.clone(), |name| {
                    if key.starts_with(&**name) { key } else { format!("{key} {name}") }
                })
            }
            Self::Owner => group.owner.as_ref().map(ToString::to_string).unwrap_or_default(),
            Self::Open => group.open.to_string(),
            Self::Rate => format!("{:.1}", board.rate(&group.recent)),
            Self::Total => group.begun.to_string(),
            Self::Failed => percent(group.failed_percent()),
            Self::Reason => group.reason().map_or("", reason).to_owned(),
            Self::Retries => group.retries.to_string(),
            Self::Retransmits => group.retransmits.to_string(),
            Self::Resets => group.reset.to_string(),
            Self::Spark => marks.spark(&parts(group, now)),
            Self::P50
            | Self::P90
            | Self::P99
            | Self::Network
            | Self::Host
            | Self::FirstResponse
            | Self::RoundTrip => self.time(group).map_or_else(|| "-".to_owned(), short_millis),
        }
    }

    /// The time that the column says.
    fn time(self, group: &Group) -> Option<u64> {
        match self {
            Self::P50 => group.times(Time::Handshake).p50,
            Self::P90 => group.times(Time::Handshake).p90,
            Self::P99 => group.times(Time::Handshake).p99,
            Self::Network => group.times(Time::Network).p50,
            Self::Host => group.times(Time::Host).p50,
            Self::FirstResponse => group.times(Time::FirstResponse).p50,
            Self::RoundTrip => group.times(Time::RoundTrip).p50,
            _ => None,
        }
    }

    /// The groups sorted by this column.
    pub(super) fn sort<'a>(self, groups: Vec<&'a Group>, falls: bool, board: &Board) -> Vec<&'a Group> {
        let now = board.now();
        let value = |group: &Group| match self {
            Self::Open => Value::Count(group.open),
            Self::Rate => Value::Count(group.recent.sum(now, RATE_SECONDS)),
            Self::Total => Value::Count(group.begun),
            Self::Failed => Value::Part(group.failed_percent().unwrap_or(-1.0)),
            Self::Retries => Value::Count(group.retries),
            Self::Retransmits => Value::Count(group.retransmits),
            Self::Resets => Value::Count(group.reset),
            Self::Spark => Value::Count(group.recent.sum(now, SECONDS)),
            Self::Group | Self::Owner | Self::Reason => {
                Value::Text(self.text(group, board, Marks::default()))
            }
            _ => Value::Count(self.time(group).map_or(0, |ns| ns + 1)),
        };
        let mut all: Vec<_> = groups.into_iter().map(|group| (value(group), group)).collect();
        all.sort_by(|(a, one), (b, other)| {
            let order = a.compare(b);
            let order = if falls { order.reverse() } else { order };
            // Equal ones always stand in the same order: the busier first, then by name.
            order
                .then_with(|| other.begun.cmp(&one.begun))
                .then_with(|| one.key.to_string().cmp(&other.key.to_string()))
        });
        all.into_iter().map(|(_, group)| group).collect()
    }
}

/// What groups are compared by.
enum Value {
    Count(u64),
    Part(f64),
    Text(String),
}

impl Value {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Count(a), Self::Count(b)) => a.cmp(b),
            (Self::Part(a), Self::Part(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }
}

/// How many connections began in each part of the last minute.
fn parts(group: &Group, now: Timestamp) -> Vec<u32> {
    group.recent.before(now, SECONDS).chunks(SECONDS / SPARK).map(|part| part.iter().sum()).collect()
}

/// A part of a hundred, exact to a tenth; a few failures of very many are not shown as none.
pub(super) fn percent(percent: Option<f64>) -> String {
    match percent {
        None => "-".to_owned(),
        Some(part) if part > 0.0 && part < 0.1 => "<0.1%".to_owned(),
        Some(part) if part < 100.0 && part > 99.9 => ">99.9%".to_owned(),
        Some(part) => format!("{part:.1}%"),
    }
}

/// Milliseconds in six characters at most, with as many digits as fit.
pub(super) fn short_millis(ns: u64) -> String {
    let us = ns.saturating_add(500) / 1000;
    match us {
        0..100_000 => format!("{}.{:03}", us / 1000, us % 1000),
        100_000..1_000_000 => format!("{}.{:01}", us / 1000, us % 1000 / 100),
        _ => (us / 1000).to_string(),
    }
}

/// An outcome in eleven characters at most.
pub(super) const fn reason(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Refused => "refused",
        Outcome::RefusedIcmp => "ICMP error",
        Outcome::Unanswered => "unanswered",
        Outcome::SynackUnanswered => "no last ACK",
        Outcome::Aborted => "aborted",
        Outcome::Closed => "closed",
        Outcome::Reset => "reset",
        Outcome::Reused => "reused",
        Outcome::Open => "open",
        Outcome::Evicted => "evicted",
    }
}
