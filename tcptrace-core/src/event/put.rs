//! How values become JSON: each writes itself straight into the line. A general serializer takes a branch for every
//! character of every name, which takes as long as all else.

use super::{
    community_id::CommunityId,
    time::{Rfc3339, ZEROS, eight_digits},
};
use crate::segment::{Direction, Timestamp};
use serde::{Serialize, Serializer, ser::Error as _};
use std::{
    borrow::Cow,
    fmt,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::{Deref, DerefMut},
    sync::Arc,
};
use tcptrace_common::tcp::TcpFlags;

/// A line of JSON in the making: a hundred small pieces each, which a vector takes with less ado than a shared buffer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    bytes: Vec<u8>,
    /// The Community ID of the event's connection, where it is known already; else it is computed.
    pub(crate) community_id: Option<CommunityId>,
    /// Whether fields that say nothing are left out ([`Put::is_nothing`]).
    pub(crate) is_compact: bool,
}

impl Deref for Line {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Line {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// A value that appends itself to a line.
pub(crate) trait Put {
    /// Appends the value as JSON.
    fn put(&self, out: &mut Line);

    /// Whether the value is null, false or an empty array, which a reader takes a field to be that is left out.
    #[inline]
    fn is_nothing(&self) -> bool {
        false
    }
}

/// An object, whose fields can stand among those of another.
pub(crate) trait PutFields {
    /// Appends each field: a comma, its name, a colon, its value.
    fn put_fields(&self, out: &mut Line);
}

impl<T: PutFields> Put for T {
    #[inline]
    fn put(&self, out: &mut Line) {
        let begin = out.len();
        self.put_fields(out);
        // The bracket takes the place of the first comma, unless all fields were left out.
        match out.get_mut(begin) {
            Some(comma) => *comma = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
    }
}

/// Whether a field that is left out where it says nothing is left out: reading puts the default in its place.
#[inline]
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Gives a value to any serializer, of whatever format, as it is in JSON.
pub(super) fn serialize<S: Serializer>(value: &impl Put, serializer: S) -> Result<S::Ok, S::Error> {
    let mut line = Line::default();
    value.put(&mut line);
    let value: serde_json::Value = serde_json::from_slice(&line).map_err(S::Error::custom)?;
    value.serialize(serializer)
}

/// Appends a number: whole words, of which what is too much is cut off, so that nothing is copied byte by byte.
#[inline]
fn decimal(number: u64, out: &mut Line) {
    /// The values of eight digits, and of sixteen.
    const EIGHT: u64 = 100_000_000;
    const SIXTEEN: u64 = EIGHT * EIGHT;
    if number < 10 {
        out.push(b'0' + (number % 10) as u8);
    } else if number < EIGHT {
        leading(number, out);
    } else if number < SIXTEEN {
        leading(number / EIGHT, out);
        out.extend_from_slice(&eight_digits(number % EIGHT).to_le_bytes());
    } else {
        leading(number / SIXTEEN, out);
        out.extend_from_slice(&eight_digits(number / EIGHT % EIGHT).to_le_bytes());
        out.extend_from_slice(&eight_digits(number % EIGHT).to_le_bytes());
    }
}

/// A number from 1 to 99,999,999 without zeros in front.
#[inline]
fn leading(number: u64, out: &mut Line) {
    let digits = eight_digits(number);
    let zeros = (digits & !ZEROS).trailing_zeros() / 8;
    let end = out.len() + 8 - zeros as usize;
    out.extend_from_slice(&(digits >> (8 * zeros)).to_le_bytes());
    out.truncate(end);
}

macro_rules! integers {
    ($($type:ty),*) => {
        $(impl Put for $type {
            #[inline]
            fn put(&self, out: &mut Line) {
                decimal(u64::from(*self), out);
            }
        })*
    };
}
integers!(u8, u16, u32, u64);

impl Put for i64 {
    #[inline]
    fn put(&self, out: &mut Line) {
        if *self < 0 {
            out.push(b'-');
        }
        decimal(self.unsigned_abs(), out);
    }
}

impl Put for bool {
    #[inline]
    fn put(&self, out: &mut Line) {
        if *self {
            out.extend_from_slice(b"true");
        } else {
            out.extend_from_slice(b"false");
        }
    }

    #[inline]
    fn is_nothing(&self) -> bool {
        !self
    }
}

impl<T: Put> Put for Option<T> {
    #[inline]
    fn put(&self, out: &mut Line) {
        match self {
            Some(value) => value.put(out),
            None => out.extend_from_slice(b"null"),
        }
    }

    #[inline]
    fn is_nothing(&self) -> bool {
        self.is_none()
    }
}

impl<T: Put> Put for [T] {
    fn put(&self, out: &mut Line) {
        array(self, out);
    }
}

impl<T: Put> Put for Vec<T> {
    fn put(&self, out: &mut Line) {
        array(self, out);
    }

