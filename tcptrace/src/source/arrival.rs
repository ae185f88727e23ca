//! One record from the ring, with what the source needs to know about it besides the segment.

use crate::segment::{Direction, Flow, Segment, Sender, Timestamp};
use tcptrace_common::{
    abi::{BIT_EGRESS, BIT_FORWARDED, BIT_IPV6, Kind, Record, SynRecord},
    seq::SeqNum,
    tcp::{TcpFlags, TcpOptions},
    wire::options,
};
use zerocopy::FromBytes as _;

/// A record, read.
pub(super) struct Arrival {
    /// The CPU it was made on.
    pub(super) cpu: u16,
    /// That CPU's running number.
    pub(super) number: u32,
    /// Seen on its way through this host.
    pub(super) forwarded: bool,
    /// The segment; whose stack sent it is not known yet.
    pub(super) segment: Segment,
}

/// None where the bytes are no record of this build's programs.
pub(super) fn read(bytes: &[u8]) -> Option<Arrival> {
    let (record, _) = Record::read_from_prefix(bytes).ok()?;
    let options = if Kind::from_code(record.kind)?.has_options() { Some(options_of(bytes)?) } else { None };
    let has = |bit: u8| record.bits & bit != 0;
    let flow = Flow {
        src: record.src,
        dst: record.dst,
        src_port: record.src_port,
        dst_port: record.dst_port,
        interface: record.ifindex,
        vlan: record.vlan,
        ipv6: has(BIT_IPV6),
    };
    let segment = Segment {
        ts: Timestamp(record.ts),
        flow,
        flags: TcpFlags(record.flags),
        seq: SeqNum(record.seq),
        ack: SeqNum(record.ack),
        window: record.window,
        payload_len: record.payload_len,
        ttl: record.ttl,
        options,
        direction: if has(BIT_EGRESS) { Direction::Egress } else { Direction::Ingress },
        sender: Sender::Unknown,
    };
    Some(Arrival { cpu: record.cpu, number: record.number, forwarded: has(BIT_FORWARDED), segment })
}

fn options_of(bytes: &[u8]) -> Option<TcpOptions> {
    let (syn, _) = SynRecord::read_from_prefix(bytes).ok()?;
    Some(options::parse(syn.options.get(..syn.record.options_len.into())?))
}
