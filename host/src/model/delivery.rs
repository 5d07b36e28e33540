//! What becomes of a reply that its channel did not take.
//!
//! | the channel says | the reply | bounded by |
//! |---|---|---|
//! | nobody is there | waits for the channel's nudge | nothing |
//! | later | is sent again after a pause | [`LATER`], about a day |
//! | never | is dead | |
//! | perhaps it has it, and it knows repeated ones by their key | is sent again after a pause | [`LATER`] |
//! | perhaps it has it, and a repeated one shows twice | is sent again after a pause | [`DOUBTED`], six copies |
//!
//! What may have arrived is sent again, since an answer that is seen twice harms less than one that never comes. It ends at
//! [`DOUBTED`] because then somebody most likely reads the same again and again; the dead letter says so. A channel may ask its
//! platform something harmless first, so that an outage makes one doubt and then waits as what can pass does. All this is the
//! same for a text and for a file.

use std::time::Duration;

use super::backoff::{Backoff, stretch};

/// Tries of what can pass. From 2 s, which bridges a connection that is made anew, to 10 min, which finds a platform that
/// is back soon enough; together a day and some minutes, so a night without network costs no reply.
pub const LATER: Backoff = Backoff { first: 2_000, longest: 600_000, tries: 150 };

/// Tries that may each have shown the reply: six copies at most, the last 20 minutes after the first, so that a platform
/// that is restarted meanwhile is found again.
pub const DOUBTED: Backoff = Backoff { first: 10_000, longest: 900_000, tries: 6 };

/// The longest pause that a platform is obeyed in, in ms. One that asks for more is asked again.
pub const LONGEST_PAUSE: i64 = 3_600_000;

/// No try is further away than this, in ms: the longest pause and what it is stretched by. One that seems to be was set
/// before the clock went back, and is due.
pub const FURTHEST: i64 = LONGEST_PAUSE + LONGEST_PAUSE / 5;

/// Whether a time of a next try is yet to come.
pub fn is_ahead(at: i64, now: i64) -> bool {
    // Further away than any pause: the clock went back since.
    at > now && at.saturating_sub(now) <= FURTHEST
}

/// Why a channel does not have a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// Nobody is there.
    Absent,
    /// Not now.
    Later {
        /// The pause that the platform asked for.
        after: Option<Duration>,
    },
    /// Never.
    Refused,
    /// The platform may have it.
    Doubt {
        /// It drops a repeated one.
        idempotent: bool,
    },
}

/// How often a reply was tried, the newest try included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// Tries that failed.
    pub failed: u32,
    /// How often the platform may have got it.
    pub doubts: u32,
}

/// What becomes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is due again at this time, ms.
    At(i64),
    /// It was the last try.
    Dead,
}

impl Miss {
    /// Whether it counts as a try that failed.
    pub fn is_failure(self) -> bool {
        self != Self::Absent
    }

    /// Whether the platform may have the reply.
    pub fn is_doubt(self) -> bool {
        matches!(self, Self::Doubt { .. })
    }

    /// What becomes of the reply. `chance` is from 0 to 1.
    pub fn next(self, tried: Tried, now: i64, chance: f64) -> Next {
        let later = LATER.next(tried.failed, now, chance);
        let at = match self {
            Self::Absent => Some(0),
            Self::Refused => None,
            Self::Later { after } => later.map(|at| {
                let asked = after.map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(LONGEST_PAUSE));
                let asked = asked.min(LONGEST_PAUSE);
                at.max(now.saturating_add(asked).saturating_add(stretch(asked, chance)))
            }),
            Self::Doubt { idempotent: true } => later,
            Self::Doubt { idempotent: false } => {
                // Leases that crashes lost, and doubts before a person had it tried again, end no reply.
                later.and(DOUBTED.next(tried.doubts.min(tried.failed), now, chance))
            }
        };
        at.map_or(Next::Dead, Next::At)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn tried(failed: u32, doubts: u32) -> Tried {
        Tried { failed, doubts }
    }

    /// The time from the first try to the last, in ms, without jitter.
    fn span(miss: Miss, tried: impl Fn(u32) -> Tried) -> i64 {
        let mut now = 0;
        for failed in 1.. {
            match miss.next(tried(failed), now, 0.0) {
                Next::At(at) => now = at,
                Next::Dead => break,
            }
        }
        now
    }

    #[test]
    fn what_can_pass_is_tried_for_a_day() {
        let later = Miss::Later { after: None };
        let span = span(later, |failed| tried(failed, 0));
        assert!((24 * HOUR..25 * HOUR).contains(&span), "{span}");
        assert_eq!(later.next(tried(1, 0), 0, 0.0), Next::At(2_000));
        assert_eq!(later.next(tried(150, 0), 0, 0.0), Next::Dead);
    }

    #[test]
    fn the_pause_that_a_platform_asks_for_is_kept_within_reason() {
        let after = |seconds| Miss::Later { after: Some(Duration::from_secs(seconds)) };
        assert_eq!(after(30).next(tried(1, 0), 0, 0.0), Next::At(30_000));
        assert_eq!(after(1).next(tried(1, 0), 0, 0.0), Next::At(2_000), "never sooner than our own");
        assert_eq!(
            after(u64::MAX).next(tried(1, 0), 0, 0.0),
            Next::At(HOUR),
            "a day long pause is asked for again"
        );
    }

    #[test]
    fn what_shows_twice_is_not_repeated_for_ever() {
        let doubt = Miss::Doubt { idempotent: false };
        let span = span(doubt, |n| tried(n, n));
        assert!((15 * 60_000..30 * 60_000).contains(&span), "{span}");
        assert_eq!(doubt.next(tried(6, 6), 0, 0.0), Next::Dead, "six copies");
        assert_eq!(doubt.next(tried(1, 99), 0, 0.0), Next::At(10_000), "crashes do not count");
        let known = Miss::Doubt { idempotent: true };
        assert!(matches!(known.next(tried(6, 6), 0, 0.0), Next::At(_)), "harmless");
    }

    #[test]
    fn nobody_there_costs_nothing_and_a_refusal_is_final() {
        assert_eq!(Miss::Absent.next(tried(0, 0), 5, 0.5), Next::At(0));
        assert!(!Miss::Absent.is_failure());
        assert_eq!(Miss::Refused.next(tried(1, 0), 5, 0.5), Next::Dead);
    }

    proptest! {
        #[test]
        fn a_try_is_never_in_the_past_nor_too_far(
            failed in 1u32..200, doubts in 0u32..9, seconds in 0u64..100_000, kind in 0..3, chance in 0.0f64..=1.0,
        ) {
            let miss = match kind {
                0 => Miss::Later { after: Some(Duration::from_secs(seconds)) },
                1 => Miss::Doubt { idempotent: true },
                _ => Miss::Doubt { idempotent: false },
            };
            if let Next::At(at) = miss.next(tried(failed, doubts.max(1)), 1_000, chance) {
                prop_assert!((3_000..=1_000 + FURTHEST).contains(&at), "{}", at);
            }
        }
    }
}
