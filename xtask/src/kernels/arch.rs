//! The kinds of processor that kernels are tested on, and what it takes to emulate them.

/// A kind of processor.
pub(super) struct Arch {
    /// What Debian calls it.
    pub(super) debian: &'static str,
    /// The program that emulates it.
    pub(super) emulator: &'static str,
    /// The Debian package of that.
    pub(super) package: &'static str,
    /// What the emulator calls the processor, by the kernel's release.
    pub(super) processor: fn(&str) -> &'static str,
    /// The machine around it. The one serial line is the kernel's console; the other ends at what is called `results`.
    pub(super) machine: &'static [&'static str],
    /// The kernel's name for the first.
    pub(super) console: &'static str,
    /// And for the second.
    pub(super) results: &'static str,
    /// Where its libxdp keeps the kernel programs of its own.
    pub(super) objects: &'static str,
    /// How its programs are made here; none where this machine's own run there.
    pub(super) cross: Option<Cross>,
}

/// What makes programs for a processor that is not this machine's.
#[derive(Clone, Copy)]
pub(super) struct Cross {
    /// What rustc calls it.
    pub(super) target: &'static str,
    /// What the GNU tools call it: their names begin so, and its libraries are in directories of this name.
    pub(super) tuple: &'static str,
}

/// Kernels before 7 get none of the 16-byte compare and exchange, which QEMU 7.2 emulates wrongly where it has no lock prefix:
/// with it 6.12 dies in kmalloc. Later ones need it: without it the storage of sockets cannot be made (`kmalloc_nolock`).
fn of_amd64(release: &str) -> &'static str {
    let major = release.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= 7) { "max" } else { "max,-cx16" }
}

pub(super) const AMD64: Arch = Arch {
    debian: "amd64",
    emulator: "qemu-system-x86_64",
    package: "qemu-system-x86",
    processor: of_amd64,
    machine: &["-serial", "chardev:results"],
    console: "ttyS0",
    results: "ttyS1",
    objects: "/usr/lib/x86_64-linux-gnu/bpf",
    cross: None,
};

pub(super) const ARM64: Arch = Arch {
    debian: "arm64",
    emulator: "qemu-system-aarch64",
    package: "qemu-system-arm",
    // A processor of servers that has what eBPF's atomics are compiled to, and does not authenticate pointers, which takes
    // the emulator long. The machine has one serial line of its own; the other sits in a slot.
    processor: |_| "neoverse-n1",
    machine: &["-M", "virt", "-device", "pci-serial,chardev=results"],
    console: "ttyAMA0",
    results: "ttyS0",
    objects: "/usr/lib/aarch64-linux-gnu/bpf",
    cross: Some(Cross { target: "aarch64-unknown-linux-gnu", tuple: "aarch64-linux-gnu" }),
};
