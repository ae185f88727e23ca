//! Which segments were captured more than once. Mirror ports that copy both ways, both legs of a router, taps before
//! and behind it, and some drivers show each packet more than once. A copy says nothing that its original did not say:
//! it is no retransmission, and no time is measured by it.

use super::{Tracker, ahead::Place, key, report::Originality, views};
use crate::{
    event::{Copies, Event},
    segment::{Flow, RawOptions, Segment, Timestamp},
};
use hashbrown::DefaultHashBuilder;
use std::hash::{BuildHasher as _, Hasher as _};
use tcptrace_common::{
    seq::SeqNum,
    tcp::{TcpFlags, TcpOptions},
};

/// How much later than its original a copy can come that passed one router more. RFC 6298 §2.4 lets nobody send again
/// sooner than after 1 s, and SYNs are not sent again sooner than half a second later (Windows' `TcpInitialRtt`).
const ROUTED_NS: u64 = 500_000_000;
/// How much later a copy of a FIN can come that passed one router more and whose header has no identification of its
/// own: Linux sends a FIN again after 200 ms (`TCP_RTO_MIN` in `include/net/tcp.h`), over IPv6 perhaps on another path
/// and so with another hop limit (`tcp_write_timeout` in `net/ipv4/tcp_timer.c`, `sk_rethink_txhash`).
const ROUTED_FIN_NS: u64 = 150_000_000;
/// How much later a copy can come whose TTL is the same. No stack waits for an answer to its SYN for so short a time.
const MIRRORED_NS: u64 = 10_000_000;
/// How much later a copy of a FIN can come whose TTL is the same and whose header has no identification of its own: a
/// tail loss probe comes no sooner (`TCP_TIMEOUT_MIN` in `include/net/tcp.h` is two ticks).
const MIRRORED_FIN_NS: u64 = 2_000_000;

/// The longest time in which the answer to a probe is expected.
const ANSWER_NS: u64 = 3_000_000_000;

/// The prints of recent segments, by which a copy is found: as many as there were segments within [`ROUTED_NS`], in at
/// most [`Self::MOST`] buckets. Where there were more segments the oldest give way, and their copies count as sent
/// again.
#[derive(Debug)]
pub(super) struct Prints {
    buckets: Vec<Bucket>,
    /// Seeded at random, so that nobody can aim at one bucket.
    hasher: DefaultHashBuilder,
    counts: Copies,
}

/// Four prints, which fill a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Bucket([Print; 4]);

/// The print of one segment: when it passed, its TTL in the low 8 bits, and above that 56 bits of a hash of all that
/// its copies have in common with it.
#[derive(Clone, Copy, Debug, Default)]
struct Print {
    ts: Timestamp,
    tag_and_ttl: u64,
}

impl Print {
    fn new(tag: u64, segment: &Segment) -> Self {
        Self { ts: segment.ts, tag_and_ttl: tag << 8 | u64::from(segment.ttl) }
    }

    const fn tag(self) -> u64 {
        self.tag_and_ttl >> 8
    }

    const fn ttl(self) -> u8 {
        self.tag_and_ttl.to_le_bytes()[0]
    }

    /// Whether no segment is here. One segment in 2^56 looks like that, and its copies are not found.
    const fn is_free(self) -> bool {
        self.tag() == 0
    }
}

impl Default for Prints {
    fn default() -> Self {
        Self {
            buckets: vec![Bucket::default(); Self::FEWEST],
            hasher: DefaultHashBuilder::default(),
            counts: Copies::default(),
        }
    }
}

impl Prints {
    const FEWEST: usize = 16;
    const MOST: usize = 1 << 14;

    /// Whether `segment` is a SYN like one before it but for its sequence number, and comes too soon for another try:
    /// the same SYN on the other side of a device that rewrites numbers. A SYN that is not is remembered.
    fn resembles(&mut self, segment: &Segment) -> bool {
        if !segment.flags.syn() || segment.flags.ack() {
            return false;
        }
        let numbers = Numbers { seq: SeqNum(0), flags: TcpFlags(0), ..Numbers::of(segment) };
        let print = Print::new(self.tag(segment, &numbers), segment);
        let tag = print.tag();
        let Some(first) = self.find(tag) else {
            self.remember(print);
            return false;
        };
        let known = *first;
        *first = print;
        // With an equal TTL it may be the next try of a scanner: some give equal identifications to all of their SYNs.
        known.ttl() != segment.ttl && is_copy_of(segment, known)
    }

    /// Remembers `probe`, which has control bits that no stack sends together, so that its answer is known. A host that
    /// has no such connection answers a segment without ACK by a RST at sequence number 0 that acknowledges all of it
    /// (RFC 9293 §3.10.7.1).
    pub(super) fn expect_answer(&mut self, probe: &Segment) {
        let tag = self.tag_of_answer(&probe.flow.reversed(), probe.end());
        self.remember(Print::new(tag, probe));
    }

