//! A live trace: the loop that reads the kernel's records, and reacts to signals, the time and changes of interface
//! names.

use super::{
    RunError,
    consumers::{Beginning, Consumers, Opening, Packet},
    pipeline::Pipeline,
    signals::{self, Terminals},
    start::Identity,
};
use crate::{
    cli::{Config, IngressHook, Interfaces},
    confine::{self, Purpose},
    event::{Cost, Stats},
    filter::Filter,
    kernel::{
        attach::{AttachMode, Notice},
        calls::errors,
        load::{LoadOptions, heap},
        namespaces::Namespaces,
    },
    once::HOLD_NS,
    segment::{Input, Timestamp},
    sink::{pcapng::Origin, pipe::Pressure},
    source::{
        clock::monotonic_now,
        live::{AfterBatch, LiveConfig, LiveSource, Selection},
    },
    stderr,
};
use hashbrown::HashMap;
use rustix::{
    param::page_size,
    time::{ClockId, clock_gettime},
};
use std::{
    future::{Future, poll_fn},
    io::{self, IsTerminal as _},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tcptrace_common::{admission::Admission, filter::Program};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

/// How often the tracker is told the time while `--once` holds events back and nothing else happens.
const HOLDING_TICK: Duration = Duration::from_nanos(HOLD_NS / 4);

/// How many descriptors must be free for the runtime to start. It takes fewer, and the kernel programs take many more
/// later.
const RUNTIME_FILES: usize = 8;

/// Traces interfaces until a signal comes, `--count` is reached, the last interface is gone or the reader of the output
/// goes away.
pub(super) fn trace(config: &Config, interfaces: &Interfaces, filter: Filter) -> Result<(), RunError> {
    if config.ingress == IngressHook::Xdp && filter.asks_for_vlans() {
        return Err(RunError::XdpVlans);
    }
    // The runtime needs descriptors for signals, and panics if it does not get them.
    errors::may_open(RUNTIME_FILES).map_err(RunError::system("start the runtime"))?;
    // On kernels before 6.4 rustix reads the size of a page from a file, once, and panics if no more files may be open.
    let _ = page_size();
    // The filter's errors come before anything is loaded.
    let program = filter.program().map_err(|error| RunError::Filter { error, meant: None })?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::system("start the runtime"))?
        .block_on(run(config, interfaces, filter, program))
}

async fn run(
    config: &Config,
    interfaces: &Interfaces,
    filter: Filter,
    program: Box<Program>,
) -> Result<(), RunError> {
    let (signals, asks) = (Signals::new(config.reopens())?, listen(signals::THAT_ASKS)?);
    let reopens = Reopens::new(config.reopens())?;
    let (source, notices) = LiveSource::open(&live_config(config, interfaces, program))?;
    heap::give_back();
    let purpose = match config.netns {
        Namespaces::All => Purpose::Everywhere,
        Namespaces::Own => Purpose::Live { settled: source.is_settled(), elsewhere: false },
        Namespaces::Named(_) => Purpose::Live { settled: source.is_settled(), elsewhere: true },
    };
    let consumers = Consumers::open(&Opening { config, unread: &[], pressure: Pressure::Drop })?;
    let identity = Identity::read()?;
    confine::confine_at_terminal(purpose, &consumers.listeners(), consumers.terminal())?;
    let start = identity.start(config, &filter, source.traced(), Some(source.wall_clock()));
    let (ended, asked) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let beginning = Beginning {
        many_interfaces: config.has_many_interfaces(),
        end: {
            let ended = Arc::clone(&ended);
            Arc::new(move || ended.notify_one())
        },
        ask: Arc::clone(&asked),
    };
    let mut live = Live {
        pipeline: Pipeline::begin(config, filter, consumers, &beginning, start)?,
        source,
        named: HashMap::new(),
        name_changes: 0,
        announced: Announced::new(config.sample),
        start: monotonic_now(),
        cpu_start: cpu_time(),
    };
    live.print_notices(&notices);
    let place = match &config.netns {
        Namespaces::Named(netns) => format!(" in network namespace {netns}"),
        Namespaces::Own | Namespaces::All => String::new(),
    };
    if !config.screen {
        live.pipeline.say(format_args!("tracing {}{place}; Ctrl-C ends", live.source.describe()));
    }
    let watched = live.watch(signals, asks, reopens, &ended, &asked).await;
    let result = watched.and_then(|()| live.report_rest());
    let result = result.and_then(|()| Ok(live.source.verdict()?));
    // The programs come off before the output is waited for.
    drop(live.source);
    live.pipeline.end(result)
}

