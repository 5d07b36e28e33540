//! How accounts stand, and which of a pool is asked first.
//!
//! ```text
//! the strategy's order ──▶ the session's own account first ──▶ those that are ready
//!                                                              then those that failed, the soonest first
//!                                                              not those at their limit: they wait for its reset
//! ```
//!
//! A session stays with an account while that serves it: the vendor has its prompt cached there.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cofferdam_protocol::admin::PoolStrategy;
use cofferdam_protocol::ids::{AccountName, SessionId};

use super::answer::Miss;
use super::rate_limits::RateLimits;
use crate::model::pool::Pool;

/// How long an account at its limit is not asked when nobody says when the limit ends, in ms.
const LIMITED: i64 = 60_000;
/// How long one that failed is not asked first, in ms.
const FAILED: i64 = 15_000;
/// How long a session that makes no calls stays with its account, in ms: vendors keep a prompt for 5 to 10 minutes.
const STAYS: i64 = 600_000;
/// Sessions that are remembered before those that left are forgotten.
const SESSIONS: usize = 1024;

/// An account that is not asked, or only when no other is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cooling {
    /// Until when, ms since 1970.
    pub(super) until: i64,
    /// Why.
    pub(super) miss: Miss,
}

/// The accounts' standing. Pure but for the lock: the time is given.
#[derive(Default)]
pub(super) struct Standings(Mutex<State>);

#[derive(Default)]
struct State {
    accounts: HashMap<AccountName, Standing>,
    sessions: HashMap<SessionId, Stay>,
    /// Sessions that were given an account, by the pool's first.
    turns: HashMap<AccountName, usize>,
}

#[derive(Default)]
struct Standing {
    cooling: Option<Cooling>,
    limits: Option<RateLimits>,
}

struct Stay {
    account: AccountName,
    at: i64,
}

impl Standings {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom to ask, in order; or when the first of those at their limit may be asked again, ms since 1970.
    pub(super) fn order(&self, pool: &Pool, session: &SessionId, now: i64) -> Result<Vec<AccountName>, i64> {
        if let [only] = pool.accounts.as_slice() {
            // Nobody stands in for it: the vendor itself says what is wrong.
            return Ok(vec![only.clone()]);
        }
        let mut state = self.state();
        let stays =
            state.sessions.get(session).filter(|stay| now - stay.at < STAYS).map(|stay| stay.account.clone());
        let mut accounts = state.preferred(pool, stays.is_none(), now);
        if let Some(at) = stays.and_then(|stays| accounts.iter().position(|account| *account == stays)) {
            accounts[..=at].rotate_right(1);
        }
        let (mut ready, mut failed, mut again) = (Vec::new(), Vec::new(), i64::MAX);
        for account in accounts {
            match state.cooling(&account, now) {
                None => ready.push(account),
                Some(Cooling { until, miss: Miss::Limited { .. } }) => again = again.min(until),
                Some(Cooling { until, .. }) => failed.push((until, account)),
            }
        }
        failed.sort_by_key(|(until, _)| *until);
        ready.extend(failed.into_iter().map(|(_, account)| account));
        if ready.is_empty() { Err(again) } else { Ok(ready) }
    }

    /// What came of asking.
    pub(super) fn note(
        &self,
        account: &AccountName,
        session: &SessionId,
        miss: Option<Miss>,
        limits: Option<RateLimits>,
        now: i64,
    ) {
        let mut state = self.state();
        let standing = state.accounts.entry(account.clone()).or_default();
        standing.limits = limits.or_else(|| standing.limits.take());
        standing.cooling = miss.map(|miss| Cooling { until: cools_until(miss, now), miss });
        if miss.is_none() {
            if state.sessions.len() >= SESSIONS && !state.sessions.contains_key(session) {
                state.sessions.retain(|_, stay| now - stay.at < STAYS);
            }
            state.sessions.insert(session.clone(), Stay { account: account.clone(), at: now });
        }
    }

    /// An account has another credential: nothing of the old one counts.
    pub(super) fn forget(&self, account: &AccountName) {
        self.state().accounts.remove(account);
    }

