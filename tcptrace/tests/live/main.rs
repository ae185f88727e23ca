//! The built `tcptrace` on the real kernel, as its users run it: in network namespaces over veth and on loopback, with
//! real sockets as the traffic. Needs root and the commands `ip`, `tc`, `nft`, `ethtool`, `setpriv`,
//! `setcap` and `systemd-analyze`; fails without them.

mod between;
mod capture;
mod check;
mod coexistence;
mod everywhere;
mod far;
mod files;
mod filters;
mod first_byte;
mod flood;
mod frames;
mod handmade;
mod icmp;
mod interfaces;
mod kinds;
mod latency;
mod lifecycles;
mod load;
mod merge;
#[expect(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "the numbers of a scrape are floating-point"
)]
mod metrics;
mod namespaces;
mod once;
mod oracle;
mod privileges;
mod robust;
mod routed;
mod scenes;
mod service;
mod shedding;
mod start;
mod surroundings;
mod textbook;
mod top;
mod wireshark;

use tcptrace_testing::{folder, lab, loss, netns, packets, schema, skips, stranger, trace, traffic};
