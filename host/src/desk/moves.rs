//! Chats that their platform gave another id. That is on the disk before the channel goes on; what they have moves then, each
//! part once, and before anything more is taken in there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{Desk, EVERY, failed};
use crate::channels::{Arrival, NotTaken};
use crate::error_chain;
use crate::model::chat::{ChatRef, Due, Move};
use crate::store::StoreError;
use crate::store::moves::Pending;

/// Chats that move at once, so that one whose reply is being handed over holds up no other.
const AT_ONCE: usize = 8;

/// A channel, and the chat's id on it that things move to.
type Goal = (String, String);

/// What moves just now: one thing at a time to each chat.
#[derive(Default)]
pub(super) struct Moving {
    chats: Mutex<HashMap<Goal, Weak<tokio::sync::Mutex<()>>>>,
    /// There is more to move.
    news: tokio::sync::Notify,
}

impl Moving {
    /// What one has who moves something to this chat.
    pub(super) fn to(&self, chat: &Goal) -> Arc<tokio::sync::Mutex<()>> {
        let mut chats = self.chats.lock().unwrap_or_else(PoisonError::into_inner);
        chats.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = chats.get(chat).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        chats.insert(chat.clone(), Arc::downgrade(&lock));
        lock
    }
}

impl Desk {
    /// Moves what is noted, until it is told to stop.
    pub(super) async fn move_around(&self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.move_all().await {
                tracing::error!(error = %error_chain(&error), "what chats have did not move; tried again");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.inner.moving.news.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// A chat has another id.
    pub(super) async fn moved(&self, chat: Move) -> Result<(), NotTaken> {
        let Move { channel, from, to } = chat.clone();
        if self.inner.stores.central().chat_moved(chat).await.map_err(failed)? {
            tracing::info!(channel, from, to, "the chat has another id; what it has moves there");
            // Whoever told it may be handing over a reply there, so it is not waited for.
            self.inner.moving.news.notify_one();
        }
        Ok(())
    }

    /// The arrival under the id that its chat has now; what its chat has is there before it.
    pub(super) async fn where_it_is(&self, mut arrival: Arrival) -> Result<Arrival, NotTaken> {
        let chat = &arrival.chat;
        let moves = self.inner.stores.central().moves_of(&chat.channel, &chat.chat_id).await.map_err(failed)?;
        self.move_these(moves.pending).await.map_err(failed)?;
        if let Some(gone) = moves.gone {
            arrival.platform_id = gone.message(&arrival.platform_id);
            arrival.chat.chat_id = gone.to;
        }
        Ok(arrival)
    }

    /// Moves all that is noted.
    pub(super) async fn move_all(&self) -> Result<(), StoreError> {
        let pending = self.inner.stores.central().pending_moves().await?;
        self.move_these(pending).await
    }

    /// One group's trouble keeps the others from nothing, and one chat's no other chat; its rows wait for the next look.
    async fn move_these(&self, pending: Vec<Pending>) -> Result<(), StoreError> {
        let mut chats: HashMap<Goal, Vec<Pending>> = HashMap::new();
        for part in pending {
            chats.entry((part.chat.channel.clone(), part.chat.to.clone())).or_default().push(part);
        }
        let moving: Vec<_> = chats.into_iter().map(|(chat, parts)| self.move_chat(chat, parts)).collect();
        let ends: Vec<_> = futures_util::stream::iter(moving).buffer_unordered(AT_ONCE).collect().await;
        ends.into_iter().collect()
    }

    async fn move_chat(&self, chat: Goal, parts: Vec<Pending>) -> Result<(), StoreError> {
        let lock = self.inner.moving.to(&chat);
        let _alone = lock.lock().await;
        let mut missed = Ok(());
        for part in parts {
            let folder = part.folder.clone();
            match self.move_one(part).await {
                Err(error) if error.is_set_aside() => {
                    let group = folder.as_ref().map(tracing::field::display);
                    tracing::warn!(group, error = %error_chain(&error), "what it has of the chat moves later");
                }
                moved => missed = missed.and(moved),
            }
        }
        missed
    }

    async fn move_one(&self, part: Pending) -> Result<(), StoreError> {
        let central = self.inner.stores.central();
        let chat =
            |id: &str| ChatRef { channel: part.chat.channel.clone(), chat_id: id.to_owned(), thread_id: None };
        // A reply that is being handed over ends under the id that it began with.
        let _still = (self.inner.tells.still)(chat(&part.chat.from)).await;
        let Some(folder) = &part.folder else {
            central.move_posts(part.chat.clone()).await?;
            self.told([chat(&part.chat.to)]);
            return Ok(());
        };
        let known = central.group(folder).await?.is_some();
        if known && self.inner.home.has_state(folder) {
            let store = self.inner.stores.group(folder).await?;
            store.move_chat(part.chat.clone()).await?;
            crate::hooks::crash_point("move.of_group");
            for chat in store.due_chats().await?.into_iter().filter(|chat| chat.chat_id == part.chat.to) {
                (self.inner.tells.deliver)(Due { folder: folder.clone(), chat });
            }
        }
        central.move_done(part).await
    }
}
