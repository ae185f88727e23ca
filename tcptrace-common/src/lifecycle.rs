//! Is this segment part of a connection's lifecycle?
//!
//! A segment with SYN, FIN or RST always is. A bare acknowledgement is one only if somebody waits for it: a
//! SYN-ACK with sequence number s announces an acknowledgement of s+1 from the other side, a FIN one of the
//! number after it. So no connection is kept, only *expected acknowledgements*, in a table of one-cache-line
//! buckets: a packet is tested by one bucket's eight words, and costs nanoseconds.
//!
//! A word is the tag of the flow that will acknowledge (see [`crate::flow`]) and the number it must reach. It goes
//! when it is reached, when a RST voids it, or when a full bucket needs its slot. The last costs one ACK record, and is
//! counted. A word that an earlier connection on the same four-tuple left behind, or a SYN-ACK with another number, costs
//! at most one surplus ACK record, which the tracker ignores.
//!
//! CPUs share the table without locks: a word is read and written whole, and a lost race costs a word, never an
//! invented record. Flows look for a free slot from a place of their own, so that two CPUs rarely want the same.

use crate::{
    abi::{BUCKET_WORDS, Bucket, Kind, Record},
    filter::{NUMBERS, Program},
    flow::{Addresses, FlowHash, Seeds, hashes},
    record::{Sighting, fill},
    seq::SeqNum,
    tcp::TcpFlags,
    wire::Packet,
};

/// The slots of one bucket.
pub trait Slots {
    /// The word in `slot`, below [`BUCKET_WORDS`].
    fn get(&self, slot: usize) -> u64;
    /// Puts a word into `slot`.
    fn set(&mut self, slot: usize, word: u64);

    /// Nobody waits here.
    #[inline(always)]
    fn is_empty(&self) -> bool {
        (0..BUCKET_WORDS).fold(0, |any, slot| any | self.get(slot)) == 0
    }

    /// Nobody waits here, though [`Table::is_surely_empty`] did not know.
    #[inline(always)]
    fn note_empty(&mut self) {}
}

/// The pending-ACK table.
pub trait Table {
    /// Access to one bucket.
    type Slots<'a>: Slots
    where
        Self: 'a;

    /// The bucket that the hash `bucket`, masked by the table's size, selects.
    fn bucket(&mut self, bucket: u32) -> Option<Self::Slots<'_>>;

    /// Nobody waits in that bucket, as far as that is known without a look at it, from less memory than the table takes.
    #[inline(always)]
    fn is_surely_empty(&self, _bucket: u32) -> bool {
        false
    }

    /// `n`, with how it was arrived at forgotten, as [`crate::wire::Load::forget`] has it: a slot taken from the hash
    /// would make the verifier tell apart every way to the hash.
    #[inline(always)]
    fn forget(&self, n: u32) -> u32 {
        n
    }
}

impl Slots for &mut Bucket {
    fn get(&self, slot: usize) -> u64 {
        self.words[slot]
    }

    fn set(&mut self, slot: usize, word: u64) {
        self.words[slot] = word;
    }
}

/// A table in memory: a power of two buckets.
impl Table for [Bucket] {
    type Slots<'a> = &'a mut Bucket;

    fn bucket(&mut self, bucket: u32) -> Option<&mut Bucket> {
        let mask = self.len().wrapping_sub(1);
        self.get_mut(bucket as usize & mask)
    }
}

const SYN_FIN_RST: TcpFlags = TcpFlags::SYN.union(TcpFlags::FIN).union(TcpFlags::RST);

/// The segment has SYN, FIN or RST: it is for [`announce`], the others are for [`awaited`]. So is one without ACK too,
/// which no stack sends (RFC 9293 §3.10.7.4, fifth step): somebody scans.
#[inline(always)]
#[must_use]
pub const fn announces(flags: TcpFlags) -> bool {
    flags.intersects(SYN_FIN_RST) || !flags.ack()
}

/// Tests one segment, seen at `seen`, and keeps the table: its record, and whether another flow's word had to give
/// way; `None` for a segment within a connection's life, and for one that `filter` does not take.
pub fn inspect<A, T>(
    packet: &Packet<A>,
    seen: Sighting,
    filter: &Program,
    table: &mut T,
    seeds: &impl Seeds,
) -> Option<(Record, bool)>
where
    A: Addresses,
    T: Table + ?Sized,
{
    let announces = announces(packet.flags);
    if !announces && !awaited(packet, seen.ifindex, table, seeds) {
        return None;
    }
    let mut record = Record::EMPTY;
    fill(&mut record, packet, seen);
    if announces && !filter.admits(&record, &mut [0; NUMBERS]) {
        return None;
    }
    let overwritten = announces && announce(&record, hashes(&record, seeds), table);
    Some((record, overwritten))
}

/// The same for a segment in a tunnel whose hash ([`crate::flow::of_tunnel`]) is `tunnel`. Its record says nothing of that.
pub fn inspect_within<A, T>(
    packet: &Packet<A>,
    tunnel: FlowHash,
    seen: Sighting,
    filter: &Program,
    table: &mut T,
    seeds: &impl Seeds,
) -> Option<(Record, bool)>
where
    A: Addresses,
    T: Table + ?Sized,
{
    let mut record = Record::EMPTY;
    fill(&mut record, packet, seen);
    let (own, peer) = hashes(&record, seeds);
    let (own, peer) = (own.within(tunnel), peer.within(tunnel));
    if !announces(packet.flags) {
        return reached(own, packet.ack, table).then_some((record, false));
    }
    if !filter.admits(&record, &mut [0; NUMBERS]) {
        return None;
    }
    let overwritten = announce(&record, (own, peer), table);
    Some((record, overwritten))
}

