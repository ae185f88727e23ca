//! Packets in memory to records: what the kernel programs do, done here for capture files and for tests. The parser
//! and the lifecycle test are the same code.

use crate::decode;
use tcptrace_common::{
    abi::{Bucket, Counters, MAX_OPTIONS, SEED_WORDS},
    lifecycle,
    record::Sighting,
    wire::{Bytes, Link, Parsed, options, parse},
};

/// A pending-ACK table in memory, and the counters that go with it.
pub struct Parser {
    table: Box<[Bucket]>,
    seeds: [u64; SEED_WORDS],
    counters: Counters,
}

impl Parser {
    /// A table of `buckets`, rounded up to a power of two, hashed with `seeds`.
    #[must_use]
    pub fn new(buckets: usize, seeds: [u64; SEED_WORDS]) -> Self {
        let table = vec![Bucket::default(); buckets.next_power_of_two()].into_boxed_slice();
        Self { table, seeds, counters: Counters::default() }
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Expected acknowledgements in the table.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.table.iter().flat_map(|bucket| bucket.words).filter(|&word| word != 0).count()
    }

    /// The table, bucket by bucket.
    #[must_use]
    pub fn table(&self) -> &[Bucket] {
        &self.table
    }

    /// Looks at one packet, passed at `ts` nanoseconds; its record, if it belongs to a lifecycle. `offloaded` is as in
    /// [`tcptrace_common::wire::parse`].
    pub fn packet(
        &mut self,
        link: Link,
        bytes: Bytes<'_>,
        offloaded: Option<u16>,
        ts: u64,
        seen: Sighting,
    ) -> Option<decode::Record> {
        self.counters.packets += 1;
        let (table, seeds) = (&mut *self.table, &self.seeds);
        let (verdict, options_at) = match parse(&bytes, link, offloaded) {
            Parsed::V4(packet) => (lifecycle::inspect(&packet, seen, table, seeds), packet.options_at),
            Parsed::V6(packet) => (lifecycle::inspect(&packet, seen, table, seeds), packet.options_at),
            Parsed::Other | Parsed::Rare | Parsed::Icmp(_) => return None,
            Parsed::Fragment => {
                self.counters.fragments += 1;
                return None;
            }
            Parsed::Unparsable(reason) => {
                self.counters.unparsable[reason as usize] += 1;
                return None;
            }
        };
        self.counters.tcp_packets += 1;
        let (mut record, overwritten) = verdict?;
        self.counters.pending_overwrites += u64::from(overwritten);
        self.counters.number += 1;
        record.ts = ts;
        record.number = u32::try_from(self.counters.number & 0xffff_ffff).unwrap_or_default();
        let mut raw = [0; MAX_OPTIONS];
        let kind = lifecycle::kind_of(tcptrace_common::tcp::TcpFlags(record.flags));
        self.counters.emitted[kind.index()] += 1;
        let with_options = kind.has_options().then(|| {
            record.options_len = options::copy(&bytes, options_at, usize::from(record.options_len), &mut raw);
            &raw
        });
        // A record made here is one.
        decode::decode(&record, with_options).ok()
    }
}
