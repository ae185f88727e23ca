//! The programs at cgroup hooks, which see what processes do with sockets.

use super::{
    error::LoadError,
    explain::{explain_hook, explain_program},
};
use crate::kernel::calls::errors::with_sources;
use aya::{
    Btf, Ebpf,
    programs::{
        BtfTracePoint, CgroupAttachMode, Program, ProgramError, cgroup_sock::CgroupSockLink,
        cgroup_sock_addr::CgroupSockAddrLink, tp_btf::BtfTracePointLink,
    },
};
use std::os::fd::BorrowedFd;

/// The programs by their names. The kernel has the hooks since 5.9 (the last to come was `BPF_CGROUP_INET_SOCK_RELEASE`).
pub(crate) const PROGRAMS: [&str; 7] = [
    "tcptrace_connect4",
    "tcptrace_connect6",
    "tcptrace_peer4",
    "tcptrace_peer6",
    "tcptrace_bind4",
    "tcptrace_bind6",
    "tcptrace_release",
];

/// The programs at the hooks of a cgroup. Dropping it takes them off.
#[derive(Default)]
pub(crate) struct CgroupLinks {
    addresses: Vec<CgroupSockAddrLink>,
    sockets: Vec<CgroupSockLink>,
}

impl CgroupLinks {
    /// Loads the programs and attaches them to a cgroup beside those of others.
    pub(super) fn attach(object: &mut Ebpf, cgroup: BorrowedFd<'_>) -> Result<Self, LoadError> {
        Self::verify(object)?;
        let mut links = Self::default();
        for name in PROGRAMS {
            let program = object.program_mut(name).ok_or(LoadError::Object(name))?;
            links.add(program, name, cgroup)?;
        }
        Ok(links)
    }

    /// Has the kernel verify the programs. Nothing is attached.
    pub(super) fn verify(object: &mut Ebpf) -> Result<(), LoadError> {
        PROGRAMS.into_iter().try_for_each(|name| {
            let loaded = match object.program_mut(name).ok_or(LoadError::Object(name))? {
                Program::CgroupSockAddr(program) => program.load(),
                Program::CgroupSock(program) => program.load(),
                _ => return Err(LoadError::Object(name)),
            };
            loaded.map_err(|error| explain_program(error, name))
        })
    }

    /// Attaches a program that is loaded.
    fn add(
        &mut self,
        program: &mut Program,
        name: &'static str,
        cgroup: BorrowedFd<'_>,
    ) -> Result<(), LoadError> {
        let failed = |error: ProgramError| explain_hook(error, name);
        // Links are beside those of others in any case.
        let mode = CgroupAttachMode::Single;
        match program {
            Program::CgroupSockAddr(program) => {
                let link = program.attach(cgroup, mode).map_err(failed)?;
                self.addresses.push(program.take_link(link).map_err(failed)?);
            }
            Program::CgroupSock(program) => {
                let link = program.attach(cgroup, mode).map_err(failed)?;
                self.sockets.push(program.take_link(link).map_err(failed)?);
            }
            _ => return Err(LoadError::Object(name)),
        }
        Ok(())
    }
}

/// The programs that see which program a process runs, each with its tracepoint.
const TRACEPOINTS: [(&str, &str); 2] =
    [("tcptrace_exec", "sched_process_exec"), ("tcptrace_fork", "sched_process_fork")];

/// The programs at tracepoints. Dropping it takes them off.
pub(crate) struct TracepointLinks(#[expect(dead_code, reason = "held")] Vec<BtfTracePointLink>);

impl TracepointLinks {
    /// Loads the programs and attaches them.
    pub(super) fn attach(object: &mut Ebpf) -> Result<Self, LoadError> {
        let btf = Btf::from_sys_fs().map_err(|error| LoadError::Other {
            what: "the kernel's description of its types".into(),
            reason: with_sources(&error),
        })?;
        let links = TRACEPOINTS.into_iter().map(|(name, tracepoint)| {
            let failed = |error: ProgramError| explain_program(error, name);
            let program = object.program_mut(name).ok_or(LoadError::Object(name))?;
            let program: &mut BtfTracePoint = program.try_into().map_err(|_| LoadError::Object(name))?;
            program.load(tracepoint, &btf).map_err(failed)?;
            let link = program.attach().map_err(failed)?;
            program.take_link(link).map_err(failed)
        });
        Ok(Self(links.collect::<Result<_, _>>()?))
    }
}
