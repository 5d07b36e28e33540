//! A container that another daemon started, or an actor of this one that broke: served from the rows, then confirmed.

use std::time::Duration;

use cofferdam_protocol::admin::{ChatOutcome, SessionState};
use cofferdam_protocol::ids::Attempt;
use cofferdam_protocol::runner::FailureKind;
use tokio::time::Instant;

use super::actor::{Actor, Ending};
use super::answered_live;
use super::ends::STOP_GRACE;
use super::launch::{self, LaunchError};
use super::life::Life;
use crate::door::Door;
use crate::error_chain;
use crate::live::{Ended, Live};
use crate::model::outage::{GoneBy, WantedBy};
use crate::model::session::PhaseEvent;
use crate::sandbox::{Exit, Running};
use crate::store::group::attempts::{EndedTurn, SessionRow};
use crate::store::group::inbox::Answered;
use crate::store::{GroupDb, StoreError, rfc3339};

/// What a session in doubt says.
pub(super) const IN_DOUBT: &str = "waits for the Docker engine to say whether its container still runs";

impl Actor {
    /// Once in an actor's life, before anything else: an attempt that has not ended in the rows may have a container
    /// that still runs. Its door is opened, so that its runner can go on, and the engine is asked.
    pub(super) async fn arrive(&mut self) {
        if self.arrived {
            return;
        }
        match self.look_back().await {
            Ok(()) => {
                self.arrived = true;
                if self.life.is_none() {
                    Door::clear(&self.inner.parts.home.door(&self.session));
                }
            }
            Err(LaunchError::Store(StoreError::NoSession(_))) => self.arrived = true,
            // Whatever it is asked now says that its database cannot be used.
            Err(error) => tracing::warn!(error = %error_chain(&error), "what it did last could not be read"),
        }
    }

    async fn look_back(&mut self) -> Result<(), LaunchError> {
        let store = self.store().await?;
        let row = store.session(&self.session).await?;
        if row.container.is_none() && row.token_hash.is_none() {
            return Ok(());
        }
        let attempt = row.attempt;
        match self.life_from(row).await {
            Ok(Some(life)) => self.live_on(life),
            // Its runner never spoke, or cannot any more: as if it were gone with an outage ([`crate::model::outage`]).
            Ok(None) => self.given_up(&store, attempt).await?,
            Err(error) => {
                tracing::warn!(%attempt, error = %error_chain(&error), "its runner cannot be reached any more");
                self.given_up(&store, attempt).await?;
            }
        }
        Ok(())
    }

    /// An attempt ends in the rows; its container, if there is one, is found by the engine's next list and removed.
    async fn given_up(&mut self, store: &GroupDb, attempt: Attempt) -> Result<(), StoreError> {
        self.inner.wipe_copy(&self.folder, &self.session).await;
        let ended = store.end_attempt(&self.session, attempt, GoneBy::Outage, String::new()).await?;
        self.inner.recovery.list_again();
        let (turn, answered, outcome) = match ended {
            EndedTurn::None | EndedTurn::Requeued(_) => return Ok(()),
            EndedTurn::Paused(turn, messages, chat, at) => {
                self.tell(Live::Retrying { turn, at: rfc3339(at), messages });
                self.deliver(chat);
                return Ok(());
            }
            EndedTurn::GaveUp(turn, messages, chat, reply) => {
                let outcome = ChatOutcome::Failed { kind: FailureKind::ProviderDied };
                (turn, Answered { messages, chat, reply }, outcome)
            }
            EndedTurn::Stopped(turn, answered, elsewhere) => {
                self.answered(elsewhere);
                (turn, answered, ChatOutcome::Interrupted)
            }
        };
        let ended = Ended { turn: Some(turn), attempt, ..answered_live(&answered, outcome) };
        self.ended(ended, answered.chat);
        Ok(())
    }

