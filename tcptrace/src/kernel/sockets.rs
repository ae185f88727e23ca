//! The TCP sockets of a network namespace (`sock_diag(7)`), and the processes that have them open.

use super::calls::{
    netlink::{Message, Socket, u32_at},
    proc::numbers,
};
use std::{collections::HashMap, fs, io, os::unix::ffi::OsStrExt as _};

/// The request, and each of its answers (`linux/sock_diag.h`).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Octets of `inet_diag_msg` (`linux/inet_diag.h`).
const ANSWER: usize = 72;
/// States of sockets as bits (`net/tcp_states.h`).
const LISTEN: u32 = 1 << 10;
/// All states but those without a socket of a process: TIME-WAIT, CLOSE and the requests for a connection.
const IN_USE: u32 = !(1 << 6 | 1 << 7 | 1 << 12);
/// The protocol and the families (`linux/in.h`, `linux/socket.h`).
const TCP: u8 = 6;
const FAMILIES: [u8; 2] = [2, 10];

/// A TCP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TcpSocket {
    /// The number of the socket, as the kernel programs know it (`bpf_get_socket_cookie`).
    pub(crate) cookie: u64,
    /// The number of its inode, by which `/proc` names it; 0 if no process has it.
    pub(crate) inode: u32,
    /// Its own address and port. IPv4 is mapped into IPv6; all zero stands for any address.
    pub(crate) local: ([u8; 16], u16),
    /// Whether it is of IPv4, whose "any address" is that of IPv4 alone.
    pub(crate) ipv4: bool,
    /// Whether it listens.
    pub(crate) listens: bool,
    /// How many connections wait in the accept queue of a socket that listens, and how many may wait there. The queue is full
    /// when there is one more (`linux/net/sock.h`, `sk_acceptq_is_full`).
    pub(crate) queue: (u32, u32),
}

/// The sockets of this thread's network namespace that processes use.
pub(crate) fn in_use() -> io::Result<Vec<TcpSocket>> {
    dump(IN_USE)
}

/// The sockets of this thread's network namespace that listen.
pub(crate) fn listeners() -> io::Result<Vec<TcpSocket>> {
    dump(LISTEN)
}

fn dump(states: u32) -> io::Result<Vec<TcpSocket>> {
    let socket = Socket::diagnostics()?;
    let mut all = Vec::new();
    for family in FAMILIES {
        let mut request = vec![family, TCP, 0, 0];
        request.extend(states.to_ne_bytes());
        // Any addresses, ports, device and number.
        request.resize(56, 0);
        all.extend(socket.dump(SOCK_DIAG_BY_FAMILY, &request)?.iter().filter_map(of_message));
    }
    Ok(all)
}

fn of_message(message: &Message) -> Option<TcpSocket> {
    let answer = message.fixed(ANSWER).filter(|_| message.kind == SOCK_DIAG_BY_FAMILY)?;
    let ipv4 = answer[0] == FAMILIES[0];
    let port = u16::from_be_bytes([answer[4], answer[5]]);
    let source: [u8; 16] = answer[8..24].try_into().ok()?;
    let address = if ipv4 { mapped([source[0], source[1], source[2], source[3]]) } else { source };
    let cookie = u64::from(u32_at(answer, 44)?) | u64::from(u32_at(answer, 48)?) << 32;
    Some(TcpSocket {
        cookie,
        inode: u32_at(answer, 68)?,
        local: (address, port),
        ipv4,
        listens: 1_u32.checked_shl(answer[1].into()) == Some(LISTEN),
        queue: (u32_at(answer, 56)?, u32_at(answer, 60)?),
    })
}

fn mapped(address: [u8; 4]) -> [u8; 16] {
    std::net::Ipv4Addr::from(address).to_ipv6_mapped().octets()
}

