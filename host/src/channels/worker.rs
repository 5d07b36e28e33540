//! What works for a chat of a channel, for as long as the channel runs.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::Pauses;

/// Works to the end. What a bug of ours breaks off is begun anew after a pause: its chat would be served by nobody else.
pub(super) async fn works<W: Future<Output = ()>>(chat: &str, work: impl Fn() -> W, stop: &CancellationToken) {
    let mut pauses = Pauses::default();
    while AssertUnwindSafe(async { work().await }).catch_unwind().await.is_err() {
        tracing::error!(chat, "what hands in a chat's messages broke off inside; it goes on after a pause");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pauses.next(None)) => {}
        }
    }
}