    /// Whether `rst` is the answer to a probe that is remembered.
    pub(super) fn answers_probe(&mut self, rst: &Segment) -> bool {
        let tag = self.tag_of_answer(&rst.flow, rst.ack);
        self.find(tag).is_some_and(|probe| rst.ts.since(probe.ts) <= ANSWER_NS)
    }

    fn tag_of_answer(&self, flow: &Flow, ack: SeqNum) -> u64 {
        self.hasher.hash_one((flow, "answer", ack)) >> 8
    }

    /// The tag of the print of `segment`.
    pub(super) fn tag_of(&self, segment: &Segment) -> u64 {
        self.tag(segment, &Numbers::of(segment))
    }

    /// Reads the place of a print, of whatever segment. The result means nothing.
    pub(super) fn read(&self, tag: u64) -> u64 {
        self.buckets[self.index_of(tag)].0[0].tag_and_ttl
    }

    /// Whether `segment`, with a print of this tag, is a copy of one before it; a segment that is not is remembered. `asked` is
    /// when the last SYN passed that it may answer, where that matters.
    fn is_copy(&mut self, segment: &Segment, tag: u64, asked: Option<Timestamp>) -> bool {
        let print = Print::new(tag, segment);
        let Some(first) = self.find(tag) else {
            self.remember(print);
            return false;
        };
        let known = *first;
        let answers_another = asked.is_some_and(|asked| asked > known.ts && known.ttl() == segment.ttl);
        if answers_another || !is_copy_of(segment, known) {
            *first = print;
            return false;
        }
        self.count([known.ttl(), segment.ttl]);
        true
    }

    fn count(&mut self, ttl: [u8; 2]) {
        self.counts.segments += 1;
        self.counts.ttl.get_or_insert(ttl);
    }

    /// A hash of all of a segment that does not change on the way, with these numbers.
    fn tag(&self, segment: &Segment, numbers: &Numbers) -> u64 {
        let [ends @ .., [ipv6, _]] = key::pairs_of(&segment.flow);
        let [first, second, rest] = numbers.words(segment);
        let mut state = self.hasher.build_hasher();
        key::hash_pairs(ends, &mut state);
        key::hash_pairs([[first, second], numbers.options, [rest, ipv6]], &mut state);
        state.finish() >> 8
    }

    /// The index of the bucket for a tag.
    fn index_of(&self, tag: u64) -> usize {
        // There are fewer than 2^32 buckets.
        usize::try_from(tag & u64::from(u32::MAX)).unwrap_or_default() & (self.buckets.len() - 1)
    }

    fn find(&mut self, tag: u64) -> Option<&mut Print> {
        let index = self.index_of(tag);
        self.buckets[index].0.iter_mut().find(|print| print.tag() == tag)
    }

    fn remember(&mut self, print: Print) {
        loop {
            let may_grow = self.buckets.len() < Self::MOST;
            let index = self.index_of(print.tag());
            let place = place_in(&mut self.buckets[index]);
            let is_over = place.is_free() || print.ts.since(place.ts) > ROUTED_NS;
            if is_over || !may_grow {
                *place = print;
                return;
            }
            self.grow();
        }
    }

    /// Doubles the number of buckets: the prints of one bucket go into two.
    fn grow(&mut self) {
        let twice = vec![Bucket::default(); self.buckets.len() * 2];
        let old = std::mem::replace(&mut self.buckets, twice);
        for print in old.into_iter().flat_map(|bucket| bucket.0).filter(|print| !print.is_free()) {
            let index = self.index_of(print.tag());
            if let Some(free) = self.buckets[index].0.iter_mut().find(|print| print.is_free()) {
                *free = print;
            }
        }
    }
}

/// The place of a bucket that is free, or else that of the oldest print.
fn place_in(Bucket(bucket): &mut Bucket) -> &mut Print {
    let mut place = 0;
    for (at, print) in bucket.iter().enumerate() {
        if print.is_free() {
            place = at;
            break;
        }
        if print.ts < bucket[place].ts {
            place = at;
        }
    }
    &mut bucket[place]
}

/// What a segment says besides its flow, and what copies have in common.
struct Numbers {
    flags: TcpFlags,
    seq: SeqNum,
    /// The options but for the maximum segment size, which routers lower, and the time stamp among them; in two words.
    options: [u64; 2],
}

impl Numbers {
    fn of(segment: &Segment) -> Self {
        Self { flags: segment.flags, seq: segment.seq, options: segment.options.map_or([0; 2], options_of) }
    }

