//! The one refresh of a login.
//!
//! A refresh token is good for one use, and whoever uses it a second time may end the login. So:
//!
//! ```text
//! caller ─┐                     ┌ lock over processes
//! caller ─┼─ one flight ────────┤ load: somebody was faster → theirs
//! caller ─┘  (a task: it goes   │ note that the token goes out          durable
//!             on when its       │ ask the issuer; again when it passes
//!             callers go away)  │ save                                  durable
//!                               └ tell all callers
//! ```
//!
//! What a crash can leave: a note, and the old tokens. Then the next flight asks the issuer once more. When the request had not
//! reached it, all is well; when it had, the new tokens are lost with the answer, the issuer says that the old one is spent, and
//! so do we, at once and from then on: only a new login helps.

mod flight;
pub(super) mod lock;
mod mark;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofferdam_protocol::ids::AccountName;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::issuer::{Issuer, IssuerError, Reason, Refusal};
use super::{Claims, Keep, KeepError, Tokens, now};

/// How long before its end an access token is replaced, as Codex does; half its life when that is shorter.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// The same for a login that the host's own Codex has too: whoever is first does it for both, and two at the same moment get in
/// each other's way.
const AHEAD_OF_CODEX: Duration = Duration::from_secs(10 * 60);
/// How old a token gets that does not say when it ends; Codex's own rule.
const OLD: Duration = Duration::from_secs(8 * 24 * 3600);
/// How long nobody asks again after a refresh failed in a way that passes.
const REST: Duration = Duration::from_secs(5);

/// What comes of a refresh; all who waited for it get the same.
pub type Outcome = Result<Tokens, RefreshError>;

/// Why there are no fresh tokens.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RefreshError {
    /// Only a person can help.
    #[error("account '{account}' has to be logged in again: {why}")]
    LoginNeeded {
        /// Whose login it is.
        account: AccountName,
        /// What happened to it.
        why: Why,
    },
    /// The issuer did not do it; a later try may succeed.
    #[error("the login could not be refreshed")]
    Issuer(#[source] IssuerError),
    /// The login could not be read or kept.
    #[error("the login could not be read or kept")]
    Keep(#[source] KeepError),
    /// The refresh's own files could not be used.
    #[error("{0}")]
    Files(Arc<str>),
    /// The refresh ended without an outcome: the program is ending, or has a fault.
    #[error("the refresh was interrupted")]
    Interrupted,
}

/// Why a login is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The issuer does not take it.
    #[error("{0}")]
    Refused(Refusal),
    /// Its refresh token was spent by a refresh of ours whose answer was lost.
    #[error("an earlier refresh was cut off after the issuer had taken its refresh token, and the new one is lost")]
    Lost,
}

/// Refreshes logins. Clones are the same one.
#[derive(Clone)]
pub struct Refresher {
    inner: Arc<Inner>,
}

struct Inner {
    issuer: Issuer,
    dir: PathBuf,
    accounts: Mutex<HashMap<AccountName, State>>,
    /// New tokens that could not be kept, with those that they replace. They are all that is left of the login.
    unsaved: Mutex<HashMap<AccountName, (Tokens, Tokens)>>,
    flights: TaskTracker,
}

/// What is known of an account's refresh.
enum State {
    Running(watch::Receiver<Option<Outcome>>),
    /// It failed, for the refresh token of this name.
    Failed {
        token: String,
        error: RefreshError,
        until: Instant,
    },
}

