//! The truth about one TCP stream, as tshark and a reading of the headers have it. Every field may be missing: what is
//! not there is not compared.

use serde::Deserialize;
use std::{collections::BTreeSet, fmt, net::IpAddr};

/// One `tcp.stream`. `a` sent the first SYN, or what came first of what was seen.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stream {
    #[serde(rename = "stream")]
    pub(crate) number: u64,
    pub(crate) a: End,
    pub(crate) b: End,
    pub(crate) first_frame: u64,
    pub(crate) last_frame: u64,
    pub(crate) syn: Counted,
    pub(crate) syn_from_b: Counted,
    pub(crate) synack: Counted,
    pub(crate) synack_from_a: Counted,
    pub(crate) hs_ack: Option<Header>,
    pub(crate) hs_ack_loose: Option<Header>,
    pub(crate) lat: Option<Latencies>,
    pub(crate) fin: Fins,
    pub(crate) rst_count: RstCounts,
    pub(crate) enc: Encapsulation,
    pub(crate) quality: Quality,
    pub(crate) label: Label,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct End {
    pub(crate) ip: String,
    pub(crate) port: u16,
}

/// Segments of one kind.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Counted {
    pub(crate) first: Option<Header>,
    pub(crate) count: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Header {
    /// Seconds since 1970 with nine decimals.
    pub(crate) t: String,
    pub(crate) frame: u64,
    pub(crate) seq: u32,
}

/// In seconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Latencies {
    pub(crate) last_syn_to_synack: Option<f64>,
    pub(crate) synack_to_ack: Option<f64>,
    pub(crate) syn_to_ack: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fins {
    pub(crate) a: Counted,
    pub(crate) b: Counted,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RstCounts {
    pub(crate) a: Option<u64>,
    pub(crate) b: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Encapsulation {
    /// What lies between the first header and IP, one for each way the stream's packets came.
    pub(crate) stacks: Vec<String>,
    /// The IP headers, outer first.
    pub(crate) ip_layers: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Quality {
    pub(crate) truncated: u64,
    pub(crate) malformed: u64,
    pub(crate) fragmented: u64,
    pub(crate) bad_checksum: u64,
    pub(crate) self_connection: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Label {
    pub(crate) handshake: String,
    pub(crate) close: String,
}

impl End {
    /// As events have it.
    pub(crate) fn address(&self) -> Option<(IpAddr, u16)> {
        Some((plain(self.ip.parse().ok()?), self.port))
    }
}

/// Without the difference between IPv4 and an IPv4-mapped address.
pub(crate) fn plain(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

impl Stream {
    /// What lies between the first header and IP, and kinds of extension headers; two VLAN tags are `qinq`.
    pub(crate) fn layers(&self) -> BTreeSet<&str> {
        let mut layers = BTreeSet::new();
        for stack in self.enc.stacks.iter().filter(|stack| !stack.is_empty()) {
            layers.extend(stack.split(':'));
            layers.extend(stack.contains("vlan:vlan").then_some("qinq"));
        }
        layers
    }
}

impl Header {
    /// Nanoseconds since 1970.
    pub(crate) fn ns(&self) -> Option<u64> {
        let (seconds, fraction) = self.t.split_once('.')?;
        let fraction = format!("{fraction:0<9}");
        seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction.get(..9)?.parse().ok()?)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (a, b) = (&self.a, &self.b);
        write!(
            f,
            "stream {} {}:{} > {}:{} ({}, {}; frames {}-{})",
            self.number,
            a.ip,
            a.port,
            b.ip,
            b.port,
            self.label.handshake,
            self.label.close,
            self.first_frame,
            self.last_frame
        )
    }
}
