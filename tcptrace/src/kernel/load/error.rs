//! Why the programs could not be loaded.

use std::io;
use thiserror::Error;

/// Why the programs could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Capabilities are missing.
    #[error("not permitted to trace: {missing} missing; {advice}")]
    NotPermitted {
        /// Their names, and what they are for.
        missing: String,
        /// What to do.
        advice: String,
    },
    /// The capabilities are there and the kernel refuses all the same.
    #[error(
        "the kernel refuses BPF although the capabilities are there ({clues}): a lockdown, a security \
         module, a seccomp filter or a user namespace forbids it; run on the host itself"
    )]
    LockedDown {
        /// What the system says about it.
        clues: String,
    },
    /// A kernel without BPF.
    #[error("this kernel has no BPF (CONFIG_BPF_SYSCALL is not set): run a kernel that has, 5.10 or newer")]
    NoBpf,
    /// A kernel without ring buffers.
    #[error("this kernel ({version}) has no BPF ring buffers: run 5.10 or newer")]
    TooOld {
        /// The kernel's version.
        version: String,
    },
    /// The verifier said no.
    #[error(
        "the kernel's verifier rejected {program} ({source}): {last_lines}; please report this with the \
         kernel's version and the log (-vv)"
    )]
    Rejected {
        /// Which program.
        program: &'static str,
        /// The last lines of the log, joined.
        last_lines: String,
        /// All of it.
        log: String,
        /// The error number.
        source: io::Error,
    },
    /// Kernels before 5.11 count BPF memory against `RLIMIT_MEMLOCK`.
    #[error(
        "the limit of locked memory is too low for {what} (kernels before 5.11 count BPF memory there): \
         run ulimit -l unlimited first, or as root with CAP_SYS_RESOURCE"
    )]
    MemoryLimit {
        /// What did not fit.
        what: String,
    },
    /// No memory.
    #[error("no memory for {what}: choose a smaller ring or pending table")]
    NoMemory {
        /// What did not fit.
        what: String,
    },
    /// A size that cannot be.
    #[error("{what} cannot be {value}: a power of two from {from} to {to}")]
    Size {
        /// Of what.
        what: &'static str,
        /// What was asked for.
        value: u32,
        /// The least.
        from: u32,
        /// The most.
        to: u32,
    },
    /// The object lacks something: a build that does not belong together.
    #[error("the embedded kernel object lacks {0}: rebuild tcptrace")]
    Object(&'static str),
    /// Without their number counters cannot be read.
    #[error("cannot read the number of processors from {file}: {source}; mount sysfs on /sys")]
    Processors {
        /// Where it is told.
        file: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot load {what}: {reason}")]
    Other {
        /// What failed.
        what: String,
        /// Why.
        reason: String,
    },
}
