//! Which group databases are open. One is open while anybody holds its handle, so a thousand registered groups
//! cost nothing until they are talked to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use cofferdam_protocol::ids::{Folder, QuestionId};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::aside::Errand;
use super::fault::DiskNote;
use super::ground::Ground;
use super::{Central, GroupDb, StoreError};
use crate::config::home::Home;
use crate::hooks;
use crate::model::chat::Inbound;
use crate::model::command::Command;

use super::group::answers::{Answer, Given};
use super::group::inbox::Accepted;

/// All databases of one home.
#[derive(Clone)]
pub struct Stores {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    home: Home,
    ground: Ground,
    central: Central,
    groups: Mutex<HashMap<Folder, Entry>>,
}

#[derive(Default)]
pub(super) struct Entry {
    pub(super) open: Weak<GroupDb>,
    /// Why the database is not used any more.
    pub(super) aside: Option<String>,
    /// Somebody replaces or removes the group.
    pub(super) held: Option<Held>,
    /// So many copy its state just now.
    pub(super) copies: usize,
    /// Whether `busy_groups` has the folder. Held for reading while a message is accepted, for writing while the
    /// group is looked over and cleared: so a group with due work is never without its row.
    pub(super) busy: Arc<RwLock<bool>>,
    /// Held while the database is opened: SQLite refuses two that make one file at once as `database is locked`.
    pub(super) opening: Arc<tokio::sync::Mutex<()>>,
}

/// A group that is held, and how far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) errand: Errand,
    /// Its database is closed, and nobody opens it.
    pub(super) closed: bool,
}

/// How long the databases of dropped handles may take to close; a checkpoint of the largest journal takes about 1 s.
const LAST_HANDLES: Duration = Duration::from_secs(5);

impl Stores {
    /// Opens `central.db` under the home.
    pub fn open(home: Home) -> Result<Self, StoreError> {
        Self::on(home, Ground::default())
    }

    /// As [`Stores::open`], on a ground of the caller's.
    pub fn on(home: Home, ground: Ground) -> Result<Self, StoreError> {
        let central = Central::open(&home.central_db(), &ground)?;
        Ok(Self { inner: Arc::new(Inner { home, ground, central, groups: Mutex::default() }) })
    }

    /// What spans groups.
    pub fn central(&self) -> &Central {
        &self.inner.central
    }

    /// What the disk refused last, of any database.
    pub fn disk_note(&self) -> &DiskNote {
        &self.inner.ground.note
    }

    /// One group's database, opened if need be. Refused of a group that is not registered, set aside, or closed by
    /// whoever holds it.
    pub async fn group(&self, folder: &Folder) -> Result<Arc<GroupDb>, StoreError> {
        self.not_refused(folder)?;
        if let Some(open) = self.entry(folder, |entry| entry.open.upgrade()) {
            return Ok(open);
        }
        let opening = self.entry(folder, |entry| entry.opening.clone());
        let _alone = opening.lock().await;
        if let Some(open) = self.entry(folder, |entry| entry.open.upgrade()) {
            return Ok(open);
        }
        self.usable(folder).await?;
        let (path, name) = (self.inner.home.group_db(folder), folder.clone());
        let (ground, told) = (self.inner.ground.clone(), self.watch(folder));
        let opened = tokio::task::spawn_blocking(move || GroupDb::on(name, &path, &ground, told))
            .await
            .map_err(|_| StoreError::Closed)?
            .map_err(|error| self.as_told(folder, error))?;
        // A restore may have come between; whoever is here first wins.
        Ok(self.entry(folder, |entry| {
            entry.open.upgrade().unwrap_or_else(|| {
                let opened = Arc::new(opened);
                entry.open = Arc::downgrade(&opened);
                opened
            })
        }))
    }

