//! Groups whose database is not used: set aside because it is damaged, held while it is restored or removed, or removed.
//!
//! ```text
//!           hold: nothing new begins      close: nobody opens it       forget: no row in central.db
//!  used ─────────────────────────▶ held ─────────────────────▶ closed ──────────────────────▶ not registered
//!    ▲                              │                            │                                  │
//!    └───────────dropped────────────┴──────────dropped───────────┘◀───────────registered again──────┘
//! ```
//!
//! What is damaged stays where it is, for `restore` to salvage. It is known in memory at once and in `central.db` as soon
//! as that takes it, so that the next start does not open it again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use cofferdam_protocol::ids::Folder;
use rusqlite::{OptionalExtension, params};

use super::db::Durability;
use super::fault::{Fault, OnDamage};
use super::registry::{Held, Inner, Stores};
use super::{Central, StoreError};

/// The pause before a note that `central.db` refused is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// What a group is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// Its state is replaced.
    Restore,
    /// It is forgotten.
    Removal,
}

impl std::fmt::Display for Errand {
    /// Ends "the group is being …".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Restore => "restored",
            Self::Removal => "removed",
        })
    }
}

/// Keeps anything new from beginning in a group; dropping it lets the group be used again.
pub struct Hold {
    stores: Stores,
    folder: Folder,
    errand: Errand,
}

/// A group's state is being copied; dropping it says that it is not any more.
pub struct Copying {
    stores: Stores,
    folder: Folder,
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.stores.entry(&self.folder, |entry| entry.copies -= 1);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.stores.entry(&self.folder, |entry| entry.held = None);
    }
}

impl Hold {
    /// What the group is held for.
    pub fn errand(&self) -> Errand {
        self.errand
    }

    /// Closes the database; whoever still has a handle finds it closed, and nobody opens it again before this is dropped.
    pub async fn close(&self) {
        let close = |held: Held| Held { closed: true, ..held };
        let opening = self.stores.entry(&self.folder, |entry| {
            entry.held = entry.held.map(close);
            entry.opening.clone()
        });
        // One that is just being opened is then open.
        drop(opening.lock().await);
        let open = self.stores.entry(&self.folder, |entry| std::mem::take(&mut entry.open));
        if let Some(open) = open.upgrade() {
            open.close().await;
        }
    }

    /// Forgets the group, with its wirings and its busy mark, and closes its database. From here on it is not opened any
    /// more, by nobody, until somebody registers the group again; its files are the caller's to remove.
    pub async fn forget(&self) -> Result<(), StoreError> {
        let busy = self.stores.entry(&self.folder, |entry| entry.busy.clone());
        let mut busy = busy.write().await;
        self.stores.central().remove_group(&self.folder).await?;
        *busy = false;
        drop(busy);
        self.close().await;
        self.stores.entry(&self.folder, |entry| entry.aside = None);
        Ok(())
    }
}

impl Central {
    /// Notes why a group's database is not used, in words; none makes the group one in order.
    pub async fn set_aside(&self, folder: &Folder, why: Option<String>) -> Result<(), StoreError> {
        let folder = folder.as_str().to_owned();
        self.db
            .write(Durability::Durable, move |tx| {
                tx.execute("UPDATE groups SET set_aside = ?1 WHERE folder = ?2", params![why, folder])?;
                Ok(())
            })
            .await
    }

    /// Why a registered group's database is not used, if so.
    pub async fn aside(&self, folder: &Folder) -> Result<Option<String>, StoreError> {
        let folder = folder.clone();
        self.db
            .read(move |tx| {
                let mut statement = tx.prepare_cached("SELECT set_aside FROM groups WHERE folder = ?1")?;
                let why = statement.query_row([folder.as_str()], |row| row.get(0)).optional()?;
                why.ok_or(StoreError::NoGroup(folder))
            })
            .await
    }
}

