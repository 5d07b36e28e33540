//! What the rows say is due, looked through at the start and now and then: what makes nudges hints.

use std::time::Duration;

use cofferdam_protocol::ids::Folder;
use futures_util::StreamExt;
use tokio::time::MissedTickBehavior;

use super::Supervisor;
use super::calls::Call;
use crate::error_chain;
use crate::hooks;
use crate::model::chat::Due;
use crate::store::StoreError;

/// How long a lost nudge can cost. A person who waits for an answer still waits after that; and looking at one busy
/// group takes 0.3 ms, so fifty of them are a tenth of a per cent of a core.
const EVERY: Duration = Duration::from_secs(15);
/// Groups that are looked at beside each other.
const AT_ONCE: usize = 8;
/// The most groups of one look, so that a thousand groups whose replies nobody fetches do not keep the disk busy: each
/// is a database to open. The next look goes on behind them.
const MOST: usize = 200;

/// Which groups are looked at.
#[derive(Clone, Copy)]
pub(super) enum Look<'a> {
    /// All, at the start.
    First,
    /// Some behind this one, or from the first on.
    Behind(Option<&'a Folder>),
}

impl Supervisor {
    /// Has what is due looked through soon, such as replies for a channel that came.
    pub fn look_soon(&self) {
        self.inner.recovery.soon.notify_one();
    }

    /// Looks again and again, until the daemon ends.
    pub(super) async fn sweep(self) {
        let mut ticks = tokio::time::interval(hooks::sweep_every(EVERY));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut last = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => last = self.look_over(Look::Behind(last.as_ref())).await,
                () = self.inner.recovery.soon.notified() => {
                    ticks.reset();
                    last = self.look_over(Look::Behind(None)).await;
                }
                () = self.inner.recovery.ending.cancelled() => return,
            }
        }
    }

    /// Looks at busy groups. Answers where the next look goes on.
    pub(super) async fn look_over(&self, look: Look<'_>) -> Option<Folder> {
        let (last, most) = match look {
            Look::First => (None, usize::MAX),
            Look::Behind(last) => (last, MOST),
        };
        let mut busy = match self.inner.parts.stores.central().busy_groups().await {
            Ok(busy) => busy,
            Err(error) => {
                tracing::error!(error = %error_chain(&error), "which groups have due work could not be read");
                return last.cloned();
            }
        };
        busy.retain(|folder| last.is_none_or(|last| folder > last));
        let next = busy.get(most).and_then(|_| busy.get(most.checked_sub(1)?)).cloned();
        busy.truncate(most);
        futures_util::stream::iter(busy)
            .for_each_concurrent(AT_ONCE, |folder| async move {
                if let Err(error) = self.look_at(&folder, look).await {
                    // One group's trouble is not the others'.
                    tracing::error!(group = %folder, error = %error_chain(&error), "its due work could not be read");
                }
            })
            .await;
        next
    }

    /// Calls whoever has to do what is due in a group.
    pub(super) async fn look_at(&self, folder: &Folder, look: Look<'_>) -> Result<(), StoreError> {
        let store = match self.inner.parts.stores.group(folder).await {
            // Its mark came back as it went.
            Err(StoreError::NoGroup(_)) => return self.inner.parts.stores.settle(folder).await,
            store => store?,
        };
        if matches!(look, Look::First) {
            let ms = store.clock_set_back(0).await?;
            if ms > 0 {
                tracing::warn!(group = %folder, ms, "the clock was set back while no daemon ran; due times follow it");
            }
        }
        store.expire_questions().await?;
        let sessions = store.due_sessions().await?;
        for session in &sessions {
            self.call(folder, session, Call::Look);
        }
        let chats = store.due_chats().await?;
        let nothing = sessions.is_empty() && chats.is_empty();
        for chat in chats {
            (self.inner.parts.look)(Due { folder: folder.clone(), chat });
        }
        if nothing { self.inner.parts.stores.settle(folder).await } else { Ok(()) }
    }
}
