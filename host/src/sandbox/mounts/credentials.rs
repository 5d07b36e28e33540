//! A session's `auth.json`: what its container has of a credential, and how that is taken away again.
//!
//! Its one secret of ours is the *handle*: new at each start, worth nothing but to tell whose call it is. The token sink
//! of the session's door takes it where Codex sends a refresh token, so no real one is ever inside.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cofferdam_protocol::ids::{AccountName, Folder, SessionId};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::files::{at, remove_file, replace_file};
use super::{PrepareError, container_user, own_user};
use crate::config::home::Home;

/// Where the session's `auth.json` is in its codex home.
const AUTH_JSON: &str = "auth.json";

/// The text in the place of a credential.
#[derive(Debug)]
pub struct Handle(SecretString);

impl Handle {
    /// A fresh one (two version 4 UUIDs from the operating system's random source, 244 bits of it).
    pub fn new(session: &SessionId) -> Self {
        let random = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|part| part.simple().to_string()).concat();
        Self(format!("cofferdam-session-{session}-{random}").into())
    }

    /// As it is written into `auth.json`.
    pub fn text(&self) -> &SecretString {
        &self.0
    }
}

/// What a start puts into `auth.json`.
#[derive(Debug)]
pub struct Credentials {
    /// The session's placeholder.
    pub handle: Handle,
    /// What the container has besides.
    pub copy: Option<Copied>,
}

/// The short-lived part of a login, with which Codex talks to the vendor itself.
#[derive(Debug)]
pub struct Copied {
    /// Whose login it is.
    pub account: AccountName,
    /// Codex's `auth.json` with the handle for a refresh token.
    pub auth_json: SecretString,
    /// The vendor's backend, before `/responses`.
    pub base_url: String,
}

/// What is kept of a session's credentials, for its door, a daemon that adopts its container, and whoever wipes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issued {
    /// SHA-256 of the handle.
    handle: Vec<u8>,
    /// The account whose access token the container has; none is a placeholder only.
    pub copy_of: Option<AccountName>,
}

impl Credentials {
    /// A placeholder only.
    pub fn sealed(session: &SessionId) -> Self {
        Self { handle: Handle::new(session), copy: None }
    }

    fn auth_json(&self) -> SecretString {
        match &self.copy {
            Some(copy) => copy.auth_json.clone(),
            None => serde_json::json!({ "OPENAI_API_KEY": self.handle.0.expose_secret() }).to_string().into(),
        }
    }

    /// What is kept of it.
    pub fn issued(&self) -> Issued {
        let copy_of = self.copy.as_ref().map(|copy| copy.account.clone());
        Issued { handle: digest(self.handle.0.expose_secret()), copy_of }
    }

    /// Writes `auth.json`. What is kept goes first, so that a copy never lies where nobody would wipe it.
    pub(super) fn write(&self, home: &Home, folder: &Folder, session: &SessionId) -> Result<(), PrepareError> {
        let (kept, codex) = (home.session_credentials(folder, session), home.codex_home(folder, session));
        let issued = serde_json::to_vec(&self.issued()).map_err(|error| at(&kept)(error.into()))?;
        replace_file(&kept, &issued, own_user())?;
        put(&codex, &self.auth_json())
    }
}

impl Issued {
    /// Whether that is the handle. Hashes are compared, so the time tells nothing of it.
    pub fn is_handle(&self, given: &SecretString) -> bool {
        digest(given.expose_secret()) == self.handle
    }
}

