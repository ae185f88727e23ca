//! The names behind the numbers that the kernel knows of a socket's owner: the user's, and the cgroup's with what that stands
//! for. They are looked up when a record comes, as a cgroup may be gone soon after. What is not found is not known.

mod cgroups;
mod conventions;
mod pods;
mod users;

use cgroups::Cgroups;
pub(super) use conventions::container_of_first_version;
use pods::Pods;
use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Instant};
use tcptrace_core::socket::{OwnerNames, SenderSocket, SocketFacts, SocketOwner};
use users::Users;

/// The names of owners, as far as they were looked up.
pub(super) struct Owners {
    users: Users,
    cgroups: Cgroups,
    /// The names by user and cgroup, so that all sockets of an owner share them.
    known: HashMap<(u32, u64), Arc<OwnerNames>>,
}

/// How many owners are remembered. A host that has more cgroups in its life forgets all and begins anew.
const MOST: usize = 65_536;

impl Owners {
    /// Opens what the names are read from; `pods` is the folder of the kubelet's that names of pods are read from, where they were
    /// asked for. It is called before the process confines itself.
    pub(super) fn open(pods: Option<PathBuf>) -> Self {
        Self { users: Users::open(), cgroups: Cgroups::open(Pods::new(pods)), known: HashMap::new() }
    }

    /// Completes what is known of a socket by the names of its owner.
    pub(super) fn name(&mut self, socket: &mut SenderSocket, now: Instant) {
        if let SocketFacts::Owner(owner) = &mut socket.facts {
            owner.names = Some(self.names_of(owner, now));
        }
    }

    fn names_of(&mut self, owner: &SocketOwner, now: Instant) -> Arc<OwnerNames> {
        let key = (owner.uid, owner.cgroup);
        if let Some(names) = self.known.get(&key) {
            return Arc::clone(names);
        }
        let found = self.cgroups.find(owner.cgroup, now);
        // A container has a list of users of its own, in which the number can have another name.
        let is_in_container = found.as_ref().is_some_and(|it| it.container.is_some() || it.pod.is_some());
        let user = if is_in_container { None } else { self.users.name(owner.uid, now) };
        // What was not found may be found later.
        let is_whole = found.is_some() && (user.is_some() || is_in_container);
        let names = Arc::new(OwnerNames { user, cgroup: found });
        if is_whole {
            if self.known.len() >= MOST {
                self.known.clear();
            }
            self.known.insert(key, Arc::clone(&names));
        }
        names
    }
}
