//! Serves metrics over HTTP to whoever asks for them, such as Prometheus.

mod listener;
mod server;

use super::{Beginning, Consumer, Opened, Opening};
use crate::{
    event::{Event, Kind, Kinds, Stats},
    run::RunError,
    sink::metrics::{Metrics, Options},
};
use listener::Listener;
use server::Server;
use std::os::fd::{AsRawFd as _, RawFd};
use tokio::{sync::watch, task::JoinHandle};

pub(super) fn open(opening: &Opening<'_>) -> Opened {
    let config = opening.config.metrics.as_ref()?;
    let address = config.address.clone();
    let max_connections = opening.config.limits.max_connections as u64;
    let metrics = Metrics::new(Options { top: config.top, max_connections });
    let opened = Listener::open(&address).map_err(|source| RunError::Serve { address, source });
    Some(opened.map(|listener| {
        let fd = listener.as_raw_fd();
        let (told, _) = watch::channel(());
        Box::new(Served { metrics, fd, listener: Some(listener), told, server: None }) as _
    }))
}

/// The consumer that keeps metrics, while a task of the runtime serves them.
struct Served {
    metrics: Metrics,
    /// The descriptor of the listener, which is open to the end of the trace.
    fd: RawFd,
    /// The listener, until the trace begins.
    listener: Option<Listener>,
    /// Says that the counters have come that were asked for.
    told: watch::Sender<()>,
    /// The task that serves.
    server: Option<JoinHandle<()>>,
}

impl Consumer for Served {
    fn wants(&self) -> Kinds {
        Kinds::NONE.with(Kind::Established).with(Kind::Connection)
    }

    fn listener(&self) -> Option<RawFd> {
        Some(self.fd)
    }

    fn begin(&mut self, beginning: &Beginning) -> Result<(), RunError> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        let accepting = listener.accepting().map_err(RunError::system("wait for connections"))?;
        let server = Server::new(self.metrics.clone(), beginning.ask.clone(), self.told.subscribe());
        self.server = Some(tokio::spawn(server.serve(accepting)));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), RunError> {
        self.metrics.observe(event);
        Ok(())
    }

    fn counters(&mut self, stats: &Stats) {
        self.metrics.counters(stats);
        self.told.send_replace(());
    }

    fn end(&mut self) -> Result<u64, RunError> {
        if let Some(server) = self.server.take() {
            server.abort();
        }
        Ok(0)
    }
}
