//! The operating system's keyring: the Secret Service of the session's D-Bus. It is asked, and never asks anybody.
//!
//! Every call has a thread and a connection of its own, and an end: a keyring that waits for a person would hold up model
//! calls. Secrets cross the bus encrypted for the two ends (the service's `dh-ietf1024-sha256-aes128-cbc-pkcs7`), or not at all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use secret_service::{Collection, EncryptionType, Error, Item, SecretService};
use zbus::connection;

use super::text::Entry;

/// How long a keyring may take. Started by the bus for this call, it needs about one second.
const LIMIT: Duration = Duration::from_secs(5);
/// A failure that took longer is told again for [`LIMIT`], instead of being waited for again.
const LONG: Duration = Duration::from_secs(1);
const CONTENT_TYPE: &str = "text/plain";

/// Why the keyring cannot be used now. None of these says that a key is lost.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyringError {
    /// Nobody said where the session's bus is.
    #[error("no session bus is known: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set")]
    NoBus,
    /// Nothing answers there.
    #[error("the session bus at {address} cannot be reached")]
    Unreachable {
        /// Where that is.
        address: String,
        /// Why.
        #[source]
        source: Arc<zbus::Error>,
    },
    /// The bus has no keyring.
    #[error("no keyring is on the session bus at {0}")]
    NoService(String),
    /// The keyring has no default collection.
    #[error("the keyring has no default collection")]
    NoCollection,
    /// A person has to unlock it first.
    #[error("the keyring is locked")]
    Locked,
    /// No answer in time; perhaps it asks somebody.
    #[error("the keyring did not answer within {} s", LIMIT.as_secs())]
    Slow,
    /// It says no, or something that makes no sense.
    #[error("the keyring failed")]
    Failed(#[source] Arc<Error>),
    /// What was written is not what is read.
    #[error("the keyring does not give back what was put into it")]
    Unkept,
    /// What is there is no text.
    #[error("the keyring's entry is no text")]
    NoText,
    /// Nothing says which of them counts.
    #[error("the keyring has more than one such entry")]
    Several,
}

impl KeyringError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoBus | Self::Unreachable { .. } => {
                "start the daemon where your session bus is, or name it: DBUS_SESSION_BUS_ADDRESS, usually \
                 unix:path=/run/user/UID/bus"
            }
            Self::NoService(_) => {
                "start the keyring in that session (gnome-keyring, KWallet, KeePassXC), then try again"
            }
            Self::NoCollection => {
                "make a default keyring with your desktop's program for passwords, then try again"
            }
            Self::Locked => "unlock it: log in to the desktop, or open its program for passwords; then try again",
            Self::Slow => "see whether the keyring asks for something on the desktop, then try again",
            Self::Failed(_) | Self::Unkept | Self::NoText => "see the keyring's own log, then try again",
            Self::Several => {
                "look at them in the program for passwords, and leave the one with this home's key there"
            }
        }
    }
}

impl From<Error> for KeyringError {
    fn from(error: Error) -> Self {
        match error {
            Error::Locked | Error::Prompt | Error::PromptDisconnected => Self::Locked,
            error => Self::Failed(Arc::new(error)),
        }
    }
}

/// A way to the keyring.
#[derive(Debug)]
pub(super) struct Keyring {
    bus: Option<String>,
    /// What failed after a long time, and when. Who comes soon after that is not made to wait too: a list of accounts asks for
    /// each.
    failed: Mutex<Option<(Instant, KeyringError)>>,
}

impl Keyring {
    /// The one on the bus of this address.
    pub(super) fn on(bus: Option<String>) -> Self {
        Self { bus, failed: Mutex::default() }
    }

    /// What an entry has; none when it is certain that there is no such entry.
    pub(super) fn read(&self, entry: &Entry) -> Result<Option<SecretString>, KeyringError> {
        let entry = entry.clone();
        self.ask(async move |service| had(service, &entry).await)
    }

