//! From packets to output: source, tracker, sinks, and the loop around them.

mod capture;
mod file;
mod live;
mod opened;
mod screen;
mod signals;
mod start;

use crate::{
    cli::{Config, FilterText, Format, Input as Source, Only, meant},
    confine::ConfineError,
    event::{Event, Kind, RunId, Start, Stats},
    filter::{Filter, FilterError},
    kernel::{
        interfaces::{self, Interface},
        namespaces::{self, Interfaces, Namespaces, Netns},
    },
    names::SystemNames,
    once::{self, Once},
    segment::{Input, Timestamp},
    sink::{
        Sink,
        json::JsonSink,
        output::{Finished, Output, OutputError, OutputOptions, Pressure, QUEUE_BYTES},
        summary::Summary,
        text::{TextOptions, TextSink},
        units::{Count, plain},
    },
    source::{live::LiveError, pcap::FileError},
    stderr,
    track::{self, Tracker, Wants},
    wall::WallClock,
};
use capture::Capture;
use opened::Opened;
use screen::Screen;
use std::{
    fmt::{Display, Write as _},
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use thiserror::Error;

/// How long the end waits for a reader that does not read.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a trace could not begin or go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The live source failed.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// What is not needed could not be given up.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// The file could not be read to its end.
    #[error(transparent)]
    File(#[from] FileError),
    /// The filter makes no sense.
    #[error("{error}{}", meant.as_deref().map(|meant| format!("\n{meant}")).unwrap_or_default())]
    Filter {
        /// Why.
        error: FilterError,
        /// What its first word was meant to be, where that is known.
        meant: Option<String>,
    },
    /// Not all VLAN tags are seen there.
    #[error(
        "a filter with 'vlan' needs --ingress tc: a device may take the tag off before XDP sees the packet, and half of each \
         connection would be left out"
    )]
    XdpVlans,
    /// The file with the filter could not be read.
    #[error("cannot read the filter in {}: {source}", path.display())]
    FilterFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The output ended.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The capture could not be created.
    #[error("cannot create {}: {source}", path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The capture would take the place of one that is read.
    #[error("{} is a capture that is read: write to another", path.display())]
    Same {
        /// Which.
        path: PathBuf,
    },
    /// The capture could not be written.
    #[error("{}: {error}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        error: OutputError,
    },
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

/// Traces until the source ends, or until a signal, the count or the reader's going away ends it.
pub fn trace(config: &Config) -> Result<(), RunError> {
    signals::outlive_a_limit_of_files()?;
    let filter = filter(&config.filter)?;
    match &config.input {
        Source::Live(interfaces) => live::trace(config, interfaces, filter),
        Source::Files(paths) => file::trace(config, paths, filter),
    }
}

/// Compiles the filter, with the system's names of hosts and ports.
fn filter(text: &FilterText) -> Result<Filter, RunError> {
    let (text, typed) = match text {
        FilterText::Given(text) => (text.clone(), true),
        FilterText::File(path) => {
            (filter_file(path).map_err(|source| RunError::FilterFile { path: path.clone(), source })?, false)
        }
    };
    Filter::compile(text.trim_end(), &SystemNames).map_err(|error| {
        // Their names are asked for only where there is an error to explain.
        let is_interface =
            |word: &str| interfaces::list().is_ok_and(|all| all.iter().any(|it| it.is_called(word)));
        // In a file a word is not in the place of an option's value.
        let meant = if typed { meant(&text, |word| Path::new(word).is_file(), is_interface) } else { None };
        RunError::Filter { error, meant }
    })
}

fn filter_file(path: &Path) -> io::Result<String> {
    /// Beyond what compiles.
    const MOST: u64 = 4 << 20;
    let mut text = String::new();
    let len = File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
    if len as u64 > MOST { Err(io::Error::other("it is longer than 4 MiB")) } else { Ok(text) }
}

