//! Is this segment part of a connection's lifecycle?
//!
//! A segment with SYN, FIN or RST always is. A bare acknowledgement is one only if somebody waits for it: a
//! SYN-ACK with sequence number s announces an acknowledgement of s+1 from the other side, a FIN one of the
//! number after it. So no connection is kept, only *expected acknowledgements*, in a table of one-cache-line
//! buckets: a packet is tested by one bucket's eight words, and costs nanoseconds.
//!
//! A word is the tag of the flow that will acknowledge (see [`crate::flow`]), the number it must reach, and a few bits of the
//! VLAN tags of the segment that announced it. It goes when it is reached, or when a full bucket needs its slot. The last
//! costs one ACK record, and is counted. A word that an earlier connection on the same four-tuple left behind, or a SYN-ACK with
//! another number, costs at most one surplus ACK record, which the tracker ignores. What nobody ever acknowledges is swept out
//! by user space when it has grown old.
//!
//! What passes with several VLAN tags, as through a router with one port, is announced and acknowledged once with each. Where
//! the two directions have different tags, the acknowledgement is taken all the same.
//!
//! Nobody can see from one packet whether a RST is its sender's own and will be obeyed (RFC 5961 §3.2), so a RST voids
//! nothing. It has the table *watch* its sender instead: the next segment of that flow without RST is a record too, which
//! proves that the sender goes on. A RST that is obeyed is the flow's last segment, and costs nothing more. A word that
//! only watches never takes another word's slot, and gives way first, uncounted; so does one of a flow that is watched.
//!
//! CPUs share the table without locks: a word is read and written whole, and a lost race costs a word, never an
//! invented record. Flows look for a free slot from a place of their own, so that two CPUs rarely want the same.

use crate::{
    abi::{BUCKET_WORDS, Bucket, Record},
    filter::{NUMBERS, Steps},
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

    /// `n`, with how it was arrived at forgotten, as [`Table::forget`] has it.
    #[inline(always)]
    fn forget(&self, n: u64) -> u64 {
        n
    }

    /// Nobody waits here, though [`Table::is_surely_empty`] did not know.
    #[inline(always)]
    fn note_empty(&mut self) {}

    /// A flow's tag as the words here have it. Where several network namespaces share the table, a number of the packet's own
    /// is mixed in: their flows can be equal, also in the device's index.
    #[inline(always)]
    fn tag(&self, tag: u32) -> u32 {
        tag
    }
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
    filter: Steps<'_>,
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
    filter: Steps<'_>,
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
    clear_reached(&mut slots, (key.tag(seeds), key.vlan_bits()), packet.ack)
}

/// The flow `own` waited for `ack`, or for a number before it; not from now on.
#[inline(always)]
pub fn reached<T: Table + ?Sized>(own: FlowHash, ack: SeqNum, table: &mut T) -> bool {
    !table.is_surely_empty(own.bucket)
        && table
            .bucket(own.bucket)
            .is_some_and(|mut slots| clear_reached(&mut slots, (own.tag, own.vlans), ack))
}

/// Keeps the table for a segment with SYN, FIN or RST, which is always a record; true where another flow's word had
/// to give way. The hashes are those of the segment's flow and of the other direction ([`hashes`]).
#[inline(always)]
pub fn announce<T>(record: &Record, (own, peer): (FlowHash, FlowHash), table: &mut T) -> bool
where
    T: Table + ?Sized,
{
    let (flags, seq) = (TcpFlags(record.flags), SeqNum(record.seq));
    let expected = match (flags.syn(), flags.fin(), flags.rst()) {
        // RFC 9293 §3.5: the peer acknowledges s+1. Other numbers of the flow stay: a SYN-ACK can come late or twice, after
        // a FIN, and of two with different numbers the client answers whichever it got.
        (true, false, false) if flags.ack() => seq.plus(1),
        (false, _, true) => {
            watch_sender(flags, seq, own, table);
            return false;
        }
        // §3.6: FIN occupies the number after the payload. Of a first fragment that is not all there is, and the number is
        // less than the one that will be acknowledged, which reaches it all the same.
        (false, true, false) => seq.plus(record.payload_len).plus(1),
        // A SYN announces what only the SYN-ACK knows. It voids nothing: sent again, it can pass after the SYN-ACK of
        // the same attempt, whose acknowledgement is still to come. SYN with FIN or RST: no stack sends it, nobody
        // acknowledges it.
        _ => return false,
    };
    if flags.ack()
        && !table.is_surely_empty(own.bucket)
        && let Some(mut slots) = table.bucket(own.bucket)
    {
        // A FIN or SYN-ACK that acknowledges the peer's: the three-segment close, the simultaneous open.
        clear_reached(&mut slots, (own.tag, own.vlans), SeqNum(record.ack));
    }
    let start = table.forget(peer.tag) as usize;
    let Some(mut slots) = table.bucket(peer.bucket) else {
        return false;
    };
    let wanted = flow_bits(slots.tag(peer.tag), peer.vlans) | u64::from(expected.0);
    arm(&mut slots, start, wanted)
}

