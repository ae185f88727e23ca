//! BPF links. A link holds a program on an interface until its descriptor is closed, and tells whether somebody has
//! detached it.
//!
//! aya's own links do not serve: it finds the interface of a TC program by a name, which another interface can get at
//! any time, and does not tell which interface a link is on.
#![expect(unsafe_code, reason = "two commands of bpf(2) that the library does not have in this form")]

use super::{hooks::Side, tcx};
use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

/// Commands, types and flags of bpf(2) (`linux/bpf.h`).
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_XDP: u32 = 37;
const BPF_F_BEFORE: u32 = 1 << 3;
/// Flags of XDP (`linux/if_link.h`).
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Where an XDP program runs: in the driver, or in the kernel behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack, where the driver cannot.
    Generic,
}

/// A link, which holds a program on an interface until it is dropped.
#[derive(Debug)]
pub struct Link(OwnedFd);

/// The first fields of `bpf_attr` for `BPF_LINK_CREATE`. The kernel takes the others as zero.
#[repr(C)]
struct Create {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// The fields of `bpf_attr` for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct GetInfo {
    link: u32,
    len: u32,
    info: u64,
}

/// The first fields of `bpf_link_info`. Links of TCX and of XDP have the interface at the same place.
#[repr(C, align(8))]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
    interface: u32,
    rest: u32,
}

impl Link {
    /// Attaches a TC program before all others of its side. Kernels before 6.6 have no such links and say `EINVAL`.
    pub(super) fn tc(program: BorrowedFd<'_>, interface: u32, side: Side) -> io::Result<Self> {
        Self::create(program, interface, tcx::attach_type(side), BPF_F_BEFORE)
    }

    /// Attaches an XDP program.
    pub fn xdp(program: BorrowedFd<'_>, interface: u32, mode: XdpMode) -> io::Result<Self> {
        let flags = match mode {
            XdpMode::Native => XDP_FLAGS_DRV_MODE,
            XdpMode::Generic => XDP_FLAGS_SKB_MODE,
        };
        Self::create(program, interface, BPF_XDP, flags)
    }

    fn create(program: BorrowedFd<'_>, interface: u32, attach_type: u32, flags: u32) -> io::Result<Self> {
        let program = program.as_raw_fd().cast_unsigned();
        let attr = Create { program, interface, attach_type, flags };
        // SAFETY: the attribute lives through the call, which only reads it, and has no pointers in it.
        let fd =
            unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw const attr, size_of::<Create>()) };
        let fd = i32::try_from(fd).ok().filter(|&fd| fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just made this descriptor, and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Whether the program is on an interface. It is not if somebody has detached it, or if the interface is gone
    /// (`kernel/bpf/tcx.c`, `tcx_link_fill_info`; `net/core/dev.c`, `bpf_xdp_link_fill_link_info`).
    pub(super) fn is_attached(&self) -> io::Result<bool> {
        let mut info = Info::default();
        let mut attr = GetInfo {
            link: self.0.as_raw_fd().cast_unsigned(),
            #[expect(clippy::cast_possible_truncation, reason = "some twenty bytes")]
            len: size_of::<Info>() as u32,
            info: (&raw mut info) as u64,
        };
        // SAFETY: the attribute, and what it points to with its length, live through the call.
        let done = unsafe {
            libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw mut attr, size_of::<GetInfo>())
        };
        if done == 0 { Ok(info.interface != 0) } else { Err(io::Error::last_os_error()) }
    }
}