    /// What an entry has, which is `fresh` from now on when it had nothing.
    pub(super) fn read_or_put(&self, entry: &Entry, fresh: SecretString) -> Result<SecretString, KeyringError> {
        let entry = entry.clone();
        self.ask(async move |service| {
            let collection = unlocked_default(service).await?;
            match find(service, &entry).await? {
                Some(item) => text(&item).await,
                None => put_new(service, &collection, &entry, &fresh).await.map(|()| fresh),
            }
        })
    }

    /// What an entry has, of a keyring that could take one now.
    pub(super) fn usable(&self, entry: &Entry) -> Result<Option<SecretString>, KeyringError> {
        let entry = entry.clone();
        self.ask(async move |service| {
            unlocked_default(service).await?;
            had(service, &entry).await
        })
    }

    /// Puts an entry, or another text into it if what it has may go; it has been read back when this returns. Answers what it
    /// has and keeps, if so.
    pub(super) fn put(
        &self,
        entry: &Entry,
        fresh: SecretString,
        may_go: impl Fn(&SecretString) -> bool + Send + 'static,
    ) -> Result<Option<SecretString>, KeyringError> {
        let entry = entry.clone();
        self.ask(async move |service| match find(service, &entry).await? {
            Some(item) => {
                let has = text(&item).await?;
                if !may_go(&has) {
                    return Ok(Some(has));
                }
                item.set_secret(fresh.expose_secret().as_bytes(), CONTENT_TYPE).await?;
                same(&item, &fresh).await.map(|()| None)
            }
            None => {
                let collection = unlocked_default(service).await?;
                put_new(service, &collection, &entry, &fresh).await.map(|()| None)
            }
        })
    }

    /// Removes an entry, if it is there and what it has may go. Answers what it has and keeps, if so.
    pub(super) fn remove(
        &self,
        entry: &Entry,
        may_go: impl Fn(&SecretString) -> bool + Send + 'static,
    ) -> Result<Option<SecretString>, KeyringError> {
        let entry = entry.clone();
        self.ask(async move |service| match find(service, &entry).await? {
            Some(item) => {
                let has = text(&item).await?;
                if !may_go(&has) {
                    return Ok(Some(has));
                }
                item.delete().await?;
                Ok(None)
            }
            None => none_is_hidden(service).await.map(|()| None),
        })
    }

    /// Does one thing with the keyring, within [`LIMIT`]. Blocks.
    fn ask<T: Send + 'static>(
        &self,
        work: impl AsyncFnOnce(&SecretService<'_>) -> Result<T, KeyringError> + Send + 'static,
    ) -> Result<T, KeyringError> {
        let address = self.bus.clone().ok_or(KeyringError::NoBus)?;
        if let Some((_, error)) = self.failed().as_ref().filter(|(at, _)| at.elapsed() < LIMIT) {
            return Err(error.clone());
        }
        let begun = Instant::now();
        let (tell, told) = mpsc::channel();
        // Callers may be threads of a runtime, where another one cannot be driven.
        std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            let done = async {
                let service = connect(&address).await?;
                work(&service).await
            };
            let done = runtime.block_on(async { tokio::time::timeout(LIMIT, done).await });
            let _ = tell.send(done.unwrap_or(Err(KeyringError::Slow)));
            runtime.shutdown_background();
        });
        let done = told.recv_timeout(2 * LIMIT).unwrap_or(Err(KeyringError::Slow));
        let long = done.as_ref().err().filter(|_| begun.elapsed() >= LONG);
        *self.failed() = long.map(|error| (Instant::now(), error.clone()));
        done
    }

    fn failed(&self) -> MutexGuard<'_, Option<(Instant, KeyringError)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(address: &str) -> Result<SecretService<'static>, KeyringError> {
    let unreachable = |source| KeyringError::Unreachable { address: address.to_owned(), source: Arc::new(source) };
    let builder = connection::Builder::address(address).map_err(unreachable)?;
    let connection = builder.build().await.map_err(unreachable)?;
    let service = SecretService::connect_with_existing(EncryptionType::Dh, connection).await;
    service
        .map_err(|error| if is_absent(&error) { KeyringError::NoService(address.to_owned()) } else { error.into() })
}