    /// ① Accepts a message into a group's inbox, after noting centrally that the group has work. The handle keeps
    /// the database open for what follows.
    pub async fn accept(
        &self,
        folder: &Folder,
        message: Inbound,
        key: String,
        command: Option<Command>,
    ) -> Result<(Arc<GroupDb>, Accepted), StoreError> {
        let guard = self.busy(folder).await?;
        let store = self.group(folder).await?;
        let accepted = store.accept(message, key, command).await.map_err(|error| self.as_told(folder, error))?;
        hooks::crash_point("accept.after_commit");
        drop(guard);
        Ok((store, accepted))
    }

    /// ① Accepts a message that Cofferdam answered itself, with its answer.
    pub async fn accept_answered(
        &self,
        folder: &Folder,
        message: Inbound,
        key: String,
        words: String,
    ) -> Result<(Arc<GroupDb>, Accepted), StoreError> {
        let guard = self.busy(folder).await?;
        let store = self.group(folder).await?;
        let accepted = store.accept_answered(message, key, words).await;
        let accepted = accepted.map_err(|error| self.as_told(folder, error))?;
        drop(guard);
        Ok((store, accepted))
    }

    /// ① Takes an answer to a question of a group's agent.
    pub async fn answer(&self, folder: &Folder, question: QuestionId, answer: Answer) -> Result<Given, StoreError> {
        let guard = self.busy(folder).await?;
        let store = self.group(folder).await?;
        let given = store.answer(question, answer).await.map_err(|error| self.as_told(folder, error))?;
        hooks::crash_point("accept.after_commit");
        drop(guard);
        Ok(given)
    }

    /// Notes centrally that the group has work; it stays noted at least until what is answered is dropped. Refused while
    /// somebody holds the group: nothing begins in it then.
    pub async fn busy(&self, folder: &Folder) -> Result<OwnedRwLockReadGuard<bool>, StoreError> {
        let busy = self.entry(folder, |entry| entry.busy.clone());
        let guard = busy.clone().read_owned().await;
        self.not_held(folder)?;
        if *guard {
            return Ok(guard);
        }
        drop(guard);
        let mut marking = busy.write_owned().await;
        self.not_held(folder)?;
        if !*marking {
            if !self.central().mark_busy(folder).await? {
                return Err(StoreError::NoGroup(folder.clone()));
            }
            hooks::crash_point("mark_busy.after_commit");
            *marking = true;
        }
        Ok(marking.downgrade())
    }

    /// Clears the group's busy mark if nothing in it is due.
    pub async fn settle(&self, folder: &Folder) -> Result<(), StoreError> {
        let busy = self.entry(folder, |entry| entry.busy.clone());
        let mut guard = busy.write().await;
        let due = match self.group(folder).await {
            Ok(store) => store.has_due().await?,
            Err(StoreError::NoGroup(_)) => false,
            Err(error) => return Err(error),
        };
        if due {
            return Ok(());
        }
        self.central().clear_busy(folder).await?;
        *guard = false;
        Ok(())
    }

    /// Closes every database in order; the last thing that a daemon does.
    pub async fn close(&self) {
        let open: Vec<Arc<GroupDb>> = {
            let groups = self.inner.groups.lock().unwrap_or_else(PoisonError::into_inner);
            groups.values().filter_map(|entry| entry.open.upgrade()).collect()
        };
        for store in open {
            store.close().await;
        }
        self.central().close().await;
        // The process must not end while one closes, also one whose last handle was dropped a moment ago: its journal
        // would stay.
        if tokio::time::timeout(LAST_HANDLES, self.inner.ground.closed()).await.is_err() {
            tracing::warn!("a group's database is still in use; its journal stays for the next start");
        }
    }

    pub(super) fn entry<T>(&self, folder: &Folder, with: impl FnOnce(&mut Entry) -> T) -> T {
        let mut groups = self.inner.groups.lock().unwrap_or_else(PoisonError::into_inner);
        with(groups.entry(folder.clone()).or_default())
    }
}
