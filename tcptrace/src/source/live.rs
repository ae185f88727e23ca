//! The live source: the kernel's ring, its interfaces, and the time.
//!
//! One task does everything, in turns: a wake-up starts a short wait, the wait ends in a drain, and a drain
//! that finds more than it may take in one turn goes on in the next. Nothing is awaited half done, so a
//! caller can drop [`LiveSource::next_batch`] at any time (in a `select!`) and call it again.

use super::{
    clock::{WallClock, monotonic_now},
    cost::CostMeter,
    counters::CountersTotal,
    gaps::Gaps,
    pace::Pace,
    reorder::Reorder,
    sender::sender_of,
};
use crate::{
    decode::{self, Record},
    kernel::{
        attach::{AttachError, AttachMode, Attached, IngressHook, Notice},
        interface::{self, Interface, InterfaceError},
        load::{CounterMap, LoadError, LoadOptions, Programs},
        netns::{Netns, NetnsError},
        readiness::readable,
        ring::RingGauge,
        watch::{Change, InterfaceNames, Watch},
    },
    segment::{Input, Observation, Segment, Timestamp},
};
use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use std::{
    collections::BTreeSet,
    io, mem,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tcptrace_common::{abi::Counters, filter::Program};
use thiserror::Error;
use tokio::io::unix::AsyncFd;

/// How late a record may come and still be put in order. Between its stamp and its place in the ring lie a few
/// instructions with interrupts on; 2 ms also covers a virtual CPU that is taken away just there.
const WINDOW: Duration = Duration::from_nanos(WINDOW_NS);
const WINDOW_NS: u64 = 2_000_000;
/// Ticks while nothing happens: time-outs are driven by them.
const TICK: Duration = Duration::from_secs(1);
/// Records of one turn: some tenths of a millisecond, then the caller has its turn.
const SLICE: usize = 1024;

/// Which interfaces.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Selection {
    /// The one that the default route leaves by.
    #[default]
    DefaultRoute,
    /// All that are up, and those that come up later.
    Any,
    /// These.
    Named(Vec<String>),
}

/// What to trace and how.
#[derive(Clone, Debug, Default)]
pub struct LiveConfig {
    /// Which interfaces.
    pub interfaces: Selection,
    /// The network namespace that they are in, as [`Netns::open`] takes it; None is the thread's own.
    pub netns: Option<String>,
    /// The hook for what comes in.
    pub ingress: IngressHook,
    /// How TC programs are attached.
    pub attach: AttachMode,
    /// Which segments the programs make records of.
    pub filter: Box<Program>,
    /// Sizes, and whether the programs log.
    pub load: LoadOptions,
}

/// Why the source could not open or go on.
#[derive(Debug, Error)]
pub enum LiveError {
    /// Loading the programs failed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Attaching them did.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The interface cannot be traced.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The network namespace cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// It went wrong in another network namespace.
    #[error("in network namespace {netns}: {error}")]
    Within {
        /// Which.
        netns: String,
        /// What went wrong.
        error: Box<Self>,
    },
    /// A descriptor or mapping failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What failed.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl LiveError {
    fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// Says where, if it is about interfaces that are elsewhere.
    fn within(self, netns: &Netns) -> Self {
        match (self, netns.name()) {
            (error @ (Self::Interface(_) | Self::Attach(_)), Some(netns)) => {
                Self::Within { netns: netns.to_owned(), error: Box::new(error) }
            }
            (error, _) => error,
        }
    }
}

/// Whether there will be more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Call again.
    More,
    /// Every named interface is gone; this was the last batch.
    End,
}

/// Where the reader stands with the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It was empty; a record will wake us.
    Idle,
    /// A record came; drain at this time.
    Waiting(Instant),
    /// A turn ended before the ring did.
    Draining,
    /// The trace is over.
    Ended,
}

/// A running trace. Dropping it takes the programs off.
pub struct LiveSource {
    attached: Attached,
    programs: Programs,
    ring: AsyncFd<RingBuf<MapData>>,
    gauge: RingGauge,
    counters: CounterMap,
    log: Option<AsyncFd<EbpfLogger<&'static dyn log::Log>>>,
    watch: Watch,
    any: bool,
    /// With `-i any`: could not be attached to, and said so once.
    left_out: BTreeSet<u32>,
    notices: Vec<Notice>,
    gaps: Gaps,
    reorder: Reorder,
    latest: Timestamp,
    wall: WallClock,
    cost: CostMeter,
    pace: Pace,
    phase: Phase,
    next_tick: Instant,
    next_settle: Instant,
    last_drain: Instant,
    drained_bytes: u64,
    ring_bytes: u64,
    ring_peak_bytes: u64,
    undecodable: u64,
}