/// What a session's container was, or will be, started with; none before the first start.
pub fn issued(home: &Home, folder: &Folder, session: &SessionId) -> io::Result<Option<Issued>> {
    match fs::read(home.session_credentials(folder, session)) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whose copies are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopiesOf {
    /// An account's, in whatever group.
    Account(AccountName),
    /// A group's, of whatever account.
    Group(Folder),
}

/// The sessions that have a copy of a login.
pub fn copies(home: &Home, of: &CopiesOf) -> io::Result<Vec<(Folder, SessionId)>> {
    let folders = match of {
        CopiesOf::Account(_) => names(&home.groups_data())?,
        CopiesOf::Group(folder) => vec![folder.clone()],
    };
    let mut found = Vec::new();
    for folder in folders {
        for session in names::<SessionId>(&home.sessions(&folder))? {
            // What cannot be read, such as after a power cut, may be one.
            let may_be =
                match issued(home, &folder, &session).map(|issued| issued.and_then(|issued| issued.copy_of)) {
                    Ok(Some(account)) => matches!(of, CopiesOf::Group(_)) || *of == CopiesOf::Account(account),
                    Ok(None) => false,
                    Err(_) => true,
                };
            if may_be {
                found.push((folder.clone(), session));
            }
        }
    }
    Ok(found)
}

/// The names in a directory that are of this sort; none when it is not there.
fn names<T: std::str::FromStr>(dir: &Path) -> io::Result<Vec<T>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries
            .filter_map(|entry| entry.map(|entry| entry.file_name().to_str()?.parse().ok()).transpose())
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Replaces a session's copy of a login by a placeholder; whether it had one. What its container has read of it before, it
/// has until its end.
pub fn wipe_copy(home: &Home, folder: &Folder, session: &SessionId) -> Result<bool, PrepareError> {
    let kept = home.session_credentials(folder, session);
    if issued(home, folder, session).is_ok_and(|issued| issued.is_none_or(|issued| issued.copy_of.is_none())) {
        return Ok(false);
    }
    let codex = home.codex_home(folder, session);
    // Its agent may have taken our rights to it away.
    fs::set_permissions(&codex, fs::Permissions::from_mode(0o700)).map_err(at(&codex))?;
    // The file first: a wipe that is cut off between the two is done again.
    let sealed = Credentials::sealed(session);
    put(&codex, &sealed.auth_json())?;
    let issued = serde_json::to_vec(&sealed.issued()).map_err(|error| at(&kept)(error.into()))?;
    replace_file(&kept, &issued, own_user())?;
    Ok(true)
}

/// Puts `auth.json` into a codex home. The agent can write there: what it put in that place is replaced, never written
/// through. What a write that was cut off has left goes too.
fn put(codex: &Path, auth_json: &SecretString) -> Result<(), PrepareError> {
    // One by one: its agent may have made millions.
    for entry in fs::read_dir(codex).map_err(at(codex))? {
        let path = entry.map_err(at(codex))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let is_dir = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        if name == AUTH_JSON && is_dir {
            fs::remove_dir_all(&path).map_err(at(&path))?;
        } else if name.starts_with("auth.") && name.ends_with(".new") && !is_dir {
            remove_file(&path)?;
        }
    }
    replace_file(&codex.join(AUTH_JSON), auth_json.expose_secret().as_bytes(), container_user())
}

fn digest(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> SessionId {
        "0123456789abcdef0123456789abcdef".parse().unwrap()
    }

    fn copy(account: &str) -> Credentials {
        let auth_json = SecretString::from(r#"{"tokens":{"access_token":"access-secret"}}"#);
        let copy = Copied { account: account.parse().unwrap(), auth_json, base_url: "https://vendor/x".into() };
        Credentials { handle: Handle::new(&session()), copy: Some(copy) }
    }

    fn home_with(credentials: &Credentials) -> (tempfile::TempDir, Home, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let folder: Folder = "demo".parse().unwrap();
        fs::create_dir_all(home.codex_home(&folder, &session())).unwrap();
        credentials.write(&home, &folder, &session()).unwrap();
        (dir, home, folder)
    }

    fn auth_json(home: &Home, folder: &Folder) -> String {
        fs::read_to_string(home.codex_home(folder, &session()).join(AUTH_JSON)).unwrap()
    }

    #[test]
    fn a_sealed_file_holds_only_the_handle_and_what_is_kept_does_not_have_it() {
        let sealed = Credentials::sealed(&session());
        let (_dir, home, folder) = home_with(&sealed);
        let text = auth_json(&home, &folder);
        let handle = sealed.handle.text().expose_secret();
        assert_eq!(text, format!(r#"{{"OPENAI_API_KEY":"{handle}"}}"#));
        assert!(handle.starts_with(&format!("cofferdam-session-{}-", session())) && handle.len() > 100);
        let kept = fs::read_to_string(home.session_credentials(&folder, &session())).unwrap();
        let random = handle.rsplit('-').next().unwrap();
        assert!(!kept.contains(random) && !format!("{sealed:?}").contains(random), "{kept}");
        let issued = issued(&home, &folder, &session()).unwrap().unwrap();
        assert!(issued.is_handle(sealed.handle.text()) && issued.copy_of.is_none());
        for wrong in ["", "cofferdam-session-", Handle::new(&session()).0.expose_secret()] {
            assert!(!issued.is_handle(&wrong.into()), "{wrong}");
        }
        assert!(!wipe_copy(&home, &folder, &session()).unwrap(), "there is nothing to wipe");
        assert_eq!(auth_json(&home, &folder), text);
    }

    #[test]
    fn a_copy_is_found_by_its_account_and_group_and_wiped_whatever_the_agent_put_in_its_place() {
        let (dir, home, folder) = home_with(&copy("work"));
        let account = |name: &str| copies(&home, &CopiesOf::Account(name.parse().unwrap())).unwrap();
        let group = |name: &str| copies(&home, &CopiesOf::Group(name.parse().unwrap())).unwrap();
        assert!(auth_json(&home, &folder).contains("access-secret"));
        assert_eq!(account("work"), [(folder.clone(), session())]);
        assert_eq!(group("demo"), account("work"));
        assert!(account("other").is_empty() && group("other").is_empty());
        assert!(wipe_copy(&home, &folder, &session()).unwrap());
        let text = auth_json(&home, &folder);
        assert!(text.contains("cofferdam-session-") && !text.contains("access-secret"), "{text}");
        assert!(
            account("work").is_empty()
                && group("demo").is_empty()
                && !wipe_copy(&home, &folder, &session()).unwrap()
        );

        let (victim, file) = (dir.path().join("victim"), home.codex_home(&folder, &session()).join(AUTH_JSON));
        fs::write(&victim, "precious").unwrap();
        for odd in ["link", "directory"] {
            copy("work").write(&home, &folder, &session()).unwrap();
            fs::remove_file(&file).unwrap();
            match odd {
                "link" => std::os::unix::fs::symlink(&victim, &file).unwrap(),
                _ => fs::create_dir_all(file.join("x")).unwrap(),
            }
            let half = file.with_extension("0f.new");
            fs::write(&half, "access-secret").unwrap();
            fs::set_permissions(file.parent().unwrap(), fs::Permissions::from_mode(0o500)).unwrap();
            assert!(wipe_copy(&home, &folder, &session()).unwrap(), "{odd}");
            assert!(fs::symlink_metadata(&file).unwrap().is_file() && !half.exists(), "{odd}");
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }
}
