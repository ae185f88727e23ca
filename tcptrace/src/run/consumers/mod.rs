//! Whoever wants the events of a trace: a file for each, and a line for each in [`OPEN`].

mod capture;
mod json;
mod lines;
mod summary;
mod text;

use super::RunError;
use crate::{
    cli::Config,
    event::{Event, Kinds, Stats},
    segment::Observation,
    sink::{pcapng::Origin, pipe::Pressure},
    source::pcap::Unread,
};
use std::sync::Arc;

/// A consumer that has opened what it writes to, or why it could not; none where the user did not ask for it.
type Opened = Option<Result<Box<dyn Consumer>, RunError>>;

/// Every consumer that there is, in the order in which they are given events.
const OPEN: &[fn(&Opening<'_>) -> Opened] = &[
    json::open,    // lines of JSON on stdout
    text::open,    // lines of text on stdout
    summary::open, // the summary on stderr
    capture::open, // packets to a file
];

/// Somebody who wants the events of a trace, and does something with them. It is made before the process confines itself, and
/// opens then what it writes to; it begins after that.
pub(super) trait Consumer {
    /// The kinds of events that it is to be given. What nobody wants is not made.
    fn wants(&self) -> Kinds;

    /// It is to be given packets too.
    fn wants_packets(&self) -> bool {
        false
    }

    /// The trace begins. Threads that are started here are confined.
    fn begin(&mut self, _: &Beginning) -> Result<(), RunError> {
        Ok(())
    }

    /// Takes an event of a kind that it wants. Its times are those of the wall clock.
    fn event(&mut self, event: &Event) -> Result<(), RunError>;

    /// Takes the packet behind a lifecycle segment or an ICMP error.
    fn packet(&mut self, _: &Packet<'_>) -> Result<(), RunError> {
        Ok(())
    }

    /// All that came at once has been handed over: nothing may wait for what comes next. The error is why nothing more can be
    /// written.
    fn end_of_batch(&mut self) -> Result<(), RunError> {
        Ok(())
    }

    /// Adds what it counted to counters that are about to be told.
    fn complete(&self, _: &mut Stats) {}

    /// How full what it keeps for a slow reader is, from 0 to 1.
    fn backlog(&self) -> f64 {
        0.0
    }

    /// The trace is over: writes what is left, and returns how many events were never written.
    fn end(&mut self) -> Result<u64, RunError> {
        Ok(0)
    }

    /// What it has to say on stderr.
    fn report(&mut self, _: Moment<'_>) -> Option<String> {
        None
    }
}

/// What a consumer can go by when it opens what it writes to.
pub(super) struct Opening<'a> {
    pub(super) config: &'a Config,
    /// Captures that are read: none of them may be written over.
    pub(super) unread: &'a [Unread],
}

/// What is known when the trace begins.
pub(super) struct Beginning {
    /// What to do where a reader is slower than the trace.
    pub(super) pressure: Pressure,
    /// More than one interface can occur.
    pub(super) many_interfaces: bool,
    /// Ends the trace; for a thread that cannot write any more.
    pub(super) end: Arc<dyn Fn() + Send + Sync>,
}

impl Beginning {
    /// Ends the trace, once.
    fn on_end(&self) -> impl FnOnce() + Send + 'static {
        let end = Arc::clone(&self.end);
        move || end()
    }
}

/// A packet, and what was found in it.
pub(super) struct Packet<'a> {
    pub(super) what: &'a Observation,
    /// When it passed, in nanoseconds since 1970.
    pub(super) unix_ns: u64,
    /// The name of its interface, where that is known.
    pub(super) interface: Option<&'a str>,
    pub(super) origin: Origin<'a>,
}

/// When a report is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment<'a> {
    /// The trace goes on, and these are its counters.
    SoFar(&'a Stats),
    /// It is over, and so many events were never written.
    End { dropped: u64 },
}

/// All consumers of a trace.
pub(super) struct Consumers(Vec<(Kinds, Box<dyn Consumer>)>);

impl Consumers {
    /// Opens what the consumers that the user asked for write to.
    pub(super) fn open(opening: &Opening<'_>) -> Result<Self, RunError> {
        let opened = OPEN.iter().filter_map(|open| open(opening));
        let all = opened.map(|consumer| consumer.map(|consumer| (consumer.wants(), consumer)));
        all.collect::<Result<_, _>>().map(Self)
    }

    /// What the tracker is to make for them.
    pub(super) fn wants(&self) -> Kinds {
        self.0.iter().fold(Kinds::NONE, |all, (wants, _)| all.or(*wants))
    }

    pub(super) fn want_packets(&self) -> bool {
        self.each().any(Consumer::wants_packets)
    }

    pub(super) fn begin(&mut self, beginning: &Beginning) -> Result<(), RunError> {
        self.0.iter_mut().try_for_each(|(_, consumer)| consumer.begin(beginning))
    }

    pub(super) fn event(&mut self, event: &Event) -> Result<(), RunError> {
        let kind = event.kind();
        for (wants, consumer) in &mut self.0 {
            if wants.contains(kind) {
                consumer.event(event)?;
            }
        }
        Ok(())
    }

    pub(super) fn packet(&mut self, packet: &Packet<'_>) -> Result<(), RunError> {
        self.0.iter_mut().try_for_each(|(_, consumer)| consumer.packet(packet))
    }

    pub(super) fn end_of_batch(&mut self) -> Result<(), RunError> {
        self.0.iter_mut().try_for_each(|(_, consumer)| consumer.end_of_batch())
    }

    pub(super) fn complete(&self, stats: &mut Stats) {
        self.each().for_each(|consumer| consumer.complete(stats));
    }

    /// How full the fullest is.
    pub(super) fn backlog(&self) -> f64 {
        self.each().map(Consumer::backlog).fold(0.0, f64::max)
    }

    /// Ends all of them, whatever becomes of the others; the first error is returned.
    pub(super) fn end(&mut self) -> Result<u64, RunError> {
        let ends: Vec<_> = self.0.iter_mut().map(|(_, consumer)| consumer.end()).collect();
        ends.into_iter().try_fold(0, |dropped, end| Ok(dropped + end?))
    }

    /// What all of them have to say.
    pub(super) fn report(&mut self, moment: Moment<'_>) -> String {
        self.0.iter_mut().filter_map(|(_, consumer)| consumer.report(moment)).collect()
    }

    fn each(&self) -> impl Iterator<Item = &dyn Consumer> {
        self.0.iter().map(|(_, consumer)| &**consumer)
    }
}
