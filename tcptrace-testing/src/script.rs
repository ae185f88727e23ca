//! Scripts of segments and of the events that they must cause, in the spirit of packetdrill. The files in `stories/` and the
//! tests of the tracker are written in this language. A line is one thing that happens, and the lines with `=` after it are
//! the events that it causes, so that a file reads as a story:
//!
//! ```text
//! # Three-way handshake, and a reset by the server (RFC 9293 §3.5, §3.5.3).
//! vantage client
//!
//! 0    C S   1000
//! 10   S S.  5000 1001
//! 10.1 C .   1001 5001
//!     = established syn_to_established_ns=10.1ms
//! +5   S R   5001
//!     = connection outcome=reset reset_by=server
//! ```
//!
//! **The scene** is set before anything happens. Each of these lines may be left out:
//!
//! ```text
//! vantage client|server|middle      who is the capturing host (middle: neither)
//! client 192.0.2.1:40000            IPv6 as [2001:db8::1]:40000
//! server 192.0.2.2:80
//! give-up 75s                       the tracker's configuration
//! time-wait 60s
//! max-connections 1000000
//! first-byte                        the first data of each direction is recorded too
//! levels tracker packets: REASON    not to be played at every level, and why not
//! ```
//!
//! **What happens.** TIME is in milliseconds or has a unit (`ns us ms s min h d`). It counts from the beginning of the script
//! or, with `+`, from the line before.
//!
//! ```text
//! TIME C|S FLAGS SEQ [ACK [LEN]] [win N] [ttl N] [id N] [fragment] [on eth1] [vlan 5[.7]] [socket KNOWN] [<mss 1460,sackOK,TS 1/0,wscale 7,tfo,mptcp>]
//! TIME R icmp TYPE/CODE from ADDRESS quotes C|S FLAGS SEQ [ACK [LEN]] [short]
//! TIME S accepted by NAME[PID]
//! TIME lost N since TIME
//! TIME overwritten
//! TIME clock set|unknown
//! TIME tick
//! TIME end
//! ```
//!
//! C or S is the host that sends the segment; C2 and S2 are another connection between the same hosts, from the next port of
//! the client. FLAGS are tcpdump's letters, or `-` for none. Each segment has an identification of its own unless its line
//! says which. `fragment` makes it the first fragment of a packet, with LEN octets of the payload in it. A SYN has
//! `<mss 1460>` unless its line says otherwise; `<>` stands for no options, and `TS` for `TS 1/0`.
//!
//! `socket` says what the kernel knows of the socket that sent the segment: `uid=1000` with a SYN or SYN-ACK, and any of
//! `rtt=12ms,retransmits=3,acked=172,received=7,unacked=0` with a FIN or RST.
//!
//! R is a router, or whoever has ADDRESS. `short` makes its error quote only the first eight octets of the TCP header. After
//! `clock` the clock of the source shows another time than before, or none. `end` ends the trace; without it the end of the
//! file does, but then no line can expect what that causes.
//!
//! **What is expected.** Every event but `segment` must be expected, in order and after the line that causes it. Transitions
//! must be expected only if the script expects at least one.
//!
//! ```text
//! = C SYN-SENT -> ESTABLISHED       LISTEN? where it is inferred
//! = established|connection|anomaly|icmp_error FIELD=VALUE ...
//! =   FIELD=VALUE ...               more fields of the line before
//! ```
//!
//! The fields are those of the JSON, and a line names the ones that matter. `icmp_error.type=3` is a field within another.
//! `resets_ignored` is a count here. Durations (`_ns`) may have a unit, and several have commas between them. `ts` and
//! `start` are written like TIME.

mod error;
mod expect;
mod fields;
mod input;
mod lines;
mod number;
mod play;
mod scene;
mod socket;
#[cfg(test)]
mod tests;
mod words;

pub use error::{Error, Problem};
pub use play::{Difference, Played};
pub use scene::{CLIENT, Level, Levels, SERVER, Scene};

use expect::Expectation;
use tcptrace_core::{
    Config, Tracker,
    event::Event,
    segment::{Input, Timestamp},
};

/// The time 0 of every script.
pub const START: Timestamp = Timestamp(1_000_000_000);

/// A script that was parsed.
#[derive(Debug)]
pub struct Script {
    scene: Scene,
    lines: Vec<Line>,
}

/// One line of a script.
#[derive(Debug)]
struct Line {
    text: String,
    what: LineKind,
}

/// The kind of a line of a script.
#[derive(Debug)]
enum LineKind {
    /// A line of the scene, a comment, or an empty line.
    Aside,
    /// A line on which something happens.
    Step(Step),
    /// An expectation.
    Expected(Expectation),
    /// More fields of the expectation before.
    More,
}

/// Something that happens in a script.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The tracker gets an input.
    Input(Input),
    /// The trace ends.
    End(Timestamp),
}

impl Script {
    /// Parses a script.
    pub fn parse(text: &str) -> Result<Self, Error> {
        lines::script(text)
    }

    /// The hosts, the vantage and the configuration.
    #[must_use]
    pub const fn scene(&self) -> &Scene {
        &self.scene
    }

    /// The comment that the script begins with, which says what case it is; `None` where it begins with something else.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        let first = self.lines.first()?.text.strip_prefix('#')?.trim();
        (!first.is_empty()).then_some(first)
    }

    /// What happens, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> + '_ {
        self.lines
            .iter()
            .filter_map(|line| if let LineKind::Step(step) = &line.what { Some(step) } else { None })
    }

    /// All events that the tracker makes of the script, as if nobody expected any; the first interface is eth0.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let mut tracker = Tracker::new(Config::default());
        tracker.name_interface(1, "eth0".into());
        let (mut events, mut last) = (Vec::new(), START);
        for step in self.steps() {
            if let Step::Input(input) = step {
                last = last.max(input.ts().unwrap_or(last));
                tracker.input(input, &mut |event| events.push(event));
            }
        }
        tracker.finish(last, &mut |event| events.push(event));
        events
    }

    /// Whether the script has expectations.
    #[must_use]
    pub fn expects(&self) -> bool {
        self.expectations().next().is_some()
    }

    /// Whether the script expects transitions, so that all of them must be there.
    fn expects_transitions(&self) -> bool {
        self.expectations().any(Expectation::is_transition)
    }

    fn expectations(&self) -> impl Iterator<Item = &Expectation> + '_ {
        self.lines.iter().filter_map(|line| {
            if let LineKind::Expected(expected) = &line.what { Some(expected) } else { None }
        })
    }
}
