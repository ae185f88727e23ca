//! What is between a source and the consumers: the tracker, `--once`, `--count`, and the conversion of times to the
//! wall clock's.

use super::{
    RunError,
    consumers::{Beginning, Consumers, Moment, Packet},
    nanoseconds, screen, tracking,
};
use crate::{
    cli::{Config, Who},
    event::{Event, Kind, Kinds, RunId, Start, Stats},
    filter::Filter,
    once::{self, Once},
    segment::{Flow, Input, Timestamp},
    sink::units::Count,
    source::live::LiveError,
    source_clock::SourceClock,
    stderr,
    track::{self, Ahead, Next, Tracker},
};
use std::{
    fmt::{Display, Write as _},
    sync::Arc,
};

/// A trace without its source: the tracker, and the way from it to the consumers.
pub(super) struct Pipeline<'a> {
    pub(super) config: &'a Config,
    /// The identifier of this run, which is in `start` and `stats` events.
    id: RunId,
    tracker: Tracker,
    /// What makes one report of several with `--once`; `None` without that option.
    once: Option<Once>,
    delivery: Delivery,
}

/// Counts events and gives them to the consumers.
struct Delivery {
    consumers: Consumers,
    /// Who uses the sockets of the connections that are reported.
    who: Who,
    /// How many connections were reported.
    reported: u64,
    /// How many connections are to be reported, by `--count`.
    limit: u64,
    /// Converts the source's times to those that its clock showed.
    clock: SourceClock,
    /// The first error, after which nothing is delivered.
    result: Result<(), RunError>,
}

impl Delivery {
    /// Gives an event to the consumers, with the wall clock's time in it, unless an error has come or the count is
    /// reached.
    fn deliver(&mut self, mut event: Event, offset_ns: i64) {
        if !self.who.takes(&event) {
            return;
        }
        let counted = event.common().is_some();
        if self.result.is_err() || (counted && self.reported >= self.limit) {
            return;
        }
        self.reported += u64::from(matches!(event, Event::Connection(_)));
        event.retime(|ts| match self.clock.shown(ts) {
            Timestamp::UNKNOWN => Timestamp::UNKNOWN,
            ts => Timestamp(ts.0.saturating_add_signed(offset_ns)),
        });
        self.result = self.consumers.event(&event);
    }

    /// Takes the first error since the last call.
    fn result(&mut self) -> Result<(), RunError> {
        std::mem::replace(&mut self.result, Ok(()))
    }
}

impl<'a> Pipeline<'a> {
    /// Begins the trace: starts the consumers, and gives them the `start` event.
    pub(super) fn begin(
        config: &'a Config,
        filter: Filter,
        mut consumers: Consumers,
        beginning: &Beginning,
        start: Start,
    ) -> Result<Self, RunError> {
        let limits = &config.limits;
        let mut tracker =
            Tracker::new(track::Config { wants: wants(config, &consumers), ..tracking(config) });
        if filter.tells_ends_apart() {
            tracker.set_filter(filter);
        }
        let once = config.output.once.then(|| {
            Once::new(once::Config {
                keep: config.events(),
                time_wait_ns: nanoseconds(limits.time_wait),
                max_sightings: limits.max_connections.saturating_add(once::MAX_HELD),
            })
        });
        let id = start.run;
        consumers.begin(beginning)?;
        // `start` comes before any other event. It is not retimed, as its time is the wall clock's already.
        consumers.event(&Event::Start(Box::new(start)))?;
        consumers.end_of_batch()?;
        let delivery = Delivery {
            consumers,
            who: config.who.clone(),
            reported: 0,
            limit: config.count.unwrap_or(u64::MAX),
            clock: SourceClock::default(),
            result: Ok(()),
        };
        Ok(Self { config, id, tracker, once, delivery })
    }

    /// Prints a line on stderr, unless `--quiet` was given.
    pub(super) fn say(&self, line: impl Display) {
        if !self.config.output.quiet {
            stderr::say(line);
        }
    }

    /// Prints on stderr what the consumers have to report so far, in one piece, unless `--quiet` was given.
    pub(super) fn report(&mut self, mut stats: Stats) {
        if self.config.output.quiet {
            return;
        }
        self.complete(&mut stats);
        let said = self.delivery.consumers.report(Moment::SoFar(&stats));
        if !said.is_empty() {
            screen::say(self.config.output.width, &said);
        }
    }

    /// Has the consumers open their files again.
    pub(super) fn reopen(&mut self) {
        self.delivery.consumers.reopen();
    }

    /// Whether as many connections were reported as `--count` asked for.
    pub(super) fn has_counted(&self) -> bool {
        self.delivery.reported >= self.delivery.limit
    }

    /// Whether the user has ended the trace by a consumer.
    pub(super) fn is_over(&self) -> bool {
        self.delivery.consumers.are_over()
    }

    /// Whether `--once` holds back events until time has gone on.
    pub(super) fn is_holding(&self) -> bool {
        self.once.as_ref().is_some_and(Once::is_holding)
    }

    /// How full the fullest queue for a slow reader is, from 0 to 1.
    pub(super) fn backlog(&self) -> f64 {
        self.delivery.consumers.backlog()
    }

    /// The conversion of the source's times to those that its clock showed.
    pub(super) fn clock(&self) -> &SourceClock {
        &self.delivery.clock
    }

    pub(super) fn name_interface(&mut self, interface: u32, name: Arc<str>) {
        self.tracker.name_interface(interface, name);
    }

    pub(super) fn forget_interfaces(&mut self, gone: &mut Vec<u32>) {
        self.tracker.forget_interfaces(gone);
    }

    /// Takes the questions that the tracker has for the source.
    pub(super) fn take_questions(&mut self) -> Vec<Flow> {
        self.tracker.take_questions()
    }

