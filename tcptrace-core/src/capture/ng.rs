//! pcapng files: sections of blocks (draft-ietf-opsawg-pcapng).

use super::{
    Damage, LinkType, MAX_PACKET,
    interfaces::{Dropped, Interfaces},
    time::TickClock,
};
use crate::segment::{Direction, Timestamp};

/// The block type of a section header, which reads the same in both byte orders.
pub(super) const SECTION: u32 = 0x0a0d_0d0a;
/// The length of the beginning of a section header that tells the byte order: type, length and magic number.
pub(super) const SECTION_START: usize = 12;
/// The length of the part of a section header that is read, in bytes.
pub(super) const SECTION_HEADER: usize = 16;
/// The longest block that is read in one piece, in bytes: a packet, and as much again for comments.
pub(super) const MAX_BLOCK: usize = 2 * MAX_PACKET;

const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// The length of what frames a block: type and length before its body, length after it.
const FRAME: usize = 12;

/// The kind of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BlockKind {
    Section,
    Interface,
    /// A packet, in one of the three kinds of blocks that have one.
    Packet(PacketLayout),
    /// An interface statistics block.
    Statistics,
    /// A block that is skipped: name resolution, decryption secrets and others.
    Other,
}

/// The layout of a block with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PacketLayout {
    /// The obsolete packet block, with a count of drops in the upper half of the interface.
    Packet,
    /// The simple packet block: a packet of the first interface, without a time.
    Simple,
    Enhanced,
}

/// What the first eight bytes of a block say.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockStart {
    pub(super) kind: BlockKind,
    /// The length of the whole block in bytes.
    pub(super) len: u32,
}

/// A block with a packet, decoded; places count from the beginning of the block.
#[derive(Clone, Copy, Debug)]
pub(super) struct PacketBlock {
    /// When the packet was captured; `None` where the block has no time.
    pub(super) ts: Option<Timestamp>,
    pub(super) link: LinkType,
    pub(super) interface: u32,
    pub(super) direction: Direction,
    /// The number of packets dropped just before this one.
    pub(super) dropped: u64,
    pub(super) captured: usize,
    pub(super) original: u32,
    /// Where the bytes of the packet begin.
    pub(super) at: usize,
}

/// The byte order of a section.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByteOrder {
    big_endian: bool,
}

impl ByteOrder {
    /// The order with the least significant byte first.
    pub(super) const LITTLE: Self = Self { big_endian: false };

    /// The byte order that the magic number of a section header tells; `start` is the first [`SECTION_START`] bytes.
    pub(super) fn of(start: &[u8; SECTION_START]) -> Result<Self, Damage> {
        let &[.., a, b, c, d] = start;
        match u32::from_le_bytes([a, b, c, d]) {
            0x1a2b_3c4d => Ok(Self { big_endian: false }),
            0x4d3c_2b1a => Ok(Self { big_endian: true }),
            other => Err(Damage::ByteOrder(other)),
        }
    }

    #[inline]
    fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    #[inline]
    fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// The first four bytes of `bytes` as a number. The caller knows that there are four.
    #[inline]
    fn word(self, bytes: &[u8]) -> u32 {
        self.u32(bytes.first_chunk().copied().unwrap_or_default())
    }

    /// Reads the first eight bytes of a block.
    #[inline]
    pub(super) fn start(self, bytes: [u8; 8]) -> Result<BlockStart, Damage> {
        let [k0, k1, k2, k3, l0, l1, l2, l3] = bytes;
        let len = self.u32([l0, l1, l2, l3]);
        let kind = match self.u32([k0, k1, k2, k3]) {
            ENHANCED_PACKET => BlockKind::Packet(PacketLayout::Enhanced),
            SIMPLE_PACKET => BlockKind::Packet(PacketLayout::Simple),
            PACKET => BlockKind::Packet(PacketLayout::Packet),
            INTERFACE => BlockKind::Interface,
            STATISTICS => BlockKind::Statistics,
            SECTION => BlockKind::Section,
            _ => BlockKind::Other,
        };
        let (name, least, looked_into) = match kind {
            BlockKind::Packet(layout) => (layout.name(), FRAME + layout.header() - 8, true),
            BlockKind::Interface => ("an interface description", FRAME + 8, true),
            BlockKind::Section => ("a section header", FRAME + SECTION_HEADER, false),
            BlockKind::Statistics | BlockKind::Other => ("a block", FRAME, false),
        };
        if !len.is_multiple_of(4) {
            Err(Damage::BlockUnaligned(len))
        } else if (len as usize) < least {
            Err(Damage::BlockTooShort { block: name, len })
        } else if looked_into && len as usize > MAX_BLOCK {
            Err(Damage::BlockTooLong { block: name, len })
        } else {
            Ok(BlockStart { kind, len })
        }
    }

