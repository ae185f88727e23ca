//! Which program a process runs. The path is read when the program is executed: soon after that the process may have ended.

use crate::maps::{EVENTS, binprm_interp, task_tgid};
use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel, generated::bpf_probe_read_kernel_str},
    programs::BtfTracePointContext,
};
use tcptrace_common::abi::{Exec, Fork};

/// The number of the process that runs now.
#[inline(always)]
fn current() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// The process that runs now has executed a program (include/trace/events/sched.h, `sched_process_exec`).
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "248")]
pub(crate) fn executed(context: &BtfTracePointContext) {
    // The third argument is a pointer to `linux_binprm`.
    let binprm: *const *const u8 = context.arg(2);
    let interp = binprm.wrapping_byte_add(binprm_interp());
    // SAFETY: the helper reads kernel memory, and fails where there is none.
    let Ok(path) = (unsafe { bpf_probe_read_kernel(interp) }) else {
        return;
    };
    let Some(mut entry) = EVENTS.reserve::<Exec>(0) else {
        return;
    };
    let exec = entry.as_mut_ptr();
    // SAFETY: what was reserved.
    let pid = unsafe { &raw mut (*exec).pid };
    // SAFETY: likewise.
    unsafe { pid.write(current()) };
    // SAFETY: likewise.
    let zero = unsafe { &raw mut (*exec).zero };
    // SAFETY: likewise.
    unsafe { zero.write(0) };
    // SAFETY: likewise.
    let room = unsafe { &raw mut (*exec).path };
    // SAFETY: the helper writes at most so many bytes, the last of them zero.
    let len = unsafe { bpf_probe_read_kernel_str(room.cast(), size_of::<[u8; 248]>() as u32, path.cast()) };
    if len > 0 { entry.submit(0) } else { entry.discard(0) }
}

/// The process that runs now has made another task, a process or a thread (include/trace/events/sched.h,
/// `sched_process_fork`).
#[inline(always)]
pub(crate) fn forked(context: &BtfTracePointContext) {
    // The second argument is a pointer to `task_struct`.
    let child: *const u32 = context.arg(1);
    // SAFETY: the helper reads kernel memory, and fails where there is none.
    let Ok(child) = (unsafe { bpf_probe_read_kernel(child.wrapping_byte_add(task_tgid())) }) else {
        return;
    };
    let parent = current();
    if child == parent {
        return;
    }
    if let Some(mut entry) = EVENTS.reserve::<Fork>(0) {
        entry.write(Fork { parent, child });
        entry.submit(0);
    }
}
