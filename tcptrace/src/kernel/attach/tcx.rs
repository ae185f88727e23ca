//! Finds out which programs are on the TCX hooks of an interface. The interface is given by its index, as names are not
//! always text, and the programs by their numbers, which the kernel tells also without the capability that their names
//! take.
#![expect(unsafe_code, reason = "the library asks by name, and says nothing where it may not say all")]

use super::hooks::Side;
use rustix::io::Errno;
use std::io;

/// The command of bpf(2) (`linux/bpf.h`).
const BPF_PROG_QUERY: libc::c_long = 16;
/// The most programs on one side of an interface, one less than `BPF_MPROG_MAX` (`include/linux/bpf_mprog.h`,
/// `bpf_mprog_max`).
pub(super) const MOST: usize = 63;
/// How many numbers there is room for in an answer: enough for [`MOST`].
const ROOM: u32 = 64;

/// The type by which a program is attached to a side: `BPF_TCX_INGRESS` or `BPF_TCX_EGRESS` (`linux/bpf.h`,
/// `enum bpf_attach_type`).
pub(super) const fn attach_type(side: Side) -> u32 {
    match side {
        Side::Ingress => 46,
        Side::Egress => 47,
    }
}

/// The part `query` of `union bpf_attr` (`linux/bpf.h`).
#[repr(C)]
struct QueryAttr {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    zero: u32,
    others: [u64; 3],
    revision: u64,
}

/// The kernel's numbers for the programs on one side of an interface, in their order; None if the kernel has no TCX.
/// The thread has to be in the interface's namespace.
pub(super) fn programs(index: u32, side: Side) -> io::Result<Option<Vec<u32>>> {
    let mut numbers = [0_u32; ROOM as usize];
    let mut attr = QueryAttr {
        target_ifindex: index,
        attach_type: attach_type(side),
        query_flags: 0,
        attach_flags: 0,
        prog_ids: numbers.as_mut_ptr() as u64,
        count: ROOM,
        zero: 0,
        others: [0; 3],
        revision: 0,
    };
    // SAFETY: the attribute and the room that it points to, for as many numbers as it says, live through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut attr, size_of::<QueryAttr>()) };
    if result == 0 {
        let count = usize::try_from(attr.count).map_err(io::Error::other)?;
        return Ok(Some(numbers.into_iter().take(count).collect()));
    }
    let error = io::Error::last_os_error();
    match Errno::from_io_error(&error) {
        // Kernels before 6.6 do not know this question.
        Some(Errno::INVAL) => Ok(None),
        _ => Err(error),
    }
}
