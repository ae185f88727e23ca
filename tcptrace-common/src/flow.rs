//! The seeded hash of a directed flow, which chooses a bucket of the pending-ACK table and the flow's tag in it.
//!
//! The function is multilinear with halved multiplications (MULTILINEAR-HM; Lemire and Kaser, "Strongly universal string
//! hashing is fast", 2014): `(m + Σ (x[2i] + k[2i])·(x[2i+1] + k[2i+1]) mod 2^64) >> 32` over 32-bit words x with random
//! 64-bit keys m and k, of which none is in two terms: so the sum is strongly universal. For any two different flows, whoever
//! chose them without knowing the keys, the hashes are equal with probability 2^-32. The family chooses between two m. Index
//! and tag use independent keys, so no traffic can be made to crowd a bucket or to pose as another flow by more than that luck. A
//! key comparison is not made: the price of a collision is one surplus ACK record, which the tracker ignores.
//!
//! VLAN tags are in neither hash, as the two directions of a connection can have different ones. Eight bits of them stand
//! beside the hashes, so that one connection that passes with several tags is told apart from itself.

use crate::{
    abi::{BIT_IPV6, Record, SEED_WORDS, Tunnel},
    tunnel::TunnelProtocol,
    vlan::Vlans,
};

/// How many keys each of the two hashes takes: two addends, a pair for ports and device, and four pairs for address
/// words.
const KEYS: usize = 12;
/// The index of the first key for tunnels. An outer address takes an addend and two pairs. Then each of the two hashes
/// takes an addend, a pair for kind and identifier, and a key for the product of both addresses.
const TUNNEL_KEYS: usize = 2 * KEYS;

const _: () = assert!(SEED_WORDS == TUNNEL_KEYS + 5 + 2 * 4);

/// A source of the random keys: an array, or the read-only data of the kernel programs.
pub trait Seeds {
    /// The key at `index`, below [`SEED_WORDS`].
    fn key(&self, index: usize) -> u64;
}

impl Seeds for [u64; SEED_WORDS] {
    #[inline(always)]
    fn key(&self, index: usize) -> u64 {
        self[index]
    }
}

/// The addresses of a packet, of either family, as they lie on the wire.
pub trait Addresses: Copy {
    /// Whether the family is IPv6; it is IPv4 otherwise.
    const IPV6: bool;

    /// The addresses with source and destination exchanged.
    #[must_use]
    fn reversed(self) -> Self;

    /// Writes source and destination as 16 bytes each, IPv4 addresses as IPv4-mapped ones (RFC 4291 §2.5.5.2). It
    /// writes in place and by words, as the kernel programs cannot afford to go byte by byte through the stack.
    fn write(self, src: &mut [u8; 16], dst: &mut [u8; 16]);

    /// The addresses' part of a hash's sum, with the keys from `first` on.
    fn sum(self, seeds: &impl Seeds, first: usize) -> u64;
}

/// IPv4 addresses. A word has the four bytes of an address as they lie on the wire, in whatever order the host reads
/// them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct V4 {
    /// The source address.
    pub src: u32,
    /// The destination address.
    pub dst: u32,
}

/// IPv6 addresses, each as four words that have the bytes as they lie on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct V6 {
    /// The source address.
    pub src: [u32; 4],
    /// The destination address.
    pub dst: [u32; 4],
}

impl Addresses for V4 {
    const IPV6: bool = false;

    #[inline(always)]
    fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src }
    }

    #[inline(always)]
    fn write(self, src: &mut [u8; 16], dst: &mut [u8; 16]) {
        put_words(src, mapped(self.src));
        put_words(dst, mapped(self.dst));
    }

    #[inline(always)]
    fn sum(self, seeds: &impl Seeds, first: usize) -> u64 {
        pair(seeds, first, self.src, self.dst)
    }
}

impl Addresses for V6 {
    const IPV6: bool = true;

