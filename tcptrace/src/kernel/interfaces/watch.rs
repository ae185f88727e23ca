//! Keeps the interfaces and addresses of a network namespace current, by the kernel's notifications.

use super::interface::{self, Interface, InterfaceError, dump};
use crate::kernel::{
    calls::netlink::{self, Message, u32_at},
    namespaces::Netns,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::Ipv4Addr,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

/// Octets of `ifaddrmsg` (`linux/if_addr.h`).
const ADDRESS_FIXED: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// The names of interfaces by their indexes or numbers, shared between the source and its readers. A name stays for a
/// minute after its interface is gone, for the records that come after it, and then until another interface comes or
/// goes.
#[derive(Clone, Debug, Default)]
pub struct InterfaceNames(Arc<RwLock<Names>>);

#[derive(Debug, Default)]
struct Names {
    by_index: HashMap<u32, Arc<str>>,
    /// The interfaces that are gone and when they went, in that order.
    gone: VecDeque<(Instant, u32)>,
    changes: u64,
}

impl Names {
    /// How long the name of an interface that is gone is kept. No record stays in the ring for so long.
    const REMEMBER: Duration = Duration::from_mins(1);

    /// Forgets the names of interfaces that went long before `now`.
    fn forget(&mut self, now: Instant) {
        while let Some((_, index)) = self.gone.pop_front_if(|(gone, _)| now >= *gone + Self::REMEMBER) {
            self.by_index.remove(&index);
            self.changes += 1;
        }
    }
}

impl InterfaceNames {
    /// The name of the interface of this index, if it is there or was lately.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<Arc<str>> {
        // A reader that panicked has not changed the map.
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_index.get(&index).cloned()
    }

    /// How often an interface has got another name, or its name was forgotten. While this number stays the same, so do
    /// all names.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).changes
    }

    /// Takes note of an interface's name.
    pub(crate) fn set(&self, index: u32, name: &Arc<str>) {
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // The interface may be one that was gone and has come again.
        names.gone.retain(|(_, gone)| *gone != index);
        let before = names.by_index.insert(index, Arc::clone(name));
        names.changes += u64::from(before.is_some_and(|before| before != *name));
        names.forget(Instant::now());
    }

    /// Takes note that the interface of this index went at the time `now`.
    pub(crate) fn retire(&self, index: u32, now: Instant) {
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        names.forget(now);
        if names.by_index.contains_key(&index) {
            names.gone.push_back((now, index));
        }
    }
}

/// The addresses of a namespace's interfaces, IPv4 addresses as IPv4-mapped ones, each with its interface and prefix
/// length.
#[derive(Debug, Default)]
pub struct OwnAddresses(BTreeSet<([u8; 16], u32, u8)>);

impl OwnAddresses {
    /// Whether an interface has this address.
    #[must_use]
    pub fn contains(&self, address: &[u8; 16]) -> bool {
        self.0.range((*address, 0, 0)..=(*address, u32::MAX, u8::MAX)).next().is_some()
    }

    fn apply(&mut self, message: &Message) {
        if let Some(entry) = address_of(message) {
            if message.kind == netlink::RTM_NEWADDR {
                self.0.insert(entry);
            } else {
                self.0.remove(&entry);
            }
        }
    }
}

/// The address, the interface's index and the prefix length of an address message.
fn address_of(message: &Message) -> Option<([u8; 16], u32, u8)> {
    let fixed = message.fixed(ADDRESS_FIXED)?;
    // On a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL ours; IPv6 otherwise has no IFA_LOCAL.
    let bytes = message
        .attribute(ADDRESS_FIXED, IFA_LOCAL)
        .or_else(|| message.attribute(ADDRESS_FIXED, IFA_ADDRESS))?;
    let address = match *bytes {
        [a, b, c, d] => Ipv4Addr::new(a, b, c, d).to_ipv6_mapped().octets(),
        _ => bytes.try_into().ok()?,
    };
    Some((address, u32_at(fixed, 4)?, fixed[1]))
}

/// A change of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceChange {
    /// An interface came, or something about it changed, such as its name or whether it is up.
    Interface(Interface),
    /// An interface is gone.
    Gone(Interface),
}

/// The interfaces and addresses of one namespace, by the messages that were applied so far.
#[derive(Debug, Default)]
pub(crate) struct Links {
    interfaces: BTreeMap<u32, Interface>,
    addresses: OwnAddresses,
}

/// A list of all interfaces and addresses of a namespace, as the kernel gave it.
pub(crate) struct InterfaceList {
    interfaces: Vec<Interface>,
    addresses: Vec<Message>,
}

impl InterfaceList {
    /// Asks the kernel for the list.
    pub(crate) fn of(netns: &Netns) -> Result<Self, InterfaceError> {
        netns.within(|| {
            let interfaces = interface::list()?;
            let addresses = dump("addresses", netlink::RTM_GETADDR, &[0; ADDRESS_FIXED])?;
            Ok(Self { interfaces, addresses })
        })?
    }
}

