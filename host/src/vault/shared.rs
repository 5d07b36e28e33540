//! A login that the host's own Codex CLI has too: its `auth.json` is where it is kept.
//!
//! Codex 0.169 writes the file under the locks `auth.lock` and `auth.json.lock` beside it, in this order, by renaming a new one
//! over it; so do we. It does not hold them while it asks the issuer. So both sides can spend one refresh token at the same
//! moment, and then the loser takes what the winner writes (`vault::refresh`). Older versions write in place, without locks.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use cofferdam_protocol::ids::AccountName;
use rustix::fs::OFlags;
use secrecy::{ExposeSecret, SecretString};

use super::refresh::lock;
use super::{BadSecret, Claims, Keep, KeepError, Secret, Tokens};

/// The largest `auth.json`, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// How often a file is read that is half written, and how far apart.
const HALF: (u32, Duration) = (10, Duration::from_millis(30));

/// An `auth.json` that somebody else uses too.
#[derive(Debug, Clone)]
pub struct Shared {
    path: PathBuf,
    account_id: Option<String>,
}

/// What was read.
struct Found {
    text: SecretString,
    /// Its user and group, which it keeps.
    owner: (u32, u32),
}

impl Shared {
    /// The file at `path`; with an id, only while its login is of that account.
    pub fn new(path: PathBuf, account_id: Option<String>) -> Self {
        Self { path, account_id }
    }

    /// What is in the file, a login or a key.
    pub async fn read(&self) -> Result<Secret, KeepError> {
        self.secret().await.map(|(secret, _)| secret)
    }

    async fn secret(&self) -> Result<(Secret, Found), KeepError> {
        let mut tries = 1;
        loop {
            let path = self.real_path()?;
            let found = blocking(move || read(&path)).await?;
            match Secret::from_auth_json(found.text.expose_secret()) {
                Ok(secret) => return Ok((secret, found)),
                Err(BadSecret::NotJson) if tries < HALF.0 => tries += 1,
                Err(BadSecret::NoLogin) => return Err(KeepError::Missing),
                Err(bad) => return Err(self.failed("read", &bad)),
            }
            tokio::time::sleep(HALF.1).await;
        }
    }

    async fn tokens(&self) -> Result<(Tokens, Found), KeepError> {
        let (Secret::Tokens(mut tokens), found) = self.secret().await? else { return Err(KeepError::Missing) };
        tokens.account_id = tokens.account_id.take().or_else(|| Claims::of(&tokens).account_id);
        if self.account_id.is_some() && self.account_id != tokens.account_id {
            return Err(KeepError::OtherAccount);
        }
        Ok((tokens, found))
    }

    /// The file itself. A person may have it elsewhere and link to it; a link that somebody else made is not followed.
    fn real_path(&self) -> Result<PathBuf, KeepError> {
        let real = || {
            let link = match fs::symlink_metadata(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                found => found?,
            };
            if !link.is_symlink() {
                return Ok(Some(self.path.clone()));
            }
            if link.uid() != rustix::process::geteuid().as_raw() {
                return Err(io::Error::other("it is a link that somebody else made"));
            }
            fs::canonicalize(&self.path).map(Some)
        };
        real().map_err(|error| self.failed("read", &error))?.ok_or(KeepError::Missing)
    }

    /// A lock file beside the file, which belongs to the same user, so that their programs can use it.
    async fn lock(&self, name: &str, owner: (u32, u32)) -> Result<lock::Held, KeepError> {
        let path = self.real_path()?.with_file_name(name);
        make_lock(&path, owner).map_err(|error| self.failed("locked", &error))?;
        lock::hold(&path).await.map_err(|error| self.failed("locked", &error))
    }

    fn failed(&self, what: &str, error: &dyn std::fmt::Display) -> KeepError {
        KeepError::failed(format!("{} cannot be {what}: {error}", self.path.display()))
    }
}

#[async_trait]
impl Keep for Shared {
    async fn load(&self, _account: &AccountName) -> Result<Tokens, KeepError> {
        let (tokens, found) = self.tokens().await?;
        let lock = self.real_path()?.with_file_name(OURS);
        make_lock(&lock, found.owner).map_err(|error| self.failed("locked", &error))?;
        Ok(tokens)
    }

    async fn save(&self, _account: &AccountName, old: &Tokens, new: &Tokens) -> Result<(), KeepError> {
        let (_, found) = self.tokens().await?;
        let _locks = (self.lock("auth.lock", found.owner).await?, self.lock("auth.json.lock", found.owner).await?);
        let (now, found) = self.tokens().await?;
        if now.refresh_token.expose_secret() != old.refresh_token.expose_secret() {
            return Err(KeepError::Changed);
        }
        let (path, text) = (self.real_path()?, new.to_auth_json(Some(found.text.expose_secret())));
        blocking(move || replace(&path, &text, found.owner)).await
    }

    fn shared(&self) -> Option<PathBuf> {
        Some(self.real_path().ok()?.with_file_name(OURS))
    }
}

/// The lock of all installations of Cofferdam that have this login.
const OURS: &str = "auth.cofferdam.lock";

/// Off the runtime's threads, since a disk can be slow.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeepError> + Send + 'static,
) -> Result<T, KeepError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(KeepError::failed("interrupted")))
}

fn no_follow() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

fn read(path: &Path) -> Result<Found, KeepError> {
    let read = || {
        let file = File::options().read(true).custom_flags(no_follow()).open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() || meta.len() > MAX_BYTES {
            return Err(io::Error::other("it is not a file of a reasonable size"));
        }
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text)?;
        Ok(Found { text: text.into(), owner: (meta.uid(), meta.gid()) })
    };
    read().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KeepError::Missing,
        _ => KeepError::failed(format!("{} cannot be read: {error}", path.display())),
    })
}

/// A new file over the old one, whole or not at all.
fn replace(path: &Path, text: &SecretString, owner: (u32, u32)) -> Result<(), KeepError> {
    let write = || {
        let dir = path.parent().ok_or(io::ErrorKind::NotFound)?;
        // Made with mode 0600.
        let mut file = tempfile::Builder::new().prefix(".auth-").tempfile_in(dir)?;
        file.write_all(text.expose_secret().as_bytes())?;
        own(file.as_file(), owner)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|error: io::Error| KeepError::failed(format!("{} cannot be written: {error}", path.display())))
}

fn make_lock(path: &Path, owner: (u32, u32)) -> io::Result<()> {
    match File::options().write(true).create_new(true).mode(0o600).custom_flags(no_follow()).open(path) {
        Ok(file) => own(&file, owner),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn own(file: &File, owner: (u32, u32)) -> io::Result<()> {
    let meta = file.metadata()?;
    if (meta.uid(), meta.gid()) == owner { Ok(()) } else { fchown(file, Some(owner.0), Some(owner.1)) }
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