    pub(super) fn wants_packets(&self) -> bool {
        self.delivery.consumers.want_packets()
    }

    /// Gives a packet to the consumers, before the segment in it is tracked.
    pub(super) fn packet(&mut self, packet: &Packet<'_>) -> Result<(), RunError> {
        self.delivery.consumers.packet(packet)
    }

    /// Tracks a batch, and delivers the events that come of it.
    pub(super) fn track(&mut self, inputs: &mut Vec<Input>, offset_ns: i64) -> Result<(), RunError> {
        let result = inputs.chunks(Ahead::MOST).try_for_each(|some| self.track_some(some, offset_ns));
        inputs.clear();
        result?;
        self.delivery.consumers.end_of_batch()
    }

    /// Tracks at most [`Ahead::MOST`] inputs, unless as many connections were reported as `--count` asked for.
    fn track_some(&mut self, some: &[Input], offset_ns: i64) -> Result<(), RunError> {
        for next in self.tracker.next(some).iter() {
            if self.has_counted() {
                return Ok(());
            }
            self.track_next(&next, offset_ns)?;
        }
        Ok(())
    }

    fn track_next(&mut self, next: &Next<'_>, offset_ns: i64) -> Result<(), RunError> {
        if let Input::Clock(change) = next.input() {
            self.delivery.clock.change(*change);
        }
        self.step(offset_ns, |tracker, sink| tracker.take(next, sink))?;
        if let (Some(once), Some(now)) = (&mut self.once, next.input().ts()) {
            once.advance(now, &mut |event| self.delivery.deliver(event, offset_ns));
        }
        self.delivery.result()
    }

    /// Reports connections that are still in the tracker's table at `ts`, unless `--count` was given.
    pub(super) fn finish(&mut self, ts: Timestamp, offset_ns: i64) -> Result<(), RunError> {
        if self.config.count.is_none() {
            self.step(offset_ns, |tracker, sink| tracker.finish(ts, sink))?;
        }
        if let Some(once) = &mut self.once {
            once.flush(&mut |event| self.delivery.deliver(event, offset_ns));
        }
        self.delivery.result()
    }

    /// Runs `step` on the tracker, and delivers the events that it makes.
    fn step(
        &mut self,
        offset_ns: i64,
        step: impl FnOnce(&mut Tracker, &mut dyn FnMut(Event)),
    ) -> Result<(), RunError> {
        let Self { tracker, once, delivery, .. } = self;
        let deliver = &mut |event| delivery.deliver(event, offset_ns);
        match once {
            None => step(tracker, deliver),
            Some(once) => step(tracker, &mut |event| once.event(event, deliver)),
        }
        delivery.result()
    }

    /// Adds the counters of the tracker and the consumers to those of a source.
    fn complete(&self, stats: &mut Stats) {
        stats.run = self.id;
        stats.connections_open = self.tracker.open().try_into().unwrap_or(u64::MAX);
        stats.connections = self.tracker.counts();
        stats.copies = self.tracker.copies();
        stats.tunnels = stats.tunnels.filter(|_| !self.config.decap.is_none());
        self.delivery.consumers.complete(stats);
    }

    /// Gives the counters of the source, the tracker and the consumers to the consumers. They are no event.
    pub(super) fn counters(&mut self, mut stats: Stats) {
        self.complete(&mut stats);
        self.delivery.consumers.counters(&stats);
    }

    /// Delivers a `stats` event with the counters of the source, the tracker and the consumers.
    pub(super) fn stats(&mut self, mut stats: Stats, offset_ns: i64) -> Result<(), RunError> {
        let last = stats.last;
        self.complete(&mut stats);
        let event = Event::Stats(Box::new(stats));
        let deliver = &mut |event| self.delivery.deliver(event, offset_ns);
        match &mut self.once {
            None => deliver(event),
            Some(once) => {
                once.event(event, deliver);
                if last {
                    once.flush(deliver);
                }
            }
        }
        self.delivery.result()?;
        self.delivery.consumers.end_of_batch()
    }

    /// Has the consumers write what is left, and prints their reports. They are printed where the trace went well, and
    /// where a damaged file or programs that were taken off ended it.
    pub(super) fn end(self, ended: Result<(), RunError>) -> Result<(), RunError> {
        let Self { config, once, delivery: Delivery { mut consumers, .. }, .. } = self;
        // The writers' own errors say more than what came of them.
        let dropped = consumers.end()?;
        let has_reports =
            matches!(ended, Ok(()) | Err(RunError::File(_) | RunError::Live(LiveError::TakenOff { .. })));
        if has_reports && !config.output.quiet {
            let shortfall = once.as_ref().map(shortfall).unwrap_or_default();
            screen::say(config.output.width, &(consumers.report(Moment::End { dropped }) + &shortfall));
        }
        ended
    }
}

/// The kinds of events that the tracker is to make: those that a consumer wants, that are counted, or that `--once`
/// needs.
fn wants(config: &Config, consumers: &Consumers) -> Kinds {
    let mut kinds = consumers.wants();
    if config.count.is_some() {
        kinds = kinds.with(Kind::Connection);
    }
    if config.output.once {
        kinds = kinds.with(Kind::Transition).with(Kind::Established).with(Kind::Connection);
    }
    kinds
}

/// Lines about connections that `--once` had to report early, or on each interface; empty if there are none.
fn shortfall(once: &Once) -> String {
    let mut said = String::new();
    for (count, what) in [
        (once.early(), "reported before all of their interfaces were known: too many at once"),
        (once.apart(), "reported for each interface, to stay within --max-connections"),
    ] {
        if count > 0 {
            // A String takes everything.
            let _ = writeln!(said, "--once: {} {what}", Count(count, "connection", "connections"));
        }
    }
    said
}
