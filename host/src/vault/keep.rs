//! Where a login is kept, as its refresh sees it.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_protocol::ids::AccountName;

use super::Tokens;

/// Keeps logins: the store, or the `auth.json` that the host's own Codex uses too.
#[async_trait]
pub trait Keep: Send + Sync {
    /// What is kept now.
    async fn load(&self, account: &AccountName) -> Result<Tokens, KeepError>;

    /// Puts `new` in the place of `old`, and answers when that is durable. Whoever finds that `old` is no longer what is kept
    /// (its refresh token is another: somebody logged in meanwhile) changes nothing: [`KeepError::Changed`].
    async fn save(&self, account: &AccountName, old: &Tokens, new: &Tokens) -> Result<(), KeepError>;

    /// When others refresh this login too: the lock file that all installations of Cofferdam hold for it. None when nobody
    /// but us has it.
    fn shared(&self) -> Option<PathBuf> {
        None
    }
}

/// Why a login could not be read or kept. No variant has any of its content.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeepError {
    /// There is none.
    #[error("there is no login")]
    Missing,
    /// What is there is not what the new one was made of.
    #[error("the login was changed meanwhile")]
    Changed,
    /// It is no longer the same account's.
    #[error("the login there is another account's now")]
    OtherAccount,
    /// The vault cannot open or seal it: another login would not help.
    #[error("{why}")]
    Sealed {
        /// What failed.
        why: Arc<str>,
        /// What to do.
        mend: Arc<str>,
    },
    /// Reading or writing failed.
    #[error("{0}")]
    Failed(Arc<str>),
}

impl KeepError {
    /// What failed, in words that have nothing of the login.
    pub fn failed(what: impl Into<Arc<str>>) -> Self {
        Self::Failed(what.into())
    }
}
