//! What is kept of the trace as a whole: what the last counters said.

use crate::event::{SegmentCounts, Stats};

/// The counters of the trace.
#[derive(Debug)]
pub(super) struct Host {
    stats: Option<Stats>,
    max_connections: u64,
}

/// Something that is counted, with the label that tells its kinds apart.
pub(super) struct Counter {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// The key of the label; empty where there is none.
    pub(super) key: &'static str,
    /// The value of the label for each kind, and its count.
    pub(super) rows: Vec<(&'static str, u64)>,
}

/// Something that is as it is now.
pub(super) struct Gauge {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// What it is; `None` where it is not known.
    pub(super) value: Option<f64>,
}

impl Host {
    pub(super) const fn new(max_connections: u64) -> Self {
        Self { stats: None, max_connections }
    }

    pub(super) fn update(&mut self, stats: &Stats) {
        self.stats = Some(stats.clone());
    }

    /// What is counted, once counters have come.
    pub(super) fn counters(&self) -> Vec<Counter> {
        let Some(stats) = &self.stats else { return Vec::new() };
        let one = |name, help, count| Counter { name, help, key: "", rows: vec![("", count)] };
        vec![
            one("packets", "Packets that the hooks looked at", stats.packets),
            one("tcp_packets", "TCP packets among them", stats.tcp_packets),
            Counter {
                name: "segments",
                help: "Segments of lifecycles, and ICMP errors about them, also of connections that were not followed",
                key: "kind",
                rows: by_kind(stats.segments),
            },
            Counter {
                name: "shed_segments",
                help: "Segments of connections that were not followed, because of overload or --sample",
                key: "kind",
                rows: by_kind(stats.shed),
            },
            Counter {
                name: "lost",
                help: "What was lost, by cause, each by the name that it has in stats events",
                key: "cause",
                rows: vec![
                    ("ring_full", stats.ring_full.total()),
                    ("records_lost", stats.records_lost),
                    ("events_dropped", stats.events_dropped),
                    ("pending_overwrites", stats.pending_overwrites),
                    ("evicted", stats.connections.evicted),
                ],
            },
            one("unparsable_packets", "Packets that could not be parsed", stats.unparsable.total()),
        ]
    }

    /// What is as it is now, once counters have come.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a floating-point number")]
    pub(super) fn gauges(&self) -> Vec<Gauge> {
        let Some(stats) = &self.stats else { return Vec::new() };
        let gauge = |name, help, value| Gauge { name, help, value };
        let cost = &stats.cost;
        vec![
            gauge("open_connections", "Connections in the table now", Some(stats.connections_open as f64)),
            gauge(
                "table_size_connections",
                "Connections that the table holds",
                Some(self.max_connections as f64),
            ),
            gauge(
                "admission_ratio",
                "The part of connections that is followed at present, 1 for all",
                Some(stats.admission_rate),
            ),
            gauge(
                "ring_size_bytes",
                "The size of the ring between kernel and tracer",
                float(cost.ring_bytes),
            ),
            gauge(
                "ring_peak_bytes",
                "The most bytes that ever waited in the ring",
                float(cost.ring_peak_bytes),
            ),
            gauge(
                "kernel_packet_duration_seconds",
                "What the kernel programs take for a packet, as a mean of the packets that were timed",
                cost.kernel_ns_per_packet.map(|ns| ns / 1e9),
            ),
            gauge(
                "untraced_interfaces",
                "Interfaces that somebody has taken the programs off while they were traced",
                Some(stats.interfaces_taken_off.unwrap_or_default() as f64),
            ),
        ]
    }

    /// The CPU time of the tracer in seconds.
    #[expect(clippy::cast_precision_loss, reason = "seconds of CPU time need no 53 bits of nanoseconds")]
    pub(super) fn cpu_seconds(&self) -> Option<f64> {
        let stats = self.stats.as_ref()?;
        Some(stats.cost.cpu_percent? / 100.0 * stats.elapsed_ns? as f64 / 1e9)
    }
}

fn by_kind(counts: SegmentCounts) -> Vec<(&'static str, u64)> {
    let SegmentCounts { syn, synack, fin, rst, ack, icmp } = counts;
    vec![("syn", syn), ("synack", synack), ("fin", fin), ("rst", rst), ("ack", ack), ("icmp", icmp)]
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a floating-point number")]
fn float(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}
