//! The daemon's start: containers that an earlier one left are adopted or removed, and what is due is woken.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cofferdam_protocol::ids::{Folder, SessionId};

use super::Supervisor;
use super::calls::Call;
use crate::error_chain;
use crate::model::chat::Due;
use crate::sandbox::{ContainerId, Found, SandboxError};
use crate::store::StoreError;
use crate::store::group::attempts::SessionRow;

/// The pause while the engine does not answer.
const AGAIN: Duration = Duration::from_secs(2);

/// How long a start waits for the engine to list containers.
const PATIENCE: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Adopts, removes, and wakes; before anything else may call. Does not wait for an engine that is away: what is
    /// due says what it waits for, and left containers are looked for when the engine is back.
    pub async fn recover(&self) -> Result<(), StoreError> {
        let busy = self.inner.parts.stores.central().busy_groups().await?;
        let adopted = match tokio::time::timeout(PATIENCE, self.take_over(&busy)).await {
            Ok(Ok(adopted)) => adopted,
            Ok(Err(error)) => {
                self.engine_is_away(&error);
                HashSet::new()
            }
            Err(_) => {
                self.engine_is_away(&SandboxError::Hanging { doing: "list containers", secs: PATIENCE.as_secs() });
                HashSet::new()
            }
        };
        self.inner.open.store(true, Ordering::Release);
        for folder in &busy {
            if let Err(error) = self.wake_group(folder, &adopted).await {
                // One group's trouble is not the others'.
                tracing::error!(group = %folder, error = %error_chain(&error), "its due work could not be read");
            }
        }
        Ok(())
    }

    /// Wakes what is due in a group that was restored.
    pub async fn look_after(&self, folder: &Folder) -> Result<(), StoreError> {
        if self.inner.open.load(Ordering::Acquire) {
            self.wake_group(folder, &HashSet::new()).await
        } else {
            Ok(())
        }
    }

    async fn wake_group(&self, folder: &Folder, adopted: &HashSet<SessionId>) -> Result<(), StoreError> {
        let store = self.inner.parts.stores.group(folder).await?;
        let back = store.clock_set_back(0).await?;
        if back > 0 {
            tracing::warn!(group = %folder, ms = back, "the clock was set back while no daemon ran; due times follow it");
        }
        for session in store.due_sessions().await? {
            if !adopted.contains(&session) {
                // What ran when the daemon died is over: back to waiting, without blame.
                let row = store.session(&session).await?;
                store.end_attempt(&session, row.attempt, true, String::new()).await?;
                self.call(folder, &session, Call::Wake);
            }
        }
        for chat in store.due_chats().await? {
            (self.inner.parts.deliver)(Due { folder: folder.clone(), chat });
        }
        self.inner.parts.stores.settle(folder).await
    }

    /// Sorts the engine's containers of this installation: adopted are those that run with their session's newest
    /// attempt and said hello; the others are removed.
    async fn take_over(&self, busy: &[Folder]) -> Result<HashSet<SessionId>, SandboxError> {
        let (mut adopted, mut stale) = (HashSet::new(), Vec::new());
        for found in self.inner.parts.sandbox.owned(&self.inner.parts.install).await? {
            let row = self.row_of(&found, busy).await;
            match (&found.owner, row) {
                (Some(owner), Some(row))
                    if found.running && row.attempt == owner.attempt && row.token_hash.is_some() =>
                {
                    self.call(&owner.group, &owner.session, Call::Adopt(found.id.clone()));
                    adopted.insert(owner.session.clone());
                }
                _ => stale.push(found.id),
            }
        }
        self.remove(stale).await;
        Ok(adopted)
    }

    async fn row_of(&self, found: &Found, busy: &[Folder]) -> Option<SessionRow> {
        let owner = found.owner.as_ref().filter(|owner| busy.contains(&owner.group))?;
        let store = self.inner.parts.stores.group(&owner.group).await.ok()?;
        store.session(&owner.session).await.ok()
    }

    async fn remove(&self, stale: Vec<ContainerId>) {
        let sandbox = &self.inner.parts.sandbox;
        let removals = stale.iter().map(|id| async move {
            tracing::info!(container = %id, "removes a container that is not current");
            if let Err(error) = sandbox.remove(id).await {
                tracing::warn!(container = %id, error = %error_chain(&error), "not removed");
            }
        });
        futures_util::future::join_all(removals).await;
    }

    fn engine_is_away(&self, error: &SandboxError) {
        tracing::warn!(error = %error_chain(error), "left containers are looked for when the engine is back");
        self.inner.engine_failed(error);
        let me = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(AGAIN).await;
                if !me.inner.open.load(Ordering::Acquire) || me.remove_older().await.is_ok() {
                    return;
                }
            }
        });
    }

    /// Removes containers whose attempt is older than their session's. Those with the newest attempt are left alone:
    /// an actor may have started one a moment ago.
    async fn remove_older(&self) -> Result<(), SandboxError> {
        let mut stale = Vec::new();
        for found in self.inner.parts.sandbox.owned(&self.inner.parts.install).await? {
            let Some(owner) = &found.owner else { continue };
            let Ok(store) = self.inner.parts.stores.group(&owner.group).await else { continue };
            if store.session(&owner.session).await.is_ok_and(|row| row.attempt > owner.attempt) {
                stale.push(found.id);
            }
        }
        self.inner.engine_works();
        self.remove(stale).await;
        Ok(())
    }
}
