//! Two hosts on a cable: a pair of network namespaces with a veth pair between them.

use crate::netns::{Netns, has_tcx};
use aya::programs::{SchedClassifier, TcAttachType};
use std::{
    fmt, fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

/// Nothing that a test waits for takes longer, unless something is broken; a busy machine runs a tracer that was built
/// for debugging at a fraction of its speed.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// One connection that was driven (or tried).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    pub client: SocketAddr,
    pub server: SocketAddr,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}", self.client, self.server)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// One namespace with one interface that matters.
pub struct Host {
    pub ns: Netns,
    pub dev: &'static str,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl Host {
    pub fn ip(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }

    /// A host of one IPv4 address.
    pub fn new(ns: Netns, dev: &'static str, v4: Ipv4Addr) -> Self {
        Self { ns, dev, v4, v6: v4.to_ipv6_mapped() }
    }

    /// A host that talks to itself.
    pub fn alone() -> Self {
        Self { ns: Netns::new(), dev: "lo", v4: Ipv4Addr::LOCALHOST, v6: Ipv6Addr::LOCALHOST }
    }

    /// Another IPv4 address of this host, beside its own.
    pub fn add_address(&self, nth: u8) -> IpAddr {
        let [a, b, c, _] = self.v4.octets();
        let address = Ipv4Addr::new(a, b, c, 100 + nth);
        self.ns.ip(&["addr", "add", &format!("{address}/24"), "dev", self.dev]);
        address.into()
    }

    /// Loads rules for `nft` here.
    pub fn filter(&self, rules: &str) {
        self.ns.enter(|| {
            let mut nft = Command::new("nft")
                .args(["-f", "-"])
                .stdin(Stdio::piped())
                .spawn()
                .unwrap_or_else(|error| panic!("cannot run nft: {error}"));
            nft.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("nft reads");
            assert!(nft.wait().expect("it ends").success(), "nft took no offence at:\n{rules}");
        });
    }

    /// The programs on the interface: see [`programs_on`].
    pub fn programs(&self) -> Vec<String> {
        self.programs_on(self.dev)
    }

    /// The same of another interface here.
    pub fn programs_on(&self, dev: &str) -> Vec<String> {
        programs_on(&self.ns, dev)
    }

    /// Waits until the programs are on an interface here, also the one for what goes out, which comes last.
    pub fn wait_until_attached_to(&self, dev: &str) {
        eventually(&format!("the programs are on {dev}"), || {
            let programs = self.programs_on(dev);
            if programs.iter().any(|it| it.contains("egress")) { Ok(()) } else { Err(programs.join(", ")) }
        });
    }

    /// Fails if the kernel still holds anything of a tracer's on the interface, some time after it ended.
    pub fn assert_nothing_attached(&self) {
        eventually(&format!("nothing is attached to {}", self.dev), || {
            let programs = self.programs();
            if programs.is_empty() { Ok(()) } else { Err(programs.join(", ")) }
        });
    }
}

/// Fails if a tracer that was killed left anything on the interface. Links end with it; before 6.6 there are none for TC, and
/// what is on clsact stays.
pub fn assert_no_link_is_left(ns: &Netns, dev: &str) {
    let all_are_links = has_tcx();
    eventually(&format!("nothing is attached to {dev}"), || {
        let mut programs = programs_on(ns, dev);
        programs.retain(|it| all_are_links || !it.contains("clsact"));
        if programs.is_empty() { Ok(()) } else { Err(programs.join(", ")) }
    });
}

/// Two hosts, `a` and `b`, on networks that no other test uses: the kernel's tracepoints do not say which namespace
/// a socket is in, so the addresses must.
pub struct Lab {
    pub a: Host,
    pub b: Host,
    /// Told apart by it.
    net: u8,
}

impl Lab {
    pub fn new() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let [pid_high, pid_low] = u16::try_from(process::id() & 0xffff).expect("masked").to_be_bytes();
        // 10.128.0.0/9 leaves 10.77.0.0/24 and its like alone.
        let [.., low] = n.to_be_bytes();
        let v4 = |host| Ipv4Addr::new(10, 128 | pid_high, pid_low ^ low.rotate_left(4), host);
        let v6 = |host| Ipv6Addr::new(0xfd77, u16::from_be_bytes([pid_high, pid_low]), n, 0, 0, 0, 0, host);
        let lab = Self {
            a: Host { ns: Netns::new(), dev: "tt0", v4: v4(1), v6: v6(1) },
            b: Host { ns: Netns::new(), dev: "tt1", v4: v4(2), v6: v6(2) },
            net: low,
        };
        lab.lay_cable();
        for host in [&lab.a, &lab.b] {
            // /proc/sys/net is that of the thread's namespace.
            let range = "/proc/sys/net/ipv4/ip_local_port_range";
            host.ns.enter(|| fs::write(range, "1024 19999").expect("root may set it"));
        }
        lab
    }

    /// Makes the two interfaces, up and with their addresses. Not there, or not there any more.
    pub fn lay_cable(&self) {
        self.a.ns.veth(self.a.dev, &self.b.ns, self.b.dev, self.net);
        for host in [&self.a, &self.b] {
            host.ns.ip(&["addr", "add", &format!("{}/24", host.v4), "dev", host.dev]);
            host.ns.ip(&["addr", "add", &format!("{}/64", host.v6), "dev", host.dev, "nodad"]);
        }
    }
}

