//! What is between a source and the consumers: the tracker, `--once`, the count, and the wall clock's time.

use super::{
    RunError,
    consumers::{Beginning, Consumers, Moment, Packet},
    nanoseconds, screen,
};
use crate::{
    cli::Config,
    event::{Event, Kind, Kinds, RunId, Start, Stats},
    filter::Filter,
    once::{self, Once},
    segment::{Input, Timestamp},
    sink::units::Count,
    source::live::LiveError,
    source_clock::SourceClock,
    stderr,
    track::{self, Tracker},
};
use std::{
    fmt::{Display, Write as _},
    sync::Arc,
};

/// What a trace has besides its source.
pub(super) struct Pipeline<'a> {
    pub(super) config: &'a Config,
    /// As `start` and `stats` tell it.
    id: RunId,
    tracker: Tracker,
    /// With `--once`.
    once: Option<Once>,
    delivery: Delivery,
}

/// What becomes of an event that is told: it is counted, and goes to the consumers.
struct Delivery {
    consumers: Consumers,
    /// Connections told, and how many are to be.
    reported: u64,
    limit: u64,
    /// What the source's clock shows.
    clock: SourceClock,
    /// The first error; nothing is delivered after it.
    result: Result<(), RunError>,
}

impl Delivery {
    /// Gives an event the wall clock's time on its way out.
    fn deliver(&mut self, mut event: Event, offset_ns: i64) {
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

    /// The first error since this was asked last.
    fn result(&mut self) -> Result<(), RunError> {
        std::mem::replace(&mut self.result, Ok(()))
    }
}

impl<'a> Pipeline<'a> {
    /// Begins: the consumers write from now on.
    pub(super) fn begin(
        config: &'a Config,
        filter: Filter,
        mut consumers: Consumers,
        beginning: &Beginning,
        start: Start,
    ) -> Result<Self, RunError> {
        let limits = &config.limits;
        let mut tracker = Tracker::new(track::Config {
            give_up_ns: nanoseconds(limits.syn_timeout),
            time_wait_ns: nanoseconds(limits.time_wait),
            max_connections: limits.max_connections,
            wants: wants(config, &consumers),
        });
        if filter.tells_ends_apart() {
            tracker.set_filter(filter);
        }
        let once = config.output.once.then(|| {
            Once::new(once::Config {
                keep: config.output.events,
                time_wait_ns: nanoseconds(limits.time_wait),
                max_sightings: limits.max_connections.saturating_add(once::MAX_HELD),
            })
        });
        let id = start.run;
        consumers.begin(beginning)?;
        // The first event, before any other is there. Its time is that of this host already.
        consumers.event(&Event::Start(Box::new(start)))?;
        consumers.end_of_batch()?;
        let delivery = Delivery {
            consumers,
            reported: 0,
            limit: config.count.unwrap_or(u64::MAX),
            clock: SourceClock::default(),
            result: Ok(()),
        };
        Ok(Self { config, id, tracker, once, delivery })
    }

    /// A line on stderr, unless it was asked to be quiet.
    pub(super) fn say(&self, line: impl Display) {
        if !self.config.output.quiet {
            stderr::say(line);
        }
    }

    /// What the consumers have to report so far, on stderr in one piece.
    pub(super) fn report(&mut self, mut stats: Stats) {
        self.complete(&mut stats);
        let said = self.delivery.consumers.report(Moment::SoFar(&stats));
        if !said.is_empty() {
            screen::say(self.config.output.width, &said);
        }
    }

    /// As many connections were told as were asked for.
    pub(super) fn has_counted(&self) -> bool {
        self.delivery.reported >= self.delivery.limit
    }

    /// Events wait for time to go on.
    pub(super) fn is_holding(&self) -> bool {
        self.once.as_ref().is_some_and(Once::is_holding)
    }

    /// How full what is kept for slow readers is, from 0 to 1.
    pub(super) fn backlog(&self) -> f64 {
        self.delivery.consumers.backlog()
    }

    /// What the source's clock shows.
    pub(super) fn clock(&self) -> &SourceClock {
        &self.delivery.clock
    }

    pub(super) fn name_interface(&mut self, interface: u32, name: Arc<str>) {
        self.tracker.name_interface(interface, name);
    }

    pub(super) fn forget_interfaces(&mut self, gone: &mut Vec<u32>) {
        self.tracker.forget_interfaces(gone);
    }

    pub(super) fn wants_packets(&self) -> bool {
        self.delivery.consumers.want_packets()
    }

    /// Hands over a packet, before what is found in it is tracked.
    pub(super) fn packet(&mut self, packet: &Packet<'_>) -> Result<(), RunError> {
        self.delivery.consumers.packet(packet)
    }

    /// Tracks a batch, and delivers what comes of it.
    pub(super) fn track(&mut self, inputs: &mut Vec<Input>, offset_ns: i64) -> Result<(), RunError> {
        for input in inputs.drain(..) {
            if let Input::Clock(change) = input {
                self.delivery.clock.change(change);
            }
            self.step(offset_ns, |tracker, sink| tracker.input(&input, sink))?;
            if let (Some(once), Some(now)) = (&mut self.once, input.ts()) {
                once.advance(now, &mut |event| self.delivery.deliver(event, offset_ns));
                self.delivery.result()?;
            }
            if self.has_counted() {
                break;
            }
        }
        self.delivery.consumers.end_of_batch()
    }

    /// Reports what is still in the table at `ts`. With a count, that was not asked for.
    pub(super) fn finish(&mut self, ts: Timestamp, offset_ns: i64) -> Result<(), RunError> {
        if self.config.count.is_none() {
            self.step(offset_ns, |tracker, sink| tracker.finish(ts, sink))?;
        }
        if let Some(once) = &mut self.once {
            once.flush(&mut |event| self.delivery.deliver(event, offset_ns));
        }
        self.delivery.result()
    }

    /// Runs the tracker, and delivers what it says.
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

    /// Completes counters of a source with those of the rest.
    fn complete(&self, stats: &mut Stats) {
        stats.run = self.id;
        stats.connections_open = self.tracker.open().try_into().unwrap_or(u64::MAX);
        stats.connections = self.tracker.counts();
        stats.copies = self.tracker.copies();
        stats.tunnels = stats.tunnels.filter(|_| !self.config.decap.is_none());
        self.delivery.consumers.complete(stats);
    }

    /// Completes counters of a source with those of the rest, and delivers them.
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

    /// Has the consumers write what is left, and says their reports where the trace went well (or its input's end did not).
    pub(super) fn end(self, ended: Result<(), RunError>) -> Result<(), RunError> {
        let Self { config, once, delivery: Delivery { mut consumers, .. }, .. } = self;
        // The writers' own errors say more than what came of them.
        let dropped = consumers.end()?;
        let is_told =
            matches!(ended, Ok(()) | Err(RunError::File(_) | RunError::Live(LiveError::TakenOff { .. })));
        if is_told && !config.output.quiet {
            let shortfall = once.as_ref().map(shortfall).unwrap_or_default();
            screen::say(config.output.width, &(consumers.report(Moment::End { dropped }) + &shortfall));
        }
        ended
    }
}

/// The tracker makes what somebody wants, or what is counted, or needed to tell things once, and nothing else.
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

/// Where `--once` could not do what it is for.
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
