//! The few rtnetlink messages that the tracer needs: links, addresses, routes, numbers of namespaces, and the clsact
//! qdisc with its filters.
//!
//! A full message crate decodes every attribute, and can reject those of kernels to come. Here a few messages with a
//! handful of attributes are enough, and whatever else the kernel sends is skipped.

use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recv, send,
        socket_with,
    },
};
use std::io;

/// Message types (`linux/rtnetlink.h`).
pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
pub(crate) const RTM_GETLINK: u16 = 18;
pub(crate) const RTM_NEWADDR: u16 = 20;
pub(crate) const RTM_DELADDR: u16 = 21;
pub(crate) const RTM_GETADDR: u16 = 22;
pub(crate) const RTM_NEWROUTE: u16 = 24;
pub(crate) const RTM_GETROUTE: u16 = 26;
pub(crate) const RTM_NEWQDISC: u16 = 36;
pub(crate) const RTM_DELQDISC: u16 = 37;
pub(crate) const RTM_GETQDISC: u16 = 38;
pub(crate) const RTM_NEWTFILTER: u16 = 44;
pub(crate) const RTM_DELTFILTER: u16 = 45;
pub(crate) const RTM_GETTFILTER: u16 = 46;
pub(crate) const RTM_NEWNSID: u16 = 88;
pub(crate) const RTM_DELNSID: u16 = 89;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_ECHO: u16 = 0x8;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

/// Multicast groups of links, IPv4 and IPv6 addresses (`linux/rtnetlink.h`).
const RTMGRP_LINK: u32 = 0x1;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;
/// The multicast group of numbers of network namespaces, which is `RTNLGRP_NSID` (28) as a bit.
const RTMGRP_NSID: u32 = 1 << 27;

/// The multicast groups by which interfaces are followed.
const CHANGES: u32 = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;

/// Octets of `nlmsghdr`.
const HEADER: usize = 16;
/// The size of the largest datagram in bytes: the kernel cuts dumps into pieces of at most this
/// (`net/netlink/af_netlink.c`, `netlink_dump`).
const RECEIVE_BUFFER: usize = 32 * 1024;
/// The top bits of an attribute type are flags (nested, byte order).
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;

/// A netlink message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The message's type.
    pub(crate) kind: u16,
    /// Everything after the netlink header.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The message's fixed part of `len` bytes, if the message is long enough.
    pub(crate) fn fixed(&self, len: usize) -> Option<&[u8]> {
        self.body.get(..len)
    }

    /// The value of the first attribute of this type after a fixed part of `fixed` bytes.
    pub(crate) fn attribute(&self, fixed: usize, kind: u16) -> Option<&[u8]> {
        nested(self.body.get(fixed..)?, kind)
    }
}