fn live_config(config: &Config, interfaces: &Interfaces, filter: Box<Program>) -> LiveConfig {
    LiveConfig {
        interfaces: match interfaces {
            Interfaces::Default => Selection::DefaultRoute,
            Interfaces::Any => Selection::Any,
            Interfaces::Named(names) => Selection::Named(names.clone()),
        },
        namespaces: config.netns.clone(),
        ingress: config.ingress.into(),
        attach: AttachMode::Auto,
        filter,
        load: LoadOptions {
            ring_bytes: config.ring_bytes,
            kernel_log: config.kernel_log,
            decap: config.decap,
            sockets: config.sockets,
            processes: config.processes,
            first_byte: config.first_byte,
            server_name: config.server_name,
            ..LoadOptions::default()
        },
        pod_names: config.pod_names.clone(),
        sample: config.sample,
        latency: config.latency,
        ..LiveConfig::default()
    }
}

/// A live trace that has begun.
struct Live<'a> {
    pipeline: Pipeline<'a>,
    source: LiveSource,
    /// The names of interfaces as the tracker knows them.
    named: HashMap<u32, Arc<str>>,
    /// How many changes of names there had been when `named` was last compared with the source's names.
    name_changes: u64,
    announced: Announced,
    start: Timestamp,
    cpu_start: Duration,
}