    /// Why an account is passed over now, if it is.
    pub(super) fn cooling(&self, account: &AccountName, now: i64) -> Option<Cooling> {
        self.state().cooling(account, now)
    }

    /// What the vendor told last of an account's allowances.
    pub(super) fn limits(&self, account: &AccountName) -> Option<RateLimits> {
        self.state().accounts.get(account)?.limits.clone()
    }
}

impl State {
    fn cooling(&self, account: &AccountName, now: i64) -> Option<Cooling> {
        self.accounts.get(account)?.cooling.filter(|cooling| cooling.until > now)
    }

    /// The pool's accounts as its strategy prefers them. `fresh`: for a session that has none yet.
    fn preferred(&mut self, pool: &Pool, fresh: bool, now: i64) -> Vec<AccountName> {
        let mut accounts = pool.accounts.clone();
        let Some(first) = accounts.first() else { return accounts };
        let turn = self.turns.entry(first.clone()).or_default();
        let (at, count) = (*turn, accounts.len());
        *turn = turn.wrapping_add(usize::from(fresh));
        match pool.strategy {
            PoolStrategy::PriorityOrder => {}
            PoolStrategy::PrimaryFirst if count > 1 => accounts[1..].rotate_left(at % (count - 1)),
            PoolStrategy::PrimaryFirst => {}
            PoolStrategy::RoundRobin => accounts.rotate_left(at % count),
            PoolStrategy::QuotaAware => {
                let left = |account: &AccountName| {
                    let limits = self.accounts.get(account).and_then(|standing| standing.limits.as_ref());
                    // Of whom nothing is known nothing was used.
                    limits.map_or(1.0, |limits| limits.remaining(now))
                };
                accounts.sort_by(|one, other| left(other).total_cmp(&left(one)));
            }
        }
        accounts
    }
}

fn cools_until(miss: Miss, now: i64) -> i64 {
    match miss {
        Miss::Limited { until } => until.unwrap_or(now + LIMITED),
        Miss::Failing(_) | Miss::Unreachable | Miss::NoCredential => now + FAILED,
    }
}

#[cfg(test)]
mod tests {
    use PoolStrategy::{PrimaryFirst, PriorityOrder, QuotaAware, RoundRobin};
    use http::StatusCode;
    use proptest::prelude::*;

    use super::super::rate_limits::Window;
    use super::*;

    fn name(text: &str) -> AccountName {
        text.parse().unwrap()
    }

    fn session(number: usize) -> SessionId {
        format!("{number:032x}").parse().unwrap()
    }

    fn pool(strategy: PoolStrategy) -> Pool {
        Pool::new(&name("own"), strategy, &[name("a"), name("b")]).unwrap()
    }

    fn order(standings: &Standings, pool: &Pool, of: usize, now: i64) -> String {
        let order =
            standings.order(pool, &session(of), now).map(|all| all.iter().map(AccountName::to_string).collect());
        order.map_or_else(|until| format!("not before {until}"), |all: Vec<_>| all.join(" "))
    }

    fn limits(used_percent: f64, resets_at: i64) -> Option<RateLimits> {
        let window = Window { name: "primary", used_percent, minutes: None, resets_at: Some(resets_at) };
        Some(RateLimits { windows: vec![window], seen_at: 0 })
    }

    #[test]
    fn each_strategy_has_its_order_for_new_sessions() {
        for (strategy, orders) in [
            (PriorityOrder, ["own a b"; 3]),
            (PrimaryFirst, ["own a b", "own b a", "own a b"]),
            (RoundRobin, ["own a b", "a b own", "b own a"]),
            (QuotaAware, ["own a b"; 3]),
        ] {
            let (standings, pool) = (Standings::default(), pool(strategy));
            let got: Vec<String> = (0..3).map(|of| order(&standings, &pool, of, 0)).collect();
            assert_eq!(got, orders, "{strategy:?}");
        }
    }

