//! The vault's keys, and where they are.
//!
//! The first key seals; the others open what was sealed before, and are there only while a rotation is under way: between
//! any two of its steps every key is kept that something is sealed with.
//!
//! ```text
//! [old] ──begin──▶ [new, old] ──everything sealed again, one transaction──▶ [new, old] ──finish──▶ [new]
//! ```
//!
//! They are in `vault.key`, a file in the home beside `data/`, so that no copy or backup of the data has it; or in the
//! operating system's keyring, and then the file has the one line that says so. The place is decided when the first key
//! is made. From then on the file alone tells it, whatever session a daemon is started in:
//!
//! ```text
//! keys ──noted──▶ keys, place ──the entry is put and read back──▶ keys, place ──▶ place       move to the keyring
//! place ──the entry is read──▶ keys, place ──the entry is removed──▶ keys, place ──▶ keys      move to the file
//! ```
//!
//! Where both are, the keys in the file count, and whoever starts next removes the entry and the line ([`Kept::settle`]).
//!
//! An entry may have what nobody here knows: an older `vault.key` was put back, or another home is a copy of this one and
//! has the same entry. So none is overwritten or removed that has a key besides those that are known and those that are put.

mod file;
mod keyring;
mod text;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cofferdam_protocol::admin::KeyPlace;
use secrecy::SecretString;

use self::file::Old;
use self::keyring::Keyring;
use self::text::{Written, keys_of, text_of};
use super::VaultError;
use super::seal::{KeyId, SealKey};
use crate::config::vault_key::VaultKey;
use crate::{error_chain, hooks};

pub use keyring::KeyringError;
pub use text::Entry;
pub(super) use text::{Keys, PLACE};

/// Where the keys are kept, and the way there.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    /// Where a keyring would have them.
    own: Entry,
    wanted: Option<KeyPlace>,
    keyring: Keyring,
    /// What the keyring had when it was read last. It may be locked again between a login's refresh and its sealing, which
    /// would cost that login; so a daemon that could read it once goes on.
    known: Mutex<Option<(Entry, Keys)>>,
}

/// Where the keys are, as it is shown.
#[derive(Debug)]
pub struct KeyState {
    /// The place; none when there is no key yet, or the file does not tell.
    pub place: Option<KeyPlace>,
    /// The file, or the keyring's service and entry.
    pub at: String,
    /// Where the configuration wants them.
    pub wanted: Option<KeyPlace>,
    /// Whether a move was begun and not ended.
    pub moving: bool,
    /// Why they cannot be read.
    pub trouble: Option<VaultError>,
}

/// What a move did.
#[derive(Debug)]
pub struct Moved {
    /// Whether they were elsewhere before.
    pub moved: bool,
    /// The file, or the keyring's service and entry.
    pub at: String,
    /// Why the old place still has them, if it does.
    pub left: Option<VaultError>,
}

impl Kept {
    pub(super) fn new(path: PathBuf, install: &str, config: &VaultKey) -> Self {
        Self {
            path,
            own: Entry::of(install),
            wanted: config.wanted,
            keyring: Keyring::on(config.bus.clone()),
            known: Mutex::default(),
        }
    }

    /// The keys. A file is read each time, a keyring once.
    pub(super) fn read(&self) -> Result<Keys, VaultError> {
        match file::read(&self.path)? {
            Written::Here { keys, .. } => Ok(keys),
            Written::Keyring { entry, .. } => match self.known_of(&entry) {
                Some(keys) => Ok(keys),
                None => self.read_keyring(&entry).map(|keys| self.learn(entry, keys)),
            },
        }
    }

    /// Knows from now on what was read. Not when something is known already: that was put meanwhile, after what was read.
    fn learn(&self, entry: Entry, read: Keys) -> Keys {
        match &mut *self.known() {
            Some((of, keys)) if *of == entry => keys.clone(),
            known => known.insert((entry, read)).1.clone(),
        }
    }

