//! Builds packets of segments and ICMP errors, byte by byte, and runs the header parser over them.

use crate::script::Scene;
use tcptrace_common::{
    flow::known_seeds,
    record::Sighting,
    wire::{Bytes, Link},
};
use tcptrace_core::{
    parse::Parser,
    segment::{Direction, Flow, IcmpError, Input, Observation, Segment},
};

/// The number of buckets of the table of expected acknowledgements, of which a story needs few.
pub const BUCKETS: u32 = 1 << 8;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMP_V6: u8 = 58;

/// An Ethernet frame as it is on the wire, but for the checksums, which nothing here reads.
pub fn of(what: &Observation) -> Vec<u8> {
    let packet = match what {
        Observation::Segment(segment) => ip(&segment.flow, TCP, &Fields::of(segment), &tcp(segment)),
        Observation::Icmp(error) => icmp(error),
    };
    [link(&what.segment().flow), packet].concat()
}

/// The packet of an ICMP error to the sender of the packet that it quotes (RFC 792, RFC 4443 §3). The quote is whole,
/// or of eight octets if the script quotes no control bits.
fn icmp(error: &IcmpError) -> Vec<u8> {
    let quoted = &error.quoted;
    let mut quote = ip(&quoted.flow, TCP, &Fields::of(quoted), &tcp(quoted));
    if quoted.flags.0 == 0 {
        quote.truncate(if quoted.flow.ipv6 { 40 } else { 20 } + 8);
    }
    let message = [&[error.kind, error.code, 0, 0, 0, 0, 0, 0], &quote[..]].concat();
    let flow = Flow { src: error.from, dst: quoted.flow.src, ..quoted.flow };
    ip(&flow, if flow.ipv6 { ICMP_V6 } else { ICMP }, &Fields::of(quoted), &message)
}

/// The Ethernet header with its VLAN tags.
fn link(flow: &Flow) -> Vec<u8> {
    let mut bytes = vec![2; 12];
    let tags: Vec<u16> = flow.vlan.into_iter().filter(|&id| id != Flow::NO_VLAN).collect();
    for (place, id) in tags.iter().enumerate() {
        // IEEE 802.1Q: the outer of two tags is the service provider's.
        let kind: u16 = if place + 1 < tags.len() { 0x88a8 } else { 0x8100 };
        bytes.extend(kind.to_be_bytes());
        bytes.extend(id.to_be_bytes());
    }
    bytes.extend(if flow.ipv6 { [0x86, 0xdd] } else { [0x08, 0x00] });
    bytes
}

/// The fields of an IP header besides addresses and lengths.
struct Fields {
    ttl: u8,
    id: u16,
    /// The flag for more fragments.
    fragmented: bool,
}

impl Fields {
    const fn of(segment: &Segment) -> Self {
        Self { ttl: segment.ttl, id: segment.id, fragmented: segment.fragmented }
    }
}

/// An IP packet with `payload` from the flow's source to its destination (RFC 791 §3.1, RFC 8200 §3).
fn ip(flow: &Flow, protocol: u8, fields: &Fields, payload: &[u8]) -> Vec<u8> {
    let &Fields { ttl, id, fragmented } = fields;
    let length = |octets: usize| u16::try_from(octets).expect("scripts have small segments").to_be_bytes();
    if flow.ipv6 {
        // The fragment header is described in RFC 8200 §4.5.
        let fragment: &[u8] = if fragmented { &[protocol, 0, 0, 1, 0, 0, 0, 7] } else { &[] };
        let next = if fragmented { 44 } else { protocol };
        let len = length(fragment.len() + payload.len());
        let header = [&[0x60, 0, 0, 0][..], &len, &[next, ttl], &flow.src, &flow.dst, fragment];
        return [header.concat(), payload.to_vec()].concat();
    }
    let header = [
        &[0x45, 0][..],
        &length(20 + payload.len()),
        &id.to_be_bytes(),
        &[if fragmented { 0x20 } else { 0x40 }, 0, ttl, protocol, 0, 0],
        &flow.src[12..],
        &flow.dst[12..],
    ];
    [header.concat(), payload.to_vec()].concat()
}

/// A TCP header with its options, and the payload (RFC 9293 §3.1).
fn tcp(segment: &Segment) -> Vec<u8> {
    let options = segment.options.as_ref().map_or(&[][..], |raw| raw.as_slice());
    let words = u16::try_from(5 + options.len() / 4).expect("at most 15");
    let mut bytes = Vec::new();
    bytes.extend(segment.flow.src_port.to_be_bytes());
    bytes.extend(segment.flow.dst_port.to_be_bytes());
    bytes.extend(segment.seq.0.to_be_bytes());
    bytes.extend(segment.ack.0.to_be_bytes());
    bytes.extend((words << 12 | segment.flags.0).to_be_bytes());
    bytes.extend(segment.window.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(options);
    bytes.resize(bytes.len() + segment.payload_len as usize, 0x61);
    bytes
}

/// A parser that has not seen any packet, and records what `scene` asks for.
pub fn parser(scene: &Scene) -> Parser {
    let mut parser = Parser::new(BUCKETS as usize, known_seeds(0));
    parser.set_first_byte(scene.config.first_byte);
    parser
}

/// Runs the packet of an input through the parser, and returns what its record says; `None` if it has no record. An
/// input that is no packet is returned as it is.
pub fn capture(parser: &mut Parser, input: &Input) -> Result<Option<Input>, String> {
    let Some(what) = input.observation() else { return Ok(Some(input.clone())) };
    let Segment { ts, direction, flow, .. } = *what.segment();
    let egress = direction == Direction::Egress;
    let seen = Sighting { ifindex: flow.interface, egress, forwarded: false };
    let bytes = of(&what);
    let record = parser.packet(Link::Ethernet, Bytes::whole(&bytes), None, ts.0, seen);
    record.map(|record| check_recorded(&what, record.what)).transpose()
}

/// Checks that a record says what the script says. The record cannot say whose stack sent the segment, and its lot is
/// random, so that these two, time and direction are taken from the script.
pub fn check_recorded(script: &Observation, mut recorded: Observation) -> Result<Input, String> {
    let Segment { ts, direction, sender, lot, .. } = *script.segment();
    let segment = recorded.segment_mut();
    *segment = Segment { ts, direction, sender, lot, ..segment.clone() };
    if recorded == *script {
        Ok(recorded.into())
    } else {
        Err(format!("recorded was {recorded:?}\nof {script:?}"))
    }
}
