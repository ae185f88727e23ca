//! Maps that several copies of the programs have in common: one ring, one pending table, one set of counters.
//!
//! Each network namespace gets a copy of the programs, with a number and flow-hash seeds of its own as constants. A copy
//! finds the maps by name in a BPF file system that is mounted nowhere: it is there through a descriptor, and so ends
//! with the process, whatever ends that.

use super::load::{LoadError, LoadOptions, Programs};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
};

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
                reason: super::explain::with_sources(&error),
            })?;
            shared.names.push(name.to_owned());
        }
        Ok(shared)
    }

    /// A copy of the programs for the namespace of this number.
    pub fn load(&self, netns: u16) -> Result<Programs, LoadError> {
        let maps: Vec<_> = self.names.iter().map(|name| (name.as_str(), self.path(name))).collect();
        Programs::load_with(&self.options, netns, &maps)
    }

    fn path(&self, name: &str) -> PathBuf {
        format!("/proc/self/fd/{}/{name}", self.files.as_raw_fd()).into()
    }
}

pub(super) fn file_system() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}
