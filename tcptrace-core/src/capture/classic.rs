//! pcap: a file header, then packets, each behind a header of its own (draft-ietf-opsawg-pcap).

use super::{Damage, LinkType, time::Clock};

/// Bytes of the file header.
pub(super) const FILE_HEADER: usize = 24;

/// What the file header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Classic {
    big_endian: bool,
    clock: Clock,
    /// Ticks of `clock` in a second.
    ticks: u64,
    /// Bytes of a packet's header.
    pub(super) header: usize,
    pub(super) link: LinkType,
    /// The number of its one interface.
    pub(super) interface: u32,
    pub(super) version: (u16, u16),
}

/// What a packet's header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) ticks: u64,
    pub(super) captured: u32,
    pub(super) original: u32,
}

impl Classic {
    /// `start` begins with one of the magic numbers.
    pub(super) fn is_magic(start: &[u8]) -> bool {
        let Some(&magic) = start.first_chunk() else {
            return false;
        };
        [u32::from_be_bytes(magic), u32::from_le_bytes(magic)]
            .iter()
            .any(|magic| matches!(magic, 0xa1b2_c3d4 | 0xa1b2_3c4d | 0xa1b2_cd34))
    }

    /// Reads a file header; `None` where the magic number is another.
    pub(super) fn new(header: &[u8; FILE_HEADER]) -> Option<Self> {
        let &[m0, m1, m2, m3, a0, a1, b0, b1, .., n0, n1, n2, n3] = header;
        // Written as a number: it comes first in its writer's byte order.
        let (big_endian, magic) = match u32::from_be_bytes([m0, m1, m2, m3]) {
            magic @ (0xa1b2_c3d4 | 0xa1b2_3c4d | 0xa1b2_cd34) => (true, magic),
            magic => (false, magic.swap_bytes()),
        };
        let (clock, ticks, header) = match magic {
            0xa1b2_c3d4 => (Clock::MICROSECONDS, 1_000_000, 16),
            0xa1b2_3c4d => (Clock::new(9, 0), 1_000_000_000, 16),
            // Alexey Kuznetzov's: interface index, protocol and packet type follow each packet's header.
            0xa1b2_cd34 => (Clock::MICROSECONDS, 1_000_000, 24),
            _ => return None,
        };
        let u16_of = |bytes| if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
        // The upper half says how long frame check sequences are, which nothing here looks at: they lie after
        // the IP packet.
        let link = u16_of(if big_endian { [n2, n3] } else { [n0, n1] });
        Some(Self {
            big_endian,
            clock,
            ticks,
            header,
            link: LinkType(link),
            interface: 0,
            version: (u16_of([a0, a1]), u16_of([b0, b1])),
        })
    }

    /// Reads a packet's header.
    #[inline]
    pub(super) fn head(&self, header: &[u8; 16]) -> Result<Head, Damage> {
        let &[s0, s1, s2, s3, f0, f1, f2, f3, c0, c1, c2, c3, o0, o1, o2, o3] = header;
        let word =
            |bytes| if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
        let (seconds, fraction) = (word([s0, s1, s2, s3]), word([f0, f1, f2, f3]));
        let (mut captured, mut original) = (word([c0, c1, c2, c3]), word([o0, o1, o2, o3]));
        // Before version 2.3 the lengths were the other way round, in 2.3 they were with some writers
        // (libpcap, sf-pcap.c).
        if self.version.1 < 3 || (self.version.1 == 3 && captured > original) {
            (captured, original) = (original, captured);
        }
        if captured as usize > super::MAX_PACKET {
            return Err(Damage::PacketTooLong(captured));
        }
        let ticks = u64::from(seconds) * self.ticks + u64::from(fraction);
        Ok(Head { ticks, captured, original })
    }

    /// The time of a packet.
    #[inline]
    pub(super) fn time(&self, head: Head) -> crate::segment::Timestamp {
        self.clock.at(head.ticks)
    }
}
