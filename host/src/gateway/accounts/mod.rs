//! The accounts of a home, and which of them serves a call.
//!
//! ```text
//! the group's `account` ──┐
//!                         ├─▶ a name ─▶ built in: offline, environment
//! the default ────────────┘            └▶ a row, whose secret the vault opens the first time
//! ```
//!
//! The default is what the host's configuration names, else the key that it has (`environment`), else what was chosen with
//! `account use`, else the offline model. Rows are kept in memory and read again after each change, which only this
//! process makes; an upstream is made once, and again when its row's version grew.

mod change;
mod error;
mod keep;
mod others;
mod pools;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use cofferdam_protocol::admin::AccountKind;
use cofferdam_protocol::ids::{AccountName, SessionId};
use secrecy::SecretString;

use super::chatgpt::{self, ChatGpt};
use super::choose::Unserved;
use super::rate_limits::RateLimits;
use super::standing::Standings;
use super::words::Whose;
use super::{Account, GatewayError, Limits, Upstream, upstream_of};
use crate::config::host::DEFAULT_BASE_URL;
use crate::error_chain;
use crate::model::pool::Pool;
use crate::store::accounts::{AccountRow, LoginRow};
use crate::store::{Central, StoreError, now_ms};
use crate::trust::Trust;
use crate::vault::{Keep, KeepError, Refresher, Secret, Shared, Vault, VaultError};

pub use change::{Given, Login, Rotated, Tested};
pub use error::AccountError;
use keep::InVault;

/// How old the time of an account's last use may be that is kept, in ms: a call must not cost a write.
const USED_EVERY: i64 = 60_000;

/// What the accounts of a home are made of.
pub struct Sources {
    /// Where they are kept.
    pub central: Central,
    /// What opens them.
    pub vault: Vault,
    /// What keeps logins fresh.
    pub refresher: Refresher,
    /// The account of the key in the host's configuration.
    pub environment: Option<Account>,
    /// The account that the host's configuration names.
    pub named: Option<AccountName>,
    /// Makes the clients for their endpoints.
    pub trust: Trust,
}

/// The accounts. Clones are handles to the same.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    central: Central,
    vault: Arc<Vault>,
    refresher: Refresher,
    /// The logins that the vault has.
    keep: Arc<dyn Keep>,
    named: Option<AccountName>,
    offline: Arc<dyn Upstream>,
    environment: Option<(Account, Arc<dyn Upstream>)>,
    limits: Limits,
    standings: Standings,
    /// When the steady clock of the standings began.
    begun: Instant,
    /// What chats chose, for sessions that had a turn since the start.
    pins: Mutex<HashMap<SessionId, AccountName>>,
    now: RwLock<Now>,
    /// Held for reading from sealing to the commit, and for writing while everything is sealed again: so no secret is left
    /// behind under a key that is given up.
    sealing: Arc<tokio::sync::RwLock<()>>,
}

/// The rows as they are now.
#[derive(Default)]
struct Now {
    chosen: Option<AccountName>,
    accounts: BTreeMap<AccountName, Arc<Entry>>,
    pools: BTreeMap<AccountName, Pool>,
}

struct Entry {
    row: AccountRow,
    /// Made at the first call.
    upstream: Mutex<Option<Arc<dyn Upstream>>>,
    used_at: AtomicI64,
}

impl Entry {
    fn new(row: AccountRow) -> Self {
        Self { used_at: AtomicI64::new(row.used_at.unwrap_or(0)), row, upstream: Mutex::default() }
    }

