//! A call is served by its account, or by the next of the pool that can: within the same call, and before anything of an
//! answer went to the container.
//!
//! ```text
//! pool ─▶ order ─▶ account ─▶ its answer ──────────────────────────▶ the container
//!                    ▲          │ 429, 5xx, no connection, no credential
//!                    └──────────┘ while there is a next one
//! ```

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use async_trait::async_trait;
use axum::body::Body;
use cofferdam_protocol::admin::PoolStrategy;
use cofferdam_protocol::ids::{AccountName, SessionId};
use http::{Response, StatusCode};
use serde_json::json;

use super::{Accounts, base_url_of};
use crate::clock::now_ms;
use crate::config::pool::{PoolMode, Serving};
use crate::gateway::answer::{Answered, Miss};
use crate::gateway::choose::{Asked, Chooser, Served, Unserved};
use crate::gateway::error::json_response;
use crate::gateway::meter::model_of_request;
use crate::gateway::rate_limits;
use crate::gateway::standing::{Came, Now};
use crate::gateway::{Account, Call, Caller, Route, Upstream};
use crate::model::pool::Pool;
use crate::store::rfc3339;

/// How many accounts may fail at one call: what makes one vendor fail may make all.
const MOST_FAILED: usize = 3;
/// Up to so long, in seconds, a message waits for a limit's end by itself, as the session's retries have it.
const PASSES: i64 = 3600;

impl Accounts {
    /// Now, by both clocks.
    pub(super) fn now(&self) -> Now {
        let steady = i64::try_from(self.inner.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        Now { wall: now_ms(), steady }
    }

    /// The pool that serves a group.
    fn pool_of(&self, serving: &Serving) -> Pool {
        let account = serving.account.clone().unwrap_or_else(|| self.default_name());
        let pool = match serving.pool.mode {
            PoolMode::Inherit => self.read(|now| now.pools.get(&account).cloned()),
            PoolMode::Custom => {
                let placed = serving.pool.strategy == PoolStrategy::PriorityOrder;
                // The default, which may be one of them, is first anyway.
                let members = serving.pool.members.iter().filter(|member| placed || **member != account);
                Pool::new(&account, serving.pool.strategy, &members.cloned().collect::<Vec<_>>()).ok()
            }
        };
        pool.unwrap_or_else(|| Pool::alone(account))
    }

    /// The same for one call: of a chat that chose an account only that.
    fn pool_for(&self, caller: &Caller) -> Pool {
        let pool = self.pool_of(&caller.serving);
        let pinned = self.pins().get(&caller.session).filter(|pinned| pool.accounts.contains(pinned)).cloned();
        pinned.map_or(pool, Pool::alone)
    }

    fn pins(&self) -> MutexGuard<'_, HashMap<SessionId, AccountName>> {
        self.inner.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one account. One that cannot even be opened answers too.
    async fn ask(&self, caller: &Caller, account: &AccountName, call: Call) -> Answered {
        match self.upstream(account).await {
            Ok(upstream) => upstream.call(caller, call).await,
            Err(Unserved(why)) => {
                tracing::warn!(group = %caller.group, session = %caller.session, %account, %why, "an account cannot serve");
                let named = caller.serving.account.as_ref() == Some(account);
                let group = &caller.group;
                let why = match named {
                    true => format!("{why} ('account' in the container.json of group '{group}' names it.)"),
                    false => why,
                };
                Answered::missed(Miss::NoCredential, Unserved(why).response())
            }
        }
    }
}

#[async_trait]
impl Chooser for Accounts {
    async fn serve(&self, caller: &Caller, call: Call) -> Served {
        let pool = self.pool_for(caller);
        let (model, is_answer) = (model_of_request(&call.body), call.route != Route::Models);
        let order = self.inner.standings.order(&pool, &caller.session, model.as_deref(), self.now());
        // The refusal that leaves most hope: what passes by itself before what takes a person.
        let mut best = order.limited_until().map(|until| ((0, until), all_limited(&pool, until)));
        let limited = order.limited;
        let (mut asked, mut failed, mut accounts) = (Vec::new(), 0, order.ask.into_iter().peekable());
        while let Some(account) = accounts.next() {
            let generation = self.inner.standings.generation(&account);
            let Answered { response, miss, limits } = self.ask(caller, &account, call.clone()).await;
            let served = is_answer && response.status().is_success();
            let came = Came { generation, model: model.as_deref(), miss, limits, served };
            self.inner.standings.note(&account, &caller.session, came, self.now());
            asked.push(Asked { account: account.clone(), miss });
            let Some(miss) = miss else { return Served { response, limited, asked } };
            let hope = miss.hope(now_ms());
            if best.as_ref().is_none_or(|(other, _)| hope < *other) {
                best = Some((hope, response));
            }
            failed += usize::from(matches!(miss, Miss::Failing(_) | Miss::Unreachable));
            if miss == Miss::Silent || failed == MOST_FAILED {
                break;
            }
            if let Some(next) = accounts.peek() {
                tracing::info!(group = %caller.group, session = %caller.session, %account, why = %miss, %next, "passed over");
            }
        }
        match best {
            Some((_, response)) => Served { response, limited, asked },
            None => Served::not(caller, &nobody()),
        }
    }

