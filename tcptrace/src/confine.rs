//! Giving up what is not needed, before strangers' bytes are looked at: capabilities, and system calls.
//!
//! Over a file nothing is left but to read it and to write what is open already. A live trace keeps what following
//! interfaces and reading the kernel's maps takes, and where more may come to be attached to, what that takes. What has to be
//! opened for writing is opened before. All is by lists of what is allowed: a call that nobody thought of is refused.

use rustix::{
    io,
    thread::{CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities},
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};
use std::{collections::BTreeMap, env};
use thiserror::Error;

/// For what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To read a file that is open.
    File,
    /// To trace interfaces of one network namespace.
    Live {
        /// All that will be traced is, by links: nothing is to be attached or taken off any more.
        settled: bool,
        /// It is not the namespace of this process, which has to enter it to look at it.
        elsewhere: bool,
    },
    /// To trace those of all: their descriptors and names are looked for everywhere and at any time.
    Everywhere,
}

/// Why not. None of it is the user's fault; a trace that cannot be confined is not begun.
#[derive(Debug, Error)]
pub enum ConfineError {
    /// Capabilities stayed.
    #[error("cannot give up capabilities: {0}")]
    Capabilities(io::Errno),
    /// The filter of system calls was refused.
    #[error("cannot confine system calls: {0}; a kernel with CONFIG_SECCOMP_FILTER is needed")]
    Seccomp(String),
}

/// For this thread, and those that it starts from now on.
pub fn confine(purpose: Purpose) -> Result<(), ConfineError> {
    give_up_capabilities(purpose).map_err(ConfineError::Capabilities)?;
    let seccomp = |error: &dyn std::error::Error| ConfineError::Seccomp(error.to_string());
    for filter in [without_clone3(), filter(purpose)] {
        let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(|e| seccomp(&e))?;
        // It also sets no_new_privs, as the kernel demands.
        apply_filter(&program).map_err(|e| seccomp(&e))?;
    }
    Ok(())
}

/// Those that a purpose needs, of those that are there.
fn give_up_capabilities(purpose: Purpose) -> io::Result<()> {
    let needed = match purpose {
        Purpose::File => CapabilitySet::empty(),
        // BPF to change maps, which kernels before 5.19 ask for (kernel/bpf/syscall.c, __sys_bpf). SYS_ADMIN for the kernel's
        // run statistics (there, bpf_enable_stats), which are asked for now and then, and to go to another namespace.
        Purpose::Live { settled: true, .. } => CapabilitySet::BPF | CapabilitySet::SYS_ADMIN,
        // To attach to what comes, and to take filters off again.
        Purpose::Live { settled: false, .. } => {
            CapabilitySet::BPF | CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN | CapabilitySet::PERFMON
        }
        Purpose::Everywhere => return Ok(()),
    };
    let CapabilitySets { effective, permitted, .. } = capabilities(None)?;
    // Kernels before 4.3 have no ambient set, and then there is nothing in it.
    let _ = clear_ambient_capability_set();
    set_capabilities(
        None,
        CapabilitySets {
            effective: effective & needed,
            permitted: permitted & needed,
            inheritable: CapabilitySet::empty(),
        },
    )
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls that are not in the rules fail with EPERM.
fn filter(purpose: Purpose) -> Result<SeccompFilter, BackendError> {
    let mut rules = allowed_always()?;
    match purpose {
        Purpose::File => {}
        Purpose::Live { settled, elsewhere } => {
            allow_live(&mut rules)?;
            if elsewhere {
                rules.extend(without_conditions(&[libc::SYS_setns]));
            }
            if settled {
                allow_of_bpf(
                    &mut rules,
                    &[MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, OBJ_GET_INFO_BY_FD, ENABLE_STATS],
                )?;
            } else {
                allow_to_attach(&mut rules);
            }
        }
        Purpose::Everywhere => {
            allow_live(&mut rules)?;
            allow_to_attach(&mut rules);
            rules.extend(without_conditions(EVERYWHERE));
        }
    }
    filter_of(rules, SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow)
}

/// clone3 has its flags behind a pointer, where no filter sees them. The C library takes clone instead where there is no
/// clone3.
fn without_clone3() -> Result<SeccompFilter, BackendError> {
    let rules = without_conditions(&[libc::SYS_clone3]).collect();
    filter_of(rules, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()))
}

