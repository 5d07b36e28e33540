//! A chat whose oldest arrival is not taken: its channel keeps what follows, and drops it only when it is the chat's own trouble.

use std::time::Duration;

use tokio::time::Instant;

/// How long a chat is held before anything of it may be dropped: a few tries.
const LONG: Duration = Duration::from_secs(5);

/// So many that are taken in a row, and it flows again.
const FLOWS: u32 = 16;

/// Since when, and how often it was tried.
#[derive(Debug)]
struct Stuck {
    since: Instant,
    tries: u32,
    /// How many were taken since the last that was not.
    taken: u32,
    /// The try after which nothing could be dropped, as it could not be counted: then the trouble was everybody's.
    shared: Option<u32>,
}

impl Stuck {
    /// It was not taken for the first time.
    fn new() -> Self {
        Self { since: Instant::now(), tries: 1, taken: 0, shared: None }
    }

    /// It was not taken again.
    fn again(&mut self) {
        self.tries = self.tries.saturating_add(1);
        self.taken = 0;
    }

    /// One was taken. Answers whether it is stuck no more: one that is taken now and then does not make it flow.
    fn taken(&mut self) -> bool {
        self.taken += 1;
        self.taken >= FLOWS
    }

    /// What is too much could not be dropped.
    fn not_dropped(&mut self) {
        self.shared = Some(self.tries);
    }

    /// Whether what is too much is to be dropped: it is stuck for long, and after any trouble that was everybody's.
    fn may_drop(&self) -> bool {
        self.since.elapsed() >= LONG && self.shared != Some(self.tries)
    }
}

/// How a chat stands whose arrivals are handed in one after the other.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Its first is not taken now.
    held: bool,
    /// Since some first was not, and until it flows again.
    stuck: Option<Stuck>,
    /// It knows that more is dropped.
    told: bool,
}

/// What a refusal made of a chat.
pub(super) struct Refused {
    /// It is held from here on, and was not before.
    pub(super) holds: bool,
    /// It is the first of a row.
    pub(super) is_new: bool,
}

impl Flow {
    /// Whether its first is not taken now.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Whether it is stuck, now or a moment ago.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }

    /// Whether what is too much is to be dropped; then, whether that is the first.
    pub(super) fn drops(&self) -> Option<bool> {
        self.stuck.as_ref().filter(|stuck| stuck.may_drop()).map(|_| !self.told)
    }

    /// Its first was not taken.
    pub(super) fn refused(&mut self) -> Refused {
        let is_new = self.stuck.is_none();
        match &mut self.stuck {
            Some(stuck) => stuck.again(),
            None => self.stuck = Some(Stuck::new()),
        }
        Refused { holds: !std::mem::replace(&mut self.held, true), is_new }
    }

    /// Its first was taken. Answers whether it was held: it flows again.
    pub(super) fn taken(&mut self) -> bool {
        if self.stuck.as_mut().is_some_and(Stuck::taken) {
            self.stuck = None;
        }
        std::mem::take(&mut self.held)
    }

    /// Notes whether what was too much was dropped: then it knows that more is.
    pub(super) fn dropped(&mut self, dropped: bool) {
        match &mut self.stuck {
            _ if dropped => self.told = true,
            Some(stuck) => stuck.not_dropped(),
            None => {}
        }
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
