//! Where a flood ends, for benchmarks: on a device whose native XDP program drops every packet, either at once or after
//! our look. Nothing behind it then costs anything, and our own look is what is measured. `tcptrace` itself has no way
//! to load these. Needs root, and Linux 5.9 for the link.
#![expect(unsafe_code, reason = "attaching a program that was loaded by hand is a bare system call")]

use super::{
    load::LoadOptions,
    object::OBJECT,
    share::file_system,
    test_run::{Error, Harness, load_verdict},
};
use aya::{
    EbpfLoader,
    maps::MapData,
    programs::{Xdp, XdpMode},
};
use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::PathBuf,
};
use tcptrace_common::abi::SEED_WORDS;

const PROGRAM: &str = "tcptrace_bench_sink";

/// A program that drops everything, on a device for as long as this lives.
#[derive(Debug)]
pub struct Drain {
    _link: OwnedFd,
}

/// `bpf_attr` of `BPF_LINK_CREATE`, as far as it is needed (`include/uapi/linux/bpf.h`).
#[repr(C)]
struct LinkAttr {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    zero: [u64; 4],
}

const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_DRV_MODE: u32 = 4;
const XDP_DROP: i32 = 1;

impl Drain {
    /// Drops what comes into `device`, a number in the namespace of this thread.
    pub fn attach(device: u32) -> Result<Self, io::Error> {
        let program = load_verdict(XDP_DROP)?;
        let attr = LinkAttr {
            prog_fd: program.as_raw_fd().cast_unsigned(),
            target_ifindex: device,
            attach_type: BPF_XDP,
            flags: XDP_FLAGS_DRV_MODE,
            zero: [0; 4],
        };
        // SAFETY: the attribute lives through the call.
        let fd =
            unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw const attr, size_of::<LinkAttr>()) };
        let fd = i32::try_from(fd).ok().filter(|&fd| fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just made this descriptor, and nobody else has it.
        Ok(Self { _link: unsafe { OwnedFd::from_raw_fd(fd) } })
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
