//! TCP segments made and read by hand, and a packet socket to send and receive them.

use crate::lab::{DEADLINE, Host};
use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, bind, socket},
};
use rustix::{
    io::retry_on_intr,
    net::{
        RecvFlags, SendFlags, recv, send,
        sockopt::{Timeout, set_socket_timeout},
    },
};
use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

// From <linux/tcp.h>, as on the wire.
pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: usize = 20;
/// Of the IP header.
const PROTOCOL_TCP: u8 = 6;

/// One segment, in an IP packet without extras.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Segment {
    pub(crate) fn frame(&self, from: [u8; 6], to: [u8; 6]) -> Vec<u8> {
        let tcp = self.tcp();
        let length = be16(tcp.len());
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let total = be16(IPV4 + tcp.len());
                let mut ip = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, PROTOCOL_TCP, 0, 0];
                ip.extend(src.octets());
                ip.extend(dst.octets());
                let sum = checksum(&ip);
                ip[10..12].copy_from_slice(&sum);
                [&to[..], &from, &[0x08, 0x00], &ip, &tcp].concat()
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let mut ip = vec![0x60, 0, 0, 0, length[0], length[1], PROTOCOL_TCP, 64];
                ip.extend(src.octets());
                ip.extend(dst.octets());
                [&to[..], &from, &[0x86, 0xdd], &ip, &tcp].concat()
            }
            mixed => panic!("two families: {mixed:?}"),
        }
    }

    fn tcp(&self) -> Vec<u8> {
        let header = u8::try_from(TCP + self.options.len()).expect("it fits a header");
        let mut tcp = [self.from.port().to_be_bytes(), self.to.port().to_be_bytes()].concat();
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.extend([header << 2, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(&self.options);
        tcp.extend(&self.payload);
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let length = be16(tcp.len());
        let (src, dst) = (octets(self.from.ip()), octets(self.to.ip()));
        // Both families' pseudo headers, but for zeros, which add nothing.
        let pseudo = [&src[..], &dst, &[0, PROTOCOL_TCP], &length].concat();
        let sum = checksum(&[&pseudo[..], &tcp].concat());
        tcp[16..18].copy_from_slice(&sum);
        tcp
    }

    /// What a frame carries, if that is TCP.
    fn read(frame: &[u8]) -> Option<Self> {
        let ip = frame.get(ETHERNET..)?;
        let (protocol, start, end, addresses): (_, _, _, [IpAddr; 2]) = match frame.get(12..ETHERNET)? {
            [0x08, 0x00] => {
                let at = |n: usize| Some(IpAddr::from(<[u8; 4]>::try_from(ip.get(n..n + 4)?).ok()?));
                let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
                (*ip.get(9)?, usize::from(ip.first()? & 0xf) * 4, total, [at(12)?, at(16)?])
            }
            [0x86, 0xdd] => {
                let at = |n: usize| Some(IpAddr::from(<[u8; 16]>::try_from(ip.get(n..n + 16)?).ok()?));
                let length = usize::from(u16::from_be_bytes([*ip.get(4)?, *ip.get(5)?]));
                (*ip.get(6)?, IPV6, IPV6 + length, [at(8)?, at(24)?])
            }
            _ => return None,
        };
        let tcp = (protocol == PROTOCOL_TCP).then(|| ip.get(start..end)).flatten()?;
        let half = |n: usize| Some(u16::from_be_bytes([*tcp.get(n)?, *tcp.get(n + 1)?]));
        let word = |n: usize| Some(u32::from(half(n)?) << 16 | u32::from(half(n + 2)?));
        let data = usize::from(tcp.get(12)? >> 4) * 4;
        Some(Self {
            from: SocketAddr::new(addresses[0], half(0)?),
            to: SocketAddr::new(addresses[1], half(2)?),
            flags: *tcp.get(13)?,
            seq: word(4)?,
            ack: word(8)?,
            window: half(14)?,
            options: tcp.get(TCP..data)?.to_vec(),
            payload: tcp.get(data..)?.to_vec(),
        })
    }
}

fn be16(n: usize) -> [u8; 2] {
    u16::try_from(n).expect("it fits a packet").to_be_bytes()
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words =
        bytes.chunks(2).map(|pair| u32::from_be_bytes([0, 0, pair[0], pair.get(1).copied().unwrap_or(0)]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!u16::try_from(folded & 0xffff).expect("masked")).to_be_bytes()
}

/// A packet socket on a host's interface.
pub(crate) struct Wire {
    socket: OwnedFd,
    pub(crate) mac: [u8; 6],
}

impl Wire {
    pub(crate) fn of(host: &Host) -> Self {
        host.ns.enter(|| {
            let address = getifaddrs()
                .expect("interfaces are listed")
                .filter(|it| it.interface_name == host.dev)
                .find_map(|it| it.address?.as_link_addr().copied())
                .expect("veth has a link-layer address");
            let every = SockProtocol::EthAll;
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, every)
                .expect("root may open a packet socket");
            bind(socket.as_raw_fd(), &address).expect("it is there");
            set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(100))).expect("a socket");
            Self { socket, mac: address.addr().expect("Ethernet has one") }
        })
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        assert_eq!(send(&self.socket, frame, SendFlags::empty()), Ok(frame.len()));
    }

    /// The next segment that passes here and is such; others are let pass.
    pub(crate) fn receive(&self, what: &str, is_such: impl Fn(&Segment) -> bool) -> Segment {
        let start = Instant::now();
        let mut frame = vec![0; 70_000];
        let mut others = Vec::new();
        while start.elapsed() < DEADLINE {
            let Ok((n, _)) = retry_on_intr(|| recv(&self.socket, &mut frame[..], RecvFlags::empty())) else {
                continue;
            };
            match Segment::read(&frame[..n]) {
                Some(segment) if is_such(&segment) => return segment,
                other => others.extend(other),
            }
        }
        panic!("not within {DEADLINE:?}: {what}; but {others:#?}");
    }
}
