//! Tests whether a segment is part of a connection's lifecycle, and keeps the pending-ACK table that the test needs.
//!
//! A segment with SYN, FIN or RST is always part of a lifecycle. A bare acknowledgement is only if it is expected: a
//! SYN-ACK with sequence number s announces an acknowledgement of s+1 from the other side, and a FIN announces one of
//! the number after it. So the table keeps no connections, only *expected acknowledgements*, in buckets of one cache
//! line each. A packet is compared with the eight words of one bucket, which takes nanoseconds.
//!
//! A word has the tag of the flow that will acknowledge ([`crate::flow`]), the number that must be reached, and a few
//! bits of the VLAN tags of the segment that announced it. A word is removed when its number is reached, or when a full
//! bucket needs its slot. The latter costs one ACK record, and is counted. A word that an earlier connection on the
//! same four-tuple left behind, or that a SYN-ACK with another number announced, costs at most one surplus ACK record,
//! which the tracker ignores. Words that nobody ever acknowledges are removed by user space when they have grown old.
//!
//! A segment that passes with several VLAN tags, as through a router with one port, is announced and acknowledged once
//! with each. Where the two directions have different tags, an acknowledgement counts all the same.
//!
//! One packet does not show whether a RST is its sender's own and will be obeyed (RFC 5961 §3.2), so a RST removes no
//! word. It has the table *watch* its sender instead: the next segment of that flow without RST is recorded too, which
//! proves that the sender goes on. A RST that is obeyed is the flow's last segment, and costs nothing more. A word that
//! only watches never takes the slot of another word, and gives way first, uncounted; so does the word of a flow that
//! is watched.
//!
//! CPUs share the table without locks. A word is read and written whole, and a lost race costs a word, but never makes
//! up a record. Each flow looks for a free slot from a different one on, so that two CPUs rarely want the same.

use crate::{
    abi::{BUCKET_WORDS, Bucket, Record},
    filter::{NUMBERS, Steps},
    flow::{Addresses, FlowHash, Seeds, hashes},
    record::{Sighting, fill},
    seq::SeqNum,
    tcp::TcpFlags,
    wire::Packet,
};

/// The slots of one bucket of the pending-ACK table.
pub trait Slots {
    /// The word in `slot`, which is below [`BUCKET_WORDS`].
    fn get(&self, slot: usize) -> u64;
    /// Puts a word into `slot`, which is below [`BUCKET_WORDS`].
    fn set(&mut self, slot: usize, word: u64);

    /// Whether all slots are free.
    #[inline(always)]
    fn is_empty(&self) -> bool {
        (0..BUCKET_WORDS).fold(0, |any, slot| any | self.get(slot)) == 0
    }

    /// Returns `n`, and has the verifier forget how it was computed; see [`Table::forget`].
    #[inline(always)]
    fn forget(&self, n: u64) -> u64 {
        n
    }

    /// Takes note that all slots are free, which [`Table::is_surely_empty`] did not know.
    #[inline(always)]
    fn note_empty(&mut self) {}

    /// The tag that words in this bucket have of a flow. If several network namespaces share the table, the number of
    /// the packet's namespace is mixed in, as flows of two namespaces can be equal, also in the index of the device.
    #[inline(always)]
    fn tag(&self, tag: u32) -> u32 {
        tag
    }

    /// Whether the first data of each direction is awaited too.
    #[inline(always)]
    fn awaits_data(&self) -> bool {
        false
    }
}

/// The pending-ACK table.
pub trait Table {
    /// The access to one bucket.
    type Slots<'a>: Slots
    where
        Self: 'a;

    /// The bucket that the hash `bucket`, masked by the table's size, selects.
    fn bucket(&mut self, bucket: u32) -> Option<Self::Slots<'_>>;

    /// Whether the bucket is known to be empty without a look at it, from memory that is smaller than the table.
    #[inline(always)]
    fn is_surely_empty(&self, _bucket: u32) -> bool {
        false
    }

