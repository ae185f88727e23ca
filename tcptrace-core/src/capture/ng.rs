//! pcapng: sections of blocks (draft-ietf-opsawg-pcapng).

use super::{
    Damage, LinkType, MAX_PACKET,
    interfaces::{Dropped, Interfaces},
    time::Clock,
};
use crate::segment::{Direction, Timestamp};

/// A section header's block type: the same in both byte orders.
pub(super) const SECTION: u32 = 0x0a0d_0d0a;
/// Bytes that tell a section's byte order: type, length and magic.
pub(super) const SECTION_START: usize = 12;
/// Bytes of a section header that are looked into.
pub(super) const SECTION_HEADER: usize = 16;
/// The longest block that has to be in one piece: a packet, and as much again for comments.
pub(super) const MAX_BLOCK: usize = 2 * MAX_PACKET;

const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// Type and length before, length after.
const FRAME: usize = 12;

/// A kind of block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Section,
    Interface,
    /// One of the three with a packet.
    Packet(Layout),
    /// What an interface counted.
    Statistics,
    /// Names, secrets and whatever else: nothing for us.
    Other,
}

/// The three ways to write a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    /// Obsolete: with a count of drops in the interface's upper half.
    Packet,
    /// Of the first interface, without a time.
    Simple,
    Enhanced,
}

/// A block's first eight bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) kind: Kind,
    /// Of the whole block.
    pub(super) len: u32,
}

/// A packet, as places within its block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// `None`: the block has no time.
    pub(super) ts: Option<Timestamp>,
    pub(super) link: LinkType,
    pub(super) interface: u32,
    pub(super) direction: Direction,
    /// Packets dropped just before it.
    pub(super) dropped: u64,
    pub(super) captured: usize,
    pub(super) original: u32,
    /// Where it begins in the block.
    pub(super) at: usize,
}

/// The byte order of a section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    big_endian: bool,
}

impl Order {
    /// Least significant byte first.
    pub(super) const LITTLE: Self = Self { big_endian: false };

    /// By the magic number of a section header, at its first [`SECTION_START`] bytes.
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

    /// The word that begins `bytes`, which the caller knows to have one.
    #[inline]
    fn word(self, bytes: &[u8]) -> u32 {
        self.u32(bytes.first_chunk().copied().unwrap_or_default())
    }

    /// Reads a block's first eight bytes.
    #[inline]
    pub(super) fn start(self, bytes: [u8; 8]) -> Result<Start, Damage> {
        let [k0, k1, k2, k3, l0, l1, l2, l3] = bytes;
        let len = self.u32([l0, l1, l2, l3]);
        let kind = match self.u32([k0, k1, k2, k3]) {
            ENHANCED_PACKET => Kind::Packet(Layout::Enhanced),
            SIMPLE_PACKET => Kind::Packet(Layout::Simple),
            PACKET => Kind::Packet(Layout::Packet),
            INTERFACE => Kind::Interface,
            STATISTICS => Kind::Statistics,
            SECTION => Kind::Section,
            _ => Kind::Other,
        };
        let (name, least, looked_into) = match kind {
            Kind::Packet(layout) => (layout.name(), FRAME + layout.header() - 8, true),
            Kind::Interface => ("an interface description", FRAME + 8, true),
            Kind::Section => ("a section header", FRAME + SECTION_HEADER, false),
            Kind::Statistics | Kind::Other => ("a block", FRAME, false),
        };
        if !len.is_multiple_of(4) {
            Err(Damage::BlockUnaligned(len))
        } else if (len as usize) < least {
            Err(Damage::BlockTooShort { block: name, len })
        } else if looked_into && len as usize > MAX_BLOCK {
            Err(Damage::BlockTooLong { block: name, len })
        } else {
            Ok(Start { kind, len })
        }
    }

    /// Checks the length at the end of a whole block.
    #[inline]
    pub(super) fn check_end(self, block: &[u8], len: u32) -> Result<(), Damage> {
        let last = self.u32(block.last_chunk().copied().unwrap_or_default());
        if last == len { Ok(()) } else { Err(Damage::BlockLengths { first: len, last }) }
    }

    /// The version of the format, from a section header's first [`SECTION_HEADER`] bytes.
    pub(super) fn version(self, header: &[u8; SECTION_HEADER]) -> (u16, u16) {
        let &[.., a, b, c, d] = header;
        (self.u16([a, b]), self.u16([c, d]))
    }