fn filter_of(
    rules: Rules,
    other: SeccompAction,
    listed: SeccompAction,
) -> Result<SeccompFilter, BackendError> {
    SeccompFilter::new(rules, other, listed, TargetArch::try_from(env::consts::ARCH)?)
}

fn without_conditions(calls: &[i64]) -> impl Iterator<Item = (i64, Vec<SeccompRule>)> {
    calls.iter().map(|&call| (call, Vec::new()))
}

/// To read and write what is open, to map memory, to start the thread that writes, to wait, to end.
const ALWAYS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fcntl,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    // Refused by the other filter.
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpid,
    libc::SYS_gettid,
    // abort() on itself.
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

fn allowed_always() -> Result<Rules, BackendError> {
    let mut rules: Rules = without_conditions(ALWAYS).collect();
    // Whether it is a terminal, and how wide; the name of a thread.
    rules.insert(libc::SYS_ioctl, vec![argument_is(1, libc::TCGETS)?, argument_is(1, libc::TIOCGWINSZ)?]);
    rules.insert(libc::SYS_prctl, vec![argument_is(0, bits(libc::PR_SET_NAME))?]);
    // A thread, and no process.
    rules.insert(libc::SYS_clone, vec![has(0, bits(libc::CLONE_THREAD), bits(libc::CLONE_THREAD))?]);
    // Memory, and no code.
    rules.insert(libc::SYS_mmap, vec![has(2, bits(libc::PROT_EXEC), 0)?]);
    rules.insert(libc::SYS_mprotect, vec![has(2, bits(libc::PROT_EXEC), 0)?]);
    Ok(rules)
}

/// To wait for the ring, to hear from the kernel of interfaces and to ask it.
const LIVE: &[i64] = &[
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_statx,
    libc::SYS_recvfrom,
    libc::SYS_bind,
    // The kernel's version; what capability is missing.
    libc::SYS_uname,
    libc::SYS_capget,
];

fn allow_live(rules: &mut Rules) -> Result<(), BackendError> {
    rules.extend(without_conditions(LIVE));
    // For reading, and what is there.
    let not = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
    rules.insert(libc::SYS_openat, vec![has(2, bits(not), 0)?]);
    rules.insert(libc::SYS_socket, vec![argument_is(0, bits(libc::AF_NETLINK))?]);
    // To nobody by name, so to the kernel.
    rules.insert(libc::SYS_sendto, vec![condition_of(SeccompCmpArgLen::Qword, 4, SeccompCmpOp::Eq, 0)?]);
    Ok(())
}

/// To attach to what comes, and to take filters off again.
fn allow_to_attach(rules: &mut Rules) {
    rules.extend(without_conditions(&[libc::SYS_bpf]));
}

/// To look for namespaces, to enter them and hear from all, and to load programs for one.
const EVERYWHERE: &[i64] = &[
    libc::SYS_setns,
    libc::SYS_getdents64,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_recvmsg,
    libc::SYS_prlimit64,
];

/// Commands of bpf(2) (`linux/bpf.h`, `enum bpf_cmd`).
const MAP_LOOKUP_ELEM: u64 = 1;
const MAP_UPDATE_ELEM: u64 = 2;
const OBJ_GET_INFO_BY_FD: u64 = 15;
const ENABLE_STATS: u64 = 32;

fn allow_of_bpf(rules: &mut Rules, commands: &[u64]) -> Result<(), BackendError> {
    let commands = commands.iter().map(|&command| argument_is(0, command)).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_bpf, commands);
    Ok(())
}

/// As the kernel has them.
fn bits(flags: i32) -> u64 {
    u64::from(flags.unsigned_abs())
}

fn argument_is(argument: u8, value: u64) -> Result<SeccompRule, BackendError> {
    condition(argument, SeccompCmpOp::Eq, value)
}

/// Of these bits the argument has those of `value`.
fn has(argument: u8, bits: u64, value: u64) -> Result<SeccompRule, BackendError> {
    condition(argument, SeccompCmpOp::MaskedEq(bits), value)
}

fn condition(argument: u8, is: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    condition_of(SeccompCmpArgLen::Dword, argument, is, value)
}

fn condition_of(
    len: SeccompCmpArgLen,
    argument: u8,
    is: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, len, is, value)?])
}

#[cfg(test)]
mod tests;
