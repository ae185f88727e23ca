//! The entry points of the kernel programs. They look at packets, and let every packet pass. Each is inlined into what aya's
//! macros make of it, as a call would cost every packet a tenth of the whole.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "kernel memory, helpers, and symbols that the loader finds by name")]
#![expect(clippy::inline_always, reason = "few functions with small stacks: the verifier's limits")]
#![expect(clippy::needless_pass_by_value, reason = "aya's macros pass the context so")]

mod exec;
mod hook;
mod maps;
mod pending;
mod process;
mod request;
mod send;
mod socket;
mod trace;

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    macros::{btf_tracepoint, cgroup_sock, cgroup_sock_addr, classifier, xdp},
    programs::{BtfTracePointContext, SockAddrContext, SockContext, TcContext, XdpContext},
};
use hook::{Tc, Xdp};

/// Sees packets that come into the host on an Ethernet device.
#[classifier]
#[inline(always)]
fn tcptrace_tc_ingress(context: TcContext) -> i32 {
    tc::<false, false>(context.skb.skb)
}

/// Sees packets that go out of the host on an Ethernet device.
#[classifier]
#[inline(always)]
fn tcptrace_tc_egress(context: TcContext) -> i32 {
    tc::<true, false>(context.skb.skb)
}

/// Sees packets that come into the host on a device without a link header.
#[classifier]
#[inline(always)]
fn tcptrace_tc_ingress_l3(context: TcContext) -> i32 {
    tc::<false, true>(context.skb.skb)
}

/// Sees packets that go out of the host on a device without a link header.
#[classifier]
#[inline(always)]
fn tcptrace_tc_egress_l3(context: TcContext) -> i32 {
    tc::<true, true>(context.skb.skb)
}

/// Sees packets that come into the host on an Ethernet device, before the stack does.
#[xdp]
#[inline(always)]
fn tcptrace_xdp(context: XdpContext) -> u32 {
    trace::packet(Xdp::<false>(context.ctx));
    XDP_PASS
}

/// Never runs. It is loaded as long as its tracer runs, whose filters on clsact name it (`kernel/attach/clsact.rs`).
#[classifier]
fn tcptrace_alive(_context: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Makes an entry point at a cgroup hook, which lets the process go on.
macro_rules! cgroup_hook {
    ($(#[$doc:meta])* $name:ident: $macro:ident($hook:ident), $context:ty, $see:path) => {
        $(#[$doc])*
        #[$macro($hook)]
        fn $name(context: $context) -> i32 {
            $see(&context);
            GO_ON
        }
    };
}

/// The verdict of a program at a cgroup hook that has nothing against what the process does.
const GO_ON: i32 = 1;

cgroup_hook! {
    /// Sees who connects a socket over IPv4.
    tcptrace_connect4: cgroup_sock_addr(connect4), SockAddrContext, process::connect
}
cgroup_hook! {
    /// Sees who connects a socket over IPv6.
    tcptrace_connect6: cgroup_sock_addr(connect6), SockAddrContext, process::connect
}
cgroup_hook! {
    /// Sees who accepts a connection over IPv4.
    tcptrace_peer4: cgroup_sock_addr(getpeername4), SockAddrContext, process::get_peer_name
}
cgroup_hook! {
    /// Sees who accepts a connection over IPv6.
    tcptrace_peer6: cgroup_sock_addr(getpeername6), SockAddrContext, process::get_peer_name
}
cgroup_hook! {
    /// Sees who binds a socket to an IPv4 address.
    tcptrace_bind4: cgroup_sock(post_bind4), SockContext, process::bound
}
cgroup_hook! {
    /// Sees who binds a socket to an IPv6 address.
    tcptrace_bind6: cgroup_sock(post_bind6), SockContext, process::bound
}
cgroup_hook! {
    /// Sees who closes a socket.
    tcptrace_release: cgroup_sock(sock_release), SockContext, process::released
}

/// Sees which programs are executed.
#[btf_tracepoint(function = "sched_process_exec")]
fn tcptrace_exec(context: BtfTracePointContext) -> i32 {
    exec::executed(&context);
    0
}

/// Sees which processes come from which.
#[btf_tracepoint(function = "sched_process_fork")]
fn tcptrace_fork(context: BtfTracePointContext) -> i32 {
    exec::forked(&context);
    0
}

/// Looks at a packet, and leaves the decision on it to the next program, as if this one were not there: `TC_ACT_UNSPEC`
/// is `TCX_NEXT`.
#[inline(always)]
fn tc<const EGRESS: bool, const L3: bool>(skb: *mut __sk_buff) -> i32 {
    let hook = Tc::<EGRESS, L3>(skb);
    trace::packet(hook);
    hook.clear_number();
    TC_ACT_UNSPEC
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
