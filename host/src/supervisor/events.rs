//! What a runner reports: kept by the store, told to whoever watches.

use cofferdam_protocol::ids::{Attempt, MessageId, Seq, TurnId};
use cofferdam_protocol::runner::{ActivityKind, Event, EventBody};

use super::actor::Actor;
use super::bounds::bounded;
use super::turns::refused;
use crate::door::Refused;
use crate::hooks;
use crate::live::Live;
use crate::store::group::turns::Ready;

impl Actor {
    /// ③, ④ and what lies between.
    pub(super) async fn on_event(&mut self, attempt: Attempt, event: Event) -> Result<(), Refused> {
        let store = self.store.clone().ok_or(Refused::Stale)?;
        let seq = event.seq;
        // A batch that could not be kept comes again; what is only shown was shown.
        let shown = !self.life_of(attempt)?.runner.is_news(seq);
        match bounded(event.body)? {
            EventBody::Delta { .. } | EventBody::Activity { .. } if shown => {}
            EventBody::Delta { text } => self.tell(Live::Delta(text)),
            EventBody::Activity { kind, text } => {
                if kind == ActivityKind::Compacting {
                    self.show(Some("compacts the conversation".to_owned()));
                }
                self.tell(Live::Activity(kind, text));
            }
            EventBody::Ready { generation, continuation, millis, models } => {
                self.life_of(attempt)?.provider_ready(millis);
                let ready = Ready { generation, continuation, models };
                store.ready(&self.session, attempt, seq, ready).await.map_err(refused)?;
                hooks::crash_point("ready.after_commit");
            }
            EventBody::Reply { text } => {
                let turn = turn_of(event.turn)?;
                let reply = store.reply(&self.session, attempt, seq, turn, text).await.map_err(refused)?;
                if let Some((chat, _)) = reply {
                    self.deliver(chat);
                }
            }
            EventBody::Steered { messages } => {
                let turn = turn_of(event.turn)?;
                self.on_steered(attempt, seq, turn, messages).await?;
            }
            EventBody::Compacted(compaction) => {
                tracing::info!(cause = ?compaction.cause, outcome = ?compaction.outcome, "compacted");
                store.compacted(&self.session, attempt, seq, compaction).await.map_err(refused)?;
                // No more of it is to be noted.
                self.show(None);
            }
            EventBody::Mcp(state) if !self.life_of(attempt)?.has_server(&state.name) => {}
            EventBody::Mcp(state) => {
                let told = store.mcp_state(&self.session, attempt, seq, state).await.map_err(refused)?;
                if let Some((chat, _)) = told {
                    self.deliver(chat);
                }
            }
            EventBody::Finish(finish) => {
                self.on_finish(attempt, seq, turn_of(event.turn)?, *finish).await?;
            }
        }
        Ok(())
    }

    async fn on_steered(
        &mut self,
        attempt: Attempt,
        seq: Seq,
        turn: TurnId,
        messages: Vec<MessageId>,
    ) -> Result<(), Refused> {
        let store = self.store.clone().ok_or(Refused::Stale)?;
        let taken = store.steered(&self.session, attempt, seq, turn, messages).await.map_err(refused)?;
        if !taken.is_empty() {
            tracing::debug!(%turn, messages = taken.len(), "steered");
            let container = self.life.as_ref().and_then(|life| life.container.text());
            self.tell(Live::Started { turn, attempt, container, messages: taken });
        }
        Ok(())
    }
}

/// The turn of an event that is always a turn's.
fn turn_of(turn: Option<TurnId>) -> Result<TurnId, Refused> {
    turn.ok_or_else(|| Refused::Malformed("an event of a turn without its turn".to_owned()))
}