    fn upstream(&self) -> MutexGuard<'_, Option<Arc<dyn Upstream>>> {
        self.upstream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An account as it is shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its name.
    pub name: AccountName,
    /// What it is with.
    pub kind: AccountKind,
    /// Whether it serves the groups that name none.
    pub default: bool,
    /// The endpoint.
    pub base_url: Option<String>,
    /// The model of groups that name none.
    pub model: Option<String>,
    /// Of a ChatGPT login.
    pub login: LoginRow,
    /// Why it cannot be used, in words.
    pub trouble: Option<String>,
    /// Who stands in for it.
    pub pool: Option<Pool>,
    /// What its vendor told last of its allowances.
    pub limits: Option<RateLimits>,
    /// Until when it is passed over where another can serve, ms, and why.
    pub cooling: Option<(i64, String)>,
    /// When it was made and changed, and about when it was last used, ms; none of those that are built in.
    pub times: Option<(i64, i64, Option<i64>)>,
}

impl Accounts {
    /// The accounts that need no reading.
    pub fn new(sources: Sources) -> Result<Self, GatewayError> {
        let limits = Limits { trust: sources.trust, ..Limits::default() };
        let environment = sources.environment.map(|account| {
            let upstream = upstream_of(account.clone(), Whose::Environment, limits.clone())?;
            Ok::<_, GatewayError>((account, upstream))
        });
        let (central, vault) = (sources.central, Arc::new(sources.vault));
        let sealing = Arc::<tokio::sync::RwLock<()>>::default();
        let keep = InVault { central: central.clone(), vault: vault.clone(), sealing: sealing.clone() };
        Ok(Self {
            inner: Arc::new(Inner {
                central,
                vault,
                refresher: sources.refresher,
                keep: Arc::new(keep),
                named: sources.named,
                offline: upstream_of(Account::Offline, Whose::Environment, limits.clone())?,
                environment: environment.transpose()?,
                limits,
                standings: Standings::default(),
                begun: Instant::now(),
                pins: Mutex::default(),
                now: RwLock::default(),
                sealing,
            }),
        })
    }

    /// Reads the accounts of the vault, and ends a rotation or a move of its key that a crash cut off. No secret is opened.
    pub async fn load(&self) -> Result<(), StoreError> {
        self.refresh().await?;
        self.end_changes_of_key().await;
        Ok(())
    }

    /// The account that the host's configuration names, if there is none such.
    pub fn missing(&self) -> Option<AccountName> {
        self.inner.named.clone().filter(|name| !self.exists(name))
    }

    /// The account of groups that name none.
    pub fn default_name(&self) -> AccountName {
        let chosen = || self.read(|now| now.chosen.clone());
        let environment = || self.inner.environment.as_ref().map(|_| AccountName::environment());
        self.inner.named.clone().or_else(environment).or_else(chosen).unwrap_or_else(AccountName::offline)
    }

    /// Waits for refreshes of logins: a process that ends in the middle of one can cost a login.
    pub async fn settle(&self) {
        self.inner.refresher.settle().await;
    }

    /// All accounts, the built-in ones first; whether they can be opened is looked at.
    pub async fn list(&self) -> Vec<Shown> {
        if let Err(error) = self.refresh().await {
            tracing::warn!(error = %error_chain(&error), "accounts are shown as they were");
        }
        let default = self.default_name();
        let built_in = |name: AccountName, kind, base_url| Shown {
            limits: self.inner.standings.limits(&name),
            cooling: None,
            pool: None,
            default: name == default,
            name,
            kind,
            base_url,
            model: None,
            login: LoginRow::default(),
            trouble: None,
            times: None,
        };
        let mut shown = vec![built_in(AccountName::offline(), AccountKind::Offline, None)];
        if let Some((Account::OpenAi { base_url, .. }, _)) = &self.inner.environment {
            let url = base_url.as_str().trim_end_matches('/').to_owned();
            shown.push(built_in(AccountName::environment(), AccountKind::Compatible, Some(url)));
        }
        let entries: Vec<Arc<Entry>> = self.read(|now| now.accounts.values().cloned().collect());
        for entry in entries {
            let trouble = self.trouble(&entry).await;
            let shown_one = shown_of(&entry, &default, trouble);
            shown.push(self.with_standing(shown_one));
        }
        shown
    }

