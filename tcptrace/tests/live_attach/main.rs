//! The live source against the real kernel, in network namespaces of its own. Needs root; fails without.

mod clsact;
mod pending;
mod taken_off;
mod vlans;

use aya::programs::TcAttachType;
use netns::{Netns, has_tcx};
use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tcptrace::{
    kernel::attach::{AttachMode, IngressHook, Notice},
    segment::{Direction, Input, Segment, Sender},
    source::clock::monotonic_now,
    source::live::{AfterBatch, LiveConfig, LiveError, LiveSource, Selection},
};
use tcptrace_common::tcp::TcpFlags;
use tcptrace_testing::{hooks, netns, skips, stranger};

/// Long enough for a busy machine; nothing waits for it unless something is broken.
const DEADLINE: Duration = Duration::from_mins(1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

fn config(interface: &str) -> LiveConfig {
    LiveConfig { interfaces: Selection::Named(vec![interface.to_owned()]), ..LiveConfig::default() }
}

fn clsact(interface: &str) -> LiveConfig {
    LiveConfig { attach: AttachMode::Clsact, ..config(interface) }
}

fn xdp(interface: &str) -> LiveConfig {
    LiveConfig { ingress: IngressHook::Xdp, ..config(interface) }
}

/// A namespace with one end of a veth pair, `tt0`, and the one with the other end, `tt1`.
fn pair() -> (Netns, Netns) {
    let (here, there) = (Netns::new(), Netns::new());
    here.veth("tt0", &there, "tt1", 0);
    (here, there)
}

/// Runs `f` in the namespace, on a runtime.
fn within<R: Send>(ns: &Netns, f: impl AsyncFnOnce() -> R + Send) -> R {
    ns.enter(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(f())
    })
}

fn open(config: &LiveConfig) -> (LiveSource, Vec<Notice>) {
    LiveSource::open(config).unwrap_or_else(|error| panic!("{error}"))
}

fn open_error(ns: &Netns, config: &LiveConfig) -> String {
    within(ns, async || match LiveSource::open(config) {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    })
}

fn programs_on(ns: &Netns, device: &str) -> String {
    ns.run("bpftool", &["net", "show", "dev", device])
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Reads until `enough` of the segments that came.
async fn read_until(source: &mut LiveSource, enough: impl Fn(&[Input]) -> bool) -> Vec<Input> {
    let mut inputs = Vec::new();
    let reading = async {
        while !enough(&inputs) {
            let flow = source.next_batch(&mut inputs).await.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(flow, AfterBatch::More);
        }
    };
    let late = tokio::time::timeout(DEADLINE, reading).await.is_err();
    assert!(!late, "only these came: {inputs:#?}");
    inputs
}

fn segments(inputs: &[Input]) -> Vec<Segment> {
    inputs.iter().filter_map(|i| if let Input::Segment(s) = i { Some(s.clone()) } else { None }).collect()
}

/// A server in `ns` that answers one connection with what it sent and closes after the client did.
fn serve_one(ns: &Netns) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = ns.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port"));
    let address = SocketAddr::from((SERVER, listener.local_addr().expect("bound").port()));
    let server = thread::spawn(move || {
        let mut stream = accept(&listener);
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let mut request = Vec::new();
        stream.read_to_end(&mut request).expect("the client closes");
        stream.write_all(&request).expect("the client reads");
    });
    (address, server)
}

/// Accepts a connection, which may come late: before it the programs are loaded, which takes minutes in an emulated machine
/// that is busy. The listener is asked again and again: in an emulated 5.10 it has happened that a process slept on in
/// `accept(2)` while its client was in FIN-WAIT-2, and so for ever.
fn accept(listener: &TcpListener) -> TcpStream {
    const LATEST: Duration = Duration::from_mins(10);
    listener.set_nonblocking(true).expect("a socket");
    let start = Instant::now();
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert!(start.elapsed() < LATEST, "no connection within {LATEST:?}");
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    };
    stream.set_nonblocking(false).expect("a socket");
    stream
}

fn talk_to(address: SocketAddr) {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the server listens");
    // A test that waits for ever does not say for what.
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.write_all(b"hello").expect("it is open");
    stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server answers");
    assert_eq!(answer, b"hello");
}

/// The last segment of the lifecycle: the first closer's acknowledgement of the other's FIN. On a slow machine FINs come
/// again, and a socket that is gone by then answers with RST.
fn last_ack(segments: &[Segment]) -> Option<&Segment> {
    let first = segments.iter().find(|s| s.flags.fin())?;
    let is_of_first = |s: &Segment| s.flow.src_port == first.flow.src_port;
    let second = segments.iter().find(|s| s.flags.fin() && !is_of_first(s))?;
    segments.iter().find(|s| is_of_first(s) && s.flags == TcpFlags::ACK && s.ack == second.end())
}