    /// Checks that a whole block ends with the length that it begins with.
    #[inline]
    pub(super) fn check_end(self, block: &[u8], len: u32) -> Result<(), Damage> {
        let last = self.u32(block.last_chunk().copied().unwrap_or_default());
        if last == len { Ok(()) } else { Err(Damage::BlockLengths { first: len, last }) }
    }

    /// The version of the format, from the first [`SECTION_HEADER`] bytes of a section header.
    pub(super) fn version(self, header: &[u8; SECTION_HEADER]) -> (u16, u16) {
        let &[.., a, b, c, d] = header;
        (self.u16([a, b]), self.u16([c, d]))
    }

    /// Reads an interface description; `block` is the whole block.
    pub(super) fn interface(self, block: &[u8], interfaces: &mut Interfaces) -> Result<(), Damage> {
        let body = &block[8..block.len() - 4];
        let link = LinkType(self.u16([body[0], body[1]]));
        let snap_len = self.word(&body[4..]);
        let (mut resolution, mut offset, mut name) = (6, 0, None);
        let mut options = &body[8..];
        while let Some((&[a, b, c, d], rest)) = options.split_first_chunk() {
            let (code, len) = (self.u16([a, b]), self.u16([c, d]));
            if code == 0 {
                break;
            }
            let wrong = Damage::Option { code, len };
            let Some(value) = rest.get(..usize::from(len)) else {
                return Err(wrong);
            };
            match (code, value) {
                // This is if_name. What is not UTF-8 in it is replaced.
                (2, value) => name = Some(String::from_utf8_lossy(value)),
                (9, &[value]) => resolution = value,
                (14, value) => {
                    let value: [u8; 8] = value.try_into().map_err(|_| wrong)?;
                    offset =
                        if self.big_endian { i64::from_be_bytes(value) } else { i64::from_le_bytes(value) };
                }
                (9, _) => return Err(wrong),
                _ => {}
            }
            options = rest.get(usize::from(len).next_multiple_of(4)..).unwrap_or_default();
        }
        let name = name.as_deref().map(|name| name.trim_end_matches('\0')).filter(|name| !name.is_empty());
        interfaces.describe(link, snap_len, TickClock::new(resolution, offset), name)
    }

    /// Reads a packet in any of the three layouts; `block` is the whole block.
    #[inline]
    pub(super) fn packet(
        self,
        layout: PacketLayout,
        block: &[u8],
        interfaces: &Interfaces,
    ) -> Result<PacketBlock, Damage> {
        let at = layout.header();
        let (header, room) = (&block[8..at], block.len() - 4 - at);
        let word = |index: usize| self.word(&header[index * 4..]);
        let (interface_id, ticks, captured, original) = match layout {
            PacketLayout::Enhanced => (word(0), Some([word(1), word(2)]), Some(word(3)), word(4)),
            PacketLayout::Packet => {
                let interface_id = u32::from(self.u16([header[0], header[1]]));
                (interface_id, Some([word(1), word(2)]), Some(word(3)), word(4))
            }
            PacketLayout::Simple => (0, None, None, word(0)),
        };
        let interface = interfaces.get(interface_id)?;
        let captured = match captured {
            Some(captured) if captured as usize > room => {
                #[expect(clippy::cast_possible_truncation, reason = "a block's length has 32 bits")]
                return Err(Damage::BlockTooShort { block: layout.name(), len: block.len() as u32 });
            }
            Some(captured) => captured as usize,
            // The room includes the padding, so that the shorter of the two other lengths tells where the packet ends.
            None if interface.snap_len == 0 => room.min(original as usize),
            None => room.min(original as usize).min(interface.snap_len as usize),
        };
        if captured > MAX_PACKET {
            return Err(Damage::PacketTooLong(u32::try_from(captured).unwrap_or(u32::MAX)));
        }
        let (direction, dropped) = match layout {
            PacketLayout::Enhanced => self.remarks(&block[at + captured.next_multiple_of(4).min(room)..]),
            // In the obsolete block the count of drops is 0xffff where it is not known.
            PacketLayout::Packet => {
                let dropped = self.u16([header[2], header[3]]);
                (Direction::Unknown, if dropped == u16::MAX { 0 } else { dropped.into() })
            }
            PacketLayout::Simple => (Direction::Unknown, 0),
        };
        Ok(PacketBlock {
            ts: ticks.map(|[high, low]| interface.clock.at(u64::from(high) << 32 | u64::from(low))),
            link: interface.link,
            interface: interface.number,
            direction,
            dropped,
            captured,
            original,
            at,
        })
    }