impl Refresher {
    /// One that keeps its locks and notes in `dir`, which is made if need be. Notes must survive what the tokens survive.
    pub fn new(issuer: Issuer, dir: PathBuf) -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let (accounts, unsaved, flights) = (Mutex::default(), Mutex::default(), TaskTracker::new());
        Ok(Self { inner: Arc::new(Inner { issuer, dir, accounts, unsaved, flights }) })
    }

    /// The tokens of an account, refreshed when they are about to end. While they are good, trouble with that is only logged.
    pub async fn current(&self, account: &AccountName, keep: &Arc<dyn Keep>) -> Outcome {
        let tokens = keep.load(account).await.map_err(RefreshError::Keep)?;
        if !is_due(&tokens, ahead(keep)) {
            return Ok(tokens);
        }
        match self.refreshed(account, keep, &tokens, Reason::Expiry).await {
            Err(error) if !has_ended(&tokens) => {
                tracing::warn!(%account, error = %crate::error_chain(&error), "login not refreshed; it is still good");
                Ok(tokens)
            }
            outcome => outcome,
        }
    }

    /// The tokens of an account after the vendor refused this access token: those that replaced it, or else fresh ones.
    pub async fn after_refusal(
        &self,
        account: &AccountName,
        keep: &Arc<dyn Keep>,
        refused: &SecretString,
    ) -> Outcome {
        let tokens = keep.load(account).await.map_err(RefreshError::Keep)?;
        if !tokens.has_access(refused) {
            return Ok(tokens);
        }
        self.refreshed(account, keep, &tokens, Reason::Unauthorized).await
    }

    /// What kept the account's last refresh from succeeding, until one succeeds.
    pub fn trouble(&self, account: &AccountName) -> Option<RefreshError> {
        match self.inner.accounts().get(account) {
            Some(State::Failed { error, .. }) => Some(error.clone()),
            _ => None,
        }
    }

    /// Ends an account's login at the issuer, with no refresh running. Who shares it with others ends theirs too.
    pub async fn revoke(&self, account: &AccountName, keep: &Arc<dyn Keep>) -> Result<(), RefreshError> {
        let _held = self.inner.hold(account, keep).await?;
        let tokens = keep.load(account).await.map_err(RefreshError::Keep)?;
        self.inner.issuer.revoke(&tokens).await.map_err(RefreshError::Issuer)
    }

    /// Waits for the refreshes that run: ending the program in the middle of one can cost a login.
    pub async fn settle(&self) {
        self.inner.flights.close();
        self.inner.flights.wait().await;
        self.inner.flights.reopen();
    }

    /// Replaces `stale` with the account's one refresh: the one that runs, or else a new one.
    async fn refreshed(
        &self,
        account: &AccountName,
        keep: &Arc<dyn Keep>,
        stale: &Tokens,
        reason: Reason,
    ) -> Outcome {
        let mut outcome = {
            let mut accounts = self.inner.accounts();
            match accounts.get(account) {
                Some(State::Running(outcome)) => outcome.clone(),
                Some(State::Failed { token, error, until })
                    if *token == mark::name(stale) && Instant::now() < *until =>
                {
                    return Err(error.clone());
                }
                _ => {
                    let (tell, outcome) = watch::channel(None);
                    accounts.insert(account.clone(), State::Running(outcome.clone()));
                    let flight = flight::Flight::new(&self.inner, account, keep, stale, reason, tell);
                    self.inner.flights.spawn(flight.fly());
                    outcome
                }
            }
        };
        let told = outcome.wait_for(Option::is_some).await;
        told.ok().and_then(|outcome| outcome.clone()).unwrap_or(Err(RefreshError::Interrupted))
    }
}

impl Inner {
    fn accounts(&self) -> MutexGuard<'_, HashMap<AccountName, State>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account's locks: ours, and that of all installations that have the same login.
    async fn hold(
        &self,
        account: &AccountName,
        keep: &Arc<dyn Keep>,
    ) -> Result<(lock::Held, Option<lock::Held>), RefreshError> {
        let ours = lock::hold(&self.dir.join(format!("{account}.lock"))).await?;
        let everybodys = match keep.shared() {
            Some(path) => Some(lock::hold(&path).await?),
            None => None,
        };
        Ok((ours, everybodys))
    }

    fn unsaved(&self) -> MutexGuard<'_, HashMap<AccountName, (Tokens, Tokens)>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ahead(keep: &Arc<dyn Keep>) -> Duration {
    if keep.shared().is_some() { AHEAD_OF_CODEX } else { AHEAD }
}

/// Whether it is time to replace these tokens.
fn is_due(tokens: &Tokens, ahead: Duration) -> bool {
    let claims = Claims::of(tokens);
    match claims.ends(tokens.last_refresh) {
        Some(end) => left(end) <= claims.lifetime.map_or(ahead, |lifetime| ahead.min(lifetime / 2)),
        None => left(tokens.last_refresh.checked_add(OLD).unwrap_or(Timestamp::MAX)).is_zero(),
    }
}

fn has_ended(tokens: &Tokens) -> bool {
    Claims::of(tokens).ends(tokens.last_refresh).is_some_and(|end| left(end).is_zero())
}

/// How long until then; nothing when it has come.
fn left(end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(now())).unwrap_or_default()
}

#[cfg(test)]
mod tests;
