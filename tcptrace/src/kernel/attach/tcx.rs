//! Which programs are on the TCX hooks of an interface: by its index, as names are not always text, and by their numbers,
//! which are told to more than their names are.
#![expect(unsafe_code, reason = "the library asks by name, and says nothing where it may not say all")]

use super::hooks::Side;
use rustix::io::Errno;
use std::io;

const BPF_PROG_QUERY: libc::c_long = 16;
/// So many programs are on one side at most, one less than `BPF_MPROG_MAX` (`include/linux/bpf_mprog.h`,
/// `bpf_mprog_max`).
pub(super) const MOST: usize = 63;
/// For all of them.
const ROOM: u32 = 64;

/// `BPF_TCX_INGRESS`, `BPF_TCX_EGRESS` (`linux/bpf.h`, `enum bpf_attach_type`).
pub(super) const fn attach_type(side: Side) -> u32 {
    match side {
        Side::Ingress => 46,
        Side::Egress => 47,
    }
}

/// `union bpf_attr`, the part `query` (`linux/bpf.h`).
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

/// The numbers of the programs of one side, in their order, in the namespace that this thread is in; None where the kernel
/// has no TCX.
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
        // Before 6.6 the kernel knows no such question.
        Some(Errno::INVAL) => Ok(None),
        _ => Err(error),
    }
}
