//! Hears from the kernel what happens in the namespaces, by a socket in the only one, or by one that hears of all.

use super::space::{OWN, Space};
use crate::{
    kernel::{
        calls::{netlink::Socket, readiness::readable},
        interfaces::{InterfaceError, watch::InterfaceList},
        namespaces::{
            Home, Netns,
            nsid::{Heard, Listener},
        },
    },
    source::error::LiveError,
};
use rustix::io::Errno;
use std::io;
use tokio::io::unix::AsyncFd;

/// The socket that changes of interfaces, addresses and namespaces are heard by.
pub(super) enum News {
    /// A socket in the only namespace, which takes no capability.
    OfOne(AsyncFd<Socket>),
    /// A socket that hears of each namespace that was given a number.
    OfAll(AsyncFd<Listener>),
}

impl News {
    pub(super) fn of_one(netns: &Netns) -> Result<Self, InterfaceError> {
        netns.within(|| Socket::subscribe().and_then(readable))?.map(Self::OfOne).map_err(failed)
    }

    pub(super) fn of_all(home: &Home) -> Result<Self, LiveError> {
        let listener =
            readable(Listener::open(home)?).map_err(LiveError::io("hear of network namespaces"))?;
        Ok(Self::OfAll(listener))
    }

    /// Waits until there may be something to hear. Cancel-safe.
    pub(super) async fn ready(&self) -> Result<(), LiveError> {
        // Readiness is cleared before reading: what arrives later sets it again.
        match self {
            Self::OfOne(socket) => {
                let ready = socket.readable().await;
                ready.map_err(LiveError::io("wait for interface changes"))?.clear_ready();
            }
            Self::OfAll(listener) => {
                let ready = listener.readable().await;
                ready.map_err(LiveError::io("hear of network namespaces"))?.clear_ready();
            }
        }
        Ok(())
    }

    /// The next notification that waits to be heard; None if none does.
    pub(super) fn hear(&self) -> Result<Option<Heard>, LiveError> {
        match self {
            Self::OfOne(socket) => match socket.get_ref().notifications() {
                Ok(messages) => Ok((!messages.is_empty()).then_some(Heard::Of(OWN, messages))),
                // The socket's buffer overflowed.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                    Ok(Some(Heard::Overflow))
                }
                Err(error) => Err(failed(error).into()),
            },
            Self::OfAll(listener) => {
                listener.get_ref().hear().map_err(LiveError::io("hear of network namespaces"))
            }
        }
    }

    /// Begins to listen to a namespace and then lists its interfaces and addresses. In this order nothing is missed
    /// between the two.
    pub(super) fn list(&self, netns: &Netns, number: u16) -> Result<InterfaceList, LiveError> {
        if let Self::OfAll(listener) = self {
            netns
                .with_descriptor(|it| listener.get_ref().add(it, number))?
                .map_err(LiveError::io("hear of it"))?;
        }
        Ok(InterfaceList::of(netns)?)
    }

    /// Lists the interfaces and addresses of a namespace that is listened to already; None if it is gone.
    pub(super) fn list_again(&self, space: &Space) -> Result<Option<InterfaceList>, LiveError> {
        let listed = InterfaceList::of(&space.netns);
        let Self::OfAll(listener) = self else { return Ok(Some(listed?)) };
        // If another namespace is in its place now, that has no number yet, and adding it succeeds.
        let again = space.netns.with_descriptor(|it| listener.get_ref().add(it, space.number));
        let is_there = matches!(again, Ok(Err(error)) if error.kind() == io::ErrorKind::AlreadyExists);
        Ok(listed.ok().filter(|_| is_there))
    }
}

fn failed(source: io::Error) -> InterfaceError {
    InterfaceError::Netlink { what: "interface changes", source }
}
