//! When the account's limits begin anew, out of updates that often say nothing.

use serde::Deserialize;

/// How far the account's limits are used up.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitsUpdated {
    /// The limits.
    pub rate_limits: RateLimits,
}

/// The account's limits; what is not known at the moment is none.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct RateLimits {
    /// The short window.
    pub primary: Option<LimitWindow>,
    /// The long one.
    pub secondary: Option<LimitWindow>,
}

/// One window of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitWindow {
    /// How much of it is used, in percent.
    pub used_percent: i64,
    /// When it begins anew, in seconds since 1970.
    pub resets_at: Option<i64>,
}

/// The account's limits as last heard.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits(RateLimits);

impl Limits {
    /// Takes in an update; what it does not say stays.
    pub fn learn(&mut self, update: RateLimits) {
        self.0.primary = update.primary.or(self.0.primary);
        self.0.secondary = update.secondary.or(self.0.secondary);
    }

    /// What is known.
    pub fn known(self) -> RateLimits {
        self.0
    }

    /// When work may go on, in seconds since 1970: the latest end of the windows that are used up. Where none is, yet
    /// a limit was met (`surely`), that of the fullest window. Ends before `now` say nothing.
    pub fn resets_at(&self, surely: bool, now: u64) -> Option<u64> {
        let windows = [self.0.primary, self.0.secondary];
        let ends =
            |window: &LimitWindow| window.resets_at.and_then(|at| u64::try_from(at).ok()).filter(|at| *at > now);
        let used_up = windows.iter().flatten().filter(|window| window.used_percent >= 100).filter_map(ends).max();
        let fullest = || {
            let known = windows.iter().flatten().filter_map(|window| Some((window.used_percent, ends(window)?)));
            known.max().map(|(_, end)| end)
        };
        used_up.or_else(|| if surely { fullest() } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(used_percent: i64, resets_at: i64) -> Option<LimitWindow> {
        Some(LimitWindow { used_percent, resets_at: Some(resets_at) })
    }

    fn limits(primary: Option<LimitWindow>, secondary: Option<LimitWindow>) -> Limits {
        let mut limits = Limits::default();
        limits.learn(RateLimits { primary, secondary });
        limits
    }

    #[test]
    fn updates_without_values_do_not_wipe_what_is_known() {
        let mut limits = limits(window(100, 500), None);
        limits.learn(RateLimits::default());
        limits.learn(RateLimits { primary: None, secondary: window(10, 900) });
        assert_eq!(limits.resets_at(false, 0), Some(500));
    }

    #[test]
    fn the_latest_of_the_windows_that_are_used_up_counts() {
        assert_eq!(limits(window(100, 500), window(100, 900)).resets_at(false, 0), Some(900));
        assert_eq!(limits(window(100, 500), window(99, 900)).resets_at(true, 0), Some(500));
    }

    #[test]
    fn without_one_that_is_used_up_a_limit_that_was_met_is_the_fullest() {
        let limits = limits(window(43, 500), window(97, 900));
        assert_eq!((limits.resets_at(true, 0), limits.resets_at(false, 0)), (Some(900), None));
    }

    #[test]
    fn the_past_and_nothing_say_nothing() {
        assert_eq!(limits(window(100, 500), None).resets_at(true, 500), None);
        assert_eq!(Limits::default().resets_at(true, 0), None);
    }
}
