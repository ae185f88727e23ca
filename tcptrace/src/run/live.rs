//! A live trace: the ring's source on a runtime, with signals, time and interface names.

use super::{Run, RunError};
use crate::{
    cli::{Config, IngressHook, Interfaces},
    event::{Cost, Stats},
    filter::Filter,
    kernel::{
        attach::{AttachMode, IngressHook as KernelHook, Notice},
        load::LoadOptions,
    },
    segment::{IcmpError, Input, Timestamp},
    sink::{pcapng::Origin, pipe::Pressure},
    source::{
        clock::monotonic_now,
        live::{Flow, LiveConfig, LiveSource, Selection},
    },
};
use hashbrown::HashMap;
use rustix::time::{ClockId, clock_gettime};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

/// Traces interfaces until a signal, the count, the last interface's end or the reader's going away.
pub(super) fn trace(config: &Config, interfaces: &Interfaces, filter: Filter) -> Result<(), RunError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::system("start the runtime"))?
        .block_on(run(config, interfaces, filter))
}

async fn run(config: &Config, interfaces: &Interfaces, filter: Filter) -> Result<(), RunError> {
    let signals = Signals::new()?;
    let (source, notices) = LiveSource::open(&live_config(config, interfaces, &filter))?;
    let ended = Arc::new(Notify::new());
    let run = Run::new(config, filter, Pressure::Drop, {
        let ended = Arc::clone(&ended);
        move || ended.notify_one()
    })?;
    let mut live = Live {
        run,
        source,
        named: HashMap::new(),
        name_changes: 0,
        start: monotonic_now(),
        cpu_start: cpu_time(),
    };
    live.tell(&notices);
    let place =
        config.netns.as_ref().map(|netns| format!(" in network namespace {netns}")).unwrap_or_default();
    live.run.say(format_args!("tracing {}{place}; Ctrl-C ends", live.source.describe()));
    let watched = live.watch(signals, &ended).await;
    let result = watched.and_then(|()| live.report_rest());
    // The programs come off before the output is waited for.
    drop(live.source);
    live.run.end(result)
}

fn live_config(config: &Config, interfaces: &Interfaces, filter: &Filter) -> LiveConfig {
    LiveConfig {
        interfaces: match interfaces {
            Interfaces::Default => Selection::DefaultRoute,
            Interfaces::Any => Selection::Any,
            Interfaces::Named(names) => Selection::Named(names.clone()),
        },
        netns: config.netns.clone(),
        ingress: match config.ingress {
            IngressHook::Tc => KernelHook::Tc,
            IngressHook::Xdp => KernelHook::Xdp,
        },
        attach: AttachMode::Auto,
        filter: Box::new(*filter.program()),
        load: LoadOptions {
            ring_bytes: config.ring_bytes,
            kernel_log: config.kernel_log,
            decap: config.decap,
            ..LoadOptions::default()
        },
    }
}

struct Live<'a> {
    run: Run<'a>,
    source: LiveSource,
    /// Interfaces whose names the tracker knows.
    named: HashMap<u32, Arc<str>>,
    /// As of so many changes of names.
    name_changes: u64,
    start: Timestamp,
    cpu_start: Duration,
}

impl Live<'_> {
    /// The loop, until something ends it.
    async fn watch(&mut self, mut signals: Signals, ended: &Notify) -> Result<(), RunError> {
        let mut inputs = Vec::new();
        let mut stats = self.run.config.stats_interval.map(every);
        loop {
            let mut over = false;
            tokio::select! {
                biased;
                () = signals.any() => over = true,
                () = ended.notified() => {}
                () = tick(stats.as_mut()) => self.stats(false)?,
                flow = self.source.next_batch(&mut inputs) => over = flow? == Flow::End,
            }
            let notices = self.source.take_notices();
            self.tell(&notices);
            self.take(&mut inputs)?;
            if over || self.run.has_counted() {
                return Ok(());
            }
        }
    }

    fn tell(&self, notices: &[Notice]) {
        for notice in notices {
            self.run.say(notice);
        }
    }

    fn offset_ns(&self) -> i64 {
        self.source.wall_clock().offset_ns()
    }

    fn take(&mut self, inputs: &mut Vec<Input>) -> Result<(), RunError> {
        self.name_interfaces(inputs);
        let offset = self.offset_ns();
        if let Some(capture) = &mut self.run.capture {
            for input in &*inputs {
                if let Some(what) = input.observation() {
                    let segment = what.segment();
                    let name = self.named.get(&segment.flow.interface).map(|name| &**name);
                    let unix_ns = segment.ts.0.saturating_add_signed(offset);
                    capture.packet(&what, unix_ns, name, Origin::Record)?;
                }
            }
        }
        self.run.take(inputs, offset)
    }

    /// Tells the tracker what the interfaces in a batch are called, and what those are called now that it knows.
    fn name_interfaces(&mut self, inputs: &[Input]) {
        let names = self.source.names();
        let changes = names.changes();
        if changes != self.name_changes {
            self.name_changes = changes;
            for (&index, known) in &mut self.named {
                if let Some(name) = names.get(index).filter(|name| name != known) {
                    self.run.name_interface(index, Arc::clone(&name));
                    *known = name;
                }
            }
        }
        for input in inputs {
            let (Input::Segment(seg) | Input::Icmp(IcmpError { quoted: seg, .. })) = input else { continue };
            let index = seg.flow.interface;
            if !self.named.contains_key(&index)
                && let Some(name) = names.get(index)
            {
                self.run.name_interface(index, Arc::clone(&name));
                self.named.insert(index, name);
            }
        }
    }

    /// Reports the counters.
    fn stats(&mut self, last: bool) -> Result<(), RunError> {
        let now = monotonic_now();
        let elapsed_ns = now.since(self.start);
        let cpu = cpu_time().saturating_sub(self.cpu_start);
        let mut stats = Stats {
            ts: now,
            elapsed_ns,
            last,
            // One that makes no sense is lost as well.
            records_lost: self.source.records_lost() + self.source.records_undecodable(),
            cost: Cost {
                kernel_ns_per_packet: self.source.program_cost(),
                cpu_percent: percent(cpu, elapsed_ns),
                ring_peak_bytes: Some(self.source.ring_peak_bytes()),
                ring_bytes: Some(self.source.ring_bytes()),
            },
            ..Stats::default()
        };
        self.source.counters()?.fill(&mut stats);
        self.run.stats(stats, self.offset_ns())
    }

    /// Takes the programs off, and reports what is left.
    fn report_rest(&mut self) -> Result<(), RunError> {
        let mut inputs = Vec::new();
        self.source.finish(&mut inputs)?;
        self.take(&mut inputs)?;
        self.run.finish_tracker(monotonic_now(), self.source.wall_clock().offset_ns())?;
        self.stats(true)
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

async fn tick(interval: Option<&mut Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// CPU time of this process, user and system, all threads.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[expect(clippy::cast_precision_loss, reason = "a percentage needs no 53 bits")]
fn percent(cpu: Duration, elapsed_ns: u64) -> Option<f64> {
    (elapsed_ns > 0).then(|| 100.0 * cpu.as_nanos() as f64 / elapsed_ns as f64)
}

/// The signals that end a trace as Ctrl-C does.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> Result<Self, RunError> {
        let listen = |kind| signal(kind).map_err(RunError::system("listen for signals"));
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    fn any(&mut self) -> impl Future<Output = ()> + '_ {
        let [interrupt, terminate, hangup] = &mut self.0;
        async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        }
    }
}
