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
use cofferdam_protocol::ids::{AccountName, SessionId};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::{Accounts, base_url_of};
use crate::clock::now_ms;
use crate::config::pool::{PoolMode, Serving};
use crate::gateway::answer::{Answered, Miss};
use crate::gateway::choose::{Asked, Chooser, Served, Unserved};
use crate::gateway::error::json_response;
use crate::gateway::{Account, Call, Caller, Upstream};
use crate::model::pool::Pool;
use crate::store::rfc3339;

impl Accounts {
    /// The pool that serves a group.
    fn pool_of(&self, serving: &Serving) -> Pool {
        let account = serving.account.clone().unwrap_or_else(|| self.default_name());
        let pool = match serving.pool.mode {
            PoolMode::Inherit => self.read(|now| now.pools.get(&account).cloned()),
            PoolMode::Custom => Pool::new(&account, serving.pool.strategy, &serving.pool.members).ok(),
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
        let order = match self.inner.standings.order(&pool, &caller.session, now_ms()) {
            Ok(order) => order,
            Err(until) => return Served { response: all_limited(&pool, until), asked: Vec::new() },
        };
        let (mut call, mut asked) = (Some(call), Vec::new());
        let mut order = order.into_iter().peekable();
        loop {
            let Some(account) = order.next() else { return Served::not(caller, &nobody()) };
            let last = order.peek().is_none();
            let this = if last { call.take() } else { call.clone() };
            let Some(this) = this else { return Served::not(caller, &nobody()) };
            let Answered { response, miss, limits } = self.ask(caller, &account, this).await;
            self.inner.standings.note(&account, &caller.session, miss, limits, now_ms());
            asked.push(Asked { account: account.clone(), miss });
            match (miss, order.peek()) {
                (Some(miss), Some(next)) => {
                    tracing::info!(group = %caller.group, session = %caller.session, %account, why = %miss, %next, "passed over");
                }
                _ => return Served { response, asked },
            }
        }
    }

    async fn first(&self, caller: &Caller) -> Result<Arc<dyn Upstream>, Unserved> {
        let pool = self.pool_for(caller);
        self.upstream(pool.accounts.first().ok_or_else(nobody)?).await
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

/// The answer when every account of a pool is at its limit: in the vendor's own form, so that Codex and the session's retry
/// know when to come again.
fn all_limited(pool: &Pool, until: i64) -> Response<Body> {
    let names: Vec<&str> = pool.accounts.iter().map(AccountName::as_str).collect();
    let message = format!(
        "Every account of the pool ({}) is at its limit; the first may be asked again at {}.",
        names.join(", "),
        rfc3339(until)
    );
    let error = json!({
        "message": message, "type": "usage_limit_reached", "param": null, "code": "usage_limit_reached",
        "resets_at": until.div_euclid(1000) + 1,
    });
    let mut response = json_response(StatusCode::TOO_MANY_REQUESTS, &json!({ "error": error }));
    let seconds = (until - now_ms()).max(0) / 1000 + 1;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}
