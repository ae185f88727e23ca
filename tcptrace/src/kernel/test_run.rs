//! Runs the kernel programs over given packets by `BPF_PROG_TEST_RUN`, for tests and benchmarks. Needs root.

use super::object::OBJECT;
use aya::{
    Ebpf, EbpfLoader,
    maps::{PerCpuArray, RingBuf},
    programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions, Xdp},
};
use tcptrace_common::abi::{Counters, SEED_WORDS};

/// [`Counters`] as 64-bit words.
const WORDS: usize = size_of::<Counters>() / size_of::<u64>();

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
    Map(#[from] aya::maps::MapError),
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

/// The programs, loaded, verified and attached to nothing.
pub struct Harness {
    ebpf: Ebpf,
}

impl Harness {
    /// Loads all programs with a pending table of `buckets` (a power of two) and a ring of `ring_bytes` (a power of
    /// two of pages).
    pub fn load(seeds: &[u64; SEED_WORDS], buckets: u32, ring_bytes: u32) -> Result<Self, Error> {
        let mask = buckets - 1;
        let mut ebpf = EbpfLoader::new()
            .override_global("SEEDS", &seeds[..], true)
            .override_global("PENDING_MASK", &mask, true)
            .map_max_entries("PENDING", buckets)
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

    /// Takes everything out of the ring, as bytes.
    pub fn drain(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        let events = self.ebpf.map_mut("EVENTS").ok_or(Error::Missing("EVENTS"))?;
        let mut ring = RingBuf::try_from(events)?;
        Ok(std::iter::from_fn(|| ring.next().map(|item| item.to_vec())).collect())
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