/// Somebody waited for this acknowledgement; nobody does from now on.
#[inline(always)]
pub fn awaited<A, T>(packet: &Packet<A>, ifindex: u32, table: &mut T, seeds: &impl Seeds) -> bool
where
    A: Addresses,
    T: Table + ?Sized,
{
    if !packet.flags.ack() {
        return false;
    }
    let key = packet.key(ifindex);
    let bucket = key.bucket(seeds);
    if table.is_surely_empty(bucket) {
        return false;
    }
    let Some(mut slots) = table.bucket(bucket) else {
        return false;
    };
    if slots.is_empty() {
        slots.note_empty();
        return false;
    }
    // Not before, as most buckets are empty most of the time.
    clear_reached(&mut slots, key.tag(seeds), packet.ack)
}

/// The flow `own` waited for `ack`, or for a number before it; not from now on.
#[inline(always)]
pub fn reached<T: Table + ?Sized>(own: FlowHash, ack: SeqNum, table: &mut T) -> bool {
    !table.is_surely_empty(own.bucket)
        && table.bucket(own.bucket).is_some_and(|mut slots| clear_reached(&mut slots, own.tag, ack))
}

/// The kind of a lifecycle segment.
#[inline(always)]
#[must_use]
pub const fn kind_of(flags: TcpFlags) -> Kind {
    if flags.syn() {
        if flags.ack() { Kind::SynAck } else { Kind::Syn }
    } else if flags.rst() {
        Kind::Rst
    } else if flags.fin() {
        Kind::Fin
    } else {
        Kind::Ack
    }
}

/// Keeps the table for a segment with SYN, FIN or RST, which is always a record; true where another flow's word had
/// to give way. The hashes are those of the segment's flow and of the other direction ([`hashes`]).
#[inline(always)]
pub fn announce<T>(record: &Record, (own, peer): (FlowHash, FlowHash), table: &mut T) -> bool
where
    T: Table + ?Sized,
{
    let (flags, seq) = (TcpFlags(record.flags), SeqNum(record.seq));
    let change = match (flags.syn(), flags.fin(), flags.rst()) {
        // RFC 9293 §3.5: the peer acknowledges s+1. Other numbers of the flow stay: a SYN-ACK can come late or twice, after
        // a FIN, and of two with different numbers the client answers whichever it got.
        (true, false, false) if flags.ack() => Change::Add(seq.plus(1)),
        // The end: what was expected on this four-tuple will not come.
        (false, _, true) => Change::Void,
        // §3.6: FIN occupies the number after the payload.
        (false, true, false) => Change::Add(seq.plus(record.payload_len).plus(1)),
        // A SYN announces what only the SYN-ACK knows. It voids nothing: sent again, it can pass after the SYN-ACK of
        // the same attempt, whose acknowledgement is still to come. SYN with FIN or RST: no stack sends it, nobody
        // acknowledges it.
        _ => return false,
    };
    if !table.is_surely_empty(own.bucket)
        && let Some(mut slots) = table.bucket(own.bucket)
    {
        if change == Change::Void {
            clear_all(&mut slots, own.tag);
        } else if flags.ack() {
            // A FIN or SYN-ACK that acknowledges the peer's: the three-segment close, the simultaneous open.
            clear_reached(&mut slots, own.tag, SeqNum(record.ack));
        }
    }
    // A flood of RSTs of unknown connections touches no bucket.
    if change == Change::Void && table.is_surely_empty(peer.bucket) {
        return false;
    }
    let start = table.forget(peer.tag) as usize;
    let Some(mut slots) = table.bucket(peer.bucket) else {
        return false;
    };
    match change {
        Change::Void => {
            clear_all(&mut slots, peer.tag);
            false
        }
        Change::Add(expected) => arm(&mut slots, start, word(peer.tag, expected)),
    }
}

/// What an announcement does to the words that wait for the other side.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// They all go.
    Void,
    /// This number is expected too.
    Add(SeqNum),
}

#[inline(always)]
const fn word(tag: u32, expected: SeqNum) -> u64 {
    (tag as u64) << 32 | expected.0 as u64
}

#[inline(always)]
const fn tag_of(word: u64) -> u64 {
    word >> 32
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
const fn expected_of(word: u64) -> SeqNum {
    SeqNum(word as u32)
}

/// Frees the slots whose number `ack` has reached, and says whether there were any.
#[inline(always)]
fn clear_reached(slots: &mut impl Slots, tag: u32, ack: SeqNum) -> bool {
    let mut any = false;
    for slot in 0..BUCKET_WORDS {
        let word = slots.get(slot);
        if tag_of(word) == u64::from(tag) && ack.at_or_after(expected_of(word)) {
            slots.set(slot, 0);
            any = true;
        }
    }
    any
}

/// Frees every slot of a flow.
#[inline(always)]
fn clear_all(slots: &mut impl Slots, tag: u32) {
    for slot in 0..BUCKET_WORDS {
        if tag_of(slots.get(slot)) == u64::from(tag) {
            slots.set(slot, 0);
        }
    }
}

/// Puts `wanted` into a free slot, from `start` on, unless it is there; true where another word had to give way.
#[inline(always)]
fn arm(slots: &mut impl Slots, start: usize, wanted: u64) -> bool {
    let mut free = None;
    for step in 0..BUCKET_WORDS {
        let slot = (start + step) % BUCKET_WORDS;
        match slots.get(slot) {
            present if present == wanted => return false,
            0 if free.is_none() => free = Some(slot),
            _ => {}
        }
    }
    slots.set(free.unwrap_or(start) % BUCKET_WORDS, wanted);
    free.is_none()
}

#[cfg(test)]
mod collisions;
#[cfg(test)]
mod tests;
