//! What is measured: ours in several ways, and the programs of others that watch connections. Each says how its own
//! output tells what it recorded.

use super::count::{self, Count};
use crate::{
    process::{Ended, Ready, Stdout},
    world::CLIENT_DEVICE,
};
use std::{path::Path, time::Duration};

/// Ours, of the build that runs this.
pub(crate) const OURS: &str = env!("CARGO_BIN_EXE_tcptrace");

/// Segments with SYN, FIN or RST: of a connection that closes in the usual way [`count::HANDSHAKE_PACKETS`].
pub(crate) const HANDSHAKE: &str = "tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0";

/// One row.
pub(crate) struct Tool {
    /// What `--tools` calls it.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) program: Program,
    pub(crate) stdout: Stdout,
    pub(crate) ready: Ready,
    pub(crate) count: fn(&Ended) -> Result<Count, String>,
    /// It has programs in the kernel, whose run time the kernel can tell.
    pub(crate) bpf: bool,
}

/// How it is started.
pub(crate) enum Program {
    /// Ours, with these words after the interface.
    Ours(&'static [&'static str]),
    /// Another's, by its name in `PATH`.
    Theirs(&'static [&'static str]),
    /// Another's that wants the kernel's tracing files: it gets a mount namespace with them.
    Traces(&'static [&'static str]),
    /// Another's that follows the connection tracker of the client's namespace, which is switched on for it.
    Conntrack(&'static [&'static str]),
    /// It is not here, for this reason.
    Missing(&'static str),
}

const OURS_READY: Ready = Ready::Says("; Ctrl-C ends");
const BPFTRACE: &str = "\
tracepoint:sock:inet_sock_set_state /args->newstate == 7 && args->dport >= 8000 && args->dport < 8256/ \
{ printf(\"closed %d %d\\n\", args->sport, args->dport); }";

#[rustfmt::skip]
pub(crate) const TOOLS: [Tool; 22] = [
    Tool {
        name: "json", about: "ours, JSON to a file", program: Program::Ours(&["--json"]),
        stdout: Stdout::File, ready: OURS_READY, count: count::our_json, bpf: true,
    },
    Tool {
        name: "compact", about: "the same with --compact", program: Program::Ours(&["--json", "--compact"]),
        stdout: Stdout::File, ready: OURS_READY, count: count::our_json, bpf: true,
    },
    Tool {
        name: "no-sockets", about: "the same with --no-sockets", program: Program::Ours(&["--no-sockets", "--json"]),
        stdout: Stdout::File, ready: OURS_READY, count: count::our_json, bpf: true,
    },
    Tool {
        name: "first-byte", about: "the same with --first-byte", program: Program::Ours(&["--first-byte", "--json"]),
        stdout: Stdout::File, ready: OURS_READY, count: count::our_json, bpf: true,
    },
    Tool {
        name: "process", about: "the same with --process", program: Program::Ours(&["--process", "--json"]),
        stdout: Stdout::File, ready: OURS_READY, count: count::our_json, bpf: true,
    },
    Tool {
        name: "every-part", about: "the same with --process, --server-name",
        program: Program::Ours(&["--process", "--server-name", "--json"]),
        stdout: Stdout::File, ready: OURS_READY, count: count::our_json, bpf: true,
    },
    Tool {
        name: "json-null", about: "ours, JSON to /dev/null", program: Program::Ours(&["--json"]),
        stdout: Stdout::Null, ready: OURS_READY, count: count::our_summary, bpf: false,
    },
    Tool {
        name: "text", about: "ours, text to a file", program: Program::Ours(&[]),
        stdout: Stdout::File, ready: OURS_READY, count: count::our_text, bpf: false,
    },
    Tool {
        name: "quiet", about: "ours, not printing", program: Program::Ours(&["--json", "--events", "stats"]),
        stdout: Stdout::File, ready: OURS_READY, count: count::our_stats, bpf: false,
    },
    Tool {
        name: "xdp", about: "ours, native XDP, JSON to a file", program: Program::Ours(&["--ingress", "xdp", "--json"]),
        stdout: Stdout::File, ready: OURS_READY, count: count::our_json, bpf: true,
    },
    Tool {
        name: "tcpdump", about: "tcpdump, SYN/FIN/RST, to /dev/null",
        program: Program::Theirs(&["tcpdump", "-i", CLIENT_DEVICE, "-nn", "-w", "/dev/null", HANDSHAKE]),
        stdout: Stdout::Null, ready: Ready::Says("listening on"), count: count::tcpdump_handshake, bpf: false,
    },
    Tool {
        name: "tcpdump-all", about: "tcpdump, all TCP, 96 bytes, to /dev/null",
        program: Program::Theirs(&["tcpdump", "-i", CLIENT_DEVICE, "-nn", "-s", "96", "-w", "/dev/null", "tcp"]),
        stdout: Stdout::Null, ready: Ready::Says("listening on"), count: count::tcpdump_all, bpf: false,
    },
    Tool {
        name: "tcpdump-text", about: "tcpdump, SYN/FIN/RST, text to a file",
        program: Program::Theirs(&["tcpdump", "-i", CLIENT_DEVICE, "-nn", HANDSHAKE]),
        stdout: Stdout::File, ready: Ready::Says("listening on"), count: count::tcpdump_handshake, bpf: false,
    },
    Tool {
        name: "tshark", about: "tshark, SYN/FIN/RST, fields to a file",
        program: Program::Theirs(&[
            "tshark", "-i", CLIENT_DEVICE, "-n", "-f", HANDSHAKE, "-T", "fields",
            "-e", "frame.time_epoch", "-e", "ip.src", "-e", "tcp.srcport", "-e", "ip.dst", "-e", "tcp.dstport", "-e", "tcp.flags",
        ]),
        stdout: Stdout::File, ready: Ready::Says("Capture started"), count: count::tshark, bpf: false,
    },
    Tool {
        name: "ss", about: "ss -E, to a file",
        program: Program::Theirs(&["ss", "-E", "-t", "-n", "-H"]),
        stdout: Stdout::File, ready: Ready::After(Duration::from_millis(300)), count: count::ss, bpf: false,
    },
    Tool {
        name: "conntrack", about: "conntrack -E, to a file (with the tracking itself)",
        program: Program::Conntrack(&["conntrack", "-E", "-p", "tcp", "-e", "NEW"]),
        stdout: Stdout::File, ready: Ready::After(Duration::from_millis(300)), count: count::conntrack, bpf: false,
    },
    Tool {
        name: "tcplife", about: "tcplife (libbpf-tools), to a file",
        program: Program::Traces(&["tcplife", "-D", "8000,8001,8002,8003,8004,8005,8006,8007"]),
        stdout: Stdout::File, ready: Ready::After(Duration::from_millis(1500)), count: count::tcplife, bpf: true,
    },
    Tool {
        name: "tcpconnlat", about: "tcpconnlat (libbpf-tools), to a file",
        program: Program::Traces(&["tcpconnlat"]),
        stdout: Stdout::File, ready: Ready::After(Duration::from_millis(1500)), count: count::lines_of_a_port, bpf: true,
    },
    Tool {
        name: "tcpstates", about: "tcpstates (libbpf-tools), to a file",
        program: Program::Traces(&["tcpstates", "-D", "8000,8001,8002,8003,8004,8005,8006,8007"]),
        stdout: Stdout::File, ready: Ready::After(Duration::from_millis(1500)), count: count::tcpstates, bpf: true,
    },
    Tool {
        name: "bpftrace", about: "bpftrace on inet_sock_set_state, a line a connection",
        program: Program::Traces(&["bpftrace", "-e", BPFTRACE]),
        stdout: Stdout::File, ready: Ready::Prints("Attaching"), count: count::bpftrace, bpf: true,
    },
    Tool {
        name: "rustnet", about: "rustnet, JSON to a file",
        program: Program::Theirs(&[
            "rustnet", "-i", CLIENT_DEVICE, "--headless", "--output", "json", "--json-log", count::RUSTNET_LOG,
            "--no-resolve-dns", "--no-dpi", "--no-geoip", "--no-uid-drop", "--no-sandbox",
        ]),
        stdout: Stdout::Null, ready: Ready::After(Duration::from_millis(1500)), count: count::rustnet, bpf: false,
    },
    Tool {
        name: "pping", about: "pping",
        program: Program::Missing("no Debian package or crate has it; it is built from the sources of xdp-project/bpf-examples"),
        stdout: Stdout::Null, ready: Ready::After(Duration::ZERO), count: count::lines_of_a_port, bpf: false,
    },
];