    /// Makes the first key, where the configuration wants it; the keyring is the place of its own accord only if that can be
    /// had without asking anybody. An entry that is there is taken: nothing says that its key seals nothing. So when
    /// something is sealed already, a keyring that has an entry and does not show it is waited for.
    pub(super) fn first(&self, sealed: bool) -> Result<Keys, VaultError> {
        match self.wanted {
            Some(KeyPlace::File) => return self.first_here(),
            Some(KeyPlace::Keyring) => return self.first_in_keyring(),
            None => {}
        }
        match self.first_in_keyring() {
            Err(VaultError::Keyring { source: KeyringError::NoBus, .. }) => {}
            Err(error) if sealed && may_have(&error) => return Err(error),
            Err(error) => tracing::info!(why = %error_chain(&error), "the vault's key is not put into a keyring"),
            made => return made,
        }
        self.first_here()
    }

    fn first_here(&self) -> Result<Keys, VaultError> {
        let keys: Keys = [SealKey::fresh()].into();
        file::write(&self.path, &Written::Here { keys: keys.clone(), also: None }, Old::Never)?;
        tracing::info!(key = %keys[0].id(), path = %self.path.display(), "the vault's key was made");
        Ok(keys)
    }

    fn first_in_keyring(&self) -> Result<Keys, VaultError> {
        let entry = self.own.clone();
        let text =
            self.keyring.read_or_put(&entry, text_of(&[SealKey::fresh()])).map_err(self.in_keyring(&entry))?;
        let keys = keys_of(&text).ok_or_else(|| VaultError::NoKeyEntry(entry.clone()))?;
        hooks::crash_point("first_key.in_keyring");
        file::write(&self.path, &Written::Keyring { entry: entry.clone(), rotating: keys.len() > 1 }, Old::Never)?;
        tracing::info!(key = %keys[0].id(), %entry, "the vault's key is in the keyring");
        *self.known() = Some((entry, keys.clone()));
        Ok(keys)
    }

    /// Puts these in the place of `old`, which was read.
    pub(super) fn replace(&self, old: &Keys, keys: Keys) -> Result<(), VaultError> {
        match file::read(&self.path)? {
            Written::Here { keys: there, also } => {
                // While a move is under way the file gives up no key: by those it is known whether the entry may go.
                let moving = also.is_some();
                let left = there.iter().filter(|key| moving && ids(&keys).all(|id| id != key.id()));
                let keys = keys.iter().chain(left).cloned().collect();
                file::write(&self.path, &Written::Here { keys, also }, Old::Replaced)
            }
            Written::Keyring { entry, rotating } => {
                let mark = |rotating| {
                    let written = Written::Keyring { entry: entry.clone(), rotating };
                    file::write(&self.path, &written, Old::Replaced)
                };
                // From before there are several until after there are: so a start need not ask the keyring.
                let several = keys.len() > 1;
                if several && !rotating {
                    mark(true)?;
                }
                hooks::crash_point("rotate.marked");
                // One that fails may have been done: what is known opens and seals rightly in both cases.
                if let Err(error) = self.put(&entry, &keys, old) {
                    let refused = matches!(error, VaultError::OtherKeys { .. } | VaultError::NoKeyEntry(_));
                    if several && !rotating && refused {
                        mark(false)?;
                    }
                    return Err(error);
                }
                *self.known() = Some((entry.clone(), keys));
                hooks::crash_point("rotate.put");
                if several { Ok(()) } else { mark(false) }
            }
        }
    }