/// The interfaces of a network namespace, of this one or of all, as `-D` lists them, a line each.
pub fn interfaces(netns: &Namespaces) -> Result<String, RunError> {
    let mut out = String::new();
    for it in listed(netns)? {
        let state = if it.up { "up" } else { "down" };
        // One that is down can be, once it is up.
        let note = if it.is_of_a_traced_kind() { "" } else { ", cannot be traced" };
        let also = it.other_names.iter().flat_map(|name| [", also ", name]).collect::<String>();
        let (name, also) = (plain(&it.name), plain(&also));
        // A String takes everything.
        let _ = writeln!(out, "{}\t{name}\t{state}, {}{note}{also}", it.index, it.link);
    }
    Ok(out)
}

fn listed(netns: &Namespaces) -> Result<Vec<Interface>, LiveError> {
    let of_one = |name| Netns::open(name)?.within(interfaces::list).map_err(LiveError::from);
    match netns {
        Namespaces::Own => Ok(of_one(None)??),
        Namespaces::Named(name) => Ok(of_one(Some(name))??),
        Namespaces::All => {
            let Interfaces { interfaces, left_out } = namespaces::interfaces()?;
            for (netns, why) in left_out {
                stderr::say(format_args!("network namespace {netns} is not listed: {why}"));
            }
            Ok(interfaces)
        }
    }
}

/// This signal ends the trace. A terminal has written `^C` for it, and the summary begins on a line of its own.
fn note_end(signal: i32) {
    if signal == signals::OF_CTRL_C && io::stderr().is_terminal() {
        stderr::write("\n");
    }
}

/// What a trace has besides its source.
struct Run<'a> {
    config: &'a Config,
    /// As `start` and `stats` tell it.
    id: RunId,
    tracker: Tracker,
    /// With `--once`.
    once: Option<Once>,
    teller: Teller,
    capture: Option<Capture>,
    screen: Screen,
}

/// What becomes of an event that is told: it is counted, summed up and printed.
struct Teller {
    output: Output,
    summary: Summary,
    /// Connections told, and how many are to be.
    reported: u64,
    limit: u64,
    /// Which are printed; all are summed up.
    only: Only,
    /// What the source's clock shows.
    clock: WallClock,
    /// The first error; nothing is printed after it.
    result: Result<(), OutputError>,
}

impl Teller {
    /// Gives an event the wall clock's time on its way out.
    fn tell(&mut self, mut event: Event, offset_ns: i64) {
        let counted = event.common().is_some();
        if self.result.is_err() || (counted && self.reported >= self.limit) {
            return;
        }
        self.reported += u64::from(matches!(event, Event::Connection(_)));
        event.retime(|ts| match self.clock.shown(ts) {
            Timestamp::UNKNOWN => Timestamp::UNKNOWN,
            ts => Timestamp(ts.0.saturating_add_signed(offset_ns)),
        });
        self.summary.observe(&event);
        if self.only.takes(&event) {
            self.result = self.output.event(&event);
        }
    }

    fn result(&mut self) -> Result<(), OutputError> {
        std::mem::replace(&mut self.result, Ok(()))
    }
}

