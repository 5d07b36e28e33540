//! A session's way to a running container: a place, a start, and what happens when it fails.

use std::time::Duration;

use cofferdam_protocol::admin::{ChatOutcome, ErrorKind, Outlook, SessionState};
use cofferdam_protocol::ids::Folder;
use cofferdam_protocol::runner::FailureKind;
use tokio::time::Instant;

use super::actor::{Actor, Ending};
use super::answered_live;
use super::blame::{Blame, Surroundings, blame};
use super::calls::Call;
use super::ends::STOP_GRACE;
use super::launch::{self, LaunchError, Ready, Started};
use super::life::Life;
use super::lock;
use crate::error_chain;
use crate::hooks;
use crate::live::{Blocked, Live};
use crate::model::backoff::Backoff;
use crate::model::notice;
use crate::model::session::PhaseEvent;
use crate::store::group::inbox::Answered;
use crate::store::group::starts::{FailedStarts, StartEnd};
use crate::store::{now_ms, rfc3339};

/// The shortest pause between two starts that fail.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two starts that fail for what every session waits for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A session that cannot start just now.
pub(super) struct StartTrouble {
    /// When it was met the last time.
    pub(super) met: Instant,
    /// What every session waits for; none: it is this one's own.
    pub(super) waits_for: Option<Surroundings>,
    /// Tries that met it.
    tries: u32,
    pub(super) again: Instant,
    pub(super) blocked: Blocked,
}

impl Actor {
    pub(super) fn ask_for_a_place(&mut self) {
        self.start.queued_at = Some(Instant::now());
        self.start.begun = now_ms();
        self.advance(PhaseEvent::Wake);
        let (folder, session) = (&self.folder, self.session.clone());
        self.inner.with_admission(|admission| admission.request(folder, session));
        let ahead = lock(&self.inner.admission).ahead(&self.session);
        tracing::debug!(ahead, "asks for a place");
        let note = ahead.map(|ahead| format!("waits for a place (max_sessions), {ahead} before it"));
        self.show(note);
    }

    pub(super) async fn on_granted(&mut self) {
        if self.phase.state() != SessionState::Queued {
            self.give_back_place();
            return;
        }
        self.advance(PhaseEvent::Granted);
        tracing::debug!("has a place");
        self.begins_to_wait();
        self.show(None);
        match self.store().await {
            Ok(store) => {
                let (inner, session, calls) = (self.inner.clone(), self.session.clone(), self.calls.clone());
                self.start.preparing = Some(Box::pin(launch::get_ready(inner, store, session, calls)));
            }
            Err(error) => self.not_started(&error).await,
        }
    }

    /// The first step of a start is done: the second, unless somebody wants the session's end meanwhile.
    pub(super) async fn on_ready(&mut self, ready: Result<Ready, LaunchError>) {
        self.start.preparing = None;
        if self.phase.state() == SessionState::Stopping {
            // The door that it opened goes with it; files that it made are the next start's.
            drop(ready);
            self.gone_before_it_ran().await;
            return;
        }
        match ready {
            Ok(ready) => {
                self.start.starting = Some(launch::start(&self.inner, &self.folder, &self.session, &ready));
                let queued = self.start.queued_at.take().map(|at| at.elapsed());
                self.life = Some(Life::new(ready, queued));
                // Whatever was in the rows before, this attempt came after it.
                self.arrived = true;
                self.show(None);
            }
            Err(error) => self.not_started(&error).await,
        }
    }

