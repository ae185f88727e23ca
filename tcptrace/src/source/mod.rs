//! The sources of the tracker's input: the kernel programs' ring, or capture files.

pub mod clock;
mod config;
pub mod cost;
mod error;
mod gaps;
pub(crate) mod hierarchy;
mod listeners;
pub mod live;
mod overload;
mod owners;
mod pace;
mod phase;
mod presence;
mod processes;
mod running;
mod sender;
mod spaces;
mod tags;

pub use tcptrace_core::{capture as pcap, counters, reorder, sweep};
