//! Which copies of the programs there are where several network namespaces are traced, and the maps that they have in common:
//! one ring, one pending table, one set of counters.
//!
//! The verifier takes long over a copy, seconds on a slow machine, so that there is one for all where the packets of several
//! namespaces can be told apart in it (`load/gates.rs`). Each copy has flow-hash seeds of its own, as constants, and
//! finds the maps by name in a BPF file system that is mounted nowhere: it is there through a descriptor, and so ends
//! with the process, whatever ends that.

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
    /// Of the copy that is loaded first when all namespaces are traced. A filter on clsact says with each packet which one it is
    /// in, and that costs nothing: one copy is for all then. A TCX link does not, so that packets of other namespaces pass a
    /// gate, which those of the tracer's own need not.
    pub(crate) fn of_first(ingress: IngressHook, mode: AttachMode) -> Self {
        let by_filters = match mode {
            AttachMode::Clsact => true,
            AttachMode::Tcx => false,
            // Every namespace has a loopback device, and that has the first index.
            AttachMode::Auto => matches!(tcx::programs(1, Side::Ingress), Ok(None)),
        };
        if by_filters && ingress == IngressHook::Tc { Self::Shared } else { Self::Only(0) }
    }

    /// Of the copy for the namespace of this number, where the first one is not for it. With XDP nothing can be said with a packet.
    pub(crate) const fn of_other(ingress: IngressHook, netns: u16) -> Self {
        match ingress {
            IngressHook::Tc => Self::Shared,
            IngressHook::Xdp => Self::Only(netns),
        }
    }
}

/// The maps of the first copy, for those that follow.
pub struct SharedMaps {
    files: OwnedFd,
    names: Vec<String>,
    options: LoadOptions,
}

impl SharedMaps {
    /// Those of `programs`, of which none may have been taken yet. `options` are what they were loaded with.
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

    /// Another copy of the programs.
    pub(crate) fn load(&self, role: Role) -> Result<Programs, LoadError> {
        let maps: Vec<_> = self.names.iter().map(|name| (name.as_str(), self.path(name))).collect();
        Programs::load_with(&self.options, role, &maps)
    }

    fn path(&self, name: &str) -> PathBuf {
        format!("/proc/self/fd/{}/{name}", self.files.as_raw_fd()).into()
    }
}

/// A file system of BPF of its own, mounted nowhere, in which maps have names for as long as the descriptor is open.
pub fn file_system() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}