/// The value of the first attribute of this type among `attributes`, which may be the value of another attribute.
pub(crate) fn nested(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    Attributes(attributes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

/// The values of all attributes of this type among `attributes`.
pub(crate) fn all_nested(attributes: &[u8], kind: u16) -> impl Iterator<Item = &[u8]> {
    Attributes(attributes).filter(move |(k, _)| *k == kind).map(|(_, value)| value)
}

/// An iterator over attributes. It ends at the first whose length does not fit.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & ATTRIBUTE_TYPE_MASK;
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The native-endian u16 at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

/// The native-endian u32 at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// The text of a zero-terminated name.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A netlink socket for requests and their answers, or for notifications.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Opens a socket for requests.
    pub(crate) fn open() -> io::Result<Self> {
        Self::with_groups(0, SocketFlags::CLOEXEC)
    }

    /// Opens a socket that hears of every change of links and addresses. It does not block.
    pub(crate) fn subscribe() -> io::Result<Self> {
        Self::with_groups(CHANGES, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
    }

    /// Opens a socket that hears of numbers of network namespaces, too. It does not block.
    pub(crate) fn subscribe_to_numbers() -> io::Result<Self> {
        Self::with_groups(CHANGES | RTMGRP_NSID, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
    }

    /// Opens a socket for requests of generic netlink.
    pub(crate) fn generic() -> io::Result<Self> {
        Self::of_protocol(netlink::GENERIC)
    }

    /// Opens a socket for requests about sockets.
    pub(crate) fn diagnostics() -> io::Result<Self> {
        Self::of_protocol(netlink::SOCK_DIAG)
    }

    fn of_protocol(protocol: Protocol) -> io::Result<Self> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))?;
        bind(&fd, &netlink::SocketAddrNetlink::new(0, 0))?;
        Ok(Self(fd))
    }

    fn with_groups(groups: u32, flags: SocketFlags) -> io::Result<Self> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?; // NETLINK_ROUTE is 0
        bind(&fd, &netlink::SocketAddrNetlink::new(0, groups))?;
        Ok(Self(fd))
    }

    /// Asks for everything of a kind that the kernel has. `fixed` is the request's fixed part, which begins with the
    /// family.
    pub(crate) fn dump(&self, kind: u16, fixed: &[u8]) -> io::Result<Vec<Message>> {
        self.request(kind, NLM_F_DUMP, fixed)?;
        self.answers()
    }

    /// Asks for a change, and waits for its acknowledgement. With `create` something is to be made that is not there
    /// yet.
    pub(crate) fn change(&self, kind: u16, create: bool, body: &[u8]) -> io::Result<()> {
        let flags = if create { NLM_F_CREATE | NLM_F_EXCL } else { 0 };
        self.request(kind, NLM_F_ACK | flags, body)?;
        self.answers().map(|_| ())
    }

    /// Asks about one thing.
    pub(crate) fn ask(&self, kind: u16, body: &[u8]) -> io::Result<Vec<Message>> {
        self.request(kind, NLM_F_ACK, body)?;
        self.answers()
    }

    /// Makes something that is not there yet, and returns it as the kernel made it, with the numbers that the kernel
    /// chose.
    pub(crate) fn create(&self, kind: u16, body: &[u8]) -> io::Result<Vec<Message>> {
        self.request(kind, NLM_F_ACK | NLM_F_ECHO | NLM_F_CREATE | NLM_F_EXCL, body)?;
        self.answers()
    }

    /// Makes two things, the second on the first, in one system call, so that no process is killed between the two.
    /// Each has its own answer, and the second may have succeeded although the first failed.
    pub(crate) fn create_both(
        &self,
        first: (u16, &[u8]),
        second: (u16, &[u8]),
    ) -> io::Result<(io::Result<()>, io::Result<Vec<Message>>)> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let mut requests = request(first.0, flags, first.1)?;
        requests.extend(request(second.0, flags | NLM_F_ECHO, second.1)?);
        self.send(&requests)?;
        Ok((self.answers().map(|_| ()), self.answers()))
    }

    /// Receives all messages up to the end of the answer.
    fn answers(&self) -> io::Result<Vec<Message>> {
        let mut all = Vec::new();
        loop {
            let (messages, end) = self.receive()?;
            all.extend(messages);
            if let Some(result) = end {
                return result.map(|()| all);
            }
        }
    }

    /// The messages of one datagram that waits on a subscribed socket; empty if none waits.
    pub(crate) fn notifications(&self) -> io::Result<Vec<Message>> {
        match self.receive() {
            Ok((messages, _)) => Ok(messages),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    fn request(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.send(&request(kind, flags, body)?)
    }

    fn send(&self, requests: &[u8]) -> io::Result<()> {
        send(&self.0, requests, SendFlags::empty())?;
        Ok(())
    }

    /// Receives one datagram. Returns its messages, and how the answer ended if it ended in this datagram.
    fn receive(&self) -> io::Result<(Vec<Message>, Option<io::Result<()>>)> {
        let mut buffer = vec![0_u8; RECEIVE_BUFFER];
        let (len, _) = loop {
            match recv(&self.0, &mut *buffer, RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        Ok(parse(&buffer[..len]))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The bytes of a message to the kernel, with padding.
fn request(kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let len = u32::try_from(HEADER + body.len()).map_err(|_| Errno::MSGSIZE)?;
    let mut request = Vec::with_capacity(HEADER + body.len());
    request.extend_from_slice(&len.to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
    request.extend_from_slice(&1_u32.to_ne_bytes()); // sequence number
    request.extend_from_slice(&0_u32.to_ne_bytes()); // port: the kernel fills it in
    request.extend_from_slice(body);
    request.resize(request.len().next_multiple_of(4), 0);
    Ok(request)
}

/// The messages of a notification.
pub(crate) fn messages(datagram: &[u8]) -> Vec<Message> {
    parse(datagram).0
}

/// The messages in a datagram, and how the answer ended if it ended in this datagram. What is cut short at the end is
/// left out.
fn parse(mut datagram: &[u8]) -> (Vec<Message>, Option<io::Result<()>>) {
    let mut messages = Vec::new();
    while let (Some(len), Some(kind)) = (u32_at(datagram, 0), u16_at(datagram, 4)) {
        let Ok(len) = usize::try_from(len) else { break };
        let Some(body) = datagram.get(HEADER..len) else { break };
        match kind {
            NLMSG_DONE => return (messages, Some(Ok(()))),
            NLMSG_ERROR => {
                // 0 is the acknowledgement, else a negative errno.
                let code = u32_at(body, 0).unwrap_or_default().cast_signed();
                let result =
                    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.wrapping_neg())) };
                return (messages, Some(result));
            }
            kind => messages.push(Message { kind, body: body.to_vec() }),
        }
        datagram = datagram.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    (messages, None)
}

/// Appends an attribute, with padding.
pub(crate) fn push_attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // No value that is written is as long as 64 KiB.
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend_from_slice(&len.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut m = Vec::new();
        m.extend_from_slice(&u32::try_from(HEADER + body.len()).expect("short").to_ne_bytes());
        m.extend_from_slice(&kind.to_ne_bytes());
        m.extend_from_slice(&[0; 10]);
        m.extend_from_slice(body);
        m.resize(m.len().next_multiple_of(4), 0);
        m
    }

    #[test]
    fn a_datagram_of_two_messages_and_the_end() {
        let mut datagram = message(RTM_NEWLINK, &[1, 2, 3, 4, 5]);
        datagram.extend(message(RTM_NEWADDR, &[6; 8]));
        datagram.extend(message(NLMSG_DONE, &[0; 4]));
        let (messages, end) = parse(&datagram);
        assert_eq!(messages.iter().map(|m| (m.kind, m.body.len())).collect::<Vec<_>>(), [(16, 5), (20, 8)]);
        assert!(matches!(end, Some(Ok(()))));
    }

    #[test]
    fn an_error_carries_its_errno() {
        let (_, end) = parse(&message(NLMSG_ERROR, &(-17_i32).to_ne_bytes()));
        assert_eq!(end.expect("ended").expect_err("failed").raw_os_error(), Some(17));
    }

    #[test]
    fn attributes_that_lie_about_their_length_end_the_walk() {
        let mut body = vec![0; 16];
        push_attribute(&mut body, 3, b"eth0\0");
        push_attribute(&mut body, 0x800c, &[9]);
        body.extend_from_slice(&[200, 0, 1, 0, 1]);
        let m = Message { kind: RTM_NEWLINK, body };
        assert_eq!(m.attribute(16, 3).map(text).as_deref(), Some("eth0"));
        assert_eq!(m.attribute(16, 12), Some(&[9][..]));
        assert_eq!(m.attribute(16, 1), None);
        assert_eq!(m.attribute(400, 1), None);
        for lie in [&[0, 0, 3, 0][..], &[3, 0, 3, 0], &[4]] {
            assert_eq!(Attributes(lie).next(), None);
        }
    }

    #[test]
    fn truncated_datagrams_yield_what_is_whole() {
        let mut datagram = message(RTM_NEWLINK, &[1; 20]);
        let whole = datagram.len();
        datagram.extend(message(RTM_NEWLINK, &[1; 20]));
        for cut in whole..datagram.len() {
            assert_eq!(parse(&datagram[..cut]).0.len(), 1);
        }
    }
}
