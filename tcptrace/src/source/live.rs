//! The live source: reads the kernel's ring, keeps track of interfaces, and tells the time.
//!
//! One task does everything, in turns: a wake-up starts a short wait, the wait ends in a drain, and a drain that finds
//! more than it may take in one turn goes on in the next. Nothing is awaited half done, so a caller can drop
//! [`LiveSource::next_batch`] at any time (in a `select!`) and call it again.

pub use super::{
    config::{LiveConfig, Selection},
    error::LiveError,
};

use super::{
    clock::{WallClock, monotonic_now},
    cost::{CostMeter, Estimate},
    counters::CountersTotal,
    gaps::Gaps,
    listeners::Listeners,
    overload::{Fill, Overload},
    owners::Owners,
    pace::Pace,
    phase::Phase,
    presence::Presence,
    processes::Processes,
    reorder::Reorder,
    sender::sender_of,
    spaces::Spaces,
    sweep::Sweep,
    tags::Tags,
};
use crate::{
    decode::{self, Item, Record},
    event::TracedInterface,
    kernel::{
        attach::{IngressHook, Notice},
        calls::readiness::readable,
        interfaces::watch::InterfaceNames,
        load::{CounterMap, LoadOptions, Programs, pending::PendingWords, ring::RingGauge},
    },
    segment::{AdmissionChange, Flow, Input, LossReport, Observation, Segment, Timestamp},
};
use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use std::{
    mem, thread,
    time::{Duration, Instant},
};
use tcptrace_common::{abi::Counters, admission::Admission};
use tcptrace_core::socket::SocketProcess;
use tokio::io::unix::AsyncFd;

/// How late a record may come and still be put in order. Between its stamp and its place in the ring lie a few
/// instructions with interrupts on; 2 ms also cover a virtual CPU that is taken away just there.
const WINDOW: Duration = Duration::from_nanos(WINDOW_NS);
/// [`WINDOW`] in nanoseconds.
const WINDOW_NS: u64 = 2_000_000;
/// How often the tracker is told the time while nothing else happens: its time-outs depend on it.
const TICK: Duration = Duration::from_secs(1);
/// How many records one turn takes. It takes some tenths of a millisecond, then the caller has its turn.
const SLICE: usize = 1024;

/// Whether the source will have more input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterBatch {
    /// There may be more input.
    More,
    /// This was the last batch: every named interface is gone, or somebody has taken the programs off.
    End,
}

/// The source of a live trace. Dropping it takes the programs off.
pub struct LiveSource {
    spaces: Spaces,
    programs: Programs,
    ring: AsyncFd<RingBuf<MapData>>,
    gauge: RingGauge,
    counters: CounterMap,
    pending: PendingWords,
    sweep: Sweep,
    log: Option<AsyncFd<EbpfLogger<&'static dyn log::Log>>>,
    notices: Vec<Notice>,
    gaps: Gaps,
    /// When the programs were first on all hooks.
    attached: Timestamp,
    reorder: Reorder,
    wall: WallClock,
    cost: CostMeter,
    pace: Pace,
    overload: Overload,
    /// How full the output's queue is, from 0 to 1, as the caller has said.
    backlog: f64,
    presence: Presence,
    phase: Phase,
    next_tick: Instant,
    last_drain: Instant,
    drained_bytes: u64,
    /// How many records were read since the admission was last adjusted.
    drained_records: u64,
    ring_bytes: u64,
    ring_peak_bytes: u64,
    undecodable: u64,
    tags: Tags,
    /// The names of the owners of sockets, if sockets are asked for.
    owners: Option<Owners>,
    listeners: Listeners,
    /// The processes that use sockets, if they are asked for and can be known.
    processes: Option<Processes>,
    /// How many expected acknowledgements were overwritten, as the tracker was last told.
    overwrites: u64,
}