impl Live<'_> {
    /// Runs the loop of the trace until something ends it.
    async fn watch(
        &mut self,
        mut signals: Signals,
        mut asks: Signal,
        mut reopens: Reopens,
        ended: &Notify,
        asked: &Notify,
    ) -> Result<(), RunError> {
        let mut inputs = Vec::new();
        let Config { stats_interval, summary_interval, duration, .. } = self.pipeline.config;
        let mut stats = stats_interval.map(every);
        let mut summary = summary_interval.map(every);
        let mut end = duration.map(every);
        loop {
            let mut over = false;
            tokio::select! {
                biased;
                signal = signals.any() => {
                    over = true;
                    end_line_of_ctrl_c(signal);
                }
                () = ended.notified() => {}
                () = tick(end.as_mut()) => over = true,
                () = tick(stats.as_mut()) => self.stats(false)?,
                () = tick(summary.as_mut()) => self.report_so_far()?,
                _ = asks.recv() => self.report_so_far()?,
                has_gone = reopens.asked() => {
                    over = has_gone;
                    self.pipeline.reopen();
                }
                () = asked.notified() => self.tell_counters()?,
                after = self.source.next_batch(&mut inputs) => over = after? == AfterBatch::End,
            }
            let notices = self.source.take_notices();
            self.print_notices(&notices);
            self.track(&mut inputs)?;
            self.source.set_backlog(self.pipeline.backlog());
            self.announce_admission()?;
            if self.pipeline.is_holding() {
                self.source.tick_within(HOLDING_TICK);
            }
            if over || self.pipeline.has_counted() || self.pipeline.is_over() {
                return Ok(());
            }
        }
    }

    fn print_notices(&self, notices: &[Notice]) {
        for notice in notices {
            self.pipeline.say(notice);
        }
    }

    fn offset_ns(&self) -> i64 {
        self.source.wall_clock().offset_ns()
    }

    /// Gives a batch to the pipeline: names of interfaces first, then packets where consumers want them, then the
    /// segments.
    fn track(&mut self, inputs: &mut Vec<Input>) -> Result<(), RunError> {
        self.name_interfaces(inputs);
        let offset = self.offset_ns();
        if self.pipeline.wants_packets() {
            for what in inputs.iter().filter_map(Input::observation) {
                let segment = what.segment();
                let interface = self.named.get(&segment.flow.interface).map(|name| &**name);
                let unix_ns = segment.ts.0.saturating_add_signed(offset);
                let packet = Packet { what: &what, unix_ns, interface, origin: Origin::Record };
                self.pipeline.packet(&packet)?;
            }
        }
        self.pipeline.track(inputs, offset)?;
        // The answers come with the next batch.
        self.source.answer(self.pipeline.take_questions(), inputs);
        Ok(())
    }

    /// Tells the tracker the names of interfaces that are new in this batch, and the new names of those that it knows.
    fn name_interfaces(&mut self, inputs: &[Input]) {
        let names = self.source.names();
        let changes = names.changes();
        if changes != self.name_changes {
            self.name_changes = changes;
            let mut gone = Vec::new();
            for (&index, known) in &mut self.named {
                match names.get(index) {
                    Some(name) if name != *known => {
                        self.pipeline.name_interface(index, Arc::clone(&name));
                        *known = name;
                    }
                    Some(_) => {}
                    None => gone.push(index),
                }
            }
            self.forget_interfaces(gone);
        }
        for input in inputs {
            let Some(seg) = input.segment() else { continue };
            let index = seg.flow.interface;
            if !self.named.contains_key(&index)
                && let Some(name) = names.get(index)
            {
                self.pipeline.name_interface(index, Arc::clone(&name));
                self.named.insert(index, name);
            }
        }
    }

    /// Has the tracker forget interfaces that are gone. Those that a connection still needs stay named, and are tried
    /// again when names change next.
    fn forget_interfaces(&mut self, mut gone: Vec<u32>) {
        if gone.is_empty() {
            return;
        }
        let all = gone.clone();
        self.pipeline.forget_interfaces(&mut gone);
        for index in all.iter().filter(|index| !gone.contains(index)) {
            self.named.remove(index);
        }
    }

    /// Says that more or fewer connections are followed than was said before.
    fn announce_admission(&mut self) -> Result<(), RunError> {
        let admission = self.source.admission();
        if let Some(change) = self.announced.next(admission, Instant::now()) {
            self.pipeline.say(change);
            self.stats(false)?;
        }
        Ok(())
    }

    /// Has the consumers report the summary so far.
    fn report_so_far(&mut self) -> Result<(), RunError> {
        let stats = self.counters(false)?;
        self.pipeline.report(stats);
        Ok(())
    }

    /// Gives the counters as they are now to the consumers, one of which has asked for them.
    fn tell_counters(&mut self) -> Result<(), RunError> {
        let stats = self.counters(false)?;
        self.pipeline.counters(stats);
        Ok(())
    }

    /// Delivers a `stats` event.
    fn stats(&mut self, last: bool) -> Result<(), RunError> {
        let stats = self.counters(last)?;
        self.pipeline.stats(stats, self.offset_ns())
    }

    /// The counters as they are now, `last` at the end of the trace.
    fn counters(&mut self, last: bool) -> Result<Stats, RunError> {
        let now = monotonic_now();
        let elapsed_ns = now.since(self.start);
        let cpu = cpu_time().saturating_sub(self.cpu_start);
        let programs = self.source.program_cost();
        let mut stats = Stats {
            ts: now,
            elapsed_ns: Some(elapsed_ns),
            last,
            admission_rate: self.source.admission().rate(),
            // A record that makes no sense is lost as well.
            records_lost: self.source.records_lost() + self.source.records_undecodable(),
            pending_expired: self.source.pending_expired(),
            interfaces_taken_off: Some(self.source.taken_off() as u64).filter(|&count| count > 0),
            cost: Cost {
                kernel_packets_timed: programs.map(|it| it.timed),
                kernel_ns_per_packet: programs.and_then(|it| it.ns_per_packet()),
                cpu_percent: percent(cpu.as_secs_f64(), elapsed_ns),
                kernel_cpu_percent: None,
                ring_peak_bytes: Some(self.source.ring_peak_bytes()),
                ring_bytes: Some(self.source.ring_bytes()),
            },
            ..Stats::default()
        };
        self.source.counters()?.fill(&mut stats);
        stats.cost.kernel_cpu_percent = kernel_cpu_percent(&stats);
        Ok(stats)
    }

    /// Takes the programs off, and reports connections that are still open.
    fn report_rest(&mut self) -> Result<(), RunError> {
        let mut inputs = Vec::new();
        self.source.finish(&mut inputs)?;
        let notices = self.source.take_notices();
        self.print_notices(&notices);
        self.track(&mut inputs)?;
        self.pipeline.finish(monotonic_now(), self.source.wall_clock().offset_ns())?;
        self.stats(true)
    }
}

