//! Where a flood ends, for benchmarks: on a device whose native XDP program drops every packet, either at once or after
//! our look. Nothing behind it then costs anything, and our own look is what is measured. `tcptrace` itself has no way
//! to load these. Needs root, and Linux 5.9 for the link.

use super::test_run::{Error, Harness, load_verdict};
use crate::kernel::{
    attach::{
        links::{self, Link},
        share::file_system,
    },
    load::{LoadOptions, object::OBJECT},
};
use aya::{
    EbpfLoader,
    maps::MapData,
    programs::{Xdp, XdpMode},
};
use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::PathBuf,
};
use tcptrace_common::abi::SEED_WORDS;

const PROGRAM: &str = "tcptrace_bench_sink";

/// A program that drops everything, on a device for as long as this lives.
#[derive(Debug)]
pub struct Drain {
    _link: Link,
}

const XDP_DROP: i32 = 1;

impl Drain {
    /// Drops what comes into `device`, a number in the namespace of this thread.
    pub fn attach(device: u32) -> Result<Self, io::Error> {
        let program = load_verdict(XDP_DROP)?;
        Link::xdp(program.as_fd(), device, links::XdpMode::Native).map(|link| Self { _link: link })
    }
}

/// Puts our look on `device`, a number in the namespace of this thread, with every packet dropped after it, for as long as
/// the harness lives. The maps are new, with a ring of so many bytes.
pub fn attach(device: u32, seeds: &[u64; SEED_WORDS], ring_bytes: u32) -> Result<Harness, Error> {
    let wake = u64::from(ring_bytes);
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("EVENTS", ring_bytes).override_global("WAKE_BYTES", &wake, true);
    attach_with(&mut loader, device, seeds)
}

/// The same with the maps of a `tcptrace` that runs with its defaults, given by the kernel's numbers of them: what is
/// recorded goes to that one, and it decides what is admitted.
pub fn attach_for(device: u32, seeds: &[u64; SEED_WORDS], maps: &[u32]) -> Result<Harness, Error> {
    let files = file_system().map_err(|error| Error::Io(error.into()))?;
    let mut found = Vec::new();
    for &id in maps {
        let map = MapData::from_id(id)?;
        let name = map.info()?.name_as_str().unwrap_or_default().to_owned();
        // Constants are each object's own.
        if name.is_empty() || name.starts_with('.') {
            continue;
        }
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", files.as_raw_fd()));
        map.pin(&path).map_err(|error| Error::Io(io::Error::other(error)))?;
        found.push((name, path));
    }
    let wake = u64::from(LoadOptions::DEFAULT_RING_BYTES / LoadOptions::WAKE_PART);
    let mut loader = EbpfLoader::new();
    for (name, path) in &found {
        loader.map_pin_path(name, path.as_path());
    }
    loader.override_global("WAKE_BYTES", &wake, true);
    attach_with(&mut loader, device, seeds)
}

fn attach_with<'a>(
    loader: &mut EbpfLoader<'a>,
    device: u32,
    seeds: &'a [u64; SEED_WORDS],
) -> Result<Harness, Error> {
    let mut ebpf = loader.override_global("SEEDS", &seeds[..], true).load(OBJECT)?;
    let program = ebpf.program_mut(PROGRAM).ok_or(Error::Missing(PROGRAM))?;
    let program = <&mut Xdp>::try_from(program)?;
    program.load()?;
    program.attach_to_if_index(device, XdpMode::Driver)?;
    Ok(Harness::of(ebpf))
}
