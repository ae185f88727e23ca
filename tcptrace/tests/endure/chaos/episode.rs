//! Runs one tracer through its script, and keeps what it said and when what happened.

use super::{
    disk::Disk,
    script::{End, Script, Trouble},
};
use crate::{
    lab::{Family, Lab, eventually},
    trace::{Trace, command},
};
use rustix::process::Signal;
use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, PipeReader},
    net::{SocketAddr, TcpListener, TcpStream},
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Where it is tried out whether packets pass; no other connection has it.
pub(super) const PROBE_PORT: u16 = 999;
/// A calm while at the beginning, so that something is told whatever comes ...
const FIRST: Duration = Duration::from_millis(2500);
/// ... and before the end.
const LAST: Duration = Duration::from_millis(1500);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    AsPlanned(End),
    /// The interface that it was given by name was deleted.
    InterfaceGone,
    /// Nobody told it to.
    ByItself,
}

type Span = (Instant, Instant);

/// What there is to judge.
pub(super) struct Episode {
    /// From then on everything was seen.
    pub(super) attached: Instant,
    /// When it was ended, or when what ended it happened.
    pub(super) ending: Instant,
    /// It had ended by then.
    pub(super) over: Instant,
    pub(super) ended: Ended,
    /// No packets passed then.
    pub(super) cut: Vec<Span>,
    /// It was stopped, or its reader was slow.
    pub(super) behind: Vec<Span>,
    /// The last may be torn if it did not end well.
    pub(super) lines: Vec<String>,
    pub(super) stderr: String,
    pub(super) status: ExitStatus,
}

pub(super) fn run(lab: &Lab, disk: &Disk, script: &Script) -> Episode {
    let to_disk = script.end == End::DiskFull;
    let common = ["--json", "--stats-interval", "500ms", "--syn-timeout", "3s", "--time-wait", "5s"];
    let mut command = command(&[&script.args[..], &common].concat());
    if script.end == End::CaptureFull {
        command.arg("-w").arg(disk.output());
    }
    let reader = if to_disk {
        command.stdout(File::create(disk.output()).expect("there is room"));
        None
    } else {
        let (reader, writer) = io::pipe().expect("a pipe");
        command.stdout(writer);
        Some(Reader::of(reader))
    };
    let mut trace = Trace::spawn(&lab.a, &mut command);
    // It holds the end of the pipe that the tracer writes to.
    drop(command);
    trace.wait_until_attached();
    let mut run = Running { lab, script, trace, reader, cut: Vec::new(), behind: Vec::new() };
    let attached = Instant::now();
    thread::sleep(FIRST);
    let (ended, ending) = run.live(disk);
    let Running { trace, reader, cut, behind, .. } = run;
    let report = trace.end();
    let over = Instant::now();
    let lines = match reader {
        Some(reader) => reader.lines(),
        None => {
            fs::read_to_string(disk.output()).expect("it wrote text").lines().map(str::to_owned).collect()
        }
    };
    if matches!(ended, Ended::AsPlanned(end) if end.fills()) {
        disk.free();
    }
    Episode {
        attached,
        ending,
        over,
        ended,
        cut,
        behind,
        lines,
        stderr: report.stderr,
        status: report.status,
    }
}

struct Running<'a> {
    lab: &'a Lab,
    script: &'a Script,
    trace: Trace,
    reader: Option<Reader>,
    cut: Vec<Span>,
    behind: Vec<Span>,
}

impl Running<'_> {
    /// Until something ends it, and when that was.
    fn live(&mut self, disk: &Disk) -> (Ended, Instant) {
        let script = self.script;
        for trouble in &script.troubles {
            let begin = Instant::now();
            match *trouble {
                Trouble::Calm(time) => thread::sleep(time),
                Trouble::Stopped(time) => {
                    self.trace.signal(Signal::STOP);
                    thread::sleep(time);
                    self.trace.signal(Signal::CONT);
                    self.behind.push((begin, Instant::now()));
                }
                Trouble::SlowReader(time) => self.stall(time),
                Trouble::Down(time) => {
                    self.link("down");
                    thread::sleep(time);
                    self.link("up");
                    self.mend(begin);
                }
                Trouble::Remade => {
                    self.lab.a.ns.ip(&["link", "del", self.lab.a.dev]);
                    if !self.script.is_any() {
                        eventually("it ends with its interface", || self.ended());
                    }
                    self.lab.lay_cable();
                    self.mend(begin);
                    if !self.script.is_any() {
                        return (Ended::InterfaceGone, begin);
                    }
                }
            }
            if self.trace.has_ended() {
                return (Ended::ByItself, begin);
            }
        }
        thread::sleep(LAST);
        if self.script.end == End::CaptureFull {
            // It goes on, and tries to write again, until it is told to end.
            disk.fill();
            self.trace.wait_for_notice("cannot write ");
        }
        let now = Instant::now();
        match self.script.end {
            End::Interrupted | End::CaptureFull => self.trace.signal(Signal::INT),
            End::Killed => self.trace.signal(Signal::KILL),
            End::ReaderGone => {
                self.reader.as_ref().expect("it has one").leaves.store(true, Ordering::Relaxed);
            }
            End::DiskFull => disk.fill(),
        }
        eventually("it ends", || self.ended());
        (Ended::AsPlanned(self.script.end), now)
    }

    fn ended(&mut self) -> Result<(), String> {
        if self.trace.has_ended() { Ok(()) } else { Err("it goes on".to_owned()) }
    }

    fn stall(&mut self, time: Duration) {
        let Some(reader) = &self.reader else { return thread::sleep(time) };
        let begin = Instant::now();
        reader.stalls.store(true, Ordering::Relaxed);
        thread::sleep(time);
        reader.stalls.store(false, Ordering::Relaxed);
        self.behind.push((begin, Instant::now()));
    }

    fn link(&self, state: &str) {
        self.lab.a.ns.ip(&["link", "set", self.lab.a.dev, state]);
    }

    /// Waits until packets pass again, and are seen.
    fn mend(&mut self, since: Instant) {
        if !self.trace.has_ended() {
            self.lab.a.wait_until_attached_to(self.lab.a.dev);
        }
        for family in Family::BOTH {
            let server = SocketAddr::new(self.lab.b.ip(family), PROBE_PORT);
            let _listener = self.lab.b.ns.enter(|| TcpListener::bind(server)).expect("nobody has that port");
            eventually("packets pass", || {
                let connect = || TcpStream::connect_timeout(&server, Duration::from_millis(200));
                self.lab.a.ns.enter(connect).map(drop).map_err(|error| error.to_string())
            });
        }
        self.cut.push((since, Instant::now()));
    }
}

/// Reads lines from a pipe, as fast as it is told to.
struct Reader {
    stalls: Arc<AtomicBool>,
    leaves: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Reader {
    fn of(pipe: PipeReader) -> Self {
        let (stalls, leaves) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (stalls, leaves) = (Arc::clone(&stalls), Arc::clone(&leaves));
            move || {
                let mut lines = Vec::new();
                // There are statistics twice a second, so a line always comes.
                for line in BufReader::new(pipe).lines() {
                    lines.push(line.expect("it writes text"));
                    while stalls.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(10));
                    }
                    if leaves.load(Ordering::Relaxed) {
                        break;
                    }
                }
                lines
            }
        });
        Self { stalls, leaves, thread }
    }

    /// What came until the end.
    fn lines(self) -> Vec<String> {
        self.thread.join().expect("the reader reads")
    }
}