    /// Returns `n`, and has the verifier forget how it was computed, as [`crate::wire::Load::forget`] does: if a slot
    /// depends on the hash, the verifier would follow each way to the hash separately.
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

/// A table in memory, of a power of two buckets.
impl Table for [Bucket] {
    type Slots<'a> = &'a mut Bucket;

    fn bucket(&mut self, bucket: u32) -> Option<&mut Bucket> {
        let mask = self.len().wrapping_sub(1);
        self.get_mut(bucket as usize & mask)
    }
}

/// A table in memory, of a power of two buckets, that can await data.
#[derive(Debug)]
pub struct Buckets<'a> {
    /// The buckets.
    pub buckets: &'a mut [Bucket],
    /// Whether the first data of each direction is awaited too.
    pub awaits_data: bool,
}

/// A bucket of [`Buckets`].
#[derive(Debug)]
pub struct BucketSlots<'a> {
    bucket: &'a mut Bucket,
    awaits_data: bool,
}

impl Table for Buckets<'_> {
    type Slots<'a>
        = BucketSlots<'a>
    where
        Self: 'a;

    fn bucket(&mut self, bucket: u32) -> Option<BucketSlots<'_>> {
        let bucket = self.buckets.bucket(bucket)?;
        Some(BucketSlots { bucket, awaits_data: self.awaits_data })
    }
}

impl Slots for BucketSlots<'_> {
    fn get(&self, slot: usize) -> u64 {
        self.bucket.words[slot]
    }

    fn set(&mut self, slot: usize, word: u64) {
        self.bucket.words[slot] = word;
    }

    fn awaits_data(&self) -> bool {
        self.awaits_data
    }
}

const SYN_FIN_RST: TcpFlags = TcpFlags::SYN.union(TcpFlags::FIN).union(TcpFlags::RST);

/// Whether a segment is for [`announce`]; the others are for [`awaited`]. It is if it has SYN, FIN or RST, or no ACK:
/// no stack sends one without any of these (RFC 9293 §3.10.7.4, fifth step), but a scanner does.
#[inline(always)]
#[must_use]
pub const fn announces(flags: TcpFlags) -> bool {
    flags.intersects(SYN_FIN_RST) || !flags.ack()
}

/// Tests one segment and keeps the table. Returns the segment's record, and whether another flow's word had to give
/// way. `None` is for a segment that is no part of a lifecycle, and for one that `filter` does not admit.
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

/// Tests one segment as [`inspect`] does, if it is in a tunnel whose hash ([`crate::flow::of_tunnel`]) is `tunnel`. The
/// record that it returns says nothing of the tunnel.
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
        return reached(own, Shown::by(&record), table).then_some((record, false));
    }
    if !filter.admits(&record, &mut [0; NUMBERS]) {
        return None;
    }
    let overwritten = announce(&record, (own, peer), table);
    Some((record, overwritten))
}

/// The numbers of a segment by which it can be one that is awaited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown {
    /// What it acknowledges.
    ack: SeqNum,
    /// The number of the first octet of its payload.
    data: SeqNum,
    /// How many octets of payload it has; 2^32 where nothing follows it.
    len: u64,
}

impl Shown {
    /// What the segment of `record`, which has no SYN and no FIN, shows.
    #[inline(always)]
    #[must_use]
    pub const fn by(record: &Record) -> Self {
        Self { ack: SeqNum(record.ack), data: SeqNum(record.seq), len: record.payload_len as u64 }
    }

    /// What the FIN or SYN-ACK of `record` shows. A SYN has a number before those of the data (RFC 9293 §3.4).
    #[inline(always)]
    const fn by_announcement(record: &Record, flags: TcpFlags) -> Self {
        let Self { ack, data, len } = Self::by(record);
        if flags.fin() { Self { ack, data, len: 1 << 32 } } else { Self { ack, data: data.plus(1), len } }
    }
}

