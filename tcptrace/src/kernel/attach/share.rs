//! Decides how many copies of the programs there are when several network namespaces are traced, and has them share
//! their maps: one ring, one pending-ACK table, one set of counters.
//!
//! The verifier takes long over a copy, seconds on a slow machine. So one copy serves all namespaces where it can tell
//! their packets apart (`load/gates.rs`). Each copy has flow-hash seeds of its own, as constants. It finds the maps by
//! name in a BPF file system that is mounted nowhere: the file system exists only through a descriptor, and ends with
//! the process, whatever ends that.

use super::{
    hooks::{AttachMode, IngressHook, Side},
    tcx,
};
use crate::kernel::{
    calls::errors::with_sources,
    load::{LoadError, LoadOptions, Programs, Role},
};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
};

impl Role {
    /// The role of the first copy when all namespaces are traced. A filter on clsact leaves the namespace's number
    /// beside each packet, which costs nothing: then one copy is for all. A TCX link does not, so that packets of other
    /// namespaces have to pass a gate, which costs time: then the first copy is for the tracer's own namespace, whose
    /// packets need none.
    pub(crate) fn of_first(ingress: IngressHook, mode: AttachMode) -> Self {
        let by_filters = match mode {
            AttachMode::Clsact => true,
            AttachMode::Tcx => false,
            // The kernel is asked about the interface with index 1: every namespace has a loopback device, which has
            // it.
            AttachMode::Auto => matches!(tcx::programs(1, Side::Ingress), Ok(None)),
        };
        if by_filters && ingress == IngressHook::Tc { Self::Shared } else { Self::Only(0) }
    }

    /// The role of the copy for the namespace of this number, if the first copy is not for it. With XDP no number can
    /// be left beside a packet, so that each namespace has a copy of its own.
    pub(crate) const fn of_other(ingress: IngressHook, netns: u16) -> Self {
        match ingress {
            IngressHook::Tc => Self::Shared,
            IngressHook::Xdp => Self::Only(netns),
        }
    }
}

/// The maps of the first copy, which copies that are loaded later share.
pub struct SharedMaps {
    files: OwnedFd,
    names: Vec<String>,
    options: LoadOptions,
}

impl SharedMaps {
    /// Shares the maps of `programs`, of which none may have been taken yet. `options` are what the programs were
    /// loaded with.
    pub fn of(programs: &Programs, options: &LoadOptions) -> Result<Self, LoadError> {
        let files = file_system().map_err(|error| LoadError::Other {
            what: "a BPF file system to share maps in".into(),
            reason: error.to_string(),
        })?;
        let mut shared = Self { files, names: Vec::new(), options: *options };
        for (name, map) in programs.shareable_maps() {
            map.pin(shared.path(name)).map_err(|error| LoadError::Other {
                what: format!("the map {name} where others find it"),
                reason: with_sources(&error),
            })?;
            shared.names.push(name.to_owned());
        }
        Ok(shared)
    }

    /// Loads another copy of the programs, with the same maps.
    pub(crate) fn load(&self, role: Role) -> Result<Programs, LoadError> {
        let maps: Vec<_> = self.names.iter().map(|name| (name.as_str(), self.path(name))).collect();
        Programs::load_with(&self.options, role, &maps)
    }

    fn path(&self, name: &str) -> PathBuf {
        format!("/proc/self/fd/{}/{name}", self.files.as_raw_fd()).into()
    }
}

/// A new BPF file system that is mounted nowhere. Maps have names in it for as long as the descriptor is open.
pub fn file_system() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}
