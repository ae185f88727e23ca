//! Commands of bpf(2) that aya does not have in this form: loading small programs that are given as instructions, and
//! making the arrays of programs that these go on with.
#![expect(unsafe_code, reason = "three commands of bpf(2)")]

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

/// Commands and types of bpf(2) (`linux/bpf.h`).
const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_MAP_TYPE_PROG_ARRAY: u32 = 3;
/// The type of programs for TC (`include/uapi/linux/bpf.h`).
pub const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
/// The type of programs for XDP.
pub const BPF_PROG_TYPE_XDP: u32 = 6;
/// Octets of a program's name with the zero at its end (`BPF_OBJ_NAME_LEN`).
const NAME: usize = 16;

/// `struct bpf_insn`, as it lies in memory.
pub type Instruction = [u8; 8];

/// The first fields of `bpf_attr` for `BPF_PROG_LOAD`. The kernel takes the others as zero.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log: [u64; 2],
    zero: [u32; 2],
    name: [u8; NAME],
}

/// The first fields of `bpf_attr` for `BPF_MAP_CREATE`. The kernel takes the others as zero.
#[repr(C)]
struct CreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// The fields of `bpf_attr` for `BPF_MAP_UPDATE_ELEM`.
#[repr(C)]
struct UpdateAttr {
    map_fd: u32,
    zero: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Loads a program. Its name is cut to the length that the kernel has room for.
pub fn load(prog_type: u32, instructions: &[Instruction], name: &str) -> io::Result<OwnedFd> {
    const LICENSE: &CStr = c"GPL";
    let mut attr = LoadAttr {
        prog_type,
        insn_cnt: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        insns: instructions.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log: [0; 2],
        zero: [0; 2],
        name: [0; NAME],
    };
    for (place, letter) in attr.name[..NAME - 1].iter_mut().zip(name.bytes()) {
        *place = letter;
    }
    // SAFETY: the attribute and what it points to live through the call, which only reads them.
    descriptor(unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attr, size_of::<LoadAttr>()) })
}

/// Makes an array for so many programs, with none in it.
pub(crate) fn program_array(len: u32) -> io::Result<OwnedFd> {
    /// Octets of an index, and of a descriptor.
    const SIZE: u32 = 4;
    let attr =
        CreateAttr { map_type: BPF_MAP_TYPE_PROG_ARRAY, key_size: SIZE, value_size: SIZE, max_entries: len };
    // SAFETY: the attribute lives through the call, which only reads it, and has no pointers in it.
    descriptor(unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_CREATE, &raw const attr, size_of::<CreateAttr>())
    })
}

/// Puts a program into an array of programs, at `index`.
pub(crate) fn put(array: BorrowedFd<'_>, index: u32, program: BorrowedFd<'_>) -> io::Result<()> {
    let program = program.as_raw_fd();
    let attr = UpdateAttr {
        map_fd: array.as_raw_fd().cast_unsigned(),
        zero: 0,
        key: (&raw const index) as u64,
        value: (&raw const program) as u64,
        flags: 0,
    };
    // SAFETY: the attribute and what it points to, of the sizes that the array was made with, live through the call, which
    // only reads them.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_UPDATE_ELEM, &raw const attr, size_of::<UpdateAttr>())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The descriptor that a system call returned, or the error.
fn descriptor(returned: libc::c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(returned).ok().filter(|&fd| fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
