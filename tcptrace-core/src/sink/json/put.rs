//! Values of an event as JSON, each straight into the line.

use super::line::Line;
use crate::{
    event::{
        Address, AnomalyReason, Backoff, ClosedBy, CommunityId, DoubtfulReset, Ecn, EcnKind, IcmpReport,
        Options, OtherView, Outcome, Path, ResetPhase, Rfc3339, Role, State, StateTimes, SynackAgain, Tunnel,
        Vantage, Vlans, WrongAnswers, ZEROS, ZeekConnState, eight_digits,
    },
    segment::{Direction, Timestamp},
};
use serde::Serialize as _;
use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use tcptrace_common::tcp::TcpFlags;

/// Appends itself as a JSON value.
pub(super) trait Put {
    fn put(&self, out: &mut Vec<u8>);
}

/// Appends `,"field":` and the value, for every variable named; the variables are the event's fields.
macro_rules! fields {
    ($out:ident: $($name:ident),+ $(,)?) => {
        $(
            $out.extend_from_slice(concat!(",\"", stringify!($name), "\":").as_bytes());
            $crate::sink::json::put::Put::put($name, $out);
        )+
    };
}
pub(super) use fields;

/// Appends a number: whole words, of which what is too much is cut off, so that nothing is copied byte by byte.
#[inline]
fn decimal(number: u64, out: &mut Vec<u8>) {
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
fn leading(number: u64, out: &mut Vec<u8>) {
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
            fn put(&self, out: &mut Vec<u8>) {
                decimal(u64::from(*self), out);
            }
        })*
    };
}
integers!(u8, u16, u32, u64);

impl Put for bool {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        if *self {
            out.extend_from_slice(b"true");
        } else {
            out.extend_from_slice(b"false");
        }
    }
}

impl<T: Put> Put for Option<T> {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.put(out),
            None => out.extend_from_slice(b"null"),
        }
    }
}

impl<T: Put> Put for [T] {
    fn put(&self, out: &mut Vec<u8>) {
        array(self.iter(), Put::put, out);
    }
}

impl<T: Put> Put for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_slice().put(out);
    }
}

fn array<T>(values: impl Iterator<Item = T>, put: impl Fn(T, &mut Vec<u8>), out: &mut Vec<u8>) {
    let mut before = b'[';
    for value in values {
        out.push(before);
        before = b',';
        put(value, out);
    }
    if before == b'[' {
        out.push(before);
    }
    out.push(b']');
}

/// The names that their derives give them.
macro_rules! names {
    ($($type:ty),*) => {
        $(impl Put for $type {
            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                // A vector takes everything.
                let _ = self.serialize(Line::<true>(out));
            }
        })*
    };
}
names!(
    AnomalyReason,
    Backoff,
    ClosedBy,
    EcnKind,
    Outcome,
    ResetPhase,
    Role,
    State,
    SynackAgain,
    Vantage,
    ZeekConnState
);

impl Put for str {
    fn put(&self, out: &mut Vec<u8>) {
        let _ = self.serialize(Line::<false>(out));
    }
}

impl Put for Timestamp {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        if *self == Self::UNKNOWN {
            out.extend_from_slice(b"null");
            return;
        }
        out.push(b'"');
        out.extend_from_slice(Rfc3339::new(*self).as_bytes());
        out.push(b'"');
    }
}

impl Put for CommunityId {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(self.as_bytes());
        out.push(b'"');
    }
}

impl Put for TcpFlags {
    fn put(&self, out: &mut Vec<u8>) {
        let _ = write!(out, "\"{self}\"");
    }
}

impl Put for Direction {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self {
            Self::Ingress => b"\"ingress\"",
            Self::Egress => b"\"egress\"",
            Self::Unknown => b"null",
        });
    }
}

impl Put for Address {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ip\":");
        self.ip.put(out);
        out.extend_from_slice(b",\"port\":");
        self.port.put(out);
        out.push(b'}');
    }
}

impl Put for IpAddr {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        match self {
            Self::V4(ip) => dotted(*ip, out),
            Self::V6(ip) => colons(*ip, out),
        }
        out.push(b'"');
    }
}

#[inline]
fn dotted(ip: Ipv4Addr, out: &mut Vec<u8>) {
    let [a, b, c, d] = ip.octets();
    for octet in [a, b, c] {
        decimal(octet.into(), out);
        out.push(b'.');
    }
    decimal(d.into(), out);
}

/// RFC 5952: the longest run of two or more zeros, the first of equals, is `::`.
fn colons(ip: Ipv6Addr, out: &mut Vec<u8>) {
    if ip.to_ipv4_mapped().is_some() {
        let _ = write!(out, "{ip}");
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

fn hexadecimal(words: &[u16], out: &mut Vec<u8>) {
    for (place, &word) in words.iter().enumerate() {
        if place > 0 {
            out.push(b':');
        }
        let len = (word.max(1).ilog2() / 4 + 1) as usize;
        let digits = [12, 8, 4, 0].map(|shift| b"0123456789abcdef"[usize::from(word >> shift & 0xf)]);
        out.extend_from_slice(&digits[4 - len..]);
    }
}

impl Put for Options {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        let Self { mss, window_scale, sack_permitted, timestamps, fast_open, mptcp } = self;
        let begin = out.len();
        fields!(out: mss, window_scale, sack_permitted, timestamps, fast_open, mptcp);
        out[begin] = b'{';
        out.push(b'}');
    }
}

impl Put for Ecn {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        let Self { offered, negotiated, unanswered_syns } = self;
        let begin = out.len();
        fields!(out: offered, negotiated, unanswered_syns);
        out[begin] = b'{';
        out.push(b'}');
    }
}

impl Put for StateTimes {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        const KEYS: [&str; State::TIMED.len()] = [
            "{\"SYN_SENT\":",
            ",\"SYN_RECEIVED\":",
            ",\"ESTABLISHED\":",
            ",\"FIN_WAIT_1\":",
            ",\"FIN_WAIT_2\":",
            ",\"CLOSE_WAIT\":",
            ",\"CLOSING\":",
            ",\"LAST_ACK\":",
            ",\"TIME_WAIT\":",
        ];
        for (key, ns) in KEYS.into_iter().zip(self.by_state()) {
            out.extend_from_slice(key.as_bytes());
            ns.put(out);
        }
        out.push(b'}');
    }
}

impl Put for Vlans {
    fn put(&self, out: &mut Vec<u8>) {
        array(self.outer.iter().chain(&self.inner), Put::put, out);
    }
}

impl Put for Path {
    fn put(&self, out: &mut Vec<u8>) {
        array(self.names(), Put::put, out);
    }
}

/// What is rare is left to its derive.
macro_rules! derived {
    ($($type:ty),*) => {
        $(impl Put for $type {
            fn put(&self, out: &mut Vec<u8>) {
                // Nothing in it is what Line does not know; a test sees them.
                let _ = self.serialize(Line::<false>(out));
            }
        })*
    };
}
derived!(DoubtfulReset, IcmpReport, OtherView, Tunnel, WrongAnswers);

#[cfg(test)]
mod tests {
    use super::Put;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn put(value: &impl Put) -> String {
        let mut out = Vec::new();
        value.put(&mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
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
