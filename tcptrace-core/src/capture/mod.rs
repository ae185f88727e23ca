//! Capture files: pcap and pcapng, plain, gzip or zstd, from a file or a pipe.
//!
//! A file's bytes are nobody's friend. Every length is checked against what is there and against a limit before it
//! is believed, nothing is allocated for a packet, and the memory used depends on the format's limits alone.

mod classic;
mod error;
mod files;
mod interfaces;
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

pub use error::{Damage, FileError, Foreign, Place};
pub use files::Files;
pub use interfaces::{Dropped, Interface};
pub use link_type::LinkType;
pub use open::Unread;
pub use reader::{Position, Reader, Ready};
pub use source::{Captured, Options, Overlap, PcapSource};

use crate::segment::{Direction, Timestamp};

/// The most bytes of one packet that are believed. tcpdump's largest snap length is 256 KiB, the largest packet that
/// Linux hands to a capture is a GSO packet of half a megabyte (`GSO_MAX_SIZE`); twice that is damage.
pub const MAX_PACKET: usize = 1 << 20;

/// One packet of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// When it was captured, since the Unix epoch; [`Timestamp::UNKNOWN`] where the file does not say. A time before the
    /// epoch is as far from the end of the time line, one beyond the end is unknown.
    pub ts: Timestamp,
    /// What its first header is.
    pub link: LinkType,
    /// Its place in [`Reader::interfaces`].
    pub interface: u32,
    /// Which way it went, where the file says so.
    pub direction: Direction,
    /// What was captured.
    pub data: &'a [u8],
    /// How long it was on the wire.
    pub original_len: u32,
    /// Packets that were dropped just before it, if the file says so.
    pub dropped: u64,
}

#[cfg(test)]
pub(crate) mod build;
#[cfg(test)]
mod tests;