    async fn first(&self, caller: &Caller) -> Result<Arc<dyn Upstream>, Unserved> {
        let pool = self.pool_for(caller);
        self.upstream(pool.accounts.first().ok_or_else(nobody)?).await
    }

    async fn named(&self, account: &AccountName) -> Result<Arc<dyn Upstream>, Unserved> {
        self.upstream(account).await
    }

    fn limited_until(&self, caller: &Caller) -> Option<i64> {
        let (pool, now) = (self.pool_for(caller), self.now());
        pool.accounts.iter().filter_map(|account| self.inner.standings.limited_until(account, now)).min()
    }

    fn accounts_of(&self, serving: &Serving) -> Vec<AccountName> {
        self.pool_of(serving).accounts
    }

    fn pin(&self, session: &SessionId, account: Option<AccountName>) {
        match account {
            Some(account) => self.pins().insert(session.clone(), account),
            None => self.pins().remove(session),
        };
    }

    fn default_in_words(&self) -> String {
        let name = self.default_name();
        let vault = |now: &super::Now| now.accounts.get(&name).map(|entry| entry.row.clone());
        match (name.as_str(), &self.inner.environment) {
            (AccountName::OFFLINE, _) => "offline model".to_owned(),
            (AccountName::ENVIRONMENT, Some((Account::OpenAi { base_url, .. }, _))) => {
                format!("{name} (OpenAI-compatible endpoint {})", base_url.as_str().trim_end_matches('/'))
            }
            _ => match self.read(vault) {
                None => format!("{name}, which is not there"),
                Some(row) => match &row.login_needed {
                    Some(why) => format!("{name} ({}): {why}", row.kind),
                    None => format!("{name} ({} at {})", row.kind, base_url_of(&row)),
                },
            },
        }
    }

    fn model_of(&self, account: Option<&AccountName>) -> Option<String> {
        let name = account.cloned().unwrap_or_else(|| self.default_name());
        self.read(|now| now.accounts.get(&name)?.row.model.clone())
    }
}

/// A pool has somebody in it, always.
fn nobody() -> Unserved {
    Unserved("No account serves this group.".to_owned())
}

/// The answer when every account of a pool is at its limit, in the vendor's own form. Codex and the session's retry take the
/// reset from the headers.
fn all_limited(pool: &Pool, until: i64) -> Response<Body> {
    let names: Vec<&str> = pool.accounts.iter().map(AccountName::as_str).collect();
    let message = format!(
        "Every account of the pool ({}) is at its limit; the first may be asked again at {}.",
        names.join(", "),
        rfc3339(until)
    );
    let (now, resets_at) = (now_ms(), until.div_euclid(1000) + 1);
    let passes = (until - now) / 1000 < PASSES;
    let (kind, code) = match passes {
        true => ("rate_limit_error", "rate_limit_exceeded"),
        false => ("usage_limit_reached", "usage_limit_reached"),
    };
    let error = json!({ "message": message, "type": kind, "param": null, "code": code, "resets_at": resets_at });
    let mut response = json_response(StatusCode::TOO_MANY_REQUESTS, &json!({ "error": error }));
    rate_limits::tell_end(response.headers_mut(), until, now);
    response
}
