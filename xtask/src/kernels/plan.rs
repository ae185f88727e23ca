//! Which kernels, and which tests in them.

use super::arch::{AMD64, ARM64, Arch};

/// A kernel of Debian's.
pub(super) struct Kernel {
    /// What it is asked for by.
    pub(super) name: &'static str,
    /// The release of Debian whose `linux-image-cloud-ARCH` it is.
    pub(super) suite: &'static str,
    /// So its version begins.
    pub(super) starts: &'static str,
    pub(super) arch: &'static Arch,
}

impl Kernel {
    /// The directory that is its own.
    pub(super) fn place(&self) -> String {
        match self.arch.cross {
            None => self.suite.to_owned(),
            Some(_) => format!("{}-{}", self.suite, self.arch.debian),
        }
    }
}

/// From the oldest on. Between the first two Debian has none any more: what bullseye-backports had is gone.
pub(super) const KERNELS: [Kernel; 5] = [
    Kernel { name: "5.10", suite: "bullseye", starts: "5.10.", arch: &AMD64 },
    Kernel { name: "6.1", suite: "bookworm", starts: "6.1.", arch: &AMD64 },
    Kernel { name: "6.12", suite: "trixie", starts: "6.12.", arch: &AMD64 },
    Kernel { name: "newest", suite: "sid", starts: "", arch: &AMD64 },
    Kernel { name: "6.1-arm64", suite: "bookworm", starts: "6.1.", arch: &ARM64 },
];

/// What the unit tests of tcptrace's library are called here.
pub(super) const LIB: &str = "lib";

/// A test binary, or a part of it.
#[derive(Clone, Copy)]
pub(super) struct Suite {
    /// What cargo calls it, or [`LIB`].
    pub(super) binary: &'static str,
    /// Parts of the names of its tests; none is all.
    pub(super) only: &'static [&'static str],
    /// Parts of the names of tests that are left out, and why.
    pub(super) without: &'static [(&'static str, &'static str)],
    /// It is ended after so many seconds. An emulated processor is ten to thirty times slower.
    pub(super) seconds: u32,
}

const fn all(binary: &'static str, seconds: u32) -> Suite {
    Suite { binary, only: &[], without: &[], seconds }
}

const MANY: &str = "shows each program thousands of packets, which takes an emulated processor many minutes";

/// With `--kernels`.
pub(super) const FULL: &[Suite] = &[
    all("features", 300),
    all("filtered", 600),
    Suite {
        binary: "test_run",
        only: &[],
        without: &[
            ("full_buckets_give_way_alike", MANY),
            ("icmp_errors_quote_as_much_as_they_like", MANY),
            ("icmp_errors_that_quote_a_syn", MANY),
            ("icmp_of_every_type_and_code", MANY),
            ("lengths_that_contradict", MANY),
            ("tampered", MANY),
        ],
        seconds: 2400,
    },
    all("lifecycle", 900),
    // What is refused by number differs with the processor.
    Suite { only: &["confine"], ..all(LIB, 120) },
    Suite { only: &["confined"], ..all("sinks", 300) },
    all("live_attach", 900),
    all("live_icmp", 300),
    all("live_netns", 300),
    all("live_paged", 300),
    all("live_sockets", 900),
    // Others of the built program are about load or about what the kernel itself says of its sockets, which 5.10 says
    // otherwise: there a connection that is accepted does not begin in LISTEN.
    Suite {
        only: &["interfaces::", "kinds::", "privileges::", "coexistence::", "check::", "a_killed"],
        ..all("live", 3600)
    },
];

/// In every `cargo xtask test`: loading and attaching in all ways, and a connection through each. The times are many times
/// what they take on two cores that run other tests meanwhile: they end what hangs, and no slow machine.
pub(super) const SHORT: &[Suite] = &[
    all("features", 900),
    Suite { only: &["verifier"], ..all("filtered", 900) },
    Suite { only: &["connection_is_seen", "left_after", "gone_after"], ..all("live_attach", 1500) },
    all("live_paged", 900),
    Suite { only: &["processes::of_both_ends"], ..all("live_sockets", 900) },
];
