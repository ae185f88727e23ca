//! The maps and load-time constants of the kernel programs, and safe access to them. The pending-ACK table is in `pending`.

use aya_ebpf::{
    bindings::BPF_RB_AVAIL_DATA,
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use tcptrace_common::{
    abi::{Counters, IcmpRecord, SEED_WORDS, Tunnel},
    admission::Admission,
    filter::{Numbers, Program},
    flow::{FlowHash, Seeds},
    vlan::Vlans,
    wire::{Icmp, Outer, tunnel::DECAP_WORDS},
};

/// The records; user space sets the size at load time.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// One set of counters per CPU.
#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// The filter; user space writes it, at any time.
#[map]
static FILTER: Array<Program> = Array::with_max_entries(1, 0);

/// The filter that is in force; None where everything is wanted.
#[inline(always)]
pub(crate) fn filter() -> Option<&'static Program> {
    FILTER.get(0).filter(|program| program.len != 0)
}

/// What is admitted ([`Admission::from_map`]); user space writes it, at any time.
#[map]
static ADMISSION: Array<u32> = Array::with_max_entries(1, 0);

/// The admission that is in force.
#[inline(always)]
pub(crate) fn admission() -> Admission {
    let Some(value) = ADMISSION.get_ptr(0) else {
        return Admission::ALL;
    };
    // SAFETY: the kernel's pointer to a map value is valid while the program runs; volatile, as user space writes it
    // meanwhile, which makes it one access of 32 bits.
    Admission::from_map(unsafe { value.read_volatile() })
}

/// One workplace per CPU.
#[map]
static WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(1, 0);

/// Where a lifecycle segment is worked on: off the stack, which has 512 bytes, and unknown to the verifier, which need
/// not tell apart the thousands of ways that lead here (kernel/bpf/verifier.c does not follow numbers through a map).
#[repr(C)]
pub(crate) struct Work {
    /// With the sender, type and code of an ICMP error, which only a record of one has.
    pub(crate) entry: IcmpRecord,
    pub(crate) options_at: u32,
    pub(crate) icmp: Message,
    pub(crate) own: FlowHash,
    pub(crate) peer: FlowHash,
    /// What the filter tests.
    pub(crate) numbers: Numbers,
    /// The tunnel that the segment is in; its record says whether there is one.
    pub(crate) tunnel: Tunnel,
    pub(crate) place: Place,
}

/// Where to go on in a tunnel: [`Outer`] without what the record has of it, then what a step led to.
#[repr(C)]
pub(crate) struct Place {
    pub(crate) ipv6: u32,
    pub(crate) protocol: u32,
    pub(crate) at: u32,
    pub(crate) fragmented: u32,
    pub(crate) ethertype: u32,
}

impl Place {
    /// Keeps where a tunnel's own header begins.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "places in a packet")]
    pub(crate) fn put(&mut self, outer: &Outer) {
        self.ipv6 = u32::from(outer.ipv6);
        self.protocol = u32::from(outer.protocol);
        self.at = outer.at as u32;
        self.fragmented = u32::from(outer.fragmented);
    }
}

/// [`Icmp`] in integers alone, without the sender.
#[repr(C)]
pub(crate) struct Message {
    ipv6: u32,
    vlans: [u16; 2],
    ttl: u32,
    at: u32,
    len: u32,
}

impl Message {
    /// Keeps it. Places are within headers, and no packet is 4 GiB long.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "places and lengths in a packet")]
    pub(crate) fn put(&mut self, icmp: &Icmp) {
        self.ipv6 = u32::from(icmp.ipv6);
        self.vlans = icmp.vlans.ids();
        self.ttl = u32::from(icmp.ttl);
        self.at = icmp.at as u32;
        self.len = icmp.len as u32;
    }

    /// What was kept.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it was 8 bits")]
    pub(crate) fn get(&self) -> Icmp {
        Icmp {
            ipv6: self.ipv6 != 0,
            from: [0; 4],
            vlans: Vlans::of(self.vlans),
            ttl: self.ttl as u8,
            at: self.at as usize,
            len: self.len as usize,
        }
    }
}

/// One set of short-lived buffers per CPU.
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// A map of its own, so that no reference to [`Work`] covers it.
#[repr(C)]
struct Scratch {
    /// For [`forget`].
    number: u64,
    /// For [`header_area`].
    header: [u8; HEADER_AREA],
}

/// Octets of the longest header that is read in one piece: IPv6.
pub(crate) const HEADER_AREA: usize = 40;