    fn words(&self, segment: &Segment) -> [u64; 3] {
        let Segment { ack, window, payload_len, fragmented, id, .. } = *segment;
        let small = u64::from(self.flags.0) << 48
            | u64::from(fragmented) << 32
            | u64::from(window) << 16
            | u64::from(id);
        let numbers = u64::from(self.seq.0) << 32 | u64::from(ack.0);
        [numbers, small, u64::from(payload_len)]
    }
}

/// Options but for the maximum segment size, as two words that are not both zero.
fn options_of(raw: RawOptions) -> [u64; 2] {
    let TcpOptions { mss: _, window_scale, sack_permitted, timestamps, fast_open, mptcp, cut } = raw.parse();
    let bits = [true, window_scale.is_some(), sack_permitted, timestamps, fast_open, mptcp, cut];
    let about = bits.into_iter().fold(0, |word, bit| word << 1 | u64::from(bit));
    let (value, reply) = raw.timestamps().unwrap_or_default();
    [about << 8 | u64::from(window_scale.unwrap_or_default()), u64::from(value) << 32 | u64::from(reply)]
}

/// Whether `segment` is a copy of `first`, which has the same tag: no stack would have sent it again so soon.
fn is_copy_of(segment: &Segment, first: Print) -> bool {
    let flags = segment.flags;
    // Many stacks give no identification to a packet that may not be fragmented (RFC 6864 §4.1), and IPv6 has none.
    let numbered = segment.id > 1;
    let most = match (segment.ttl == first.ttl(), numbered || flags.syn()) {
        // Either of the two may have the lower TTL: two taps have two clocks, so the copy behind the router can come
        // first.
        (false, false) if flags.fin() => ROUTED_FIN_NS,
        (false, _) => ROUTED_NS,
        (true, true) => MIRRORED_NS,
        (true, false) if flags.fin() => MIRRORED_FIN_NS,
        // Several segments can each be answered by an equal RST or acknowledgement, none of which is a copy.
        (true, false) => return false,
    };
    segment.ts.0.abs_diff(first.ts.0) <= most
}

impl Tracker {
    /// How many copies of segments were captured, and the TTLs of the first one and its original.
    #[must_use]
    pub fn copies(&self) -> Copies {
        self.prints.counts
    }

    /// When the last SYN passed to which `seg`, a SYN-ACK without an identification of its own, may be an answer. A
    /// server sends its SYN-ACK again by its timer and for each SYN that comes again, and many stacks give all of them
    /// the same identification. `None` for every other segment.
    fn asked(&self, place: &Place, seg: &Segment) -> Option<Timestamp> {
        let unnumbered = seg.flags.syn() && seg.flags.ack() && seg.id <= 1;
        if !unnumbered {
            return None;
        }
        self.table[self.table.find_at(place)?].latest_syn()
    }