impl TcpSocket {
    /// Whether the socket listens for connections to this address and port. One for any address of IPv6 may take those of IPv4
    /// too, which nothing here tells (`IPV6_V6ONLY`).
    pub(crate) fn listens_for(&self, (address, port): ([u8; 16], u16)) -> bool {
        let (own, own_port) = self.local;
        let any = if self.ipv4 {
            own == mapped([0; 4]) && address.starts_with(&mapped([0; 4])[..12])
        } else {
            own == [0; 16]
        };
        self.listens && own_port == port && (own == address || any)
    }
}

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The number of the process.
    pub(crate) pid: u32,
    /// The name of its first thread, ended by a zero byte.
    pub(crate) comm: [u8; 16],
}

/// The processes that have sockets open, by the sockets' inodes, as far as this process may look. A socket that several
/// processes have is left out: which of them uses it is not known.
pub(crate) fn holders() -> HashMap<u32, Holder> {
    let mut found: HashMap<u32, Option<Holder>> = HashMap::new();
    for pid in numbers("/proc") {
        // A process that is gone by now, or that may not be looked at, has nothing to tell.
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            let Some(inode) = fs::read_link(entry.path())
                .ok()
                .and_then(|target| socket_inode(target.as_os_str().as_bytes()))
            else {
                continue;
            };
            let known = found.entry(inode).or_insert_with(|| Some(Holder { pid, comm: comm(pid) }));
            if known.as_ref().is_some_and(|holder| holder.pid != pid) {
                *known = None;
            }
        }
    }
    found.into_iter().filter_map(|(inode, holder)| Some((inode, holder?))).collect()
}

/// The inode in `socket:[1234]`, which is where the link of a socket's descriptor points to.
fn socket_inode(target: &[u8]) -> Option<u32> {
    std::str::from_utf8(target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?).ok()?.parse().ok()
}

fn comm(pid: u32) -> [u8; 16] {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    let mut comm = [0; 16];
    let len = name.len().min(15);
    comm[..len].copy_from_slice(&name[..len]);
    comm
}

#[cfg(test)]
mod tests {
    use super::{holders, in_use, listeners, socket_inode};
    use std::{
        fs,
        net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
        process,
    };

    fn inode_of(descriptor: &impl std::os::fd::AsRawFd) -> u32 {
        let link = fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd())).expect("open");
        socket_inode(link.as_os_str().as_encoded_bytes()).expect("a socket")
    }

    fn end(address: SocketAddr) -> ([u8; 16], u16) {
        (crate::segment::mapped(address.ip()), address.port())
    }

    #[test]
    fn own_sockets_are_there_with_their_process() {
        for (bind, address) in
            [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "::1")]
        {
            let listener = TcpListener::bind(bind).expect("loopback");
            let port = listener.local_addr().expect("bound").port();
            let to = SocketAddr::new(address.parse().expect("an address"), port);
            let waiting = TcpStream::connect(to).expect("listens");
            let found = listeners().expect("sock_diag");
            let it = found.iter().find(|it| it.listens_for(end(to))).expect("it listens");
            assert_eq!((it.inode, it.queue.0, it.listens), (inode_of(&listener), 1, true), "{bind}");
            assert!(
                it.queue.1 >= 1
                    && !it.listens_for(end(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port ^ 1)))
            );
            let all = in_use().expect("sock_diag");
            let client = all.iter().find(|it| it.inode == inode_of(&waiting)).expect("it is in use");
            assert!(!client.listens && client.cookie != it.cookie);
            assert_eq!(client.local, end(waiting.local_addr().expect("bound")));
            let holders = holders();
            assert_eq!(holders.get(&client.inode).map(|it| it.pid), Some(process::id()));
        }
    }

    #[test]
    fn only_links_of_sockets_name_inodes() {
        assert_eq!(socket_inode(b"socket:[17]"), Some(17));
        for other in [&b"pipe:[17]"[..], b"socket:[]", b"socket:[x]", b"/dev/null", b"socket:[17"] {
            assert_eq!(socket_inode(other), None);
        }
    }
}
