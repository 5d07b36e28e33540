//! The daemon's start: containers that an earlier one left are adopted or removed, and what is due is woken.
//!
//! The rows come first, and nobody waits for the engine: a session whose rows say that a container may still serve it
//! opens its door at once (`adoption`), so a turn goes on while the engine is away. Such a session is **in doubt** until
//! the engine has told which containers there are. Until it has, once, no container is started: the session's own
//! may be running.
//!
//! ```text
//!  rows ──▶ doors of sessions in doubt ──▶ the engine's list ──▶ current and running: adopted
//!                                             │    ▲                else: removed
//!                                             └────┘ again          in doubt and not there: its attempt has ended
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cofferdam_protocol::admin::SessionState;
use cofferdam_protocol::ids::{Attempt, Folder, SessionId};
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::calls::Call;
use super::sweep::Look;
use super::{Supervisor, lock};
use crate::error_chain;
use crate::sandbox::{ContainerId, Found, Owner, SandboxError};
use crate::store::StoreError;

/// The pause after a list that failed, also of an engine that answers all else.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the engine may take for its list, or for the removals, before people are told that it hangs; a list of forty
/// containers takes it 10 ms on an idle machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// When the engine is asked whether what had to go is gone.
const LEFT_AGAIN: Duration = Duration::from_secs(30);
/// The same of dead ones, each time twice as long after: an engine that cannot remove one says so for as long as it runs.
const LEFT_AGAIN_AT_MOST: Duration = Duration::from_secs(3600);

/// What recovery and the actors share.
#[derive(Default)]
pub(super) struct Recovery {
    /// Whether the engine has told, since the start, which containers there are.
    listed: AtomicBool,
    /// Sessions whose container may run or not, with its attempt.
    doubts: Mutex<HashMap<SessionId, (Folder, Attempt)>>,
    ask: Notify,
    /// Every session whose rows ask for an actor has one.
    looked: CancellationToken,
    /// The daemon's databases close: nothing may be decided any more.
    pub(super) ending: CancellationToken,
    /// What is due is to be looked through now.
    pub(super) soon: Notify,
}

impl Recovery {
    /// Whether containers may be started.
    pub(super) fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    /// A session's rows name a container that nobody looks after: the engine is asked for it.
    pub(super) fn doubt(&self, folder: &Folder, session: &SessionId, attempt: Attempt) {
        lock(&self.doubts).insert(session.clone(), (folder.clone(), attempt));
        self.ask.notify_one();
    }

    /// There may be containers that are nobody's.
    pub(super) fn list_again(&self) {
        self.ask.notify_one();
    }

    /// Nobody needs to know about the session's attempt any more.
    pub(super) fn no_doubt(&self, session: &SessionId, attempt: Attempt) {
        lock(&self.doubts).retain(|id, (_, of)| id != session || *of != attempt);
    }
}

/// What a round leaves to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Nothing,
    /// Nothing runs in it any more.
    Dead,
    /// It may run, or nobody could say whose it is.
    Some,
}

/// What becomes of a container that the engine has.
enum Fate {
    Adopt(Owner),
    Remove,
    /// Its actor looks after it.
    Leave,
    /// Its rows cannot be read just now: left alone, and looked at again.
    Unknown(SessionId),
}

impl Supervisor {
    /// Begins to adopt, remove and wake, and answers at once.
    pub fn recover(&self) {
        self.inner.open.store(true, Ordering::Release);
        tokio::spawn(self.clone().recovery());
        tokio::spawn(self.clone().sweep());
    }

