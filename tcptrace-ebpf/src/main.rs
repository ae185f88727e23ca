//! The kernel programs: entry points and nothing else. They look, and let every packet pass.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "symbols that the loader finds by name")]

mod maps;

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

/// Into the host, Ethernet.
#[classifier]
fn tcptrace_tc_ingress(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Out of the host, Ethernet.
#[classifier]
fn tcptrace_tc_egress(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Into the host, a device without a link header.
#[classifier]
fn tcptrace_tc_ingress_l3(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Out of the host, a device without a link header.
#[classifier]
fn tcptrace_tc_egress_l3(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Into the host, Ethernet, before the stack.
#[xdp]
fn tcptrace_xdp(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