impl Stores {
    /// Refuses whatever would begin in the group, until the answer is dropped, and waits for messages that are just being
    /// accepted. Refused itself while somebody else holds the group, or copies it.
    pub async fn hold(&self, folder: &Folder, errand: Errand) -> Result<Hold, StoreError> {
        let busy = self.entry(folder, |entry| {
            if let Some(Held { errand, .. }) = entry.held {
                return Err(StoreError::Held { folder: folder.clone(), errand });
            }
            if entry.copies > 0 {
                return Err(StoreError::Copied(folder.clone()));
            }
            entry.held = Some(Held { errand, closed: false });
            Ok(entry.busy.clone())
        })?;
        let hold = Hold { stores: self.clone(), folder: folder.clone(), errand };
        drop(busy.write().await);
        Ok(hold)
    }

    /// Keeps the group from being replaced or removed while its state is copied, part by part; the parts belong together.
    /// Refused while somebody does that.
    pub fn copying(&self, folder: &Folder) -> Result<Copying, StoreError> {
        self.entry(folder, |entry| match entry.held {
            Some(Held { errand, .. }) => Err(StoreError::Held { folder: folder.clone(), errand }),
            None => {
                entry.copies += 1;
                Ok(())
            }
        })?;
        Ok(Copying { stores: self.clone(), folder: folder.clone() })
    }

    /// The group's database was replaced by a good one.
    pub async fn put_back(&self, folder: &Folder) -> Result<(), StoreError> {
        self.central().set_aside(folder, None).await?;
        self.entry(folder, |entry| {
            entry.aside = None;
            entry.open = Weak::new();
        });
        Ok(())
    }

    /// Refuses a group that is not registered, closed or set aside; before its database is opened.
    pub(super) async fn usable(&self, folder: &Folder) -> Result<(), StoreError> {
        if let Some(why) = self.central().aside(folder).await? {
            return Err(StoreError::SetAside { folder: folder.clone(), why });
        }
        self.not_refused(folder)
    }

    /// The same, of what is known without looking.
    pub(super) fn not_refused(&self, folder: &Folder) -> Result<(), StoreError> {
        self.entry(folder, |entry| match (entry.held, &entry.aside) {
            (Some(Held { errand, closed: true }), _) => Err(StoreError::Held { folder: folder.clone(), errand }),
            (_, Some(why)) => Err(StoreError::SetAside { folder: folder.clone(), why: why.clone() }),
            _ => Ok(()),
        })
    }

    /// Refuses a group that somebody holds; before anything begins in it.
    pub(super) fn not_held(&self, folder: &Folder) -> Result<(), StoreError> {
        self.entry(folder, |entry| match entry.held {
            Some(Held { errand, .. }) => Err(StoreError::Held { folder: folder.clone(), errand }),
            None => Ok(()),
        })
    }

    /// Sets the group aside when its database turns out to be damaged.
    pub(super) fn watch(&self, folder: &Folder) -> OnDamage {
        let (inner, folder, runtime) =
            (Arc::downgrade(&self.inner), folder.clone(), tokio::runtime::Handle::current());
        Box::new(move |why| {
            let Some(stores) = Weak::upgrade(&inner).map(|inner| Stores { inner }) else { return };
            stores.entry(&folder, |entry| {
                entry.aside = Some(why.to_owned());
                entry.open = Weak::new();
            });
            tracing::error!(group = %folder, error = why, "set aside; `cofferdam restore {folder}` mends it");
            drop(stores);
            runtime.spawn(keep_noting(inner.clone(), folder.clone(), why.to_owned()));
        })
    }

    /// An error of a group's database as its callers are told it.
    pub(super) fn as_told(&self, folder: &Folder, error: StoreError) -> StoreError {
        if error.fault() != Fault::Damaged {
            return error;
        }
        self.not_refused(folder).err().unwrap_or(error)
    }
}

async fn keep_noting(inner: Weak<Inner>, folder: Folder, why: String) {
    loop {
        let Some(stores) = Weak::upgrade(&inner).map(|inner| Stores { inner }) else { return };
        if stores.entry(&folder, |entry| entry.aside.is_none()) {
            // Restored meanwhile.
            return;
        }
        match stores.central().set_aside(&folder, Some(why.clone())).await {
            Ok(()) | Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::warn!(group = %folder, error = %crate::error_chain(&error), "not noted yet");
            }
        }
        drop(stores);
        tokio::time::sleep(AGAIN).await;
    }
}