    pub(super) async fn on_started(&mut self, result: Result<Started, LaunchError>) {
        self.start.starting = None;
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
            // Whoever stopped it does not want another try.
            Err(error) if self.phase.state() == SessionState::Stopping => {
                tracing::warn!(error = %error_chain(&error), "did not start before it was stopped");
                self.life = None;
                self.gone_before_it_ran().await;
            }
            Err(error) => self.not_started(&error).await,
        }
    }

    async fn not_started(&mut self, error: &LaunchError) {
        if let LaunchError::Sandbox(error) = error {
            self.inner.engine_failed(error);
        }
        self.life = None;
        if self.phase.state() == SessionState::Stopping {
            // Whoever wanted its end has it.
            self.gone_before_it_ran().await;
            return;
        }
        self.advance(PhaseEvent::Gone);
        self.give_back_place();
        self.in_trouble(error).await;
        self.answer_stop_waiters();
    }

    /// A start failed: what becomes of the messages that wait for it.
    pub(super) async fn in_trouble(&mut self, error: &LaunchError) {
        tracing::warn!(error = %error_chain(error), "cannot start");
        match blame(error) {
            Blame::Person => self.give_up_waiting(error).await,
            Blame::Surroundings(what) => self.wait_for(what, error),
            Blame::Session => self.count_failure(error).await,
        }
        self.show(self.wait.trouble.as_ref().map(|trouble| trouble.blocked.message.clone()));
    }

    /// Tries again for as long as it takes, and says what it waits for.
    fn wait_for(&mut self, what: Surroundings, error: &LaunchError) {
        if matches!(error, LaunchError::Store(error) if error.is_set_aside()) {
            // It wakes when the group is restored.
            self.tell(Live::Blocked(error.blocked(&self.folder)));
            self.out_of_trouble();
            return;
        }
        let waited = self.wait.trouble.as_ref().filter(|trouble| trouble.waits_for.is_some());
        let tries = waited.map_or(0, |trouble| trouble.tries).saturating_add(1);
        let again = Duration::from_millis(500 << tries.min(7)).min(LONGEST_PAUSE);
        let again = Instant::now() + again;
        self.has_trouble(StartTrouble {
            waits_for: Some(what),
            tries,
            again,
            ..StartTrouble::met(error, &self.folder)
        });
        self.begins_to_wait();
    }

    /// Tries again after a pause, until the last try: then the messages are dead letters.
    async fn count_failure(&mut self, error: &LaunchError) {
        let starts = self.inner.parts.starts;
        let counted = match self.store().await {
            Ok(store) => {
                let why = error_chain(error);
                store.start_failed(&self.session, self.start.begun, starts, why).await.map_err(LaunchError::Store)
            }
            Err(error) => Err(error),
        };
        match counted {
            Ok(StartEnd::Again(failed)) => {
                self.wait.counted = Some(true);
                let (tries, again) = (failed.count, self.when(&failed));
                let mut trouble = StartTrouble { tries, again, ..StartTrouble::met(error, &self.folder) };
                trouble.blocked.outlook = Outlook::Counted;
                trouble.blocked.message = next_try(&trouble.blocked.message, &failed, starts);
                self.has_trouble(trouble);
            }
            Ok(StartEnd::GaveUp(ended)) => {
                self.tell(Live::Blocked(Blocked { outlook: Outlook::GivenUp, ..error.blocked(&self.folder) }));
                self.gave_up(ended);
            }
            Err(error) => self.wait_for(Surroundings::Disk, &error),
        }
    }

    /// The messages that wait end as dead letters.
    async fn give_up_waiting(&mut self, error: &LaunchError) {
        let what = error_chain(error);
        let given_up = match self.store().await {
            Ok(store) => store
                .give_up_waiting(&self.session, notice::bad_config(&what), what)
                .await
                .map_err(LaunchError::Store),
            Err(error) => Err(error),
        };
        match given_up {
            Ok(ended) => self.gave_up(ended),
            Err(error) => self.wait_for(Surroundings::Disk, &error),
        }
    }

    fn gave_up(&mut self, ended: Vec<Answered>) {
        self.out_of_trouble();
        for answered in ended {
            let outcome = ChatOutcome::Failed { kind: FailureKind::ProviderStart };
            self.ended(answered_live(&answered, outcome), answered.chat.clone());
        }
        // Commands behind them need no container.
        let _ = self.calls.send(Call::Wake);
    }

    fn has_trouble(&mut self, trouble: StartTrouble) {
        self.tell(Live::Blocked(trouble.blocked.clone()));
        self.wait.trouble = Some(trouble);
    }

    /// Goes on with the wait that an earlier daemon began: a restart is no try. Whether it does.
    pub(super) async fn waits_on(&mut self) -> bool {
        if self.wait.counted.is_some() {
            return false;
        }
        let Ok(store) = self.store().await else { return false };
        let Ok(failed) = store.failed_starts(&self.session).await else { return false };
        self.wait.counted = Some(failed.count > 0);
        let again = self.when(&failed);
        if failed.count == 0 || again <= Instant::now() {
            return false;
        }
        let message = next_try(&failed.error, &failed, self.inner.parts.starts);
        let hint = Some("`cofferdam session logs` may have more".to_owned());
        let blocked = Blocked { kind: ErrorKind::Engine, message, hint, outlook: Outlook::Counted };
        let note = Some(blocked.message.clone());
        self.has_trouble(StartTrouble {
            met: Instant::now(),
            waits_for: None,
            tries: failed.count,
            again,
            blocked,
        });
        self.show(note);
        true
    }

    fn when(&self, failed: &FailedStarts) -> Instant {
        let ahead = self.inner.parts.starts.ahead(failed.again_at, now_ms());
        Instant::now() + Duration::from_millis(u64::try_from(ahead).unwrap_or(0))
    }

    /// The start worked. What was counted is forgotten when a turn begins: until then its container may still die.
    pub(super) fn out_of_trouble(&mut self) {
        self.wait.trouble = None;
        self.wait.telling = None;
    }

    /// Nothing waits for a start any more.
    pub(super) async fn forget_trouble(&mut self) {
        let told = self.wait.telling.is_some();
        self.out_of_trouble();
        if (self.wait.counted != Some(true) && !told) || self.store.is_none() {
            return;
        }
        if let Some(store) = &self.store
            && let Err(error) = store.forget_starts(&self.session).await
        {
            tracing::warn!(error = %error_chain(&error), "its failed starts stay counted");
            return;
        }
        self.wait.counted = Some(false);
    }
}

impl StartTrouble {
    /// Met now, for the first time.
    fn met(error: &LaunchError, folder: &Folder) -> Self {
        let now = Instant::now();
        Self { met: now, waits_for: None, tries: 0, again: now, blocked: error.blocked(folder) }
    }
}

/// What failed, and what comes of it.
fn next_try(error: &str, failed: &FailedStarts, starts: Backoff) -> String {
    format!(
        "{error}; start {} of {} failed, the next is at {}",
        failed.count,
        starts.tries,
        rfc3339(failed.again_at)
    )
}
