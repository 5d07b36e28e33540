//! How a channel stands, and how it comes back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How a channel stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has not been connected yet.
    Connecting,
    /// It takes messages.
    Connected,
    /// It lost its platform, or never reached it, and tries again by itself.
    Waiting {
        /// Why, for people.
        why: String,
        /// When it tries again, ms since 1970.
        again_at: i64,
    },
    /// It will not work before a person does something.
    Stopped {
        /// Why, for people.
        why: String,
    },
}

/// Where a channel notes how it stands. Clones are the same.
#[derive(Debug, Clone)]
pub struct Standing(Arc<Mutex<State>>);

impl Default for Standing {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State::Connecting)))
    }
}

impl Standing {
    /// How it stands.
    pub fn state(&self) -> State {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a change, and logs it once.
    pub fn set(&self, channel: &str, state: State) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = match (&*now, &state) {
            (State::Waiting { why: old, .. }, State::Waiting { why, .. }) => old != why,
            (old, new) => old != new,
        };
        if news {
            match &state {
                State::Connecting => {}
                State::Connected => tracing::info!(channel, "connected"),
                State::Waiting { why, .. } => tracing::warn!(channel, why, "not connected; tried again by itself"),
                State::Stopped { why } => tracing::error!(channel, why, "stopped; it needs a person"),
            }
        }
        *now = state;
    }
}

/// The pauses before a channel connects again: doubled from half a second up to a minute, each up to half shorter, so that
/// what failed together does not come back together.
#[derive(Debug, Clone)]
pub struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: Self::FIRST }
    }
}

impl Pauses {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(60);

    /// It worked: the next pause is the first again.
    pub fn reset(&mut self) {
        self.next = Self::FIRST;
    }

    /// The next pause; at least what the platform asked for.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let chance = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        let pause = self.next.mul_f64(1.0 - chance / 2.0);
        self.next = (self.next * 2).min(Self::LONGEST);
        pause.max(asked.unwrap_or_default())
    }

    /// Notes why the channel is not connected, and waits. Answers whether to go on: no when it was told to stop.
    pub async fn wait(
        &mut self,
        channel: &str,
        standing: &Standing,
        (why, asked): (String, Option<Duration>),
        stop: &CancellationToken,
    ) -> bool {
        let pause = self.next(asked);
        let again_at = crate::clock::now_ms() + i64::try_from(pause.as_millis()).unwrap_or(i64::MAX / 2);
        standing.set(channel, State::Waiting { why, again_at });
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_begin_again() {
        let mut pauses = Pauses::default();
        let first = pauses.next(None);
        assert!(first <= Pauses::FIRST && first >= Pauses::FIRST / 2, "{first:?}");
        for _ in 0..20 {
            assert!(pauses.next(None) <= Pauses::LONGEST);
        }
        assert!(pauses.next(None) >= Pauses::LONGEST / 2);
        assert_eq!(pauses.next(Some(Duration::from_secs(90))), Duration::from_secs(90));
        pauses.reset();
        assert!(pauses.next(None) <= Pauses::FIRST);
    }
}
