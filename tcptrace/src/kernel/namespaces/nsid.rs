//! Hears of the interfaces and addresses of many network namespaces without keeping any of them alive.
//!
//! A namespace lives as long as a thread or socket is in it, or a mount or descriptor is of it, so that a socket in
//! each would keep all of them. One socket that asks for it (`NETLINK_LISTEN_ALL_NSID`, netlink(7)) hears of every
//! namespace that has a number in the socket's own namespace (`net/netlink/af_netlink.c`, `do_one_broadcast`). A number
//! keeps no namespace: when one ends, that is announced (`net/core/net_namespace.c`, `unhash_nsid`). Numbers cannot be
//! taken back, so they are given in a namespace that is made for the listener. Nothing else is in it, and it ends with
//! the listener, whatever ends that.
#![expect(unsafe_code, reason = "a private namespace, a socket option, and the control data of a message")]

pub(crate) use crate::kernel::calls::netlink::Message;

use super::netns::{Home, NetnsError};
use crate::kernel::calls::netlink::{self, Socket, push_attribute, u32_at};
use rustix::{
    net::sockopt::set_socket_recv_buffer_size_force,
    thread::{UnshareFlags, unshare_unsafe},
};
use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    ptr,
};

/// Octets of `rtgenmsg` with its padding (`linux/rtnetlink.h`).
const NSID_FIXED: usize = 4;
/// Attributes of a number of a namespace (`linux/net_namespace.h`).
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;

/// The size of the socket's buffer: some thousands of notifications, as many namespaces may start at once.
const RECEIVE_BYTES: usize = 4 << 20;
/// The size of the largest notification, which is one message about one interface (`NLMSG_GOODSIZE` and its
/// attributes).
const MESSAGE_BYTES: usize = 32 << 10;

/// What was heard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Messages about interfaces and addresses of the namespace of this number.
    Of(u16, Vec<Message>),
    /// The namespaces of these numbers are gone.
    Gone(Vec<u16>),
    /// Notifications were lost.
    Overflow,
}

/// The sockets by which namespaces are heard of, in a namespace of their own.
pub(crate) struct Listener {
    hears: Socket,
    /// A socket for requests, in the same namespace.
    asks: Socket,
}

impl Listener {
    /// Opens the sockets in a new namespace. The thread is back in `home` afterwards.
    pub(crate) fn open(home: &Home) -> Result<Self, NetnsError> {
        let name = "of our own";
        let failed = |source| NetnsError::Io { name: name.to_owned(), source };
        home.and_back(name, || {
            // SAFETY: only the network namespace of this thread changes; its descriptors stay shared with the other
            // threads.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|e| failed(e.into()))?;
            let hears = Socket::subscribe_to_numbers().map_err(failed)?;
            listen_to_all(&hears).map_err(failed)?;
            // This goes beyond the system's limit, which takes a capability. Without it the buffer stays smaller and
            // may overflow, which `hear` reports.
            let _ = set_socket_recv_buffer_size_force(&hears, RECEIVE_BYTES);
            let asks = Socket::open().map_err(failed)?;
            Ok(Self { hears, asks })
        })?
    }

    /// Gives a namespace a number, by which it is heard of from now on. The error is `AlreadyExists` if it has a number
    /// already or another namespace has this one.
    pub(crate) fn add(&self, namespace: BorrowedFd<'_>, number: u16) -> io::Result<()> {
        let mut body = vec![0; NSID_FIXED];
        push_attribute(&mut body, NETNSA_NSID, &u32::from(number).to_ne_bytes());
        push_attribute(&mut body, NETNSA_FD, &namespace.as_raw_fd().to_ne_bytes());
        self.asks.change(netlink::RTM_NEWNSID, false, &body)
    }

    /// The next notification that waits to be heard; None if none does.
    pub(crate) fn hear(&self) -> io::Result<Option<Heard>> {
        loop {
            let mut buffer = vec![0_u8; MESSAGE_BYTES];
            let (len, number) = match receive(&self.hears, &mut buffer) {
                Ok(received) => received,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::EAGAIN) => return Ok(None),
                    Some(libc::ENOBUFS) => return Ok(Some(Heard::Overflow)),
                    _ => return Err(error),
                },
            };
            let messages = netlink::messages(&buffer[..len]);
            match number {
                // A notification without a number is of the listener's own namespace, in which only numbers change.
                None => {
                    let gone: Vec<_> = messages.iter().filter_map(gone).collect();
                    if !gone.is_empty() {
                        return Ok(Some(Heard::Gone(gone)));
                    }
                }
                Some(number) => {
                    if let Ok(number) = u16::try_from(number) {
                        return Ok(Some(Heard::Of(number, messages)));
                    }
                }
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hears.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.hears.as_raw_fd()
    }
}

/// The number of a namespace that a message says is gone; None if it says something else.
pub(crate) fn gone(message: &Message) -> Option<u16> {
    if message.kind != netlink::RTM_DELNSID {
        return None;
    }
    u16::try_from(u32_at(message.attribute(NSID_FIXED, NETNSA_NSID)?, 0)?).ok()
}

fn listen_to_all(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    #[expect(clippy::cast_possible_truncation, reason = "an int has four bytes")]
    let len = size_of_val(&on) as libc::socklen_t;
    let (fd, value) = (socket.as_raw_fd(), (&raw const on).cast());
    // SAFETY: the descriptor is open, and the value is an int that lives through the call, with its size.
    let result =
        unsafe { libc::setsockopt(fd, libc::SOL_NETLINK, libc::NETLINK_LISTEN_ALL_NSID, value, len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Room for the one control message that is asked for, with the alignment of control messages.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Receives one datagram. Returns its length, and the number of the namespace that it is from, which is None for the
/// socket's own.
fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, Option<i32>)> {
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zero is a valid header: null pointers and lengths of 0.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len();
    // SAFETY: the header's pointers are to buffers that live through the call, with their lengths.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
    let len = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    Ok((len, number(&header)))
}

/// The number of the namespace that a message is from, by its control data.
fn number(header: &libc::msghdr) -> Option<i32> {
    // SAFETY: the kernel has filled in the header, whose control buffer is alive.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(header) };
    while let Some(at) = ptr::NonNull::new(control) {
        // SAFETY: not null, so a whole control header within the buffer, aligned as the buffer is.
        let found = unsafe { at.read() };
        if (found.cmsg_level, found.cmsg_type) == (libc::SOL_NETLINK, libc::NETLINK_LISTEN_ALL_NSID) {
            // SAFETY: as above; the data is behind the header.
            let data = unsafe { libc::CMSG_DATA(control) };
            // SAFETY: of this kind it is an int (net/netlink/af_netlink.c, netlink_cmsg_listen_all_nsid).
            return Some(unsafe { data.cast::<i32>().read_unaligned() });
        }
        // SAFETY: as for the first.
        control = unsafe { libc::CMSG_NXTHDR(header, control) };
    }
    None
}