    #[inline(always)]
    fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src }
    }

    #[inline(always)]
    fn write(self, src: &mut [u8; 16], dst: &mut [u8; 16]) {
        put_words(src, self.src);
        put_words(dst, self.dst);
    }

    #[inline(always)]
    fn sum(self, seeds: &impl Seeds, first: usize) -> u64 {
        pair(seeds, first, self.src[0], self.dst[0])
            .wrapping_add(pair(seeds, first + 2, self.src[1], self.dst[1]))
            .wrapping_add(pair(seeds, first + 4, self.src[2], self.dst[2]))
            .wrapping_add(pair(seeds, first + 6, self.src[3], self.dst[3]))
    }
}

/// The third word of an IPv4-mapped address.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

/// An IPv4 address as an IPv4-mapped one, both in words that have the bytes as they lie on the wire.
#[inline(always)]
pub(crate) const fn mapped(address: u32) -> [u32; 4] {
    [0, 0, MAPPED, address]
}

/// Writes an address, given in words that have the bytes as they lie on the wire, as bytes.
#[inline(always)]
pub(crate) fn put_words(bytes: &mut [u8; 16], words: [u32; 4]) {
    let (chunks, _) = bytes.as_chunks_mut::<4>();
    for (chunk, word) in chunks.iter_mut().zip(words) {
        *chunk = word.to_ne_bytes();
    }
}

/// What identifies a directed flow, which is one direction of one connection on one device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowKey<A> {
    /// The source and destination addresses.
    pub addresses: A,
    /// Source port in the upper half, destination port in the lower one.
    pub ports: u32,
    /// The index of the device: a packet that passes two devices of a router is seen twice, as two flows.
    pub ifindex: u32,
    /// The VLAN identifiers ([`Vlans::word`]).
    pub vlans: u32,
}

/// The hash of a [`FlowKey`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowHash {
    /// The bucket, to be masked by the table's size.
    pub bucket: u32,
    /// The tag, which is never 0.
    pub tag: u32,
    /// Eight bits of the VLAN identifiers.
    pub vlans: u32,
}

impl<A: Addresses> FlowKey<A> {
    /// The key of the other direction.
    #[inline(always)]
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { addresses: self.addresses.reversed(), ports: self.ports.rotate_left(16), ..self }
    }

    /// The hash under `seeds`.
    #[inline(always)]
    #[must_use]
    pub fn hash(self, seeds: &impl Seeds) -> FlowHash {
        FlowHash { bucket: self.bucket(seeds), tag: self.tag(seeds), vlans: self.vlan_bits() }
    }

    /// [`FlowHash::bucket`] alone.
    #[inline(always)]
    #[must_use]
    pub fn bucket(self, seeds: &impl Seeds) -> u32 {
        // The sums of flows that differ by equal steps, as in a port scan, differ by equal steps too. Where one half of
        // the sum is nearly the same for many of them, the other is not. The mixing is one to one, so the hash stays
        // universal.
        let half = self.half(seeds, 0);
        half ^ (half >> 16)
    }

    /// [`FlowHash::tag`] alone.
    #[inline(always)]
    #[must_use]
    pub fn tag(self, seeds: &impl Seeds) -> u32 {
        // 0 stands for a free slot, so it becomes 1, which is thus twice as likely as any other tag.
        match self.half(seeds, KEYS) {
            0 => 1,
            tag => tag,
        }
    }

    /// [`FlowHash::vlans`] alone. The bits differ for any two identifiers below 256; for two tags they are a mixture of
    /// both.
    #[inline(always)]
    #[must_use]
    pub const fn vlan_bits(self) -> u32 {
        let mixed = (self.vlans >> 16) ^ (self.vlans & 0xffff).wrapping_mul(31);
        (mixed ^ (mixed >> 8)) & 0xff
    }

    /// One of the two hashes, with the keys from `first` on. Each family has an addend of its own, so that flows of
    /// both families differ even where the words of one equal the words of the other.
    #[inline(always)]
    fn half(self, seeds: &impl Seeds, first: usize) -> u32 {
        let sum = seeds
            .key(first + usize::from(A::IPV6))
            .wrapping_add(pair(seeds, first + 2, self.ports, self.ifindex))
            .wrapping_add(self.addresses.sum(seeds, first + 4));
        (sum >> 32) as u32
    }
}

