//! Each part of the kernel programs can be asked for with each other: the verifier gives all functions on the way 512 bytes of
//! stack together, and follows a million instructions, so that two parts may be too much where each alone is not.

use super::{config, open, pair, within};
use tcptrace::{
    kernel::{attach::IngressHook, load::LoadOptions},
    source::live::LiveConfig,
};
use tcptrace_common::wire::tunnel::Decap;

#[test]
fn parts_load_together() {
    let (here, _there) = pair();
    let none = LoadOptions { sockets: true, ..LoadOptions::default() };
    let timed = LoadOptions { first_byte: true, ..none };
    let named = LoadOptions { server_name: true, ..timed };
    let every = LoadOptions { processes: true, decap: Decap::all(), ..named };
    // Emulated, each takes a quarter of a minute.
    for (load, ingress) in
        [(LoadOptions { processes: true, ..timed }, IngressHook::Tc), (every, IngressHook::Xdp)]
    {
        let config = LiveConfig { load, ingress, ..config("tt0") };
        // It says why where it does not load.
        within(&here, async || drop(open(&config)));
    }
}
