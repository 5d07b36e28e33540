//! Serves a channel's own listener.

use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use crate::listening::Bounds;

/// How long answers may take to leave once all ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves until `closed`; answers that are under way then have a few seconds.
pub(super) async fn serve(listener: TcpListener, bounds: Bounds, app: Router, closed: CancellationToken) {
    // Words of a stream are small, and wanted at once.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let connections = TaskTracker::new();
    tokio::select! {
        () = crate::listening::accept(listener, bounds, app, (closed.clone(), &connections)) => {}
        () = closed.cancelled() => {}
    }
    connections.close();
    // Those that hang end with the runtime, or when their untaken answers time out.
    let _ = timeout(LAST_WORDS, connections.wait()).await;
}
