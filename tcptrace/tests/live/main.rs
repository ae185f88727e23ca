//! The built `tcptrace` on the real kernel, as its users run it: in network namespaces over veth and on loopback, with
//! real sockets as the traffic. Needs root and the commands `ip`, `tc`, `nft`, `ethtool`, `setpriv` and
//! `setcap`; fails without them.

mod between;
mod capture;
mod check;
mod coexistence;
mod everywhere;
mod far;
mod filters;
mod flood;
mod frames;
mod handmade;
mod icmp;
mod interfaces;
mod kinds;
#[path = "../common/lab.rs"]
mod lab;
mod latency;
mod lifecycles;
mod load;
#[path = "../common/loss.rs"]
mod loss;
mod namespaces;
#[path = "../common/netns.rs"]
mod netns;
mod once;
mod oracle;
#[path = "../packets/mod.rs"]
#[expect(
    dead_code,
    clippy::cast_possible_truncation,
    reason = "shared with the tests of the kernel programs"
)]
mod packets;
mod privileges;
mod robust;
mod routed;
mod scenes;
#[path = "../common/schema.rs"]
mod schema;
mod shedding;
#[path = "../common/skips.rs"]
mod skips;
mod start;
#[path = "../common/stranger.rs"]
#[expect(dead_code, reason = "shared with the tests of the source alone")]
mod stranger;
mod surroundings;
mod textbook;
#[path = "../common/trace.rs"]
mod trace;
#[path = "../common/traffic.rs"]
mod traffic;