    #[inline]
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Put, const N: usize> Put for [T; N] {
    fn put(&self, out: &mut Line) {
        array(self, out);
    }
}

/// Appends several values as an array.
pub(super) fn array<'a, T: Put + ?Sized + 'a>(values: impl IntoIterator<Item = &'a T>, out: &mut Line) {
    let mut before = b'[';
    for value in values {
        out.push(before);
        before = b',';
        value.put(out);
    }
    if before == b'[' {
        out.push(before);
    }
    out.push(b']');
}

impl Put for str {
    fn put(&self, out: &mut Line) {
        // RFC 8259 §7: what must be escaped, which is left to those who know how.
        if self.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
            return general(self, out);
        }
        quoted(self.as_bytes(), out);
    }
}

/// What has a string in it is put as the string.
macro_rules! strings {
    ($($type:ty),*) => {
        $(impl Put for $type {
            fn put(&self, out: &mut Line) {
                str::put(self, out);
            }
        })*
    };
}
strings!(String, Arc<str>, Box<str>, Cow<'_, str>);

impl Put for f64 {
    fn put(&self, out: &mut Line) {
        general(self, out);
    }
}

/// Appends what is rare as `serde_json` does.
fn general(value: &(impl Serialize + ?Sized), out: &mut Line) {
    // A vector takes everything, and neither strings nor numbers fail.
    let _ = serde_json::to_writer(&mut out.bytes, value);
}

/// Appends text in which nothing must be escaped.
#[inline]
pub(super) fn quoted(text: &[u8], out: &mut Line) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// The same, of what is thirty bytes long, in one piece.
#[inline]
fn quoted_30(text: &[u8; 30], out: &mut Line) {
    let mut quoted = [b'"'; 32];
    quoted[1..31].copy_from_slice(text);
    out.extend_from_slice(&quoted);
}

/// Appends, as a string, what prints itself without a character that must be escaped.
pub(super) fn displayed(value: impl fmt::Display, out: &mut Line) {
    let _ = write!(out.bytes, "\"{value}\"");
}

impl Put for Timestamp {
    #[inline]
    fn put(&self, out: &mut Line) {
        if *self == Self::UNKNOWN {
            out.extend_from_slice(b"null");
            return;
        }
        quoted_30(Rfc3339::new(*self).as_bytes(), out);
    }
}

impl Put for CommunityId {
    #[inline]
    fn put(&self, out: &mut Line) {
        quoted_30(self.as_bytes(), out);
    }
}

impl Put for TcpFlags {
    fn put(&self, out: &mut Line) {
        displayed(self, out);
    }
}

impl Put for Direction {
    fn put(&self, out: &mut Line) {
        out.extend_from_slice(match self {
            Self::Ingress => b"\"ingress\"",
            Self::Egress => b"\"egress\"",
            Self::Unknown => b"null",
        });
    }
}

impl Put for IpAddr {
    #[inline]
    fn put(&self, out: &mut Line) {
        out.push(b'"');
        match self {
            Self::V4(ip) => dotted(*ip, out),
            Self::V6(ip) => colons(*ip, out),
        }
        out.push(b'"');
    }
}

#[inline]
fn dotted(ip: Ipv4Addr, out: &mut Line) {
    let [a, b, c, d] = ip.octets();
    for octet in [a, b, c] {
        decimal(octet.into(), out);
        out.push(b'.');
    }
    decimal(d.into(), out);
}

/// RFC 5952: the longest run of two or more zeros, the first of equals, is `::`.
fn colons(ip: Ipv6Addr, out: &mut Line) {
    if ip.to_ipv4_mapped().is_some() {
        let _ = write!(out.bytes, "{ip}");
        return;
    }
    let words = ip.segments();
    let (mut longest, mut run) = (0..0, 0..0);
    for (place, &word) in words.iter().enumerate() {
        run = if word == 0 && run.end == place { run.start..place + 1 } else { place + 1..place + 1 };
        if run.len() > longest.len().max(1) {
            longest = run.clone();
        }
    }
    if longest.is_empty() {
        return hexadecimal(&words, out);
    }
    hexadecimal(&words[..longest.start], out);
    out.extend_from_slice(b"::");
    hexadecimal(&words[longest.end..], out);
}

fn hexadecimal(words: &[u16], out: &mut Line) {
    for (place, &word) in words.iter().enumerate() {
        if place > 0 {
            out.push(b':');
        }
        let len = (word.max(1).ilog2() / 4 + 1) as usize;
        let digits = [12, 8, 4, 0].map(|shift| b"0123456789abcdef"[usize::from(word >> shift & 0xf)]);
        out.extend_from_slice(&digits[4 - len..]);
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Put};
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn put(value: &impl Put) -> String {
        let mut out = Line::default();
        value.put(&mut out);
        String::from_utf8(out.bytes).expect("JSON is UTF-8")
    }

    #[test]
    fn every_length_of_a_number() {
        for power in 0..20 {
            let number = 10_u64.pow(power);
            for number in [number - 1, number, number + 1, number.saturating_mul(9).saturating_add(7)] {
                assert_eq!(put(&number), number.to_string());
            }
        }
        assert_eq!(put(&u64::MAX), u64::MAX.to_string());
    }

    proptest! {
        #[test]
        fn any_number_is_as_display_has_it(number: u64, shift in 0_u32..64) {
            let number = number >> shift;
            prop_assert_eq!(put(&number), number.to_string());
        }

        #[test]
        fn any_ipv4_address_is_as_display_has_it(ip: u32) {
            let ip = Ipv4Addr::from(ip);
            prop_assert_eq!(put(&std::net::IpAddr::V4(ip)), format!("\"{ip}\""));
        }

        #[test]
        fn any_ipv6_address_is_as_display_has_it(words: [u16; 8], zeros: u8, mapped: bool) {
            let mut words = std::array::from_fn(|place| if zeros >> place & 1 == 1 { 0 } else { words[place] });
            if mapped {
                words[..6].copy_from_slice(&[0, 0, 0, 0, 0, 0xffff]);
            }
            let ip = Ipv6Addr::from(words);
            prop_assert_eq!(put(&std::net::IpAddr::V6(ip)), format!("\"{ip}\""));
        }
    }
}
