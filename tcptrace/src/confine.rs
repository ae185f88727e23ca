//! Gives up the capabilities and system calls that a trace does not need, before it looks at bytes that strangers sent.
//!
//! A trace of files keeps only what reading them and writing to open descriptors takes. A live trace also keeps what it
//! takes to follow interfaces and to read the kernel's maps, and, where interfaces may come later, what it takes to
//! attach to them. Files that are written are opened before, or by threads that may do that and little else. The lists
//! name what is allowed: a system call that nobody thought of is refused.

mod folder;

pub use folder::confine_to_folder;

use rustix::{
    io,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
        set_no_new_privs,
    },
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};
use std::{collections::BTreeMap, env, os::fd::RawFd};
use thiserror::Error;

/// What a process goes on to do, which decides what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The process reads capture files that are open.
    File,
    /// The process traces interfaces of one network namespace.
    Live {
        /// Whether every interface that will be traced has its programs, by links: nothing will be attached any more,
        /// and closing the descriptors takes the programs off.
        settled: bool,
        /// Whether the interfaces are in another namespace than this process, which has to enter it to look at it.
        elsewhere: bool,
    },
    /// The process traces all network namespaces, which it looks for everywhere and at any time.
    Everywhere,
    /// The thread writes files in one folder, and renames and removes them.
    Files {
        /// Whether the folder is another user's, who may not let us write to it.
        of_others: bool,
    },
}

