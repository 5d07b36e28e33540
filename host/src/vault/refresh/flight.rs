//! One refresh, from the lock to the saved tokens.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_protocol::ids::AccountName;
use tokio::sync::watch;
use tokio::time::Instant;

use super::mark::{Known, Notes, name};
use super::{Inner, Outcome, REST, RefreshError, State, Why, ahead, is_due};
use crate::hooks::crash_point;
use crate::model::backoff::Backoff;
use crate::vault::issuer::{IssuerError, Reason};
use crate::vault::{Keep, KeepError, Tokens};

/// How often the issuer is asked, and how far apart.
const ASKING: Backoff = Backoff { first: 500, longest: 5_000, tries: 4 };
/// The longest that a flight goes on asking; those who wait for it have people behind them.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often new tokens are tried to be kept: they are all that there is.
const SAVING: Backoff = Backoff { first: 100, longest: 2_000, tries: 5 };
/// How often one looks whether the other holder of a shared login has written what it got, and how far apart: it does so
/// within a few ms of its answer.
const OTHER: (u32, Duration) = (20, Duration::from_millis(100));

pub(super) struct Flight {
    inner: Arc<Inner>,
    account: AccountName,
    keep: Arc<dyn Keep>,
    stale: Tokens,
    reason: Reason,
    tell: watch::Sender<Option<Outcome>>,
}

impl Flight {
    pub(super) fn new(
        inner: &Arc<Inner>,
        account: &AccountName,
        keep: &Arc<dyn Keep>,
        stale: &Tokens,
        reason: Reason,
        tell: watch::Sender<Option<Outcome>>,
    ) -> Self {
        let (inner, account, keep, stale) = (inner.clone(), account.clone(), keep.clone(), stale.clone());
        Self { inner, account, keep, stale, reason, tell }
    }

    /// Refreshes, and tells everybody. Lands also when it panics.
    pub(super) async fn fly(self) {
        let mut landing = Landing { flight: &self, outcome: Err(RefreshError::Interrupted) };
        landing.outcome = self.refresh().await;
        if let Err(error) = &landing.outcome {
            tracing::warn!(account = %self.account, error = %crate::error_chain(error), "refresh of a login failed");
        }
    }

    async fn refresh(&self) -> Outcome {
        let _held = self.inner.hold(&self.account, &self.keep).await?;
        self.save_what_is_left().await?;
        let old = self.load().await?;
        let is_stale = old.has_access(&self.stale.access_token);
        if !is_stale && (self.reason == Reason::Unauthorized || !is_due(&old, ahead(&self.keep))) {
            return Ok(old);
        }
        let notes = Notes::of(&self.inner.dir, &self.account);
        let known = notes.look(&old);
        if let Known::Dead(why) = known {
            return Err(self.login_needed(why));
        }
        notes.sent(&old).map_err(|error| not_noted(&error))?;
        crash_point("refresh.intent");
        match self.ask(&old, known == Known::Sent).await {
            Ok(new) => {
                crash_point("refresh.answered");
                let saved = self.save(&old, new).await?;
                crash_point("refresh.saved");
                Ok(saved)
            }
            Err(RefreshError::LoginNeeded { why, .. }) => self.refused(&notes, &old, why).await,
            Err(error) => Err(error),
        }
    }

    /// Asks the issuer, again while it makes sense. `doubt`: it may have taken this refresh token before.
    async fn ask(&self, old: &Tokens, mut doubt: bool) -> Outcome {
        let begun = Instant::now();
        let mut failed = 0;
        loop {
            let error = match self.inner.issuer.refresh(old, self.reason).await {
                Ok(new) => return Ok(new),
                Err(error) => error,
            };
            failed += 1;
            if let IssuerError::Refused(refusal) = error {
                let why = if doubt { Why::Lost } else { Why::Refused(refusal) };
                return Err(self.login_needed(why));
            }
            doubt |= error.is_doubtful();
            let Some(pause) = pause(&error, failed).filter(|pause| begun.elapsed() + *pause < PATIENCE) else {
                return Err(RefreshError::Issuer(error));
            };
            tracing::info!(account = %self.account, %error, failed, "refresh of a login is tried again");
            tokio::time::sleep(pause).await;
        }
    }

