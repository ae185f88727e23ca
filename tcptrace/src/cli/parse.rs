//! Parsers for the values of arguments. Each error says in one line what would have been right.

use crate::{
    event::{Kind, Kinds},
    sink::summary::GroupBy,
};
use jiff::SignedDuration;
use std::{ops::RangeInclusive, time::Duration};
use tcptrace_common::{
    admission::Admission,
    wire::tunnel::{self, Decap, MAX_PORTS},
};

/// The longest name of an interface in octets: ALTIFNAMSIZ less the terminating zero (include/uapi/linux/if.h), which
/// bounds the alternative names that an interface may have.
const INTERFACE_NAME: usize = 127;
/// The sizes of a ring buffer, in bytes. The kernel demands whole pages (kernel/bpf/ringbuf.c, `ringbuf_map_alloc`),
/// and the smallest size is one page where pages are largest.
const RING_BYTES: RangeInclusive<u64> = 64 * 1024..=1024 * 1024 * 1024;

/// Parses the name of an interface.
pub(super) fn interface(name: &str) -> Result<String, String> {
    let fits = (1..=INTERFACE_NAME).contains(&name.len());
    // What dev_valid_name (net/core/dev.c) refuses cannot be the name of an interface.
    if fits
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
    {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "the name of an interface has 1 to {INTERFACE_NAME} characters, and no '/', ':' or space"
        ))
    }
}

/// Parses a list of kinds of events.
pub(super) fn kinds(list: &str) -> Result<Kinds, String> {
    list.split(',').try_fold(Kinds::NONE, |kinds, name| match name.trim() {
        "all" => Ok(Kinds::ALL),
        name => name.parse::<Kind>().map(|kind| kinds.with(kind)).map_err(|_| {
            format!(
                "'{name}' is not a kind of event: start, established, connection, stats, transition, segment, anomaly, icmp_error, all"
            )
        }),
    })
}

/// Parses a list of kinds of tunnels, each perhaps with a UDP port.
pub(super) fn decap(list: &str) -> Result<Decap, String> {
    list.split(',').map(str::trim).try_fold(Decap::NONE, |decap, item| {
        let (name, port) = item.split_once(':').map_or((item, None), |(name, port)| (name, Some(port)));
        if item == "all" {
            return Ok(tunnel::TunnelProtocol::ALL.into_iter().fold(decap, Decap::with));
        }
        let kind =
            tunnel::TunnelProtocol::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
                let known = tunnel::TunnelProtocol::ALL.map(tunnel::TunnelProtocol::name).join(", ");
                format!("'{name}' is not a kind of tunnel: {known}, all")
            })?;
        let Some(port) = port else { return Ok(decap.with(kind)) };
        if kind.usual_ports().is_empty() {
            return Err(format!("{name} is not in UDP and has no port"));
        }
        let port = port.parse().ok().filter(|&port| port != 0);
        let port: u16 = port.ok_or_else(|| format!("a port from 1 to 65535 is needed, as in {name}:4790"))?;
        decap.with_port(kind, port).ok_or_else(|| {
            format!(
                "port {port} cannot be {name}'s too: a port is of one kind, and there are {MAX_PORTS} at most"
            )
        })
    })
}

/// Parses the size of the ring buffer in bytes, with K, M or G for the powers of 1024: a power of two within
/// [`RING_BYTES`].
pub(super) fn ring_bytes(text: &str) -> Result<u32, String> {
    let range = || "a power of two from 64K to 1G is needed, such as 16M".to_owned();
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let bytes =
        digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or_else(range)?;
    if RING_BYTES.contains(&bytes) && bytes.is_power_of_two() {
        u32::try_from(bytes).map_err(|_| range())
    } else {
        Err(range())
    }
}

/// Parses the most bytes that a file may have, with K, M, G or T for the powers of 1024.
pub(super) fn file_size(text: &str) -> Result<u64, String> {
    /// Less than this is a mistake.
    const LEAST: u64 = 4096;
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        Some(b'T' | b't') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes
        .filter(|&bytes| bytes >= LEAST)
        .ok_or_else(|| "a size from 4K on is needed, such as 100M".to_owned())
}

/// Parses how often another file is begun.
pub(super) fn rotate_every(text: &str) -> Result<Duration, String> {
    duration(text, "1s", "24h")
}

/// Parses the access mode of a file, in octal.
pub(super) fn file_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|&mode| mode <= 0o777 && mode & 0o200 != 0);
    mode.ok_or_else(|| "three octal digits are needed by which the owner may write, such as 640".to_owned())
}

/// Parses the part of connections that is followed, as `1/N`.
pub(super) fn sample(text: &str) -> Result<Admission, String> {
    match text.strip_prefix("1/").map(str::parse) {
        Some(Ok(n @ 1..)) => Ok(Admission::one_in(n)),
        _ => Err(format!("1/N is needed, with N from 1 to {}, such as 1/100", u32::MAX)),
    }
}

/// Parses the number of connections after which a trace ends.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let count = text.parse().ok().filter(|&count: &u64| count > 0);
    count.ok_or_else(|| "a number of connections from 1 on is needed, such as 10".to_owned())
}

/// Parses how long a trace lasts.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    duration(text, "1s", "8760h")
}

/// Parses how often the summary so far is printed.
pub(super) fn summary_interval(text: &str) -> Result<Duration, String> {
    duration(text, "1s", "24h")
}

/// Parses what the summary sums connections up by.
pub(super) fn summary_by(name: &str) -> Result<GroupBy, String> {
    let by = GroupBy::ALL.into_iter().find(|by| by.names().0 == name.trim());
    by.ok_or_else(|| "client, server (an address) or service (an address and port) is needed".to_owned())
}

/// Parses how long a handshake takes at least to be printed with `--slower`.
pub(super) fn slower(text: &str) -> Result<Duration, String> {
    duration(text, "1us", "1h")
}

/// Parses the beginning of a container's identifier, of as many digits as tell containers apart.
pub(super) fn container(text: &str) -> Result<String, String> {
    let id = text.to_ascii_lowercase();
    let is_hexadecimal = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hexadecimal && (4..=64).contains(&id.len()) {
        Ok(id)
    } else {
        Err("a container's identifier has 64 hexadecimal digits, of which at least 4 are needed".to_owned())
    }
}

/// Parses how late after it happened something may be reported.
pub(super) fn latency(text: &str) -> Result<Duration, String> {
    duration(text, "0ms", "10s")
}

/// Parses how often a `stats` event comes.
pub(super) fn stats_interval(text: &str) -> Result<Duration, String> {
    duration(text, "100ms", "24h")
}

/// Parses how long after its last SYN a handshake counts as unanswered.
pub(super) fn syn_timeout(text: &str) -> Result<Duration, String> {
    duration(text, "1s", "1h")
}

/// Parses how long TIME-WAIT lasts.
pub(super) fn time_wait(text: &str) -> Result<Duration, String> {
    duration(text, "1s", "1h")
}

/// Parses a duration from `least` to `most`, which are written as the user writes them.
fn duration(text: &str, least: &str, most: &str) -> Result<Duration, String> {
    let parse =
        |text: &str| text.parse::<SignedDuration>().ok().and_then(|value| Duration::try_from(value).ok());
    let within = |value: &Duration| {
        parse(least).is_some_and(|least| *value >= least) && parse(most).is_some_and(|most| *value <= most)
    };
    parse(text)
        .filter(within)
        .ok_or_else(|| format!("a duration from {least} to {most} is needed, such as 90s or 1m30s"))
}
