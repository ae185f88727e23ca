//! Where the input comes from.

pub mod clock;
mod config;
pub mod cost;
pub mod counters;
mod gaps;
pub mod live;
mod overload;
mod pace;
pub mod pcap;
mod place;
mod presence;
pub(crate) mod reorder;
mod sender;
mod sweep;
mod tags;
