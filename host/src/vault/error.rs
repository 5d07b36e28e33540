//! Why the vault cannot seal or open. No error has anything of a secret.

use std::io;
use std::path::{Path, PathBuf};

use super::key::{Entry, KeyringError};
use super::{BadSecret, KeyId, OpenError};

/// Why a secret cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key's file is not there.
    #[error("the vault's key {} is not there", .0.display())]
    NoKey(PathBuf),
    /// The file is something else.
    #[error("{} is not a key file of the vault", .0.display())]
    NoKeyFile(PathBuf),
    /// Somebody else can read it, or owns it.
    #[error("the vault's key {} is open to others (mode {mode:o}, uid {uid}), and is not used", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Its owner.
        uid: u32,
    },
    /// The file cannot be read or written.
    #[error("cannot use {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The keyring that has the key, or is to have it, cannot be used now. The key is not lost.
    #[error("the keyring with the vault's key ({entry}) cannot be used")]
    Keyring {
        /// The key's service and entry.
        entry: Entry,
        /// Why.
        #[source]
        source: KeyringError,
    },
    /// The file says that the keyring has the key, and it has not.
    #[error("the keyring has no entry {entry}, where {} says that the vault's key is", .path.display())]
    NoEntry {
        /// The service and entry.
        entry: Entry,
        /// The file.
        path: PathBuf,
        /// Whether this process has the key in its memory.
        known: bool,
    },
    /// The entry has keys that this home does not know: it is not overwritten, and not removed.
    #[error("the keyring's entry {entry} has another key ({}), which this home does not know", listed(.keys))]
    OtherKeys {
        /// The service and entry.
        entry: Entry,
        /// The keys.
        keys: Vec<KeyId>,
        /// The file.
        path: PathBuf,
        /// Whether this process has this home's key in its memory.
        known: bool,
    },
    /// The keyring's entry is something else.
    #[error("the keyring's entry {0} is no key of the vault")]
    NoKeyEntry(Entry),
    /// What is sealed does not open.
    #[error("what is sealed does not open")]
    Sealed(#[from] OpenError),
    /// It opened, and is no secret of an account.
    #[error("what was sealed is no secret of an account")]
    Content(#[from] BadSecret),
}

impl VaultError {
    pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), source }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoKey(path) => format!("put {} back, or log the account in again", path.display()),
            Self::NoKeyFile(path) => {
                format!("put the right file back to {}, or move it away and log in again", path.display())
            }
            Self::Exposed { path, .. } => format!(
                "chmod 600 {0}, as the daemon's user; when somebody may have read it: `cofferdam account key rotate`, \
                 and new keys from the vendors",
                path.display()
            ),
            Self::Keyring { source, .. } => source.hint().to_owned(),
            Self::NoEntry { known: true, .. } => {
                "the daemon still has the key in its memory: `cofferdam account key move --to file` saves it, before the \
                 daemon ends"
                    .to_owned()
            }
            Self::OtherKeys { known: true, .. } => {
                "the entry stays as it is; another home with this one's id (a copy) has it too: `cofferdam account key move \
                 --to file` keeps this home's key, before the daemon ends"
                    .to_owned()
            }
            Self::OtherKeys { entry, path, .. } => format!(
                "the entry stays as it is. When this home's accounts are sealed with that key (an older {0} was put back): let \
                 {0} have the one line `{1}{entry}`. When it is another home's (a copy): keep this one's key in its file. When \
                 nobody needs it: remove the entry in the keyring's program",
                path.display(),
                super::key::PLACE,
            ),
            Self::NoEntry { path, .. } => format!(
                "start the daemon in the session of the person whose keyring has it, or bring that keyring back; when it is \
                 gone for good: remove {}, and log the accounts in again",
                path.display()
            ),
            Self::NoKeyEntry(_) => {
                "put the right text back into it, or remove it and see what is said then".to_owned()
            }
            Self::Io { .. } => "see that the home can be written and its disk is not full".to_owned(),
            Self::Sealed(OpenError::OtherKey(_)) => {
                "add that key's line to the vault's keys if you still have it, or log the account in again"
                    .to_owned()
            }
            Self::Sealed(_) | Self::Content(_) => "log the account in again".to_owned(),
        }
    }
}

fn listed(keys: &[KeyId]) -> String {
    keys.iter().map(KeyId::to_string).collect::<Vec<_>>().join(", ")
}
