//! Serves a door: HTTP/1.1 and nothing else, on so many connections at once, and to nobody who does not read.
//!
//! What bounds a container here is that each of its calls has a connection: HTTP/2 would let one have many, and hold back each
//! answer by itself.

use std::time::Duration;

use axum::Router;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::hooks;
use crate::listening::{self, Bounds};

/// How long the other end may take nothing of what it is answered, before its connection is closed, and with that whatever
/// answers it. It is a process of the same host: the kernel keeps some 200 KiB for it that it need not take at once.
const UNTAKEN: Duration = Duration::from_secs(120);

/// Serves until it is dropped; further connections wait in the kernel. Answers that are under way then go on to their ends.
pub(super) async fn serve(listener: UnixListener, places: usize, app: Router) {
    let bounds = Bounds { connections: places, head: None, untaken: hooks::limit("untaken", UNTAKEN) };
    let closed = CancellationToken::new();
    let _open = closed.clone().drop_guard();
    listening::accept(listener, bounds, app, (closed, &TaskTracker::new())).await;
}