    #[test]
    fn the_largest_share_that_is_left_goes_first_and_is_whole_after_its_reset() {
        let (standings, pool) = (Standings::default(), pool(QuotaAware));
        standings.note(&name("own"), &session(9), None, limits(60.0, 100), 0);
        standings.note(&name("a"), &session(9), None, limits(20.0, 900), 0);
        standings.note(&name("b"), &session(9), None, limits(90.0, 50), 0);
        assert_eq!(order(&standings, &pool, 1, 0), "a own b");
        assert_eq!(order(&standings, &pool, 2, 50), "b a own");
        assert_eq!(order(&standings, &pool, 3, 100), "own b a", "both are whole, and their own order counts");
    }

    #[test]
    fn a_session_stays_with_its_account_while_that_serves_and_it_makes_calls() {
        let (standings, pool) = (Standings::default(), pool(RoundRobin));
        standings.note(&name("b"), &session(1), None, None, 0);
        assert_eq!(order(&standings, &pool, 1, STAYS - 1), "b own a");
        assert_eq!(order(&standings, &pool, 2, 0), "own a b", "others go round, and it took no turn");
        assert_eq!(order(&standings, &pool, 1, STAYS), "a b own", "it left");
        standings.note(&name("b"), &session(1), Some(Miss::Failing(StatusCode::BAD_GATEWAY)), None, 10);
        assert_eq!(order(&standings, &pool, 1, 10), "own a b", "what failed is the last");
        assert_eq!(order(&standings, &pool, 1, 10 + FAILED), "b own a");
    }

    #[test]
    fn whoever_is_at_its_limit_is_not_asked_before_the_reset() {
        let (standings, pool) = (Standings::default(), pool(PriorityOrder));
        standings.note(&name("own"), &session(1), Some(Miss::Limited { until: Some(5_000) }), None, 0);
        assert_eq!(order(&standings, &pool, 1, 4_999), "a b");
        assert_eq!(order(&standings, &pool, 1, 5_000), "own a b");
        for account in ["a", "b"] {
            standings.note(&name(account), &session(1), Some(Miss::Limited { until: None }), None, 0);
        }
        assert_eq!(order(&standings, &pool, 1, 10), "not before 5000");
        standings.forget(&name("a"));
        assert_eq!(order(&standings, &pool, 1, 10), "a", "another credential");
        let alone = Pool::alone(name("b"));
        assert_eq!(order(&standings, &alone, 1, 10), "b", "its vendor says it itself");
    }

    fn miss() -> impl Strategy<Value = Option<Miss>> {
        prop_oneof![
            Just(None),
            (0_i64..50_000).prop_map(|until| Some(Miss::Limited { until: Some(until) })),
            Just(Some(Miss::Unreachable)),
            Just(Some(Miss::NoCredential)),
        ]
    }

    proptest! {
        /// Whatever happened: nobody is asked twice or for nothing, nobody at its limit is asked, and nobody else is left out.
        #[test]
        fn an_order_has_everybody_who_may_be_asked_once(
            strategy in prop::sample::select(vec![PriorityOrder, PrimaryFirst, RoundRobin, QuotaAware]),
            events in prop::collection::vec((0_usize..3, 0_usize..4, miss(), 0_i64..40_000), 0..40),
        ) {
            let (standings, pool) = (Standings::default(), pool(strategy));
            let mut now = 0;
            for (account, of, miss, pause) in events {
                now += pause;
                standings.note(&pool.accounts[account], &session(of), miss, None, now);
                let limited = |account: &AccountName| {
                    matches!(standings.cooling(account, now), Some(Cooling { miss: Miss::Limited { .. }, .. }))
                };
                let mut may: Vec<AccountName> = pool.accounts.iter().filter(|a| !limited(a)).cloned().collect();
                match standings.order(&pool, &session(of), now) {
                    Ok(order) => {
                        let failed = |a: &AccountName| standings.cooling(a, now).is_some();
                        prop_assert!(order.is_sorted_by_key(failed), "who failed comes last");
                        let mut order = order;
                        order.sort();
                        may.sort();
                        prop_assert_eq!(order, may);
                    }
                    Err(until) => prop_assert!(may.is_empty() && until > now),
                }
            }
        }
    }
}
