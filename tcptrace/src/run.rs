//! From packets to output: source, tracker, sinks, and the loop around them.

use crate::{
    cli::{Config, Format, IngressHook, Interfaces},
    event::{Cost, Event, Kind, Stats},
    kernel::{
        attach::{AttachMode, IngressHook as KernelHook, Notice},
        interface,
        load::LoadOptions,
    },
    segment::{Input, Timestamp},
    sink::{
        Sink,
        json::JsonSink,
        output::{Finished, Output, OutputError, OutputOptions, Pressure},
        summary::Summary,
        text::{TextOptions, TextSink},
    },
    source::{
        clock::monotonic_now,
        live::{Flow, LiveConfig, LiveError, LiveSource, Selection},
    },
    track::{self, Tracker, Wants},
};
use hashbrown::HashMap;
use rustix::time::{ClockId, clock_gettime};
use std::{
    fmt::Write as _,
    future::Future,
    io::{self, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
    sync::Arc,
    time::Duration,
};
use thiserror::Error;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

/// How long the end waits for a reader that does not read.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a trace could not begin or go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The source failed.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The output ended.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The system refused something that every trace needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What failed.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl RunError {
    fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// Traces until a signal, the count, the last interface's end or the reader's going away.
pub fn trace(config: &Config) -> Result<(), RunError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::system("start the runtime"))?
        .block_on(live(config))
}

/// The interfaces as `-D` lists them, a line each.
pub fn interfaces() -> Result<String, RunError> {
    let mut out = String::new();
    for it in interface::list().map_err(LiveError::from)? {
        let state = if it.up { "up" } else { "down" };
        let note = if it.traceable() { "" } else { ", cannot be traced" };
        // A String takes everything.
        let _ = writeln!(out, "{}\t{}\t{state}, {}{note}", it.index, it.name, it.link);
    }
    Ok(out)
}

async fn live(config: &Config) -> Result<(), RunError> {
    let signals = Signals::new()?;
    let (mut source, notices) = LiveSource::open(&live_config(config))?;
    let ended = Arc::new(Notify::new());
    let output = open_output(config, &ended)?;
    let mut run = Run::new(config, output);
    run.tell(&notices);
    run.say(&format!("tracing {} (Ctrl-C ends)", source.describe()));
    let watched = watch(config, &mut run, &mut source, signals, &ended).await;
    run.end(watched, source)
}

/// The loop of a live trace, until something ends it.
async fn watch(
    config: &Config,
    run: &mut Run<'_>,
    source: &mut LiveSource,
    mut signals: Signals,
    ended: &Notify,
) -> Result<(), RunError> {
    let mut inputs = Vec::new();
    let mut stats = config.stats_interval.map(every);
    loop {
        let mut over = false;
        tokio::select! {
            biased;
            () = signals.any() => over = true,
            () = ended.notified() => {}
            () = tick(stats.as_mut()) => run.stats(source, false)?,
            flow = source.next_batch(&mut inputs) => over = flow? == Flow::End,
        }
        run.tell(&source.take_notices());
        run.take(&mut inputs, source)?;
        if over || run.has_counted() {
            return Ok(());
        }
    }
}

fn live_config(config: &Config) -> LiveConfig {
    LiveConfig {
        interfaces: match &config.interfaces {
            Interfaces::Default => Selection::DefaultRoute,
            Interfaces::Any => Selection::Any,
            Interfaces::Named(names) => Selection::Named(names.clone()),
        },
        ingress: match config.ingress {
            IngressHook::Tc => KernelHook::Tc,
            IngressHook::Xdp => KernelHook::Xdp,
        },
        attach: AttachMode::Auto,
        load: LoadOptions {
            ring_bytes: config.ring_bytes,
            kernel_log: config.kernel_log,
            ..LoadOptions::default()
        },
    }
}

fn open_output(config: &Config, ended: &Arc<Notify>) -> Result<Output, RunError> {
    let stdout = io::stdout();
    let fd = stdout.as_fd().try_clone_to_owned().map_err(RunError::system("use stdout"))?;
    let sink: Box<dyn Sink> = match config.output.format {
        Format::Json => Box::new(JsonSink),
        Format::Text => Box::new(TextSink::new(TextOptions {
            interfaces: config.interfaces.are_many(),
            color: config.output.color.enabled(stdout.is_terminal(), std::env::var_os("NO_COLOR").as_deref()),
            zone: jiff::tz::TimeZone::system(),
        })),
    };
    let options = OutputOptions {
        pressure: Pressure::Drop,
        events: config.output.events,
        queue_bytes: OutputOptions::QUEUE_BYTES,
    };
    let ended = Arc::clone(ended);
    Ok(Output::start(sink, fd, options, move || ended.notify_one())?)
}

/// What a trace has besides its source.
struct Run<'a> {
    config: &'a Config,
    tracker: Tracker,
    output: Output,
    summary: Summary,
    /// Interfaces whose names the tracker knows.
    named: HashMap<u32, Arc<str>>,
    reported: u64,
    start: Timestamp,
    cpu_start: Duration,
}

impl<'a> Run<'a> {
    fn new(config: &'a Config, output: Output) -> Self {
        let limits = &config.limits;
        Self {
            config,
            tracker: Tracker::new(track::Config {
                give_up_ns: nanoseconds(limits.syn_timeout),
                time_wait_ns: nanoseconds(limits.time_wait),
                max_connections: limits.max_connections,
                wants: wants(config),
            }),
            output,
            summary: Summary::new(),
            named: HashMap::new(),
            reported: 0,
            start: monotonic_now(),
            cpu_start: cpu_time(),
        }
    }

