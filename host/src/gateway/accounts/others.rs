//! Secrets of others than accounts, in the same vault: a rotation of its key must find all of them.

use secrecy::SecretString;

use super::change::blocking;
use super::{AccountError, Accounts};
use crate::store::channels::SecretOf;
use crate::vault::Owner;

impl Accounts {
    /// Seals a secret, and has `keep` write it down before a rotation of the key can come between.
    pub async fn seal_other<T, E>(
        &self,
        of: SecretOf,
        text: SecretString,
        keep: impl AsyncFnOnce(Vec<u8>) -> Result<T, E>,
    ) -> Result<Result<T, E>, AccountError> {
        let keep = async |sealed: Vec<Vec<u8>>| keep(sealed.into_iter().next().unwrap_or_default()).await;
        self.seal_others(vec![(of, text)], keep).await
    }

    /// The same of several, in their order.
    pub async fn seal_others<T, E>(
        &self,
        secrets: Vec<(SecretOf, SecretString)>,
        keep: impl AsyncFnOnce(Vec<Vec<u8>>) -> Result<T, E>,
    ) -> Result<Result<T, E>, AccountError> {
        let _no_rotation = self.inner.sealing.read().await;
        let sealed = self.read(|now| now.accounts.values().any(|entry| entry.row.secret.is_some()))
            || self.inner.central.has_sealed().await?;
        let vault = self.inner.vault.clone();
        let seal = move || {
            let all = secrets.into_iter();
            all.map(|(of, text)| vault.seal_text(Owner::other(&of.purpose, &of.name), &text, sealed))
                .collect::<Result<Vec<_>, _>>()
        };
        let envelopes = blocking(seal).await??;
        Ok(keep(envelopes).await)
    }

    /// Opens a secret; none when nothing is kept.
    pub async fn open_other(&self, of: SecretOf) -> Result<Option<SecretString>, AccountError> {
        let Some(sealed) = self.inner.central.sealed(of.clone()).await? else { return Ok(None) };
        let vault = self.inner.vault.clone();
        let opened = blocking(move || vault.open_text(Owner::other(&of.purpose, &of.name), &sealed)).await??;
        Ok(Some(opened))
    }
}
