//! Why the programs could not be loaded.

use std::io;
use thiserror::Error;

/// Why the programs could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Capabilities are missing.
    #[error("not permitted to trace: {missing} missing; {advice}")]
    NotPermitted {
        /// The names of the capabilities, and what they are for.
        missing: String,
        /// What the user can do about it.
        advice: String,
    },
    /// The kernel refuses although no capability is missing.
    #[error(
        "the kernel refuses BPF although the capabilities are there ({clues}): a lockdown, a security \
         module, a seccomp filter or a user namespace forbids it; run on the host itself"
    )]
    LockedDown {
        /// Settings of the system that may explain the refusal.
        clues: String,
    },
    /// A program at the same hook of the same cgroup lets no other be attached there.
    #[error(
        "a program of somebody else's is attached where {program} would be, without BPF_F_ALLOW_MULTI, which leaves no room for \
         others: `bpftool cgroup show` with that folder names it"
    )]
    HookTaken {
        /// The program's name.
        program: &'static str,
    },
    /// The kernel was built without BPF.
    #[error("this kernel has no BPF (CONFIG_BPF_SYSCALL is not set): run a kernel that has, 5.10 or newer")]
    NoBpf,
    /// The kernel is too old to have BPF ring buffers.
    #[error("this kernel ({version}) has no BPF ring buffers: run 5.10 or newer")]
    TooOld {
        /// The kernel's version.
        version: String,
    },
    /// The kernel's verifier rejected a program.
    #[error(
        "the kernel's verifier rejected {program} ({source}): {last_lines}; please report this with the \
         kernel's version and the log (-vv)"
    )]
    Rejected {
        /// The program's name.
        program: &'static str,
        /// The last lines of the verifier's log, joined.
        last_lines: String,
        /// The whole log.
        log: String,
        /// The error that the system call returned.
        source: io::Error,
    },
    /// The limit of locked memory is too low. Kernels before 5.11 count BPF memory against it (`RLIMIT_MEMLOCK`).
    #[error(
        "the limit of locked memory is too low for {what} (kernels before 5.11 count BPF memory there): \
         run ulimit -l unlimited first, or as root with CAP_SYS_RESOURCE"
    )]
    MemoryLimit {
        /// What did not fit.
        what: String,
    },
    /// The kernel has not enough memory.
    #[error("no memory for {what}: choose a smaller ring or pending table")]
    NoMemory {
        /// What did not fit.
        what: String,
    },
    /// A size is out of its range, or no power of two.
    #[error("{what} cannot be {value}: a power of two from {from} to {to}")]
    Size {
        /// What has the size.
        what: &'static str,
        /// The size that was asked for.
        value: u32,
        /// The least size.
        from: u32,
        /// The largest size.
        to: u32,
    },
    /// The embedded object lacks something, so that the parts of this build do not belong together.
    #[error("the embedded kernel object lacks {0}: rebuild tcptrace")]
    Object(&'static str),
    /// The number of processors cannot be read, without which the counters cannot be.
    #[error("cannot read the number of processors from {file}: {source}; mount sysfs on /sys")]
    Processors {
        /// The file that has the number.
        file: &'static str,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// Something else could not be loaded.
    #[error("cannot load {what}: {reason}")]
    Other {
        /// What could not be loaded.
        what: String,
        /// Why it could not be.
        reason: String,
    },
}
