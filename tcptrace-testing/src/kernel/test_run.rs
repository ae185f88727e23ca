//! Runs the kernel programs over given packets by `BPF_PROG_TEST_RUN`, for tests and benchmarks. Needs root.
#![expect(unsafe_code, reason = "running a program whose loader the library is not, is a bare system call")]

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapError, PerCpuArray, PerCpuValues, RingBuf},
    programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions, Xdp},
};
use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};
use tcptrace::kernel::{
    calls::raw::{self, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_XDP, Instruction},
    load::object::OBJECT,
};
use tcptrace_common::{
    abi::{BUCKET_WORDS, Counters, SEED_WORDS},
    admission::Admission,
    filter::Program as Filter,
    wire::tunnel::Decap,
};

/// [`Counters`] as 64-bit words.
const WORDS: usize = size_of::<Counters>() / size_of::<u64>();

/// [`Filter`] likewise.
const FILTER_WORDS: usize = size_of::<Filter>() / size_of::<u64>();

/// What can go wrong before or during a test run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object did not load.
    #[error("loading the kernel programs: {0}")]
    Load(#[from] aya::EbpfError),
    /// A program did not verify or run.
    #[error("program: {0}")]
    Program(#[from] ProgramError),
    /// A map could not be opened or read.
    #[error("map: {0}")]
    Map(#[from] MapError),
    /// Something besides BPF.
    #[error("{0}")]
    Io(io::Error),
    /// The object lacks something.
    #[error("the object has no {0}")]
    Missing(&'static str),
}

/// The five programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    /// `tcptrace_tc_ingress`
    TcIngress,
    /// `tcptrace_tc_egress`
    TcEgress,
    /// `tcptrace_tc_ingress_l3`
    TcIngressL3,
    /// `tcptrace_tc_egress_l3`
    TcEgressL3,
    /// `tcptrace_xdp`
    Xdp,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::TcIngress, Self::TcEgress, Self::TcIngressL3, Self::TcEgressL3, Self::Xdp];

    /// Its name in the object.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TcIngress => "tcptrace_tc_ingress",
            Self::TcEgress => "tcptrace_tc_egress",
            Self::TcIngressL3 => "tcptrace_tc_ingress_l3",
            Self::TcEgressL3 => "tcptrace_tc_egress_l3",
            Self::Xdp => "tcptrace_xdp",
        }
    }
}

/// What one run returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The program's verdict on the packet.
    pub verdict: u32,
    /// Mean duration of one repetition, whole nanoseconds, as the kernel measured it.
    pub nanoseconds: u64,
}

/// What is set in the programs before they are loaded; 0 stands for off.
#[derive(Clone, Copy, Default)]
struct Switches {
    log: u8,
    shared: u8,
    first_byte: u8,
    server_name: u8,
}

/// The programs, loaded, verified and attached to nothing.
pub struct Harness {
    ebpf: Ebpf,
}

impl Harness {
    /// Loads all programs with a pending table of `buckets` (a power of two) and a ring of `ring_bytes` (a power of
    /// two of pages).
    pub fn load(seeds: &[u64; SEED_WORDS], buckets: u32, ring_bytes: u32) -> Result<Self, Error> {
        Self::load_with(seeds, buckets, ring_bytes, Switches::default(), &Decap::NONE)
    }

    /// The same as several network namespaces share them.
    pub fn load_shared(seeds: &[u64; SEED_WORDS], buckets: u32, ring_bytes: u32) -> Result<Self, Error> {
        let switches = Switches { shared: 1, ..Switches::default() };
        Self::load_with(seeds, buckets, ring_bytes, switches, &Decap::NONE)
    }

    /// The same, recording the first data of each direction too, and the beginnings of requests.
    pub fn load_with_first_byte(
        seeds: &[u64; SEED_WORDS],
        buckets: u32,
        ring_bytes: u32,
        decap: &Decap,
    ) -> Result<Self, Error> {
        let switches = Switches { first_byte: 1, server_name: 1, ..Switches::default() };
        Self::load_with(seeds, buckets, ring_bytes, switches, decap)
    }

    /// The same, looking into these tunnels.
    pub fn load_with_decap(
        seeds: &[u64; SEED_WORDS],
        buckets: u32,
        ring_bytes: u32,
        decap: &Decap,
    ) -> Result<Self, Error> {
        Self::load_with(seeds, buckets, ring_bytes, Switches::default(), decap)
    }

    /// The same, with `KERNEL_LOG` set to `log`.
    pub fn load_with_log(
        seeds: &[u64; SEED_WORDS],
        buckets: u32,
        ring_bytes: u32,
        log: u8,
    ) -> Result<Self, Error> {
        let switches = Switches { log, ..Switches::default() };
        Self::load_with(seeds, buckets, ring_bytes, switches, &Decap::NONE)
    }