impl LiveSource {
    /// Loads, attaches and begins. Must be called on a runtime with I/O and time. The notices are for the user.
    pub fn open(config: &LiveConfig) -> Result<(Self, Vec<Notice>), LiveError> {
        let netns = Netns::open(config.netns.as_deref())?;
        Self::open_in(&netns, config).map_err(|error| error.within(&netns))
    }

    fn open_in(netns: &Netns, config: &LiveConfig) -> Result<(Self, Vec<Notice>), LiveError> {
        let watch = Watch::open(netns)?;
        let chosen = netns.within(|| choose(&config.interfaces, &watch.interfaces()))??;
        let mut programs = Programs::load(&config.load)?;
        programs.set_filter(&config.filter)?;
        let ring = programs.take_ring()?;
        let gauge = RingGauge::new(&ring).map_err(|e| LiveError::io("map the ring's positions")(e.into()))?;
        let ring = readable(ring).map_err(LiveError::io("wait for the ring"))?;
        let counters = programs.take_counters()?;
        let mut notices = Vec::new();
        let log = if config.load.kernel_log { open_log(&mut programs, &mut notices)? } else { None };
        let start = monotonic_now();
        let now = Instant::now();
        let any = config.interfaces == Selection::Any;
        let mut attached = Attached::new(netns.clone(), config.ingress, config.attach);
        let mut left_out = BTreeSet::new();
        for interface in &chosen {
            let left = if any { Some(&mut left_out) } else { None };
            attach(&mut attached, &mut programs, interface, left, &mut notices)?;
        }
        let source = Self {
            cost: CostMeter::start(&programs, now),
            attached,
            programs,
            ring,
            gauge,
            counters,
            log,
            watch,
            any,
            left_out,
            notices: Vec::new(),
            gaps: Gaps::new(start),
            reorder: Reorder::default(),
            latest: start,
            wall: WallClock::new(),
            pace: Pace::new(config.load.ring_bytes.into()),
            phase: Phase::Idle,
            next_tick: now + TICK,
            next_settle: now + TICK,
            last_drain: now,
            drained_bytes: 0,
            ring_bytes: config.load.ring_bytes.into(),
            ring_peak_bytes: 0,
            undecodable: 0,
        };
        Ok((source, notices))
    }

    /// Waits for input and appends it. Also returns, perhaps with nothing, when there are notices to take.
    /// Cancel-safe.
    pub async fn next_batch(&mut self, out: &mut Vec<Input>) -> Result<Flow, LiveError> {
        let before = out.len();
        while self.phase != Phase::Ended {
            self.wait().await?;
            self.turn(out)?;
            if self.attached.is_empty() && !self.any {
                self.finish(out)?;
            } else if out.len() > before || !self.notices.is_empty() {
                return Ok(Flow::More);
            }
        }
        Ok(Flow::End)
    }

