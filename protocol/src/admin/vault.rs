//! The vault's key: where it is, never what it is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the vault's key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPlace {
    /// The operating system's keyring.
    Keyring,
    /// `vault.key` in the home.
    File,
}

impl KeyPlace {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::File => "file",
        }
    }

    /// The place of that word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Keyring, Self::File].into_iter().find(|place| place.as_str() == word)
    }
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The answer to `GET /v1/vault`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultKey {
    /// Where the key is; none when there is none yet, or nobody can tell.
    pub place: Option<KeyPlace>,
    /// The file, or the keyring's service and entry.
    pub at: String,
    /// Where the host's configuration wants it; none is `auto`.
    pub wanted: Option<KeyPlace>,
    /// Whether a move was begun and not ended: the file has the key, and the keyring may have it too.
    pub moving: bool,
    /// Why it cannot be used.
    pub trouble: Option<String>,
    /// What to do about that.
    pub hint: Option<String>,
}

/// `PUT /v1/vault/place`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMove {
    /// Where the key is to be.
    pub to: KeyPlace,
}

/// The answer to it: the key is there, and nowhere else unless the note says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMoved {
    /// Where it is.
    pub place: KeyPlace,
    /// Whether it was elsewhere before.
    pub moved: bool,
    /// The file, or the keyring's service and entry.
    pub at: String,
    /// What should be known.
    pub note: Option<String>,
}