impl Tool {
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.program, Program::Ours(_))
    }

    /// By libpcap.
    pub(crate) fn takes_packets(&self) -> bool {
        matches!(self.binary(), Some("tcpdump" | "tshark" | "rustnet"))
    }

    /// The name of the program, for its version.
    pub(crate) fn binary(&self) -> Option<&'static str> {
        match self.program {
            Program::Ours(_) => Some(OURS),
            Program::Theirs(words) | Program::Traces(words) | Program::Conntrack(words) => {
                words.first().copied()
            }
            Program::Missing(_) => None,
        }
    }

    /// As it is started. The error says why it cannot be.
    pub(crate) fn words(&self) -> Result<Vec<String>, String> {
        /// Gone with the program that it was made for.
        const WITH_TRACEFS: &str = "mount -t tracefs tracefs /sys/kernel/tracing && \
                                    mount -t debugfs debugfs /sys/kernel/debug && exec \"$@\"";
        let theirs = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        match self.program {
            Program::Missing(reason) => Err(reason.to_owned()),
            Program::Ours(words) => Ok([&[OURS, "-i", CLIENT_DEVICE][..], words]
                .concat()
                .iter()
                .map(|&word| word.to_owned())
                .collect()),
            Program::Theirs(words) | Program::Conntrack(words) => installed(words).map(theirs),
            Program::Traces(words) => {
                let before = ["unshare", "--mount", "sh", "-c", WITH_TRACEFS, "sh"];
                installed(words).map(|words| [theirs(&before), theirs(words)].concat())
            }
        }
    }
}

fn installed(words: &'static [&'static str]) -> Result<&'static [&'static str], String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = Path::new("/usr/sbin").to_owned();
    if std::env::split_paths(&path).chain([sbin]).any(|directory| directory.join(words[0]).is_file()) {
        Ok(words)
    } else {
        Err(format!("{} is not installed", words[0]))
    }
}
