//! Who changes the message that shows what a turn does: its progress, or the reply that takes its place. Never both at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_protocol::ids::{Folder, TurnId};
use tokio::sync::OwnedMutexGuard;

type Alone = Arc<tokio::sync::Mutex<()>>;

/// Locks by turn. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    turns: Arc<Mutex<HashMap<(Folder, TurnId), Alone>>>,
}

impl Shown {
    /// Waits until nobody else changes what the turn shows. What is answered is held meanwhile.
    pub async fn alone(&self, group: &Folder, turn: TurnId) -> OwnedMutexGuard<()> {
        let alone = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, alone| Arc::strong_count(alone) > 1);
            turns.entry((group.clone(), turn)).or_default().clone()
        };
        alone.lock_owned().await
    }
}
