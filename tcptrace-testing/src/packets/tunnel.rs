//! Packets in tunnels.

use super::Frame;

/// What is around an inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    /// IP in IP, of whichever families.
    Ip,
    /// GRE with IP in it, with a checksum, a key, a sequence number.
    Gre(bool, Option<u32>, bool),
    /// GRE with a key and Ethernet in it.
    Bridged(u32),
    /// GRE in UDP.
    GreInUdp,
    /// ERSPAN, type II, of a session.
    Erspan(u16),
    /// At a port.
    Vxlan(u16, u32),
    /// With words of options.
    Geneve(u32, u8),
    /// With extension headers.
    GtpU(u32, u8),
    /// With tags of all shapes.
    Tzsp(u8),
}

impl Wrap {
    /// Each kind, and each shape of those that have several.
    pub const ALL: [Self; 17] = [
        Self::Ip,
        Self::Gre(false, None, false),
        Self::Gre(true, None, false),
        Self::Gre(true, Some(0xffff_fff0), true),
        Self::Gre(false, Some(0), false),
        Self::Gre(false, None, true),
        Self::Bridged(77),
        Self::GreInUdp,
        Self::Erspan(100),
        Self::Vxlan(4789, 42),
        Self::Vxlan(8472, 0x00ff_ffff),
        Self::Geneve(42, 0),
        Self::Geneve(42, 63),
        Self::GtpU(0x1234_5678, 0),
        Self::GtpU(9, 4),
        Self::Tzsp(0),
        Self::Tzsp(8),
    ];

    /// `outer` around `inner`, of which it takes the frame or the IP packet.
    pub fn around(self, outer: &Frame, inner: &Frame) -> Frame {
        let ip = inner.ip();
        let ethertype: u16 = if inner.ipv6 { 0x86dd } else { 0x0800 };
        let (protocol, body) = match self {
            Self::Ip => (if inner.ipv6 { 41 } else { 4 }, ip),
            Self::Gre(checksum, key, sequence) => (47, gre(ethertype, checksum, key, sequence, &ip)),
            Self::Bridged(key) => (47, gre(0x6558, false, Some(key), false, &inner.bytes())),
            Self::GreInUdp => (17, udp(4754, &gre(ethertype, false, None, false, &ip))),
            Self::Erspan(session) => {
                let [high, low] = session.to_be_bytes();
                let header = [0x10, 5, 0xf8 | high, low, 0, 0, 0, 0];
                (47, gre(0x88be, false, None, true, &[&header[..], &inner.bytes()].concat()))
            }
            Self::Vxlan(port, id) => {
                let header = [&[8, 0, 0, 0][..], &(id << 8).to_be_bytes()].concat();
                (17, udp(port, &[&header[..], &inner.bytes()].concat()))
            }
            Self::Geneve(id, words) => {
                let header = [&[words, 0, 0x65, 0x58][..], &(id << 8).to_be_bytes()].concat();
                let options = vec![7; usize::from(words) * 4];
                (17, udp(6081, &[header, options, inner.bytes()].concat()))
            }
            Self::GtpU(id, extensions) => (17, udp(2152, &gtp(id, extensions, &ip))),
            Self::Tzsp(tags) => (17, udp(37008, &tzsp(tags, &inner.bytes()))),
        };
        Frame { body: Some((protocol, body)), ..outer.clone() }
    }
}

fn gre(ethertype: u16, checksum: bool, key: Option<u32>, sequence: bool, rest: &[u8]) -> Vec<u8> {
    let flags = u8::from(checksum) << 7 | u8::from(key.is_some()) << 5 | u8::from(sequence) << 4;
    let mut bytes = vec![flags, 0];
    bytes.extend(ethertype.to_be_bytes());
    bytes.extend(if checksum { &[1, 2, 0, 0][..] } else { &[] });
    bytes.extend(key.into_iter().flat_map(u32::to_be_bytes));
    bytes.extend(if sequence { &[0, 0, 0, 9][..] } else { &[] });
    bytes.extend(rest);
    bytes
}

fn udp(port: u16, rest: &[u8]) -> Vec<u8> {
    let len = (8 + rest.len()) as u16;
    [&[0xc0, 1][..], &port.to_be_bytes(), &len.to_be_bytes(), &[0, 0], rest].concat()
}

fn gtp(id: u32, extensions: u8, rest: &[u8]) -> Vec<u8> {
    let flags = if extensions > 0 { 0x34 } else { 0x30 };
    let mut bytes = vec![flags, 255, 0, 0];
    bytes.extend(id.to_be_bytes());
    if extensions > 0 {
        bytes.extend([0, 0, 0, 0x85]);
    }
    for left in (0..extensions).rev() {
        bytes.extend([1, 0, 9, if left > 0 { 0x85 } else { 0 }]);
    }
    bytes.extend(rest);
    bytes
}

/// Tags in turn: padding, one octet of value, none, six of them.
fn tzsp(tags: u8, rest: &[u8]) -> Vec<u8> {
    const TAGS: [&[u8]; 4] = [&[0], &[10, 1, 200], &[99, 0], &[60, 6, 2, 0, 0, 0, 0, 1]];
    let mut bytes = vec![1, 0, 0, 1];
    bytes.extend(TAGS.into_iter().cycle().take(tags.into()).flatten());
    bytes.push(1);
    bytes.extend(rest);
    bytes
}
