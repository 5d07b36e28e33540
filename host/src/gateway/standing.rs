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
/// Models of an account whose limits are remembered: what a container calls its model is its own choice.
const MODELS: usize = 16;

/// A time: in ms since 1970, and in ms of a clock that nobody sets, which is what spans are counted with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) wall: i64,
    pub(super) steady: i64,
}

/// An account that is not asked, or only when no other is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cooling {
    /// Until when, of the steady clock.
    until: i64,
    /// Why.
    pub(super) miss: Miss,
}

impl Cooling {
    /// Until when, ms since 1970.
    pub(super) fn until(self, now: Now) -> i64 {
        now.wall.saturating_add(self.until - now.steady)
    }
}

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    /// In this order; none when all are at their limit.
    pub(super) ask: Vec<AccountName>,
    /// Those at their limit, and when they may be asked again, ms since 1970.
    pub(super) limited: Vec<(AccountName, i64)>,
}

impl Order {
    /// When the first of those at their limit may be asked again, ms since 1970.
    pub(super) fn limited_until(&self) -> Option<i64> {
        self.limited.iter().map(|(_, until)| *until).min()
    }
}

/// What came of asking an account.
pub(super) struct Came<'c> {
    /// Which credential it was asked with: what [`Standings::generation`] said before.
    pub(super) generation: u64,
    /// The model of the call, if it names one.
    pub(super) model: Option<&'c str>,
    /// Why it could not serve.
    pub(super) miss: Option<Miss>,
    /// What the vendor told of its allowances.
    pub(super) limits: Option<RateLimits>,
    /// Whether it gave an answer of a model: others, such as a list of models, say nothing of its limits.
    pub(super) served: bool,
}

/// The accounts' standing. Pure but for the lock: the time is given.
#[derive(Default)]
pub(super) struct Standings(Mutex<State>);

#[derive(Default)]
struct State {
    accounts: HashMap<AccountName, Standing>,
    /// How often an account got another credential.
    generations: HashMap<AccountName, u64>,
    sessions: HashMap<SessionId, Stay>,
    /// Sessions that were given an account, by the pool's first.
    turns: HashMap<AccountName, usize>,
}

#[derive(Default)]
struct Standing {
    cooling: Option<Cooling>,
    /// Of limits that are one model's.
    models: HashMap<String, Cooling>,
    limits: Option<RateLimits>,
    /// Its credential was refused, or not to be had, when it was last asked.
    refused: bool,
}

struct Stay {
    account: AccountName,
    /// Of the steady clock.
    at: i64,
}

impl Standings {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom to ask for a call of a session for a model.
    pub(super) fn order(&self, pool: &Pool, session: &SessionId, model: Option<&str>, now: Now) -> Order {
        if let [only] = pool.accounts.as_slice() {
            // Nobody stands in for it: the vendor itself says what is wrong.
            return Order { ask: vec![only.clone()], limited: Vec::new() };
        }
        let mut state = self.state();
        let stay = state.sessions.get(session).filter(|stay| now.steady - stay.at < STAYS);
        let stays = stay.map(|stay| stay.account.clone());
        let mut accounts = state.preferred(pool, stays.is_none(), now);
        if let Some(at) = stays.and_then(|stays| accounts.iter().position(|account| *account == stays)) {
            accounts[..=at].rotate_right(1);
        }
        let (mut ask, mut failed, mut limited) = (Vec::new(), Vec::new(), Vec::new());
        for account in accounts {
            match state.cooling(&account, model, now) {
                None => ask.push(account),
                Some(cooling @ Cooling { miss: Miss::Limited { .. }, .. }) => {
                    limited.push((account, cooling.until(now)));
                }
                Some(Cooling { until, .. }) => failed.push((until, account)),
            }
        }
        failed.sort_by_key(|(until, _)| *until);
        ask.extend(failed.into_iter().map(|(_, account)| account));
        Order { ask, limited }
    }

    /// Which of its credentials an account has; to be looked at before that is used.
    pub(super) fn generation(&self, account: &AccountName) -> u64 {
        self.state().generation(account)
    }

    /// What came of asking. What an older credential met is nothing of the account as it is now.
    pub(super) fn note(&self, account: &AccountName, session: &SessionId, came: Came<'_>, now: Now) {
        let mut state = self.state();
        if came.generation != state.generation(account) {
            return;
        }
        let standing = state.accounts.entry(account.clone()).or_default();
        standing.limits = came.limits.or_else(|| standing.limits.take());
        if came.served || came.miss == Some(Miss::NoCredential) {
            standing.refused = !came.served;
        }
        match came.miss {
            Some(miss) => standing.cools(miss, came.model, now),
            None if came.served => {
                standing.cooling = None;
                came.model.and_then(|model| standing.models.remove(model));
                state.stays(session, account, now);
            }
            None => {}
        }
    }

    /// An account has another credential: nothing of the old one counts.
    pub(super) fn forget(&self, account: &AccountName) {
        let mut state = self.state();
        state.accounts.remove(account);
        *state.generations.entry(account.clone()).or_default() += 1;
    }

