//! How many octets each end sent. The sequence numbers of its first and last octet say it modulo 2^32. The counters of a
//! socket say the rest, where an end is on this host; elsewhere the time does, in which no more can have passed.

use super::{
    conn::{
        Conn, peer,
        times::{Moment, When, span},
    },
    side::Side,
};
use crate::{event::Role, segment::Timestamp, source_clock::SourceClock};

/// How many octets the client sent, and the server, and whether these counts may be short by a multiple of 2^32.
pub(super) fn of_both(conn: &Conn, clock: &SourceClock) -> ([Option<u64>; 2], bool) {
    let begin = conn.at(Moment::Established).get().unwrap_or(conn.start);
    let by_time = !can_pass_since(conn, begin, 1 << 32, clock);
    let mut exact = true;
    let counts = [Role::Client, Role::Server].map(|role| {
        let low = conn.bytes(role)?;
        let whole = sent(conn, role).or_else(|| received(conn, peer(role), clock));
        exact &= by_time || whole.is_some();
        Some(whole.map_or(low, |about| nearest(about, low)))
    });
    (counts, !exact)
}

/// About how many octets the socket of `role` sent, by its own counter, which counts the SYN of a client too.
fn sent(conn: &Conn, role: Role) -> Option<u64> {
    let numbers = &conn.closing_socket(role)?.numbers;
    Some(numbers.bytes_acked + u64::from(numbers.snd_nxt.wrapping_sub(numbers.snd_una)))
}

/// About how many octets came to the socket of `role`, if no more than half of 2^32 can have come after it was asked.
fn received(conn: &Conn, role: Role, clock: &SourceClock) -> Option<u64> {
    let closing = conn.closing_socket(role)?;
    (!can_pass_since(conn, closing.ts, 1 << 31, clock)).then_some(closing.numbers.bytes_received)
}

/// The number that is nearest to `about`, of those whose lower 32 bits are those of `low`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the lower half, as a difference"
)]
const fn nearest(about: u64, low: u64) -> u64 {
    let difference = (low as u32).wrapping_sub(about as u32) as i32;
    about.saturating_add_signed(difference as i64)
}

/// Whether one side can have sent `limit` octets or more from `begin` to the last FIN or RST. It can send at most one
/// receive window a round trip (RFC 7323 §2.2: at most 65,535 << 14), and one connection no more than 100 Gbit/s, which is
/// above what a single stream reaches today.
fn can_pass_since(conn: &Conn, begin: Timestamp, limit: u128, clock: &SourceClock) -> bool {
    const BYTES_PER_SECOND: u128 = 12_500_000_000;
    let teardown = conn.teardown();
    let end = [teardown.first_fin, teardown.second_fin, teardown.rst].into_iter().filter_map(When::get).max();
    let end = end.unwrap_or(conn.last).max(begin);
    // In a time that is not known any number of octets can have been sent.
    let Some(ns) = clock.span(begin, end).map(u128::from) else { return true };
    let by_link = ns * BYTES_PER_SECOND / 1_000_000_000;
    let round_trip = span(clock, conn.at(Moment::LastSyn), conn.at(Moment::Established)).map(u128::from);
    let by_window = round_trip.map_or(u128::MAX, |rtt| {
        let scale = conn.sides.iter().map(max_scale).max().unwrap_or(0);
        (65_535 << scale) * (ns / rtt.max(1) + 1)
    });
    by_link.min(by_window) >= limit
}

fn max_scale(side: &Side) -> u8 {
    // RFC 7323 §2.3: more than 14 counts as 14. A side whose SYN was not seen may use that, and so may one whose option
    // may have been cut off.
    side.options().map_or(14, |o| o.window_scale.unwrap_or(if o.cut { 14 } else { 0 }).min(14))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_counter_says_what_the_sequence_numbers_leave_open() {
        const GIB: u64 = 1 << 30;
        for (sent, about) in
            [(0, 0), (0, 1), (5, 4), (5 * GIB, 5 * GIB + 1), (4 * GIB, 4 * GIB - 7), (9 * GIB, 8 * GIB)]
        {
            assert_eq!(nearest(about, sent & 0xffff_ffff), sent, "{sent} about {about}");
        }
    }
}
