//! A chat whose oldest arrival is not taken: its channel keeps what follows, and drops it only when it is the chat's own trouble.

use std::time::Duration;

use tokio::time::Instant;

/// How long a chat is held before anything of it may be dropped: a few tries.
const LONG: Duration = Duration::from_secs(5);

/// So many that are taken in a row, and it flows again.
const FLOWS: u32 = 16;

/// Since when, and how often it was tried.
#[derive(Debug)]
pub(super) struct Stuck {
    since: Instant,
    tries: u32,
    /// How many were taken since the last that was not.
    taken: u32,
    /// The try after which nothing could be dropped, as it could not be counted: then the trouble was everybody's.
    shared: Option<u32>,
}

impl Stuck {
    /// It was not taken for the first time.
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), tries: 1, taken: 0, shared: None }
    }

    /// It was not taken again.
    pub(super) fn again(&mut self) {
        self.tries = self.tries.saturating_add(1);
        self.taken = 0;
    }

    /// One was taken. Answers whether it is stuck no more: one that is taken now and then does not make it flow.
    pub(super) fn taken(&mut self) -> bool {
        self.taken += 1;
        self.taken >= FLOWS
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

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_now_and_then_does_not_make_it_flow() {
        let mut stuck = Stuck::new();
        tokio::time::sleep(LONG).await;
        for _ in 0..FLOWS * 2 {
            assert!(!stuck.taken() && stuck.may_drop());
            stuck.again();
        }
        assert!((1..FLOWS).all(|_| !stuck.taken()) && stuck.taken());
    }
}
