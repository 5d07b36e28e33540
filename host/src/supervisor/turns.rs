//! The runner's calls to a session's actor: hello, next, events; and what a container's end means for its turn.

use std::time::Duration;

use cofferdam_protocol::admin::{ChatOutcome, SessionState};
use cofferdam_protocol::ids::{Attempt, Seq, TurnId};
use cofferdam_protocol::runner::{
    Batch, BatchMessage, Event, EventBody, FailureKind, Finish, Next, Outcome, Settings, Thread, TurnOptions,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::actor::{Actor, Ending};
use super::launch::{self, LaunchError};
use super::life::Life;
use crate::door::Refused;
use crate::error_chain;
use crate::live::{Ended, Live};
use crate::model::chat::{ChatRef, Due};
use crate::model::notice;
use crate::model::session::PhaseEvent;
use crate::sandbox::Exit;
use crate::store::group::attempts::EndedTurn;
use crate::store::group::inbox::Claimed;
use crate::store::{StoreError, rfc3339};

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
        if let Ok(life) = self.life_of(attempt) {
            life.said_hello = true;
            life.last_sign = Instant::now();
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
                life.parked = Some(reply);
                life.last_sign = Instant::now();
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
        let (Some(store), Some(life)) = (self.store.clone(), &mut self.life) else { return };
        if !life.is_started() {
            // The runner can be quicker than the engine's answer to the start.
            return;
        }
        let Some(parked) = life.parked.take_if(|parked| !parked.is_closed()) else { return };
        let attempt = life.attempt;
        match store.claim(&self.session, attempt).await {
            Ok(Some(claimed)) => self.give(parked, claimed, attempt),
            Ok(None) => {
                life.parked = Some(parked);
                life.is_idle();
                self.inner.with_admission(|admission| admission.idle(&self.session));
            }
            Err(error @ StoreError::Stale { .. }) => {
                tracing::warn!(%error, "the runner is told to stop");
                let _ = parked.send(Next::Stop);
            }
            Err(error) => {
                tracing::error!(error = %error_chain(&error), "messages could not be claimed");
                self.inner.parts.hub.tell(&self.session, Live::Blocked(LaunchError::Store(error).blocked()));
                life.parked = Some(parked);
                life.claim_again = Some(Instant::now() + CLAIM_AGAIN);
            }
        }
    }

    fn give(&mut self, parked: oneshot::Sender<Next>, claimed: Claimed, attempt: Attempt) {
        if self.phase.state() == SessionState::Idle {
            self.advance(PhaseEvent::Claimed);
            self.inner.with_admission(|admission| admission.busy(&self.session));
        }
        let messages: Vec<_> = claimed.messages.iter().map(|message| message.id).collect();
        let batch = Batch {
            turn: claimed.turn,
            work: claimed.work,
            generation: claimed.generation,
            retried: claimed.retried,
            context: String::new(),
            options: TurnOptions { model: None, effort: self.effort(), output_schema: None },
            messages: claimed
                .messages
                .into_iter()
                .map(|message| BatchMessage {
                    id: message.id,
                    sender: message.sender,
                    time: rfc3339(message.accepted_at),
                    text: message.text,
                    files: Vec::new(),
                })
                .collect(),
        };
        tracing::debug!(turn = %batch.turn, messages = messages.len(), "handed out");
        let container = self.life.as_ref().and_then(Life::container_text);
        self.tell(Live::Started { turn: batch.turn, attempt, container, messages });
        if let Some(life) = &mut self.life {
            life.is_busy(batch.turn);
        }
        self.show(None);
        // A runner that is gone asks again and gets the same turn.
        let _ = parked.send(Next::Batch(Box::new(batch)));
    }

    /// ③ and ④.
    pub(super) async fn on_events(&mut self, attempt: Attempt, events: Vec<Event>) -> Result<Seq, Refused> {
        self.life_of(attempt)?.last_sign = Instant::now();
        let mut acked = Seq(0);
        for event in events {
            acked = acked.max(event.seq);
            match event.body {
                EventBody::Delta { text } => self.tell(Live::Delta(text)),
                EventBody::Activity { kind, text } => self.tell(Live::Activity(kind, text)),
                EventBody::Ready { generation, continuation, millis, models: _ } => {
                    self.life_of(attempt)?.provider_ready(millis);
                    let store = self.store.clone().ok_or(Refused::Stale)?;
                    let ready = store.ready(&self.session, attempt, event.seq, generation, continuation);
                    ready.await.map_err(refused)?;
                }
                // Kept from the runner that will send them.
                EventBody::Reply { .. }
                | EventBody::Steered { .. }
                | EventBody::Compacted(_)
                | EventBody::Mcp(_) => tracing::warn!("an event that this host does not keep"),
                EventBody::Finish(finish) => {
                    let turn = event.turn.ok_or_else(|| Refused::Later("a finish without its turn".to_owned()))?;
                    self.on_finish(attempt, event.seq, turn, *finish).await?;
                }
            }
        }
        Ok(acked)
    }

    async fn on_finish(&mut self, attempt: Attempt, seq: Seq, turn: TurnId, finish: Finish) -> Result<(), Refused> {
        // Only the turn that was handed out: a runner that is not itself any more must not end another.
        if self.life_of(attempt)?.turn != Some(turn) {
            tracing::warn!(%turn, "the finish of a turn that does not run was ignored");
            return Ok(());
        }
        let store = self.store.clone().ok_or(Refused::Stale)?;
        let outcome = chat_outcome(&finish.outcome);
        let (usage, provider) = (finish.usage, finish.provider_millis);
        let Some(finished) = store.finish(&self.session, attempt, seq, turn, finish).await.map_err(refused)? else {
            return Ok(());
        };
        let life = self.life_of(attempt)?;
        life.turn = None;
        let mut timings = life.timings.take().unwrap_or_default();
        timings.provider = Some(provider);
        let container = life.container_text();
        tracing::debug!(%turn, ?outcome, "finished");
        self.advance(PhaseEvent::TurnEnded);
        self.show(None);
        self.ended(
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
            [finished.chat],
        );
        Ok(())
    }

    /// Ends a turn that somebody stopped before its runner had begun it or could say that it ended.
    pub(super) async fn interrupt_what_runs(&mut self) {
        let Some((attempt, turn)) = self.life.as_ref().and_then(|life| Some((life.attempt, life.turn?))) else {
            return;
        };
        let finish = Finish::new(Outcome::Interrupted);
        // The attempt's last word: nothing of it is heard after.
        if let Err(error) = self.on_finish(attempt, Seq(i64::MAX), turn, finish).await {
            tracing::error!(%error, %turn, "its interruption was not kept; its messages wait");
        }
    }

    /// Tells that messages ended, and hints that their replies are due.
    fn ended(&self, ended: Ended, chats: impl IntoIterator<Item = ChatRef>) {
        self.tell(Live::Ended(ended));
        for chat in chats {
            (self.inner.parts.deliver)(Due { folder: self.folder.clone(), chat });
        }
    }

    /// Ends the waiting messages in a notice, without a turn.
    pub(super) async fn refuse_waiting(&mut self, text: String, outcome: ChatOutcome) {
        let Some(store) = self.store.clone() else { return };
        match store.refuse_waiting(&self.session, text).await {
            Ok(notices) => {
                let (chats, replies): (Vec<_>, Vec<_>) = notices.into_iter().unzip();
                let ended = Ended {
                    turn: None,
                    attempt: Attempt(0),
                    container: None,
                    messages: Vec::new(),
                    replies,
                    outcome,
                    usage: None,
                    timings: cofferdam_protocol::admin::Timings::default(),
                };
                self.ended(ended, chats);
            }
            Err(error) => tracing::error!(error = %error_chain(&error), "waiting messages could not be told"),
        }
    }

    /// The container is gone: what becomes of its turn.
    pub(super) async fn end_attempt(&mut self, life: &Life, exit: Exit) {
        let Some(store) = self.store.clone() else { return };
        let text = notice::container_gone(&exit.to_string());
        match store.end_attempt(&self.session, life.attempt, life.is_blameless(), text).await {
            Ok(EndedTurn::None) => {}
            Ok(EndedTurn::Requeued(turn)) => tracing::warn!(%turn, "its messages wait for another container"),
            Ok(EndedTurn::GaveUp(turn, messages, chat, reply)) => {
                let ended = Ended {
                    turn: Some(turn),
                    attempt: life.attempt,
                    container: life.container_text(),
                    messages,
                    replies: vec![reply],
                    outcome: ChatOutcome::Failed { kind: FailureKind::ProviderDied },
                    usage: None,
                    timings: life.timings.unwrap_or_default(),
                };
                self.ended(ended, [chat]);
            }
            Err(error) => tracing::error!(error = %error_chain(&error), "the attempt's end was not kept"),
        }
    }

    fn effort(&self) -> Option<String> {
        let life = self.life.as_ref()?;
        life.config.config.effort.map(|effort| effort.as_str().to_owned())
    }

    pub(super) fn life_of(&mut self, attempt: Attempt) -> Result<&mut Life, Refused> {
        self.life.as_mut().filter(|life| life.attempt == attempt).ok_or(Refused::Stale)
    }
}

fn refused(error: StoreError) -> Refused {
    match error {
        StoreError::Stale { .. } | StoreError::TokenTaken | StoreError::NoSession(_) => Refused::Stale,
        error => Refused::Later(error_chain(&error)),
    }
}

fn chat_outcome(outcome: &Outcome) -> ChatOutcome {
    match outcome {
        Outcome::Completed => ChatOutcome::Replied,
        Outcome::Interrupted => ChatOutcome::Interrupted,
        Outcome::Failed(failure) => ChatOutcome::Failed { kind: failure.kind },
    }
}