impl LiveSource {
    /// Loads the programs, attaches them and begins. It must be called on a runtime with I/O and time. The notices are
    /// for the user.
    pub fn open(config: &LiveConfig) -> Result<(Self, Vec<Notice>), LiveError> {
        let mut spaces = Spaces::choose(config)?;
        // A tag that the device took off is not in the packet (net/core/skbuff.c, skb_vlan_untag), which is all that XDP sees.
        let ignore_vlans = config.ingress == IngressHook::Xdp;
        let mut programs = Programs::load_as(&config.load, spaces.role())?;
        programs.set_filter(&config.filter)?;
        programs.set_admission(config.sample)?;
        spaces.loaded(&programs, &config.load)?;
        let ring = programs.take_ring()?;
        let gauge = RingGauge::new(&ring).map_err(|e| LiveError::io("map the ring's positions")(e.into()))?;
        let ring = readable(ring).map_err(LiveError::io("wait for the ring"))?;
        let counters = programs.take_counters()?;
        let pending = programs.pending(&config.load)?;
        let mut notices = Vec::new();
        let log = if config.load.kernel_log { open_log(&mut programs, &mut notices)? } else { None };
        let mut processes = None;
        if config.load.processes {
            match Processes::watch(&mut programs) {
                Ok(mut watched) => {
                    if let Err(error) = watched.watch_programs(&mut programs) {
                        notices.push(Notice::NoExecutables { reason: error.to_string() });
                    }
                    processes = Some(watched);
                }
                Err(reason) => notices.push(Notice::NoProcesses { reason }),
            }
        }
        let start = monotonic_now();
        let now = Instant::now();
        spaces.begin(&mut programs, &mut notices)?;
        if let Some(processes) = &mut processes {
            processes.look_around(&spaces);
        }
        let attached = monotonic_now();
        if spaces.is_settled() {
            programs.let_go_of_object()?;
        }
        let mut reorder = Reorder::default();
        if config.sample != Admission::ALL {
            reorder.push(start, Input::Admission(AdmissionChange { ts: start, admission: config.sample }));
        }
        let source = Self {
            cost: CostMeter::start(&spaces.programs(&programs), now),
            spaces,
            programs,
            ring,
            gauge,
            counters,
            sweep: Sweep::new(pending.len(), config.pending_for, attached),
            pending,
            log,
            notices: Vec::new(),
            gaps: Gaps::new(start),
            attached,
            reorder,
            wall: WallClock::new(),
            pace: Pace::new(config.load.ring_bytes.into(), config.latency),
            overload: Overload::new(config.sample, start),
            backlog: 0.0,
            presence: Presence::new(attached, now),
            phase: Phase::Idle,
            next_tick: now + TICK,
            last_drain: now,
            drained_bytes: 0,
            drained_records: 0,
            ring_bytes: config.load.ring_bytes.into(),
            ring_peak_bytes: 0,
            undecodable: 0,
            tags: Tags::new(ignore_vlans),
            owners: config.load.sockets.then(|| Owners::open(config.pod_names.clone())),
            listeners: Listeners::default(),
            processes,
            overwrites: 0,
        };
        Ok((source, notices))
    }

    /// Waits for input and appends it to `out`. It also returns, perhaps without input, when there are notices to take.
    /// Cancel-safe.
    pub async fn next_batch(&mut self, out: &mut Vec<Input>) -> Result<AfterBatch, LiveError> {
        let before = out.len();
        while self.phase != Phase::Ended {
            self.wait().await?;
            self.turn(out)?;
            if self.spaces.is_over() {
                self.finish(out)?;
            } else if out.len() > before || !self.notices.is_empty() {
                return Ok(AfterBatch::More);
            }
        }
        Ok(AfterBatch::End)
    }

    /// Has the next tick come within this time from now.
    pub fn tick_within(&mut self, within: Duration) {
        self.next_tick = self.next_tick.min(Instant::now() + within);
    }

