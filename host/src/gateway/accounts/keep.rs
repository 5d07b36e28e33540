//! Where the logins of accounts are kept: sealed, in the database.

use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_protocol::ids::AccountName;
use secrecy::ExposeSecret;
use tokio::sync::RwLock;

use crate::error_chain;
use crate::store::Central;
use crate::vault::{Claims, Keep, KeepError, Secret, Tokens, Vault, VaultError};

/// The vault's logins.
pub(super) struct InVault {
    pub(super) central: Central,
    pub(super) vault: Arc<Vault>,
    /// Held for reading from sealing to the commit: [`super::Inner::sealing`].
    pub(super) sealing: Arc<RwLock<()>>,
}

#[async_trait]
impl Keep for InVault {
    async fn load(&self, account: &AccountName) -> Result<Tokens, KeepError> {
        let _no_rotation = self.sealing.read().await;
        let sealed = self.central.account_secret(account).await.map_err(|error| failed(&error))?;
        let sealed = sealed.ok_or(KeepError::Missing)?;
        let (vault, account) = (self.vault.clone(), account.clone());
        blocking(move || match vault.open(&account, &sealed) {
            Ok(Secret::Tokens(tokens)) => Ok(tokens),
            Ok(Secret::Key(_)) => Err(KeepError::Missing),
            Err(error) => Err(sealed_up(&error)),
        })
        .await
    }

    async fn save(&self, account: &AccountName, old: &Tokens, new: &Tokens) -> Result<(), KeepError> {
        let _no_rotation = self.sealing.read().await;
        let (vault, name, secret) = (self.vault.clone(), account.clone(), Secret::Tokens(new.clone()));
        let sealed = blocking(move || vault.seal(&name, &secret).map_err(|error| sealed_up(&error))).await?;
        let (vault, name, old) = (self.vault.clone(), account.clone(), old.clone());
        let still = move |sealed: &[u8]| match vault.open(&name, sealed) {
            Ok(Secret::Tokens(now)) => now.refresh_token.expose_secret() == old.refresh_token.expose_secret(),
            _ => false,
        };
        let expires = expires_at(new);
        match self.central.replace_secret(account, still, sealed, expires).await.map_err(|error| failed(&error))? {
            Some(true) => Ok(()),
            Some(false) => Err(KeepError::Changed),
            None => Err(KeepError::Missing),
        }
    }
}

/// When an access token ends, ms.
pub(super) fn expires_at(tokens: &Tokens) -> Option<i64> {
    Claims::of(tokens).ends(tokens.last_refresh).map(|end| end.as_millisecond())
}

fn sealed_up(error: &VaultError) -> KeepError {
    KeepError::Sealed { why: error_chain(error).into(), mend: error.hint().into() }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> KeepError {
    KeepError::failed(error_chain(error))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeepError> + Send + 'static,
) -> Result<T, KeepError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(KeepError::failed("it could not be opened")))
}
