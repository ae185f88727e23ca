//! Scripts of segments and of what is expected of them, in packetdrill's spirit: the language of the files in
//! `tests/lifecycle` and of the tracker's own tests. A line is one thing that happens, and the lines beginning
//! with `=` after it are what it causes, so that a file reads as a story:
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
//! **Scene**, before anything happens; each line may be left out:
//!
//! ```text
//! vantage client|server|middle      who is the capturing host (middle: neither)
//! client 192.0.2.1:40000            IPv6 as [2001:db8::1]:40000
//! server 192.0.2.2:80
//! give-up 75s                       the tracker's configuration
//! time-wait 60s
//! max-connections 1000000
//! levels tracker packets: REASON    not to be played at every level, and why not
//! ```
//!
//! **What happens.** TIME is in milliseconds or has a unit (`ns us ms s min h d`), from the beginning or, with `+`,
//! from the line before.
//!
//! ```text
//! TIME C|S FLAGS SEQ [ACK [LEN]] [win N] [ttl N] [id N] [fragment] [on eth1] [vlan 5[.7]] [<mss 1460,sackOK,TS 1/0,wscale 7,tfo,mptcp>]
//! TIME R icmp TYPE/CODE from ADDRESS quotes C|S FLAGS SEQ [ACK [LEN]] [short]
//! TIME lost N since TIME
//! TIME overwritten
//! TIME clock set|unknown
//! TIME tick
//! TIME end
//! ```
//!
//! C sends or S does; FLAGS are tcpdump's letters, or `-` for none. C2 and S2 are another connection of the same hosts,
//! from the client's next port. Each segment has an identification of its own unless its line says which; `fragment` is the
//! first fragment of a packet, of whose payload LEN octets are in it. A SYN has `<mss 1460>` where it says nothing, `<>` is
//! none; `TS` is `TS 1/0`. R is a router, or whoever ADDRESS is; `short` quotes no more than the first eight octets. From
//! `clock` on the source's clock shows another time than before, or none. The trace ends with the file at the latest; what its
//! end causes can only be told after an `end`.
//!
//! **What is expected.** Every event but `segment`, in order and at its place; transitions only if the script has at
//! least one.
//!
//! ```text
//! = C SYN-SENT -> ESTABLISHED       LISTEN? where it is inferred
//! = established|connection|anomaly|icmp_error FIELD=VALUE ...
//! =   FIELD=VALUE ...               more fields of the line before
//! ```
//!
//! The fields are those of the JSON, of which a line names what matters; `icmp_error.type=3` is within another.
//! `resets_ignored` is their number. Durations (`_ns`) may have a unit, and where they are several, have commas between them; `ts` and `start` are times as above.

mod error;
mod expect;
mod fields;
mod input;
mod lines;
mod number;
mod play;
mod scene;
#[cfg(test)]
mod tests;
mod words;

pub use error::{Error, Problem};
pub use play::{Difference, Played};
pub use scene::{CLIENT, Level, Levels, SERVER, Scene};

use expect::Expectation;
use tcptrace_core::segment::{Input, Timestamp};

/// Time 0 of every script.
pub const START: Timestamp = Timestamp(1_000_000_000);

/// A script, read.
#[derive(Debug)]
pub struct Script {
    scene: Scene,
    lines: Vec<Line>,
}

/// One line of the file.
#[derive(Debug)]
struct Line {
    text: String,
    what: What,
}

/// What a line is.
#[derive(Debug)]
enum What {
    /// The scene, a comment, or nothing.
    Aside,
    /// It happens.
    Step(Step),
    /// It is expected.
    Expected(Expectation),
    /// More fields of the expectation before.
    More,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The tracker's next input.
    Input(Input),
    /// The trace ends.
    End(Timestamp),
}

impl Script {
    /// Reads a script.
    pub fn parse(text: &str) -> Result<Self, Error> {
        lines::script(text)
    }

    /// Hosts, vantage and configuration.
    #[must_use]
    pub const fn scene(&self) -> &Scene {
        &self.scene
    }

    /// What the file opens with: which case it is. `None` where it opens with something else.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        let first = self.lines.first()?.text.strip_prefix('#')?.trim();
        (!first.is_empty()).then_some(first)
    }

    /// What happens, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> + '_ {
        self.lines.iter().filter_map(|line| if let What::Step(step) = &line.what { Some(step) } else { None })
    }

    /// It says what is expected.
    #[must_use]
    pub fn expects(&self) -> bool {
        self.expectations().next().is_some()
    }

    /// It expects transitions too, so all of them.
    fn tells_transitions(&self) -> bool {
        self.expectations().any(Expectation::is_transition)
    }

    fn expectations(&self) -> impl Iterator<Item = &Expectation> + '_ {
        self.lines
            .iter()
            .filter_map(|line| if let What::Expected(expected) = &line.what { Some(expected) } else { None })
    }
}
