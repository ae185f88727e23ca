//! Copies the beginning of a request out of a packet, for the name of the server that is asked.

use crate::hook::Hook;
use aya_ebpf::{check_bounds_signed, helpers::generated::bpf_skb_load_bytes};
use tcptrace_common::{
    abi::{REQUEST_OCTETS, Request},
    request::{FIRST_OCTETS, begins_a_request},
    wire::Load as _,
};

/// Whether the data of a packet, which is at `at`, may begin with a request.
#[inline(always)]
pub(crate) fn begins<H: Hook>(hook: H, at: usize) -> bool {
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
pub(crate) fn copy<H: Hook>(hook: H, at: usize, len: u32, request: *mut Request) -> u32 {
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
    let room = unsafe { &raw mut (*request).len };
    // SAFETY: likewise.
    unsafe { room.write(len) };
    // SAFETY: likewise.
    let room = unsafe { &raw mut (*request).zero };
    // SAFETY: likewise.
    unsafe { room.write(0) };
    len
}
