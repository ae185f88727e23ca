//! Where events go to: what the core makes lines of them, and what writes these.

pub mod output;
pub mod pipe;

pub use tcptrace_core::sink::{Sink, json, pcapng, summary, text, units, wrap};