    /// Reads an interface description, a whole block.
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
                // if_name; one with other bytes than UTF-8 is shown with what can be shown.
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
        interfaces.describe(link, snap_len, Clock::new(resolution, offset), name)
    }

    /// Reads a packet of any of the three kinds, a whole block.
    #[inline]
    pub(super) fn packet(
        self,
        layout: Layout,
        block: &[u8],
        interfaces: &Interfaces,
    ) -> Result<Found, Damage> {
        let at = layout.header();
        let (header, room) = (&block[8..at], block.len() - 4 - at);
        let word = |index: usize| self.word(&header[index * 4..]);
        let (place, ticks, captured, original) = match layout {
            Layout::Enhanced => (word(0), Some([word(1), word(2)]), Some(word(3)), word(4)),
            Layout::Packet => {
                let place = u32::from(self.u16([header[0], header[1]]));
                (place, Some([word(1), word(2)]), Some(word(3)), word(4))
            }
            Layout::Simple => (0, None, None, word(0)),
        };
        let interface = interfaces.get(place)?;
        let captured = match captured {
            Some(captured) if captured as usize > room => {
                #[expect(clippy::cast_possible_truncation, reason = "a block's length has 32 bits")]
                return Err(Damage::BlockTooShort { block: layout.name(), len: block.len() as u32 });
            }
            Some(captured) => captured as usize,
            // The padding belongs to the room, so the shorter of the other two says where the packet ends.
            None if interface.snap_len == 0 => room.min(original as usize),
            None => room.min(original as usize).min(interface.snap_len as usize),
        };
        if captured > MAX_PACKET {
            return Err(Damage::PacketTooLong(u32::try_from(captured).unwrap_or(u32::MAX)));
        }
        let (direction, dropped) = match layout {
            Layout::Enhanced => self.remarks(&block[at + captured.next_multiple_of(4).min(room)..]),
            // 0xffff says that it is not known.
            Layout::Packet => {
                let dropped = self.u16([header[2], header[3]]);
                (Direction::Unknown, if dropped == u16::MAX { 0 } else { dropped.into() })
            }
            Layout::Simple => (Direction::Unknown, 0),
        };
        Ok(Found {
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

    /// The direction and the count of drops among the options of a packet, which the length at the end of the block follows.
    #[inline]
    fn remarks(self, options: &[u8]) -> (Direction, u64) {
        if options.len() <= 4 {
            return (Direction::Unknown, 0);
        }
        self.flags_and_drops(&options[..options.len() - 4])
    }

    /// An option that does not fit is no reason to lose the packet: nothing of it is in doubt.
    fn flags_and_drops(self, options: &[u8]) -> (Direction, u64) {
        let (mut direction, mut dropped) = (Direction::Unknown, 0);
        self.options(options, |code, value| match (code, value) {
            // epb_flags
            (2, &[a, b, c, d, ..]) => {
                direction = match self.u32([a, b, c, d]) & 3 {
                    1 => Direction::Ingress,
                    2 => Direction::Egress,
                    _ => Direction::Unknown,
                };
            }
            // epb_dropcount
            (4, value) => dropped = self.count(value).unwrap_or(0),
            _ => {}
        });
        (direction, dropped)
    }

    /// Reads what an interface counted, a whole block; what does not fit is left out.
    pub(super) fn statistics(self, block: &[u8], interfaces: &mut Interfaces) {
        // Interface and time come before the options.
        let Some((place, rest)) = block.get(8..block.len() - 4).and_then(|body| body.split_first_chunk())
        else {
            return;
        };
        let mut dropped = Dropped::default();
        self.options(rest.get(8..).unwrap_or_default(), |code, value| match code {
            // isb_ifdrop, isb_osdrop
            5 => dropped.by_interface = self.count(value).unwrap_or(0),
            7 => dropped.by_system = self.count(value).unwrap_or(0),
            _ => {}
        });
        interfaces.note_dropped(self.u32(*place), dropped);
    }

    /// Each option's code and value, as far as they fit.
    fn options<'b>(self, mut options: &'b [u8], mut each: impl FnMut(u16, &'b [u8])) {
        while let Some((&[a, b, c, d], rest)) = options.split_first_chunk() {
            let (code, len) = (self.u16([a, b]), usize::from(self.u16([c, d])));
            let Some(value) = rest.get(..len).filter(|_| code != 0) else { return };
            each(code, value);
            options = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
    }

    /// A number of eight octets.
    fn count(self, value: &[u8]) -> Option<u64> {
        let value = *value.first_chunk()?;
        Some(if self.big_endian { u64::from_be_bytes(value) } else { u64::from_le_bytes(value) })
    }
}

impl Layout {
    /// Bytes before the packet, the block's type and length included.
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