    /// Whether `seg`, with a print of this tag, is a copy, or is of the view of its connection that is not followed
    /// (`views.rs`). If so it is counted with its connection, and nothing else follows from it.
    pub(super) fn is_copy(
        &mut self,
        place: &Place,
        tag: u64,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) -> bool {
        let asked = self.asked(place, seg);
        let copy = self.prints.is_copy(seg, tag, asked);
        let resembles = !copy && self.prints.resembles(seg);
        self.rewritten |= resembles;
        if !copy && !self.rewritten {
            return false;
        }
        if let Some(slot) = self.table.find_at(place) {
            let conn = &mut self.table[slot];
            let role = conn.role_of(place.src_is_low);
            if !copy && (conn.flags.ended || !views::is_of_the_other(conn, role, seg, resembles)) {
                return false;
            }
            if !copy {
                self.prints.counts.segments += 1;
            }
            conn.copies = conn.copies.saturating_add(1);
            self.context.out(sink).segment(conn, role, seg, Originality::Copy);
            return true;
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Prints};
    use crate::segment::{Direction, Flow, RawOptions, Segment, Sender, Timestamp};
    use tcptrace_common::{seq::SeqNum, tcp::TcpFlags};

    const SYN: u16 = 0x02;
    const FIN_ACK: u16 = 0x11;
    const RST: u16 = 0x04;

    /// A segment of the client, `us` microseconds after the trace began.
    fn segment(us: u64, flags: u16, id: u16, ttl: u8) -> Segment {
        Segment {
            ts: Timestamp(1_000_000_000 + us * 1_000),
            flow: Flow {
                src: [1; 16],
                dst: [2; 16],
                src_port: 40_000,
                dst_port: 80,
                interface: 1,
                vlan: [Flow::NO_VLAN; 2],
                ipv6: false,
                tunnel: 0,
            },
            flags: TcpFlags(flags),
            seq: SeqNum(1000),
            ack: SeqNum(if flags & 0x10 == 0 { 0 } else { 1001 }),
            window: 64_240,
            payload_len: 0,
            fragmented: false,
            ttl,
            id,
            options: (flags & SYN != 0).then(|| options(1460, 5)),
            direction: Direction::Unknown,
            sender: Sender::Unknown,
            lot: 0,
            encapsulation: None,
            socket: None,
            request: None,
        }
    }

    /// The bytes of a maximum segment size and a time stamp.
    fn options(mss: u16, tsval: u32) -> RawOptions {
        let ([high, low], [a, b, c, d]) = (mss.to_be_bytes(), tsval.to_be_bytes());
        RawOptions::new(&[2, 4, high, low, 1, 1, 8, 10, a, b, c, d, 0, 0, 0, 0])
    }

    fn takes(prints: &mut Prints, segment: &Segment) -> bool {
        prints.is_copy(segment, prints.tag_of(segment), None)
    }

    fn is_copy(first: &Segment, second: &Segment) -> bool {
        let mut prints = Prints::default();
        assert!(!takes(&mut prints, first), "{first:?}");
        takes(&mut prints, second)
    }

    #[test]
    fn a_copy_comes_too_soon_for_a_retry() {
        for (flags, id, ttls, after_us, copy) in [
            (SYN, 7, [64, 63], 210, true),
            (SYN, 7, [63, 64], 210, true),
            (SYN, 7, [64, 63], 85_000, true),
            (SYN, 7, [64, 63], 499_000, true),
            (SYN, 7, [64, 63], 501_000, false),
            (SYN, 7, [64, 64], 9_000, true),
            (SYN, 7, [64, 64], 11_000, false),
            (SYN, 0, [64, 64], 200, true),
            (SYN, 0, [64, 64], 1_000_000, false),
            (FIN_ACK, 7, [64, 64], 9_000, true),
            (FIN_ACK, 0, [64, 64], 1_000, true),
            (FIN_ACK, 0, [64, 64], 4_000, false),
            (FIN_ACK, 0, [64, 63], 40_000, true),
            (FIN_ACK, 0, [64, 63], 201_000, false),
            (RST, 0, [64, 64], 10, false),
            (RST, 0, [64, 63], 10, true),
            (RST, 9, [64, 64], 10, true),
        ] {
            let (first, second) = (segment(0, flags, id, ttls[0]), segment(after_us, flags, id, ttls[1]));
            assert_eq!(is_copy(&first, &second), copy, "{first:?}, {second:?}");
        }
    }

    #[test]
    fn a_copy_has_the_same_numbers() {
        let first = segment(0, SYN, 7, 64);
        let soon = segment(10, SYN, 7, 64);
        assert!(is_copy(&first, &soon));
        for other in [
            Segment { id: 8, ..soon.clone() },
            Segment { seq: SeqNum(1001), ..soon.clone() },
            Segment { window: 7, ..soon.clone() },
            Segment { options: Some(options(1460, 6)), ..soon.clone() },
            Segment { flow: soon.flow.reversed(), ..soon.clone() },
        ] {
            assert!(!is_copy(&first, &other), "{other:?}");
        }
        // A router on the way may lower the maximum segment size.
        assert!(is_copy(&first, &Segment { options: Some(options(1412, 5)), ttl: 63, ..soon }));
    }

    #[test]
    fn a_third_one_is_compared_with_the_first() {
        let mut prints = Prints::default();
        let mut copies = [0, 1, 2, 9, 12, 13].into_iter();
        let copies = copies.by_ref().map(|ms| takes(&mut prints, &segment(ms * 1_000, SYN, 7, 64)));
        assert_eq!(copies.collect::<Vec<_>>(), [false, true, true, true, false, true]);
        assert_eq!((prints.counts.segments, prints.counts.ttl), (4, Some([64, 64])));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut prints = Prints::default();
        assert_eq!(size_of::<Bucket>(), 64);
        let mut one = segment(0, SYN, 7, 64);
        let mut missed = 0_u32;
        for n in 0..40_000_u32 {
            one.ts = Timestamp(1_000_000_000 + u64::from(n) * 20_000);
            one.seq.0 = n * 7;
            assert!(!takes(&mut prints, &one));
            missed += u32::from(!takes(&mut prints, &one));
        }
        assert_eq!(missed, 0);
        assert!((4096..=Prints::MOST).contains(&prints.buckets.len()), "{}", prints.buckets.len());
        // Segments that come slowly need no more buckets than the fewest.
        let mut prints = Prints::default();
        for n in 0..1000_u32 {
            one.ts = Timestamp(1_000_000_000 * u64::from(n));
            one.seq.0 = n * 7;
            assert!(!takes(&mut prints, &one));
        }
        assert_eq!(prints.buckets.len(), Prints::FEWEST);
    }
}
