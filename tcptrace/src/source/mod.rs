//! Where the input comes from.

pub mod clock;
mod config;
pub mod cost;
mod error;
mod gaps;
pub mod live;
mod overload;
mod pace;
mod presence;
mod sender;
mod spaces;
mod tags;

pub use tcptrace_core::{capture as pcap, counters, reorder, sweep};