    /// The life of the attempt in the row, if its runner can speak for itself.
    async fn life_from(&mut self, row: SessionRow) -> Result<Option<Life>, LaunchError> {
        let Some(token_hash) = row.token_hash.clone() else { return Ok(None) };
        let config = match launch::load_config(&self.inner, &self.folder).await {
            Ok(config) => config,
            Err(error) => {
                // It runs already, with what the file said when it was good; only the time-outs are read from here.
                tracing::warn!(error = %error_chain(&error), "goes on with the usual time-outs");
                launch::usual_config()
            }
        };
        let (inner, calls) = (&self.inner, &self.calls);
        inner.parts.gateway.pin(&self.session, row.account.as_deref().and_then(|account| account.parse().ok()));
        let door = launch::open_door(inner, &self.folder, &self.session, row.attempt, Some(token_hash), calls);
        Ok(Some(Life::in_doubt(row, config, door.map_err(LaunchError::Door)?)))
    }

    fn live_on(&mut self, life: Life) {
        tracing::info!(attempt = %life.attempt, turn = life.work.turn.is_some(), "its door is open for a runner that may live");
        let (folder, session) = (&self.folder, self.session.clone());
        self.inner.with_admission(|admission| {
            admission.adopt(folder, session);
            Vec::new()
        });
        self.inner.recovery.doubt(&self.folder, &self.session, life.attempt);
        let busy = life.work.turn.is_some();
        self.life = Some(life);
        self.advance(PhaseEvent::Adopted);
        if busy {
            self.advance(PhaseEvent::Claimed);
        }
        self.show(None);
    }

    /// The engine has the attempt's container.
    pub(super) async fn on_adopt(&mut self, attempt: Attempt, running: Running) {
        self.inner.recovery.no_doubt(&self.session, attempt);
        let Some(life) = self.life.as_mut().filter(|life| life.attempt == attempt) else {
            // It ended in the rows meanwhile.
            self.inner.remove_unwatched(running.id);
            return;
        };
        if !life.container.is_in_doubt() {
            // Two lists found it before we heard of the first.
            return;
        }
        tracing::info!(%attempt, container = %running.id, turn = life.work.turn.is_some(), "adopted");
        life.confirmed(running);
        let wanted = life.end.wanted;
        self.show(None);
        match (wanted, self.phase.state()) {
            (_, SessionState::Stopping) => self.kill(STOP_GRACE, self.ending != Ending::No),
            (Some(WantedBy::Person), _) => {
                tracing::info!(%attempt, "a person wanted its end of the daemon before this one");
                self.advance(PhaseEvent::Stop);
                self.kill(STOP_GRACE, false);
                self.show(None);
            }
            (Some(WantedBy::Daemon), _) => self.goes_on_after_all().await,
            (None, _) => {}
        }
    }

    /// The daemon that wanted its end is gone, and it is still there.
    async fn goes_on_after_all(&mut self) {
        let (Some(life), Some(store)) = (&mut self.life, &self.store) else { return };
        life.end.wanted = None;
        if let Err(error) = store.want_end(&self.session, life.attempt, None).await {
            tracing::warn!(error = %error_chain(&error), "an outage under its turn will be taken for our own doing");
        }
    }

    /// The engine has no container of the attempt: back to waiting, and counted as an outage, unless the rows say that
    /// somebody wanted it gone.
    pub(super) async fn on_not_there(&mut self, attempt: Attempt) {
        self.inner.recovery.no_doubt(&self.session, attempt);
        let Some(life) = self.life.as_mut().filter(|life| life.attempt == attempt && life.container.is_in_doubt())
        else {
            return;
        };
        life.end.outage = !life.end.broken;
        life.being_killed(Instant::now(), false);
        self.on_exit(Exit::default()).await;
    }

    /// An actor before this one broke. Its container goes: what it was told is not known any more. That counts as a try,
    /// so that what breaks every actor ends in words.
    pub(super) fn on_broken(&mut self) {
        if let Some(life) = self.life.as_mut().filter(|life| life.container.is_in_doubt()) {
            // Its turn must not break this actor too.
            life.close();
            life.end.broken = true;
            self.advance(PhaseEvent::Stop);
            self.kill(Duration::ZERO, false);
            self.show(Some("its part of the daemon broke; the container is replaced".to_owned()));
        }
    }
}
