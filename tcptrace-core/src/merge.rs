//! One story of what several traces saw: which connections are one, where each of their segments was seen and where it was lost,
//! how the clocks differ, and who sent a RST.
//!
//! Give a [`Merger`] the events of each trace, one trace after the other or mixed, and it makes of them a [`MergedConnection`]
//! for each connection and a [`MergeSummary`]. It keeps the connections and segments until then, about 150 octets a connection
//! and 32 a segment, as the clocks are known only by all of them.

mod between;
mod by;
mod clocks;
mod fate;
mod join;
mod order;
mod report;
mod same;
mod sent;
mod tell;
mod text;
mod trace;

pub use by::{Fate, JoinedBy, OrderedBy};
pub use report::{
    BetweenSummary, Bits, End, Hop, Instant, Joined, LostByKind, MERGE_SCHEMA_VERSION, MergeSighting,
    MergeSummary, Merged, MergedConnection, MergedSegment, Name, ResetFrom, SegmentSighting, Traffic,
    VantageSummary, merge_schema,
};
pub use text::MergeText;

use crate::event::Event;
use between::Pairs;
use join::{Join, Member};
use order::Known;
use tell::Teller;
use trace::{Conn, Trace, later_by};

/// Takes the events of traces, and tells one story of them.
#[derive(Debug)]
pub struct Merger {
    names: Vec<Name>,
    traces: Vec<Trace>,
}

/// A stack gives a SYN up after about so long, so that the first one that was seen at two places may be this far apart.
const SYN_TRIES_NS: u64 = 130_000_000_000;

impl Merger {
    /// A merger of traces with these names.
    #[must_use]
    pub fn new(names: Vec<Name>) -> Self {
        let traces = names.iter().map(|_| Trace::default()).collect();
        Self { names, traces }
    }

    /// Takes an event of the trace with this number, from 0 on.
    pub fn event(&mut self, trace: usize, event: &Event) {
        if let Some(trace) = self.traces.get_mut(trace) {
            trace.event(event);
        }
    }

    /// Tells of each connection, in the order in which they began. Then it returns what holds of all.
    pub fn finish<E>(
        mut self,
        tell: &mut dyn FnMut(MergedConnection) -> Result<(), E>,
    ) -> Result<MergeSummary, E> {
        self.traces.iter_mut().for_each(Trace::sort);
        let traces = &self.traces;
        let mut join = Join::by_both_numbers(traces);
        let first = Pairs::of(traces, &Known::from_all(traces, &join.groups), &mut join.groups);
        join.by_client_number(|a, in_a, b, in_b| may_begin_at_once(&first, (a, in_a), (b, in_b)));
        let known = Known::from_all(traces, &join.groups);
        let pairs = Pairs::of(traces, &known, &mut join.groups);
        let Join { mut groups, not_joined, .. } = join;
        // By one clock, as far as that can be.
        groups.sort_by_cached_key(|group| {
            let Member { trace, conn, .. } = group.members[0];
            let start = trace::nanoseconds(traces[trace].conns[conn as usize].start);
            start.saturating_sub(pairs.shift(0, trace).unwrap_or_default())
        });
        let mut teller = Teller::new(&self.names, traces, &known, &pairs, &groups, not_joined);
        for group in &groups {
            tell(teller.connection(group))?;
        }
        Ok(teller.summary())
    }
}

/// Whether two connections of two traces may have begun at the same time, as far as the clocks are known.
fn may_begin_at_once(pairs: &Pairs, (a, in_a): (&Conn, usize), (b, in_b): (&Conn, usize)) -> bool {
    let Some(shift) = pairs.shift(in_a, in_b) else { return true };
    later_by(a.start, b.start).is_none_or(|later| later.abs_diff(shift) < SYN_TRIES_NS)
}
