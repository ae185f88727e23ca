//! The lifecycles of TCP connections from their segments: who opened, how long that took, who closed first, why a handshake
//! failed, and in which of RFC 9293's states both ends are.
//!
//! This is all of tcptrace that is pure. It needs no kernel program, no rights and no runtime; `tcptrace` adds the command line,
//! the kernel and the writing of lines. What comes in are segments: of a capture file ([`PcapSource`]), of records of the kernel
//! programs ([`decode`]), or made by hand ([`script`]). The [`Tracker`] makes [`Event`]s of them, and a [`Sink`] makes lines of
//! events. The tracker has no clock: time comes with the segments.
//!
//! A SYN, the answer to it, and the acknowledgement of that, written as a script:
//!
//! ```
//! use tcptrace_core::{Config, Event, Tracker, script::{Script, Step}};
//!
//! let script = Script::parse("0 C S 1000\n20 S S. 5000 1001\n21 C . 1001 5001").expect("a script");
//! let (mut tracker, mut established) = (Tracker::new(Config::default()), Vec::new());
//! for step in script.steps() {
//!     if let Step::Input(input) = step {
//!         tracker.input(input, &mut |event| {
//!             if let Event::Established(handshake) = event {
//!                 established.push(handshake.times);
//!             }
//!         });
//!     }
//! }
//! assert_eq!(established[0].syn_to_established_ns, Some(21_000_000));
//! assert_eq!(established[0].syn_to_synack_ns, Some(20_000_000));
//! ```
//!
//! A capture file is read in `examples/slowest.rs`, which prints its slowest handshakes. Lines that `tcptrace --json` wrote are
//! events again by `serde_json::from_str::<Event>(line)`: `examples/read_back.rs` prints the slowest handshakes of those.

pub mod capture;
pub mod counters;
pub mod decode;
pub mod event;
pub mod filter;
#[doc(hidden)]
pub mod fuzzing;
pub mod once;
pub mod parse;
pub mod reorder;
pub mod script;
pub mod segment;
pub mod sink;
pub mod sweep;
pub mod track;
pub mod tunnel;
pub mod wall;

pub use capture::{FileError, Options as CaptureOptions, PcapSource, Reader};
pub use event::{Connection, Established, Event, Kind, Outcome, Role, State};
pub use filter::{Filter, FilterError};
pub use once::Once;
pub use segment::{Input, Segment, Timestamp};
pub use sink::{Sink, json::JsonSink, summary::Summary, text::TextSink};
pub use track::{Config, Tracker};