/// The hashes of a record's flow and of the other direction's, which are those of the packet's [`FlowKey`].
#[inline(always)]
pub fn hashes(record: &Record, seeds: &impl Seeds) -> (FlowHash, FlowHash) {
    let (src, dst) = (words(&record.src), words(&record.dst));
    let ports = u32::from(record.src_port) << 16 | u32::from(record.dst_port);
    let vlans = Vlans::of(record.vlan).word();
    if record.bits & BIT_IPV6 != 0 {
        let key = FlowKey { addresses: V6 { src, dst }, ports, ifindex: record.ifindex, vlans };
        (key.hash(seeds), key.reversed().hash(seeds))
    } else {
        let addresses = V4 { src: src[3], dst: dst[3] };
        let key = FlowKey { addresses, ports, ifindex: record.ifindex, vlans };
        (key.hash(seeds), key.reversed().hash(seeds))
    }
}

impl FlowHash {
    /// The hash of the same flow within a tunnel, whose own hash [`of_tunnel`] gives.
    #[inline(always)]
    #[must_use]
    pub const fn within(self, tunnel: Self) -> Self {
        let tag = self.tag ^ tunnel.tag;
        Self { bucket: self.bucket ^ tunnel.bucket, tag: if tag == 0 { 1 } else { tag }, ..self }
    }

    /// The hash of this tunnel within another one, whose hash is `outer`.
    #[inline(always)]
    #[must_use]
    pub const fn inside(self, outer: Self) -> Self {
        let (bucket, tag) = (outer.bucket.rotate_left(7), outer.tag.rotate_left(7));
        Self { bucket: self.bucket ^ bucket, tag: self.tag ^ tag, ..self }
    }
}

/// The hash of a tunnel, which is the same for both directions. It is of what tells the tunnel from others: of the kind
/// and, if the kind goes by them, of the identifier ([`TunnelProtocol::is_by_id`]) and of the outer addresses
/// ([`TunnelProtocol::is_by_addresses`]). Each address is hashed to 32 bits; the product of both, each added to a key, does not
/// depend on their order.
#[inline(always)]
pub fn of_tunnel(tunnel: &Tunnel, kind: TunnelProtocol, seeds: &impl Seeds) -> FlowHash {
    let (src, dst) = if kind.is_by_addresses() {
        (address(&tunnel.src, seeds), address(&tunnel.dst, seeds))
    } else {
        (0, 0)
    };
    let id = if kind.is_by_id() { tunnel.id } else { 0 };
    let what = u32::from(tunnel.kind) << 8 | u32::from(tunnel.bits);
    let half = |first: usize| {
        let key = seeds.key(first + 3);
        let product = key.wrapping_add(src).wrapping_mul(key.wrapping_add(dst));
        seeds.key(first).wrapping_add(pair(seeds, first + 1, what, id)).wrapping_add(product)
    };
    let (bucket, tag) = (half(TUNNEL_KEYS + 5), half(TUNNEL_KEYS + 9));
    FlowHash { bucket: upper(bucket), tag: upper(tag), vlans: 0 }
}

#[inline(always)]
const fn upper(sum: u64) -> u32 {
    (sum >> 32) as u32
}

/// An outer address, hashed to 32 bits.
#[inline(always)]
fn address(bytes: &[u8; 16], seeds: &impl Seeds) -> u64 {
    let words = words(bytes);
    let sum = seeds
        .key(TUNNEL_KEYS)
        .wrapping_add(pair(seeds, TUNNEL_KEYS + 1, words[0], words[1]))
        .wrapping_add(pair(seeds, TUNNEL_KEYS + 3, words[2], words[3]));
    sum >> 32
}

/// The words of an address, with the bytes as they lie on the wire.
#[inline(always)]
fn words(bytes: &[u8; 16]) -> [u32; 4] {
    let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    [word(0), word(4), word(8), word(12)]
}

/// The term of a sum for two words, with the keys at `first` and behind it.
#[inline(always)]
fn pair(seeds: &impl Seeds, first: usize, x: u32, y: u32) -> u64 {
    let x = seeds.key(first).wrapping_add(u64::from(x));
    let y = seeds.key(first + 1).wrapping_add(u64::from(y));
    x.wrapping_mul(y)
}

