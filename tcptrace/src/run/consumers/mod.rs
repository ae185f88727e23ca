//! The consumers of a trace's events. Each has a file, and a line in [`OPEN`].

mod capture;
mod files;
mod json;
mod lines;
mod metrics;
mod summary;
mod text;
mod top;

use super::RunError;
use crate::{
    cli::Config,
    event::{Event, Kinds, Stats},
    segment::Observation,
    sink::{pcapng::Origin, pipe::Pressure},
    source::pcap::Unread,
};
use std::{os::fd::RawFd, sync::Arc};
use tokio::sync::Notify;

/// A consumer that has opened what it writes to, or why it could not; `None` if the user did not ask for it.
type Opened = Option<Result<Box<dyn Consumer>, RunError>>;

/// Every consumer that there is, in the order in which they are given events.
const OPEN: &[fn(&Opening<'_>) -> Opened] = &[
    json::open,    // lines of JSON on stdout
    text::open,    // lines of text on stdout
    files::open,   // lines in files
    summary::open, // the summary on stderr
    capture::open, // packets to a file
    metrics::open, // metrics to whoever asks for them
    top::open,     // a screen on the terminal
];

/// A consumer is given the events of a trace and does something with them. It is made, and opens what it writes to,
/// before the process confines itself; it begins after that.
pub(super) trait Consumer {
    /// The kinds of events that the consumer is to be given. Events that no consumer wants are not made.
    fn wants(&self) -> Kinds;

    /// Whether the consumer is to be given packets too.
    fn wants_packets(&self) -> bool {
        false
    }

    /// The socket on which the consumer accepts connections, if it does. It stays open to the end of the process.
    fn listener(&self) -> Option<RawFd> {
        None
    }

    /// The terminal whose modes the consumer changes, if it does. It stays open to the end of the process.
    fn terminal(&self) -> Option<RawFd> {
        None
    }

    /// Begins with the trace. The process is confined by now, and so are threads that are started here.
    fn begin(&mut self, _: &Beginning) -> Result<(), RunError> {
        Ok(())
    }

    /// Takes an event of a kind that the consumer wants. The event's times are those of the wall clock.
    fn event(&mut self, event: &Event) -> Result<(), RunError>;

    /// Takes the packet behind a lifecycle segment or an ICMP error.
    fn packet(&mut self, _: &Packet<'_>) -> Result<(), RunError> {
        Ok(())
    }

    /// Hands over what was kept back of a batch of events: it may not wait for the next batch. The error says why
    /// nothing more can be written.
    fn end_of_batch(&mut self) -> Result<(), RunError> {
        Ok(())
    }

    /// Takes the counters of the trace as they are now, after a consumer has asked for them ([`Beginning::ask`]).
    fn counters(&mut self, _: &Stats) {}

    /// Adds what the consumer counted to counters that are about to be reported.
    fn complete(&self, _: &mut Stats) {}

    /// How full the consumer's queue for a slow reader is, from 0 to 1.
    fn backlog(&self) -> f64 {
        0.0
    }

    /// Whether the user has ended the trace by the consumer.
    fn is_over(&self) -> bool {
        false
    }

    /// Opens the files that the consumer writes again, as they may have been moved away.
    fn reopen(&mut self) {}

    /// Ends with the trace: writes what is left, and returns how many events were never written.
    fn end(&mut self) -> Result<u64, RunError> {
        Ok(0)
    }

    /// The lines that the consumer has for stderr, each with its line feed.
    fn report(&mut self, _: Moment<'_>) -> Option<String> {
        None
    }
}

/// What a consumer is given when it opens what it writes to.
pub(super) struct Opening<'a> {
    pub(super) config: &'a Config,
    /// The captures that are read: none of them may be written over.
    pub(super) unread: &'a [Unread],
    /// What to do where a reader is slower than the trace.
    pub(super) pressure: Pressure,
}

/// What is known when the trace begins.
pub(super) struct Beginning {
    /// Whether more than one interface can occur.
    pub(super) many_interfaces: bool,
    /// Ends the trace. A thread calls it that cannot write any more.
    pub(super) end: Arc<dyn Fn() + Send + Sync>,
    /// Asks the trace for its counters, which [`Consumer::counters`] is given then. Only a live trace answers.
    pub(super) ask: Arc<Notify>,
}

impl Beginning {
    /// A function that ends the trace, for a thread of a consumer's to call once.
    fn on_end(&self) -> impl FnOnce() + Send + 'static {
        let end = Arc::clone(&self.end);
        move || end()
    }
}

/// A packet, and the segment or ICMP error that was found in it.
pub(super) struct Packet<'a> {
    pub(super) what: &'a Observation,
    /// When the packet passed, in nanoseconds since 1970.
    pub(super) unix_ns: u64,
    /// The name of the packet's interface, where that is known.
    pub(super) interface: Option<&'a str>,
    pub(super) origin: Origin<'a>,
}

/// When a report is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment<'a> {
    /// The report is asked for while the trace goes on, whose counters these are.
    SoFar(&'a Stats),
    /// The report is asked for at the end of the trace, when `dropped` events were never written.
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

    /// The kinds of events that any of the consumers wants.
    pub(super) fn wants(&self) -> Kinds {
        self.0.iter().fold(Kinds::NONE, |all, (wants, _)| all.or(*wants))
    }

    pub(super) fn want_packets(&self) -> bool {
        self.each().any(Consumer::wants_packets)
    }

    /// The sockets on which consumers accept connections.
    pub(super) fn listeners(&self) -> Vec<RawFd> {
        self.each().filter_map(Consumer::listener).collect()
    }

    /// The terminal whose modes a consumer changes.
    pub(super) fn terminal(&self) -> Option<RawFd> {
        self.each().find_map(Consumer::terminal)
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

    pub(super) fn counters(&mut self, stats: &Stats) {
        self.0.iter_mut().for_each(|(_, consumer)| consumer.counters(stats));
    }

    pub(super) fn complete(&self, stats: &mut Stats) {
        self.each().for_each(|consumer| consumer.complete(stats));
    }

    /// How full the fullest queue of any consumer is, from 0 to 1.
    pub(super) fn backlog(&self) -> f64 {
        self.each().map(Consumer::backlog).fold(0.0, f64::max)
    }

    /// Whether the user has ended the trace by a consumer.
    pub(super) fn are_over(&self) -> bool {
        self.each().any(Consumer::is_over)
    }

    pub(super) fn reopen(&mut self) {
        self.0.iter_mut().for_each(|(_, consumer)| consumer.reopen());
    }

    /// Ends each consumer, even if another fails. Returns how many events were never written, or the first error.
    pub(super) fn end(&mut self) -> Result<u64, RunError> {
        let ends: Vec<_> = self.0.iter_mut().map(|(_, consumer)| consumer.end()).collect();
        ends.into_iter().try_fold(0, |dropped, end| Ok(dropped + end?))
    }

    /// The lines that the consumers have for stderr.
    pub(super) fn report(&mut self, moment: Moment<'_>) -> String {
        self.0.iter_mut().filter_map(|(_, consumer)| consumer.report(moment)).collect()
    }

    fn each(&self) -> impl Iterator<Item = &dyn Consumer> {
        self.0.iter().map(|(_, consumer)| &**consumer)
    }
}
