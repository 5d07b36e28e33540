//! Keeps a channel running.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::channels::{Channel, Intake, Pauses};

/// A run as long as this was well: the next pause is the first again.
const WORKED: Duration = Duration::from_secs(60);

/// Runs a channel; one that a bug of ours breaks off is run again after a pause. `note` is told why it is not there, and none
/// when it is again.
pub(super) async fn keep_running(
    channel: &dyn Channel,
    intake: Arc<dyn Intake>,
    stop: CancellationToken,
    note: impl Fn(Option<&str>),
) {
    let mut pauses = Pauses::default();
    loop {
        // What a run started ends with it, also when it breaks off.
        let (began, of_run) = (Instant::now(), stop.child_token());
        let run = channel.run(intake.clone(), of_run.clone());
        let ended = AssertUnwindSafe(run).catch_unwind().await;
        of_run.cancel();
        if ended.is_ok() {
            return;
        }
        if began.elapsed() >= WORKED {
            pauses.reset();
        }
        tracing::error!(channel = channel.name(), "a channel broke off inside; it is run again");
        note(Some("it broke off inside, and is run again by itself"));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pauses.next(None)) => {}
        }
        note(None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::channels::{Abilities, Arrival, NotTaken, Piece, Receipt, SendError, Taken};
    use crate::model::chat::ChatRef;
    use crate::model::reply::Outbound;

    /// Breaks off at its first two runs.
    #[derive(Default)]
    struct Breaks(AtomicU32);

    #[async_trait]
    impl Channel for Breaks {
        fn name(&self) -> &str {
            "breaks"
        }

        fn abilities(&self) -> Abilities {
            Abilities::default()
        }

        async fn run(&self, _: Arc<dyn Intake>, stop: CancellationToken) {
            assert!(self.0.fetch_add(1, Ordering::Relaxed) >= 2, "a bug");
            stop.cancel();
        }

        async fn send(&self, _: &Outbound, _: (usize, &Piece), _: Option<&str>) -> Result<Receipt, SendError> {
            Err(SendError::Absent)
        }
    }

    struct Nobody;

    #[async_trait]
    impl Intake for Nobody {
        async fn take(&self, _: Arrival) -> Result<Taken, NotTaken> {
            Ok(Taken::Known)
        }

        async fn overflow(&self, _: Arrival, _: bool) -> Result<(), NotTaken> {
            Ok(())
        }

        async fn present(&self, _: ChatRef) {}

        async fn cursor(&self) -> Result<Option<String>, NotTaken> {
            Ok(None)
        }

        async fn keep_cursor(&self, _: String) -> Result<(), NotTaken> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_that_breaks_off_says_so_and_is_run_again() {
        let (channel, noted) = (Breaks::default(), Mutex::new(Vec::new()));
        let note = |why: Option<&str>| noted.lock().unwrap().push(why.is_some());
        keep_running(&channel, Arc::new(Nobody), CancellationToken::new(), note).await;
        assert_eq!(channel.0.load(Ordering::Relaxed), 3);
        assert_eq!(*noted.lock().unwrap(), [true, false, true, false]);
    }
}