    /// Whether a rotation was begun and not finished. The keyring is not asked.
    pub(super) fn is_rotating(&self) -> Result<bool, VaultError> {
        match file::read(&self.path) {
            Ok(Written::Here { keys, .. }) => Ok(keys.len() > 1),
            Ok(Written::Keyring { rotating, .. }) => Ok(rotating),
            Err(VaultError::NoKey(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Brings the keys to a place.
    pub(super) fn move_to(&self, to: KeyPlace) -> Result<Moved, VaultError> {
        match (file::read(&self.path)?, to) {
            (Written::Here { keys, .. }, KeyPlace::Keyring) => self.put_into_keyring(keys),
            (Written::Keyring { entry, .. }, KeyPlace::File) => self.put_into_file(entry),
            (Written::Keyring { entry, .. }, KeyPlace::Keyring) => {
                Ok(Moved { moved: false, at: entry.to_string(), left: None })
            }
            (Written::Here { .. }, KeyPlace::File) => {
                Ok(Moved { moved: false, at: self.here(), left: self.settle().err() })
            }
        }
    }

    fn put_into_keyring(&self, keys: Keys) -> Result<Moved, VaultError> {
        let (entry, rotating) = (self.own.clone(), keys.len() > 1);
        if let Some(text) = self.keyring.usable(&entry).map_err(self.in_keyring(&entry))? {
            self.refuse_others(&entry, &text, &ids(&keys).collect::<Vec<_>>())?;
        }
        let noted = Written::Here { keys: keys.clone(), also: Some(entry.clone()) };
        file::write(&self.path, &noted, Old::Replaced)?;
        hooks::crash_point("key_in.noted");
        if let Err(error) = self.put(&entry, &keys, &keys) {
            // It may be there all the same. If this does not take it away either, the next start tries again.
            let _ = self.settle();
            return Err(error);
        }
        hooks::crash_point("key_in.put");
        file::write(&self.path, &Written::Keyring { entry: entry.clone(), rotating }, Old::Replaced)?;
        hooks::crash_point("key_in.done");
        let at = entry.to_string();
        *self.known() = Some((entry, keys));
        tracing::info!(%at, "the vault's key was moved into the keyring");
        Ok(Moved { moved: true, at, left: None })
    }

    fn put_into_file(&self, entry: Entry) -> Result<Moved, VaultError> {
        // Not what is known: whoever cannot be read cannot be emptied either. But what only this process has yet is kept.
        let (keys, foreign) = match (self.read_keyring(&entry), self.known_of(&entry)) {
            (Err(VaultError::NoEntry { .. }), Some(known)) => (known, None),
            (Err(error @ VaultError::NoKeyEntry(_)), Some(known)) => (known, Some(error)),
            (Ok(read), Some(known)) if lacks(&read, &known) => {
                let foreign = self.other_keys(&entry, ids(&read).collect(), false);
                (known, Some(foreign))
            }
            (read, _) => (read?, None),
        };
        let also = foreign.is_none().then_some(entry);
        file::write(&self.path, &Written::Here { keys: keys.clone(), also }, Old::Replaced)?;
        match file::read(&self.path)? {
            Written::Here { keys: read, .. } if ids(&read).eq(ids(&keys)) => {}
            _ => return Err(VaultError::NoKeyFile(self.path.clone())),
        }
        *self.known() = None;
        hooks::crash_point("key_out.noted");
        let left = foreign.or_else(|| self.settle().err());
        hooks::crash_point("key_out.done");
        tracing::info!(path = %self.path.display(), "the vault's key was moved into its file");
        Ok(Moved { moved: true, at: self.here(), left })
    }

    /// Ends what is left of a move: the keys stay in the file, and the keyring has none of them.
    pub(super) fn settle(&self) -> Result<(), VaultError> {
        let (keys, entry) = match file::read(&self.path) {
            Ok(Written::Here { keys, also: Some(entry) }) => (keys, entry),
            Ok(_) | Err(VaultError::NoKey(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let ours: Vec<KeyId> = ids(&keys).collect();
        let may_go = ours.clone();
        let kept = self.keyring.remove(&entry, move |text| others(text, &may_go).is_some_and(|ids| ids.is_empty()));
        if let Some(text) = kept.map_err(self.in_keyring(&entry))? {
            self.refuse_others(&entry, &text, &ours)?;
        }
        hooks::crash_point("key_out.emptied");
        file::write(&self.path, &Written::Here { keys, also: None }, Old::Replaced)
    }

    /// Looks where the keys are and whether they can be read, whatever is known from before; that stays as it is.
    pub(super) fn state(&self) -> KeyState {
        let state = |place, at, moving, trouble| KeyState { place, at, wanted: self.wanted, moving, trouble };
        match file::read(&self.path) {
            Ok(Written::Here { also, .. }) => state(Some(KeyPlace::File), self.here(), also.is_some(), None),
            Ok(Written::Keyring { entry, .. }) => {
                let known = self.known_of(&entry);
                let trouble = self.read_keyring(&entry).and_then(|read| match known {
                    // Not when a rotation changes both meanwhile.
                    Some(known) if lacks(&read, &known) && self.still_known(&entry, &known) => {
                        Err(self.other_keys(&entry, ids(&read).collect(), true))
                    }
                    _ => Ok(()),
                });
                let trouble = trouble.err();
                state(Some(KeyPlace::Keyring), entry.to_string(), false, trouble)
            }
            Err(VaultError::NoKey(_)) => state(None, self.here(), false, None),
            Err(error) => state(None, self.here(), false, Some(error)),
        }
    }

    fn read_keyring(&self, entry: &Entry) -> Result<Keys, VaultError> {
        let text = self.keyring.read(entry).map_err(self.in_keyring(entry))?;
        let text = text.ok_or_else(|| VaultError::NoEntry {
            entry: entry.clone(),
            path: self.path.clone(),
            known: self.known_of(entry).is_some(),
        })?;
        keys_of(&text).ok_or_else(|| VaultError::NoKeyEntry(entry.clone()))
    }

    /// Puts these into an entry, unless it has a key that is neither one of them nor one of `old`.
    fn put(&self, entry: &Entry, keys: &Keys, old: &Keys) -> Result<(), VaultError> {
        let ours: Vec<KeyId> = ids(keys).chain(ids(old)).collect();
        let may_go = ours.clone();
        let may_go = move |text: &SecretString| others(text, &may_go).is_some_and(|ids| ids.is_empty());
        let kept = self.keyring.put(entry, text_of(keys), may_go).map_err(self.in_keyring(entry))?;
        kept.map_or(Ok(()), |text| self.refuse_others(entry, &text, &ours))
    }

    /// Refuses an entry that has something else than these.
    fn refuse_others(&self, entry: &Entry, text: &SecretString, ours: &[KeyId]) -> Result<(), VaultError> {
        match others(text, ours) {
            None => Err(VaultError::NoKeyEntry(entry.clone())),
            Some(ids) if ids.is_empty() => Ok(()),
            Some(ids) => Err(self.other_keys(entry, ids, self.known_of(entry).is_some())),
        }
    }

    fn other_keys(&self, entry: &Entry, keys: Vec<KeyId>, known: bool) -> VaultError {
        VaultError::OtherKeys { entry: entry.clone(), keys, path: self.path.clone(), known }
    }

    fn known_of(&self, entry: &Entry) -> Option<Keys> {
        self.known().as_ref().filter(|(of, _)| of == entry).map(|(_, keys)| keys.clone())
    }

    fn still_known(&self, entry: &Entry, keys: &Keys) -> bool {
        self.known_of(entry).is_some_and(|now| ids(&now).eq(ids(keys)))
    }

    fn in_keyring(&self, entry: &Entry) -> impl Fn(KeyringError) -> VaultError + use<> {
        let entry = entry.clone();
        move |source| VaultError::Keyring { entry: entry.clone(), source }
    }

    fn here(&self) -> String {
        self.path.display().to_string()
    }

    fn known(&self) -> MutexGuard<'_, Option<(Entry, Keys)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ids(keys: &[SealKey]) -> impl Iterator<Item = KeyId> {
    keys.iter().map(SealKey::id)
}

/// The keys of an entry that are none of these; none when it has no keys at all.
fn others(text: &SecretString, ours: &[KeyId]) -> Option<Vec<KeyId>> {
    Some(ids(&keys_of(text)?).filter(|id| !ours.contains(id)).collect())
}

/// Whether the key that seals is not among those that were read.
fn lacks(read: &[SealKey], known: &[SealKey]) -> bool {
    known.first().is_some_and(|first| ids(read).all(|id| id != first.id()))
}

/// Whether a keyring that cannot be used now may have the key all the same.
fn may_have(error: &VaultError) -> bool {
    use KeyringError::{Locked, Several, Slow};
    matches!(error, VaultError::Keyring { source: Locked | Several | Slow, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_rotation_is_not_known_after_it() {
        let kept = Kept::new(PathBuf::new(), "install", &VaultKey::default());
        let (old, new) = (SealKey::fresh(), SealKey::fresh());
        let stalled: Keys = [old.clone()].into();
        let both: Keys = [new, old].into();
        *kept.known() = Some((kept.own.clone(), both.clone()));
        assert!(ids(&kept.learn(kept.own.clone(), stalled.clone())).eq(ids(&both)));
        assert!(kept.still_known(&kept.own, &both));
        // What is known of another entry is no reason.
        let other = Entry::of("another");
        assert!(ids(&kept.learn(other.clone(), stalled.clone())).eq(ids(&stalled)));
        assert!(kept.still_known(&other, &stalled));
    }
}
