//! Packets that a capture cut in ways that no wire does.
//!
//! On the wire a frame that is shorter than its IP packet is damaged, and the kernel programs say so. In a file it may have
//! been cut before the file's own lengths were written: netsh's `packettruncatebytes`, brokers that slice packets. And a
//! snapshot length may end within the TCP header, behind all that matters.

use tcptrace_common::{
    flow::Addresses,
    wire::{
        self, Bytes, Link, Packet, Parsed, Unparsable,
        tunnel::{Decap, Deep},
    },
};

/// No IP packet with a length in its header is longer than that (RFC 791 §3.1, RFC 8200 §3).
const LONGEST: usize = u16::MAX as usize + 40;
/// Octets of a TCP header up to the control bits (RFC 9293 §3.1).
const UP_TO_FLAGS: usize = 14;
/// Octets of a TCP header up to the window.
const UP_TO_WINDOW: usize = 16;
/// Octets of a TCP header without options.
const FIXED: usize = 20;
/// Bytes captured at most for that something is lacking of a header: no snapshot length that cuts one is longer.
const SHORT: usize = 512;

/// Parses a packet, and says how long it was on the wire as far as lengths within it are to be judged by that.
#[inline]
pub(super) fn parse(bytes: Bytes<'_>, link: Link, decap: &Decap) -> (Parsed, usize) {
    match wire::parse(&Deep { packet: bytes, decap }, link, None) {
        Parsed::Unparsable(reason @ (Unparsable::BadLength | Unparsable::Truncated)) => {
            again(bytes, link, decap, reason)
        }
        parsed => (parsed, bytes.wire_len),
    }
}

/// The same of one that does not parse as it is.
#[cold]
fn again(bytes: Bytes<'_>, link: Link, decap: &Decap, reason: Unparsable) -> (Parsed, usize) {
    // Its IP header may say that it was longer than the file says. One with the length 0, which is as long as its frame is,
    // cannot get here: it is never too long.
    let wire_len = match reason {
        Unparsable::BadLength => bytes.wire_len.max(bytes.captured.len()) + LONGEST,
        _ => bytes.wire_len,
    };
    let bytes = Bytes { wire_len, ..bytes };
    let parsed = match wire::parse(&Deep { packet: bytes, decap }, link, None) {
        Parsed::Unparsable(Unparsable::Truncated) => within_the_header(bytes, link),
        parsed => parsed,
    };
    (parsed, wire_len)
}

/// Parses a TCP header of which the last six octets may lack: what lacks is read as 0, and told as what it is where it
/// matters. Options are not there then, and the window is 0.
fn within_the_header(bytes: Bytes<'_>, link: Link) -> Parsed {
    let cut = Parsed::Unparsable(Unparsable::Truncated);
    let len = bytes.captured.len();
    let mut longer = [0; SHORT + FIXED - UP_TO_FLAGS];
    let Some(start) = longer.get_mut(..len) else { return cut };
    start.copy_from_slice(bytes.captured);
    let end = len + FIXED - UP_TO_FLAGS;
    let longer = Bytes { captured: longer.get(..end).unwrap_or_default(), wire_len: bytes.wire_len.max(end) };
    match wire::parse(&longer, link, None) {
        Parsed::V4(segment) => told(segment, len).map_or(cut, Parsed::V4),
        Parsed::V6(segment) => told(segment, len).map_or(cut, Parsed::V6),
        _ => cut,
    }
}

/// What the first `captured` bytes tell of a segment, if that is enough.
fn told<A: Addresses>(segment: Packet<A>, captured: usize) -> Option<Packet<A>> {
    let there = captured.checked_sub(segment.options_at - FIXED)?;
    let window = if there < UP_TO_WINDOW { 0 } else { segment.window };
    (there >= UP_TO_FLAGS).then_some(Packet { window, ..segment })
}

#[cfg(test)]
mod tests;