    /// Whether its credential was of no use when it was last asked.
    pub(super) fn is_refused(&self, account: &AccountName) -> bool {
        self.state().accounts.get(account).is_some_and(|standing| standing.refused)
    }

    /// Somebody has looked whether its vendor takes its credential.
    pub(super) fn looked(&self, account: &AccountName, refused: bool) {
        self.state().accounts.entry(account.clone()).or_default().refused = refused;
    }

    /// Why an account is passed over now, if it is; with a model: by calls for that.
    pub(super) fn cooling(&self, account: &AccountName, model: Option<&str>, now: Now) -> Option<Cooling> {
        self.state().cooling(account, model, now)
    }

    /// All for which an account is at rest now: as a whole, or for one model.
    pub(super) fn at_rest(&self, account: &AccountName, now: Now) -> Vec<(Option<String>, Cooling)> {
        let state = self.state();
        let Some(standing) = state.accounts.get(account) else { return Vec::new() };
        let models = standing.models.iter().map(|(model, cooling)| (Some(model.clone()), *cooling));
        let all = standing.cooling.map(|cooling| (None, cooling)).into_iter().chain(models);
        all.filter(|(_, cooling)| cooling.until > now.steady).collect()
    }

    /// Until when an account is at its limit, ms since 1970: as a whole, or for the model that is served again first, as it is
    /// not known which one is wanted.
    pub(super) fn limited_until(&self, account: &AccountName, now: Now) -> Option<i64> {
        let resting = self.at_rest(account, now);
        let limited = |(_, cooling): &&(Option<String>, Cooling)| matches!(cooling.miss, Miss::Limited { .. });
        let (whole, models): (Vec<_>, Vec<_>) =
            resting.iter().filter(limited).partition(|(model, _)| model.is_none());
        let first = models.iter().map(|(_, cooling)| cooling.until(now)).min();
        whole.iter().map(|(_, cooling)| cooling.until(now)).chain(first).max()
    }

    /// What the vendor told last of an account's allowances.
    pub(super) fn limits(&self, account: &AccountName) -> Option<RateLimits> {
        self.state().accounts.get(account)?.limits.clone()
    }
}

impl Standing {
    /// It is not asked for a while. What is shorter does not take the place of what is there.
    fn cools(&mut self, miss: Miss, model: Option<&str>, now: Now) {
        let cooling = Cooling { until: now.steady.saturating_add(cools_for(miss, now.wall)), miss };
        let longer = |other: Option<Cooling>| other.filter(|other| other.until > cooling.until).unwrap_or(cooling);
        match (miss, model) {
            (Miss::Limited { whole: false, .. }, Some(model)) => {
                self.models.retain(|_, cooling| cooling.until > now.steady);
                let there = self.models.get(model).copied();
                if there.is_some() || self.models.len() < MODELS {
                    self.models.insert(model.to_owned(), longer(there));
                }
            }
            _ => self.cooling = Some(longer(self.cooling)),
        }
    }
}

impl State {
    fn generation(&self, account: &AccountName) -> u64 {
        self.generations.get(account).copied().unwrap_or_default()
    }

    fn cooling(&self, account: &AccountName, model: Option<&str>, now: Now) -> Option<Cooling> {
        let standing = self.accounts.get(account)?;
        let of_model = model.and_then(|model| standing.models.get(model));
        let both = standing.cooling.iter().chain(of_model).copied();
        both.filter(|cooling| cooling.until > now.steady).max_by_key(|cooling| cooling.until)
    }

    fn stays(&mut self, session: &SessionId, account: &AccountName, now: Now) {
        if self.sessions.len() >= SESSIONS && !self.sessions.contains_key(session) {
            self.sessions.retain(|_, stay| now.steady - stay.at < STAYS);
        }
        self.sessions.insert(session.clone(), Stay { account: account.clone(), at: now.steady });
    }

    /// The pool's accounts as its strategy prefers them. `fresh`: for a session that has none yet.
    fn preferred(&mut self, pool: &Pool, fresh: bool, now: Now) -> Vec<AccountName> {
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
                    limits.map_or(1.0, |limits| limits.remaining(now.wall))
                };
                accounts.sort_by(|one, other| left(other).total_cmp(&left(one)));
            }
        }
        accounts
    }
}

/// How long an account is not asked after a miss, in ms; `wall` is the time in ms since 1970.
fn cools_for(miss: Miss, wall: i64) -> i64 {
    match miss {
        Miss::Limited { until: Some(until), .. } => until.saturating_sub(wall),
        Miss::Limited { until: None, whole: true } => LIMITED,
        // It may be the call that was too much.
        Miss::Limited { until: None, whole: false } => FAILED,
        Miss::Failing(_) | Miss::Unreachable | Miss::Silent | Miss::NoCredential => FAILED,
    }
}

#[cfg(test)]
mod tests;
