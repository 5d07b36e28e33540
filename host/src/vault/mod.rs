//! Logins and keys of accounts: what they are, how they lie on the disk, how they are had and kept fresh.
//!
//! - [`tokens`]: what an account's secret is. - [`keep`]: where a login is kept.
//! - `seal`: the envelope. - `key`: the vault's keys, in a file or in the operating system's keyring.
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

use std::sync::{Mutex, MutexGuard, PoisonError};

use cofferdam_protocol::admin::KeyPlace;
use cofferdam_protocol::ids::AccountName;
use secrecy::{ExposeSecret, SecretString};

use crate::config::home::Home;
use crate::config::vault_key::VaultKey;
use crate::hooks;

pub use claims::Claims;
pub use error::VaultError;
pub use keep::{Keep, KeepError};
use key::{Kept, Keys};
pub use key::{KeyState, KeyringError, Moved};
pub use refresh::{RefreshError, Refresher};
use seal::{Belongs, SealKey};
pub use seal::{KeyId, OpenError};
pub use shared::Shared;
pub use tokens::{BadSecret, Secret, Tokens};

/// What is sealed of an account: what its provider knows it by.
const PURPOSE: &str = "account";

/// Seals secrets, and opens them. What reads a key blocks, up to some seconds when a keyring has it.
#[derive(Debug)]
pub struct Vault {
    kept: Kept,
    install: String,
    /// Held while keys are made or changed.
    changing: Mutex<()>,
}

impl Vault {
    /// The vault of a home's installation; touches nothing.
    pub fn new(home: &Home, install: &str, config: &VaultKey) -> Self {
        let kept = Kept::new(home.vault_key(), install, config);
        Self { kept, install: install.to_owned(), changing: Mutex::default() }
    }

    /// Seals an account's secret, where others are sealed already.
    pub fn seal(&self, account: &AccountName, secret: &Secret) -> Result<Vec<u8>, VaultError> {
        self.seal_beside(account, secret, true)
    }

    /// Seals an account's secret; the first time that makes the key. `sealed` is whether something is sealed already: then a
    /// key that is only out of sight is not made anew.
    pub fn seal_beside(&self, account: &AccountName, secret: &Secret, sealed: bool) -> Result<Vec<u8>, VaultError> {
        let keys = {
            let _alone = self.change();
            self.read_or_first(sealed)?
        };
        Ok(seal::seal(sealing(&keys)?, &self.belongs(account), secret.to_bytes().expose_secret()))
    }

    /// Opens what [`Self::seal`] made.
    pub fn open(&self, account: &AccountName, sealed: &[u8]) -> Result<Secret, VaultError> {
        let text = seal::open(&self.kept.read()?, &self.belongs(account), sealed)?;
        Ok(Secret::from_bytes(text.expose_secret())?)
    }

    /// Seals another's secret, such as a bot's token; see [`Self::seal_beside`].
    pub fn seal_text(&self, owner: Owner<'_>, text: &SecretString, sealed: bool) -> Result<Vec<u8>, VaultError> {
        let keys = {
            let _alone = self.change();
            self.read_or_first(sealed)?
        };
        let belongs = owner.belongs(&self.install);
        Ok(seal::seal(sealing(&keys)?, &belongs, text.expose_secret().as_bytes()))
    }

    /// Opens what [`Self::seal_text`] made.
    pub fn open_text(&self, owner: Owner<'_>, sealed: &[u8]) -> Result<SecretString, VaultError> {
        let text = seal::open(&self.kept.read()?, &owner.belongs(&self.install), sealed)?;
        let text = std::str::from_utf8(text.expose_secret()).map_err(|_| VaultError::Sealed(OpenError::Form))?;
        Ok(SecretString::from(text))
    }

    /// What seals with the key that seals now. The keys are read here, and not where it is used.
    pub fn renewal(&self) -> Result<Renewal, VaultError> {
        Ok(Renewal { keys: self.kept.read()?, install: self.install.clone() })
    }

