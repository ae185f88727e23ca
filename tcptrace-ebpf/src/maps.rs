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

/// The ring of records. User space sets its size when it loads the programs.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// The counters of each CPU.
#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// The filter. User space may write it at any time.
#[map]
static FILTER: Array<Program> = Array::with_max_entries(1, 0);

/// The filter that is in force; None if everything is wanted.
#[inline(always)]
pub(crate) fn filter() -> Option<&'static Program> {
    FILTER.get(0).filter(|program| program.len != 0)
}

/// The part of connections that is followed ([`Admission::from_map`]). User space may write it at any time.
#[map]
static ADMISSION: Array<u32> = Array::with_max_entries(1, 0);

/// The part of connections that is followed now.
#[inline(always)]
pub(crate) fn admission() -> Admission {
    let Some(value) = ADMISSION.get_ptr(0) else {
        return Admission::ALL;
    };
    // SAFETY: the kernel's pointer to a map value is valid while the program runs; volatile, as user space writes it
    // meanwhile, which makes it one access of 32 bits.
    Admission::from_map(unsafe { value.read_volatile() })
}

/// The workplace of each CPU.
#[map]
static WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(1, 0);

/// The memory in which the record of a lifecycle segment is made. It is not on the stack, which has 512 bytes. The
/// verifier does not follow numbers through a map (kernel/bpf/verifier.c), so it need not tell apart the thousands of
/// ways that lead here.
#[repr(C)]
pub(crate) struct Work {
    /// The record. The sender, type and code of an ICMP error have a meaning only in the record of one.
    pub(crate) entry: IcmpRecord,
    pub(crate) options_at: u32,
    pub(crate) icmp: Message,
    pub(crate) own: FlowHash,
    pub(crate) peer: FlowHash,
    /// The numbers that the filter tests.
    pub(crate) numbers: Numbers,
    /// The tunnel that the segment is in. The record says whether it is in one.
    pub(crate) tunnel: Tunnel,
    pub(crate) place: Place,
}

/// Where a packet in a tunnel is parsed on: first [`Outer`] without what [`Work::tunnel`] has of it, then what the walk
/// through the tunnel's headers led to.
#[repr(C)]
pub(crate) struct Place {
    pub(crate) ipv6: u32,
    pub(crate) protocol: u32,
    pub(crate) at: u32,
    pub(crate) fragmented: u32,
    pub(crate) ethertype: u32,
}

impl Place {
    /// Keeps where a tunnel's own header begins, and what is before it.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "places in a packet")]
    pub(crate) fn put(&mut self, outer: &Outer) {
        self.ipv6 = u32::from(outer.ipv6);
        self.protocol = u32::from(outer.protocol);
        self.at = outer.at as u32;
        self.fragmented = u32::from(outer.fragmented);
    }
}

/// What [`Icmp`] has, as integers alone and without the sender.
#[repr(C)]
pub(crate) struct Message {
    ipv6: u32,
    vlans: [u16; 2],
    ttl: u32,
    at: u32,
    len: u32,
}

impl Message {
    /// Keeps a message. Its numbers fit, as offsets are within headers and no packet is 4 GiB long.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "places and lengths in a packet")]
    pub(crate) fn put(&mut self, icmp: &Icmp) {
        self.ipv6 = u32::from(icmp.ipv6);
        self.vlans = icmp.vlans.ids();
        self.ttl = u32::from(icmp.ttl);
        self.at = icmp.at as u32;
        self.len = icmp.len as u32;
    }

    /// The message that was kept, without its sender.
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

/// The short-lived buffers of each CPU.
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Short-lived buffers. They are in a map of their own, so that no reference to [`Work`] covers them.
#[repr(C)]
struct Scratch {
    /// The number that [`forget`] passes through the map.
    number: u64,
    /// The bytes that [`header_area`] points to.
    header: [u8; HEADER_AREA],
}

/// Octets of the longest header that is read in one piece, which is that of IPv6.
pub(crate) const HEADER_AREA: usize = 40;

/// A place to which the kernel may copy [`HEADER_AREA`] bytes of a packet.
#[inline(always)]
pub(crate) fn header_area() -> Option<*mut u8> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the kernel's pointer to this CPU's value is valid while the program runs.
    Some(unsafe { &raw mut (*scratch).header }.cast())
}

/// This CPU's workplace. Nothing else uses it meanwhile, for the reason that [`counters`] gives.
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

/// The number of the network namespace that this copy of the programs is for, if it is for one.
#[unsafe(no_mangle)]
static NETNS: u16 = 0;

/// Not 0 if the programs are for several network namespaces, and a number beside each packet says which one it is in.
/// The verifier sees a constant, and drops the code for that if it is 0.
#[unsafe(no_mangle)]
static SHARED: u8 = 0;