    /// Why an account cannot be used, as far as that is known without asking anybody.
    async fn trouble(&self, entry: &Arc<Entry>) -> Option<String> {
        let name = &entry.row.name;
        let opened = {
            let _no_rotation = self.inner.sealing.read().await;
            self.opened(entry).await
        };
        if let Err(Unserved(why)) = opened {
            return Some(why);
        }
        if entry.row.kind != AccountKind::ChatGpt {
            return None;
        }
        if let Err(error) = self.keep_of(&entry.row).load(name).await {
            let mend = match &error {
                KeepError::Sealed { mend, .. } => mend.to_string(),
                _ => login_again(name),
            };
            return Some(format!("Account '{name}' cannot be used: {}. {mend}", error_chain(&error)));
        }
        self.inner.refresher.trouble(name).map(|error| format!("{}. {}", error_chain(&error), login_again(name)))
    }

    /// Where the login of an account is kept.
    fn keep_of(&self, row: &AccountRow) -> Arc<dyn Keep> {
        match &row.login.auth_json {
            Some(path) => Arc::new(Shared::new(path.into(), row.login.account_id.clone())),
            None => self.inner.keep.clone(),
        }
    }

    /// Reads all rows again.
    async fn refresh(&self) -> Result<(), StoreError> {
        let chosen = self.inner.central.default_account().await?;
        let rows = self.inner.central.accounts().await?;
        let pools = self.inner.central.pools().await?;
        let mut now = self.inner.now.write().unwrap_or_else(PoisonError::into_inner);
        let mut old = std::mem::take(&mut now.accounts);
        (now.chosen, now.pools) = (chosen, pools.into_iter().collect());
        for row in rows {
            // What serves it goes on as long as it would be the same; its secret may be sealed in another way.
            let kept = old.remove(&row.name).filter(|entry| entry.row.version == row.version);
            let entry = Entry::new(row);
            if kept.is_none() {
                self.inner.standings.forget(&entry.row.name);
            }
            if let Some(kept) = kept {
                *entry.upstream() = kept.upstream().clone();
                entry.used_at.fetch_max(kept.used_at.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            now.accounts.insert(entry.row.name.clone(), Arc::new(entry));
        }
        Ok(())
    }

    fn exists(&self, name: &AccountName) -> bool {
        match name.as_str() {
            AccountName::OFFLINE => true,
            AccountName::ENVIRONMENT => self.inner.environment.is_some(),
            _ => self.read(|now| now.accounts.contains_key(name)),
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Now) -> T) -> T {
        look(&self.inner.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn upstream(&self, name: &AccountName) -> Result<Arc<dyn Upstream>, Unserved> {
        match name.as_str() {
            AccountName::OFFLINE => return Ok(self.inner.offline.clone()),
            AccountName::ENVIRONMENT => {
                let (_, upstream) = self.inner.environment.as_ref().ok_or_else(no_environment)?;
                return Ok(upstream.clone());
            }
            _ => {}
        }
        let entry = || self.read(|now| now.accounts.get(name).cloned()).ok_or_else(|| unknown(name));
        let mut found = entry()?;
        let made = found.upstream().clone();
        let upstream = match made {
            Some(upstream) => upstream,
            None => {
                let _no_rotation = self.inner.sealing.read().await;
                found = entry()?;
                self.opened(&found).await?
            }
        };
        self.note_used(&found);
        Ok(upstream)
    }

    /// What serves an account of the vault; not while everything is sealed again.
    async fn opened(&self, entry: &Arc<Entry>) -> Result<Arc<dyn Upstream>, Unserved> {
        if let Some(upstream) = &*entry.upstream() {
            return Ok(upstream.clone());
        }
        let name = &entry.row.name;
        if let Some(why) = &entry.row.login_needed {
            return Err(Unserved(format!("Account '{name}' cannot be used: {why}. {}", login_again(name))));
        }
        if entry.row.kind == AccountKind::ChatGpt {
            let (keep, refresher) = (self.keep_of(&entry.row), self.inner.refresher.clone());
            let made = ChatGpt::new(name.clone(), keep, refresher, self.inner.limits.clone());
            let made = made.map_err(|error| Unserved(error_chain(&error)))?;
            return Ok(entry.upstream().get_or_insert(Arc::new(made)).clone());
        }
        let (vault, row, limits) = (self.inner.vault.clone(), entry.row.clone(), self.inner.limits.clone());
        let made = tokio::task::spawn_blocking(move || make(&vault, &row, limits)).await;
        let made = made.unwrap_or_else(|_| Err("it could not be opened".to_owned()));
        let upstream = made.map_err(|why| Unserved(format!("Account '{name}' cannot be used: {why}.")))?;
        Ok(entry.upstream().get_or_insert(upstream).clone())
    }

    /// Keeps about when an account was last used; nobody waits for it.
    fn note_used(&self, entry: &Entry) {
        let (now, last) = (now_ms(), entry.used_at.load(Ordering::Relaxed));
        if (now - last).abs() < USED_EVERY {
            return;
        }
        entry.used_at.store(now, Ordering::Relaxed);
        let (central, name) = (self.inner.central.clone(), entry.row.name.clone());
        tokio::spawn(async move {
            if let Err(error) = central.note_account_used(&name).await {
                tracing::debug!(account = %name, error = %error_chain(&error), "its last use was not kept");
            }
        });
    }
}

fn shown_of(entry: &Entry, default: &AccountName, trouble: Option<String>) -> Shown {
    let row = &entry.row;
    let used = Some(entry.used_at.load(Ordering::Relaxed)).filter(|at| *at > 0);
    Shown {
        default: row.name == *default,
        name: row.name.clone(),
        kind: row.kind,
        base_url: Some(base_url_of(row)),
        model: row.model.clone(),
        login: row.login.clone(),
        trouble,
        pool: None,
        limits: None,
        cooling: None,
        times: Some((row.created_at, row.changed_at, used)),
    }
}

fn base_url_of(row: &AccountRow) -> String {
    match (&row.base_url, row.kind) {
        (_, AccountKind::ChatGpt) => chatgpt::base_url(),
        (Some(url), _) => url.clone(),
        (None, _) => DEFAULT_BASE_URL.to_owned(),
    }
}

/// Opens an account's secret and makes what serves it; blocks.
fn make(vault: &Vault, row: &AccountRow, limits: Limits) -> Result<Arc<dyn Upstream>, String> {
    let sealed = row.secret.as_deref().ok_or("it has no secret")?;
    let whose = Whose::Vault(row.name.clone());
    match vault.open(&row.name, sealed).map_err(|error| in_words(&error))? {
        Secret::Key(key) => made(row, key, whose, limits).map_err(|error| error_chain(&error)),
        Secret::Tokens(_) => Err("its secret is of another kind".to_owned()),
    }
}

fn made(
    row: &AccountRow,
    key: SecretString,
    whose: Whose,
    limits: Limits,
) -> Result<Arc<dyn Upstream>, GatewayError> {
    upstream_of(Account::open_ai(&base_url_of(row), key)?, whose, limits)
}

fn in_words(error: &VaultError) -> String {
    format!("{}; {}", error_chain(error), error.hint())
}

fn login_again(name: &AccountName) -> String {
    format!("`cofferdam account login {name}` makes it ready again")
}

fn unknown(name: &AccountName) -> Unserved {
    Unserved(format!("There is no account '{name}': `cofferdam account list` shows those that are."))
}

fn no_environment() -> Unserved {
    Unserved(
        "The account 'environment' has no key: set OPENAI_API_KEY on the host and restart the daemon.".to_owned(),
    )
}
