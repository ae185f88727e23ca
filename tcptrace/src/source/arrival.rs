//! One record from the ring, with what the source needs to know about it besides the segment.
use crate::segment::{Direction, Flow, Segment, Sender, Timestamp};
use tcptrace_common::{abi, seq::SeqNum, tcp::TcpFlags};
use zerocopy::FromBytes as _;

pub(super) struct Arrival {
    pub(super) cpu: u16,
    pub(super) number: u32,
    pub(super) forwarded: bool,
    pub(super) segment: Segment,
}

pub(super) fn read(bytes: &[u8]) -> Option<Arrival> {
    let (record, _) = abi::Record::read_from_prefix(bytes).ok()?;
    Some(Arrival {
        cpu: record.cpu,
        number: record.number,
        forwarded: record.bits & abi::BIT_FORWARDED != 0,
        segment: Segment {
            ts: Timestamp(record.ts),
            flow: Flow {
                src: record.src,
                dst: record.dst,
                src_port: record.src_port,
                dst_port: record.dst_port,
                interface: record.ifindex,
                vlan: record.vlan,
                ipv6: record.bits & abi::BIT_IPV6 != 0,
            },
            flags: TcpFlags(record.flags),
            seq: SeqNum(record.seq),
            ack: SeqNum(record.ack),
            window: record.window,
            payload_len: record.payload_len,
            ttl: record.ttl,
            options: None,
            direction: if record.bits & abi::BIT_EGRESS != 0 {
                Direction::Egress
            } else {
                Direction::Ingress
            },
            sender: Sender::Unknown,
        },
    })
}
