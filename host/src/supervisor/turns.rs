//! The runner's calls to a session's actor: hello and next; a turn's end, and what a container's end means for its turn.

use std::time::Duration;

use cofferdam_protocol::admin::{ChatOutcome, SessionState, Timings};
use cofferdam_protocol::ids::{Attempt, Seq, TurnId};
use cofferdam_protocol::runner::{Failure, FailureKind, Finish, Next, Outcome, Settings, Thread};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::actor::{Actor, Ending};
use super::answered_live;
use super::conversation::batch_of;
use super::launch::{self, LaunchError};
use super::life::Life;
use super::lock;
use crate::config::group::GroupConfig;
use crate::config::pool::Serving;
use crate::door::Refused;
use crate::error_chain;
use crate::gateway::Caller;
use crate::hooks;
use crate::live::{Ended, Live};
use crate::model::chat::{ChatRef, Due};
use crate::model::notice;
use crate::model::outage::GoneBy;
use crate::model::session::PhaseEvent;
use crate::sandbox::Exit;
use crate::store::group::attempts::EndedTurn;
use crate::store::group::claim::{Claim, Claimed};
use crate::store::group::closing::End;
use crate::store::group::inbox::Answered;
use crate::store::group::models::Inherited;
use crate::store::{GroupDb, StoreError, rfc3339};

/// The pause after a claim that the store refused, such as with a full disk.
const CLAIM_AGAIN: Duration = Duration::from_secs(1);

impl Actor {
    pub(super) async fn on_hello(
        &mut self,
        attempt: Attempt,
        token_hash: Vec<u8>,
    ) -> Result<(Thread, Settings), Refused> {
        let Some(store) = self.store.clone() else { return Err(Refused::Stale) };
        let life = self.life_of(attempt)?;
        let settings_config = life.config.clone();
        let thread = store.hello(&self.session, attempt, token_hash).await.map_err(refused)?;
        hooks::crash_point("hello.after_commit");
        if let Ok(life) = self.life_of(attempt) {
            life.runner.said_hello = true;
            life.runner.last_sign = Instant::now();
        }
        self.advance(PhaseEvent::Hello);
        self.out_of_trouble();
        self.show(None);
        Ok((thread, launch::settings_of(&self.inner, &settings_config.config)))
    }

    pub(super) async fn on_next(&mut self, attempt: Attempt, reply: oneshot::Sender<Next>) {
        let stopping = self.phase.state() == SessionState::Stopping;
        match self.life_of(attempt) {
            Ok(life) if !stopping => {
                life.runner.parked = Some(reply);
                life.runner.last_sign = Instant::now();
            }
            _ => {
                let _ = reply.send(Next::Stop);
                return;
            }
        }
        self.hand_out().await;
    }

    /// ② Gives the runner a turn, if it asks for one and messages wait.
    pub(super) async fn hand_out(&mut self) {
        if self.ending != Ending::No && self.phase.state() == SessionState::Idle {
            self.stop_idle("the daemon ends").await;
            return;
        }
        if self.makes_room() {
            self.stop_idle("others wait for its place").await;
            return;
        }
        let (Some(store), Some(life)) = (self.store.clone(), &mut self.life) else { return };
        if !life.is_started() {
            // The runner can be quicker than the engine's answer to the start.
            return;
        }
        let Some(parked) = life.runner.parked.take_if(|parked| !parked.is_closed()) else { return };
        let attempt = life.attempt;
        let config = life.config.clone();
        let inherited = self.inherited(&config.config);
        match self.claim(&store, attempt, inherited).await {
            Ok(Claim::Turn(claimed)) => {
                hooks::crash_point("claim.after_commit");
                self.give(parked, *claimed, attempt, &config.config);
            }
            Ok(Claim::Nothing(next)) => {
                self.wait_until(next);
                let Some(life) = &mut self.life else { return };
                life.runner.parked = Some(parked);
                life.work.is_idle();
                self.inner.with_admission(|admission| admission.idle(&self.session));
            }
            // Commands that come faster than they are done: the next look goes on with them.
            Ok(Claim::Commands) => self.claim_later(parked),
            Err(error) if matches!(error, StoreError::Stale { .. }) || error.is_set_aside() => {
                tracing::warn!(%error, "the runner is told to stop");
                let _ = parked.send(Next::Stop);
            }
            Err(error) => {
                tracing::error!(error = %error_chain(&error), "messages could not be claimed");
                self.tell(Live::Blocked(LaunchError::Store(error).blocked(&self.folder)));
                self.claim_later(parked);
            }
        }
    }

    /// Whether it has to give up its place between two turns. Its messages wait, and it asks for a place again.
    fn makes_room(&self) -> bool {
        // Not before its first turn here: a start that took long must not be for nothing.
        let since = self.life.as_ref().and_then(|life| life.work.serving_since);
        self.phase.state() == SessionState::Idle
            && since.is_some_and(|since| lock(&self.inner.admission).yields(&self.session, since.elapsed()))
    }