    /// Takes the programs off, then reads what is left, so that nothing is lost without being counted.
    /// Further calls add nothing.
    pub fn finish(&mut self, out: &mut Vec<Input>) -> Result<(), LiveError> {
        /// A program that was running while it was taken off is done long before this many milliseconds.
        const TRIES: u32 = 20;
        if self.phase == Phase::Ended {
            return Ok(());
        }
        self.cost.stop(&self.programs, Instant::now());
        self.attached.detach_all();
        for _ in 0..TRIES {
            let issued = self.counters.read()?;
            self.drain_all();
            if self.accounted_for(&issued) {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let now = monotonic_now();
        let issued = self.counters.read()?;
        self.drain_all();
        self.settle(&issued, now);
        self.reorder.release(Timestamp(u64::MAX), out);
        out.push(Input::Tick(now));
        self.phase = Phase::Ended;
        Ok(())
    }

    /// What the user should hear since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        mem::take(&mut self.notices)
    }

    /// The kernel programs' counters.
    pub fn counters(&self) -> Result<CountersTotal, LiveError> {
        Ok(CountersTotal::sum(&self.counters.read()?))
    }

    /// Records that the kernel made and that never came.
    #[must_use]
    pub const fn records_lost(&self) -> u64 {
        self.gaps.lost()
    }

    /// Records that came later than the window allows: passed on, but out of order.
    #[must_use]
    pub const fn records_late(&self) -> u64 {
        self.reorder.late()
    }

    /// Records that made no sense: the kernel programs and this build do not belong together.
    #[must_use]
    pub const fn records_undecodable(&self) -> u64 {
        self.undecodable
    }

    /// The ring's size.
    #[must_use]
    pub const fn ring_bytes(&self) -> u64 {
        self.ring_bytes
    }

    /// The most that waited in the ring, read from its positions before each turn. Only the reader lowers the
    /// level, so a peak is missed by what arrives during one turn at most.
    #[must_use]
    pub const fn ring_peak_bytes(&self) -> u64 {
        self.ring_peak_bytes
    }

    /// What a run of a kernel program takes, in nanoseconds, by sampled run statistics; a packet is one run.
    #[must_use]
    pub fn program_cost(&self) -> Option<f64> {
        self.cost.ns_per_run()
    }

    /// Where the programs are, for a person: `eth0 (TC)`.
    #[must_use]
    pub fn describe(&self) -> String {
        self.attached.describe()
    }

    /// Interface index to name, shared.
    #[must_use]
    pub fn names(&self) -> InterfaceNames {
        self.watch.names()
    }

    /// The wall clock's distance, kept current.
    #[must_use]
    pub const fn wall_clock(&self) -> WallClock {
        self.wall
    }

    /// Until something is due. Only the last step before a return changes anything.
    async fn wait(&mut self) -> Result<(), LiveError> {
        let deadline = self.deadline();
        let idle = self.phase == Phase::Idle;
        let woken = tokio::select! {
            biased;
            ready = self.watch.ready() => return ready.map_err(LiveError::io("wait for interface changes")),
            () = flushed(self.log.as_mut()) => return Ok(()),
            () = std::future::ready(()), if self.phase == Phase::Draining => return Ok(()),
            ready = self.ring.readable(), if idle => {
                // Cleared before draining: a record that finds the ring empty after the drain sets it again.
                ready.map_err(LiveError::io("wait for the ring"))?.clear_ready();
                true
            }
            () = tokio::time::sleep_until(deadline.into()) => false,
        };
        if woken {
            self.phase = Phase::Waiting(Instant::now() + self.pace.wait());
        }
        Ok(())
    }

    fn deadline(&self) -> Instant {
        let ring = match self.phase {
            Phase::Waiting(drain) => drain,
            _ => self.next_tick,
        };
        self.cost.due().map_or(ring, |cost| cost.min(ring))
    }

    /// Does everything that is due.
    fn turn(&mut self, out: &mut Vec<Input>) -> Result<(), LiveError> {
        self.follow_interfaces()?;
        let now = Instant::now();
        self.cost.step(&self.programs, now);
        let due = match self.phase {
            Phase::Idle => self.next_tick <= now,
            Phase::Waiting(drain) => drain <= now,
            Phase::Draining => true,
            Phase::Ended => false,
        };
        if due { self.drain(now, out) } else { Ok(()) }
    }

    /// One slice of the ring; at its end the time-ordered part of what came, and how far the time has come.
    fn drain(&mut self, now: Instant, out: &mut Vec<Input>) -> Result<(), LiveError> {
        let issued = if self.next_settle <= now { Some(self.counters.read()?) } else { None };
        let began = monotonic_now();
        self.wall.refresh(began);
        let empty = self.drain_slice();
        let horizon = if empty { began } else { self.latest };
        if empty {
            if let Some(issued) = issued {
                // A record that is just being made is missing too, and not lost: look again in a second.
                if self.accounted_for(&issued) {
                    self.settle(&issued, began);
                }
                self.next_settle = now + TICK;
            }
            self.pace.drained(mem::take(&mut self.drained_bytes), now - self.last_drain);
            self.last_drain = now;
        }
        let until = Timestamp(horizon.0.saturating_sub(WINDOW_NS));
        self.reorder.release(until, out);
        if empty {
            out.push(Input::Tick(until));
        }
        self.phase = if empty { Phase::Idle } else { Phase::Draining };
        // What is held back comes with the next wake-up, or soon if there is none.
        self.next_tick = now + if self.reorder.is_empty() { TICK } else { 2 * WINDOW };
        Ok(())
    }

    /// True if the ring is empty now.
    fn drain_slice(&mut self) -> bool {
        let used = self.gauge.used_bytes() as u64;
        self.ring_peak_bytes = self.ring_peak_bytes.max(used);
        for _ in 0..SLICE {
            let Some(item) = self.ring.get_mut().next() else { return true };
            self.drained_bytes += item.len() as u64;
            let record = decode::record(&item);
            drop(item);
            match record {
                Ok(record) => self.accept(record),
                Err(_) => self.undecodable += 1,
            }
        }
        false
    }

    fn drain_all(&mut self) {
        while !self.drain_slice() {}
    }

    fn accept(&mut self, record: Record) {
        let Record { cpu, number, forwarded, mut what, .. } = record;
        let &Segment { ts, flow, direction, .. } = what.segment();
        if let Some(loss) = self.gaps.observe(cpu, number, ts) {
            self.reorder.push(ts, Input::Lost(loss));
        }
        let watch = &self.watch;
        let loopback = watch.is_loopback(flow.interface);
        // An ICMP error goes back to where the quoted segment came from.
        let to = match what {
            Observation::Segment(_) => flow.dst,
            Observation::Icmp(_) => flow.src,
        };
        what.segment_mut().sender =
            sender_of(direction, forwarded, loopback, || watch.addresses().contains(&to));
        self.latest = self.latest.max(ts);
        self.reorder.push(ts, what.into());
    }

    /// Everything that was issued when `issued` was read has either come or is lost for good.
    fn settle(&mut self, issued: &[Counters], until: Timestamp) {
        for (cpu, counters) in issued.iter().enumerate() {
            if let Some(loss) = self.gaps.settle(cpu, counters.number, until) {
                self.reorder.push(until, Input::Lost(loss));
            }
        }
    }

    /// What is missing of the issued records is what found the ring full: nothing is still being written.
    fn accounted_for(&mut self, issued: &[Counters]) -> bool {
        let missing: u64 =
            issued.iter().enumerate().map(|(cpu, c)| u64::from(self.gaps.missing(cpu, c.number))).sum();
        let full: u64 = issued.iter().flat_map(|c| c.ring_full).sum();
        self.gaps.lost() + missing <= full
    }

    fn follow_interfaces(&mut self) -> Result<(), LiveError> {
        for change in self.watch.changes()? {
            if let Change::Interface(interface) = &change
                && let Some(before) = self.attached.rename(interface)
            {
                let name = Arc::clone(&interface.name);
                self.notices.push(Notice::Renamed { interface: before, name });
            }
            match change {
                Change::Interface(interface) if self.any && interface.traceable() => {
                    let left_out = Some(&mut self.left_out);
                    attach(&mut self.attached, &mut self.programs, &interface, left_out, &mut self.notices)?;
                }
                Change::Interface(_) => {}
                Change::Gone(interface) => {
                    self.left_out.remove(&interface.index);
                    let traced = self.attached.detach(interface.index);
                    if let (Some(interface), false) = (traced, self.any) {
                        self.notices.push(Notice::Vanished { interface });
                    }
                }
            }
        }
        Ok(())
    }
}

/// With `-i any`, which keeps a list of those left out, a single interface that cannot be attached to is left
/// out and said so, once.
fn attach(
    attached: &mut Attached,
    programs: &mut Programs,
    interface: &Interface,
    left_out: Option<&mut BTreeSet<u32>>,
    notices: &mut Vec<Notice>,
) -> Result<(), LiveError> {
    match (attached.attach(programs, interface, notices), left_out) {
        (Ok(()), _) | (Err(AttachError::Gone { .. }), Some(_)) => Ok(()),
        (Err(error @ (AttachError::Load(_) | AttachError::Netns(_))), _) | (Err(error), None) => {
            Err(error.into())
        }
        (Err(error), Some(left_out)) => {
            if left_out.insert(interface.index) {
                let name = interface.name.clone();
                notices.push(Notice::LeftOut { interface: name, reason: error.to_string() });
            }
            Ok(())
        }
    }
}

fn choose(selection: &Selection, all: &[Interface]) -> Result<Vec<Interface>, InterfaceError> {
    match selection {
        Selection::Any => {
            let up: Vec<_> = all.iter().filter(|i| i.traceable()).cloned().collect();
            if up.is_empty() { Err(InterfaceError::NoneUp) } else { Ok(up) }
        }
        Selection::Named(names) => names.iter().map(|name| interface::find(all, name).cloned()).collect(),
        Selection::DefaultRoute => {
            let index = interface::default_route()?;
            let found = all.iter().find(|i| i.index == index).ok_or(InterfaceError::NoDefaultRoute)?;
            Ok(vec![interface::find(all, &found.name)?.clone()])
        }
    }
}

type KernelLog = AsyncFd<EbpfLogger<&'static dyn log::Log>>;

fn open_log(programs: &mut Programs, notices: &mut Vec<Notice>) -> Result<Option<KernelLog>, LiveError> {
    let Some(logger) = programs.take_log() else {
        notices.push(Notice::NoKernelLog);
        return Ok(None);
    };
    readable(logger).map(Some).map_err(LiveError::io("wait for the kernel programs' log"))
}

/// Passes the kernel programs' log on when there is some; without one it waits for ever.
async fn flushed(log: Option<&mut KernelLog>) {
    let Some(log) = log else { return std::future::pending().await };
    match log.readable_mut().await {
        Ok(mut guard) => {
            guard.clear_ready();
            guard.get_inner_mut().flush();
        }
        // The runtime is shutting down; the other branches say so.
        Err(_) => std::future::pending().await,
    }
}