fn is_absent(error: &Error) -> bool {
    const ABSENT: &[&str] = &[
        "org.freedesktop.DBus.Error.ServiceUnknown",
        "org.freedesktop.DBus.Error.NameHasNoOwner",
        "org.freedesktop.DBus.Error.Spawn.ServiceNotFound",
    ];
    match error {
        Error::Unavailable => true,
        Error::Zbus(zbus::Error::MethodError(name, ..)) => ABSENT.contains(&name.as_str()),
        Error::Zbus(zbus::Error::FDO(error)) => is_unknown(error),
        Error::ZbusFdo(error) => is_unknown(error),
        _ => false,
    }
}

fn is_unknown(error: &zbus::fdo::Error) -> bool {
    matches!(error, zbus::fdo::Error::ServiceUnknown(_) | zbus::fdo::Error::NameHasNoOwner(_))
}

fn attributes(entry: &Entry) -> HashMap<&str, &str> {
    HashMap::from([("service", entry.service.as_str()), ("entry", entry.name.as_str())])
}

async fn find<'s>(service: &'s SecretService<'_>, entry: &Entry) -> Result<Option<Item<'s>>, KeyringError> {
    let mut found = service.search_items(attributes(entry)).await?;
    match (found.unlocked.len(), found.locked.len()) {
        (0 | 1, 0) => Ok(found.unlocked.pop()),
        (0, 1) => Err(KeyringError::Locked),
        _ => Err(KeyringError::Several),
    }
}

/// What an entry has; none when it is certain that there is no such entry.
async fn had(service: &SecretService<'_>, entry: &Entry) -> Result<Option<SecretString>, KeyringError> {
    match find(service, entry).await? {
        Some(item) => text(&item).await.map(Some),
        None => none_is_hidden(service).await.map(|()| None),
    }
}

/// Refuses to say that an entry is not there when it may be in what is locked: some keyrings show nothing of that.
async fn none_is_hidden(service: &SecretService<'_>) -> Result<(), KeyringError> {
    default(service).await?;
    for collection in service.get_all_collections().await? {
        collection.ensure_unlocked().await?;
    }
    Ok(())
}

async fn default<'s>(service: &'s SecretService<'_>) -> Result<Collection<'s>, KeyringError> {
    service.get_default_collection().await.map_err(|error| match error {
        Error::NoResult => KeyringError::NoCollection,
        error => error.into(),
    })
}

async fn unlocked_default<'s>(service: &'s SecretService<'_>) -> Result<Collection<'s>, KeyringError> {
    let collection = default(service).await?;
    collection.ensure_unlocked().await?;
    Ok(collection)
}

async fn put_new(
    service: &SecretService<'_>,
    collection: &Collection<'_>,
    entry: &Entry,
    text: &SecretString,
) -> Result<(), KeyringError> {
    none_is_hidden(service).await?;
    let label = format!("Cofferdam's vault ({})", entry.name);
    let bytes = text.expose_secret().as_bytes();
    same(&collection.create_item(&label, attributes(entry), bytes, true, CONTENT_TYPE).await?, text).await
}

async fn text(item: &Item<'_>) -> Result<SecretString, KeyringError> {
    let text = String::from_utf8(item.get_secret().await?);
    // The error would have the bytes.
    text.map(Into::into).map_err(|_| KeyringError::NoText)
}

async fn same(item: &Item<'_>, wanted: &SecretString) -> Result<(), KeyringError> {
    let is = text(item).await?.expose_secret() == wanted.expose_secret();
    if is { Ok(()) } else { Err(KeyringError::Unkept) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_failed_after_a_long_time_is_told_again_and_not_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus");
        let listener = UnixListener::bind(&path).unwrap();
        // One that takes a call, thinks, and hangs up.
        let bus = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            std::thread::sleep(LONG);
            drop(stream);
            listener
        });
        let keyring = Keyring::on(Some(format!("unix:path={}", path.display())));
        let ask = || keyring.read(&Entry::of("a")).unwrap_err();
        assert!(matches!(ask(), KeyringError::Unreachable { .. }));
        let listener = bus.join().unwrap();
        assert!(matches!(ask(), KeyringError::Unreachable { .. }));
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nobody came");
    }
}
