//! pcap files: a file header, then packet records, each with a header of its own (draft-ietf-opsawg-pcap).

use super::{Damage, LinkType, time::TickClock};

/// The length of the file header in bytes.
pub(super) const FILE_HEADER: usize = 24;

/// What the file header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Classic {
    big_endian: bool,
    clock: TickClock,
    /// The number of ticks of `clock` in a second.
    ticks: u64,
    /// The length in bytes of the header of a packet record.
    pub(super) header_len: usize,
    pub(super) link: LinkType,
    /// The number of the file's only interface.
    pub(super) interface: u32,
    pub(super) version: (u16, u16),
}

/// What the header of a packet record says.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordHeader {
    pub(super) ticks: u64,
    pub(super) captured: u32,
    pub(super) original: u32,
}

impl Classic {
    /// Whether `start` begins with one of the magic numbers of pcap.
    pub(super) fn is_magic(start: &[u8]) -> bool {
        let Some(&magic) = start.first_chunk() else {
            return false;
        };
        [u32::from_be_bytes(magic), u32::from_le_bytes(magic)]
            .iter()
            .any(|magic| matches!(magic, 0xa1b2_c3d4 | 0xa1b2_3c4d | 0xa1b2_cd34))
    }

    /// Reads a file header; `None` where it does not begin with a magic number of pcap.
    pub(super) fn new(header: &[u8; FILE_HEADER]) -> Option<Self> {
        let &[m0, m1, m2, m3, a0, a1, b0, b1, .., n0, n1, n2, n3] = header;
        // The magic number is written in the byte order of the writer.
        let (big_endian, magic) = match u32::from_be_bytes([m0, m1, m2, m3]) {
            magic @ (0xa1b2_c3d4 | 0xa1b2_3c4d | 0xa1b2_cd34) => (true, magic),
            magic => (false, magic.swap_bytes()),
        };
        let (clock, ticks, header_len) = match magic {
            0xa1b2_c3d4 => (TickClock::MICROSECONDS, 1_000_000, 16),
            0xa1b2_3c4d => (TickClock::new(9, 0), 1_000_000_000, 16),
            // In Alexey Kuznetzov's variant, interface index, protocol and packet type follow the header of each
            // record.
            0xa1b2_cd34 => (TickClock::MICROSECONDS, 1_000_000, 24),
            _ => return None,
        };
        let u16_of = |bytes| if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
        // The upper half of the word is the length of the frame check sequences. These follow the IP packet, and are
        // not read.
        let link = u16_of(if big_endian { [n2, n3] } else { [n0, n1] });
        Some(Self {
            big_endian,
            clock,
            ticks,
            header_len,
            link: LinkType(link),
            interface: 0,
            version: (u16_of([a0, a1]), u16_of([b0, b1])),
        })
    }

    /// Reads the header of a packet record.
    #[inline]
    pub(super) fn record_header(&self, header: &[u8; 16]) -> Result<RecordHeader, Damage> {
        let &[s0, s1, s2, s3, f0, f1, f2, f3, c0, c1, c2, c3, o0, o1, o2, o3] = header;
        let word =
            |bytes| if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
        let (seconds, fraction) = (word([s0, s1, s2, s3]), word([f0, f1, f2, f3]));
        let (mut captured, mut original) = (word([c0, c1, c2, c3]), word([o0, o1, o2, o3]));
        // Before version 2.3 the two lengths were written in the other order, and in 2.3 some writers did so (libpcap,
        // sf-pcap.c).
        if self.version.1 < 3 || (self.version.1 == 3 && captured > original) {
            (captured, original) = (original, captured);
        }
        if captured as usize > super::MAX_PACKET {
            return Err(Damage::PacketTooLong(captured));
        }
        let ticks = u64::from(seconds) * self.ticks + u64::from(fraction);
        Ok(RecordHeader { ticks, captured, original })
    }

    /// The time of a packet.
    #[inline]
    pub(super) fn time(&self, head: RecordHeader) -> crate::segment::Timestamp {
        self.clock.at(head.ticks)
    }
}
