//! The lifecycles of TCP connections from their segments: who opened, how long that took, who closed first, why a handshake
//! failed, and in which of RFC 9293's states both ends are.

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
