//! What the `start` event says of a trace: which run it is, where it looks, and what was asked of it.

use super::{Kinds, RunId, define::object, value};
use crate::segment::Timestamp;
use std::borrow::Cow;

object! {
    /// The trace begins. It is the first line where this kind is printed, as it is by default with `--json`, and comes once in a run.
    #[derive(Clone, Debug, PartialEq, Default)]
    pub struct Start {
        /// When the trace began, by the clock of the host that tcptrace runs on, also where a capture file is read.
        pub ts: Timestamp,
        /// Which trace: no other has the same. With a connection's `id` it names that connection among those of all hosts.
        pub run: RunId,
        /// The version of tcptrace.
        pub version: String,
        /// The name of the host that tcptrace runs on, as uname(2) tells it; a capture file may be of another. In a container it is
        /// the container's.
        pub host: String,
        /// Which boot of the host's kernel the trace belongs to (`/proc/sys/kernel/random/boot_id`); null of a capture file, and
        /// where it cannot be read.
        #[schemars(schema_with = "value::uuid_or_null")]
        pub boot_id: Option<String>,
        /// The release of the host's kernel; null of a capture file.
        pub kernel: Option<String>,
        /// Packets are traced as they pass; false of a capture file.
        #[serde(default)]
        pub live: bool,
        /// The capture files that are read, as they were given; `-` is the standard input. Empty of a live trace.
        #[serde(default)]
        pub files: Vec<String>,
        /// Interfaces that are traced from the beginning, to which others may come with `-i any` and `--all-netns`; of a capture file
        /// those that it names before its first packet.
        #[serde(default)]
        pub interfaces: Vec<TracedInterface>,
        /// The filter as it was given, on the command line or in a file; null for all connections.
        pub filter: Option<String>,
        /// How the kernel's time stamps become times of day; null of a capture file, which has times of its own.
        pub clock: Option<ClockAnchor>,
        /// What else was asked for and decides on what events there are and what they mean.
        pub settings: Settings,
    }
}

object! {
    /// An interface that is traced.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct TracedInterface {
        /// Its name, as `interface` has it in other events.
        pub name: String,
        /// Its number within its network namespace; null of a capture file.
        pub index: Option<u32>,
        /// The network namespace that it is in, as it was given or found; null in that of tcptrace, and of a capture file.
        pub netns: Option<String>,
    }
}

object! {
    /// How the time stamps of the kernel, of its monotonic clock, become those of events.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ClockAnchor {
        /// What is added to them for nanoseconds of the Unix epoch, as of the beginning: it is measured again every ten seconds, and
        /// when the clock is set.
        pub monotonic_offset_ns: i64,
        /// How far from the truth that can be: half of the time that reading both clocks took.
        pub uncertainty_ns: u64,
    }
}

object! {
    /// What was asked for.
    #[derive(Clone, Debug, PartialEq, Default)]
    pub struct Settings {
        /// The kinds of events that are printed (`--events`, `-v`).
        #[schemars(schema_with = "value::kinds")]
        pub events: Kinds,
        /// Only handshakes that failed are printed, and with `slower_ns` slow ones (`--failed`).
        #[serde(default)]
        pub failed: bool,
        /// Only handshakes that took so long are printed (`--slower`); null for all.
        pub slower_ns: Option<u64>,
        /// Each connection is reported once, however many interfaces it passes (`--once`).
        #[serde(default)]
        pub once: bool,
        /// The trace ends after so many connections (`-c`); null for no such end.
        pub count: Option<u64>,
        /// The trace ends after so long (`--for`); null for no such end.
        pub duration_ns: Option<u64>,
        /// The hook for packets that come in (`--ingress`): `tc` or `xdp`; null of a capture file.
        pub ingress: Option<Cow<'static, str>>,
        /// Tunnels that are looked into (`--decap`), those in UDP with their ports, in the form that `--decap` takes.
        #[serde(default)]
        pub decap: Vec<String>,
        /// The sockets of this host are asked whose they are and what they know; false with `--no-sockets`, and of a capture file.
        #[serde(default)]
        pub sockets: bool,
        /// The processes that use these sockets are told (`--process`).
        #[serde(default)]
        pub process: bool,
        /// Connections say when their first data came (`--first-byte`).
        #[serde(default)]
        pub first_byte: bool,
        /// Connections say which server is asked (`--server-name`).
        #[serde(default)]
        pub server_name: bool,
        /// The part of connections that is followed at most (`--sample`), 1 for all.
        pub sample: f64,
        /// Connections followed at once; beyond that the oldest is `evicted` (`--max-connections`).
        pub max_connections: u64,
        /// After so long without an answer a connection is `unanswered` (`--syn-timeout`).
        pub syn_timeout_ns: u64,
        /// How long TIME-WAIT lasts (`--time-wait`).
        pub time_wait_ns: u64,
    }
}
