//! Identifies packets that may hold TCP and are not looked into, so that the summary can say why there are no
//! connections.

use std::sync::LazyLock;
use tcptrace_common::wire::{
    self, Bytes, Header as _, Link, Load, Parsed,
    tunnel::{self, Decap, Deep, End, TunnelProtocol},
};

/// What a packet is that may hold TCP and was not looked into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unseen {
    /// A tunnel of a kind that can be looked into with `--decap`.
    Tunnel(TunnelProtocol),
    /// Provider backbone bridging (IEEE 802.1ah).
    Pbb,
    /// IEEE 802.11 in GRE.
    WirelessInGre,
    /// Teredo (RFC 4380): IPv6 over UDP through NATs.
    Teredo,
    /// AYIYA (draft-massar-v6ops-ayiya-02): IPv6 over UDP.
    Ayiya,
    /// IEEE 802.11 in TZSP.
    WirelessInTzsp,
}

/// The Ethernet type of a backbone service instance tag (IEEE 802.1Q-2018 table 9-1).
const PBB: [u8; 2] = [0x88, 0xe7];
/// The UDP port of Teredo (RFC 4380 §2.7).
const TEREDO: u16 = 3544;
/// The UDP port of AYIYA (draft-massar-v6ops-ayiya-02 §4).
const AYIYA: u16 = 5072;

/// All kinds of tunnels, and the ports of Teredo and AYIYA. These two have no kind, and are listed under GRE, which has
/// no port.
static ALL: LazyLock<Decap> = LazyLock::new(|| {
    [TEREDO, AYIYA]
        .into_iter()
        .fold(Decap::all(), |all, port| all.with_port(TunnelProtocol::Gre, port).unwrap_or(all))
});

/// Identifies a packet that the parser found to be none of TCP, ICMP and the tunnels that are looked into.
#[cold]
pub(super) fn identify(bytes: Bytes<'_>, link: Link) -> Option<Unseen> {
    if link == Link::Ethernet && is_pbb(bytes.captured) {
        return Some(Unseen::Pbb);
    }
    let packet = Deep { packet: bytes, decap: &ALL };
    let Parsed::Tunnel(outer) = wire::parse(&packet, link, None) else { return None };
    if outer.protocol == 17 {
        match packet.load::<2>(outer.at + 2).map(u16::from_be_bytes)? {
            TEREDO => return Some(Unseen::Teredo),
            AYIYA => return Some(Unseen::Ayiya),
            _ => {}
        }
    }
    let step = tunnel::enter(&packet, outer.ipv6, outer.protocol, outer.at);
    match (step.end, step.kind) {
        (End::Inside, TunnelProtocol::Gre) if is_wireless(step.ethertype) => Some(Unseen::WirelessInGre),
        (End::Inside, kind) => Some(Unseen::Tunnel(kind)),
        (End::Other, TunnelProtocol::Tzsp) if has_wireless(&packet, outer.at + 8) => {
            Some(Unseen::WirelessInTzsp)
        }
        _ => None,
    }
}

/// Whether the Ethernet type is that of PBB, at once after the addresses or after one VLAN tag of the backbone.
fn is_pbb(frame: &[u8]) -> bool {
    let ethertype = |at: usize| frame.get(at..at + 2);
    let tagged = matches!(ethertype(12), Some([0x88, 0xa8] | [0x81, 0]));
    ethertype(if tagged { 16 } else { 12 }) == Some(&PBB)
}

/// Whether a GRE protocol type is one that Aruba's controllers use for IEEE 802.11 frames: 0x8200 to 0x8370 in steps of
/// 16 (Wireshark's packet-gre.h).
const fn is_wireless(ethertype: u16) -> bool {
    matches!(ethertype, 0x8200..=0x8370) && ethertype & 0x0f == 0
}

/// Whether a TZSP header announces a received IEEE 802.11 frame, bare or after a header of the driver (Wireshark's
/// packet-tzsp.c).
fn has_wireless(packet: &impl Load, at: usize) -> bool {
    let header = packet.load::<4>(at);
    header.is_some_and(|header| {
        [header.byte(0), header.byte(1)] == [1, 0] && matches!(header.be16(2), 18 | 119 | 127)
    })
}

#[cfg(test)]
mod tests {
    use super::{Unseen, identify};
    use tcptrace_common::wire::{Bytes, Link, tunnel::TunnelProtocol};

    fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(payload.len() + 8).expect("short");
        let total = (len + 20).to_be_bytes();
        let mut packet =
            vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend(4000_u16.to_be_bytes());
        packet.extend(port.to_be_bytes());
        packet.extend(len.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        packet
    }

    fn gre(ethertype: u16) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 44, 0, 0, 0, 0, 64, 47, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 0];
        packet.extend(ethertype.to_be_bytes());
        packet.extend([0; 20]);
        packet
    }

    #[test]
    fn what_is_passed_over_has_a_name() {
        let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &[2; 12], &[8, 0]].concat();
        for (name, packet, expected) in [
            ("VXLAN", udp(4789, &vxlan), Some(Unseen::Tunnel(TunnelProtocol::Vxlan))),
            ("what is at its port and is none", udp(4789, &[0; 20]), None),
            (
                "Geneve",
                udp(6081, &[0, 0, 0x65, 0x58, 0, 0, 7, 0]),
                Some(Unseen::Tunnel(TunnelProtocol::Geneve)),
            ),
            ("Teredo", udp(3544, &[0x60; 40]), Some(Unseen::Teredo)),
            ("AYIYA", udp(5072, &[0; 40]), Some(Unseen::Ayiya)),
            ("TZSP", udp(37008, &[1, 0, 0, 1, 1, 2]), Some(Unseen::Tunnel(TunnelProtocol::Tzsp))),
            ("802.11 in TZSP", udp(37008, &[1, 0, 0, 18, 10, 1, 200, 1, 8]), Some(Unseen::WirelessInTzsp)),
            ("a sensor that says that it is there", udp(37008, &[1, 4, 0, 0]), None),
            ("a name's look-up", udp(53, &[0; 20]), None),
            ("IPv4 in GRE", gre(0x0800), Some(Unseen::Tunnel(TunnelProtocol::Gre))),
            ("802.11 in GRE", gre(0x8200), Some(Unseen::WirelessInGre)),
        ] {
            assert_eq!(identify(Bytes::whole(&packet), Link::Ip), expected, "{name}");
        }
        for tag in [&[][..], &[0x88, 0xa8, 0, 5]] {
            let frame = [&[2; 12][..], tag, &[0x88, 0xe7, 0, 0, 1, 0], &[3; 12], &[8, 0]].concat();
            assert_eq!(identify(Bytes::whole(&frame), Link::Ethernet), Some(Unseen::Pbb));
        }
    }
}
