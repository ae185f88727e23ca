//! A `tcptrace` that runs, and what it said.

use crate::{
    lab::{DEADLINE, Host, eventually},
    schema,
    traffic::Flow,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, OnceLock},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The path of the built program. Cargo puts it beside the folder of the tests.
pub fn binary() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let test = env::current_exe().expect("a test has a path");
        let built = test.ancestors().nth(2).expect("a test is in a folder of a folder").join("tcptrace");
        assert!(built.is_file(), "{} is not built: cargo builds it with the tests", built.display());
        built.to_str().expect("a path that is text").to_owned()
    })
}

/// The lines of one stream, as they come.
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mine = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                mine.lock().expect("no reader panics").push(line);
            }
        });
        Self { lines, reader: Some(reader) }
    }

    fn with<R>(&self, look: impl FnOnce(&[String]) -> R) -> R {
        look(&self.lines.lock().expect("no reader panics"))
    }

    fn all(&mut self) -> Vec<String> {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no reader panics");
        }
        self.with(<[String]>::to_vec)
    }
}

/// A running tracer. It is killed if a test fails to stop it.
pub struct Trace {
    child: Child,
    stdout: Option<Lines>,
    stderr: Lines,
}

/// What a tracer left behind.
pub struct Report {
    pub status: ExitStatus,
    pub lines: Vec<String>,
    pub stderr: String,
}

/// `tcptrace` with these arguments, not started yet.
pub fn command(args: &[&str]) -> Command {
    command_of(binary(), args)
}

