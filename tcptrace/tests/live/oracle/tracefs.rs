//! The kernel's own account of every socket's states: the tracepoint `sock:inet_sock_set_state`, read through an
//! instance of tracefs of our own, so that nobody else's tracing is touched.

use crate::lab::eventually;
use std::{
    fs,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

/// One change of a socket's state, as the tracepoint says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Nanoseconds of `CLOCK_MONOTONIC`, cut to whole microseconds.
    pub(crate) at: i64,
    /// As the kernel spells them, without `TCP_`.
    pub(crate) from: String,
    pub(crate) to: String,
}

/// A recording of the tracepoint. Removed when dropped.
pub(crate) struct Recording {
    instance: PathBuf,
    /// Where tracefs was mounted for this, if it had to be.
    mounted: Option<PathBuf>,
}

impl Recording {
    /// Starts to record the sockets of servers on these ports and of their clients: so many connections at most.
    pub(crate) fn start(ports: &RangeInclusive<u16>, connections: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tcptrace-test-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (root, mounted) = tracefs(&name);
        let recording = Self { instance: root.join("instances").join(name), mounted };
        fs::create_dir(&recording.instance).expect("root may make an instance of tracefs");
        let event = "events/sock/inet_sock_set_state";
        // Each CPU's buffer holds all of it: a dozen changes of less than a hundred octets each, and as much again that
        // other tests do meanwhile.
        recording.write("buffer_size_kb", &(2048 + 2 * connections).to_string());
        // The clock of the kernel programs (bpf_ktime_get_ns).
        recording.write("trace_clock", "mono");
        let range = |port: &str| format!("({port} >= {} && {port} <= {})", ports.start(), ports.end());
        recording.write(
            &format!("{event}/filter"),
            &format!("protocol == 6 && ({} || {})", range("sport"), range("dport")),
        );
        recording.write(&format!("{event}/enable"), "1");
        recording
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.instance.join(file);
        fs::write(&path, text)
            .unwrap_or_else(|error| panic!("cannot write {text:?} to {}: {error}", path.display()));
    }

    /// Everything recorded so far, in the order of time.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let text = fs::read_to_string(self.instance.join("trace")).expect("it can be read");
        let header = text.lines().find_map(|line| line.strip_prefix("# entries-in-buffer/entries-written: "));
        let counts =
            header.and_then(|header| header.split_whitespace().next()).expect("the format of tracefs");
        let (kept, written) = counts.split_once('/').expect("the format of tracefs");
        assert_eq!(kept, written, "the kernel's buffer was large enough");
        text.lines().filter(|line| line.contains(": inet_sock_set_state: ")).map(change).collect()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // While a test panics, removing goes on without a second panic.
        let _ = fs::write(self.instance.join("events/enable"), "0");
        let _ = fs::remove_dir(&self.instance);
        if let Some(path) = &self.mounted {
            let _ = Command::new("umount").arg("--lazy").arg(path).status();
            let _ = fs::remove_dir(path);
        }
    }
}

/// Where tracefs is, mounted at a place of our own if it is nowhere.
fn tracefs(name: &str) -> (PathBuf, Option<PathBuf>) {
    for place in ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"] {
        let place = Path::new(place);
        if place.join("instances").is_dir() {
            return (place.to_owned(), None);
        }
    }
    let place = std::env::temp_dir().join(format!("{name}-tracefs"));
    fs::create_dir(&place).expect("a directory can be made");
    let status =
        Command::new("mount").args(["-t", "tracefs", "none"]).arg(&place).status().expect("mount runs");
    assert!(status.success(), "root may mount tracefs");
    (place.clone(), Some(place))
}

/// `<idle>-0 [001] ..s3. 12345.678901: inet_sock_set_state: family=AF_INET protocol=IPPROTO_TCP sport=4001
/// dport=38836 saddr=127.0.0.1 daddr=127.0.0.1 saddrv6=::ffff:127.0.0.1 daddrv6=::ffff:127.0.0.1 oldstate=TCP_LISTEN newstate=TCP_SYN_RECV`
fn change(line: &str) -> Change {
    let field = |name: &str| {
        line.split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("{name} is in {line}"))
    };
    let (saddr, daddr) = match field("family") {
        "AF_INET" => ("saddr", "daddr"),
        _ => ("saddrv6", "daddrv6"),
    };
    let address = |ip: &str, port: &str| {
        let ip = field(ip).parse().unwrap_or_else(|error| panic!("{error}: {line}"));
        SocketAddr::new(ip, field(port).parse().unwrap_or_else(|error| panic!("{error}: {line}")))
    };
    let state = |name: &str| field(name).trim_start_matches("TCP_").to_owned();
    Change {
        at: stamp(line).unwrap_or_else(|| panic!("a time is in {line}")),
        local: address(saddr, "sport"),
        remote: address(daddr, "dport"),
        from: state("oldstate"),
        to: state("newstate"),
    }
}

/// The last word before the event's name, in seconds with six decimals.
fn stamp(line: &str) -> Option<i64> {
    let (before, _) = line.split_once(": inet_sock_set_state: ")?;
    let (seconds, micros) = before.split_whitespace().last()?.split_once('.')?;
    assert_eq!(micros.len(), 6, "microseconds in {line}");
    Some((seconds.parse::<i64>().ok()? * 1_000_000 + micros.parse::<i64>().ok()?) * 1000)
}

/// The changes once there are so many that fit.
pub(crate) fn changes_when(
    recording: &Recording,
    what: &str,
    done: impl Fn(&[Change]) -> Result<(), String>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    eventually(what, || {
        changes = recording.changes();
        done(&changes)
    });
    changes
}