    /// Takes the programs off, then reads what is left in the ring, so that nothing is lost without being counted.
    /// Further calls do nothing.
    pub fn finish(&mut self, out: &mut Vec<Input>) -> Result<(), LiveError> {
        /// How many milliseconds are waited at most for programs that were running while they were taken off.
        const TRIES: u32 = 20;
        if self.phase == Phase::Ended {
            return Ok(());
        }
        self.check_presence(Instant::now(), out)?;
        let Self { cost, spaces, programs, counters, .. } = self;
        cost.stop(&spaces.programs(programs), || Ok(packets(&counters.read()?)))?;
        self.spaces.detach_all();
        if let Some(processes) = &mut self.processes {
            processes.stop();
        }
        for _ in 0..TRIES {
            let issued = self.counters.read()?;
            self.drain_all();
            if self.gaps.explains(&issued) {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let now = monotonic_now();
        let issued = self.counters.read()?;
        self.drain_all();
        self.report_overwrites(&issued, now, out);
        let losses = self.gaps.report_missing(&issued, now);
        self.hold_losses(losses);
        self.reorder.release(Timestamp(u64::MAX), out);
        out.push(Input::Tick(now));
        self.phase = Phase::Ended;
        Ok(())
    }

    /// Appends the answers to the tracker's questions that can be answered on this host.
    pub fn answer(&mut self, questions: Vec<Flow>, out: &mut Vec<Input>) {
        let now = Instant::now();
        for flow in questions {
            let queue = self.listeners.queue(&flow, &self.spaces, now);
            out.extend(queue.map(|queue| Input::AcceptQueue(flow, queue)));
        }
    }

    /// Takes the notices for the user that have collected since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        mem::take(&mut self.notices)
    }

    /// The kernel programs' counters, summed over all CPUs.
    pub fn counters(&self) -> Result<CountersTotal, LiveError> {
        Ok(CountersTotal::sum(&self.counters.read()?))
    }

    /// How many records the kernel programs made that never came.
    #[must_use]
    pub const fn records_lost(&self) -> u64 {
        self.gaps.lost()
    }

    /// How many expected acknowledgements were given up, as they did not come for minutes.
    #[must_use]
    pub const fn pending_expired(&self) -> u64 {
        self.sweep.freed()
    }

    /// How many records came too late to be put in order, and were passed on out of order.
    #[must_use]
    pub const fn records_late(&self) -> u64 {
        self.reorder.late()
    }

    /// How many records made no sense. There are some only if the kernel programs and this build do not belong
    /// together.
    #[must_use]
    pub const fn records_undecodable(&self) -> u64 {
        self.undecodable
    }

    /// The part of connections that is followed at present.
    #[must_use]
    pub const fn admission(&self) -> Admission {
        self.overload.admission()
    }

    /// Takes note of how full the output's queue is, from 0 to 1. The caller says so after each batch, and fewer
    /// connections are followed when it fills.
    pub const fn set_backlog(&mut self, backlog: f64) {
        self.backlog = backlog;
    }

    /// From how many interfaces somebody has taken the programs off.
    #[must_use]
    pub const fn taken_off(&self) -> usize {
        self.presence.taken_off()
    }

    /// An error if an interface that was asked for by name was not traced to its end, because somebody has taken the
    /// programs off.
    pub fn verdict(&self) -> Result<(), LiveError> {
        if self.spaces.needs_each() { self.presence.verdict() } else { Ok(()) }
    }

    /// The ring's size in bytes.
    #[must_use]
    pub const fn ring_bytes(&self) -> u64 {
        self.ring_bytes
    }

    /// The most bytes that waited in the ring, by its positions before each turn. Only the reader empties the ring, so
    /// the true peak is above this by at most what arrives during one turn.
    #[must_use]
    pub const fn ring_peak_bytes(&self) -> u64 {
        self.ring_peak_bytes
    }

    /// What a packet costs in the kernel programs, by the kernel's statistics of some of their runs. None where the
    /// kernel keeps no statistics for us.
    #[must_use]
    pub const fn program_cost(&self) -> Option<Estimate> {
        self.cost.estimate()
    }

    /// The interfaces and hooks that the programs are on, for a person: `eth0 (TC)`.
    #[must_use]
    pub fn describe(&self) -> String {
        self.spaces.describe()
    }

    /// The interfaces that the programs are on.
    #[must_use]
    pub fn traced(&self) -> Vec<TracedInterface> {
        self.spaces.traced()
    }

    /// Whether nothing will be attached any more, and closing descriptors takes all programs off.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.spaces.is_settled()
    }

    /// The names of interfaces, by the numbers that segments have. The names are shared and change as the source goes
    /// on.
    #[must_use]
    pub fn names(&self) -> InterfaceNames {
        self.spaces.names()
    }

    /// The difference of the wall clock and the time of records, as it was last measured.
    #[must_use]
    pub const fn wall_clock(&self) -> WallClock {
        self.wall
    }