/// Whether this segment was awaited: it acknowledges what was expected, or has the first data. It no longer is afterwards.
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
    // The tag is hashed only here, as most buckets are empty most of the time.
    let shown = Shown { ack: packet.ack, data: packet.seq, len: u64::from(packet.payload_len) };
    clear_shown(&mut slots, (key.tag(seeds), key.vlan_bits()), shown)
}

/// Whether something of the flow `own` was awaited that its segment shows. It no longer is afterwards.
#[inline(always)]
pub fn reached<T: Table + ?Sized>(own: FlowHash, shown: Shown, table: &mut T) -> bool {
    !table.is_surely_empty(own.bucket)
        && table
            .bucket(own.bucket)
            .is_some_and(|mut slots| clear_shown(&mut slots, (own.tag, own.vlans), shown))
}

/// Keeps the table for a segment with SYN, FIN or RST, or without ACK, which is always recorded. Returns whether
/// another flow's word had to give way. The hashes are those of the segment's flow and of the other direction's
/// ([`hashes`]).
#[inline(always)]
pub fn announce<T>(record: &Record, hashes: (FlowHash, FlowHash), table: &mut T) -> bool
where
    T: Table + ?Sized,
{
    let overwritten = expect(record, hashes, table);
    await_first_data(record, hashes, table);
    overwritten
}

/// The first half of [`announce`]: what is expected to be acknowledged. The kernel programs do the halves in functions of their
/// own, which need less stack than one for both.
#[inline(always)]
pub fn expect<T>(record: &Record, (own, peer): (FlowHash, FlowHash), table: &mut T) -> bool
where
    T: Table + ?Sized,
{
    let (flags, seq) = (TcpFlags(record.flags), SeqNum(record.seq));
    let expected = match (flags.syn(), flags.fin(), flags.rst()) {
        // The peer acknowledges s+1 (RFC 9293 §3.5). Other expected numbers of the flow stay: a SYN-ACK can come late
        // or twice, after a FIN, and of two SYN-ACKs with different numbers the client answers the one that it got.
        (true, false, false) if flags.ack() => seq.plus(1),
        (false, _, true) => {
            watch_sender(flags, seq, own, table);
            return false;
        }
        // A FIN occupies the number after the payload (RFC 9293 §3.6). In a first fragment the payload is not all there
        // is. The number is then less than the one that will be acknowledged, which reaches it all the same.
        (false, true, false) => seq.plus(record.payload_len).plus(1),
        // The number that acknowledges a SYN-ACK is known only from the SYN-ACK, so a SYN announces nothing. It removes
        // nothing either: a SYN that is sent again can pass after the SYN-ACK of the same attempt, whose
        // acknowledgement is still to come. No stack sends a SYN with FIN or RST, and nobody acknowledges it.
        _ => return false,
    };
    if flags.ack()
        && !table.is_surely_empty(own.bucket)
        && let Some(mut slots) = table.bucket(own.bucket)
    {
        // A FIN or SYN-ACK may acknowledge the peer's, in a close of three segments or a simultaneous open.
        clear_shown(&mut slots, (own.tag, own.vlans), Shown::by_announcement(record, flags));
    }
    let start = table.forget(peer.tag) as usize;
    let Some(mut slots) = table.bucket(peer.bucket) else {
        return false;
    };
    let flow = flow_bits(slots.tag(peer.tag), peer.vlans);
    arm(&mut slots, start, flow | u64::from(expected.0))
}