    /// The direction and the count of drops from the options of a packet. `options` ends with the length of the block.
    #[inline]
    fn remarks(self, options: &[u8]) -> (Direction, u64) {
        if options.len() <= 4 {
            return (Direction::Unknown, 0);
        }
        self.flags_and_drops(&options[..options.len() - 4])
    }

    /// Reads direction and drops from a list of options. An option that does not fit is ignored, because nothing else
    /// of the packet depends on it.
    fn flags_and_drops(self, options: &[u8]) -> (Direction, u64) {
        let (mut direction, mut dropped) = (Direction::Unknown, 0);
        self.options(options, |code, value| match (code, value) {
            // This is epb_flags.
            (2, &[a, b, c, d, ..]) => {
                direction = match self.u32([a, b, c, d]) & 3 {
                    1 => Direction::Ingress,
                    2 => Direction::Egress,
                    _ => Direction::Unknown,
                };
            }
            // This is epb_dropcount.
            (4, value) => dropped = self.count(value).unwrap_or(0),
            _ => {}
        });
        (direction, dropped)
    }

    /// Reads an interface statistics block; `block` is the whole block, and options that do not fit are ignored.
    pub(super) fn statistics(self, block: &[u8], interfaces: &mut Interfaces) {
        // The number of the interface and a time of eight bytes come before the options.
        let Some((interface_id, rest)) =
            block.get(8..block.len() - 4).and_then(|body| body.split_first_chunk())
        else {
            return;
        };
        let mut dropped = Dropped::default();
        self.options(rest.get(8..).unwrap_or_default(), |code, value| match code {
            // These are isb_ifdrop and isb_osdrop.
            5 => dropped.by_interface = self.count(value).unwrap_or(0),
            7 => dropped.by_system = self.count(value).unwrap_or(0),
            _ => {}
        });
        interfaces.record_dropped(self.u32(*interface_id), dropped);
    }

    /// Calls `each` with the code and the value of each option, up to one that does not fit.
    fn options<'b>(self, mut options: &'b [u8], mut each: impl FnMut(u16, &'b [u8])) {
        while let Some((&[a, b, c, d], rest)) = options.split_first_chunk() {
            let (code, len) = (self.u16([a, b]), usize::from(self.u16([c, d])));
            let Some(value) = rest.get(..len).filter(|_| code != 0) else { return };
            each(code, value);
            options = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
    }

    /// A number of eight bytes; `None` where there are fewer.
    fn count(self, value: &[u8]) -> Option<u64> {
        let value = *value.first_chunk()?;
        Some(if self.big_endian { u64::from_be_bytes(value) } else { u64::from_le_bytes(value) })
    }
}

impl PacketLayout {
    /// The number of bytes of the block before its packet, with type and length.
    #[inline]
    const fn header(self) -> usize {
        match self {
            Self::Packet | Self::Enhanced => 28,
            Self::Simple => 12,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Packet => "a packet block",
            Self::Simple => "a simple packet block",
            Self::Enhanced => "an enhanced packet block",
        }
    }
}