    async fn claim(
        &mut self,
        store: &GroupDb,
        attempt: Attempt,
        inherited: Inherited,
    ) -> Result<Claim, StoreError> {
        let claim = store.claim(&self.session, attempt, inherited.clone()).await?;
        if !matches!(claim, Claim::Commands) {
            return Ok(claim);
        }
        let answered = store.do_commands(&self.session, inherited.clone()).await?;
        self.answered(answered);
        store.claim(&self.session, attempt, inherited).await
    }

    fn claim_later(&mut self, parked: oneshot::Sender<Next>) {
        let Some(life) = &mut self.life else { return };
        life.runner.parked = Some(parked);
        life.work.claim_again = Some(Instant::now() + CLAIM_AGAIN);
    }

    fn give(&mut self, parked: oneshot::Sender<Next>, claimed: Claimed, attempt: Attempt, config: &GroupConfig) {
        if self.phase.state() == SessionState::Idle {
            self.advance(PhaseEvent::Claimed);
            self.inner.with_admission(|admission| admission.busy(&self.session));
        }
        let messages: Vec<_> = claimed.messages.iter().map(|message| message.id).collect();
        let due = Due { folder: self.folder.clone(), chat: claimed.chat.clone() };
        let account = claimed.account.as_deref().and_then(|account| account.parse().ok());
        let batch = batch_of(claimed, config);
        tracing::debug!(turn = %batch.turn, messages = messages.len(), "handed out");
        let container = self.life.as_ref().and_then(|life| life.container.text());
        // Before its runner has the turn, and so before its calls.
        self.inner.parts.gateway.pin(&self.session, account);
        self.tell(Live::Started { turn: batch.turn, attempt, container, messages });
        self.tell(Live::Working { turn: batch.turn, due });
        if let Some(life) = &mut self.life {
            life.is_busy(batch.turn);
        }
        self.show(None);
        // A runner that is gone asks again and gets the same turn.
        let _ = parked.send(Next::Batch(Box::new(batch)));
    }

    pub(super) async fn on_finish(
        &mut self,
        attempt: Attempt,
        seq: Seq,
        turn: TurnId,
        mut finish: Finish,
    ) -> Result<(), Refused> {
        // Only the turn that was handed out: a runner that is not itself any more must not end another.
        let life = self.life_of(attempt)?;
        if life.work.turn != Some(turn) {
            tracing::warn!(%turn, "the finish of a turn that does not run was ignored");
            return Ok(());
        }
        let (zone, serving) = (life.config.config.zone(), life.config.config.serving());
        if let Outcome::Failed(failure) = &mut finish.outcome {
            self.with_reset(failure, serving);
        }
        let store = self.store.clone().ok_or(Refused::Stale)?;
        let (usage, provider) = (finish.usage, finish.provider_millis);
        let silent = matches!(&finish.outcome, Outcome::Failed(failure) if failure.kind == FailureKind::Silence);
        let finished = store.finish(&self.session, attempt, seq, turn, finish, zone).await.map_err(refused);
        let finished = finished.inspect_err(|refused| tell_kept(turn, refused))?;
        hooks::crash_point("finish.after_commit");
        let Some(finished) = finished else { return Ok(()) };
        let life = self.life_of(attempt)?;
        life.turn_ended();
        let mut timings = life.work.timings.take().unwrap_or_default();
        timings.provider = Some(provider);
        let container = life.container.text();
        tracing::debug!(%turn, end = ?finished.end, "finished");
        self.advance(PhaseEvent::TurnEnded);
        self.show(None);
        self.answered(finished.elsewhere);
        match finished.end {
            End::Again(at) => {
                // Its end tells the timings of the start.
                self.keep_timings(attempt, timings);
                self.tell(Live::Retrying { turn, at: rfc3339(at), messages: finished.messages });
                self.deliver(finished.chat);
            }
            End::Done(outcome) => self.ended(
                Ended {
                    turn: Some(turn),
                    attempt,
                    container,
                    messages: finished.messages,
                    replies: finished.replies,
                    outcome,
                    usage,
                    timings,
                },
                finished.chat,
            ),
        }
        if silent && self.phase.state() == SessionState::Idle {
            // Whatever hung in it goes with it; the next message goes on with the thread in another.
            self.stop_idle("nothing moved in its turn").await;
        }
        Ok(())
    }

    /// Tells when a limit ends that Codex was told nothing of, as far as the gateway knows.
    fn with_reset(&self, failure: &mut Failure, serving: Serving) {
        if failure.kind == FailureKind::RateLimited && failure.resets_at.is_none() {
            let caller = Caller { group: self.folder.clone(), session: self.session.clone(), serving };
            let until = self.inner.parts.gateway.limited_until(&caller);
            failure.resets_at = until.and_then(|at| u64::try_from(at / 1000 + 1).ok());
        }
    }

