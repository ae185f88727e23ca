//! The compiled kernel programs, as build.rs made them.

/// An ELF object with the programs `tcptrace_tc_ingress`, `tcptrace_tc_egress`, `tcptrace_tc_ingress_l3`,
/// `tcptrace_tc_egress_l3` and `tcptrace_xdp` (and `tcptrace_bench_sink`, see `kernel/sink.rs`), the maps `EVENTS`, `PENDING` and `COUNTERS`, and the globals
/// `SEEDS`, `PENDING_MASK`, `NETNS` and `KERNEL_LOG`. Aligned as an ELF parser wants it.
pub const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace"));