    fn load_with(
        seeds: &[u64; SEED_WORDS],
        buckets: u32,
        ring_bytes: u32,
        switches: Switches,
        decap: &Decap,
    ) -> Result<Self, Error> {
        let mask = buckets - 1;
        let mut ebpf = EbpfLoader::new()
            .override_global("SEEDS", &seeds[..], true)
            .override_global("PENDING_MASK", &mask, true)
            .override_global("KERNEL_LOG", &switches.log, true)
            .override_global("SHARED", &switches.shared, true)
            .override_global("FIRST_BYTE", &switches.first_byte, true)
            .override_global("SERVER_NAME", &switches.server_name, true)
            .override_global("DECAP", &decap.words()[..], true)
            .map_max_entries("PENDING", buckets)
            .map_max_entries("MARKS", buckets.div_ceil(4))
            .map_max_entries("EVENTS", ring_bytes)
            .load(OBJECT)?;
        for program in Program::ALL {
            let loaded = ebpf.program_mut(program.name()).ok_or(Error::Missing(program.name()))?;
            if program == Program::Xdp {
                <&mut Xdp>::try_from(loaded)?.load()?;
            } else {
                <&mut SchedClassifier>::try_from(loaded)?.load()?;
            }
        }
        Ok(Self { ebpf })
    }

    /// Instructions that the verifier walked for a program; `None` on kernels before 5.16, which do not say.
    pub fn verified_instructions(&self, program: Program) -> Result<Option<u32>, Error> {
        let loaded = self.ebpf.program(program.name()).ok_or(Error::Missing(program.name()))?;
        let info = if program == Program::Xdp {
            <&Xdp>::try_from(loaded)?.info()?
        } else {
            <&SchedClassifier>::try_from(loaded)?.info()?
        };
        Ok(info.verified_instruction_count())
    }

    /// Wraps what was loaded in another way.
    pub(super) const fn of(ebpf: Ebpf) -> Self {
        Self { ebpf }
    }

    /// Takes everything out of the ring, and says how many records that were.
    pub fn discard(&mut self) -> Result<u64, Error> {
        let events = self.ebpf.map_mut("EVENTS").ok_or(Error::Missing("EVENTS"))?;
        let mut ring = RingBuf::try_from(events)?;
        let mut records = 0;
        while ring.next().is_some() {
            records += 1;
        }
        Ok(records)
    }

    /// Takes everything out of the ring, as bytes.
    pub fn drain(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        let events = self.ebpf.map_mut("EVENTS").ok_or(Error::Missing("EVENTS"))?;
        let mut ring = RingBuf::try_from(events)?;
        Ok(std::iter::from_fn(|| ring.next().map(|item| item.to_vec())).collect())
    }

    /// Has the programs make records of what `filter` admits only.
    pub fn set_filter(&mut self, filter: &Filter) -> Result<(), Error> {
        let map = self.ebpf.map_mut("FILTER").ok_or(Error::Missing("FILTER"))?;
        let words: [u64; FILTER_WORDS] = zerocopy::transmute!(*filter);
        Ok(Array::<_, [u64; FILTER_WORDS]>::try_from(map)?.set(0, words, 0)?)
    }

    /// Has the programs follow only the connections that `admission` takes.
    pub fn set_admission(&mut self, admission: Admission) -> Result<(), Error> {
        let map = self.ebpf.map_mut("ADMISSION").ok_or(Error::Missing("ADMISSION"))?;
        Ok(Array::<_, u32>::try_from(map)?.set(0, admission.to_map(), 0)?)
    }

    /// The counters of all CPUs, added up.
    pub fn counters(&self) -> Result<Counters, Error> {
        let map = self.ebpf.map("COUNTERS").ok_or(Error::Missing("COUNTERS"))?;
        let per_cpu = PerCpuArray::<_, [u64; WORDS]>::try_from(map)?.get(&0, 0)?;
        let mut sum = [0_u64; WORDS];
        for cpu in per_cpu.iter() {
            for (sum, count) in sum.iter_mut().zip(cpu) {
                *sum = sum.wrapping_add(*count);
            }
        }
        Ok(zerocopy::transmute!(sum))
    }

    /// The pending-ACK table, bucket by bucket.
    pub fn pending(&self) -> Result<Vec<[u64; BUCKET_WORDS]>, Error> {
        let map = self.ebpf.map("PENDING").ok_or(Error::Missing("PENDING"))?;
        let buckets = Array::<_, [u64; BUCKET_WORDS]>::try_from(map)?;
        Ok(buckets.iter().collect::<Result<_, _>>()?)
    }

