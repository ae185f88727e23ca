use super::parse;
use tcptrace_common::{
    flow::{V4, V6},
    tcp::TcpFlags,
    wire::{Bytes, Link, Packet, Parsed, Unparsable, tunnel::Decap},
};

/// A TCP header of a FIN from port 1025 to port 80, with 12 octets of options.
fn tcp() -> Vec<u8> {
    let mut header = vec![4, 1, 0, 80, 0, 0, 0, 7, 0, 0, 0, 9, 0x80, 0x11, 0x12, 0x34, 0, 0, 0, 0];
    header.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    header
}

fn v4(payload: u16) -> Vec<u8> {
    let [high, low] = (20 + 32 + payload).to_be_bytes();
    let mut packet = vec![0x45, 0, high, low, 0, 7, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.extend(tcp());
    packet
}

fn v6(payload: u16) -> Vec<u8> {
    let [high, low] = (32 + payload).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, high, low, 6, 64];
    packet.extend([1; 32]);
    packet.extend(tcp());
    packet
}

fn parsed(captured: &[u8], wire_len: usize) -> Parsed {
    let mut parsed = Parsed::Other;
    parse(Bytes { captured, wire_len }, Link::Ip, &Decap::NONE, &mut parsed);
    parsed
}

/// Sequence number, acknowledgement number, control bits, window, and the octets of payload and of options.
fn told(parsed: Parsed) -> Option<(u32, u32, u16, u16, u32, usize)> {
    fn of<A>(packet: &Packet<A>) -> (u32, u32, u16, u16, u32, usize) {
        let Packet { seq, ack, flags, window, payload_len, options_len, .. } = packet;
        (seq.0, ack.0, flags.0, *window, *payload_len, *options_len)
    }
    match parsed {
        Parsed::V4(packet) => Some(of::<V4>(&packet)),
        Parsed::V6(packet) => Some(of::<V6>(&packet)),
        _ => None,
    }
}

const FIN_ACK: u16 = TcpFlags::FIN.0 | TcpFlags::ACK.0;

#[test]
fn a_sliced_packet_is_as_long_as_its_ip_header_says() {
    for packet in [v4(900), v6(900)] {
        // The file says that the packet ended with its headers.
        let whole = told(parsed(&packet, packet.len()));
        assert_eq!(whole, Some((7, 9, FIN_ACK, 0x1234, 900, 12)));
    }
    // A packet whose IP header says that it is shorter than its own headers is damaged.
    let mut damaged = v4(0);
    damaged[3] = 30;
    assert_eq!(parsed(&damaged, damaged.len()), Parsed::Unparsable(Unparsable::BadLength));
}

#[test]
fn without_a_length_the_frame_tells() {
    let mut offloaded = v4(0);
    (offloaded[2], offloaded[3]) = (0, 0);
    assert_eq!(told(parsed(&offloaded, 2052)).map(|(.., payload, _)| payload), Some(2000));
}

#[test]
fn a_header_is_enough_from_its_control_bits_on() {
    for (packet, header) in [(v4(900), 20), (v6(900), 40)] {
        let wire_len = packet.len() + 900;
        for len in 0..packet.len() {
            let there = len.saturating_sub(header);
            let window = if there < 16 { 0 } else { 0x1234 };
            let expected = (there >= 14).then_some((7, 9, FIN_ACK, window, 900, 12));
            assert_eq!(told(parsed(&packet[..len], wire_len)), expected, "{header} + {there}");
            // Here the recorded length is cut too, so that only the IP header says how long the packet was.
            assert_eq!(told(parsed(&packet[..len], len)), expected, "{header} + {there}, sliced");
            if expected.is_none() {
                let cut = Parsed::Unparsable(Unparsable::Truncated);
                assert_eq!(parsed(&packet[..len], wire_len), cut, "{header} + {there}");
            }
        }
    }
}