    async fn recovery(self) {
        let ending = self.inner.recovery.ending.clone();
        let work = async {
            self.look_over(Look::First).await;
            self.inner.recovery.looked.cancel();
            let mut dead_again = LEFT_AGAIN;
            loop {
                let asked = self.inner.recovery.ask.notified();
                let left = self.ask_the_engine().await;
                let pause = match left {
                    Left::Nothing => {
                        dead_again = LEFT_AGAIN;
                        asked.await;
                        continue;
                    }
                    Left::Some => LEFT_AGAIN,
                    Left::Dead => dead_again,
                };
                if tokio::time::timeout(pause, asked).await.is_err() && left == Left::Dead {
                    dead_again = (dead_again * 2).min(LEFT_AGAIN_AT_MOST);
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = ending.cancelled() => {}
        }
    }

    /// Returns when all that an earlier daemon left has its actor, so that an end soon after the start ends that too.
    pub(super) async fn has_looked(&self) {
        if self.inner.open.load(Ordering::Acquire) {
            self.inner.recovery.looked.cancelled().await;
        }
    }

    /// Wakes what is due in a group that was restored.
    pub async fn look_after(&self, folder: &Folder) -> Result<(), StoreError> {
        if self.inner.open.load(Ordering::Acquire) { self.look_at(folder, Look::First).await } else { Ok(()) }
    }

    /// Asks for the list until the engine has told it; while the engine is away, only [`super::engine`] asks it anything.
    /// Answers what is left of what had to go.
    async fn ask_the_engine(&self) -> Left {
        let mut told = false;
        loop {
            let error = match self.round().await {
                Ok(left) => return left,
                Err(error) => error,
            };
            self.inner.engine_failed(&error);
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(error = %error_chain(&error), "asks the engine again which containers there are");
                // Those that wait for it say so.
                self.everyone(|| Call::Look);
            }
            tokio::time::sleep(PAUSE).await;
            self.inner.engine_answers().await;
        }
    }

    /// Sorts the containers that the engine has now.
    async fn round(&self) -> Result<Left, SandboxError> {
        let recovery = &self.inner.recovery;
        // Before the list: a container that begins after it is not in it.
        let doubts = lock(&recovery.doubts).clone();
        let list = tokio::time::timeout(PATIENCE, self.inner.parts.sandbox.owned(&self.inner.parts.install)).await;
        let hangs = || SandboxError::Hanging { doing: "list containers", secs: PATIENCE.as_secs() };
        let list = list.unwrap_or_else(|_| Err(hangs()))?;
        self.inner.engine_works();
        let (mut there, mut stale, mut left) = (HashSet::new(), Vec::new(), Left::Nothing);
        for found in list {
            match self.fate(&found).await {
                Fate::Adopt(owner) => {
                    let log = self.inner.parts.home.log(&owner.group, &owner.session, owner.attempt);
                    let running = self.inner.parts.sandbox.adopt(&found.id, log);
                    self.call(&owner.group, &owner.session, Call::Adopt(owner.attempt, running));
                    there.insert(owner.session);
                }
                Fate::Remove => {
                    // What the engine says it removes may stay: gone is what is in no list.
                    left = left.max(if found.running { Left::Some } else { Left::Dead });
                    stale.push(found.id);
                }
                Fate::Leave => {}
                Fate::Unknown(session) => {
                    // Its doubt stays: to call it gone would end a turn that may run.
                    there.insert(session);
                    left = Left::Some;
                }
            }
        }
        self.remove(stale).await;
        for (session, (folder, attempt)) in doubts {
            if !there.contains(&session) {
                self.call(&folder, &session, Call::NotThere(attempt));
            }
        }
        if !recovery.listed.swap(true, Ordering::AcqRel) {
            self.everyone(|| Call::Look);
        }
        Ok(left)
    }

    async fn fate(&self, found: &Found) -> Fate {
        let parts = &self.inner.parts;
        let Some(owner) = &found.owner else { return Fate::Remove };
        if !parts.home.has_state(&owner.group) {
            return Fate::Remove;
        }
        let row = match parts.stores.group(&owner.group).await {
            Ok(store) => store.session(&owner.session).await,
            Err(error) => Err(error),
        };
        match row {
            Ok(row) if row.attempt != owner.attempt => Fate::Remove,
            Ok(_) if self.is_looked_after(owner) => Fate::Leave,
            Ok(row) if found.running && row.token_hash.is_some() => Fate::Adopt(owner.clone()),
            Ok(_) | Err(StoreError::NoSession(_) | StoreError::NoGroup(_)) => Fate::Remove,
            Err(StoreError::SetAside { .. }) if self.is_looked_after(owner) => Fate::Leave,
            // Nothing of what it says can be kept, and nobody would end it.
            Err(StoreError::SetAside { .. }) => Fate::Remove,
            Err(error) => {
                // It may be current.
                tracing::warn!(container = %found.id, error = %error_chain(&error), "left alone for now");
                Fate::Unknown(owner.session.clone())
            }
        }
    }

    /// Whether the session's actor has a container of this attempt, or is starting it.
    fn is_looked_after(&self, owner: &Owner) -> bool {
        let doubt = lock(&self.inner.recovery.doubts).get(&owner.session).map(|(_, attempt)| *attempt);
        if doubt == Some(owner.attempt) {
            return false;
        }
        let view = lock(&self.inner.actors).get(&owner.session).map(|handle| lock(&handle.view).clone());
        view.is_some_and(|view| {
            view.attempt == owner.attempt && !matches!(view.state, SessionState::Stopped | SessionState::Queued)
        })
    }

    async fn remove(&self, stale: Vec<ContainerId>) {
        let sandbox = &self.inner.parts.sandbox;
        let removals = stale.iter().map(|id| async move {
            tracing::info!(container = %id, "removes a container that is not current");
            match tokio::time::timeout(PATIENCE, sandbox.remove(id)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(container = %id, error = %error_chain(&error), "not removed; tried again");
                }
                Err(_) => tracing::warn!(container = %id, "not removed yet; tried again"),
            }
        });
        join_all(removals).await;
    }
}
