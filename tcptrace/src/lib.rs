//! tcptrace: every TCP connection on a NIC, how it opened, failed and closed.

pub mod check;
pub mod cli;
pub mod confine;
pub mod kernel;
pub mod names;
mod near;
mod random;
pub mod resolver;
pub mod run;
pub mod sink;
pub mod source;
pub mod stderr;

pub use tcptrace_core::{
    decode, event, filter, merge, once, parse, segment, source_clock, top, track, tunnel,
};
