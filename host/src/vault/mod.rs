//! Logins and keys of accounts: what they are, how they lie on the disk, how they are had and kept fresh.
//!
//! - [`tokens`]: what an account's secret is. - [`keep`]: where a login is kept.
//! - `seal`: the envelope. - `key`: the file with the vault's key.
//! - [`issuer`]: who grants logins. - [`claims`]: what a login says of itself.
//! - [`refresh`]: the one who renews a login, for everybody. - [`shared`]: one that the host's own Codex has too.
//! - [`login`]: the ways to a login.

pub mod claims;
mod error;
pub mod issuer;
pub mod keep;
mod key;
pub mod login;
pub mod refresh;
mod seal;
pub mod shared;
pub mod tokens;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cofferdam_protocol::ids::AccountName;
use secrecy::ExposeSecret;

use crate::config::home::Home;
use crate::hooks;

pub use claims::Claims;
pub use error::VaultError;
pub use keep::{Keep, KeepError};
use key::Old;
pub use refresh::{RefreshError, Refresher};
use seal::{Belongs, SealKey};
pub use seal::{KeyId, OpenError};
pub use shared::Shared;
pub use tokens::{BadSecret, Secret, Tokens};

/// What is sealed of an account: what its provider knows it by.
const PURPOSE: &str = "account";

/// Seals secrets, and opens them. It holds no key: the file is read each time, which is seldom.
#[derive(Debug)]
pub struct Vault {
    path: PathBuf,
    install: String,
    /// Held while the file is made or changed.
    changing: Mutex<()>,
}

impl Vault {
    /// The vault of a home's installation; touches nothing.
    pub fn new(home: &Home, install: &str) -> Self {
        Self { path: home.vault_key(), install: install.to_owned(), changing: Mutex::default() }
    }

    /// Seals an account's secret; the first time that makes the key.
    pub fn seal(&self, account: &AccountName, secret: &Secret) -> Result<Vec<u8>, VaultError> {
        let keys = self.keys_or_first()?;
        Ok(seal::seal(sealing(&keys, &self.path)?, &self.belongs(account), secret.to_bytes().expose_secret()))
    }

    /// Opens what [`Self::seal`] made.
    pub fn open(&self, account: &AccountName, sealed: &[u8]) -> Result<Secret, VaultError> {
        let text = seal::open(&key::read(&self.path)?, &self.belongs(account), sealed)?;
        Ok(Secret::from_bytes(text.expose_secret())?)
    }

    /// The same secret, sealed with the key that seals now; none when it is already.
    pub fn renewed(&self, account: &AccountName, sealed: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        let keys = key::read(&self.path)?;
        let now = sealing(&keys, &self.path)?;
        if seal::key_of(sealed)? == now.id() {
            return Ok(None);
        }
        let text = seal::open(&keys, &self.belongs(account), sealed)?;
        Ok(Some(seal::seal(now, &self.belongs(account), text.expose_secret())))
    }

    /// Begins a rotation: from here on a new key seals, and those before still open.
    pub fn begin_rotation(&self) -> Result<KeyId, VaultError> {
        let _alone = self.change();
        let old = match key::read(&self.path) {
            Ok(keys) => keys,
            Err(VaultError::NoKey(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        let fresh = SealKey::fresh();
        hooks::crash_point("rotate.before_both");
        let both: Vec<&SealKey> = std::iter::once(&fresh).chain(&old).collect();
        key::write(&self.path, &both, Old::Replaced)?;
        hooks::crash_point("rotate.after_both");
        Ok(fresh.id())
    }

    /// Whether a rotation was begun and not finished.
    pub fn is_rotating(&self) -> Result<bool, VaultError> {
        match key::read(&self.path) {
            Ok(keys) => Ok(keys.len() > 1),
            Err(VaultError::NoKey(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ends a rotation: keeps the key that seals, and those that some of `still` were sealed with.
    pub fn finish_rotation<'s>(&self, still: impl IntoIterator<Item = &'s [u8]>) -> Result<(), VaultError> {
        let _alone = self.change();
        let keys = key::read(&self.path)?;
        let needed: Vec<KeyId> = still.into_iter().filter_map(|sealed| seal::key_of(sealed).ok()).collect();
        let keep = |(place, key): &(usize, &SealKey)| *place == 0 || needed.contains(&key.id());
        let kept: Vec<&SealKey> = keys.iter().enumerate().filter(keep).map(|(_, key)| key).collect();
        hooks::crash_point("rotate.before_one");
        if kept.len() < keys.len() {
            key::write(&self.path, &kept, Old::Replaced)?;
        }
        hooks::crash_point("rotate.after_one");
        Ok(())
    }

    fn belongs<'a>(&'a self, account: &'a AccountName) -> Belongs<'a> {
        Belongs { install: &self.install, account: account.as_str(), purpose: PURPOSE }
    }

    fn keys_or_first(&self) -> Result<Vec<SealKey>, VaultError> {
        let _alone = self.change();
        match key::read(&self.path) {
            Err(VaultError::NoKey(_)) => {
                let first = SealKey::fresh();
                key::write(&self.path, &[&first], Old::Never)?;
                tracing::info!(key = %first.id(), path = %self.path.display(), "the vault's key was made");
                Ok(vec![first])
            }
            read => read,
        }
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time by this host's clock.
fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(crate::clock::now_ms()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// The key that seals.
fn sealing<'k>(keys: &'k [SealKey], path: &std::path::Path) -> Result<&'k SealKey, VaultError> {
    keys.first().ok_or_else(|| VaultError::NoKeyFile(path.to_owned()))
}

#[cfg(test)]
mod tests;