    /// Begins a rotation: from here on a new key seals, and those before still open.
    pub fn begin_rotation(&self) -> Result<KeyId, VaultError> {
        let _alone = self.change();
        let old = self.read_or_first(true)?;
        let fresh = SealKey::fresh();
        let id = fresh.id();
        hooks::crash_point("rotate.before_both");
        self.kept.replace(&old, std::iter::once(fresh).chain(old.iter().cloned()).collect())?;
        hooks::crash_point("rotate.after_both");
        Ok(id)
    }

    /// Whether a rotation was begun and not finished.
    pub fn is_rotating(&self) -> Result<bool, VaultError> {
        self.kept.is_rotating()
    }

    /// Ends a rotation: keeps the key that seals, and those that some of `still` were sealed with. A key that one of them
    /// needs may be lost, which keeps nobody from that; one that is there and was not read is not written over.
    pub fn finish_rotation<'s>(&self, still: impl IntoIterator<Item = &'s [u8]>) -> Result<(), VaultError> {
        let _alone = self.change();
        let keys = self.kept.read()?;
        let needed: Vec<KeyId> = still.into_iter().filter_map(|sealed| seal::key_of(sealed).ok()).collect();
        let keep = |(place, key): &(usize, &SealKey)| *place == 0 || needed.contains(&key.id());
        let kept: Keys = keys.iter().enumerate().filter(keep).map(|(_, key)| key.clone()).collect();
        hooks::crash_point("rotate.before_one");
        // One that was cut off before its second key, or behind its end, is told as well.
        if kept.len() < keys.len() || (kept.len() == 1 && self.kept.is_rotating()?) {
            self.kept.replace(&keys, kept)?;
        }
        hooks::crash_point("rotate.after_one");
        Ok(())
    }

    /// Brings the keys to another place.
    pub fn move_key(&self, to: KeyPlace) -> Result<Moved, VaultError> {
        let _alone = self.change();
        self.kept.move_to(to)
    }

    /// Ends a move that a crash cut off.
    pub fn settle_move(&self) -> Result<(), VaultError> {
        let _alone = self.change();
        self.kept.settle()
    }

    /// Where the keys are, and whether they can be read.
    pub fn key_state(&self) -> KeyState {
        self.kept.state()
    }

    fn belongs<'a>(&'a self, account: &'a AccountName) -> Belongs<'a> {
        Owner::account(account).belongs(&self.install)
    }

    /// The keys, of which the first is made if there is none; nobody else changes them meanwhile.
    fn read_or_first(&self, sealed: bool) -> Result<Keys, VaultError> {
        match self.kept.read() {
            Err(VaultError::NoKey(_)) => self.kept.first(sealed),
            read => read,
        }
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seals again what was sealed with an older key.
#[derive(Debug)]
pub struct Renewal {
    keys: Keys,
    install: String,
}

impl Renewal {
    /// The same secret, sealed with the key that seals now; none when it is already.
    pub fn of(&self, owner: Owner<'_>, sealed: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        let (now, belongs) = (sealing(&self.keys)?, owner.belongs(&self.install));
        if seal::key_of(sealed)? == now.id() {
            return Ok(None);
        }
        let text = seal::open(&self.keys, &belongs, sealed)?;
        Ok(Some(seal::seal(now, &belongs, text.expose_secret())))
    }
}

/// Whose secret it is, and what for. Neither has a NUL in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    purpose: &'a str,
    name: &'a str,
}

impl<'a> Owner<'a> {
    /// An account's.
    pub fn account(name: &'a AccountName) -> Self {
        Self { purpose: PURPOSE, name: name.as_str() }
    }

    /// Another's, as the store names it.
    pub fn other(purpose: &'a str, name: &'a str) -> Self {
        Self { purpose, name }
    }

    fn belongs(self, install: &'a str) -> Belongs<'a> {
        Belongs { install, account: self.name, purpose: self.purpose }
    }
}

/// The time by this host's clock.
fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(crate::clock::now_ms()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// The key that seals; no reader gives none.
fn sealing(keys: &[SealKey]) -> Result<&SealKey, VaultError> {
    keys.first().ok_or(VaultError::Sealed(OpenError::Form))
}

#[cfg(test)]
mod tests;
