//! The built `tcptrace` on the real kernel, as its users run it: in network namespaces over veth and on loopback, with
//! real sockets as the traffic. Needs root and the commands `ip` and `nft`; fails without them.

mod capture;
mod everywhere;
mod filters;
mod frames;
mod handmade;
mod icmp;
mod interfaces;
mod kinds;
mod lab;
mod lifecycles;
mod load;
mod loss;
mod namespaces;
#[path = "../common/netns.rs"]
mod netns;
mod once;
mod oracle;
mod robust;
mod routed;
mod scenes;
#[path = "../common/schema.rs"]
mod schema;
mod shedding;
mod textbook;
mod trace;
mod traffic;
