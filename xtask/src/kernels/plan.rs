//! Which kernels, and which tests in them.

/// A kernel of Debian's.
pub(super) struct Kernel {
    /// What it is asked for by.
    pub(super) name: &'static str,
    /// The release of Debian whose `linux-image-cloud-amd64` it is.
    pub(super) suite: &'static str,
    /// So its version begins.
    pub(super) starts: &'static str,
}

/// From the oldest on. Between the first two Debian has none any more: what bullseye-backports had is gone.
pub(super) const KERNELS: [Kernel; 4] = [
    Kernel { name: "5.10", suite: "bullseye", starts: "5.10." },
    Kernel { name: "6.1", suite: "bookworm", starts: "6.1." },
    Kernel { name: "6.12", suite: "trixie", starts: "6.12." },
    Kernel { name: "newest", suite: "sid", starts: "" },
];

/// A test binary, or a part of it.
#[derive(Clone, Copy)]
pub(super) struct Suite {
    /// What cargo calls it.
    pub(super) binary: &'static str,
    /// What it is given: names of tests, `--exact`, `--skip`.
    pub(super) args: &'static [&'static str],
    /// It is ended after so many seconds. An emulated processor is ten to thirty times slower.
    pub(super) seconds: u32,
}

/// What is left out, and why.
pub(super) const LEFT_OUT: [(&str, &str); 2] = [
    ("live load::", "measures how a fast processor copes with load"),
    ("live shedding::", "needs a processor that makes more connections than the tracer can read"),
];

const fn all(binary: &'static str, seconds: u32) -> Suite {
    Suite { binary, args: &[], seconds }
}

/// With `--kernels`.
pub(super) const FULL: &[Suite] = &[
    all("features", 300),
    all("filtered", 600),
    all("test_run", 1800),
    all("lifecycle", 900),
    all("live_attach", 900),
    all("live_icmp", 300),
    all("live_netns", 300),
    all("live_paged", 300),
    Suite { binary: "live", args: &["--skip", "load::", "--skip", "shedding::"], seconds: 3600 },
];

/// In every `cargo xtask test`: loading and attaching in all ways, a connection through each, and packets of all shapes.
pub(super) const SHORT: &[Suite] = &[
    all("features", 300),
    Suite { binary: "filtered", args: &["verifier", "longest"], seconds: 300 },
    Suite { binary: "test_run", args: &["fragments", "shedding", "devices_without"], seconds: 300 },
    Suite { binary: "live_attach", args: &["connection", "left", "clsact"], seconds: 600 },
    all("live_paged", 300),
];
