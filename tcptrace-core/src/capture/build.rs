//! Builds capture files for tests.

/// A byte order in which numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endian {
    Little,
    Big,
}

impl Endian {
    pub(crate) const BOTH: [Self; 2] = [Self::Little, Self::Big];

    pub(crate) fn u16(self, value: u16) -> [u8; 2] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn u32(self, value: u32) -> [u8; 4] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn u64(self, value: u64) -> [u8; 8] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

/// A pcap file header.
pub(crate) fn pcap(endian: Endian, magic: u32, link: u32) -> Vec<u8> {
    let mut file = endian.u32(magic).to_vec();
    file.extend(endian.u16(2));
    file.extend(endian.u16(4));
    for word in [0, 0, 262_144, link] {
        file.extend(endian.u32(word));
    }
    file
}

/// A packet record of a pcap file, with `extra` bytes after the four words of its header.
pub(crate) fn record(endian: Endian, time: (u32, u32), original: u32, extra: &[u8], data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).expect("short");
    let mut bytes: Vec<u8> =
        [time.0, time.1, len, original].iter().flat_map(|&word| endian.u32(word)).collect();
    bytes.extend(extra);
    bytes.extend(data);
    bytes
}

/// A pcapng block with `body`, which is padded.
pub(crate) fn block(endian: Endian, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let len = endian.u32(u32::try_from(padded + 12).expect("short"));
    let mut bytes = [endian.u32(kind), len].concat();
    bytes.extend(body);
    bytes.resize(padded + 8, 0);
    bytes.extend(len);
    bytes
}

pub(crate) fn section(endian: Endian) -> Vec<u8> {
    let body = [&endian.u32(0x1a2b_3c4d)[..], &endian.u16(1), &endian.u16(0), &[0xff; 8]].concat();
    block(endian, 0x0a0d_0d0a, &body)
}

pub(crate) fn option(endian: Endian, code: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).expect("short");
    let mut bytes = [endian.u16(code), endian.u16(len)].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

pub(crate) fn interface(endian: Endian, link: u16, snap_len: u32, options: &[Vec<u8>]) -> Vec<u8> {
    let mut body = [&endian.u16(link)[..], &[0, 0], &endian.u32(snap_len)].concat();
    body.extend(options.concat());
    block(endian, 1, &body)
}

/// An enhanced packet block.
pub(crate) fn enhanced(
    endian: Endian,
    interface: u32,
    ticks: u64,
    original: u32,
    data: &[u8],
    options: &[Vec<u8>],
) -> Vec<u8> {
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a word")]
    let words =
        [interface, (ticks >> 32) as u32, ticks as u32, u32::try_from(data.len()).expect("short"), original];
    let mut body: Vec<u8> = words.iter().flat_map(|&word| endian.u32(word)).collect();
    body.extend(data);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(options.concat());
    block(endian, 6, &body)
}

pub(crate) fn simple(endian: Endian, original: u32, data: &[u8]) -> Vec<u8> {
    block(endian, 3, &[&endian.u32(original)[..], data].concat())
}

/// An obsolete packet block.
pub(crate) fn obsolete(endian: Endian, interface: u16, ticks: u64, original: u32, data: &[u8]) -> Vec<u8> {
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a word")]
    let words = [(ticks >> 32) as u32, ticks as u32, u32::try_from(data.len()).expect("short"), original];
    let mut body = [endian.u16(interface), endian.u16(7)].concat();
    body.extend(words.iter().flat_map(|&word| endian.u32(word)));
    body.extend(data);
    block(endian, 2, &body)
}
