//! Who writes faster than anybody reads. What they write beyond that waits on the disk (`late`), with one notice.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::late::Writer;

/// Messages at once, and then one for each [`EVERY`]: more than a person types, fewer than a script sends.
pub(super) const BURST: u32 = 20;
pub(super) const EVERY: Duration = Duration::from_secs(2);
/// The most messages of one sender that wait, which is a minute of them; what comes faster still is dropped.
pub(super) const MOST_WAITING: u64 = 30;
/// Senders that are remembered before those at rest are forgotten.
const REMEMBERED: usize = 4096;

/// A sender's account: when everything that was taken is paid off.
#[derive(Clone, Copy)]
struct Debt {
    paid_at: Instant,
    told: bool,
}

/// Everybody's.
#[derive(Default)]
pub(super) struct Floods(Mutex<HashMap<Writer, Debt>>);

impl Floods {
    /// Whether a message of this sender may be taken now; it is counted then.
    pub(super) fn may(&self, writer: &Writer) -> bool {
        self.pay(writer).is_ok()
    }

    /// Waits until a message of this sender may be taken, and counts it.
    pub(super) async fn until_may(&self, writer: &Writer) {
        while let Err(wait) = self.pay(writer) {
            tokio::time::sleep(wait).await;
        }
    }

    /// Whether this flood's sender was told of it.
    pub(super) fn is_told(&self, writer: &Writer) -> bool {
        self.senders().get(writer).is_some_and(|debt| debt.told)
    }

    /// Notes that they were.
    pub(super) fn told(&self, writer: &Writer) {
        if let Some(debt) = self.senders().get_mut(writer) {
            debt.told = true;
        }
    }

    /// The error is how long it takes.
    fn pay(&self, writer: &Writer) -> Result<(), Duration> {
        let now = Instant::now();
        let mut senders = self.senders();
        if senders.len() >= REMEMBERED {
            senders.retain(|_, debt| debt.paid_at > now);
        }
        let debt = senders.entry(writer.clone()).or_insert(Debt { paid_at: now, told: false });
        if debt.paid_at <= now {
            *debt = Debt { paid_at: now, told: false };
        }
        let wait = (debt.paid_at - now).saturating_sub(EVERY * (BURST - 1));
        if !wait.is_zero() {
            return Err(wait);
        }
        debt.paid_at += EVERY;
        Ok(())
    }

    fn senders(&self) -> MutexGuard<'_, HashMap<Writer, Debt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(id: &str) -> Writer {
        Writer { channel: "tg".to_owned(), user_id: id.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_on_and_what_follows_goes_at_a_pace() {
        let floods = Floods::default();
        for _ in 0..BURST {
            assert!(floods.may(&writer("a")));
        }
        assert!(!floods.may(&writer("a")));
        assert!(floods.may(&writer("b")), "nobody else is slowed");
        let begun = Instant::now();
        for number in 1..=10 {
            floods.until_may(&writer("a")).await;
            assert_eq!(begun.elapsed().as_secs(), (EVERY * number).as_secs());
            assert!(!floods.may(&writer("a")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_told_of_once_and_another_after_a_rest_again() {
        let floods = Floods::default();
        let flood = || (0..BURST * 2).filter(|_| floods.may(&writer("a"))).count();
        flood();
        assert!(!floods.is_told(&writer("a")));
        floods.told(&writer("a"));
        tokio::time::sleep(EVERY * 3).await;
        flood();
        assert!(floods.is_told(&writer("a")), "it is the same flood");
        tokio::time::sleep(EVERY * (BURST + 1)).await;
        flood();
        assert!(!floods.is_told(&writer("a")));
    }
}