/// Two hosts with a router between them.
pub struct Routed {
    pub client: Host,
    pub server: Host,
    /// Its device towards the client is named here, with the address that its ICMP errors come from.
    pub router: Host,
}

impl Routed {
    pub fn new() -> Self {
        let v4 = |net, host| Ipv4Addr::new(10, 126, net, host);
        let v6 = |net, host| Ipv6Addr::new(0xfd76, 0, 0, net, 0, 0, 0, host);
        let host = |dev, net: u8, n: u8| Host {
            ns: Netns::new(),
            dev,
            v4: v4(net, n),
            v6: v6(net.into(), n.into()),
        };
        let lab = Self { client: host("tt0", 1, 1), router: host("tt1", 1, 254), server: host("tt3", 2, 1) };
        let set = |host: &Host, setting: &str, value: &str| {
            let path = format!("/proc/sys/net/{setting}");
            host.ns.enter(|| fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}")));
        };
        for host in [&lab.client, &lab.router, &lab.server] {
            // Neighbours are asked for from link-local addresses, which would have to prove unique for a second.
            set(host, "ipv6/conf/default/accept_dad", "0");
        }
        lab.client.ns.veth(lab.client.dev, &lab.router.ns, lab.router.dev, 1);
        lab.server.ns.veth(lab.server.dev, &lab.router.ns, "tt2", 2);
        for (host, dev, net, n) in [
            (&lab.client, lab.client.dev, 1, 1),
            (&lab.router, lab.router.dev, 1, 254),
            (&lab.router, "tt2", 2, 254),
            (&lab.server, lab.server.dev, 2, 1),
        ] {
            host.ns.ip(&["addr", "add", &format!("{}/24", v4(net, n)), "dev", dev]);
            host.ns.ip(&["addr", "add", &format!("{}/64", v6(net.into(), n.into())), "dev", dev, "nodad"]);
        }
        for (host, net) in [(&lab.client, 1), (&lab.server, 2)] {
            host.ns.ip(&["route", "add", "default", "via", &v4(net, 254).to_string()]);
            host.ns.ip(&["-6", "route", "add", "default", "via", &v6(net.into(), 254).to_string()]);
        }
        // A router, and one that answers each time.
        for (setting, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv4/icmp_ratelimit", "0"),
            ("ipv6/icmp/ratelimit", "0"),
        ] {
            set(&lab.router, setting, value);
        }
        lab
    }
}

/// The programs on an interface, with the hook of each: `driver tcptrace_xdp`, `tcx/egress ...`. Every hook is looked
/// at, and by more than one tool where one does not know them all: not every bpftool knows TCX.
pub fn programs_on(ns: &Netns, dev: &str) -> Vec<String> {
    let mut programs = Vec::new();
    ns.enter(|| {
        for (hook, attach) in [("ingress", TcAttachType::Ingress), ("egress", TcAttachType::Egress)] {
            // Kernels before 6.6 have no TCX, so nothing is there.
            let (_, tcx) = SchedClassifier::query_tcx(dev, attach).unwrap_or_default();
            programs.extend(tcx.iter().map(|it| format!("tcx/{hook} {}", it.name_as_str().unwrap_or("?"))));
        }
    });
    let shown = ns.run("bpftool", &["net", "show", "dev", dev]);
    let of_others = shown.lines().filter(|line| line.contains(" id ") && !line.contains("tcx/"));
    programs.extend(of_others.map(str::to_owned));
    let qdiscs = ns.tc(&["qdisc", "show", "dev", dev]);
    programs.extend(qdiscs.lines().filter(|line| line.contains("clsact")).map(str::to_owned));
    programs
}

/// Waits until `holds`; panics with what it last said if it does not.
pub fn eventually(what: &str, mut holds: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while let Err(now) = holds() {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}; but: {now}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `look` at each, a few at a time, as on a slow machine the verifier takes long; None where it panicked.
pub fn a_few_at_a_time<T: Sync, R: Send>(
    all: &[T],
    few: usize,
    look: impl Fn(&T) -> R + Sync,
) -> Vec<Option<R>> {
    let look = &look;
    let some = all.chunks(few).flat_map(|some| {
        std::thread::scope(|scope| {
            let running: Vec<_> = some.iter().map(|it| scope.spawn(move || look(it))).collect();
            running.into_iter().map(|it| it.join().ok()).collect::<Vec<_>>()
        })
    });
    some.collect()
}
