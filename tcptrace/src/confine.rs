//! Giving up what is not needed, before strangers' bytes are looked at: capabilities, and system calls.
//!
//! Over a file nothing is left but to read it and to write what is open already. A live trace keeps what attaching to
//! interfaces to come and taking the programs off needs, and can start no program, open nothing for writing, and neither offer
//! nor use a service. What has to be opened is opened before.

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
    // It also sets no_new_privs, as the kernel demands.
    let program: BpfProgram = filter(purpose).and_then(TryInto::try_into).map_err(|e| seccomp(&e))?;
    apply_filter(&program).map_err(|e| seccomp(&e))
}

/// Those that a purpose needs, of those that are there.
fn give_up_capabilities(purpose: Purpose) -> io::Result<()> {
    let needed = match purpose {
        Purpose::File => CapabilitySet::empty(),
        // BPF to change maps, which kernels before 5.19 ask for (kernel/bpf/syscall.c, __sys_bpf). SYS_ADMIN for the kernel's
        // run statistics (there, bpf_enable_stats), which are asked for now and then, and to go to another namespace.
        Purpose::Live { settled: true } => CapabilitySet::BPF | CapabilitySet::SYS_ADMIN,
        // To attach to what comes, and to take filters off again.
        Purpose::Live { settled: false } => {
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

fn filter(purpose: Purpose) -> Result<SeccompFilter, BackendError> {
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let (rules, listed, other) = match purpose {
        Purpose::File => (allowed_over_a_file()?, SeccompAction::Allow, refused),
        Purpose::Live { settled } => (forbidden_live(!settled)?, refused, SeccompAction::Allow),
        Purpose::Everywhere => (forbidden_live(true)?, refused, SeccompAction::Allow),
    };
    SeccompFilter::new(rules, other, listed, TargetArch::try_from(env::consts::ARCH)?)
}

/// To read, to write, to map memory, to start the thread that writes, to wait, to end.
fn allowed_over_a_file() -> Result<Rules, BackendError> {
    let mut rules: Rules = [
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_pread64,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_fstat,
        libc::SYS_lseek,
        libc::SYS_ftruncate,
        libc::SYS_fcntl,
        libc::SYS_mmap,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_clone,
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
        #[cfg(target_arch = "x86_64")]
        libc::SYS_newfstatat,
    ]
    .map(|call| (call, Vec::new()))
    .into();
    // Whether it is a terminal; the name of a thread.
    rules.insert(libc::SYS_ioctl, vec![argument_is(1, libc::TCGETS)?]);
    rules.insert(libc::SYS_prctl, vec![argument_is(0, u64::from(libc::PR_SET_NAME.unsigned_abs()))?]);
    Ok(rules)
}

/// To start a program, to offer a service or use one, to write to files, to change what others own or the system is.
fn forbidden_live(attaches: bool) -> Result<Rules, BackendError> {
    let mut rules: Rules =
        PROGRAMS.iter().chain(FILES).chain(SYSTEM).chain(ARCHITECTURE).map(|&it| (it, Vec::new())).collect();
    let access = |mode: i32| {
        let mask = u64::from(libc::O_ACCMODE.unsigned_abs());
        condition(2, SeccompCmpOp::MaskedEq(mask), u64::from(mode.unsigned_abs()))
    };
    rules.insert(libc::SYS_openat, vec![access(libc::O_WRONLY)?, access(libc::O_RDWR)?]);
    let not = |family: i32| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(family.unsigned_abs()))
    };
    let mut of_another = vec![not(libc::AF_NETLINK)?];
    if attaches {
        // if_nametoindex(3) asks through a socket of any kind, and takes one of these.
        of_another.push(not(libc::AF_UNIX)?);
    }
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(of_another)?]);
    // To somebody: requests to the kernel name nobody.
    rules.insert(libc::SYS_sendto, vec![condition_of(SeccompCmpArgLen::Qword, 4, SeccompCmpOp::Ne, 0)?]);
    Ok(rules)
}

/// Others' code, and others.
const PROGRAMS: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_socketpair,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_memfd_create,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // What is asked for through it passes no filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// To make, change and remove them. What is open for writing already stays so.
const FILES: &[i64] = &[
    // Its flags are behind a pointer, which no filter sees.
    libc::SYS_openat2,
    libc::SYS_open_by_handle_at,
    libc::SYS_truncate,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
];

/// The system itself.
const SYSTEM: &[i64] = &[
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_quotactl,
];

/// Calls that not every architecture has: on the oldest most of those without a directory, and ports of the machine.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &[i64] = &[
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_mknod,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_kexec_file_load,
];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: &[i64] = &[
    // renameat, for which the crate has no name there. The kernel has it (arch/arm64/include/uapi/asm/unistd.h,
    // __ARCH_WANT_RENAMEAT), and it is what rename(3) calls.
    38,
    libc::SYS_kexec_file_load,
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURE: &[i64] = &[];

fn argument_is(argument: u8, value: u64) -> Result<SeccompRule, BackendError> {
    condition(argument, SeccompCmpOp::Eq, value)
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
