//! What is done about a turn that failed.

use cofferdam_protocol::runner::{Failure, FailureKind};

use super::backoff::stretch;

/// Of several messages that were silent together, so many may be silent by themselves. Each takes the group's silence
/// time-out, and when that many are, it is not one message that is; so the others are given up with the last of them.
pub const MOST_SILENT: u32 = 3;

/// The most turns of one message that may fail in a way that can pass.
pub const MOST_TRIES: u32 = 4;

/// The pauses before the second, third and fourth try, in ms: long enough for a vendor's hiccup, then for its restart.
const PAUSES: [i64; MOST_TRIES as usize - 1] = [15_000, 60_000, 300_000];
/// A vendor that names a later time is believed up to here, in ms; beyond, a person decides.
const LONGEST: i64 = 3_600_000;

/// Whose turn it is after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Ours: it can pass, and is tried again by itself.
    Later,
    /// A person's: it fails until somebody does something.
    Person,
    /// Ours: something in Cofferdam or the provider is wrong.
    Ours,
}

/// What sort of recovery a failure has.
pub fn recovery(kind: FailureKind) -> Recovery {
    match kind {
        FailureKind::RateLimited
        | FailureKind::Upstream
        | FailureKind::Connection
        | FailureKind::ProviderDied
        | FailureKind::ThreadBusy => Recovery::Later,
        FailureKind::UsageLimit
        | FailureKind::Unauthorized
        | FailureKind::ModelNotFound
        | FailureKind::ContextWindow
        | FailureKind::Refused
        | FailureKind::Silence => Recovery::Person,
        FailureKind::ProviderStart | FailureKind::StaleThread | FailureKind::Other => Recovery::Ours,
    }
}

/// Whether one message among several can be what a turn failed of: then each is tried by itself before all are given up.
pub fn may_be_one_of_several(kind: FailureKind) -> bool {
    // It killed the provider every time, it hung, it was refused for what it says, or together they were too much.
    matches!(
        kind,
        FailureKind::ProviderDied | FailureKind::Silence | FailureKind::Refused | FailureKind::ContextWindow
    )
}

/// Whether the same message can do better later, so that it is kept as a dead letter. What the vendor refuses for its
/// content it refuses again: that has to be written in another way, which is another message.
pub fn is_worth_a_retry(kind: FailureKind) -> bool {
    kind != FailureKind::Refused
}

/// When a message is given to the agent again, in ms since 1970; none when this was its last try or only a person can
/// help. `failed` are the tries that failed so far, this one included; `chance` is from 0 to 1.
pub fn next_try(failure: &Failure, failed: u32, now: i64, chance: f64) -> Option<i64> {
    if recovery(failure.kind) != Recovery::Later {
        return None;
    }
    let pause = *PAUSES.get(usize::try_from(failed.checked_sub(1)?).ok()?)?;
    let stretch = stretch(pause, chance);
    let resets = failure.resets_at.and_then(|secs| i64::try_from(secs).ok()?.checked_mul(1000));
    match resets {
        Some(at) if at > now.saturating_add(LONGEST) => None,
        Some(at) if at > now.saturating_add(pause) => Some(at.saturating_add(stretch)),
        _ => Some(now.saturating_add(pause).saturating_add(stretch)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn failure(kind: FailureKind, resets_at: Option<u64>) -> Failure {
        Failure { resets_at, ..Failure::new(kind, "x") }
    }

    #[test]
    fn what_can_pass_is_tried_four_times_in_all() {
        let overloaded = failure(FailureKind::Upstream, None);
        let tries: Vec<_> = (1..6).map(|failed| next_try(&overloaded, failed, NOW, 0.0)).collect();
        assert_eq!(tries, [Some(NOW + 15_000), Some(NOW + 60_000), Some(NOW + 300_000), None, None]);
    }

    #[test]
    fn what_needs_a_person_is_not_tried_again() {
        for kind in [FailureKind::UsageLimit, FailureKind::Unauthorized, FailureKind::Silence, FailureKind::Other] {
            assert_eq!(next_try(&failure(kind, None), 1, NOW, 0.5), None, "{kind:?}");
        }
    }

    #[test]
    fn the_vendors_own_time_wins_when_it_is_later_but_not_for_hours() {
        let secs = |ms: i64| u64::try_from((NOW + ms) / 1000).ok();
        let limited = |ms| next_try(&failure(FailureKind::RateLimited, secs(ms)), 1, NOW, 0.0);
        assert_eq!(limited(1_000), Some(NOW + 15_000), "sooner than we would");
        assert_eq!(limited(600_000), Some(NOW + 600_000));
        assert_eq!(limited(3_601_000), None);
        assert_eq!(next_try(&failure(FailureKind::RateLimited, Some(u64::MAX)), 1, NOW, 0.0), Some(NOW + 15_000));
    }

    proptest! {
        /// A try is never in the past, nor further away than the vendor may say, and always comes to an end.
        #[test]
        fn a_try_is_near(failed in 0u32..9, ahead in proptest::option::of(0u64..9_000), chance in -1.0f64..2.0) {
            let resets = ahead.map(|ahead| NOW.unsigned_abs() / 1000 + ahead);
            match next_try(&failure(FailureKind::Connection, resets), failed, NOW, chance) {
                Some(at) => {
                    prop_assert!((NOW + 15_000..=NOW + 3_600_000 + 60_000).contains(&at));
                    prop_assert!((1..MOST_TRIES).contains(&failed));
                }
                None => prop_assert!(!(1..MOST_TRIES).contains(&failed) || ahead.is_some_and(|ahead| ahead > 3_600)),
            }
        }
    }
}