    /// The issuer does not take this refresh token. With a shared login another program may have spent it and have new ones;
    /// else it is noted, so that nobody tries again.
    async fn refused(&self, notes: &Notes, old: &Tokens, why: Why) -> Outcome {
        let mut looks = if self.keep.shared().is_some() { OTHER.0 } else { 1 };
        loop {
            let now = self.load().await?;
            if name(&now) != name(old) {
                return Ok(now);
            }
            looks -= 1;
            if looks == 0 {
                break;
            }
            tokio::time::sleep(OTHER.1).await;
        }
        if let Err(error) = notes.dead(old, &why) {
            tracing::warn!(account = %self.account, %error, "not noted that a login is of no use");
        }
        Err(self.login_needed(why))
    }

    async fn load(&self) -> Outcome {
        self.keep.load(&self.account).await.map_err(RefreshError::Keep)
    }

    /// Keeps the new tokens; answers them when that is durable, or those of who was faster.
    async fn save(&self, old: &Tokens, new: Tokens) -> Outcome {
        let mut failed = 0;
        loop {
            let error = match self.keep.save(&self.account, old, &new).await {
                Ok(()) => return Ok(new),
                // Somebody logged in meanwhile: theirs is the newer login.
                Err(KeepError::Changed) => return self.load().await,
                Err(error) => error,
            };
            failed += 1;
            let Some(pause) = SAVING.next(failed, 0, chance()).map(millis) else {
                self.inner.unsaved().insert(self.account.clone(), (old.clone(), new));
                return Err(RefreshError::Keep(error));
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// What an earlier flight had bought and could not keep.
    async fn save_what_is_left(&self) -> Result<(), RefreshError> {
        let left = self.inner.unsaved().remove(&self.account);
        let Some((old, new)) = left else { return Ok(()) };
        self.save(&old, new).await.map(drop)
    }

    fn login_needed(&self, why: Why) -> RefreshError {
        RefreshError::LoginNeeded { account: self.account.clone(), why }
    }
}

/// Tells the outcome, whatever it is, and makes room for the next flight.
struct Landing<'f> {
    flight: &'f Flight,
    outcome: Outcome,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut accounts = self.flight.inner.accounts();
        match &self.outcome {
            Ok(_) => drop(accounts.remove(&self.flight.account)),
            Err(error) => {
                let (token, error) = (name(&self.flight.stale), error.clone());
                let until = Instant::now() + rest(&error);
                accounts.insert(self.flight.account.clone(), State::Failed { token, error, until });
            }
        }
        self.flight.tell.send_replace(Some(self.outcome.clone()));
    }
}

/// How long an outcome is good for those who come later.
fn rest(error: &RefreshError) -> Duration {
    match error {
        RefreshError::Issuer(IssuerError::Busy { retry_after: Some(wait), .. }) => REST.max(*wait),
        RefreshError::Issuer(_) => REST,
        _ => Duration::ZERO,
    }
}

/// How long to wait before the issuer is asked again; none when that makes no sense.
fn pause(error: &IssuerError, failed: u32) -> Option<Duration> {
    let ours = ASKING.next(failed, 0, chance()).map(millis)?;
    match error {
        IssuerError::Busy { retry_after: Some(wait), .. } => Some(ours.max(*wait)),
        error => error.is_passing().then_some(ours),
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// From 0 to 1.
fn chance() -> f64 {
    let [a, b, ..] = uuid::Uuid::new_v4().into_bytes();
    f64::from(u16::from_be_bytes([a, b])) / f64::from(u16::MAX)
}

fn not_noted(error: &std::io::Error) -> RefreshError {
    RefreshError::Files(format!("the refresh cannot be noted, and is not begun: {error}").into())
}
