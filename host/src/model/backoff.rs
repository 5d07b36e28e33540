//! Pauses between tries that grow, and come to an end.

/// The most that a pause is stretched by, so that what failed together does not all come back at once.
const JITTER: f64 = 0.2;
/// What each pause is a multiple of the one before.
const GROWTH: i64 = 3;

/// How often something is tried, and how far apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The pause after the first failure, in ms.
    pub first: i64,
    /// The longest pause, in ms; jitter comes on top.
    pub longest: i64,
    /// The most tries in all.
    pub tries: u32,
}

impl Backoff {
    /// When it is tried again, in ms since 1970; none after the last try. `failed` are the tries that failed so far, this
    /// one included; `chance` is from 0 to 1.
    pub fn next(&self, failed: u32, now: i64, chance: f64) -> Option<i64> {
        if failed == 0 || failed >= self.tries {
            return None;
        }
        let grown = GROWTH.checked_pow(failed - 1).and_then(|factor| self.first.checked_mul(factor));
        let pause = grown.map_or(self.longest, |pause| pause.min(self.longest));
        Some(now.saturating_add(pause).saturating_add(stretch(pause, chance)))
    }

    /// How far away `at` is from `now`, in ms, but never further than a pause can be: the clock may have jumped.
    pub fn ahead(&self, at: i64, now: i64) -> i64 {
        let longest = self.longest.saturating_add(stretch(self.longest, 1.0));
        Some(at.saturating_sub(now)).filter(|ahead| (0..=longest).contains(ahead)).unwrap_or(0)
    }
}

/// What is added to a pause, in ms.
pub fn stretch(pause: i64, chance: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a fifth of a pause in ms")]
    let stretch = (pause as f64 * JITTER * chance.clamp(0.0, 1.0)) as i64;
    stretch
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff { first: 1_000, longest: 60_000, tries: 7 };

    #[test]
    fn pauses_grow_to_the_longest_and_end_with_the_last_try() {
        let pauses: Vec<_> = (0..9).map(|failed| BACKOFF.next(failed, 0, 0.0)).collect();
        let seconds = [1, 3, 9, 27, 60, 60].map(|seconds| Some(seconds * 1_000));
        assert_eq!(pauses, [&[None], &seconds[..], &[None, None]].concat());
    }

    #[test]
    fn a_try_that_is_further_away_than_any_pause_is_due() {
        assert_eq!(BACKOFF.ahead(72_000, 0), 72_000);
        assert_eq!([BACKOFF.ahead(72_001, 0), BACKOFF.ahead(0, 1), BACKOFF.ahead(i64::MAX, i64::MIN)], [0, 0, 0]);
    }

    proptest! {
        /// A try is never in the past, nor further away than the longest pause and its jitter.
        #[test]
        fn a_try_is_near(failed in 0u32..99, chance in -1.0f64..2.0, tries in 1u32..99) {
            let backoff = Backoff { tries, ..BACKOFF };
            match backoff.next(failed, 5_000, chance) {
                Some(at) => prop_assert!((6_000..=5_000 + 72_000).contains(&at)),
                None => prop_assert!(failed == 0 || failed >= tries),
            }
        }
    }
}
