//! A session's way to a running container: a place, a start, and what happens when it fails.

use std::time::Duration;

use cofferdam_protocol::admin::{ChatOutcome, SessionState};
use cofferdam_protocol::runner::FailureKind;
use tokio::time::Instant;

use super::actor::{Actor, Ending};
use super::ends::STOP_GRACE;
use super::launch::{self, LaunchError, Ready, Started};
use super::life::Life;
use super::lock;
use crate::error_chain;
use crate::hooks;
use crate::live::{Blocked, Live};
use crate::model::notice;
use crate::model::session::PhaseEvent;

/// The shortest pause between two starts that fail.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two starts that fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A session that cannot start just now.
pub(super) struct Trouble {
    pub(super) since: Instant,
    pub(super) failures: u32,
    pub(super) again: Instant,
    pub(super) blocked: Blocked,
}

impl Actor {
    pub(super) fn ask_for_a_place(&mut self) {
        self.queued_at = Some(Instant::now());
        self.advance(PhaseEvent::Wake);
        let (folder, session) = (&self.folder, self.session.clone());
        self.inner.with_admission(|admission| admission.request(folder, session));
        let ahead = lock(&self.inner.admission).ahead(&self.session);
        let note = ahead.map(|ahead| format!("waits for a place (max_sessions), {ahead} before it"));
        self.show(note);
    }

    pub(super) async fn on_granted(&mut self) {
        if self.phase.state() != SessionState::Queued {
            self.give_back_place();
            return;
        }
        self.advance(PhaseEvent::Granted);
        self.show(None);
        match self.store().await {
            Ok(store) => {
                let (inner, session, calls) = (self.inner.clone(), self.session.clone(), self.calls.clone());
                self.preparing = Some(Box::pin(launch::get_ready(inner, store, session, calls)));
            }
            Err(error) => self.not_started(&error).await,
        }
    }

    /// The first step of a start is done: the second, unless somebody wants the session's end meanwhile.
    pub(super) async fn on_ready(&mut self, ready: Result<Ready, LaunchError>) {
        self.preparing = None;
        if self.phase.state() == SessionState::Stopping {
            // The door that it opened goes with it; files that it made are the next start's.
            drop(ready);
            self.gone_before_it_ran().await;
            return;
        }
        match ready {
            Ok(ready) => {
                self.starting = Some(launch::start(&self.inner, &self.folder, &self.session, &ready));
                let queued = self.queued_at.take().map(|at| at.elapsed());
                self.life = Some(Life::new(ready, queued));
                self.show(None);
            }
            Err(error) => self.not_started(&error).await,
        }
    }

    pub(super) async fn on_started(&mut self, result: Result<Started, LaunchError>) {
        self.starting = None;
        match result {
            Ok(started) => {
                self.inner.engine_works();
                let id = started.running.id.clone();
                let Some(life) = &mut self.life else { return };
                life.started(started);
                let attempt = life.attempt;
                tracing::info!(%attempt, container = %id, "started");
                self.show(None);
                if let Some(store) = &self.store
                    && let Err(error) = store.set_container(&self.session, attempt, id.0).await
                {
                    tracing::warn!(error = %error_chain(&error), "the container's id was not kept");
                }
                hooks::crash_point("container.after_commit");
                match self.phase.state() {
                    SessionState::Stopping => self.kill(STOP_GRACE, self.ending != Ending::No),

                    // Its runner was quicker than the engine's answer.
                    SessionState::Idle => self.hand_out().await,
                    _ => {}
                }
            }
            Err(error) => self.not_started(&error).await,
        }
    }

    async fn not_started(&mut self, error: &LaunchError) {
        if let LaunchError::Sandbox(error) = error {
            self.inner.engine_failed(error);
        }
        self.life = None;
        self.advance(PhaseEvent::Gone);
        self.give_back_place();
        if let LaunchError::Config(what) = error {
            let outcome = ChatOutcome::Failed { kind: FailureKind::ProviderStart };
            self.refuse_waiting(notice::bad_config(what), outcome).await;
        } else {
            self.in_trouble(error);
        }
        self.show(self.trouble.as_ref().map(|trouble| trouble.blocked.message.clone()));
        self.answer_stop_waiters();
    }

    /// Tries again after a pause, and says why it waits.
    pub(super) fn in_trouble(&mut self, error: &LaunchError) {
        let failures = self.trouble.as_ref().map_or(0, |trouble| trouble.failures).saturating_add(1);
        let pause = Duration::from_millis(500 << failures.min(7)).min(LONGEST_PAUSE);
        tracing::warn!(error = %error_chain(error), failures, ?pause, "cannot start; its messages wait");
        let blocked = error.blocked();
        self.tell(Live::Blocked(blocked.clone()));
        if matches!(error, LaunchError::Store(error) if error.is_set_aside()) {
            // It wakes when the group is restored.
            self.trouble = None;
            return;
        }
        let since = Instant::now();
        self.trouble = Some(Trouble { since, failures, again: since + pause, blocked });
    }

    pub(super) async fn wake_after_trouble(&mut self) {
        let failures = self.trouble.as_ref().map_or(0, |trouble| trouble.failures);
        self.wake().await;
        if let Some(trouble) = &mut self.trouble
            && self.phase.state() == SessionState::Stopped
        {
            trouble.failures = trouble.failures.max(failures);
        }
    }

    /// The start worked.
    pub(super) fn out_of_trouble(&mut self) {
        self.trouble = None;
    }
}