    /// Forgets what the programs were shown: empties the pending-ACK table and the ring, and counts from 0.
    pub fn clear(&mut self) -> Result<(), Error> {
        let map = self.ebpf.map_mut("PENDING").ok_or(Error::Missing("PENDING"))?;
        let mut buckets = Array::<_, [u64; BUCKET_WORDS]>::try_from(map)?;
        for index in 0..buckets.len() {
            buckets.set(index, [0; BUCKET_WORDS], 0)?;
        }
        let map = self.ebpf.map_mut("COUNTERS").ok_or(Error::Missing("COUNTERS"))?;
        let mut counters = PerCpuArray::<_, [u64; WORDS]>::try_from(map)?;
        let zero = counters.get(&0, 0)?.iter().map(|_| [0; WORDS]).collect::<Vec<_>>();
        counters.set(0, PerCpuValues::try_from(zero).map_err(MapError::from)?, 0)?;
        self.drain()?;
        Ok(())
    }

    /// Runs a program over `packet`, `repeat` times, with `context` (a prefix of `__sk_buff` or `xdp_md`) if given.
    pub fn run(
        &self,
        program: Program,
        packet: &[u8],
        context: Option<&[u8]>,
        repeat: u32,
    ) -> Result<Outcome, Error> {
        let loaded = self.ebpf.program(program.name()).ok_or(Error::Missing(program.name()))?;
        let options =
            TestRunOptions { data_in: Some(packet), ctx_in: context, repeat, ..TestRunOptions::new() };
        let result = if program == Program::Xdp {
            <&Xdp>::try_from(loaded)?.test_run(options)?
        } else {
            <&SchedClassifier>::try_from(loaded)?.test_run(options)?
        };
        Ok(Outcome {
            verdict: result.return_value,
            nanoseconds: u64::try_from(result.duration.as_nanos()).unwrap_or(u64::MAX),
        })
    }
}

/// A program that does nothing, to be measured against.
pub struct Empty(OwnedFd);

/// `bpf_attr` of `BPF_PROG_TEST_RUN`, all of it.
#[repr(C)]
#[derive(Default)]
pub(super) struct TestAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    zero: u32,
}

impl TestAttr {
    /// So many runs; the batch is for live frames only, and 0 otherwise.
    pub(super) fn new(repeat: u32, flags: u32, batch_size: u32) -> Self {
        Self { repeat, flags, batch_size, ..Self::default() }
    }

    /// Runs a program over `packet` as the attribute says; what the kernel says of it is in the attribute then.
    pub(super) fn run(&mut self, program: &OwnedFd, packet: &[u8]) -> Result<(), io::Error> {
        self.prog_fd = program.as_raw_fd().cast_unsigned();
        self.data_size_in = u32::try_from(packet.len()).map_err(io::Error::other)?;
        self.data_in = packet.as_ptr() as u64;
        // SAFETY: the attribute and what it points to live through the call, which writes to neither but the former.
        let done =
            unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut *self, size_of::<Self>()) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

const BPF_PROG_TEST_RUN: libc::c_long = 10;

/// `r0 = verdict; exit`, of the same type as `program`.
pub fn empty(program: Program) -> Result<Empty, io::Error> {
    let (prog_type, verdict) =
        if program == Program::Xdp { (BPF_PROG_TYPE_XDP, 2_i32) } else { (BPF_PROG_TYPE_SCHED_CLS, -1) };
    raw::load(prog_type, &returns(verdict), "").map(Empty)
}

/// The same of XDP with another verdict.
pub(super) fn load_verdict(verdict: i32) -> Result<OwnedFd, io::Error> {
    load_xdp(&returns(verdict))
}

const fn returns(verdict: i32) -> [Instruction; 2] {
    let [a, b, c, d] = verdict.to_ne_bytes();
    [[0xb7, 0, 0, 0, a, b, c, d], [0x95, 0, 0, 0, 0, 0, 0, 0]]
}

/// Loads an XDP program of these instructions.
pub(super) fn load_xdp(instructions: &[Instruction]) -> Result<OwnedFd, io::Error> {
    raw::load(BPF_PROG_TYPE_XDP, instructions, "")
}

impl Empty {
    /// Runs it over `packet`, `repeat` times.
    pub fn run(&self, packet: &[u8], repeat: u32) -> Result<Outcome, io::Error> {
        let mut attr = TestAttr::new(repeat, 0, 0);
        attr.run(&self.0, packet)?;
        Ok(Outcome { verdict: attr.retval, nanoseconds: u64::from(attr.duration) })
    }
}
