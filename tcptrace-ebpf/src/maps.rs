//! All maps and load-time constants of the kernel programs.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use tcptrace_common::abi::{Bucket, Counters, SEED_WORDS};

/// The records; user space sets the size at load time.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// The pending-ACK table: `PENDING_MASK + 1` buckets. Mappable not to be mapped, but because the kernel puts
/// the values of such an array on a page boundary (kernel/bpf/arraymap.c, `array_map_alloc`), which makes
/// each bucket one cache line.
#[map]
pub(crate) static PENDING: Array<Bucket> = Array::with_max_entries(1 << 16, BPF_F_MMAPABLE);

/// One set of counters per CPU.
#[map]
pub(crate) static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// The random words of the flow hash, new for each run.
#[unsafe(no_mangle)]
static SEEDS: [u64; SEED_WORDS] = [0; SEED_WORDS];

/// Buckets of `PENDING` less one; a power of two less one.
#[unsafe(no_mangle)]
static PENDING_MASK: u32 = (1 << 16) - 1;

/// Not 0: each record is logged too (by aya-log). The verifier sees a constant and drops the code where it is 0.
#[unsafe(no_mangle)]
static KERNEL_LOG: u8 = 0;
