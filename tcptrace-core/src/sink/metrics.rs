//! Metrics for Prometheus: counts and distributions of a trace, which are read from time to time while it goes on.
//!
//! What is kept of connections is kept by label set: interface, role of this host, port of the server, and systemd unit. Only
//! the busiest label sets have series of their own, so that memory and series are bounded, however many servers there are.

mod busiest;
mod encode;
mod format;
mod host;
mod labels;
mod series;

pub use format::Format;

use crate::event::{Event, Stats};
use busiest::Busiest;
use encode::Exposition;
use host::Host;
use prometheus_client::{
    encoding::{prometheus_protobuf, prometheus_text, text},
    registry::Registry,
};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use thiserror::Error;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many label sets have series of their own.
    pub top: usize,
    /// How many connections the tracker's table holds.
    pub max_connections: u64,
}

/// The metrics of a trace. A clone is another handle of the same metrics: one is given events, and another renders.
#[derive(Clone, Debug)]
pub struct Metrics {
    model: Arc<Mutex<Model>>,
    registry: Arc<Registry>,
}

/// What is kept of a trace.
#[derive(Debug)]
struct Model {
    /// What is kept by label set.
    busiest: Busiest,
    /// What is kept of the trace as a whole.
    host: Host,
}

/// The metrics could not be rendered.
#[derive(Debug, Error)]
#[error("the metrics cannot be written: {0}")]
pub struct RenderError(String);

impl Metrics {
    /// The metrics of a trace that begins.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let host = Host::new(options.max_connections);
        let model = Arc::new(Mutex::new(Model { busiest: Busiest::new(options.top), host }));
        let mut registry = Registry::with_prefix("tcptrace");
        registry.register_collector(Box::new(Exposition::new(Arc::clone(&model))));
        Self { model, registry: Arc::new(registry) }
    }

    /// Counts an event. Only `established` and `connection` are counted.
    pub fn observe(&self, event: &Event) {
        let model = &mut *lock(&self.model);
        match event {
            Event::Established(event) => {
                model.busiest.series(labels::of_established(event)).established(&event.times);
            }
            Event::Connection(event) => {
                model.busiest.series(labels::of_connection(event)).connection(event);
            }
            _ => {}
        }
    }

    /// Takes the counters of the trace as they are now.
    pub fn counters(&self, stats: &Stats) {
        lock(&self.model).host.update(stats);
    }

    /// Writes all metrics in a format, `now` after the trace began. Once a minute at most, label sets that have become busier
    /// than some that have series of their own take their places.
    pub fn render(&self, format: Format, now: Duration) -> Result<Vec<u8>, RenderError> {
        lock(&self.model).busiest.turn(now);
        let written = self.write(format);
        lock(&self.model).busiest.forget();
        written
    }

    fn write(&self, format: Format) -> Result<Vec<u8>, RenderError> {
        let failed = |error: &dyn fmt::Display| RenderError(error.to_string());
        let mut out = String::new();
        match format {
            Format::Text => prometheus_text::encode(&mut out, &self.registry).map_err(|e| failed(&e))?,
            Format::OpenMetrics => text::encode(&mut out, &self.registry).map_err(|e| failed(&e))?,
            Format::Protobuf => {
                return prometheus_protobuf::encode_to_vec(&self.registry).map_err(|e| failed(&e));
            }
        }
        Ok(out.into_bytes())
    }
}

/// The model, also where a thread panicked that held it: numbers are whole at any time.
fn lock(model: &Mutex<Model>) -> MutexGuard<'_, Model> {
    model.lock().unwrap_or_else(PoisonError::into_inner)
}
