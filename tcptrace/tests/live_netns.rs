//! The live source with interfaces in a network namespace that is not its own. Needs root; fails without.

use netns::Netns;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tcptrace::{
    kernel::{
        attach::{AttachMode, Notice},
        namespaces::{self, Namespaces, NetnsError},
    },
    source::live::{LiveConfig, LiveError, LiveSource, Selection},
};
use tcptrace_testing::netns;

fn config(netns: &Netns, interface: &str) -> LiveConfig {
    LiveConfig {
        interfaces: Selection::Named(vec![interface.to_owned()]),
        namespaces: Namespaces::Named(netns.path()),
        ..LiveConfig::default()
    }
}

fn clsact(netns: &Netns) -> LiveConfig {
    LiveConfig { attach: AttachMode::Clsact, ..config(netns, "tt0") }
}

fn open(config: &LiveConfig) -> (LiveSource, Vec<Notice>) {
    LiveSource::open(config).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs `f` on a thread in the namespace, on a runtime.
fn within<R: Send>(ns: &Netns, f: impl AsyncFnOnce() -> R + Send) -> R {
    ns.enter(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(f())
    })
}

fn own() -> std::path::PathBuf {
    std::fs::read_link("/proc/thread-self/ns/net").expect("every thread has one")
}

/// Two namespaces, each with an interface `tt0`, of the same index, to a third.
fn twins() -> [Netns; 3] {
    let [one, two, peer] = [(); 3].map(|()| Netns::new());
    one.veth("tt0", &peer, "tt1", 1);
    two.veth("tt0", &peer, "tt2", 2);
    let index = |ns: &Netns| ns.ip(&["-o", "link", "show", "tt0"]).split(':').next().map(str::to_owned);
    assert_eq!(index(&one), index(&two));
    [one, two, peer]
}

#[test]
fn clsact_is_made_and_removed_there_and_not_on_the_same_index_here() {
    let [here, there, _peer] = twins();
    within(&here, async || {
        // Its filters have the numbers that the others have there.
        let (_mine, _) = open(&LiveConfig { namespaces: Namespaces::Own, ..clsact(&there) });
        let filters = || ["ingress", "egress"].map(|side| here.tc(&["filter", "show", "dev", "tt0", side]));
        let before = filters();
        assert!(before.iter().all(|side| side.contains("tcptrace_tc_")), "{before:?}");
        let (source, notices) = open(&clsact(&there));
        assert_eq!(notices, []);
        let shown = there.run("bpftool", &["net", "show", "dev", "tt0"]);
        assert!(shown.contains("clsact/ingress") && shown.contains("clsact/egress"), "{shown}");
        drop(source);
        assert!(!there.tc(&["qdisc", "show", "dev", "tt0"]).contains("clsact"));
        assert_eq!(filters(), before);
    });
}

#[test]
fn the_thread_comes_back_also_from_an_error_and_from_a_panic() {
    let [here, there, _peer] = twins();
    within(&here, async || {
        let home = own();
        let netns = namespaces::Netns::open(Some(&there.path())).expect("root may");
        let inside = netns.within(own).expect("root may");
        assert_ne!(inside, home);
        assert_eq!(own(), home);
        assert!(LiveSource::open(&config(&there, "tt9")).is_err());
        assert_eq!(own(), home);
        catch_unwind(AssertUnwindSafe(|| netns.within(|| panic!("on purpose")))).expect_err("it panics");
        assert_eq!(own(), home);
    });
}

#[test]
fn without_the_capability_to_enter_it_is_named() {
    let [here, there, _peer] = twins();
    // The library probes the kernel once for the whole process; not in the thread that may do nothing.
    aya::features();
    let error = within(&here, async || {
        let mut sets = rustix::thread::capabilities(None).expect("its own");
        sets.effective.remove(rustix::thread::CapabilitySet::SYS_ADMIN);
        rustix::thread::set_capabilities(None, sets).expect("dropping is allowed");
        match LiveSource::open(&config(&there, "tt0")) {
            Err(LiveError::Netns(error @ NetnsError::NotPermitted { .. })) => error.to_string(),
            Err(error) => panic!("another error: {error}"),
            Ok(_) => panic!("it opened"),
        }
    });
    assert!(error.contains(&there.path()) && error.contains("CAP_SYS_ADMIN missing"), "{error}");
}

#[test]
fn without_the_capability_to_enter_any_all_are_refused_in_one_line() {
    aya::features();
    let error = within(&Netns::new(), async || {
        let mut sets = rustix::thread::capabilities(None).expect("its own");
        sets.effective.remove(rustix::thread::CapabilitySet::SYS_ADMIN);
        rustix::thread::set_capabilities(None, sets).expect("dropping is allowed");
        let config = LiveConfig { namespaces: Namespaces::All, ..LiveConfig::default() };
        match LiveSource::open(&config) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it opened"),
        }
    });
    let expected = "not permitted to trace all network namespaces: CAP_SYS_ADMIN missing; run as root, or ";
    assert!(error.starts_with(expected) && error.lines().count() == 1, "{error}");
}