    /// Ends a turn whose runner said nothing at all, not even that nothing moves; then its container.
    pub(super) async fn end_silent_turn(&mut self) {
        let Some(life) = &self.life else { return };
        let secs = life.config.config.timeouts.silence_secs;
        tracing::warn!(secs, "the runner says nothing; its turn is ended and its container replaced");
        let message = format!("nothing was heard of the turn for {secs} s");
        self.end_what_runs(Outcome::Failed(Failure::new(FailureKind::Silence, message))).await;
        if self.phase.state() != SessionState::Stopping {
            // Its end could not be kept: its messages wait, and are told with the container's.
            self.advance(PhaseEvent::Stop);
        }
        self.kill(Duration::from_secs(1), false);
    }

    fn keep_timings(&mut self, attempt: Attempt, timings: Timings) {
        if let Ok(life) = self.life_of(attempt) {
            life.work.timings = Some(timings);
        }
    }

    /// Ends a turn that somebody stopped before its runner had begun it or could say that it ended.
    pub(super) async fn interrupt_what_runs(&mut self) {
        self.end_what_runs(Outcome::Interrupted).await;
    }

    /// Ends the running turn in its runner's place.
    async fn end_what_runs(&mut self, outcome: Outcome) {
        let Some((attempt, turn)) = self.life.as_ref().and_then(|life| Some((life.attempt, life.work.turn?)))
        else {
            return;
        };
        let finish = Finish::new(outcome);
        // The attempt's last word: nothing of it is heard after.
        if let Err(error) = self.on_finish(attempt, Seq(i64::MAX), turn, finish).await {
            tracing::error!(%error, %turn, "its end was not kept; its messages wait");
        }
    }

    /// Tells that messages ended, and hints that their replies are due.
    pub(super) fn ended(&self, ended: Ended, chat: ChatRef) {
        self.tell(Live::Ended(ended));
        self.deliver(chat);
    }

    /// Hints that a chat's replies are due.
    pub(super) fn deliver(&self, chat: ChatRef) {
        (self.inner.parts.deliver)(Due { folder: self.folder.clone(), chat });
    }

    /// The container is gone: what becomes of its turn.
    pub(super) async fn end_attempt(&mut self, life: &Life, exit: Exit) {
        let Some(store) = self.store.clone() else { return };
        let text = if exit.oom {
            notice::out_of_memory(life.config.config.limits.memory_mb)
        } else {
            notice::container_gone(&exit.to_string())
        };
        let by = match life.end.gone_by(exit.outage) {
            // A host that is shut down ends the engine with us.
            GoneBy::Outage if self.ending != Ending::No => GoneBy::Plan,
            by => by,
        };
        let ended = store.end_attempt(&self.session, life.attempt, by, text).await;
        hooks::crash_point("ended.after_commit");
        match ended {
            Ok(EndedTurn::None) => {}
            Ok(EndedTurn::Requeued(turn)) => tracing::warn!(%turn, "its messages wait for another container"),
            Ok(EndedTurn::Paused(turn, messages, chat, at)) => {
                let at = rfc3339(at);
                tracing::warn!(%turn, at, "outages ended it again and again; its messages wait");
                self.tell(Live::Retrying { turn, at, messages });
                self.deliver(chat);
            }
            Ok(EndedTurn::GaveUp(turn, messages, chat, reply)) => {
                let outcome = ChatOutcome::Failed { kind: FailureKind::ProviderDied };
                self.ended_with(life, turn, Answered { messages, chat, reply }, outcome);
            }
            Ok(EndedTurn::Stopped(turn, answered, elsewhere)) => {
                self.answered(elsewhere);
                self.ended_with(life, turn, answered, ChatOutcome::Interrupted);
            }
            Err(error) => tracing::error!(error = %error_chain(&error), "the attempt's end was not kept"),
        }
    }

    /// The end of a turn whose container said nothing of it.
    fn ended_with(&self, life: &Life, turn: TurnId, answered: Answered, outcome: ChatOutcome) {
        let ended = Ended {
            turn: Some(turn),
            attempt: life.attempt,
            container: life.container.text(),
            timings: life.work.timings.unwrap_or_default(),
            ..answered_live(&answered, outcome)
        };
        self.ended(ended, answered.chat);
    }

    pub(super) fn life_of(&mut self, attempt: Attempt) -> Result<&mut Life, Refused> {
        self.life.as_mut().filter(|life| life.attempt == attempt).ok_or(Refused::Stale)
    }
}

/// Says that a turn's end is its runner's to tell again.
fn tell_kept(turn: TurnId, refused: &Refused) {
    if let Refused::Later(why) = refused {
        tracing::warn!(%turn, %why, "the turn's end cannot be kept now; its runner keeps it and tells it again");
    }
}

pub(super) fn refused(error: StoreError) -> Refused {
    match error {
        StoreError::Stale { .. } | StoreError::TokenTaken | StoreError::NoSession(_) => Refused::Stale,
        // Nothing of this session is kept any more.
        error if error.is_set_aside() => Refused::Stale,
        error => Refused::Later(error_chain(&error)),
    }
}
