//! Who writes faster than anybody reads. They are slowed first, with one notice, and dropped when that does not help.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Messages at once, and then one for each [`EVERY`]: more than a person types, fewer than a script sends.
const BURST: u32 = 20;
const EVERY: Duration = Duration::from_secs(2);
/// The longest that a message is held back; what comes faster still is dropped.
const LONGEST: Duration = Duration::from_secs(60);
/// Senders that are remembered before those at rest are forgotten.
const REMEMBERED: usize = 4096;

/// What becomes of a message for its sender's pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It goes on, after this time.
    After(Duration),
    /// The same, and the sender is told, once for each flood.
    FirstAfter(Duration),
    /// It is dropped.
    Over,
}

/// A sender's account: when everything that came is paid off.
#[derive(Clone, Copy)]
struct Debt {
    paid_at: Instant,
    told: bool,
}

/// Everybody's.
#[derive(Default)]
pub(super) struct Floods(Mutex<HashMap<(String, String), Debt>>);

impl Floods {
    /// Counts a message of a sender on a channel.
    pub(super) fn count(&self, channel: &str, sender: &str) -> Pace {
        let now = Instant::now();
        let mut senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if senders.len() >= REMEMBERED {
            senders.retain(|_, debt| debt.paid_at > now);
        }
        let key = (channel.to_owned(), sender.to_owned());
        let debt = senders.entry(key).or_insert(Debt { paid_at: now, told: false });
        if debt.paid_at <= now {
            *debt = Debt { paid_at: now, told: false };
        }
        let wait = (debt.paid_at - now).saturating_sub(EVERY * (BURST - 1));
        if wait > LONGEST {
            return Pace::Over;
        }
        debt.paid_at += EVERY;
        if wait.is_zero() {
            return Pace::After(wait);
        }
        if std::mem::replace(&mut debt.told, true) { Pace::After(wait) } else { Pace::FirstAfter(wait) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_on_and_a_flood_is_slowed_with_one_notice_and_then_dropped() {
        let floods = Floods::default();
        for _ in 0..BURST {
            assert_eq!(floods.count("tg", "a"), Pace::After(Duration::ZERO));
        }
        assert_eq!(floods.count("tg", "a"), Pace::FirstAfter(EVERY));
        assert_eq!(floods.count("tg", "a"), Pace::After(EVERY * 2), "told once");
        let more = (0..1000).filter(|_| floods.count("tg", "a") != Pace::Over).count();
        assert_eq!(more, 28, "a minute of them is held back");
        assert_eq!(floods.count("tg", "b"), Pace::After(Duration::ZERO), "nobody else is slowed");
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(floods.count("tg", "a"), Pace::After(Duration::ZERO));
        for _ in 1..BURST {
            floods.count("tg", "a");
        }
        assert_eq!(floods.count("tg", "a"), Pace::FirstAfter(EVERY), "another flood is told of again");
    }
}
