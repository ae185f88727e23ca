//! Each part of the kernel programs can be asked for with each other: the verifier gives all functions on the way 512 bytes of
//! stack together, and follows a million instructions, so that two parts may be too much where each alone is not. Needs root;
//! fails without.

use tcptrace::{
    kernel::{attach::IngressHook, load::LoadOptions},
    source::live::{LiveConfig, LiveSource, Selection},
};
use tcptrace_common::wire::tunnel::Decap;
use tcptrace_testing::netns::Netns;

#[test]
fn parts_load_together() {
    let (here, there) = (Netns::new(), Netns::new());
    here.veth("tt0", &there, "tt1", 0);
    let timed = LoadOptions { sockets: true, first_byte: true, ..LoadOptions::default() };
    let every = LoadOptions { processes: true, server_name: true, decap: Decap::all(), ..timed };
    for (load, ingress) in [
        (LoadOptions { processes: true, ..timed }, IngressHook::Tc),
        (LoadOptions { server_name: true, decap: Decap::all(), ..timed }, IngressHook::Tc),
        (every, IngressHook::Xdp),
        (LoadOptions { kernel_log: true, ..every }, IngressHook::Tc),
    ] {
        let interfaces = Selection::Named(vec!["tt0".to_owned()]);
        let config = LiveConfig { interfaces, load, ingress, ..LiveConfig::default() };
        here.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("one");
            runtime.block_on(async {
                drop(LiveSource::open(&config).unwrap_or_else(|error| panic!("{error}")));
            });
        });
    }
}
