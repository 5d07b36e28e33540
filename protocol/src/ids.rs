//! Newtypes for identifiers.

mod waiting;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use waiting::{BadWaitingId, WaitingId};

/// A group's folder name, which is also its identity: `[a-z0-9][a-z0-9_-]{0,62}`.
///
/// Only such names are made, so a folder is safe as a path component, a label and a URL segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Folder(String);

/// Why a text is not a [`Folder`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a group name: use 1 to 63 lower-case letters, digits, '-' and '_', starting with a letter or digit"
)]
pub struct BadFolder(String);

impl Folder {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Folder {
    type Err = BadFolder;

    fn from_str(text: &str) -> Result<Self, BadFolder> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let good = (1..=63).contains(&text.len())
            && text.starts_with(plain)
            && text.chars().all(|c| plain(c) || c == '-' || c == '_');
        if good { Ok(Self(text.to_owned())) } else { Err(BadFolder(text.chars().take(80).collect())) }
    }
}

impl<'de> Deserialize<'de> for Folder {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An account's name: 1 to 32 lower-case letters, digits and '-', starting with a letter or digit.
///
/// Only such names are made, so a name is safe as a path component and a URL segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AccountName(String);

/// Why a text is not an [`AccountName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not an account's name: use 1 to 32 lower-case letters, digits and '-', starting with a letter or digit"
)]
pub struct BadAccountName(String);

impl AccountName {
    /// The built-in account of the offline model.
    pub const OFFLINE: &str = "offline";
    /// The built-in account of the key in the host's configuration (`OPENAI_API_KEY`).
    pub const ENVIRONMENT: &str = "environment";

    /// [`Self::OFFLINE`].
    pub fn offline() -> Self {
        Self(Self::OFFLINE.to_owned())
    }

    /// [`Self::ENVIRONMENT`].
    pub fn environment() -> Self {
        Self(Self::ENVIRONMENT.to_owned())
    }

    /// Whether it is Cofferdam's own: such a name is given to no other account.
    pub fn is_built_in(&self) -> bool {
        [Self::OFFLINE, Self::ENVIRONMENT].contains(&self.as_str())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = BadAccountName;

    fn from_str(text: &str) -> Result<Self, BadAccountName> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let good =
            (1..=32).contains(&text.len()) && text.starts_with(plain) && text.chars().all(|c| plain(c) || c == '-');
        if good { Ok(Self(text.to_owned())) } else { Err(BadAccountName(text.chars().take(80).collect())) }
    }
}

impl<'de> Deserialize<'de> for AccountName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A session's identity: 32 lower-case hex digits, made by the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SessionId(String);

/// Why a text is not a [`SessionId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a session id: `cofferdam session list` shows them")]
pub struct BadSessionId(String);

impl SessionId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionId {
    type Err = BadSessionId;

    fn from_str(text: &str) -> Result<Self, BadSessionId> {
        if is_hex_32(text) { Ok(Self(text.to_owned())) } else { Err(BadSessionId(text.chars().take(80).collect())) }
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file that was handed to the daemon and waits for its message: 32 lower-case hex digits, made by the host. The first
/// twelve are the time, milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FileId(String);

/// Why a text is not a [`FileId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a file id: `POST /v1/files` answers with one")]
pub struct BadFileId(String);

impl FileId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When it was made, milliseconds since 1970.
    pub fn millis(&self) -> i64 {
        // Twelve hex digits always fit.
        i64::from_str_radix(&self.0[..12], 16).unwrap_or(0)
    }
}

impl FromStr for FileId {
    type Err = BadFileId;

    fn from_str(text: &str) -> Result<Self, BadFileId> {
        if is_hex_32(text) { Ok(Self(text.to_owned())) } else { Err(BadFileId(text.chars().take(80).collect())) }
    }
}

impl<'de> Deserialize<'de> for FileId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_hex_32(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A message's row in its group's inbox; grows in the order of acceptance.
    MessageId
);
number!(
    /// A turn's row in its group's store.
    TurnId
);
number!(
    /// A reply's row in its group's outbox; grows in the order of delivery.
    ReplyId
);
number!(
    /// A question's row in its group's store.
    QuestionId
);
number!(
    /// The fencing number of a session's container: +1 at every start.
    Attempt
);
number!(
    /// The place of an event in the stream of one attempt, from 1; a repeated one is ignored.
    Seq
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_that_could_escape_a_directory_are_refused() {
        for bad in ["", ".", "..", "a/b", "../x", "A", "-a", "_a", "a b", "ä", "a\0", &"a".repeat(64)] {
            assert!(bad.parse::<Folder>().is_err(), "{bad:?}");
        }
        for good in ["a", "demo", "0-x_y", &"a".repeat(63)] {
            assert_eq!(good.parse::<Folder>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn account_names_are_safe_everywhere_and_two_are_built_in() {
        for bad in ["", "..", "a/b", "A", "-a", "a_b", "a b", "ä", &"a".repeat(33)] {
            assert!(bad.parse::<AccountName>().is_err(), "{bad:?}");
        }
        for good in ["a", "work-2", "0", &"a".repeat(32)] {
            assert!(!good.parse::<AccountName>().unwrap().is_built_in(), "{good}");
        }
        assert!(AccountName::offline().is_built_in() && AccountName::environment().is_built_in());
        assert_eq!("offline".parse(), Ok(AccountName::offline()));
    }

    #[test]
    fn session_ids_are_hex_only() {
        assert!("0123456789abcdef0123456789abcdef".parse::<SessionId>().is_ok());
        assert!("../../etc/passwd/aaaaaaaaaaaaaaa".parse::<SessionId>().is_err());
        assert!("0123456789ABCDEF0123456789ABCDEF".parse::<SessionId>().is_err());
    }

    #[test]
    fn file_ids_are_hex_only_and_carry_their_time() {
        let id: FileId = "019ab5c3f0007abc8def0123456789ab".parse().unwrap();
        assert_eq!(id.millis(), 0x019a_b5c3_f000);
        assert!("../../etc/passwd/aaaaaaaaaaaaaaa".parse::<FileId>().is_err());
    }

    #[test]
    fn ids_are_checked_when_they_arrive_as_json() {
        assert!(serde_json::from_str::<Folder>("\"../x\"").is_err());
        assert!(serde_json::from_str::<SessionId>("\"x\"").is_err());
    }
}
