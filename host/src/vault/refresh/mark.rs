//! What is noted of a refresh before it is asked for, so that whoever comes after a crash knows what may have been.
//!
//! One small file per account, which names its refresh token by a hash: what it says is of no other one.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cofferdam_protocol::ids::AccountName;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Why;
use crate::vault::Tokens;
use crate::vault::issuer::{Code, Refusal};

/// The notes' place.
#[derive(Debug)]
pub(super) struct Notes {
    path: PathBuf,
}

/// What is known of a refresh token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing: nobody has sent it.
    Unsent,
    /// It was sent, and what came of it was not noted.
    Sent,
    /// It is of no use.
    Dead(Why),
}

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// SHA-256 of the refresh token, in hex.
    token: String,
    /// Why it is of no use; none while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dead: Option<String>,
}

impl Notes {
    pub(super) fn of(dir: &Path, account: &AccountName) -> Self {
        Self { path: dir.join(format!("{account}.refresh.json")) }
    }

    /// What is noted of this login's refresh token. A note that cannot be read says nothing.
    pub(super) fn look(&self, tokens: &Tokens) -> Known {
        let note = std::fs::read(&self.path).ok().and_then(|text| serde_json::from_slice::<Note>(&text).ok());
        match note.filter(|note| note.token == name(tokens)) {
            None => Known::Unsent,
            Some(Note { dead: None, .. }) => Known::Sent,
            Some(Note { dead: Some(word), .. }) => Known::Dead(why(&word)),
        }
    }

    /// Notes, durably, that this login's refresh token goes out now.
    pub(super) fn sent(&self, tokens: &Tokens) -> io::Result<()> {
        self.write(&Note { token: name(tokens), dead: None })
    }

    /// Notes that nobody needs to try this login's refresh token again.
    pub(super) fn dead(&self, tokens: &Tokens, why: &Why) -> io::Result<()> {
        self.write(&Note { token: name(tokens), dead: Some(word(why).to_owned()) })
    }

    fn write(&self, note: &Note) -> io::Result<()> {
        let dir = self.path.parent().ok_or(io::ErrorKind::NotFound)?;
        let mut file = tempfile::Builder::new().prefix(".refresh.").tempfile_in(dir)?;
        file.write_all(&serde_json::to_vec(note)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        File::open(dir)?.sync_all()
    }
}

/// A refresh token's name: it has 256 bits of chance or so, and cannot be guessed from this.
pub(super) fn name(tokens: &Tokens) -> String {
    use std::fmt::Write as _;
    Sha256::digest(tokens.refresh_token.expose_secret()).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn word(why: &Why) -> &str {
    match why {
        Why::Lost => "lost",
        Why::Refused(Refusal::Expired) => "expired",
        Why::Refused(Refusal::Reused) => "reused",
        Why::Refused(Refusal::Revoked) => "revoked",
        Why::Refused(Refusal::Denied) => "denied",
        Why::Refused(Refusal::Other(code)) => code.as_str(),
    }
}

fn why(word: &str) -> Why {
    Why::Refused(match word {
        "lost" => return Why::Lost,
        "expired" => Refusal::Expired,
        "reused" => Refusal::Reused,
        "revoked" => Refusal::Revoked,
        "denied" => Refusal::Denied,
        code => Refusal::Other(Code::new(Some(code))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(refresh: &str) -> Tokens {
        Tokens {
            id_token: "i".into(),
            access_token: "a".into(),
            refresh_token: refresh.into(),
            account_id: None,
            last_refresh: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_note_is_of_one_refresh_token_and_survives() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::of(dir.path(), &"work".parse().unwrap());
        let (first, second) = (tokens("rt-secret-1"), tokens("rt-secret-2"));
        assert_eq!(notes.look(&first), Known::Unsent);
        notes.sent(&first).unwrap();
        assert_eq!((notes.look(&first), notes.look(&second)), (Known::Sent, Known::Unsent));
        for why in [
            Why::Lost,
            Why::Refused(Refusal::Reused),
            Why::Refused(Refusal::Expired),
            Why::Refused(Refusal::Revoked),
            Why::Refused(Refusal::Denied),
            Why::Refused(Refusal::Other(Code::new(Some("invalid_grant")))),
            Why::Refused(Refusal::Other(Code::new(None))),
        ] {
            notes.dead(&first, &why).unwrap();
            assert_eq!((notes.look(&first), notes.look(&second)), (Known::Dead(why), Known::Unsent));
        }
        let text = std::fs::read_to_string(&notes.path).unwrap();
        assert!(!text.contains("rt-secret"), "{text}");
    }

    #[test]
    fn half_a_note_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::of(dir.path(), &"work".parse().unwrap());
        std::fs::write(&notes.path, "{\"token\": \"").unwrap();
        assert_eq!(notes.look(&tokens("x")), Known::Unsent);
    }
}
