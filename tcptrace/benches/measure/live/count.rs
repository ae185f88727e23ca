//! What each program recorded, by its own output.

use crate::process::Ended;
use serde_json::Value;
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
};

/// Segments with SYN, FIN or RST of a connection that closes in the usual way.
pub(crate) const HANDSHAKE_PACKETS: u64 = 4;

/// What rustnet logs goes to a file of its own.
pub(crate) const RUSTNET_LOG: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/rustnet.jsonl");

/// By its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// So many connections.
    Connections(u64),
    /// Packets, by its own counters; how many there should be it is not known.
    Packets { taken: u64, dropped: u64 },
}

impl Count {
    /// The part of what there was that is missing.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52")]
    pub(crate) fn lost(self, made: u64) -> f64 {
        match self {
            // A program may count those that failed, too.
            Self::Connections(seen) => (1.0 - seen as f64 / made as f64).max(0.0),
            Self::Packets { taken, dropped } => dropped as f64 / (taken + dropped) as f64,
        }
    }

    pub(crate) const fn is_nothing(self) -> bool {
        matches!(self, Self::Connections(0) | Self::Packets { taken: 0, .. })
    }
}

/// Lines of standard output that satisfy something.
fn lines(ended: &Ended, wanted: impl FnMut(&[u8]) -> bool) -> Result<u64, String> {
    lines_of(&ended.stdout, wanted)
}

fn lines_of(path: &Path, mut wanted: impl FnMut(&[u8]) -> bool) -> Result<u64, String> {
    let open = File::open(path).map_err(|error| error.to_string())?;
    let mut reader = BufReader::with_capacity(1 << 20, open);
    let (mut line, mut count) = (Vec::new(), 0);
    while reader.read_until(b'\n', &mut line).map_err(|error| error.to_string())? > 0 {
        count += u64::from(line.ends_with(b"\n") && wanted(&line));
        line.clear();
    }
    Ok(count)
}

fn has(line: &[u8], words: &str) -> bool {
    line.windows(words.len()).any(|window| window == words.as_bytes())
}

/// A connection is recorded if both of its lines are there and the one of its end says that it is whole.
pub(crate) fn our_json(ended: &Ended) -> Result<Count, String> {
    let mut established = 0;
    let whole = lines(ended, |line| {
        established += u64::from(line.starts_with(b"{\"event\":\"established\""));
        line.starts_with(b"{\"event\":\"connection\"")
            && has(line, "\"outcome\":\"closed\"")
            && has(line, "\"complete\":true")
    })?;
    Ok(Count::Connections(whole.min(established)))
}

pub(crate) fn our_text(ended: &Ended) -> Result<Count, String> {
    let mut established = 0;
    let closed = lines(ended, |line| {
        established += u64::from(has(line, "  ESTABLISHED  "));
        has(line, "  CLOSED  ") && !has(line, "(incomplete)")
    })?;
    Ok(Count::Connections(closed.min(established)))
}

/// Printed at the end: `12 connections: 11 closed, 1 refused`.
pub(crate) fn our_summary(ended: &Ended) -> Result<Count, String> {
    let said = ended.said();
    if !said.lines().any(|line| line == "lost: nothing") {
        return Err("it lost something, and does not say of how many connections".to_owned());
    }
    let closed = said.lines().find_map(|line| {
        let (_, outcomes) = line.split_once(" connections: ")?;
        outcomes.split(", ").find_map(|outcome| outcome.strip_suffix(" closed")?.parse().ok())
    });
    closed.map(Count::Connections).ok_or_else(|| "its summary counts no closed connections".to_owned())
}

pub(crate) fn our_stats(ended: &Ended) -> Result<Count, String> {
    let stats = last_stats(ended)?;
    let closed = stats["connections"]["closed"].as_u64().ok_or("its statistics count nothing")?;
    if stats["records_lost"].as_u64() != Some(0) {
        return Err(format!(
            "it lost {} records, and does not say of how many connections",
            stats["records_lost"]
        ));
    }
    Ok(Count::Connections(closed))
}

/// The last line, which `stats` is.
pub(crate) fn last_stats(ended: &Ended) -> Result<Value, String> {
    let mut last = Vec::new();
    lines(ended, |line| {
        if line.starts_with(b"{\"event\":\"stats\"") {
            line.clone_into(&mut last);
        }
        true
    })?;
    serde_json::from_slice(&last).map_err(|error| format!("no statistics at the end: {error}"))
}

/// `packets captured`, `packets received by filter`, `packets dropped by kernel`, a line each.
fn tcpdump(ended: &Ended) -> Result<(u64, u64), String> {
    let said = ended.said();
    let number =
        |words: &str| said.lines().find_map(|line| line.strip_suffix(words)?.trim().parse::<u64>().ok());
    let numbers = number("packets captured").zip(number("packets dropped by kernel"));
    numbers.ok_or_else(|| format!("it did not say what it captured, {}", ended.status))
}

pub(crate) fn tcpdump_handshake(ended: &Ended) -> Result<Count, String> {
    Ok(Count::Connections(tcpdump(ended)?.0 / HANDSHAKE_PACKETS))
}

pub(crate) fn tcpdump_all(ended: &Ended) -> Result<Count, String> {
    let (taken, dropped) = tcpdump(ended)?;
    Ok(Count::Packets { taken, dropped })
}

pub(crate) fn tshark(ended: &Ended) -> Result<Count, String> {
    Ok(Count::Connections(lines(ended, |line| has(line, "\t0x"))? / HANDSHAKE_PACKETS))
}

/// A line for each socket that is destroyed, of the client's namespace.
pub(crate) fn ss(ended: &Ended) -> Result<Count, String> {
    lines(ended, |line| has(line, "10.77.0.2:80")).map(Count::Connections)
}

pub(crate) fn conntrack(ended: &Ended) -> Result<Count, String> {
    lines(ended, |line| has(line, "[NEW]") && has(line, "dst=10.77.0.2")).map(Count::Connections)
}

pub(crate) fn tcplife(ended: &Ended) -> Result<Count, String> {
    lines(ended, |line| has(line, "10.77.0.2")).map(Count::Connections)
}

/// The client's socket in its last state.
pub(crate) fn tcpstates(ended: &Ended) -> Result<Count, String> {
    lines(ended, |line| has(line, "10.77.0.2") && has(line, "-> CLOSE ")).map(Count::Connections)
}

pub(crate) fn bpftrace(ended: &Ended) -> Result<Count, String> {
    lines(ended, |line| line.starts_with(b"closed ")).map(Count::Connections)
}

pub(crate) fn rustnet(_: &Ended) -> Result<Count, String> {
    let wanted =
        |line: &[u8]| has(line, "\"new_connection\"") && has(line, "\"destination_ip\":\"10.77.0.2\"");
    let seen = lines_of(Path::new(RUSTNET_LOG), wanted)?;
    fs::remove_file(RUSTNET_LOG).map_err(|error| error.to_string())?;
    Ok(Count::Connections(seen))
}

/// For programs that never ran here: any line about the server.
pub(crate) fn lines_of_a_port(ended: &Ended) -> Result<Count, String> {
    lines(ended, |line| has(line, "10.77.0.2")).map(Count::Connections)
}
