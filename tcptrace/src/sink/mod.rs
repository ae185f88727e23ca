//! Where events go to. The core's sinks make lines of events, and an [`output::Output`] writes these to a descriptor.

pub mod output;
pub mod pipe;

pub use tcptrace_core::sink::{Sink, json, metrics, pcapng, summary, text, units, wrap};
