//! What the databases of a home share.

use std::sync::Arc;

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::fault::DiskNote;

/// What a home's databases stand on. Clones are handles to the same.
#[derive(Clone)]
pub struct Ground {
    /// Does not return when the databases are not ours any more.
    guard: Arc<dyn Fn() + Send + Sync>,
    /// What the disk refused last.
    pub(super) note: DiskNote,
    /// The threads that have one open, also those whose last handle is dropped.
    threads: TaskTracker,
}

impl Default for Ground {
    fn default() -> Self {
        Self::new(Arc::new(|| {}))
    }
}

impl Ground {
    /// A ground whose databases ask `guard` in every transaction, before anything is done in it.
    pub fn new(guard: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { guard, note: DiskNote::default(), threads: TaskTracker::new() }
    }

    /// Returns while the databases are ours.
    pub(super) fn stand(&self) {
        (self.guard)();
    }

    /// Held by whoever has a database open.
    pub(super) fn opened(&self) -> TaskTrackerToken {
        self.threads.token()
    }

    /// Waits until every database is closed in order.
    pub(super) async fn closed(&self) {
        self.threads.close();
        self.threads.wait().await;
    }
}