/// Has the flow of a RST watched. Not of one that refuses a SYN, which has the sequence number 0 (RFC 9293 §3.10.7.1):
/// there is no connection that could go on.
#[inline(always)]
fn watch_sender<T>(flags: TcpFlags, seq: SeqNum, own: FlowHash, table: &mut T)
where
    T: Table + ?Sized,
{
    if flags.ack() && seq.0 == 0 {
        return;
    }
    if let Some(mut slots) = table.bucket(own.bucket) {
        watch(&mut slots, (own.tag, own.vlans));
    }
}

/// The next segment of the word's flow is a record, whatever it acknowledges.
const WATCHED: u64 = 1 << 63;
/// No acknowledgement is expected, the word only watches.
const NOTHING_EXPECTED: u64 = 1 << 62;
/// The bits of the VLAN tags.
const VLANS: u64 = 0xff << 54;
/// The bits of the flow's tag, as many as there is room for.
const TAG: u64 = 0x003f_ffff << 32;

/// What a word has of a flow.
#[inline(always)]
const fn flow_bits(tag: u32, vlans: u32) -> u64 {
    ((tag as u64) << 32 & TAG) | ((vlans as u64) << 54 & VLANS)
}

/// The word is of that flow by the bits of `mask`. A free slot is of none.
#[inline(always)]
const fn is_of(word: u64, flow: u64, mask: u64) -> bool {
    (word ^ flow) & mask == 0 && word != 0
}

/// `ack` is the word's number, or not far beyond it.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
const fn is_reached(word: u64, ack: SeqNum) -> bool {
    word & NOTHING_EXPECTED == 0 && ack.0.wrapping_sub(word as u32) < SeqNum::NEAR
}

/// Frees the slots whose number `ack` has reached, ends the watch over the flow, and says whether there was either. Words
/// that were announced with other VLAN tags are taken where there is none with the same.
#[inline(always)]
fn clear_reached(slots: &mut impl Slots, (tag, vlans): (u32, u32), ack: SeqNum) -> bool {
    let flow = flow_bits(slots.tag(tag), vlans);
    let mut mask = TAG;
    for slot in 0..BUCKET_WORDS {
        let word = slots.get(slot);
        if is_of(word, flow, TAG | VLANS) && (is_reached(word, ack) || word & WATCHED != 0) {
            mask = TAG | VLANS;
        }
    }
    let mask = slots.forget(mask);
    let mut any = false;
    for slot in 0..BUCKET_WORDS {
        let word = slots.get(slot);
        if !is_of(word, flow, mask) {
            continue;
        }
        if is_reached(word, ack) || word & NOTHING_EXPECTED != 0 {
            slots.set(slot, 0);
            any = true;
        } else if word & WATCHED != 0 {
            slots.set(slot, word & !WATCHED);
            any = true;
        }
    }
    any
}

/// Watches a flow: by a word of its own that is there, or by one in a free slot.
#[inline(always)]
fn watch(slots: &mut impl Slots, (tag, vlans): (u32, u32)) {
    let flow = flow_bits(slots.tag(tag), vlans);
    let (mut place, mut put) = (BUCKET_WORDS, 0);
    for slot in 0..BUCKET_WORDS {
        let present = slots.get(slot);
        if present == 0 {
            if place == BUCKET_WORDS {
                (place, put) = (slot, flow | WATCHED | NOTHING_EXPECTED);
            }
        } else if is_of(present, flow, TAG | VLANS) {
            (place, put) = (slot, present | WATCHED);
        }
    }
    if place < BUCKET_WORDS {
        slots.set(place % BUCKET_WORDS, put);
    }
}

/// Puts `wanted` into a free slot, from `start` on, unless it is there; true where another flow's word had to give way
/// that somebody still waits for.
#[inline(always)]
fn arm(slots: &mut impl Slots, start: usize, wanted: u64) -> bool {
    let (mut free, mut watching) = (None, None);
    for step in 0..BUCKET_WORDS {
        let slot = (start + step) % BUCKET_WORDS;
        match slots.get(slot) {
            present if present & !WATCHED == wanted => return false,
            0 if free.is_none() => free = Some(slot),
            present if present & WATCHED != 0 => watching = Some(slot),
            _ => {}
        }
    }
    let room = if free.is_some() { free } else { watching };
    slots.set(room.unwrap_or(start) % BUCKET_WORDS, wanted);
    room.is_none()
}

#[cfg(test)]
mod collisions;
#[cfg(test)]
mod tests;