    /// A line on stderr, unless it was asked to be quiet.
    fn say(&self, line: &str) {
        if !self.config.output.quiet {
            // If stderr is gone there is nobody to tell.
            let _ = writeln!(io::stderr(), "tcptrace: {line}");
        }
    }

    fn tell(&self, notices: &[Notice]) {
        for notice in notices {
            self.say(&notice.to_string());
        }
    }

    fn has_counted(&self) -> bool {
        self.config.count.is_some_and(|count| self.reported >= count)
    }

    /// Tracks a batch, and hands what it says to the writer.
    fn take(&mut self, inputs: &mut Vec<Input>, source: &LiveSource) -> Result<(), RunError> {
        self.name_interfaces(inputs, source);
        let offset = source.wall_clock().offset_ns();
        for input in inputs.drain(..) {
            self.track(offset, |tracker, sink| tracker.input(&input, sink))?;
            if self.has_counted() {
                break;
            }
        }
        self.output.flush()?;
        Ok(())
    }

    /// Runs the tracker, and gives each event the wall clock's time on its way out.
    fn track(
        &mut self,
        offset_ns: i64,
        step: impl FnOnce(&mut Tracker, &mut dyn FnMut(Event)),
    ) -> Result<(), OutputError> {
        let mut result = Ok(());
        let Self { tracker, output, summary, reported, config, .. } = self;
        let limit = config.count.unwrap_or(u64::MAX);
        step(tracker, &mut |mut event| {
            if result.is_err() || *reported >= limit {
                return;
            }
            if matches!(event, Event::Connection(_)) {
                *reported += 1;
            }
            event.shift(offset_ns);
            summary.observe(&event);
            result = output.event(&event);
        });
        result
    }

    /// Tells the tracker what the interfaces in a batch are called. A batch with a tick (at least one a second)
    /// looks all names up again, since interfaces can be renamed.
    fn name_interfaces(&mut self, inputs: &[Input], source: &LiveSource) {
        let names = source.names();
        for input in inputs {
            match input {
                Input::Segment(seg) if !self.named.contains_key(&seg.flow.interface) => {
                    let index = seg.flow.interface;
                    if let Some(name) = names.get(index) {
                        self.tracker.name_interface(index, Arc::clone(&name));
                        self.named.insert(index, name);
                    }
                }
                Input::Tick(_) => {
                    for (&index, known) in &mut self.named {
                        if let Some(name) = names.get(index).filter(|name| name != known) {
                            self.tracker.name_interface(index, Arc::clone(&name));
                            *known = name;
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Reports the counters.
    fn stats(&mut self, source: &LiveSource, last: bool) -> Result<(), RunError> {
        let mut stats = self.count(source, last)?;
        stats.ts = monotonic_now();
        let mut event = Event::Stats(Box::new(stats));
        event.shift(source.wall_clock().offset_ns());
        self.summary.observe(&event);
        self.output.event(&event)?;
        self.output.flush()?;
        Ok(())
    }

    fn count(&self, source: &LiveSource, last: bool) -> Result<Stats, RunError> {
        let elapsed = monotonic_now().since(self.start);
        let cpu = cpu_time().saturating_sub(self.cpu_start);
        let mut stats = Stats {
            elapsed_ns: elapsed,
            last,
            // One that makes no sense is lost as well.
            records_lost: source.records_lost() + source.records_undecodable(),
            events_dropped: self.output.dropped(),
            connections_open: self.tracker.open().try_into().unwrap_or(u64::MAX),
            connections: self.tracker.counts(),
            admission_rate: 1.0,
            cost: Cost {
                kernel_ns_per_packet: source.program_cost(),
                cpu_percent: percent(cpu, elapsed),
                ring_peak_bytes: Some(source.ring_peak_bytes()),
                ring_bytes: Some(source.ring_bytes()),
            },
            ..Stats::default()
        };
        source.counters()?.fill(&mut stats);
        Ok(stats)
    }

    /// Takes the programs off, reports what is left, and prints the summary.
    fn end(mut self, watched: Result<(), RunError>, mut source: LiveSource) -> Result<(), RunError> {
        let ended = watched.and_then(|()| self.report_rest(&mut source));
        drop(source);
        let quiet = self.config.output.quiet;
        let Self { output, mut summary, .. } = self;
        let Finished { dropped, result, .. } = output.finish(PATIENCE);
        // The writer's own error says more than what came of it.
        result?;
        ended?;
        summary.note_dropped(dropped);
        if !quiet {
            let _ = write!(io::stderr(), "{}", summary.render());
        }
        Ok(())
    }

    fn report_rest(&mut self, source: &mut LiveSource) -> Result<(), RunError> {
        let mut inputs = Vec::new();
        source.finish(&mut inputs)?;
        self.take(&mut inputs, source)?;
        // With a count, what is still open was not asked for.
        if self.config.count.is_none() {
            let now = monotonic_now();
            self.track(source.wall_clock().offset_ns(), |tracker, sink| tracker.finish(now, sink))?;
        }
        self.stats(source, true)
    }
}

/// The tracker makes what is printed, counted or summed up, and nothing else.
fn wants(config: &Config) -> Wants {
    let has = |kind| config.output.events.contains(kind);
    let summed = !config.output.quiet;
    Wants {
        segments: has(Kind::Segment),
        transitions: has(Kind::Transition),
        established: has(Kind::Established) || summed,
        connections: has(Kind::Connection) || summed || config.count.is_some(),
        anomalies: has(Kind::Anomaly),
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

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
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
