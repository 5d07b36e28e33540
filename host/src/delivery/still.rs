//! Chats to which nothing may be handed over for a moment, as their rows get another id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::model::chat::ChatRef;

/// A channel, and a chat on it.
type Key = (String, String);

/// Who hands over, and who holds a chat still.
#[derive(Default)]
pub(super) struct Still {
    chats: Mutex<HashMap<Key, Arc<RwLock<()>>>>,
}

impl Still {
    fn of(&self, chat: &ChatRef) -> Arc<RwLock<()>> {
        let mut chats = self.chats.lock().unwrap_or_else(PoisonError::into_inner);
        chats.retain(|_, lock| Arc::strong_count(lock) > 1);
        chats.entry((chat.channel.clone(), chat.chat_id.clone())).or_default().clone()
    }

    /// Held from before a lease until what came of it is written down. Waits while somebody holds the chat still.
    pub(super) async fn hand_over(&self, chat: &ChatRef) -> OwnedRwLockReadGuard<()> {
        self.of(chat).read_owned().await
    }

    /// Waits for what is being handed over.
    pub(super) async fn hold(&self, chat: &ChatRef) -> OwnedRwLockWriteGuard<()> {
        self.of(chat).write_owned().await
    }
}
