//! Capture files: pcap and pcapng, plain or compressed with gzip or zstd, from a file or a pipe; and files of lines that come the
//! same ways.
//!
//! A capture file comes from anybody, so that nothing in it is trusted. Every length is checked against what is there
//! and against a limit before it is used, nothing is allocated for a packet, and the memory used depends on the limits
//! of the formats alone.

mod classic;
mod error;
mod files;
mod interfaces;
mod lines;
pub mod link;
mod link_type;
mod ng;
mod open;
mod pending;
mod reader;
mod source;
mod time;
mod timeline;
mod window;
mod zstd;

pub use error::{Damage, ErrorPlace, FileError, Foreign};
pub use files::Files;
pub use interfaces::{Dropped, Interface};
pub use lines::{Content, Lines};
pub use link_type::LinkType;
pub use open::Unread;
pub use reader::{Position, Reader, Ready};
pub use source::{CaptureOptions, Captured, Overlap, PcapSource};

use crate::segment::{Direction, Timestamp};

/// The largest captured length of one packet that is accepted; a file that claims a larger one is damaged. The largest
/// snapshot length of tcpdump is 256 KiB, and the largest packet that Linux hands to a capture is a GSO packet of half
/// a megabyte (`GSO_MAX_SIZE`); the limit is twice that.
pub const MAX_PACKET: usize = 1 << 20;

/// One packet of a capture file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// When the packet was captured, in nanoseconds since the Unix epoch; [`Timestamp::UNKNOWN`] where the file does
    /// not say, or where 64 bits do not hold the time. Time stamps that count back from the epoch wrap modulo 2^64.
    pub ts: Timestamp,
    /// The kind of header that the captured bytes begin with.
    pub link: LinkType,
    /// The index of the packet's interface in [`Reader::interfaces`].
    pub interface: u32,
    /// The direction of the packet as the capturing host saw it; [`Direction::Unknown`] where the file does not say.
    pub direction: Direction,
    /// The captured bytes.
    pub data: &'a [u8],
    /// The length of the packet on the wire, in bytes.
    pub original_len: u32,
    /// The number of packets that were dropped just before this one; 0 where the file does not say.
    pub dropped: u64,
}

#[cfg(test)]
pub(crate) mod build;
#[cfg(test)]
mod tests;