    /// Waits until something is due. A wake-up by the ring alone is nothing that is due. Nothing is changed but the phase, which
    /// makes it cancel-safe.
    async fn wait(&mut self) -> Result<(), LiveError> {
        loop {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                ready = self.spaces.ready() => return ready,
                () = flushed(self.log.as_mut()) => return Ok(()),
                () = std::future::ready(()), if self.phase == Phase::Draining => return Ok(()),
                ready = self.ring.readable() => {
                    // Readiness is cleared before the drain: a record that finds the ring empty after it sets it again.
                    ready.map_err(LiveError::io("wait for the ring"))?.clear_ready();
                }
                () = tokio::time::sleep_until(deadline.into()) => return Ok(()),
            }
            let is_filling = self.gauge.used_bytes() as u64 >= LoadOptions::wake_bytes(self.ring_bytes);
            self.phase = self.phase.woken(self.pace.wait(), is_filling, Instant::now());
        }
    }

    fn deadline(&self) -> Instant {
        let ring = match self.phase {
            Phase::Waiting(drain) => drain,
            _ => self.next_tick,
        };
        [self.cost.due(), self.spaces.due()].into_iter().flatten().fold(ring, Instant::min)
    }

    /// Does everything that is due.
    fn turn(&mut self, out: &mut Vec<Input>) -> Result<(), LiveError> {
        self.spaces.follow(&mut self.programs, &mut self.notices)?;
        let now = Instant::now();
        if self.presence.is_due(now) {
            self.check_presence(now, out)?;
        }
        if self.cost.due().is_some_and(|due| due <= now) {
            let Self { cost, spaces, programs, counters, .. } = self;
            cost.step(&spaces.programs(programs), || Ok(packets(&counters.read()?)), now)?;
        }
        let clock = monotonic_now();
        if let Some(ns) = self.sweep.step(clock, &mut self.pending) {
            out.push(Input::Overwritten(clock.before(ns)));
        }
        let due = self.phase.is_due(self.next_tick, now);
        if due { self.drain(now, out) } else { Ok(()) }
    }

    /// Checks whether the programs are still on their hooks.
    fn check_presence(&mut self, now: Instant, out: &mut Vec<Input>) -> Result<(), LiveError> {
        let Self { presence, spaces, programs, wall, notices, .. } = self;
        out.extend(presence.check(now, spaces, programs, *wall, notices)?.map(Input::Lost));
        Ok(())
    }

    /// Reads one slice of the ring, and passes on what is in order by then and, if the ring is empty, how far the time
    /// has come. The time goes no further than losses are known: the tracker would take a loss for a silence.
    fn drain(&mut self, now: Instant, out: &mut Vec<Input>) -> Result<(), LiveError> {
        let began = monotonic_now();
        if self.gaps.needs_counters() {
            let issued = self.counters.read()?;
            // The tracker has to know of overwrites before it gets records that depend on them.
            self.report_overwrites(&issued, began, out);
            self.gaps.begin(issued, self.gauge.written_to(), began);
        }
        self.wall.refresh(began);
        let (level, empty) = self.drain_slice();
        self.adjust_admission(level, began)?;
        let losses = self.gaps.read_to(self.gauge.read_to());
        self.hold_losses(losses);
        if empty {
            self.pace.drained(mem::take(&mut self.drained_bytes), now - self.last_drain);
            self.last_drain = now;
        }
        let until = Timestamp(self.gaps.known_until().0.saturating_sub(WINDOW_NS));
        self.reorder.release(until, out);
        if empty {
            out.push(Input::Tick(until));
        }
        let holds = !self.reorder.is_empty() || self.gaps.is_waiting();
        self.phase =
            if empty { Phase::emptied(holds, self.pace.wait(), 2 * WINDOW, now) } else { Phase::Draining };
        self.next_tick = now + if holds { 2 * WINDOW } else { TICK };
        Ok(())
    }

    /// Reads one slice of the ring. Returns how many bytes were in the ring before, and whether it is empty now.
    fn drain_slice(&mut self) -> (u64, bool) {
        let used = self.gauge.used_bytes() as u64;
        self.ring_peak_bytes = self.ring_peak_bytes.max(used);
        for _ in 0..SLICE {
            let Some(item) = self.ring.get_mut().next() else { return (used, true) };
            self.drained_bytes += item.len() as u64;
            self.drained_records += 1;
            match decode::item(&item) {
                None => {
                    let decoded = decode::record(&item);
                    drop(item);
                    match decoded {
                        Ok(record) => self.accept(record),
                        Err(_) => self.undecodable += 1,
                    }
                }
                Some(decoded) => {
                    drop(item);
                    match decoded {
                        Ok(item) => self.accept_item(item),
                        Err(_) => self.undecodable += 1,
                    }
                }
            }
        }
        (used, false)
    }

    fn drain_all(&mut self) {
        while !self.drain_slice().1 {}
    }

    /// Has fewer connections followed if the ring, which had `level` bytes in it, or the output is too full, and more
    /// again when they are not. The tracker is told before the kernel programs are.
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no 53 bits")]
    fn adjust_admission(&mut self, level: u64, now: Timestamp) -> Result<(), LiveError> {
        let fill = Fill { ring: level as f64 / self.ring_bytes as f64, output: self.backlog };
        let records = mem::take(&mut self.drained_records);
        if let Some(admission) = self.overload.observe(now, records, fill) {
            self.reorder.push(now, Input::Admission(AdmissionChange { ts: now, admission }));
            self.programs.set_admission(admission)?;
        }
        Ok(())
    }

    /// Completes what a record says by what is known of its interface, and puts it in order.
    fn accept(&mut self, mut record: Record) {
        let Record { cpu, number, netns, forwarded, ref mut what, .. } = record;
        let &Segment { ts, flow, direction, .. } = what.segment();
        if let Some(loss) = self.gaps.observe(cpu, number, ts) {
            self.hold_losses([loss]);
        }
        if ts < self.attached {
            // Not all hooks had their programs when this record was made. If the answer to a SYN passed a hook that had
            // none yet, the SYN would be reported as unanswered.
            return;
        }
        let Some(spot) = self.spaces.spot(netns, flow.interface) else {
            self.undecodable += 1;
            return;
        };
        // The packet with an ICMP error goes to the source of the segment that it quotes.
        let to = match what {
            Observation::Segment(_) => flow.dst,
            Observation::Icmp(_) => flow.src,
        };
        let segment = what.segment_mut();
        segment.flow.interface = spot.interface;
        self.notices.extend(self.tags.strip(&mut segment.flow));
        if let (Some(socket), Some(owners)) = (segment.socket.as_deref_mut(), &mut self.owners) {
            owners.name(socket, self.last_drain);
        }
        if let Some(processes) = &mut self.processes {
            processes.observe(segment, netns);
        }
        segment.sender = sender_of(direction, forwarded, spot.loopback, || spot.addresses.contains(&to));
        self.reorder.push(ts, record.what.into());
    }

    /// Takes what a process did.
    fn accept_item(&mut self, item: Item) {
        match (item, &mut self.processes) {
            (Item::Act(ts, cookie, process), _) => self.accept_act(ts, cookie, process),
            (Item::Exec(pid, path), Some(processes)) => processes.executed(pid, path),
            (Item::Fork(parent, child), Some(processes)) => processes.forked(parent, child),
            (Item::Exec(..) | Item::Fork(..), None) => {}
        }
    }

    /// Passes on that a process has accepted a connection.
    fn accept_act(&mut self, ts: Timestamp, cookie: u64, process: SocketProcess) {
        if let Some(input) = self.processes.as_mut().and_then(|known| known.accepted(cookie, process, ts)) {
            self.reorder.push(ts, input);
        }
    }

    /// Puts losses in order among the records, each at the time at which it may have begun: connections that ended
    /// before that lack no segment, and all others may.
    fn hold_losses(&mut self, losses: impl IntoIterator<Item = LossReport>) {
        for loss in losses {
            self.reorder.push(loss.after, Input::Lost(loss));
        }
    }

    /// Tells the tracker if expected acknowledgements were overwritten since the last time.
    fn report_overwrites(&mut self, counters: &[Counters], now: Timestamp, out: &mut Vec<Input>) {
        let overwrites = counters.iter().map(|counters| counters.pending_overwrites).sum();
        if overwrites != self.overwrites {
            self.overwrites = overwrites;
            out.push(Input::Overwritten(now));
        }
    }
}

/// How many packets the programs have seen on all CPUs.
fn packets(counters: &[Counters]) -> u64 {
    counters.iter().map(|counters| counters.packets).sum()
}

type KernelLog = AsyncFd<EbpfLogger<&'static dyn log::Log>>;

fn open_log(programs: &mut Programs, notices: &mut Vec<Notice>) -> Result<Option<KernelLog>, LiveError> {
    let Some(logger) = programs.take_log() else {
        notices.push(Notice::NoKernelLog);
        return Ok(None);
    };
    readable(logger).map(Some).map_err(LiveError::io("wait for the kernel programs' log"))
}

/// Passes lines of the kernel programs' log on when there are some. Without a log it waits for ever.
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
