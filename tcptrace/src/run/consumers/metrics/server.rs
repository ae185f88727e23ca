//! The HTTP server of the metrics.
//!
//! It runs on the runtime of the trace, between two batches of packets, and whatever clients do is bounded: how many are served
//! at a time, how long each takes, how much it sends, how many requests there are a second, and how often metrics are rendered.
//! A connection is for one request.

use super::listener::{Accepting, Stream};
use crate::sink::metrics::{Format, Metrics};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, Notify, Semaphore, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

/// How many clients are served at a time. Others wait in the kernel.
const CLIENTS: usize = 16;
/// How long a client may take for its request. Prometheus sends it at once.
const HEADER: Duration = Duration::from_secs(2);
/// How long a connection may last in all. Prometheus waits 10 s for an answer, unless it is told otherwise.
const CONNECTION: Duration = Duration::from_secs(10);
/// How many octets the lines of a request may have together; hyper takes no less than 8 KiB.
const REQUEST_BYTES: usize = 16 * 1024;
/// How many headers a request may have.
const HEADERS: usize = 64;
/// The least time between two connections that are accepted.
const PACE: Duration = Duration::from_millis(2);
/// How long what was rendered is given to others too.
const FRESH: Duration = Duration::from_millis(250);
/// How long the trace may take to tell its counters. After that those of the last time are served.
const COUNTERS: Duration = Duration::from_secs(1);
/// How long nothing is accepted after the kernel refused, as it does where no more files may be open.
const REFUSED: Duration = Duration::from_millis(100);

/// What is at `/`.
const INDEX: &str = "tcptrace: metrics are at /metrics\n";
const TEXT: &str = "text/plain; charset=utf-8";

/// What the tasks that serve have in common.
pub(super) struct Server {
    metrics: Metrics,
    /// Asks the trace for its counters.
    ask: Arc<Notify>,
    /// Changes when they have come.
    told: watch::Receiver<()>,
    begun: Instant,
    /// What was rendered last, of each format.
    rendered: Mutex<[Option<Rendered>; Format::ALL.len()]>,
}

#[derive(Clone)]
struct Rendered {
    at: Instant,
    body: Bytes,
}

impl Server {
    pub(super) fn new(metrics: Metrics, ask: Arc<Notify>, told: watch::Receiver<()>) -> Self {
        let rendered = Mutex::new([const { None }; Format::ALL.len()]);
        Self { metrics, ask, told, begun: Instant::now(), rendered }
    }

    /// Serves clients for ever.
    pub(super) async fn serve(self, listener: Accepting) {
        let server = Arc::new(self);
        let clients = Arc::new(Semaphore::new(CLIENTS));
        let mut next = Instant::now();
        // The semaphore is never closed.
        while let Ok(client) = Arc::clone(&clients).acquire_owned().await {
            sleep_until(next).await;
            let stream = listener.accept().await;
            next = Instant::now() + PACE;
            let Ok(stream) = stream else {
                sleep(REFUSED).await;
                continue;
            };
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                // A client that is too slow, or sends nonsense, is its own to blame.
                let _ = timeout(CONNECTION, server.converse(stream)).await;
                drop(client);
            });
        }
    }

    /// Answers the one request of a connection.
    async fn converse(self: Arc<Self>, stream: Box<dyn Stream>) -> hyper::Result<()> {
        let service = service_fn(move |request| {
            let server = Arc::clone(&self);
            async move { Ok::<_, Infallible>(server.answer(&request).await) }
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER)
            .keep_alive(false)
            .max_buf_size(REQUEST_BYTES)
            .max_headers(HEADERS)
            .serve_connection(TokioIo::new(stream), service)
            .await
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => {
                let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
                let format = Format::accepted(accept.unwrap_or_default());
                match self.render(format).await {
                    Some(body) => response(StatusCode::OK, format.content_type(), body),
                    None => {
                        response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the metrics cannot be written\n")
                    }
                }
            }
            (&Method::GET, "/") => response(StatusCode::OK, TEXT, INDEX),
            (_, "/metrics" | "/") => {
                let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is answered\n");
                refused.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET"));
                refused
            }
            _ => response(StatusCode::NOT_FOUND, TEXT, "there is nothing here: metrics are at /metrics\n"),
        }
    }

    /// The metrics in a format. Clients that ask at the same time wait for each other.
    async fn render(&self, format: Format) -> Option<Bytes> {
        let mut rendered = self.rendered.lock().await;
        let place = &mut rendered[format as usize];
        if let Some(Rendered { at, body }) = place
            && at.elapsed() < FRESH
        {
            return Some(body.clone());
        }
        let mut told = self.told.clone();
        told.mark_unchanged();
        self.ask.notify_one();
        // Where the trace has no time, what it last told is served.
        let _ = timeout(COUNTERS, told.changed()).await;
        let body = Bytes::from(self.metrics.render(format, self.begun.elapsed()).ok()?);
        *place = Some(Rendered { at: Instant::now(), body: body.clone() });
        Some(body)
    }
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}
