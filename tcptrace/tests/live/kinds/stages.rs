//! The stage for each kind of interface: namespaces, devices, and where to look.

use crate::{lab::Host, netns::Netns, traffic::Kind};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::{
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Where a tracer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Client,
    Between,
}

/// An interface that is traced, and what is to be seen there.
pub(super) struct Look {
    pub(super) place: Place,
    pub(super) dev: &'static str,
    pub(super) vantage: &'static str,
    /// The connection has to show. Under a tunnel it may.
    pub(super) shows: bool,
}

impl Look {
    const fn client(dev: &'static str) -> Self {
        Self { place: Place::Client, dev, vantage: "client", shows: true }
    }

    const fn between(dev: &'static str, vantage: &'static str) -> Self {
        Self { place: Place::Between, dev, vantage, shows: true }
    }
}

/// Two hosts and what lies between them.
pub(super) struct Stage {
    pub(super) client: Host,
    /// None: the client talks to itself.
    pub(super) server: Option<Host>,
    between: Option<Host>,
    pub(super) looks: Vec<Look>,
    pub(super) traffic: Kind,
    _relays: Vec<Relay>,
}

impl Stage {
    fn new(client: Host, server: Host, looks: Vec<Look>) -> Self {
        let (server, between) = (Some(server), None);
        Self { client, server, between, looks, traffic: Kind::ClientCloses, _relays: Vec::new() }
    }

    pub(super) fn host(&self, place: Place) -> &Host {
        match place {
            Place::Client => &self.client,
            Place::Between => self.between.as_ref().expect("a look there has a host there"),
        }
    }
}

type Build = fn() -> Result<Stage, String>;

pub(super) const KINDS: [(&str, Build); 19] = [
    ("lo", || Ok(loopback())),
    ("veth", || Ok(veth())),
    ("bridge, of the host", bridge),
    ("bridge, between hosts", bridged),
    ("bond", || over_both("x0 type bond mode active-backup", 3)),
    ("VLAN", || over_both("link v0 name x0 type vlan id 10", 4)),
    ("VXLAN", || tunnel("vxlan id 5 dstport 4789", 7)),
    ("GENEVE", || tunnel("geneve id 5", 8)),
    ("gretap", || tunnel("gretap", 9)),
    ("macvlan", || on_top("macvlan mode bridge", 10)),
    ("ipvlan", || on_top("ipvlan mode l2", 11)),
    ("tun (IP)", || tuntap("tun", 12)),
    ("tap", || tuntap("tap", 13)),
    ("ipip (IP)", || tunnel("ipip", 14)),
    ("sit (IP)", || tunnel("sit mode any", 15)),
    ("gre (IP)", || tunnel("gre", 16)),
    ("WireGuard (IP)", wireguard),
    ("dummy", || nowhere("dummy", 17)),
    ("ifb", || nowhere("ifb", 18)),
];

/// Words for `ip` in a namespace.
fn ip(ns: &Netns, words: &str) {
    ns.ip(&words.split(' ').collect::<Vec<_>>());
}

