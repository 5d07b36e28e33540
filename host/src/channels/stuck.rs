//! A chat whose oldest arrival is not taken: its channel keeps what follows, and drops it only when it is the chat's own trouble.

use std::time::Duration;

use tokio::time::Instant;

/// How long a chat is held before anything of it may be dropped: a few tries.
const LONG: Duration = Duration::from_secs(5);

/// Since when, and how often it was tried.
#[derive(Debug)]
pub(super) struct Stuck {
    since: Instant,
    tries: u32,
    /// The try after which nothing could be dropped, as it could not be counted: then the trouble was everybody's.
    shared: Option<u32>,
}

impl Stuck {
    /// It was not taken for the first time.
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), tries: 1, shared: None }
    }

    /// It was not taken again.
    pub(super) fn again(&mut self) {
        self.tries = self.tries.saturating_add(1);
    }

    /// What is too much could not be dropped.
    pub(super) fn not_dropped(&mut self) {
        self.shared = Some(self.tries);
    }

    /// Whether what is too much is to be dropped: it is stuck for long, and after any trouble that was everybody's.
    pub(super) fn may_drop(&self) -> bool {
        self.since.elapsed() >= LONG && self.shared != Some(self.tries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_chat_that_is_stuck_for_long_by_itself_may_lose_anything() {
        let mut stuck = Stuck::new();
        assert!(!stuck.may_drop());
        tokio::time::sleep(LONG).await;
        assert!(stuck.may_drop());
        stuck.not_dropped();
        tokio::time::sleep(LONG * 100).await;
        assert!(!stuck.may_drop(), "it was not tried since");
        stuck.again();
        assert!(stuck.may_drop());
    }
}
