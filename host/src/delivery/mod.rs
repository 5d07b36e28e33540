//! From the outbox to the channels: ⑤ lease, send, ⑥ delivered.
//!
//! One worker, a [`lane`], per chat that has something due: replies keep their order within a chat, and one slow chat never
//! holds up another. A lane waits at its channel's [gate](crate::pace), which knows the pace of the platform, before it leases, so that a
//! lease is always a reply that is being handed over. [`hand_over`] bounds that by time and keeps what came of it; a long reply
//! goes in [`pieces`]. A lane ends
//! when its chat's outbox is empty or its channel has nobody there.
//!
//! What becomes of a reply that a channel did not take is [`crate::model::delivery`]'s to say, and on the disk before the
//! next one is tried.

mod hand_over;
mod lane;
mod pieces;
mod still;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofferdam_protocol::ids::Folder;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::lane::Lane;
use self::still::Still;
use crate::channels::{Channels, Shown};
use crate::hooks;
use crate::model::chat::{ChatRef, Due};
use crate::pace::Gates;
use crate::store::{Outbox, StoreError, Stores};

/// Delivers replies. Clones are handles to the same.
#[derive(Clone)]
pub struct Delivery {
    inner: Arc<Inner>,
}

struct Inner {
    stores: Stores,
    channels: Channels,
    /// A channel that is not among them is nobody's.
    complete: bool,
    gates: Gates,
    shown: Shown,
    still: Still,
    lanes: Mutex<HashMap<Whose, Arc<Lane>>>,
    /// A lane had nothing more to do.
    left: Notify,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A chat of an outbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Whose {
    /// The group; none is Cofferdam itself.
    folder: Option<Folder>,
    chat: ChatRef,
}

impl Delivery {
    /// Ready to deliver; does nothing until it is nudged. `complete` are the channels of a daemon that serves: replies for
    /// another channel are dead then, and else wait for such a daemon.
    pub fn new(stores: Stores, channels: Channels, (shown, gates): (Shown, Gates), complete: bool) -> Self {
        let inner = Inner {
            stores,
            channels,
            complete,
            gates,
            shown,
            still: Still::default(),
            lanes: Mutex::default(),
            left: Notify::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Hints that a chat has something due. Hints may be lost: [`Delivery::look`] is called for every chat with
    /// replies now and then.
    pub fn nudge(&self, due: Due) {
        if hooks::nudge_is_lost() {
            tracing::debug!(group = %due.folder, chat = %due.chat, "its nudge is lost");
        } else {
            self.look(due);
        }
    }

    /// A chat has replies in its group's outbox. Nothing is done for one that has nobody there.
    pub fn look(&self, due: Due) {
        self.look_at(Whose { folder: Some(due.folder), chat: due.chat });
    }

    /// A chat has something in Cofferdam's own outbox.
    pub fn look_own(&self, chat: ChatRef) {
        self.look_at(Whose { folder: None, chat });
    }

    fn look_at(&self, due: Whose) {
        let absent = match self.inner.channels.get(&due.chat.channel) {
            Some(channel) => !channel.is_there(&due.chat),
            None => !self.inner.complete,
        };
        if absent || self.inner.stop.is_cancelled() {
            return;
        }
        let mut lanes = lock(&self.inner.lanes);
        if let Some(lane) = lanes.get(&due) {
            lane.nudge();
            return;
        }
        let lane = Arc::new(Lane::default());
        lanes.insert(due.clone(), lane.clone());
        let inner = self.inner.clone();
        self.inner.tasks.spawn(async move { inner.work(due, lane).await });
    }

    /// Looks again at every chat whose next try has a time: the wall clock jumped.
    pub fn look_again(&self) {
        let lanes = lock(&self.inner.lanes);
        lanes.values().for_each(|lane| lane.nudge());
    }

    /// Waits until nothing is being handed over to a chat, whatever its thread; nothing is until the answer is dropped.
    pub async fn still(&self, chat: &ChatRef) -> impl Send + Sync + use<> {
        self.inner.still.hold(chat).await
    }

    /// Waits until nothing of a group is being handed over or waits for its next try, at most `deadline`.
    pub async fn done_with(&self, folder: &Folder, deadline: Duration) {
        let done = async {
            loop {
                let left = self.inner.left.notified();
                let mut left = std::pin::pin!(left);
                // Before the look: a lane that leaves after it is heard.
                left.as_mut().enable();
                if !lock(&self.inner.lanes).keys().any(|due| due.folder.as_ref() == Some(folder)) {
                    return;
                }
                left.await;
            }
        };
        if tokio::time::timeout(deadline, done).await.is_err() {
            tracing::warn!(group = %folder, "replies of it still wait");
        }
    }

    /// Takes no more nudges, and waits for what is due now to be handed over, at most `deadline`.
    pub async fn shutdown(&self, deadline: Duration) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(deadline, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!(
                "replies were still being handed over at the deadline; they are sent again at the next start, in doubt \
                 whether their channel has them"
            );
        }
    }
}

impl Inner {
    /// The outbox that a chat's replies are in.
    async fn outbox(&self, whose: &Whose) -> Result<Outbox, StoreError> {
        Ok(match &whose.folder {
            Some(folder) => Outbox::Group(self.stores.group(folder).await?),
            None => Outbox::Own(self.stores.central().clone()),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
