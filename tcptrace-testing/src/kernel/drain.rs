//! Where a flood ends, for benchmarks: on a device whose native XDP program drops every packet, either at once or after
//! our look. Nothing behind it then costs anything, and our own look is what is measured. The look is `tcptrace_xdp` as it
//! ships, with its verdict replaced. Needs root, and Linux 5.9 for the link.

use super::test_run::{Error, Harness, load_verdict};
use aya::{
    EbpfLoader,
    maps::MapData,
    programs::{Xdp, XdpMode},
};
use object::{Object as _, ObjectSection as _};
use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::PathBuf,
};
use tcptrace::kernel::{
    attach::{
        links::{self, Link},
        share::file_system,
    },
    load::{LoadOptions, object::OBJECT},
};
use tcptrace_common::abi::SEED_WORDS;

/// The program, in a section of its own.
const PROGRAM: &str = "tcptrace_xdp";

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
    let wake = LoadOptions::wake_bytes(LoadOptions::DEFAULT_RING_BYTES.into());
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
    let mut ebpf = loader.override_global("SEEDS", &seeds[..], true).load(&dropping()?)?;
    let program = ebpf.program_mut(PROGRAM).ok_or(Error::Missing(PROGRAM))?;
    let program = <&mut Xdp>::try_from(program)?;
    program.load()?;
    program.attach_to_if_index(device, XdpMode::Driver)?;
    Ok(Harness::of(ebpf))
}

/// The object, with `tcptrace_xdp` returning `XDP_DROP` in the one place where it returns `XDP_PASS`.
fn dropping() -> Result<Vec<u8>, Error> {
    const PASS_AND_EXIT: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let file = object::File::parse(OBJECT).map_err(|error| Error::Io(io::Error::other(error)))?;
    let section = file.section_by_name("xdp").ok_or(Error::Missing("section xdp"))?;
    let (start, len) = section.file_range().ok_or(Error::Missing("section xdp"))?;
    let range = usize::try_from(start).and_then(|start| Ok(start..start + usize::try_from(len)?));
    let mut bytes = OBJECT.to_vec();
    let program = &mut bytes[range.map_err(|error| Error::Io(io::Error::other(error)))?];
    let places: Vec<usize> =
        (0..program.len()).step_by(8).filter(|&at| program[at..].starts_with(&PASS_AND_EXIT)).collect();
    let [place] = places[..] else { return Err(Error::Missing("one place that returns XDP_PASS")) };
    program[place + 4..place + 8].copy_from_slice(&XDP_DROP.to_ne_bytes());
    Ok(bytes)
}
