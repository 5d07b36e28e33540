//! Sessions are ended from outside: one, those of a group, or all.
//!
//! ```text
//! one    ──▶ Stop ───────────────────────▶ stopped; or it is said after 20 s that it is not yet
//! group  ──▶ the engine answers? ──▶ told to end ──▶ no session is left, and none begins (`Quiet`)
//!              │ 20 s, nothing was told     │ 20 s in all
//!              └───────────────┬────────────┘
//!                              ▼ NotEnded: whoever wanted it changes nothing
//! daemon ──▶ Drain ──grace──▶ CutOff ──last──▶ left to the next start
//! ```
//!
//! A group's containers have its workspace and its Codex homes mounted. The store refuses what an old one says, but not
//! what it writes there: so nobody replaces or removes a group before the engine has said that they are gone.

use std::time::Duration;

use cofferdam_protocol::admin::{ChatOutcome, SessionState};
use cofferdam_protocol::ids::{Attempt, Folder, SessionId};
use futures_util::future::{join_all, try_join_all};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::calls::{Call, Rest};
use super::{Handle, Supervisor, answered_live, lock};
use crate::error_chain;
use crate::live::Live;
use crate::model::chat::Due;
use crate::model::notice;
use crate::sandbox::SandboxError;
use crate::store::{GroupDb, StoreError};

/// How long a stop waits before it is told that the container does not end.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// How long a turn that is about to end has for it, where its group is ended.
const MOMENT: Duration = Duration::from_secs(5);

/// What a group's sessions are ended for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupEnd {
    /// Without words in its chats: a running turn has a moment to end, and waits for its next start then.
    Restore,
    /// For good: a running turn is interrupted, and says so.
    Removal,
}

/// Why a session, or a group's sessions, have not ended.
#[derive(Debug, thiserror::Error)]
pub enum NotEnded {
    /// The engine cannot be used; they were told nothing, or their containers may still run.
    #[error("its containers may still run")]
    Engine(#[source] SandboxError),
    /// The engine is well.
    #[error("session {0} has not ended within {secs} s", secs = STOP_PATIENCE.as_secs())]
    Lingers(SessionId),
}

/// A group without sessions: none of them begins before this is dropped.
pub struct Quiet {
    supervisor: Supervisor,
    folder: Folder,
}

impl Drop for Quiet {
    fn drop(&mut self) {
        lock(&self.supervisor.inner.quiet).remove(&self.folder);
    }
}

impl Supervisor {
    /// Stops a session's container; answers when it is gone, or after [`STOP_PATIENCE`] why it is not: it stays told to end,
    /// and the engine is asked again. A running turn is interrupted and says so in the chat; messages that wait stay
    /// accepted, and start it again.
    pub async fn stop(&self, session: &SessionId) -> Result<(), NotEnded> {
        timeout(STOP_PATIENCE, self.stop_for_good(session)).await.map_err(|_| self.lingers(session.clone()))
    }

    /// Why a session that was told to end has not.
    fn lingers(&self, session: SessionId) -> NotEnded {
        self.inner.engine_is_away().map_or(NotEnded::Lingers(session), NotEnded::Engine)
    }

    /// Stops a session's container; answers when it is gone.
    async fn stop_for_good(&self, session: &SessionId) {
        let (done, gone) = oneshot::channel();
        let handle = lock(&self.inner.actors).get(session).cloned();
        if let Some(handle) = handle
            && handle.post.send(Call::Stop(done))
        {
            // An actor that retires drops the sender: gone all the same.
            let _ = gone.await;
        }
    }

    /// Ends every session of a group within [`STOP_PATIENCE`]. What is answered keeps them from beginning again; until
    /// then none of them touches the group's files. An engine that is known to be away costs no turn: nobody is told to
    /// end before it answers.
    pub async fn end_group(&self, folder: &Folder, why: GroupEnd) -> Result<Quiet, NotEnded> {
        let until = Instant::now() + STOP_PATIENCE;
        // What an earlier daemon left has its actor then.
        let _ = timeout_at(until, self.has_looked()).await;
        let quiet = self.quieten(folder);
        let sessions: Vec<(SessionId, Handle)> = lock(&self.inner.actors)
            .iter()
            .filter(|(_, handle)| handle.folder == *folder)
            .map(|(session, handle)| (session.clone(), handle.clone()))
            .collect();
        if sessions.iter().any(|(_, handle)| has_a_container(handle)) {
            self.wait_for_the_engine(until).await.map_err(NotEnded::Engine)?;
        }
        let ends = sessions.iter().map(|(session, handle)| self.end_for(why, session, handle));
        if timeout_at(until, join_all(ends)).await.is_err()
            && let Some((session, _)) = sessions.into_iter().find(|(_, handle)| !handle.post.is_closed())
        {
            return Err(self.lingers(session));
        }
        self.remove_the_rest(folder, until).await.map_err(NotEnded::Engine)?;
        Ok(quiet)
    }

