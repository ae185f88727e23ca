//! The counters of the kernel programs, summed over CPUs and in the words of the statistics event.

use crate::event::{SegmentCounts, Stats, TunnelCounts, Unparsable};
use tcptrace_common::abi::{Counters, RecordKind};

/// The counts since the kernel programs were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountersTotal {
    /// Packets that the kernel programs looked at, whatever they are.
    pub packets: u64,
    /// Packets with a TCP header.
    pub tcp_packets: u64,
    /// Lifecycle segments by kind, with those whose record found the ring full and those that were shed.
    pub segments: SegmentCounts,
    /// Records that found the ring full, by kind.
    pub ring_full: SegmentCounts,
    /// Segments of connections that were not admitted, by kind.
    pub shed: SegmentCounts,
    /// Expected acknowledgements overwritten in a full bucket.
    pub pending_overwrites: u64,
    /// Packets that could not be parsed.
    pub unparsable: Unparsable,
    /// Fragments other than the first of a packet.
    pub fragments: u64,
    /// Packets in tunnels, by kind of tunnel.
    pub tunnels: TunnelCounts,
}

impl CountersTotal {
    /// Sums the counters of all CPUs.
    #[must_use]
    pub fn sum(cpus: &[Counters]) -> Self {
        let total = |field: fn(&Counters) -> u64| cpus.iter().map(field).sum::<u64>();
        let kind = |kind: RecordKind| {
            let at = kind.index();
            cpus.iter().map(|c| c.emitted[at] + c.ring_full[at] + c.shed[at]).sum()
        };
        let full = |kind: RecordKind| cpus.iter().map(|c| c.ring_full[kind.index()]).sum();
        let shed = |kind: RecordKind| cpus.iter().map(|c| c.shed[kind.index()]).sum();
        Self {
            packets: total(|c| c.packets),
            tcp_packets: total(|c| c.tcp_packets),
            segments: by_kind(kind),
            ring_full: by_kind(full),
            shed: by_kind(shed),
            pending_overwrites: total(|c| c.pending_overwrites),
            unparsable: Unparsable {
                truncated: total(|c| c.unparsable[0]),
                bad_length: total(|c| c.unparsable[1]),
                bad_version: total(|c| c.unparsable[2]),
                vlan_depth: total(|c| c.unparsable[3]),
                extension_depth: total(|c| c.unparsable[4]),
                label_depth: total(|c| c.unparsable[5]),
                tunnel_depth: total(|c| c.unparsable[6]),
                split_header: total(|c| c.unparsable[7]),
            },
            fragments: total(|c| c.fragments),
            tunnels: TunnelCounts::of(std::array::from_fn(|kind| cpus.iter().map(|c| c.tunnels[kind]).sum())),
        }
    }

    /// Sets the fields of a statistics event.
    pub fn fill(&self, stats: &mut Stats) {
        stats.packets = self.packets;
        stats.tcp_packets = self.tcp_packets;
        stats.segments = self.segments;
        stats.ring_full = self.ring_full;
        stats.shed = self.shed;
        stats.pending_overwrites = self.pending_overwrites;
        stats.unparsable = self.unparsable;
        stats.fragments = self.fragments;
        // Where no tunnels are looked into, the caller sets this to null.
        stats.tunnels = Some(self.tunnels);
    }
}

fn by_kind(count: impl Fn(RecordKind) -> u64) -> SegmentCounts {
    SegmentCounts {
        syn: count(RecordKind::Syn),
        synack: count(RecordKind::SynAck),
        fin: count(RecordKind::Fin),
        rst: count(RecordKind::Rst),
        ack: count(RecordKind::Ack),
        icmp: count(RecordKind::Icmp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_and_kinds_add_up() {
        let one = Counters {
            packets: 10,
            emitted: [1, 2, 3, 4, 5, 6],
            ring_full: [0, 0, 7, 0, 1, 2],
            shed: [1, 0, 0, 0, 0, 0],
            unparsable: [1, 0, 0, 0, 2, 3, 4, 5],
            tunnels: [1, 2, 3, 4, 5, 6, 7, 8, 9],
            ..Counters::default()
        };
        let total = CountersTotal::sum(&[one, one]);
        assert_eq!(total.packets, 20);
        assert_eq!(total.segments, SegmentCounts { syn: 4, synack: 4, rst: 20, fin: 8, ack: 12, icmp: 16 });
        assert_eq!(total.ring_full, SegmentCounts { rst: 14, ack: 2, icmp: 4, ..SegmentCounts::default() });
        assert_eq!((total.segments.total(), total.ring_full.total()), (64, 20));
        assert_eq!(total.shed, SegmentCounts { syn: 2, ..SegmentCounts::default() });
        assert_eq!((total.unparsable.truncated, total.unparsable.extension_depth), (2, 4));
        assert_eq!((total.unparsable.label_depth, total.unparsable.tunnel_depth), (6, 8));
        assert_eq!((total.unparsable.split_header, total.unparsable.total()), (10, 30));
        assert_eq!((total.tunnels.ipip, total.tunnels.four_in_six, total.tunnels.tzsp), (2, 6, 18));
    }
}