/// The second half of [`announce`]: behind a SYN-ACK the first data of both directions, where that is wanted.
#[inline(always)]
pub fn await_first_data<T>(record: &Record, (own, peer): (FlowHash, FlowHash), table: &mut T)
where
    T: Table + ?Sized,
{
    let flags = TcpFlags(record.flags);
    if !(flags.syn() && flags.ack()) || flags.fin() || flags.rst() {
        return;
    }
    let start = table.forget(peer.tag) as usize;
    if let Some(mut slots) = table.bucket(peer.bucket) {
        if !slots.awaits_data() {
            return;
        }
        let flow = flow_bits(slots.tag(peer.tag), peer.vlans);
        await_data(&mut slots, start, flow, SeqNum(record.ack));
    }
    // What comes with the SYN-ACK itself (RFC 7413 §4.2) is in its record.
    if record.payload_len == 0 {
        let start = table.forget(own.tag) as usize;
        if let Some(mut slots) = table.bucket(own.bucket) {
            let flow = flow_bits(slots.tag(own.tag), own.vlans);
            await_data(&mut slots, start, flow, SeqNum(record.seq).plus(1));
        }
    }
}

/// Has the flow of a RST watched. A RST that refuses a SYN has the sequence number 0 (RFC 9293 §3.10.7.1): its flow is
/// not watched, as there is no connection that could go on.
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

/// A bit of a word: the next segment of its flow is recorded, whatever it acknowledges.
const WATCHED: u64 = 1 << 63;
/// A bit of a word: no acknowledgement is expected. With [`WATCHED`] the word only watches its flow; without it the flow's
/// first data is awaited, which begins at the number in the lower half.
const NOTHING_EXPECTED: u64 = 1 << 62;
/// The bits of a word that say what it is for.
const KIND: u64 = WATCHED | NOTHING_EXPECTED;
/// The bits of a word that are of the VLAN tags.
const VLANS: u64 = 0xff << 54;
/// The bits of a word that are of the flow's tag, as many as there is room for.
const TAG: u64 = 0x003f_ffff << 32;

/// The bits by which a word identifies a flow.
#[inline(always)]
const fn flow_bits(tag: u32, vlans: u32) -> u64 {
    ((tag as u64) << 32 & TAG) | ((vlans as u64) << 54 & VLANS)
}

/// Whether a word is of that flow, by the bits of `mask`. The word of a free slot is of none.
#[inline(always)]
const fn is_of(word: u64, flow: u64, mask: u64) -> bool {
    (word ^ flow) & mask == 0 && word != 0
}

/// Whether `ack` is the number that the word expects, or not far beyond it.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
const fn is_reached(word: u64, ack: SeqNum) -> bool {
    ack.0.wrapping_sub(word as u32) < SeqNum::NEAR
}

/// Whether the word awaits the first data of its flow.
#[inline(always)]
const fn is_for_data(word: u64) -> bool {
    word & KIND == NOTHING_EXPECTED
}

/// Whether a word of the table stands for an acknowledgement that is expected, and not for what is only watched or awaited
/// beside that.
#[must_use]
pub const fn expects_acknowledgement(word: u64) -> bool {
    word != 0 && word & NOTHING_EXPECTED == 0
}

/// Whether these octets begin with the one whose number is in the word, or have it among them.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
const fn is_among(word: u64, Shown { data, len, .. }: Shown) -> bool {
    ((word as u32).wrapping_sub(data.0) as u64) < len
}

/// Frees the slots of the flow that await what `shown` has, and ends the watch over the flow. Returns whether there was
/// either.
#[inline(always)]
fn clear_shown(slots: &mut impl Slots, own: (u32, u32), shown: Shown) -> bool {
    // The verifier walks one of the two, so that nothing is walked for data where it is not awaited.
    if slots.awaits_data() {
        clear_due::<true>(slots, own, shown)
    } else {
        clear_due::<false>(slots, own, shown)
    }
}

