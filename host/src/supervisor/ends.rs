//! How a session's container is told to end.

use std::time::Duration;

use cofferdam_protocol::admin::{ErrorKind, SessionState};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::actor::{Actor, Ending};
use super::calls::Rest;
use super::launch::Starting;
use super::lock;
use crate::error_chain;
use crate::hooks;
use crate::model::outage::WantedBy;
use crate::model::session::PhaseEvent;

/// How long a container gets to end itself after it was told to, before it is killed.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long a session's end waits for a start to become a container that can be stopped.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long an idle runner gets to end itself.
const IDLE_GRACE: Duration = Duration::from_secs(5);

impl Actor {
    /// Somebody wants the container gone. Messages that wait were accepted and stay so: they start the session again.
    pub(super) async fn on_stop(&mut self, done: oneshot::Sender<()>) {
        match self.phase.state() {
            SessionState::Stopped => {
                drop(done);
                // It may wait for the next try of a start, for what was mended just now.
                self.wake().await;
            }
            // Its container will be a fresh one.
            SessionState::Queued => drop(done),
            SessionState::Stopping => {
                self.stop_waiters.push(done);
                // Also of a turn that was to go on in another container.
                self.wanted_by(WantedBy::Person).await;
            }
            SessionState::Starting | SessionState::Idle | SessionState::Busy => {
                self.stop_waiters.push(done);
                self.advance(PhaseEvent::Stop);
                self.wanted_by(WantedBy::Person).await;
                self.kill(STOP_GRACE, false);
                self.show(None);
                self.no_question().await;
                self.give_up_image().await;
            }
        }
    }

    pub(super) async fn on_drain(&mut self) {
        self.ending = Ending::Drain;
        match self.phase.state() {
            SessionState::Queued => self.leave_queue(),
            SessionState::Idle => self.stop_idle("the daemon ends").await,
            SessionState::Starting => {
                self.advance(PhaseEvent::Stop);
                self.kill(Duration::from_secs(1), true);
                self.give_up_image().await;
            }
            // After its turn; or it is on its way already.
            SessionState::Busy | SessionState::Stopped | SessionState::Stopping => {}
        }
    }

    /// From here on nothing that the runner says is heard: its turn waits for the next start.
    pub(super) async fn on_cut_off(&mut self, rest: Rest) {
        self.ending = Ending::CutOff;
        let leaves = rest == Rest::ForTheNextStart;
        if leaves && self.start.preparing.take().is_some() {
            self.advance(PhaseEvent::Gone);
            self.give_back_place();
            return;
        }
        let Some(life) = &mut self.life else { return };
        life.close();
        if leaves && (self.start.starting.take().is_some() || life.container.is_in_doubt()) {
            // What the engine makes of it is removed as it comes, or by the next start.
            self.life = None;
            self.advance(PhaseEvent::Gone);
            self.give_back_place();
            return;
        }
        let by_person = life.end.is_by_person();
        if self.phase.state() != SessionState::Stopping {
            self.advance(PhaseEvent::Stop);
        }
        if !by_person {
            self.wanted_by(WantedBy::Daemon).await;
        }
        self.kill(Duration::ZERO, true);
    }

    /// Notes who wants the end of a container with a turn, also where the next daemon finds it.
    async fn wanted_by(&mut self, by: WantedBy) {
        let Some(life) = &mut self.life else { return };
        life.end.wanted = Some(by);
        let (Some(store), true) = (&self.store, life.work.turn.is_some()) else { return };
        if let Err(error) = store.want_end(&self.session, life.attempt, Some(by)).await {
            // The next daemon takes it for an outage then.
            tracing::warn!(error = %error_chain(&error), "that its end is wanted could not be noted");
        }
        hooks::crash_point("end.noted");
    }

    fn leave_queue(&mut self) {
        lock(&self.inner.admission).cancel(&self.session);
        self.advance(PhaseEvent::Cancelled);
        self.show(None);
    }

    /// Tells an idle runner to end itself; kills it if it does not.
    pub(super) async fn stop_idle(&mut self, why: &str) {
        tracing::info!(why, "stops");
        self.advance(PhaseEvent::Stop);
        if let Some(life) = &mut self.life {
            life.ask_to_stop(Instant::now() + IDLE_GRACE);
        }
        self.show(None);
    }

    /// Stops the container through the engine. `blameless` keeps the turn's try from being counted.
    pub(super) fn kill(&mut self, grace: Duration, blameless: bool) {
        /// After that the engine is asked again, for a removal by force.
        const PATIENCE: Duration = Duration::from_secs(30);
        let Some(life) = &mut self.life else { return };
        let again = if life.is_started() { grace + PATIENCE } else { START_PATIENCE };
        let Some((container, asked)) = life.being_killed(Instant::now() + again, blameless) else { return };
        let inner = self.inner.clone();
        tokio::spawn(async move {
            let sandbox = &inner.parts.sandbox;
            let end = if asked { sandbox.remove(&container) } else { sandbox.stop(&container, grace) };
            let told = inner.while_watched(end).await;
            hooks::crash_point("end.told");
            if let Err(error) = told {
                inner.engine_failed(&error);
                tracing::warn!(%container, error = %error_chain(&error), "could not be stopped; tried again");
            }
        });
    }

    /// Whoever wants an end does not wait for an image: there is no container yet.
    async fn give_up_image(&mut self) {
        if self.start.starting.as_ref().is_some_and(Starting::waits_for_the_image) {
            tracing::info!("stops before its image is built");
            self.start.starting = None;
            self.life = None;
            self.gone_before_it_ran().await;
        }
    }

    /// Whoever wants an end waits no longer for a start that the engine does not finish: what comes of it is removed.
    pub(super) async fn give_up_start(&mut self) {
        tracing::warn!("the engine does not finish the start; it is given up, and what comes of it is removed");
        self.start.starting = None;
        self.life = None;
        self.gone_before_it_ran().await;
    }

    /// A start ends without a container, because somebody wants the session's end.
    pub(super) async fn gone_before_it_ran(&mut self) {
        self.advance(PhaseEvent::Gone);
        self.give_back_place();
        self.show(None);
        self.answer_stop_waiters();
        self.wake().await;
    }

    /// The engine can be used again: what waited for it is tried at once.
    pub(super) fn on_engine_back(&mut self) {
        if let Some(trouble) = &mut self.wait.trouble
            && matches!(trouble.blocked.kind, ErrorKind::Engine)
        {
            trouble.again = Instant::now();
        }
        if self.phase.state() == SessionState::Stopping
            && let Some(life) = &mut self.life
        {
            life.end.kill_now();
        }
    }

    pub(super) fn answer_stop_waiters(&mut self) {
        for waiter in self.stop_waiters.drain(..) {
            let _ = waiter.send(());
        }
    }
}