/// Ends the line on a terminal that shows `^C` if it was Ctrl-C that ended the trace, so that the summary begins on a
/// line of its own.
fn end_line_of_ctrl_c(signal: i32) {
    if signal == signals::OF_CTRL_C && io::stderr().is_terminal() {
        stderr::write("\n");
    }
}

/// What the user was last told about the part of connections that is followed.
struct Announced {
    admission: Admission,
    /// The largest part that will be followed.
    limit: Admission,
    /// When it was said; `None` before the first time.
    at: Option<Instant>,
}

impl Announced {
    /// The least time between two lines. Changes come in bursts: the first is said at once, and where the burst has led
    /// to is said a second later.
    const PAUSE: Duration = Duration::from_secs(1);

    const fn new(limit: Admission) -> Self {
        Self { admission: limit, limit, at: None }
    }

    /// The line to say now, if the admission has changed since the last line and that was long enough ago.
    fn next(&mut self, admission: Admission, now: Instant) -> Option<String> {
        let soon = self.at.is_some_and(|at| now < at + Self::PAUSE);
        if admission == self.admission || soon {
            return None;
        }
        let line = if admission == self.limit {
            "keeping up again: following as many connections as before".to_owned()
        } else {
            let way = if admission < self.admission { "too much to follow" } else { "less to do" };
            format!("{way}: following 1 connection in {:.0}", 1.0 / admission.rate())
        };
        (self.admission, self.at) = (admission, Some(now));
        Some(line)
    }
}

/// An interval whose first tick is a period from now.
fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

/// Waits for the interval's next tick, or for ever without an interval.
async fn tick(interval: Option<&mut Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// The CPU time that all threads of this process have taken, in user space and in the kernel.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// The part of one CPU that our kernel programs take, in percent; `None` where their runs are not timed.
#[expect(clippy::cast_precision_loss, reason = "a percentage needs no 53 bits")]
fn kernel_cpu_percent(stats: &Stats) -> Option<f64> {
    percent(stats.cost.kernel_ns_per_packet? * stats.packets as f64 / 1e9, stats.elapsed_ns?)
}

#[expect(clippy::cast_precision_loss, reason = "a percentage needs no 53 bits")]
fn percent(seconds: f64, elapsed_ns: u64) -> Option<f64> {
    (elapsed_ns > 0).then(|| 100.0 * seconds * 1e9 / elapsed_ns as f64)
}

fn listen(number: i32) -> Result<Signal, RunError> {
    signal(SignalKind::from_raw(number)).map_err(RunError::system("listen for signals"))
}

/// The signal that has files opened again, if there are any.
struct Reopens {
    signal: Option<Signal>,
    terminals: Terminals,
}

impl Reopens {
    fn new(reopens: bool) -> Result<Self, RunError> {
        let signal = reopens.then(|| listen(signals::THAT_REOPENS)).transpose()?;
        let terminals = Terminals::new().map_err(RunError::system("listen for signals"))?;
        Ok(Self { signal, terminals })
    }

    /// Waits for the signal, and returns whether it came because the terminal has gone away. Cancel-safe.
    async fn asked(&mut self) -> bool {
        match &mut self.signal {
            Some(signal) => {
                signal.recv().await;
                self.terminals.have_gone()
            }
            None => std::future::pending().await,
        }
    }
}

/// The signals that end a trace.
struct Signals(Vec<(i32, Signal)>);

impl Signals {
    fn new(reopens: bool) -> Result<Self, RunError> {
        signals::that_end(reopens)
            .map(|number| Ok((number, listen(number)?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Waits for any of the signals, and returns its number. Cancel-safe.
    fn any(&mut self) -> impl Future<Output = i32> + '_ {
        poll_fn(|context| {
            let mut ready = self
                .0
                .iter_mut()
                .filter_map(|(number, signal)| signal.poll_recv(context).is_ready().then_some(*number));
            ready.next().map_or(Poll::Pending, Poll::Ready)
        })
    }
}
