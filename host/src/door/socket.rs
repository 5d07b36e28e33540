//! Serves a door: HTTP/1.1 and nothing else, on so many connections at once, and to nobody who does not read.
//!
//! What bounds a container here is that each of its calls has a connection: HTTP/2 would let one have many, and hold back each
//! answer by itself.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use crate::hooks;
use crate::untaken::Placed;

/// How long the other end may take nothing of what it is answered, before its connection is closed, and with that whatever
/// answers it. It is a process of the same host: the kernel keeps some 200 KiB for it that it need not take at once.
const UNTAKEN: Duration = Duration::from_secs(120);
/// What a connection keeps of an answer that is not taken, and the most that the head of a request may have, in bytes.
const BUFFER: usize = 64 * 1024;

/// Serves until it is dropped; further connections wait in the kernel. Answers that are under way then go on to their ends.
pub(super) async fn serve(listener: UnixListener, places: usize, app: Router) {
    let places = Arc::new(Semaphore::new(places));
    let untaken = hooks::limit("untaken", UNTAKEN);
    let mut http = http1::Builder::new();
    http.max_buf_size(BUFFER);
    let (_open, closed) = watch::channel(());
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
        let io = TokioIo::new(Placed::new(stream, place, untaken));
        let connection = http.serve_connection(io, TowerToHyperService::new(app.clone()));
        let mut closed = closed.clone();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                _ = closed.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(error = %crate::error_chain(&error), "a connection of a door broke");
            }
        });
    }
}