    /// Removes the group's containers that no actor looks after: its database could not be read for one, it could not be
    /// read yet, or the actor broke. The engine is asked, unless no container was ever started.
    async fn remove_the_rest(&self, folder: &Folder, until: Instant) -> Result<(), SandboxError> {
        if self.never_ran(folder).await {
            return Ok(());
        }
        self.wait_for_the_engine(until).await?;
        let sandbox = &self.inner.parts.sandbox;
        let work = async {
            let mut found = sandbox.owned(&self.inner.parts.install).await?;
            found.retain(|found| found.owner.as_ref().is_some_and(|owner| owner.group == *folder));
            let removals = found.iter().map(|found| {
                tracing::info!(group = %folder, container = %found.id, "removes a container that nobody looks after");
                sandbox.remove(&found.id)
            });
            try_join_all(removals).await.map(drop)
        };
        let hangs =
            || SandboxError::Hanging { doing: "remove the group's containers", secs: STOP_PATIENCE.as_secs() };
        let done = timeout_at(until, work).await.unwrap_or_else(|_| Err(hangs()));
        done.inspect_err(|error| self.inner.engine_failed(error))
    }

    /// Whether the rows say for certain that the group never had a container.
    async fn never_ran(&self, folder: &Folder) -> bool {
        if !self.inner.parts.home.has_state(folder) {
            return true;
        }
        let Ok(store) = self.inner.parts.stores.group(folder).await else { return false };
        store.sessions().await.is_ok_and(|all| all.iter().all(|session| session.attempt == Attempt(0)))
    }

    fn quieten(&self, folder: &Folder) -> Quiet {
        let _actors = lock(&self.inner.actors);
        lock(&self.inner.quiet).insert(folder.clone());
        Quiet { supervisor: self.clone(), folder: folder.clone() }
    }

    /// Ends one session of a group; answers when it will not touch the group's files again.
    async fn end_for(&self, why: GroupEnd, session: &SessionId, handle: &Handle) {
        // First, so that messages that wait do not start it again.
        handle.post.send(Call::Drain);
        match why {
            GroupEnd::Removal => self.stop_for_good(session).await,
            GroupEnd::Restore => {
                if timeout(MOMENT, handle.post.closed()).await.is_err() {
                    handle.post.send(Call::CutOff(Rest::Nothing));
                }
            }
        }
        handle.post.closed().await;
    }

    /// Until it answers, or what is wrong with it.
    async fn wait_for_the_engine(&self, until: Instant) -> Result<(), SandboxError> {
        loop {
            let Err(error) = self.inner.ask_engine().await else { return Ok(()) };
            self.inner.engine_failed(&error);
            if timeout_at(until, self.inner.engine_answers()).await.is_err() {
                return Err(error);
            }
        }
    }

    /// The messages that wait in a group that goes end in words, and so do those that still wait for a turn.
    pub async fn last_words(&self, store: &GroupDb) -> Result<(), StoreError> {
        for session in store.due_sessions().await? {
            for answered in store.refuse_waiting(&session, notice::group_removed()).await? {
                let ended = Live::Ended(answered_live(&answered, ChatOutcome::Interrupted));
                self.inner.parts.hub.tell(&session, ended);
                (self.inner.parts.deliver)(Due { folder: store.folder().clone(), chat: answered.chat });
            }
        }
        Ok(())
    }

    /// Lets running turns end for `grace`, then stops every container, which the engine may take `last` for. What was cut
    /// off, and what the engine has not ended by then, waits for the next start. Called again with shorter times it hurries.
    pub async fn shutdown(&self, grace: Duration, last: Duration) {
        if timeout(grace, self.has_looked()).await.is_err() {
            tracing::warn!("ends before every group was looked at; the next start takes care of what is left");
        }
        self.inner.open.store(false, std::sync::atomic::Ordering::Release);
        self.inner.tasks.close();
        self.everyone(|| Call::Drain);
        if timeout(grace, self.inner.tasks.wait()).await.is_err() {
            self.everyone(|| Call::CutOff(Rest::ForTheNextStart));
            if timeout(last, self.inner.tasks.wait()).await.is_err() {
                tracing::warn!("sessions were still stopping at the end; the next start takes care of them");
            }
        }
        self.inner.recovery.ending.cancel();
        let parts = &self.inner.parts;
        match timeout(last, parts.sandbox.clear_up(&parts.install)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %error_chain(&error), "the containers' network was left"),
            Err(_) => tracing::warn!("the containers' network was left: the engine did not answer in time"),
        }
    }
}

/// Whether it takes the engine to end it. A start ends without.
fn has_a_container(handle: &Handle) -> bool {
    let view = lock(&handle.view);
    view.container.is_some()
        || matches!(view.state, SessionState::Idle | SessionState::Busy | SessionState::Stopping)
}
