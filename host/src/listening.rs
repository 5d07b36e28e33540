//! Connections of a listener of ours: HTTP/1.1 and nothing else, so many at once, and nobody for ever who does not send or read.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::untaken::Placed;

/// The most that the head of a request may have, and what a connection keeps of an answer that is not taken, in bytes.
const BUFFER: usize = 64 * 1024;

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// At once; further ones wait in the kernel.
    pub(crate) connections: usize,
    /// How long a request's head may take, and an idle connection is kept; none: as long as it likes.
    pub(crate) head: Option<Duration>,
    /// How long the other end may take nothing of its answer.
    pub(crate) untaken: Duration,
}

/// Accepts until it is dropped, each connection as a task of `connections`. After `closed`, answers that are under way go on to
/// their ends, and nothing more is asked.
pub(crate) async fn accept(
    mut listener: impl Listener,
    bounds: Bounds,
    app: Router,
    (closed, connections): (CancellationToken, &TaskTracker),
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let mut http = http1::Builder::new();
    http.max_buf_size(BUFFER).timer(TokioTimer::new()).header_read_timeout(bounds.head);
    loop {
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else { continue };
        let (stream, _) = listener.accept().await;
        let io = TokioIo::new(Placed::new(stream, place, bounds.untaken));
        let connection = http.serve_connection(io, TowerToHyperService::new(app.clone()));
        let closed = closed.clone();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = closed.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(error = %crate::error_chain(&error), "a connection broke");
            }
        });
    }
}