impl Links {
    /// The interface of this index.
    pub(crate) fn get(&self, index: u32) -> Option<&Interface> {
        self.interfaces.get(&index)
    }

    /// The interfaces, in the order of their indexes.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values()
    }

    /// The addresses of the interfaces.
    pub(crate) const fn addresses(&self) -> &OwnAddresses {
        &self.addresses
    }

    /// Takes over a new list, and returns the changes.
    pub(crate) fn replace(&mut self, by: InterfaceList) -> Vec<InterfaceChange> {
        let InterfaceList { interfaces: listed, addresses } = by;
        let gone: Vec<u32> =
            self.interfaces.keys().copied().filter(|i| !listed.iter().any(|l| l.index == *i)).collect();
        let mut changes: Vec<_> = gone
            .iter()
            .filter_map(|index| self.interfaces.remove(index))
            .map(InterfaceChange::Gone)
            .collect();
        changes.extend(listed.into_iter().filter_map(|i| self.update(i)));
        self.addresses = OwnAddresses::default();
        for message in &addresses {
            self.addresses.apply(message);
        }
        changes
    }

    /// Takes over what a notification says, and returns the change if it is about an interface.
    pub(crate) fn apply(&mut self, message: &Message) -> Option<InterfaceChange> {
        match message.kind {
            netlink::RTM_NEWLINK => self.update(Interface::from_message(message)?),
            netlink::RTM_DELLINK => {
                self.interfaces.remove(&Interface::from_message(message)?.index).map(InterfaceChange::Gone)
            }
            netlink::RTM_NEWADDR | netlink::RTM_DELADDR => {
                self.addresses.apply(message);
                None
            }
            _ => None,
        }
    }

    fn update(&mut self, interface: Interface) -> Option<InterfaceChange> {
        if self.interfaces.get(&interface.index) == Some(&interface) {
            return None;
        }
        self.interfaces.insert(interface.index, interface.clone());
        Some(InterfaceChange::Interface(interface))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::calls::netlink::push_attribute;

    fn address(kind: u16, index: u32, attributes: &[(u16, &[u8])]) -> Message {
        let mut body = vec![0, 24, 0, 0];
        body.extend_from_slice(&index.to_ne_bytes());
        for (kind, value) in attributes {
            push_attribute(&mut body, *kind, value);
        }
        Message { kind, body }
    }

    #[test]
    fn the_name_of_an_interface_that_is_gone_is_let_go_of_after_a_minute() {
        let names = InterfaceNames::default();
        let now = Instant::now();
        for (index, name) in [(1, "veth1"), (2, "veth2"), (3, "veth3")] {
            names.set(index, &name.into());
        }
        names.retire(1, now);
        names.retire(2, now);
        // Another interface gets the same index.
        names.set(2, &"eth2".into());
        let changes = names.changes();
        names.retire(3, now + Duration::from_secs(59));
        assert_eq!((names.get(1).as_deref(), names.changes()), (Some("veth1"), changes));
        names.retire(4, now + Duration::from_mins(1));
        assert_eq!((names.get(1), names.changes()), (None, changes + 1));
        assert_eq!((names.get(2).as_deref(), names.get(3).as_deref()), (Some("eth2"), Some("veth3")));
    }

    #[test]
    fn an_address_is_own_while_some_interface_has_it() {
        let v4 = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets();
        let mut own = OwnAddresses::default();
        own.apply(&address(netlink::RTM_NEWADDR, 2, &[(IFA_LOCAL, &[10, 0, 0, 1])]));
        // Lifetimes are announced by repeating the address.
        own.apply(&address(netlink::RTM_NEWADDR, 2, &[(IFA_LOCAL, &[10, 0, 0, 1])]));
        own.apply(&address(netlink::RTM_NEWADDR, 3, &[(IFA_LOCAL, &[10, 0, 0, 1])]));
        own.apply(&address(netlink::RTM_DELADDR, 2, &[(IFA_LOCAL, &[10, 0, 0, 1])]));
        assert!(own.contains(&v4));
        own.apply(&address(netlink::RTM_DELADDR, 3, &[(IFA_LOCAL, &[10, 0, 0, 1])]));
        assert!(!own.contains(&v4));
    }

    #[test]
    fn on_a_point_to_point_link_the_local_address_is_ours() {
        let mut own = OwnAddresses::default();
        let (ours, peers) = ([1; 16], [2; 16]);
        own.apply(&address(netlink::RTM_NEWADDR, 2, &[(IFA_ADDRESS, &peers), (IFA_LOCAL, &ours)]));
        assert!(own.contains(&ours) && !own.contains(&peers));
        own.apply(&address(netlink::RTM_NEWADDR, 2, &[(IFA_ADDRESS, &peers)]));
        assert!(own.contains(&peers), "IPv6 without a peer has IFA_ADDRESS only");
        own.apply(&address(netlink::RTM_NEWADDR, 2, &[(IFA_ADDRESS, &[1, 2, 3])]));
    }
}
