//! The lifecycles of TCP connections from their segments: who opened, how long that took, who closed first, why a
//! handshake failed, and in which of RFC 9293's states both ends are.
//!
//! This crate is all of tcptrace that is pure. It needs no kernel program, no rights and no runtime; the crate
//! `tcptrace` adds the command line, the kernel and the writing of lines. Segments come from a capture file
//! ([`PcapSource`]), from records of the kernel programs ([`decode`]), or are made by hand. The [`Tracker`] makes
//! [`Event`]s of them, and a [`Sink`] makes lines of events. The tracker has no clock: time comes with the segments.
//!
//! This example reads a capture of a SYN and of the RST that refuses the connection:
//!
//! ```
//! use tcptrace_core::{CaptureOptions, Config, Event, Outcome, PcapSource, Reader, Timestamp, Tracker};
//!
//! # let packet = |at: u32, from: u8, to: u8, ports: [u16; 2], flags: u8, seq: u32, ack: u32| {
//! #     let mut bytes = [at.to_le_bytes(), 0_u32.to_le_bytes(), 40_u32.to_le_bytes(), 40_u32.to_le_bytes()].concat();
//! #     bytes.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, from, 192, 0, 2, to]);
//! #     ports.iter().for_each(|port| bytes.extend(port.to_be_bytes()));
//! #     bytes.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
//! #     bytes.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
//! #     bytes
//! # };
//! # // The header of a file of IP packets (LINKTYPE_RAW), and two packets a second apart.
//! # let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0];
//! # file.extend(packet(1, 1, 2, [40000, 80], 0x02, 1000, 0));
//! # file.extend(packet(2, 2, 1, [80, 40000], 0x14, 0, 1001));
//! let reader = Reader::from_read("example", std::io::Cursor::new(file))?;
//! let mut source = PcapSource::new(reader, &CaptureOptions::default());
//! let (mut tracker, mut inputs, mut events) = (Tracker::new(Config::default()), Vec::new(), Vec::new());
//! while source.next_batch(&mut inputs)? {
//!     for input in inputs.drain(..) {
//!         tracker.input(&input, &mut |event| events.push(event));
//!     }
//! }
//! tracker.finish(source.last_packet(), &mut |event| events.push(event));
//! let Some(Event::Connection(connection)) = events.last() else { panic!("{events:?}") };
//! assert_eq!(connection.outcome, Outcome::Refused);
//! assert_eq!(connection.lifetime_ns, Some(1_000_000_000));
//! # Ok::<_, tcptrace_core::FileError>(())
//! ```
//!
//! The example `examples/slowest.rs` reads a capture file, and prints its slowest handshakes. Lines that `tcptrace
//! --json` wrote are events again by `serde_json::from_str::<Event>(line)`, as in `examples/read_back.rs`, which prints their
//! slowest handshakes.

pub mod capture;
pub mod counters;
pub mod decode;
pub mod event;
pub mod filter;
pub mod merge;
pub mod once;
pub mod parse;
pub mod reorder;
pub mod request;
pub mod segment;
pub mod sink;
pub mod socket;
pub mod source_clock;
pub mod sweep;
#[cfg(feature = "top")]
pub mod top;
pub mod track;
pub mod tunnel;

pub use capture::{CaptureOptions, FileError, PcapSource, Reader};
pub use event::{Connection, Established, Event, Kind, Outcome, Role, State};
pub use filter::{Filter, FilterError};
pub use once::Once;
pub use segment::{Input, Segment, Timestamp};
pub use sink::{Sink, json::JsonSink, summary::Summary, text::TextSink};
pub use track::{Ahead, Config, Next, Tracker};