/// Whether the programs are for several namespaces.
#[inline(always)]
pub(crate) fn is_shared() -> bool {
    // SAFETY: a valid static; volatile because the loader writes it after the compiler is done.
    unsafe { (&raw const SHARED).read_volatile() != 0 }
}

/// [`NETNS`] as the loader set it. Only records need it: the flow hash tells copies of the programs apart by their
/// [`SEEDS`].
#[inline(always)]
pub(crate) fn netns() -> u16 {
    // SAFETY: a valid static; volatile because the loader writes it after the compiler is done.
    unsafe { (&raw const NETNS).read_volatile() }
}

/// Not 0 if each record is logged, too (by aya-log). The verifier sees a constant, and drops the code if it is 0.
#[unsafe(no_mangle)]
static KERNEL_LOG: u8 = 0;

/// Not 0 if records say what is known of the socket that sent a segment. The verifier sees a constant, and drops the code
/// if it is 0.
#[unsafe(no_mangle)]
static SOCKETS: u8 = 0;

/// Whether the sender's socket is asked.
#[inline(always)]
pub(crate) fn sockets() -> bool {
    // SAFETY: a valid static; volatile because the loader writes it after the compiler is done.
    unsafe { (&raw const SOCKETS).read_volatile() != 0 }
}

/// Not 0 if records say which process opened or closed the sender's socket. The verifier sees a constant, and drops the code
/// if it is 0.
#[unsafe(no_mangle)]
static PROCESSES: u8 = 0;

/// Whether the processes of sockets are recorded.
#[inline(always)]
pub(crate) fn processes() -> bool {
    // SAFETY: a valid static; volatile because the loader writes it after the compiler is done.
    unsafe { (&raw const PROCESSES).read_volatile() != 0 }
}

/// Where `linux_binprm::interp` is in the running kernel.
#[unsafe(no_mangle)]
static BINPRM_INTERP: u32 = 0;

/// Where `task_struct::tgid` is in the running kernel.
#[unsafe(no_mangle)]
static TASK_TGID: u32 = 0;

/// [`BINPRM_INTERP`] as the loader set it.
#[inline(always)]
pub(crate) fn binprm_interp() -> usize {
    // SAFETY: a valid static; volatile because the loader writes it after the compiler is done.
    unsafe { (&raw const BINPRM_INTERP).read_volatile() as usize }
}

/// [`TASK_TGID`] as the loader set it.
#[inline(always)]
pub(crate) fn task_tgid() -> usize {
    // SAFETY: a valid static; volatile because the loader writes it after the compiler is done.
    unsafe { (&raw const TASK_TGID).read_volatile() as usize }
}

/// Not 0 if the segments with the first data of each direction are recorded. The verifier sees a constant, and drops the code
/// if it is 0.
#[unsafe(no_mangle)]
static FIRST_BYTE: u8 = 0;

/// Whether the first data of each direction is awaited.
#[inline(always)]
pub(crate) fn first_byte() -> bool {
    // SAFETY: a valid static; volatile because the loader writes it after the compiler is done.
    unsafe { (&raw const FIRST_BYTE).read_volatile() != 0 }
}

/// Not 0 if the beginning of the client's first data is recorded where it may have the server's name. The verifier sees a
/// constant, and drops the code if it is 0.
#[unsafe(no_mangle)]
static SERVER_NAME: u8 = 0;

/// Whether the beginnings of requests are recorded.
#[inline(always)]
pub(crate) fn server_name() -> bool {
    // SAFETY: a valid static; volatile because the loader writes it after the compiler is done.
    unsafe { (&raw const SERVER_NAME).read_volatile() != 0 }
}

/// How many bytes wait in the ring when the reader is woken, whatever it waits for.
#[unsafe(no_mangle)]
static WAKE_BYTES: u64 = 0;

/// Whether the ring is so full that the reader should come at once.
#[inline(always)]
pub(crate) fn ring_is_filling() -> bool {
    // SAFETY: a valid static; volatile because the loader writes it after the compiler is done.
    let enough = unsafe { (&raw const WAKE_BYTES).read_volatile() };
    EVENTS.query(BPF_RB_AVAIL_DATA.into()) >= enough
}

/// The tunnels that are looked into (`wire::tunnel::Decap`). If the first word is 0, which is none, the verifier drops
/// the code.
#[unsafe(no_mangle)]
static DECAP: [u32; DECAP_WORDS] = [0; DECAP_WORDS];

/// A word of [`DECAP`] as the loader set it.
#[inline(always)]
pub(crate) fn decap(place: usize) -> u32 {
    let word = &raw const DECAP[place];
    // SAFETY: in bounds by the indexing above; volatile because the loader writes it after the compiler is done.
    unsafe { word.read_volatile() }
}

/// Whether records are logged.
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

/// Returns `n`, and has the verifier forget how it was computed. It is not for the fast path.
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