/// Why a process could not be confined. The user cannot be at fault, and a trace that cannot be confined does not
/// begin.
#[derive(Debug, Error)]
pub enum ConfineError {
    /// The capabilities could not be given up.
    #[error("cannot give up capabilities: {0}")]
    Capabilities(io::Errno),
    /// The filter of system calls was refused.
    #[error("cannot confine system calls: {0}; a kernel with CONFIG_SECCOMP_FILTER is needed")]
    Seccomp(String),
    /// The thread could not be confined to a folder.
    #[error("cannot confine a thread to the folder that it writes to: {0}")]
    Folder(#[from] landlock::RulesetError),
}

/// Confines this thread, and those that it starts from now on, to what `purpose` needs, and to accepting connections on
/// `listeners`, which are sockets that stay open to the end of the process.
pub fn confine(purpose: Purpose, listeners: &[RawFd]) -> Result<(), ConfineError> {
    confine_at_terminal(purpose, listeners, None)
}

/// Does what [`confine`] does, and leaves the right to change the modes of a terminal, if there is one, which stays open to the end
/// of the process.
pub fn confine_at_terminal(
    purpose: Purpose,
    listeners: &[RawFd],
    terminal: Option<RawFd>,
) -> Result<(), ConfineError> {
    give_up_capabilities(purpose).map_err(ConfineError::Capabilities)?;
    let seccomp = |error: &dyn std::error::Error| ConfineError::Seccomp(error.to_string());
    for filter in [without_clone3(), filter(purpose, listeners, terminal)] {
        let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(|e| seccomp(&e))?;
        // This also sets no_new_privs, which the kernel demands for a filter.
        apply_filter(&program).map_err(|e| seccomp(&e))?;
    }
    Ok(())
}

/// Gives up all capabilities of this thread, for the programs that it starts too: none of them gets any again.
pub fn give_up_everything() -> Result<(), ConfineError> {
    set_no_new_privs(true)
        .and_then(|()| give_up_capabilities(Purpose::File))
        .map_err(ConfineError::Capabilities)
}

/// Gives up all capabilities but those that the purpose needs.
fn give_up_capabilities(purpose: Purpose) -> io::Result<()> {
    let needed = match purpose {
        Purpose::File | Purpose::Files { of_others: false } => CapabilitySet::empty(),
        // Whoever may write to every folder goes on to do so in this one.
        Purpose::Files { of_others: true } => CapabilitySet::DAC_OVERRIDE,
        // BPF is for changing maps, for which kernels before 5.19 ask it (kernel/bpf/syscall.c, __sys_bpf). SYS_ADMIN
        // is for the kernel's run statistics, which are switched on now and then (bpf_enable_stats, in the same file),
        // and for entering another namespace.
        Purpose::Live { settled: true, .. } => CapabilitySet::BPF | CapabilitySet::SYS_ADMIN,
        // The others are for attaching to interfaces that come, and for taking filters off again.
        Purpose::Live { settled: false, .. } => {
            CapabilitySet::BPF | CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN | CapabilitySet::PERFMON
        }
        Purpose::Everywhere => return Ok(()),
    };
    let CapabilitySets { effective, permitted, .. } = capabilities(None)?;
    // This fails on kernels before 4.3, which have no ambient set.
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

/// The filter that allows the system calls that `purpose` needs, those to serve on `listeners`, and those to change the modes of
/// `terminal`. All others fail with EPERM.
fn filter(
    purpose: Purpose,
    listeners: &[RawFd],
    terminal: Option<RawFd>,
) -> Result<SeccompFilter, BackendError> {
    let mut rules = allowed_always()?;
    if let Some(terminal) = terminal {
        allow_modes_of(&mut rules, terminal)?;
    }
    if !listeners.is_empty() {
        allow_to_serve(&mut rules, listeners)?;
    }
    match purpose {
        Purpose::File => {}
        Purpose::Files { .. } => rules.extend(without_conditions(FILES)),
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

/// The filter that hides clone3 by ENOSYS. Its flags are behind a pointer, where no filter sees them. The C library
/// uses clone where there is no clone3.
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

/// The system calls that every trace needs: to read and write open descriptors, to map memory, to start the thread that
/// writes, to wait, and to end.
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
    // The other filter refuses this one, with the error that the C library expects.
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
    // abort() sends the process a signal by this.
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

fn allowed_always() -> Result<Rules, BackendError> {
    let mut rules: Rules = without_conditions(ALWAYS).collect();
    // ioctl asks whether a descriptor is a terminal, and how wide it is; prctl names a thread.
    rules.insert(libc::SYS_ioctl, vec![argument_is(1, libc::TCGETS)?, argument_is(1, libc::TIOCGWINSZ)?]);
    rules.insert(libc::SYS_prctl, vec![argument_is(0, bits(libc::PR_SET_NAME))?]);
    // clone may start a thread, but no process.
    rules.insert(libc::SYS_clone, vec![has(0, bits(libc::CLONE_THREAD), bits(libc::CLONE_THREAD))?]);
    // Memory may be mapped, but not to run code in it.
    rules.insert(libc::SYS_mmap, vec![has(2, bits(libc::PROT_EXEC), 0)?]);
    rules.insert(libc::SYS_mprotect, vec![has(2, bits(libc::PROT_EXEC), 0)?]);
    Ok(rules)
}

/// The system calls that a live trace needs besides: to wait for the ring, and to ask the kernel about interfaces and
/// hear of changes.
const LIVE: &[i64] = &[
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_statx,
    // Cgroups are found by walking through their folders.
    libc::SYS_getdents64,
    libc::SYS_recvfrom,
    libc::SYS_bind,
    // uname asks for the kernel's version, capget for the capabilities that are missing.
    libc::SYS_uname,
    libc::SYS_capget,
];

fn allow_live(rules: &mut Rules) -> Result<(), BackendError> {
    rules.extend(without_conditions(LIVE));
    // Files may be opened for reading, but not made, written or emptied.
    let not = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
    rules.insert(libc::SYS_openat, vec![has(2, bits(not), 0)?]);
    rules.insert(libc::SYS_socket, vec![argument_is(0, bits(libc::AF_NETLINK))?]);
    // Without an address, a netlink message goes to the kernel.
    rules.insert(libc::SYS_sendto, vec![condition_of(SeccompCmpArgLen::Qword, 4, SeccompCmpOp::Eq, 0)?]);
    Ok(())
}

/// The system calls that a thread needs besides that writes files that rotate: to open, lock, rename and remove them, and
/// to look into their folder.
const FILES: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_flock,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_getdents64,
    libc::SYS_fchmod,
    libc::SYS_utimensat,
    libc::SYS_statx,
];

/// Allows what it takes to serve clients: to accept connections on these sockets alone, and to read, write and end them. A
/// message that names no address goes to whom the socket is connected to.
fn allow_to_serve(rules: &mut Rules, listeners: &[RawFd]) -> Result<(), BackendError> {
    let accept = listeners.iter().map(|&fd| argument_is(0, bits(fd))).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_accept4, accept);
    rules.extend(without_conditions(&[libc::SYS_recvfrom, libc::SYS_shutdown]));
    rules.insert(libc::SYS_sendto, vec![condition_of(SeccompCmpArgLen::Qword, 4, SeccompCmpOp::Eq, 0)?]);
    Ok(())
}

/// Allows to change the modes of this terminal: how it was has to come back at the end. Reading it, writing to it and asking for
/// its size is allowed always.
fn allow_modes_of(rules: &mut Rules, terminal: RawFd) -> Result<(), BackendError> {
    // rustix tries the newer of the two first.
    for request in [libc::TCSETS2, libc::TCSETS] {
        let dword = |argument, value| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
        };
        let rule = SeccompRule::new(vec![dword(0, bits(terminal))?, dword(1, request)?])?;
        rules.entry(libc::SYS_ioctl).or_default().push(rule);
    }
    Ok(())
}

/// Allows every command of bpf(2), to attach to interfaces that come and to take filters off again.
fn allow_to_attach(rules: &mut Rules) {
    rules.extend(without_conditions(&[libc::SYS_bpf]));
}

/// The system calls that a trace of all namespaces needs besides: to look for namespaces, to enter them, to hear of
/// changes in all of them, and to load programs for one.
const EVERYWHERE: &[i64] = &[
    libc::SYS_setns,
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

/// Allows these commands of bpf(2) alone.
fn allow_of_bpf(rules: &mut Rules, commands: &[u64]) -> Result<(), BackendError> {
    let commands = commands.iter().map(|&command| argument_is(0, command)).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_bpf, commands);
    Ok(())
}

/// Flags as the kernel compares them: as 32 bits without a sign.
fn bits(flags: i32) -> u64 {
    u64::from(flags.unsigned_abs())
}

fn argument_is(argument: u8, value: u64) -> Result<SeccompRule, BackendError> {
    condition(argument, SeccompCmpOp::Eq, value)
}

/// The argument, of which only `bits` count, is equal to `value`.
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
