//! Serves connections: HTTP/1.1 and nothing else, so many at once, and nobody for ever who does not send or read.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings::Limits;

/// The most that the head of a request may have, and what a connection keeps of an answer that is not taken, in bytes.
const BUFFER: usize = 64 * 1024;
/// How long answers may take to leave once all ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves until `closed`; answers that are under way then have a few seconds.
pub(super) async fn serve(listener: TcpListener, limits: Limits, app: Router, closed: CancellationToken) {
    let connections = TaskTracker::new();
    tokio::select! {
        () = accept(listener, limits, &app, &closed, &connections) => {}
        () = closed.cancelled() => {}
    }
    connections.close();
    // Those that hang end with the runtime, or when their untaken answers time out.
    let _ = timeout(LAST_WORDS, connections.wait()).await;
}

async fn accept(
    listener: TcpListener,
    limits: Limits,
    app: &Router,
    closed: &CancellationToken,
    connections: &TaskTracker,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut http = http1::Builder::new();
    http.max_buf_size(BUFFER).timer(TokioTimer::new()).header_read_timeout(limits.head);
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
        let io = TokioIo::new(Placed { stream, _place: place, untaken: limits.untaken, waits: None });
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

/// A connection that gives back its place when it closes.
struct Placed {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
    untaken: Duration,
    /// While something waits to be taken: until when.
    waits: Option<Pin<Box<Sleep>>>,
}

impl Placed {
    /// An attempt to write; too long without one that does anything is an error.
    fn wrote(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            self.waits = None;
            return polled;
        }
        let untaken = self.untaken;
        ready!(self.waits.get_or_insert_with(|| Box::pin(sleep(untaken))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was taken for too long")))
    }
}

impl AsyncRead for Placed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