/// Does what [`clear_shown`] does; with `DATA` there may be words that await data. Words that were announced with other VLAN
/// tags count if there is none with the same.
#[inline(always)]
fn clear_due<const DATA: bool>(slots: &mut impl Slots, (tag, vlans): (u32, u32), shown: Shown) -> bool {
    let flow = flow_bits(slots.tag(tag), vlans);
    let mut mask = TAG;
    for slot in 0..BUCKET_WORDS {
        let word = slots.get(slot);
        if is_of(word, flow, TAG | VLANS) && (is_due::<DATA>(word, shown) || word & WATCHED != 0) {
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
        if is_due::<DATA>(word, shown) {
            slots.set(slot, 0);
            any = true;
        } else if word & WATCHED != 0 {
            slots.set(slot, word & !WATCHED);
            any = true;
        }
    }
    any
}

/// Whether the word of the segment's flow stands for nothing any more: its number is reached, its data is there, or it only
/// watched for the next segment.
#[inline(always)]
const fn is_due<const DATA: bool>(word: u64, shown: Shown) -> bool {
    if word & NOTHING_EXPECTED == 0 {
        is_reached(word, shown.ack)
    } else {
        !DATA || word & WATCHED != 0 || is_among(word, shown)
    }
}

/// Watches a flow, by a word of the flow that is there already, or by a new one in a free slot, or in the slot of a word that
/// awaits data.
#[inline(always)]
fn watch(slots: &mut impl Slots, (tag, vlans): (u32, u32)) {
    let flow = flow_bits(slots.tag(tag), vlans);
    let (mut place, mut put, mut found) = (BUCKET_WORDS, flow | WATCHED | NOTHING_EXPECTED, false);
    for slot in 0..BUCKET_WORDS {
        let present = slots.get(slot);
        if present == 0 || is_for_data(present) {
            if !found && (place == BUCKET_WORDS || present == 0) {
                place = slot;
            }
        } else if is_of(present, flow, TAG | VLANS) {
            (place, put, found) = (slot, present | WATCHED, true);
        }
    }
    if place < BUCKET_WORDS {
        slots.set(place % BUCKET_WORDS, put);
    }
}

/// Puts the word `wanted` into the first free slot from `start` on, unless it is there already. Where no slot is free, the
/// word gives way that is missed the least. Returns whether that is one whose expected acknowledgement is of another flow.
#[inline(always)]
fn arm(slots: &mut impl Slots, start: usize, wanted: u64) -> bool {
    let (mut room, mut dispensable) = (start, 0);
    for step in 0..BUCKET_WORDS {
        let slot = (start + step) % BUCKET_WORDS;
        let present = slots.get(slot);
        if present & !WATCHED == wanted {
            return false;
        }
        let this = dispensability(present);
        if this > dispensable {
            (room, dispensable) = (slot, this);
        }
    }
    slots.set(room % BUCKET_WORDS, wanted);
    dispensable == 0
}

/// How well the table can do without a word, as a number that is larger the better it can: what is in a free slot, then a
/// word that awaits data, then one that only watches its flow, then an expected acknowledgement of a flow that is watched
/// too. It is 0 for any other expected acknowledgement.
#[inline(always)]
const fn dispensability(word: u64) -> u32 {
    match word & KIND {
        _ if word == 0 => 4,
        NOTHING_EXPECTED => 3,
        KIND => 2,
        WATCHED => 1,
        _ => 0,
    }
}

/// Has the first data of `flow` awaited, whose first octet has the number `first`, by a word in the first free slot from
/// `start` on. There is none such word more than once.
#[inline(always)]
fn await_data(slots: &mut impl Slots, start: usize, flow: u64, first: SeqNum) {
    let wanted = flow | NOTHING_EXPECTED | u64::from(first.0);
    let mut free = None;
    for step in 0..BUCKET_WORDS {
        let slot = (start + step) % BUCKET_WORDS;
        match slots.get(slot) {
            present if present == wanted => return,
            0 if free.is_none() => free = Some(slot),
            _ => {}
        }
    }
    if let Some(slot) = free {
        slots.set(slot % BUCKET_WORDS, wanted);
    }
}

#[cfg(test)]
mod collisions;
#[cfg(test)]
mod tests;