impl<'a> Run<'a> {
    /// `on_end` is called when the output has ended before the trace.
    fn new(
        config: &'a Config,
        filter: Filter,
        opened: Opened,
        many_interfaces: bool,
        pressure: Pressure,
        on_end: impl FnOnce() + Clone + Send + 'static,
    ) -> Result<Self, RunError> {
        let limits = &config.limits;
        let filters = !matches!(&config.filter, FilterText::Given(text) if text.trim().is_empty());
        let mut tracker = Tracker::new(track::Config {
            give_up_ns: nanoseconds(limits.syn_timeout),
            time_wait_ns: nanoseconds(limits.time_wait),
            max_connections: limits.max_connections,
            wants: wants(config),
        });
        if filter.tells_ends_apart() {
            tracker.set_filter(filter);
        }
        let capture = match opened.capture {
            Some((path, file)) => Some(Capture::begin(path, file, pressure, on_end.clone())?),
            None => None,
        };
        let once = config.output.once.then(|| {
            Once::new(once::Config {
                keep: config.output.events,
                time_wait_ns: nanoseconds(limits.time_wait),
                max_connections: limits.max_connections,
            })
        });
        let summary = Summary::new().by(&config.summary_by, config.summary_top);
        let screen = Screen::new(config.output.width);
        let text = TextOptions {
            interfaces: many_interfaces || config.output.once,
            color: color(config),
            zone: opened.zone,
            times: config.output.times,
            width: screen.width(),
        };
        let teller = Teller {
            output: open_output(config, text, pressure, on_end)?,
            summary: if filters { summary.filtered() } else { summary },
            reported: 0,
            limit: config.count.unwrap_or(u64::MAX),
            only: config.output.only,
            clock: WallClock::default(),
            result: Ok(()),
        };
        Ok(Self { config, id: opened.identity.run(), tracker, once, teller, capture, screen })
    }

    /// Prints the first event, before any other is there. Its time is that of this host already.
    fn begin(&mut self, start: Start) -> Result<(), RunError> {
        self.teller.output.event(&Event::Start(Box::new(start)))?;
        Ok(self.teller.output.flush()?)
    }

    /// A line on stderr, unless it was asked to be quiet.
    fn say(&self, line: impl Display) {
        if !self.config.output.quiet {
            stderr::say(line);
        }
    }

    /// The summary so far, on stderr in one piece.
    fn say_summary(&self) {
        if !self.config.output.quiet {
            self.screen.say(&format!("so far: {}\n", self.teller.summary.render()));
        }
    }

    fn has_counted(&self) -> bool {
        self.teller.reported >= self.teller.limit
    }

    /// Events wait for time to go on.
    fn is_holding(&self) -> bool {
        self.once.as_ref().is_some_and(Once::is_holding)
    }

    /// How full the output's queue is, from 0 to 1.
    fn backlog(&self) -> f64 {
        self.teller.output.backlog()
    }

    fn name_interface(&mut self, interface: u32, name: Arc<str>) {
        self.tracker.name_interface(interface, name);
    }

    fn forget_interfaces(&mut self, gone: &mut Vec<u32>) {
        self.tracker.forget_interfaces(gone);
    }

    /// Tracks a batch, and hands what it says to the writer.
    fn take(&mut self, inputs: &mut Vec<Input>, offset_ns: i64) -> Result<(), RunError> {
        self.screen.look();
        for input in inputs.drain(..) {
            if let Input::Clock(change) = input {
                self.teller.clock.change(change);
            }
            self.track(offset_ns, |tracker, sink| tracker.input(&input, sink))?;
            if let (Some(once), Some(now)) = (&mut self.once, input.ts()) {
                once.advance(now, &mut |event| self.teller.tell(event, offset_ns));
                self.teller.result()?;
            }
            if self.has_counted() {
                break;
            }
        }
        self.teller.output.flush()?;
        self.capture.as_mut().map_or(Ok(()), Capture::flush)
    }

    /// Reports what is still in the table at `ts`. With a count, that was not asked for.
    fn finish_tracker(&mut self, ts: Timestamp, offset_ns: i64) -> Result<(), RunError> {
        if self.config.count.is_none() {
            self.track(offset_ns, |tracker, sink| tracker.finish(ts, sink))?;
        }
        if let Some(once) = &mut self.once {
            once.flush(&mut |event| self.teller.tell(event, offset_ns));
        }
        Ok(self.teller.result()?)
    }

    /// Runs the tracker, and tells what it says.
    fn track(
        &mut self,
        offset_ns: i64,
        step: impl FnOnce(&mut Tracker, &mut dyn FnMut(Event)),
    ) -> Result<(), OutputError> {
        let Self { tracker, once, teller, .. } = self;
        let tell = &mut |event| teller.tell(event, offset_ns);
        match once {
            None => step(tracker, tell),
            Some(once) => step(tracker, &mut |event| once.event(event, tell)),
        }
        teller.result()
    }

