//! Writes lifecycle segments, and ICMP errors that quote segments, as a pcapng file for Wireshark: headers only, with
//! times in nanoseconds.
//!
//! A segment of a capture file keeps the bytes of its packet up to the end of the TCP header, with the link header, and
//! an ICMP error those up to the end of its message. A packet of the kernel programs is rebuilt from its record, and a
//! comment in the packet says so.
//!
//! Of a rebuilt segment, addresses, ports, numbers, flags, window, TTL, VLAN identifiers, options and all lengths are
//! those of the packet, and with IPv4 its identification and the flag for more fragments. Ethernet addresses (which are
//! zero), DSCP, flow label and urgent pointer are not recorded. Of a rebuilt ICMP error, type, code, both ends and the
//! quoted TCP header without options are those of the packet, or of a short quote the first eight octets of that
//! header. Of a packet in a tunnel, the inner packet is written.

mod rebuild;

use crate::{
    capture::{Captured, LinkType},
    segment::{Direction, Observation},
};
use hashbrown::HashMap;

pub use rebuild::{COMMENT, ICMP_COMMENT};

/// Where the bytes of a packet come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin<'a> {
    /// A packet of a capture file, whose own bytes are written.
    Captured(Captured<'a>),
    /// A record of the kernel programs, from which the headers are rebuilt.
    Record,
}

/// Writes a pcapng file. It does no I/O: whole blocks are appended to the buffer of the caller.
#[derive(Debug, Default)]
pub struct Writer {
    began: bool,
    /// The number of each interface in the file, by the interface and the link type of its packets.
    interfaces: HashMap<(u32, LinkType), u32>,
}

/// The value of `if_tsresol` for 10^-9 seconds.
const NANOSECONDS: u8 = 9;

impl Writer {
    /// A writer of a file that has nothing in it yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the beginning of the file, which is all there is of a file without packets. [`Writer::packet`] does this
    /// if it has not been done.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if self.began {
            return;
        }
        self.began = true;
        let mut block = Block::new(out, 0x0a0d_0d0a);
        block.word(0x1a2b_3c4d);
        // Version 1.0, and a section whose length is not known in advance.
        block.bytes(&[1, 0, 0, 0]);
        block.bytes(&[0xff; 8]);
        // This is shb_userappl.
        block.option(4, concat!("tcptrace ", env!("CARGO_PKG_VERSION")).as_bytes());
        block.end();
    }

    /// Appends the packet that `what` was found in. `unix_ns` is its time in nanoseconds since the Unix epoch, because
    /// the time stamp of `what` may be on another time line. `name` is the name of its interface, if that has one.
    pub fn packet(
        &mut self,
        what: &Observation,
        unix_ns: u64,
        name: Option<&str>,
        origin: Origin<'_>,
        out: &mut Vec<u8>,
    ) {
        self.begin(out);
        let link = match origin {
            Origin::Captured(captured) => captured.link,
            Origin::Record => LinkType::ETHERNET,
        };
        let segment = what.segment();
        let interface = self.interface(segment.flow.interface, link, name, out);
        let mut block = Block::new(out, 6);
        block.word(interface);
        block.word(u32::try_from(unix_ns >> 32).unwrap_or(u32::MAX));
        block.word(u32::try_from(unix_ns & 0xffff_ffff).unwrap_or(u32::MAX));
        match origin {
            Origin::Captured(captured) => {
                block.word(u32::try_from(captured.headers.len()).unwrap_or(u32::MAX));
                block.word(captured.original_len);
                block.padded(captured.headers);
            }
            Origin::Record => {
                let packet = rebuild::rebuild(what);
                block.word(u32::try_from(packet.headers().len()).unwrap_or(u32::MAX));
                block.word(packet.original_len);
                block.padded(packet.headers());
                // This is opt_comment.
                let comment = match what {
                    Observation::Segment(_) => COMMENT,
                    Observation::Icmp(_) => ICMP_COMMENT,
                };
                block.option(1, comment.as_bytes());
            }
        }
        let direction = match segment.direction {
            Direction::Unknown => 0_u32,
            Direction::Ingress => 1,
            Direction::Egress => 2,
        };
        if direction != 0 {
            // This is epb_flags.
            block.option(2, &direction.to_le_bytes());
        }
        block.end();
    }

    /// The number of an interface in the file. The interface is described before its first packet.
    fn interface(&mut self, interface: u32, link: LinkType, name: Option<&str>, out: &mut Vec<u8>) -> u32 {
        if let Some(&number) = self.interfaces.get(&(interface, link)) {
            return number;
        }
        let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        self.interfaces.insert((interface, link), number);
        let mut block = Block::new(out, 1);
        block.bytes(&link.0.to_le_bytes());
        block.bytes(&[0, 0]);
        // There is no snapshot length.
        block.word(0);
        // An interface without a name is named by its number, where it has another number in this file.
        let by_number = (interface != number).then(|| format!("#{interface}"));
        if let Some(name) = name.or(by_number.as_deref()) {
            block.option(2, name.as_bytes());
        }
        block.option(9, &[NANOSECONDS]);
        block.end();
        number
    }
}

/// A block that is being written, with little-endian numbers.
struct Block<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    options: bool,
}

impl<'a> Block<'a> {
    fn new(out: &'a mut Vec<u8>, kind: u32) -> Self {
        let start = out.len();
        out.extend(kind.to_le_bytes());
        // The length of the block is filled in at its end.
        out.extend([0; 4]);
        Self { out, start, options: false }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn word(&mut self, word: u32) {
        self.bytes(&word.to_le_bytes());
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.bytes(bytes);
        self.bytes(&[0; 3][..bytes.len().next_multiple_of(4) - bytes.len()]);
    }

    /// Appends one option, whose value is cut where its length does not fit into 16 bits.
    fn option(&mut self, code: u16, value: &[u8]) {
        self.options = true;
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        self.bytes(&code.to_le_bytes());
        self.bytes(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.padded(value);
    }

    fn end(mut self) {
        if self.options {
            self.bytes(&[0; 4]);
        }
        let len = u32::try_from(self.out.len() + 4 - self.start).unwrap_or(u32::MAX).to_le_bytes();
        self.bytes(&len);
        self.out[self.start + 4..self.start + 8].copy_from_slice(&len);
    }
}

#[cfg(test)]
mod tests;
