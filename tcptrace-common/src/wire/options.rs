//! TCP options (RFC 9293 §3.2). The kernel programs copy their bytes, and user space parses them.

use super::Load;
use crate::{abi::MAX_OPTIONS, tcp::TcpOptions};

/// Copies the options of a header, `len` octets at `at`, into `to`, except for words that were not captured. Returns
/// how many octets it copied. `len` is a multiple of 4, as a header has whole words (RFC 9293 §3.1).
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "at most 40")]
pub fn copy(packet: &impl Load, at: usize, len: usize, to: &mut [u8; MAX_OPTIONS]) -> u8 {
    packet.copy(at, len, to) as u8
}

const END: u8 = 0;
const NOP: u8 = 1;

/// The kind and value of the first option, and the bytes behind it. `None` at the end of the list, which an impossible
/// length is as well (`net/ipv4/tcp_input.c`, `tcp_parse_options`).
fn next(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    match *bytes {
        [] | [END, ..] => None,
        [NOP, ref rest @ ..] => Some((NOP, &[], rest)),
        [kind, len, ref rest @ ..] => {
            let (value, rest) = rest.split_at_checked(usize::from(len).checked_sub(2)?)?;
            Some((kind, value, rest))
        }
        [_] => None,
    }
}

/// Parses the options of a SYN or SYN-ACK. An option of the wrong length counts as absent; of several of one kind the
/// last one counts, as in Linux.
#[must_use]
pub fn parse(mut bytes: &[u8]) -> TcpOptions {
    let mut options = TcpOptions::default();
    while let Some((kind, value, rest)) = next(bytes) {
        match (kind, value) {
            // RFC 9293 §3.7.1
            (2, &[high, low]) => options.mss = Some(u16::from_be_bytes([high, low])),
            // RFC 7323 §2.2
            (3, &[shift]) => options.window_scale = Some(shift),
            // RFC 2018 §2
            (4, &[]) => options.sack_permitted = true,
            // RFC 7323 §3.2
            (8, value) if value.len() == 8 => options.timestamps = true,
            // RFC 7413 §4.1.1: empty (a request), or a cookie of 4 to 16 octets of even number
            (34, cookie) if is_cookie(cookie) => options.fast_open = true,
            // RFC 6994 with the magic number 0xF989, what Fast Open used before it had a kind
            (254, &[0xf9, 0x89, ref cookie @ ..]) if is_cookie(cookie) => options.fast_open = true,
            // RFC 8684 §3: at least a subtype
            (30, &[_, ..]) => options.mptcp = true,
            _ => {}
        }
        bytes = rest;
    }
    options
}

/// The value and the echo reply of the timestamps option (RFC 7323 §3.2); those of the last one if there are several.
#[must_use]
pub fn timestamps(mut bytes: &[u8]) -> Option<(u32, u32)> {
    let mut found = None;
    while let Some((kind, value, rest)) = next(bytes) {
        if let (8, &[a, b, c, d, e, f, g, h]) = (kind, value) {
            found = Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])));
        }
        bytes = rest;
    }
    found
}

/// Whether an option ends the list (RFC 9293 §3.1, the end of option list), so that the bytes behind it count for
/// nothing.
#[must_use]
pub fn is_ended(mut bytes: &[u8]) -> bool {
    while let Some((_, _, rest)) = next(bytes) {
        bytes = rest;
    }
    matches!(bytes, [END, ..])
}

fn is_cookie(cookie: &[u8]) -> bool {
    matches!(cookie.len(), 0 | 4..=16) && cookie.len().is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{is_ended, parse, timestamps};
    use crate::tcp::TcpOptions;
    use proptest::prelude::*;

    #[test]
    fn a_list_is_over_at_its_end_alone() {
        for (name, bytes, ended) in [
            ("none", &[][..], false),
            ("whole options", &[2, 4, 5, 180, 1, 3, 3, 7], false),
            ("one that is cut", &[4, 2, 8, 10, 0, 0, 0, 1], false),
            ("the end", &[4, 2, 0, 0], true),
            ("the end's number within an option", &[8, 4, 0, 0], false),
        ] {
            assert_eq!(is_ended(bytes), ended, "{name}");
        }
    }

    #[test]
    fn options_of_a_syn() {
        let none = TcpOptions::default();
        for (name, bytes, options) in [
            ("none", &[][..], none),
            (
                "Linux",
                &[2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7],
                TcpOptions {
                    mss: Some(1460),
                    window_scale: Some(7),
                    sack_permitted: true,
                    timestamps: true,
                    ..none
                },
            ),
            ("after the end of the list nothing counts", &[0, 2, 4, 5, 0xb4], none),
            ("MSS of length 3", &[2, 3, 5, 4, 2], TcpOptions { sack_permitted: true, ..none }),
            ("length 0 ends the list", &[3, 0, 4, 2], none),
            ("length 1 ends the list", &[3, 1, 4, 2], none),
            ("cut", &[4, 2, 2, 4, 5], TcpOptions { sack_permitted: true, ..none }),
            ("the last of a kind", &[3, 3, 1, 3, 3, 14], TcpOptions { window_scale: Some(14), ..none }),
            ("Fast Open request", &[34, 2], TcpOptions { fast_open: true, ..none }),
            ("Fast Open cookie", &[34, 10, 1, 2, 3, 4, 5, 6, 7, 8], TcpOptions { fast_open: true, ..none }),
            ("Fast Open, odd cookie", &[34, 7, 1, 2, 3, 4, 5], none),
            ("experimental Fast Open", &[254, 4, 0xf9, 0x89], TcpOptions { fast_open: true, ..none }),
            ("another experiment", &[254, 4, 0xf9, 0x88], none),
            ("MPTCP", &[30, 4, 1, 1], TcpOptions { mptcp: true, ..none }),
            ("MPTCP without a subtype", &[30, 2], none),
            ("kind alone", &[2], none),
        ] {
            assert_eq!(parse(bytes), options, "{name}");
        }
    }

    #[test]
    fn time_stamps_of_a_syn() {
        let linux = [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 1, 0, 1, 3, 3, 7];
        assert_eq!(timestamps(&linux), Some((0x0102_0304, 256)));
        assert_eq!(timestamps(&linux[..12]), None);
        assert_eq!(timestamps(&[8, 6, 1, 2, 3, 4]), None);
        assert_eq!(timestamps(&[8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 8, 10, 0, 0, 0, 2, 0, 0, 0, 3]), Some((2, 3)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(parse(&bytes).timestamps, timestamps(&bytes).is_some());
        }
    }
}
