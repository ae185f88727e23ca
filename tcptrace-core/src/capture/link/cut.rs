//! Parses packets that a capture cut in ways that no wire does.
//!
//! On the wire, a frame that is shorter than its IP packet is damaged, and the kernel programs count it as that. A
//! packet in a file may have been cut before the file recorded its length, for example by the option
//! `packettruncatebytes` of netsh, or by a packet broker that slices packets. And a snapshot length may end within the
//! TCP header, after everything that matters here.

use tcptrace_common::{
    flow::Addresses,
    wire::{
        self, Bytes, Link, Packet, Parsed, Unparsable,
        tunnel::{Decap, Deep},
    },
};

/// The largest length of an IP packet that its header can say (RFC 791 §3.1, RFC 8200 §3).
const LONGEST: usize = u16::MAX as usize + 40;
/// The octets of a TCP header up to and with the control bits (RFC 9293 §3.1).
const UP_TO_FLAGS: usize = 14;
/// The octets of a TCP header up to and with the window.
const UP_TO_WINDOW: usize = 16;
/// The octets of a TCP header without options.
const FIXED: usize = 20;
/// The most captured bytes of a packet whose TCP header may be cut. No snapshot length that cuts a header is longer.
const SHORT: usize = 512;

/// Parses a packet, and writes down what it is. Returns its length on the wire, which is the one to compare lengths within the
/// packet with.
#[inline(always)]
pub(super) fn parse(bytes: Bytes<'_>, link: Link, decap: &Decap, parsed: &mut Parsed) -> usize {
    *parsed = wire::parse(&Deep { packet: bytes, decap }, link, None);
    match *parsed {
        Parsed::Unparsable(reason @ (Unparsable::BadLength | Unparsable::Truncated)) => {
            parse_cut(bytes, link, decap, reason, parsed)
        }
        _ => bytes.wire_len,
    }
}

/// Parses a packet that does not parse as it is, as one that was cut before the file recorded its length, or within its
/// TCP header.
#[cold]
fn parse_cut(bytes: Bytes<'_>, link: Link, decap: &Decap, reason: Unparsable, parsed: &mut Parsed) -> usize {
    // The IP header may say that the packet was longer than the file says. An IP header with the length 0 stands for a
    // packet as long as its frame, which is never too long, so that it does not get here.
    let wire_len = match reason {
        Unparsable::BadLength => bytes.wire_len.max(bytes.captured.len()) + LONGEST,
        _ => bytes.wire_len,
    };
    let bytes = Bytes { wire_len, ..bytes };
    *parsed = match wire::parse(&Deep { packet: bytes, decap }, link, None) {
        Parsed::Unparsable(Unparsable::Truncated) => parse_cut_tcp(bytes, link),
        parsed => parsed,
    };
    wire_len
}

/// Parses a packet whose TCP header may lack its last six octets. The missing octets are read as 0; the window is 0 if
/// it is among them, and options are never there.
fn parse_cut_tcp(bytes: Bytes<'_>, link: Link) -> Parsed {
    let cut = Parsed::Unparsable(Unparsable::Truncated);
    let len = bytes.captured.len();
    let mut longer = [0; SHORT + FIXED - UP_TO_FLAGS];
    let Some(start) = longer.get_mut(..len) else { return cut };
    start.copy_from_slice(bytes.captured);
    let end = len + FIXED - UP_TO_FLAGS;
    let longer = Bytes { captured: longer.get(..end).unwrap_or_default(), wire_len: bytes.wire_len.max(end) };
    match wire::parse(&longer, link, None) {
        Parsed::V4(segment) => known_part(segment, len).map_or(cut, Parsed::V4),
        Parsed::V6(segment) => known_part(segment, len).map_or(cut, Parsed::V6),
        _ => cut,
    }
}

/// The segment as its first `captured` bytes tell it; `None` if the control bits are not among them.
fn known_part<A: Addresses>(segment: Packet<A>, captured: usize) -> Option<Packet<A>> {
    let there = captured.checked_sub(segment.options_at - FIXED)?;
    let window = if there < UP_TO_WINDOW { 0 } else { segment.window };
    (there >= UP_TO_FLAGS).then_some(Packet { window, ..segment })
}

#[cfg(test)]
mod tests;