fn closed(inputs: &[Input]) -> bool {
    last_ack(&segments(inputs)).is_some()
}

/// One connection from `here` to `there`, seen on `tt0` by this configuration; checks all that came.
fn sees_a_connection(config: &LiveConfig) {
    let (here, there) = pair();
    let (address, server) = serve_one(&there);
    let (inputs, lost, packets) = within(&here, async || {
        let (mut source, said) = open(config);
        assert_eq!(said, []);
        let client = thread::scope(|scope| scope.spawn(|| talk_to_from(&here, address)).join());
        client.expect("the client is served");
        let mut inputs = read_until(&mut source, closed).await;
        source.finish(&mut inputs).expect("it finishes");
        assert!(source.program_cost().is_some_and(|it| it.timed > 0), "the statistics were on");
        let packets = source.counters().expect("counters").tcp_packets;
        (inputs, source.records_lost(), packets)
    });
    server.join().expect("the server is done");
    assert_eq!(lost, 0);
    assert!(!inputs.iter().any(|i| matches!(i, Input::Lost(_))), "{inputs:?}");
    let segments = segments(&inputs);
    assert!(packets >= segments.len() as u64);
    assert!(segments.is_sorted_by_key(|s| s.ts), "in time order: {segments:#?}");
    let syn_to_ack: Vec<_> =
        segments.iter().take(3).map(|s| (s.flags.to_string(), s.direction, s.sender)).collect();
    assert_eq!(
        syn_to_ack,
        [
            ("S".to_owned(), Direction::Egress, Sender::Here),
            ("S.".to_owned(), Direction::Ingress, Sender::There),
            (".".to_owned(), Direction::Egress, Sender::Here),
        ]
    );
    assert!(segments[0].options.is_some_and(|o| o.parse().mss.is_some()), "a SYN has its options");
    let end = last_ack(&segments).expect("it closed");
    assert_eq!(end.sender, Sender::Here);
    let client = segments[0].flow.src_port;
    let sender = |s: &Segment| if s.flow.src_port == client { Sender::Here } else { Sender::There };
    assert!(segments.iter().all(|s| s.sender == sender(s)), "{segments:#?}");
    assert!(segments.iter().all(|s| s.flow.interface == segments[0].flow.interface));
}

/// The oldest a segment was when it was handed out.
#[test]
fn on_a_quiet_host_a_segment_is_handed_out_within_a_tenth_of_a_second() {
    let (here, there) = pair();
    within(&here, async || {
        let (mut source, _) = open(&config("tt0"));
        // Others may keep the processors busy: one of a few connections has to make it.
        let mut oldest = Vec::new();
        for _ in 0..5 {
            let (address, server) = serve_one(&there);
            let client = thread::spawn({
                let path = here.path();
                move || {
                    netns::enter_path(&path);
                    talk_to(address);
                }
            });
            let (mut age, mut inputs) = (0, Vec::new());
            while !closed(&inputs) {
                let before = inputs.len();
                let next = tokio::time::timeout(DEADLINE, source.next_batch(&mut inputs)).await;
                assert_eq!(next.expect("in time").expect("input"), AfterBatch::More);
                let now = monotonic_now();
                let ages = segments(&inputs[before..]).into_iter().map(|s| now.since(s.ts));
                age = ages.max().unwrap_or(0).max(age);
            }
            oldest.push(Duration::from_nanos(age));
            client.join().expect("served");
            server.join().expect("done");
        }
        assert!(oldest.iter().any(|age| *age < Duration::from_millis(100)), "{oldest:?}");
    });
}

#[test]
fn every_record_that_finds_the_ring_full_is_counted() {
    let (here, there) = pair();
    let mut config = config("tt0");
    config.load.ring_bytes = 1 << 16;
    within(&here, async || {
        let (mut source, _) = open(&config);
        // A connection leaves half a kilobyte of records; nobody reads them.
        for _ in 0..300 {
            let (address, server) = serve_one(&there);
            talk_to(address);
            server.join().expect("the server is done");
        }
        let mut inputs = Vec::new();
        source.finish(&mut inputs).expect("it finishes");
        let lost: u64 = inputs.iter().map(|i| if let Input::Lost(l) = i { l.records } else { 0 }).sum();
        assert!(lost > 0);
        assert_eq!(source.records_lost(), lost);
        let counters = source.counters().expect("counters");
        let (made, full) = (counters.segments, counters.ring_full);
        assert_eq!(full.total(), lost);
        let came = segments(&inputs).len() as u64;
        assert_eq!(came + lost, made.total());
        assert_eq!(made.syn, 300, "the counters are exact whatever is lost");
        assert!(source.ring_peak_bytes() > source.ring_bytes() / 2);
    });
}

