//! Copies the beginning of a request out of a packet, for the name of the server that is asked.

use crate::{
    hook::Hook,
    maps::{EVENTS, Work},
    send::{MAX_OFFSET, send},
};
use aya_ebpf::{check_bounds_signed, helpers::generated::bpf_skb_load_bytes};
use tcptrace_common::{
    abi::{Followed, MORE_REQUEST, REQUEST_OCTETS, Record, Request},
    request::{FIRST_OCTETS, begins_a_request},
    wire::Load as _,
};

/// Puts the record of a data segment into the ring, with the beginning of its data if that may be a request with the server's
/// name. Returns false if the ring is full. It is not inlined, as few segments need it.
#[inline(never)]
pub(crate) fn send_with_request<H: Hook>(hook: H, work: &mut Work, wakeup: u64) -> bool {
    let at = work.options_at as usize + usize::from(work.entry.record.options_len);
    // The verifier knows no bound of a number that comes out of a map.
    if at >= MAX_OFFSET || !begins(hook, at) {
        return send(&work.entry.record, wakeup);
    }
    let Some(mut entry) = EVENTS.reserve::<Followed<Record, Request>>(0) else {
        return false;
    };
    let place = entry.as_mut_ptr();
    // SAFETY: within what was reserved.
    let request = unsafe { &raw mut (*place).block };
    let len = copy(hook, at, work.entry.record.payload_len, request);
    if len == 0 {
        entry.discard(0);
        return send(&work.entry.record, wakeup);
    }
    work.entry.record.more = MORE_REQUEST;
    // SAFETY: within what was reserved.
    let record = unsafe { &raw mut (*place).record };
    // SAFETY: likewise, and aligned as maps are.
    unsafe { record.write(work.entry.record) };
    entry.submit(wakeup);
    true
}

/// Whether the data of a packet, which is at `at`, may begin with a request.
#[inline(always)]
fn begins<H: Hook>(hook: H, at: usize) -> bool {
    hook.bytes().load::<FIRST_OCTETS>(at).is_some_and(|octets| {
        use tcptrace_common::wire::Header as _;
        begins_a_request(core::array::from_fn(|place| octets.byte(place)))
    })
}

/// Copies the beginning of a packet's `len` octets of data, which are at `at`. Returns how many octets were copied; 0 if the
/// packet does not have them.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "at most 2048, and an offset within headers"
)]
fn copy<H: Hook>(hook: H, at: usize, len: u32, request: *mut Request) -> u32 {
    let Some(skb) = hook.skb() else {
        return 0;
    };
    let len = if len as usize > REQUEST_OCTETS { REQUEST_OCTETS as u32 } else { len };
    // In a form that the verifier of 5.10 remembers.
    if !check_bounds_signed(i64::from(len), 1, REQUEST_OCTETS as i64) {
        return 0;
    }
    // SAFETY: within what was reserved.
    let octets = unsafe { &raw mut (*request).octets };
    // SAFETY: the context is the program's own, and there is room for so many octets.
    let result = unsafe { bpf_skb_load_bytes(skb.cast(), at as u32, octets.cast(), len) };
    if result != 0 {
        return 0;
    }
    // SAFETY: within what was reserved.
    unsafe { (&raw mut (*request).len).write(len) };
    // SAFETY: likewise.
    unsafe { (&raw mut (*request).zero).write(0) };
    len
}