/// Keys that have no pattern but are always the same for a `seed` (`SplitMix64`). They are no secret, and so only for
/// files and tests.
#[must_use]
pub const fn known_seeds(seed: u64) -> [u64; SEED_WORDS] {
    let (mut seeds, mut index, mut state) = ([0; SEED_WORDS], 0, seed);
    while index < SEED_WORDS {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        seeds[index] = z ^ (z >> 31);
        index += 1;
    }
    seeds
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{FlowKey, V4, V6, known_seeds as seeds};
    use crate::{abi::NO_VLAN, vlan::Vlans};
    use proptest::prelude::*;
    use std::{collections::HashSet, vec::Vec};

    #[test]
    fn vlan_tags_are_in_neither_hash_and_beside_them() {
        let seeds = seeds(1);
        let bare = FlowKey { addresses: V4 { src: 1, dst: 2 }, ports: 3, ifindex: 4, vlans: 0 };
        let hash = bare.hash(&seeds);
        assert_eq!(hash.vlans, 0);
        let tagged = |id: u16| FlowKey { vlans: Vlans::of([id, NO_VLAN]).word(), ..bare }.hash(&seeds);
        let different: HashSet<u32> = (1..256).map(|id| tagged(id).vlans).chain([0]).collect();
        assert_eq!(different.len(), 256);
        assert_eq!((tagged(5).bucket, tagged(5).tag), (hash.bucket, hash.tag));
        let within = |inner: u16| FlowKey { vlans: Vlans::of([5, inner]).word(), ..bare }.hash(&seeds).vlans;
        assert!(within(5) != within(6) && within(6) != tagged(5).vlans);
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let seeds = seeds(1);
        let v4 = FlowKey { addresses: V4 { src: 1, dst: 2 }, ports: 3, ifindex: 4, vlans: 5 };
        let v6 = FlowKey {
            addresses: V6 { src: [1, 0, 0, 0], dst: [2, 0, 0, 0] },
            ports: 3,
            ifindex: 4,
            vlans: 5,
        };
        let mut hashes = std::vec![
            v4.hash(&seeds),
            v4.reversed().hash(&seeds),
            FlowKey { ports: 4, ..v4 }.hash(&seeds),
            FlowKey { ifindex: 5, ..v4 }.hash(&seeds),
            v6.hash(&seeds),
            v6.reversed().hash(&seeds),
        ];
        for word in 0..4 {
            let mut addresses = v6.addresses;
            addresses.src[word] ^= 0x8000_0000;
            hashes.push(FlowKey { addresses, ..v6 }.hash(&seeds));
        }
        let tags: HashSet<u32> = hashes.iter().map(|hash| hash.tag).collect();
        let buckets: HashSet<u32> = hashes.iter().map(|hash| hash.bucket).collect();
        assert_eq!((tags.len(), buckets.len()), (hashes.len(), hashes.len()));
    }

    #[test]
    fn a_port_scan_spreads_evenly() {
        // 65536 flows that differ in the port alone, into 4096 buckets: 16 each on average. With universal
        // hashing the fullest holds little more than chance puts there.
        let seeds = seeds(2);
        let mut load = std::vec![0_u32; 4096];
        for port in 0..=0xffff_u32 {
            let key = FlowKey {
                addresses: V4 { src: 0x0a00_0001, dst: 0x0a00_0002 },
                ports: port << 16 | 0x50,
                ifindex: 2,
                vlans: 0,
            };
            load[key.hash(&seeds).bucket as usize % 4096] += 1;
        }
        let fullest: Vec<&u32> = load.iter().filter(|&&flows| flows > 64).collect();
        assert!(fullest.is_empty(), "buckets with more than four times the average: {fullest:?}");
    }

    proptest! {
        #[test]
        fn reversing_twice_is_nothing(src: [u32; 4], dst: [u32; 4], ports: u32, ifindex: u32, vlans: u32) {
            let key = FlowKey { addresses: V6 { src, dst }, ports, ifindex, vlans };
            prop_assert_eq!(key.reversed().reversed(), key);
            prop_assert!(key.hash(&seeds(3)).tag != 0);
        }
    }
}