#[test]
fn a_forwarded_connection_is_two_sightings_of_unknown_senders() {
    let (client, router, server_ns) = (Netns::new(), Netns::new(), Netns::new());
    router.veth("rc", &client, "cr", 1);
    router.veth("rs", &server_ns, "sr", 2);
    router.enter(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")).expect("a sysctl of the namespace");
    client.ip(&["route", "add", "default", "via", "10.77.1.1"]);
    server_ns.ip(&["route", "add", "default", "via", "10.77.2.1"]);
    let (address, server) = serve_one(&server_ns);
    let address = SocketAddr::from((Ipv4Addr::new(10, 77, 2, 2), address.port()));
    let config =
        LiveConfig { interfaces: Selection::Named(vec!["rc".into(), "rs".into()]), ..LiveConfig::default() };
    within(&router, async || {
        let (mut source, _) = open(&config);
        talk_to_from(&client, address);
        server.join().expect("the server is done");
        let mut inputs = Vec::new();
        source.finish(&mut inputs).expect("it finishes");
        let segments = segments(&inputs);
        assert_eq!(segments.iter().filter(|s| s.flags == TcpFlags::SYN).count(), 2, "{segments:#?}");
        assert!(segments.iter().all(|s| s.sender == Sender::Unknown), "{segments:#?}");
        let on = |name: &str| {
            segments.iter().filter(|s| source.names().get(s.flow.interface).as_deref() == Some(name)).count()
        };
        assert_eq!(on("rc"), on("rs"));
    });
}

#[test]
fn without_capabilities_the_missing_ones_are_named() {
    let (here, _there) = pair();
    // The library probes the kernel once for the whole process; not in the thread that may do nothing.
    aya::features();
    let error = within(&here, async || {
        let mut sets = rustix::thread::capabilities(None).expect("its own");
        sets.effective = rustix::thread::CapabilitySet::empty();
        rustix::thread::set_capabilities(None, sets).expect("dropping is allowed");
        match LiveSource::open(&config("tt0")) {
            Ok(_) => panic!("it opened"),
            Err(error) => error.to_string(),
        }
    });
    for part in ["CAP_BPF (", "CAP_NET_ADMIN (", "CAP_PERFMON (", " missing; run it with sudo", "setcap"] {
        assert!(error.contains(part), "{part} is in {error}");
    }
}

fn talk_to_from(ns: &Netns, address: SocketAddr) {
    ns.enter(|| talk_to(address));
}

#[test]
fn a_connection_is_seen_through_tcx() {
    let tcx = LiveConfig { attach: AttachMode::Tcx, ..config("tt0") };
    if has_tcx() {
        return sees_a_connection(&tcx);
    }
    let (here, _there) = pair();
    let error = open_error(&here, &tcx);
    assert!(error.ends_with("this kernel has no TCX links (6.6 and newer have)"), "{error}");
    assert!(!here.tc(&["qdisc", "show", "dev", "tt0"]).contains("clsact"));
    // Without asking for them it goes on.
    sees_a_connection(&config("tt0"));
}

#[test]
fn a_connection_is_seen_through_clsact() {
    sees_a_connection(&clsact("tt0"));
}

#[test]
fn a_connection_is_seen_through_native_xdp_and_tc() {
    sees_a_connection(&xdp("tt0"));
}

#[test]
fn programs_are_gone_after_drop() {
    let (here, _there) = pair();
    within(&here, async || {
        let (source, _) = open(&config("tt0"));
        assert!(hooks::are(&here, "tt0", &["tcptrace_tc_ing"], &["tcptrace_tc_egr"]));
        assert_eq!(here.tc(&["qdisc", "show", "dev", "tt0"]).contains("clsact"), !has_tcx());
        drop(source);
    });
    eventually("no program is left", || hooks::are(&here, "tt0", &[], &[]));
    assert!(!here.tc(&["qdisc", "show", "dev", "tt0"]).contains("clsact"));
}

#[test]
fn two_traces_of_one_interface_run_beside_each_other() {
    let (here, there) = pair();
    within(&here, async || {
        let ((first, _), (mut second, _)) = (open(&config("tt0")), open(&config("tt0")));
        assert!(hooks::are(&here, "tt0", &["tcptrace_tc_ing"; 2], &["tcptrace_tc_egr"; 2]));
        drop(first);
        eventually("one is left", || hooks::are(&here, "tt0", &["tcptrace_tc_ing"], &["tcptrace_tc_egr"]));
        let (address, server) = serve_one(&there);
        talk_to(address);
        server.join().expect("the server is done");
        let inputs = read_until(&mut second, closed).await;
        assert!(segments(&inputs)[0].flags.syn());
    });
}

#[test]
fn xdp_is_native_on_veth_and_a_second_one_is_refused() {
    let (here, _there) = pair();
    within(&here, async || {
        let (source, notices) = open(&xdp("tt0"));
        assert_eq!(notices, []);
        assert!(programs_on(&here, "tt0").contains("driver"), "{}", programs_on(&here, "tt0"));
        let Err(LiveError::Attach(error)) = LiveSource::open(&xdp("tt0")) else {
            panic!("a second XDP program")
        };
        assert!(error.to_string().starts_with("an XDP program is already on tt0"), "{error}");
        assert!(error.to_string().contains("--ingress tc"), "{error}");
        drop(source);
    });
    eventually("no program is left", || !programs_on(&here, "tt0").contains("driver"));
}

#[test]
fn xdp_on_a_driver_without_it_is_generic_and_said() {
    let here = Netns::new();
    here.ip(&["link", "add", "br0", "type", "bridge"]);
    here.ip(&["link", "set", "br0", "up"]);
    within(&here, async || {
        let (_source, notices) = open(&xdp("br0"));
        assert!(matches!(&notices[..], [Notice::XdpGeneric { .. }]), "{notices:?}");
        assert!(programs_on(&here, "br0").contains("generic"));
    });
}

#[test]
fn xdp_on_loopback_falls_back_to_one_tc_hook() {
    let here = Netns::new();
    within(&here, async || {
        let (_source, notices) = open(&xdp("lo"));
        assert!(matches!(&notices[..], [Notice::XdpNotThere { .. }]), "{notices:?}");
        assert!(hooks::are(&here, "lo", &[], &["tcptrace_tc_egr"]));
    });
}

#[test]
fn a_device_without_ethernet_gets_the_programs_for_it() {
    let here = Netns::new();
    here.ip(&["tuntap", "add", "tun0", "mode", "tun"]);
    here.ip(&["link", "set", "tun0", "up"]);
    within(&here, async || {
        let (_source, notices) = open(&xdp("tun0"));
        assert!(matches!(&notices[..], [Notice::XdpNotThere { .. }]), "{notices:?}");
        for (side, name) in [
            (TcAttachType::Ingress, "tcptrace_tc_ingress_l3"),
            (TcAttachType::Egress, "tcptrace_tc_egress_l3"),
        ] {
            let id = hooks::ids(&here, "tun0", side)[0];
            let shown = here.run("bpftool", &["prog", "show", "id", &id.to_string()]);
            assert!(shown.contains(name), "{shown}");
        }
    });
}

#[test]
fn errors_name_the_interface_and_the_way_out() {
    let (here, _there) = pair();
    here.ip(&["link", "add", "down0", "type", "veth", "peer", "name", "down1"]);
    for (name, expected) in [
        ("tt9", "no such interface: tt9 (did you mean tt0?); tcptrace -D lists them"),
        ("down0", "interface down0 is down: ip link set down0 up"),
    ] {
        assert_eq!(open_error(&here, &config(name)), expected);
    }
    let error = open_error(&here, &LiveConfig::default());
    assert!(error.starts_with("no default route"), "{error}");
    here.ip(&["route", "add", "default", "via", "10.77.0.2"]);
    within(&here, async || drop(open(&LiveConfig::default())));
}

#[test]
fn any_picks_up_an_interface_that_comes_later() {
    let (here, there) = (Netns::new(), Netns::new());
    let any = LiveConfig { interfaces: Selection::Any, ..LiveConfig::default() };
    within(&here, async || {
        let (mut source, _) = open(&any);
        let mut inputs = Vec::new();
        here.veth("late0", &there, "late1", 0);
        let (address, server) = serve_one(&there);
        let reading = async {
            while hooks::ids(&here, "late0", TcAttachType::Egress).is_empty() {
                source.next_batch(&mut inputs).await.expect("input");
            }
        };
        tokio::time::timeout(DEADLINE, reading).await.expect("it is attached to");
        talk_to_from(&here, address);
        let inputs = read_until(&mut source, closed).await;
        server.join().expect("the server is done");
        let index = segments(&inputs)[0].flow.interface;
        assert_eq!(source.names().get(index).as_deref(), Some("late0"));
        here.rename("late0", "renamed0");
        eventually_async("the new name", &mut source, |s| {
            s.names().get(index).as_deref() == Some("renamed0")
        })
        .await;
        let renamed = Notice::Renamed { interface: "late0".into(), name: "renamed0".into() };
        assert_eq!(source.take_notices(), [renamed]);
        here.ip(&["link", "del", "renamed0"]);
        assert_eq!(source.names().get(index).as_deref(), Some("renamed0"), "a name outlives its interface");
        let mut inputs = Vec::new();
        let flow = source.next_batch(&mut inputs).await.expect("it goes on");
        assert_eq!((flow, source.take_notices()), (AfterBatch::More, vec![]));
    });
}

async fn eventually_async(what: &str, source: &mut LiveSource, holds: impl Fn(&LiveSource) -> bool) {
    let start = Instant::now();
    while !holds(source) {
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        source.next_batch(&mut Vec::new()).await.expect("input");
    }
}

#[test]
fn a_named_interface_that_vanishes_ends_the_trace() {
    let (here, _there) = pair();
    within(&here, async || {
        let (mut source, _) = open(&config("tt0"));
        here.ip(&["link", "del", "tt0"]);
        let mut inputs = Vec::new();
        let ending = async {
            while source.next_batch(&mut inputs).await.expect("it ends well") == AfterBatch::More {}
        };
        tokio::time::timeout(DEADLINE, ending).await.expect("it ends");
        assert_eq!(source.take_notices(), [Notice::Vanished { interface: "tt0".into() }]);
        assert!(matches!(inputs.last(), Some(Input::Tick(_))), "{inputs:?}");
    });
}

#[test]
fn an_idle_trace_ticks() {
    let (here, _there) = pair();
    within(&here, async || {
        let (mut source, _) = open(&config("tt0"));
        let inputs = read_until(&mut source, |inputs| inputs.len() >= 2).await;
        let ticks: Vec<_> =
            inputs.iter().filter_map(|i| if let Input::Tick(t) = i { Some(t) } else { None }).collect();
        assert_eq!(ticks.len(), inputs.len());
        assert!(ticks.is_sorted());
    });
}

/// A link ends with its process. A filter on clsact stays, as on any kernel before TCX, and it passes everything on.
#[test]
fn nothing_is_left_after_sigkill() {
    hold_if_told(&xdp("tt0"));
    let (here, _there) = pair();
    let child = Child::start("nothing_is_left_after_sigkill", &here);
    let shown = programs_on(&here, "tt0");
    assert!(shown.contains("driver"), "{shown}");
    assert!(hooks::are(&here, "tt0", &[], &["tcptrace_tc_egr"]));
    child.kill();
    let left: &[&str] = if has_tcx() { &[] } else { &["tcptrace_tc_egr"] };
    eventually("no link is left", || {
        hooks::are(&here, "tt0", &[], left) && !programs_on(&here, "tt0").contains("driver")
    });
}

/// A test again, as a process that holds a trace until it is killed, told by the environment where to.
struct Child(process::Child);

const HOLD: &str = "TCPTRACE_TEST_HOLD";

impl Child {
    /// Starts the test of this name, which is to call [`hold_if_told`] first, and waits until it has attached.
    fn start(test: &str, ns: &Netns) -> Self {
        let mut child = Self::spawn(test, ns);
        // By reference: the pipe stays open, for the harness in the child ends it where nobody reads what it says later.
        let lines = BufReader::new(child.0.stdout.as_mut().expect("piped")).lines();
        let ready = lines.map_while(Result::ok).any(|line| line.contains("attached"));
        assert!(ready, "the child attaches");
        child
    }

    /// Starts it, and waits for nothing.
    fn spawn(test: &str, ns: &Netns) -> Self {
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", test, "--nocapture"])
            .env(HOLD, ns.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        Self(child)
    }

    /// With SIGKILL, and waits for its end.
    fn kill(mut self) {
        self.0.kill().expect("it is there");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It has ended, unless a test has failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hold_if_told(config: &LiveConfig) {
    let Ok(path) = std::env::var(HOLD) else { return };
    netns::enter_path(&path);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let _held = open(config);
        writeln!(std::io::stdout(), "attached").expect("the parent reads");
        // The parent kills this process; if it dies first, its end of the pipe is closed.
        let _ = std::io::stdin().read(&mut [0]);
        panic!("nobody killed this process")
    });
}
