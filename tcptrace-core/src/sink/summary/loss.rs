//! What a trace did not see, in words.

use crate::{event::Stats, sink::units::Count};
use std::fmt;

/// What is lost besides what the counters of a trace say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unseen {
    /// Events that were dropped for a slow reader; the counters may say less, as they were taken before.
    pub(crate) dropped: u64,
    /// Connections of which something may be missing.
    pub(crate) incomplete: u64,
    /// Connections that were given up, as there were too many at once.
    pub(crate) evicted: u64,
}

/// What was lost, as a list in words; "nothing" where that is so.
pub(crate) struct Lost<'a>(pub(crate) &'a Stats, pub(crate) Unseen);

impl Lost<'_> {
    /// What may be lost: how many, the words for one and for several, and how.
    fn parts(&self) -> [(u64, &'static str, &'static str, &'static str); 12] {
        let Self(stats, unseen) = self;
        let ring_full = stats.ring_full.total();
        let capture = stats.capture.unwrap_or_default();
        let cut = capture.cut_too_short;
        let not_parsed = stats.unparsable.total().saturating_sub(cut);
        [
            (
                stats.interfaces_taken_off.unwrap_or_default(),
                "interface",
                "interfaces",
                "that somebody has taken the programs off",
            ),
            (stats.records_lost, "record", "records", "between kernel and tracer"),
            (ring_full, "record", "records", "for which the ring was full"),
            (
                stats.pending_overwrites,
                "expected acknowledgement",
                "expected acknowledgements",
                "overwritten",
            ),
            (
                capture.dropped_by_interface,
                "packet",
                "packets",
                "dropped by the interface when the file was taken, it does not say when",
            ),
            (
                capture.dropped_by_system,
                "packet",
                "packets",
                "dropped by the operating system when the file was taken, it does not say when",
            ),
            (capture.dropped_between_packets, "packet", "packets", "dropped between those in the file"),
            (cut, "packet", "packets", "cut too short by the snapshot length"),
            (not_parsed, "packet", "packets", "not parsable"),
            (stats.events_dropped.max(unseen.dropped), "event", "events", "dropped for a slow reader"),
            (unseen.incomplete, "connection", "connections", "incomplete"),
            (
                unseen.evicted,
                "connection",
                "connections",
                "given up: there were more at once than --max-connections",
            ),
        ]
    }

    /// Whether nothing is known to be lost.
    #[cfg(any(feature = "report", feature = "top"))]
    pub(crate) fn is_nothing(&self) -> bool {
        self.parts().iter().all(|(count, ..)| *count == 0)
    }
}

impl fmt::Display for Lost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(stats, _) = self;
        let mut separator = "";
        for (count, one, many, what) in self.parts() {
            if count > 0 {
                write!(f, "{separator}{} {what}", Count(count, one, many))?;
                separator = ", ";
            }
        }
        match separator {
            "" if stats.last || stats.capture.is_none() => f.write_str("nothing"),
            "" => f.write_str("nothing that is known by now: what a capture lacks may stand at its end"),
            _ => Ok(()),
        }
    }
}
