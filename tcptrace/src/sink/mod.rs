//! Where events go to. The core's sinks make lines of events, and an [`output::Output`] writes these to a descriptor.

mod batch;
pub mod files;
pub mod output;
pub mod pipe;
pub mod place;

pub use tcptrace_core::sink::{Sink, json, ladder, metrics, pcapng, report, summary, text, units, wrap};