/// Where the kernel may copy [`HEADER_AREA`] bytes of a packet to.
#[inline(always)]
pub(crate) fn header_area() -> Option<*mut u8> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the kernel's pointer to this CPU's value is valid while the program runs.
    Some(unsafe { &raw mut (*scratch).header }.cast())
}

/// This CPU's workplace, on the terms of [`counters`].
#[inline(always)]
pub(crate) fn work() -> Option<&'static mut Work> {
    let work = WORK.get_ptr_mut(0)?;
    // SAFETY: the kernel's pointer to this CPU's value is valid while the program runs; whoever asked for it before is
    // done with it, and any bytes are integers.
    Some(unsafe { &mut *work })
}

/// The random words of the flow hash, new for each run and each copy of the programs.
#[unsafe(no_mangle)]
static SEEDS: [u64; SEED_WORDS] = [0; SEED_WORDS];

/// The number of the network namespace that this copy of the programs is for, where it is for one.
#[unsafe(no_mangle)]
static NETNS: u16 = 0;

/// Not 0: the programs are for several network namespaces, and a number beside each packet says which one it is in. The verifier
/// sees a constant and drops the code for that where it is 0.
#[unsafe(no_mangle)]
static SHARED: u8 = 0;

/// The programs are for several namespaces.
#[inline(always)]
pub(crate) fn is_shared() -> bool {
    // SAFETY: a valid static; volatile because the loader writes it after the compiler is done.
    unsafe { (&raw const SHARED).read_volatile() != 0 }
}

/// [`NETNS`] as the loader set it. For records only: the flow hash tells copies of the programs apart by their [`SEEDS`].
#[inline(always)]
pub(crate) fn netns() -> u16 {
    // SAFETY: a valid static; volatile because the loader writes it after the compiler is done.
    unsafe { (&raw const NETNS).read_volatile() }
}

/// Not 0: each record is logged too (by aya-log). The verifier sees a constant and drops the code where it is 0.
#[unsafe(no_mangle)]
static KERNEL_LOG: u8 = 0;

/// So many bytes waiting in the ring are reason to wake the reader, whatever it waits for.
#[unsafe(no_mangle)]
static WAKE_BYTES: u64 = 0;

/// The ring is so full that the reader should come at once.
#[inline(always)]
pub(crate) fn ring_is_filling() -> bool {
    // SAFETY: a valid static; volatile because the loader writes it after the compiler is done.
    let enough = unsafe { (&raw const WAKE_BYTES).read_volatile() };
    EVENTS.query(BPF_RB_AVAIL_DATA.into()) >= enough
}

/// Which tunnels are looked into (`wire::tunnel::Decap`). Where the first word is 0, none, the verifier drops the code.
#[unsafe(no_mangle)]
static DECAP: [u32; DECAP_WORDS] = [0; DECAP_WORDS];

/// A word of it.
#[inline(always)]
pub(crate) fn decap(place: usize) -> u32 {
    let word = &raw const DECAP[place];
    // SAFETY: in bounds by the indexing above; volatile because the loader writes it after the compiler is done.
    unsafe { word.read_volatile() }
}

/// Records are to be logged.
#[inline(always)]
pub(crate) fn kernel_log() -> bool {
    // SAFETY: a valid static; volatile because the loader writes it after the compiler is done.
    unsafe { (&raw const KERNEL_LOG).read_volatile() != 0 }
}

/// This CPU's counters. Nothing else runs our programs on this CPU meanwhile: hooks run with soft interrupts
/// off (a `PREEMPT_RT` kernel may interleave two, and then a count can be lost).
#[inline(always)]
pub(crate) fn counters() -> Option<&'static mut Counters> {
    let counters = COUNTERS.get_ptr_mut(0)?;
    // SAFETY: the kernel's pointer to this CPU's value is valid while the program runs, and asked for once.
    Some(unsafe { &mut *counters })
}

/// `n`, with how it was arrived at forgotten by the verifier. Not for the fast path.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the target has 64 bits")]
pub(crate) fn forget(n: usize) -> usize {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the kernel's pointer to this CPU's value is valid while the program runs.
    let number = unsafe { &raw mut (*scratch).number };
    // SAFETY: as above.
    unsafe { number.write_volatile(n as u64) };
    // SAFETY: as above; volatile, or the compiler would see through it.
    unsafe { number.read_volatile() as usize }
}

/// [`SEEDS`] as the loader set them.
pub(crate) struct LoadedSeeds;

impl Seeds for LoadedSeeds {
    #[inline(always)]
    fn key(&self, index: usize) -> u64 {
        let key = &raw const SEEDS[index];
        // SAFETY: in bounds by the indexing above; volatile because the loader writes it after the compiler is done.
        unsafe { key.read_volatile() }
    }
}
