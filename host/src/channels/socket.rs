//! Serves connections of a channel's own listener: HTTP/1.1 and nothing else, so many at once, and nobody for ever who does not send or read.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::untaken::Placed;

/// The most that the head of a request may have, and what a connection keeps of an answer that is not taken, in bytes.
const BUFFER: usize = 64 * 1024;
/// How long answers may take to leave once all ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// At once; further ones wait in the kernel.
    pub(super) connections: usize,
    /// How long a request's head may take, and an idle connection is kept.
    pub(super) head: Duration,
    /// How long the other end may take nothing of its answer.
    pub(super) untaken: Duration,
}

/// Serves until `closed`; answers that are under way then have a few seconds.
pub(super) async fn serve(listener: TcpListener, bounds: Bounds, app: Router, closed: CancellationToken) {
    let connections = TaskTracker::new();
    tokio::select! {
        () = accept(listener, bounds, &app, &closed, &connections) => {}
        () = closed.cancelled() => {}
    }
    connections.close();
    // Those that hang end with the runtime, or when their untaken answers time out.
    let _ = timeout(LAST_WORDS, connections.wait()).await;
}

async fn accept(
    listener: TcpListener,
    bounds: Bounds,
    app: &Router,
    closed: &CancellationToken,
    connections: &TaskTracker,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let mut http = http1::Builder::new();
    http.max_buf_size(BUFFER).timer(TokioTimer::new()).header_read_timeout(bounds.head);
    loop {
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else { continue };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "no connection accepted");
                // Out of descriptors: they come back when others close.
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Words of a stream are small, and wanted at once.
        let _ = stream.set_nodelay(true);
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