/// The same of a program that becomes `tcptrace`.
pub fn command_of(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    // A group of its own: a Ctrl-C on the test's terminal is not for it.
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    // One zone for all, and no colour or logging from somebody's environment.
    command.env("TZ", "UTC").env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

impl Trace {
    /// Traces the interface of a host and waits until it does.
    pub fn start(host: &Host, args: &[&str]) -> Self {
        let mut trace = Self::spawn(host, &mut command(&[&["-i", host.dev], args].concat()));
        trace.wait_until_attached();
        trace
    }

    /// The same with all events as JSON.
    pub fn all_events(host: &Host, args: &[&str]) -> Self {
        Self::start(host, &[&["--json", "--events", "all"], args].concat())
    }

    /// Starts a command in a host's namespace.
    pub fn spawn(host: &Host, command: &mut Command) -> Self {
        let mut child =
            host.ns.enter(|| command.spawn().unwrap_or_else(|error| panic!("{}: {error}", binary())));
        let stdout = child.stdout.take().map(Lines::of);
        let stderr = Lines::of(child.stderr.take().expect("piped"));
        Self { child, stdout, stderr }
    }

    /// It says so on stderr, once everything is attached.
    pub fn wait_until_attached(&mut self) {
        let start = Instant::now();
        while !self.stderr.with(|lines| lines.iter().any(|line| line.starts_with("tcptrace: tracing "))) {
            let said = self.stderr.with(|lines| lines.join("\n"));
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                panic!("tcptrace ended with {status}: {said}");
            }
            assert!(start.elapsed() < DEADLINE, "tcptrace did not say that it traces: {said:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has printed so many lines that contain this.
    pub fn wait_for_lines(&self, n: usize, containing: &str) {
        let stdout = self.stdout.as_ref().expect("piped");
        // Each line is looked at once: there can be very many.
        let (mut looked_at, mut found) = (0, 0);
        eventually(&format!("{n} lines with {containing}"), || {
            stdout.with(|lines| {
                found += lines[looked_at..].iter().filter(|line| line.contains(containing)).count();
                looked_at = lines.len();
            });
            if found >= n { Ok(()) } else { Err(format!("{found}")) }
        });
    }

    /// Waits until so many lines were printed, or none was for some seconds: what is missing then is for the caller
    /// to judge.
    pub fn wait_for_no_more_than(&self, n: usize) {
        let stdout = self.stdout.as_ref().expect("piped");
        let (mut printed, mut since) = (0, Instant::now());
        while printed < n && since.elapsed() < Duration::from_secs(4) {
            thread::sleep(Duration::from_millis(10));
            let now = stdout.with(<[String]>::len);
            if now > printed {
                (printed, since) = (now, Instant::now());
            }
        }
    }

    /// Waits until so many connections were reported.
    pub fn wait_for_connections(&self, n: usize) {
        self.wait_for_lines(n, r#""event":"connection""#);
    }

    /// What it printed last.
    pub fn last_line(&self) -> String {
        self.stdout
            .as_ref()
            .expect("piped")
            .with(|lines| lines.last().cloned())
            .expect("it printed something")
    }

    /// Waits until it has said this on stderr.
    pub fn wait_for_notice(&self, containing: &str) {
        eventually(&format!("a notice with {containing}"), || {
            let said = self.stderr.with(|lines| lines.join("\n"));
            if said.contains(containing) { Ok(()) } else { Err(said) }
        });
    }

    /// How many of the lines printed so far are such.
    pub fn count(&self, is_such: impl Fn(&str) -> bool) -> usize {
        let stdout = self.stdout.as_ref().expect("piped");
        stdout.with(|lines| lines.iter().filter(|line| is_such(line)).count())
    }

    /// Waits until it has caught up: its main thread neither runs nor waits for a CPU for a good while.
    pub fn wait_until_idle(&self) {
        const WINDOW: Duration = Duration::from_millis(500);
        eventually("the tracer is idle", || {
            let before = self.busy();
            thread::sleep(WINDOW);
            let busy = self.busy().saturating_sub(before);
            if busy < WINDOW / 20 { Ok(()) } else { Err(format!("busy for {busy:?} of {WINDOW:?}")) }
        });
    }

    /// Time on a CPU and time waiting for one (Documentation/scheduler/sched-stats.rst).
    fn busy(&self) -> Duration {
        let path = format!("/proc/{}/schedstat", self.child.id());
        let stat = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
        let ns = stat.split_whitespace().take(2).map(|ns| ns.parse::<u64>().expect("a number")).sum();
        Duration::from_nanos(ns)
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("it is our child");
    }

    /// Ctrl-C.
    pub fn stop(self) -> Report {
        self.signal(Signal::INT);
        self.end()
    }

    /// Waits until it has ended by itself (or by a signal).
    pub fn end(mut self) -> Report {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            let said = self.stderr.with(|lines| lines.join("\n"));
            assert!(start.elapsed() < DEADLINE, "tcptrace does not end: {said:?}");
            thread::sleep(Duration::from_millis(5));
        };
        let lines = self.stdout.as_mut().map(Lines::all).unwrap_or_default();
        Report { status, lines, stderr: self.stderr.all().join("\n") }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // Nothing is to be done if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Report {
    /// The events. Panics unless it ended well and every line is as the schema says.
    pub fn events(&self) -> Vec<Value> {
        assert!(self.status.success(), "tcptrace ended with {}: {}", self.status, self.stderr);
        schema::assert_valid(&self.lines.join("\n"));
        self.unchecked_events()
    }

    /// The same for so many lines that the schema is checked on some thousands of them only.
    pub fn many_events(&self) -> Vec<Value> {
        assert!(self.status.success(), "tcptrace ended with {}: {}", self.status, self.stderr);
        let step = self.lines.len() / 2000 + 1;
        let some: Vec<_> = self.lines.iter().rev().step_by(step).map(String::as_str).collect();
        schema::assert_valid(&some.join("\n"));
        self.unchecked_events()
    }

    fn unchecked_events(&self) -> Vec<Value> {
        let parse =
            |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.lines.iter().map(parse).collect()
    }
}

/// The events of this kind.
pub fn of_kind<'a>(events: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["event"] == kind)
}

/// The last statistics.
pub fn last_stats(events: &[Value]) -> &Value {
    let last = of_kind(events, "stats").last().expect("the trace ends with statistics");
    assert_eq!(last["last"], true);
    last
}

/// The events of one connection.
pub fn of_flow(events: &[Value], flow: Flow) -> impl Iterator<Item = &Value> {
    events.iter().filter(move |event| event.get("client").is_some() && flow_of(event) == flow)
}

/// The connection that an event is of.
pub fn flow_of(event: &Value) -> Flow {
    let end = |end: &Value| {
        let ip = end["ip"].as_str().and_then(|ip| ip.parse().ok()).expect("an address");
        let port = end["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        SocketAddr::new(ip, port)
    };
    Flow { client: end(&event["client"]), server: end(&event["server"]) }
}