    /// Completes counters of a source with those of the rest.
    fn complete(&self, stats: &mut Stats) {
        stats.run = self.id;
        stats.events_dropped = self.teller.output.dropped();
        stats.connections_open = self.tracker.open().try_into().unwrap_or(u64::MAX);
        stats.connections = self.tracker.counts();
        stats.handshakes = self.teller.summary.handshakes();
        stats.copies = self.tracker.copies();
        stats.tunnels = stats.tunnels.filter(|_| !self.config.decap.is_none());
    }

    /// For the summary alone.
    fn note_stats(&mut self, mut stats: Stats) {
        self.complete(&mut stats);
        self.teller.summary.observe(&Event::Stats(Box::new(stats)));
    }

    /// Completes counters of a source with those of the rest, and reports them.
    fn stats(&mut self, mut stats: Stats, offset_ns: i64) -> Result<(), RunError> {
        let last = stats.last;
        self.complete(&mut stats);
        let event = Event::Stats(Box::new(stats));
        let tell = &mut |event| self.teller.tell(event, offset_ns);
        match &mut self.once {
            None => tell(event),
            Some(once) => {
                once.event(event, tell);
                if last {
                    once.flush(tell);
                }
            }
        }
        self.teller.result()?;
        self.teller.output.flush()?;
        Ok(())
    }

    /// Writes what is left, and prints the summary where the trace went well (or its input's end did not).
    fn end(self, ended: Result<(), RunError>) -> Result<(), RunError> {
        let quiet = self.config.output.quiet;
        let Self { teller: Teller { output, mut summary, .. }, once, capture, screen, .. } = self;
        let written = capture.map_or(Ok(0), |capture| capture.finish(PATIENCE));
        let Finished { dropped, result, .. } = output.finish(PATIENCE);
        // The writers' own errors say more than what came of them.
        result?;
        let missing = written?;
        let is_told =
            matches!(ended, Ok(()) | Err(RunError::File(_) | RunError::Live(LiveError::TakenOff { .. })));
        if !is_told {
            return ended;
        }
        summary.note_dropped(dropped);
        if !quiet {
            let mut said = summary.render();
            if missing > 0 {
                // A String takes everything.
                let _ = writeln!(said, "the capture lacks {missing} packets: its disk was too slow");
            }
            said += &once.as_ref().map(shortfall).unwrap_or_default();
            screen.say(&said);
        }
        ended
    }
}

fn open_output(
    config: &Config,
    text: TextOptions,
    pressure: Pressure,
    on_end: impl FnOnce() + Send + 'static,
) -> Result<Output, RunError> {
    let stdout = io::stdout();
    let fd = stdout.as_fd().try_clone_to_owned().map_err(RunError::system("use stdout"))?;
    let sink: Box<dyn Sink> = match config.output.format {
        Format::Json => Box::new(JsonSink::default()),
        Format::Text => Box::new(TextSink::new(text)),
    };
    let options = OutputOptions { pressure, events: config.output.events, queue_bytes: QUEUE_BYTES };
    Ok(Output::start(sink, fd, options, on_end)?)
}

fn color(config: &Config) -> bool {
    config.output.color.enabled(io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref())
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

/// The tracker makes what is printed, counted or summed up, or needed to tell things once, and nothing else.
fn wants(config: &Config) -> Wants {
    let has = |kind| config.output.events.contains(kind);
    let (summed, once) = (!config.output.quiet, config.output.once);
    Wants {
        segments: has(Kind::Segment),
        transitions: has(Kind::Transition) || once,
        // The counters tell how long handshakes took.
        established: has(Kind::Established) || has(Kind::Stats) || summed || once,
        connections: has(Kind::Connection) || summed || config.count.is_some() || once,
        anomalies: has(Kind::Anomaly),
        icmp_errors: has(Kind::IcmpError),
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