/// Makes a device; the error is for a kernel that has no such kind.
fn add(ns: &Netns, words: &str) -> Result<(), String> {
    let path = ns.path();
    let name = path.rsplit('/').next().expect("a path");
    let mut command = Command::new("ip");
    command.args(["-n", name, "link", "add"]).args(words.split(' '));
    let output = command.output().unwrap_or_else(|error| panic!("cannot run ip: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    // net/core/rtnetlink.c, rtnl_newlink; without its words it is EOPNOTSUPP.
    if said.contains("Unknown device type") || said.contains("Operation not supported") {
        return Err("this kernel has no such device".to_owned());
    }
    assert!(output.status.success(), "ip link add {words}: {said}");
    Ok(())
}

fn address(net: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, net, host)
}

/// The device is up and has the address that the traffic is for.
fn host(ns: Netns, dev: &'static str, net: u8, n: u8) -> Host {
    let address = address(net, n);
    ip(&ns, &format!("addr add {address}/24 dev {dev}"));
    ip(&ns, &format!("link set {dev} up"));
    Host::new(ns, dev, address)
}

/// Two namespaces with a cable: `v0` in the first and `v0` in the second. Its own addresses are for tunnels.
fn cable(net: u8) -> (Netns, Netns) {
    let (a, b) = (Netns::new(), Netns::new());
    a.veth("v0", &b, "v0", net);
    (a, b)
}

fn loopback() -> Stage {
    let looks = vec![Look { place: Place::Client, dev: "lo", vantage: "middle", shows: true }];
    Stage {
        client: Host::alone(),
        server: None,
        between: None,
        looks,
        traffic: Kind::ClientCloses,
        _relays: Vec::new(),
    }
}

pub(super) fn veth() -> Stage {
    let (a, b) = cable(0);
    Stage::new(host(a, "v0", 0, 1), host(b, "v0", 0, 2), vec![Look::client("v0")])
}

/// The client's address is on a bridge, whose port leads to the server.
pub(super) fn bridge() -> Result<Stage, String> {
    let (a, b) = cable(1);
    add(&a, "br0 type bridge")?;
    ip(&a, "link set v0 master br0");
    Ok(Stage::new(host(a, "br0", 1, 1), host(b, "v0", 1, 2), vec![Look::client("br0"), Look::client("v0")]))
}

/// A bridge that no address is on, with a port to each of the two.
fn bridged() -> Result<Stage, String> {
    let (a, between) = cable(2);
    let b = Netns::new();
    add(&between, "br0 type bridge")?;
    between.veth("v1", &b, "v0", 202);
    for port in ["v0", "v1"] {
        ip(&between, &format!("link set {port} master br0"));
    }
    ip(&between, "link set br0 up");
    let between = Host::new(between, "br0", address(2, 3));
    let looks = vec![Look::between("v0", "middle"), Look::between("v1", "middle")];
    Ok(Stage { between: Some(between), ..Stage::new(host(a, "v0", 2, 1), host(b, "v0", 2, 2), looks) })
}

/// The same device over each end of the cable, which shows the same: as a port, or by itself.
fn over_both(words: &str, net: u8) -> Result<Stage, String> {
    let (a, b) = cable(net);
    for ns in [&a, &b] {
        add(ns, words)?;
        if words.contains("bond") {
            // A port has to be down when it becomes one.
            for words in ["link set v0 down", "link set v0 master x0", "link set v0 up"] {
                ip(ns, words);
            }
        }
    }
    let looks = vec![Look::client("x0"), Look::client("v0")];
    Ok(Stage::new(host(a, "x0", net, 1), host(b, "x0", net, 2), looks))
}

/// A tunnel over the cable, from address to address.
pub(super) fn tunnel(kind: &str, net: u8) -> Result<Stage, String> {
    let (a, b) = cable(net);
    for (ns, near, far) in [(&a, 1, 2), (&b, 2, 1)] {
        let local =
            if kind.starts_with("geneve") { String::new() } else { format!(" local 10.77.{net}.{near}") };
        add(ns, &format!("x0 type {kind}{local} remote 10.77.{net}.{far}"))?;
    }
    let below = Look { shows: false, ..Look::client("v0") };
    Ok(Stage::new(host(a, "x0", net, 1), host(b, "x0", net, 2), vec![Look::client("x0"), below]))
}

/// A device on top of one end of the cable, in a namespace of its own as containers have it.
fn on_top(kind: &str, net: u8) -> Result<Stage, String> {
    let (between, b) = cable(net);
    let a = Netns::new();
    let path = a.path();
    let name = path.rsplit('/').next().expect("a path");
    add(&between, &format!("link v0 name x0 netns {name} type {kind}"))?;
    let between = Host::new(between, "v0", address(net, 3));
    let looks = vec![Look::client("x0"), Look::between("v0", "client")];
    Ok(Stage { between: Some(between), ..Stage::new(host(a, "x0", net, 1), host(b, "v0", net, 2), looks) })
}

fn wireguard() -> Result<Stage, String> {
    add(&Netns::new(), "x0 type wireguard")?;
    Err("its keys are set with wg(8), which tests do not ask for; it takes the same programs as tun"
        .to_owned())
}

/// What goes in there comes out nowhere.
fn nowhere(kind: &str, net: u8) -> Result<Stage, String> {
    let (a, b) = cable(net);
    add(&a, &format!("x0 type {kind}"))?;
    let client = host(a, "x0", net, 1);
    // Without this the first would wait for a neighbour.
    ip(&client.ns, &format!("neigh add {} lladdr 02:00:00:00:00:02 dev x0", address(net, 2)));
    let looks = vec![Look::client("x0")];
    Ok(Stage { traffic: Kind::Unanswered, ..Stage::new(client, host(b, "v0", net, 2), looks) })
}

/// One of the two processes that carry packets between two tun or tap devices.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        // It is ours, and has nothing to say.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// From the device to stdout and from stdin to the device, a packet each. In perl, which every Debian has, because
/// the call that attaches to a device cannot be made from safe Rust. TUNSETIFF takes the name and the flags
/// (`linux/if_tun.h`).
const RELAY: &str = r#"
    my ($name, $flags) = @ARGV;
    open(my $tun, "+<", "/dev/net/tun") or die "/dev/net/tun: $!";
    ioctl($tun, 0x400454ca, pack("a16 S x22", $name, $flags)) or die "TUNSETIFF: $!";
    my $watched = "";
    vec($watched, fileno($_), 1) = 1 for ($tun, *STDIN);
    while (select(my $ready = $watched, undef, undef, undef) > 0) {
        for ([$tun, *STDOUT], [*STDIN, $tun]) {
            my ($from, $to) = @$_;
            next unless vec($ready, fileno($from), 1);
            sysread($from, my $packet, 65536) or exit;
            syswrite($to, $packet);
        }
    }
"#;

fn tuntap(mode: &str, net: u8) -> Result<Stage, String> {
    // IFF_TUN or IFF_TAP, and IFF_NO_PI.
    let flags = if mode == "tun" { 0x1001_u16 } else { 0x1002 };
    if !Path::new("/dev/net/tun").exists() {
        return Err("this kernel has no such device".to_owned());
    }
    let (a, b) = (Netns::new(), Netns::new());
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .expect("a pair of sockets");
    let mut relays = Vec::new();
    for (ns, end) in [(&a, near), (&b, far)] {
        ip(ns, &format!("tuntap add x0 mode {mode}"));
        let (input, output) = (Stdio::from(end.try_clone().expect("a descriptor")), Stdio::from(end));
        let mut relay = Command::new("perl");
        relay.args(["-e", RELAY, "x0", &flags.to_string()]).stdin(input).stdout(output);
        relays.push(Relay(ns.enter(|| relay.spawn().expect("perl is there"))));
    }
    let stage = Stage::new(host(a, "x0", net, 1), host(b, "x0", net, 2), vec![Look::client("x0")]);
    Ok(Stage { _relays: relays, ..stage })
}
