//! One message of the terminal, told to one client until its turn's replies were handed over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, Finished, SessionState, Timings};
use cofferdam_protocol::ids::{Attempt, MessageId, ReplyId, SessionId, TurnId};
use cofferdam_protocol::runner::FailureKind;
use tokio::sync::{broadcast, mpsc, watch};

use crate::admin::{Admin, events};
use crate::channels::terminal::{HandOver, Taken};
use crate::fair::Place;
use crate::live::{Ended, Live};
use crate::model::chat::Due;
use crate::model::command::MessageKind;
use crate::model::message::MessageState;
use crate::model::reply::Outbound;
use crate::store::group::views::MessageView;
use crate::store::{GroupDb, StoreError};

/// How often a message that ended looks for replies that another client was handed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often a message that has not ended is looked at: its end is told once, and may have come before we watched.
const LOOK_UP: Duration = Duration::from_secs(15);

/// What a client is told, and, with a reply, who waits to hear that it was.
pub(super) struct Told {
    /// The event's line: small, so that a thousand clients who wait hold little. None when it stands before this one.
    pub line: Option<Bytes>,
    pub taken: Option<Taken>,
}

/// What is followed.
pub(super) struct Followed {
    pub admin: Arc<Admin>,
    /// The chat.
    pub due: Due,
    pub store: Arc<GroupDb>,
    pub message: MessageId,
    /// Its chat's id of it.
    pub platform_id: String,
    pub session: SessionId,
    /// It asks for the end of what runs: that end is its answer.
    pub stop: bool,
    pub accepted_at: Instant,
    pub _place: Place,
}

/// Where it is heard of.
pub(super) struct Sources {
    pub live: broadcast::Receiver<Arc<Live>>,
    pub replies: mpsc::Receiver<HandOver>,
    pub progress: watch::Receiver<Option<String>>,
}

/// Follows one message for one client.
pub(super) struct Follower {
    of: Followed,
    from: Sources,
    events: mpsc::Sender<Told>,
    /// The end, once it is known; told when its replies were handed over.
    ended: Option<Ended>,
    handed_over: BTreeSet<ReplyId>,
    state_said: Option<(SessionState, Option<String>)>,
    look_up_at: tokio::time::Instant,
}

/// The client is gone; its replies wait for the next one.
struct Gone;

impl Follower {
    pub fn new(of: Followed, from: Sources, events: mpsc::Sender<Told>) -> Self {
        let look_up_at = tokio::time::Instant::now() + LOOK_UP;
        Self { of, from, events, ended: None, handed_over: BTreeSet::new(), state_said: None, look_up_at }
    }

    /// Tells all of it, and whether it was sent before.
    pub async fn follow(mut self, duplicate: bool) {
        let told = async {
            let (message, session) = (self.of.message, self.of.session.clone());
            self.tell(ChatEvent::Accepted { message, session, duplicate }).await?;
            // Also for a new message: a quick runner may have finished it before we watched.
            self.look_up(duplicate).await?;
            loop {
                if self.complete().is_some() {
                    // What the agent said before its turn's end is handed over already, but may not be told yet.
                    while let Ok(hand_over) = self.from.replies.try_recv() {
                        self.on_hand_over(hand_over).await?;
                    }
                }
                if let Some(ended) = self.complete() {
                    return self.tell(self.finished(ended)).await;
                }
                self.step().await?;
            }
        };
        // The connection broke, and there is nothing to tell it to; or the group's state is another's.
        if told.await.is_err() {
            let _: Result<(), Gone> = self.last_word().await;
        }
    }

    /// Tells a client that still listens when its message is not in what the group was restored from. Else it is let go, and
    /// sends its message again, which is known by its id.
    async fn last_word(&self) -> Result<(), Gone> {
        let Due { folder, chat } = &self.of.due;
        let store = loop {
            if self.events.is_closed() {
                return Err(Gone);
            }
            match self.of.admin.stores.group(folder).await {
                Ok(store) => break store,
                Err(StoreError::Held { .. }) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(_) => return Err(Gone),
            }
        };
        match store.files_of_known(chat, &self.of.platform_id).await {
            Ok(None) => self.tell(ChatEvent::Restored).await,
            _ => Err(Gone),
        }
    }

    async fn step(&mut self) -> Result<(), Gone> {
        tokio::select! {
            live = self.from.live.recv() => match live {
                Ok(live) => self.on_live(&live).await,
                // The rows know what was missed.
                Err(broadcast::error::RecvError::Lagged(_)) => self.look_up(false).await,
                Err(broadcast::error::RecvError::Closed) => Err(Gone),
            },
            hand_over = self.from.replies.recv() => match hand_over {
                Some(hand_over) => self.on_hand_over(hand_over).await,
                None => self.attach_again().await,
            },
            Ok(()) = self.from.progress.changed() => {
                let text = self.from.progress.borrow_and_update().clone();
                self.tell(ChatEvent::Progress { text }).await
            }
            () = tokio::time::sleep(LOOK_AGAIN), if self.ended.is_some() => self.catch_up().await,
            () = tokio::time::sleep_until(self.look_up_at), if self.ended.is_none() => {
                self.look_up_at = tokio::time::Instant::now() + LOOK_UP;
                self.look_up(false).await
            }
            () = self.events.closed() => Err(Gone),
        }
    }

    async fn on_live(&mut self, live: &Live) -> Result<(), Gone> {
        match live {
            Live::State(state, note) => {
                let now = (*state, note.clone());
                if self.state_said.as_ref() == Some(&now) {
                    return Ok(());
                }
                self.state_said = Some(now);
                self.tell(ChatEvent::State { state: *state, note: note.clone() }).await
            }
            Live::Blocked(blocked) => {
                self.tell(ChatEvent::Blocked {
                    kind: blocked.kind,
                    message: blocked.message.clone(),
                    hint: blocked.hint.clone(),
                    outlook: blocked.outlook,
                })
                .await
            }
            Live::Started { turn, attempt, container, messages } if messages.contains(&self.of.message) => {
                let (turn, attempt, container) = (*turn, *attempt, container.clone());
                self.tell(ChatEvent::Started { turn, attempt, container }).await
            }
            Live::Retrying { turn, at, messages } if messages.contains(&self.of.message) => {
                self.tell(ChatEvent::Retrying { turn: *turn, at: at.clone() }).await
            }
            Live::Delta(text) => self.tell(ChatEvent::Delta { text: text.clone() }).await,
            Live::Activity(kind, text) => self.tell(ChatEvent::Activity { kind: *kind, text: text.clone() }).await,
            Live::Ended(ended) if ended.messages.contains(&self.of.message) => {
                self.row().await?;
                self.ended.get_or_insert_with(|| ended.clone());
                self.catch_up().await
            }
            Live::Started { .. } | Live::Working { .. } | Live::Retrying { .. } | Live::Ended(_) => Ok(()),
        }
    }

    /// A reply that its channel has, or that others were handed.
    async fn on_reply(&mut self, reply: Outbound) -> Result<(), Gone> {
        if !self.handed_over.insert(reply.id) {
            return Ok(());
        }
        self.tell(events::of(reply)).await
    }

    /// A reply that is ours to take.
    async fn on_hand_over(&mut self, HandOver { reply, taken }: HandOver) -> Result<(), Gone> {
        // One that comes again, because our client did not read, is taken when its line was: that may still wait.
        let first = self.handed_over.insert(reply.id);
        let line = first.then(|| line(&events::of(Arc::unwrap_or_clone(reply))));
        self.events.send(Told { line, taken: Some(taken) }).await.map_err(|_| Gone)
    }

    /// Our client did not read for a while, and does again. What nobody was handed comes to us now; what others were, the
    /// rows know.
    async fn attach_again(&mut self) -> Result<(), Gone> {
        // Every place is free when it has read what it was told.
        let read = self.events.reserve_many(self.events.max_capacity()).await;
        read.map(drop).map_err(|_| Gone)?;
        self.from.replies = self.of.admin.terminal.attach(self.of.due.chat.clone());
        self.of.admin.delivery.nudge(self.of.due.clone());
        self.catch_up().await
    }

    /// Tells what the message's turn said before we came, or while our connection was broken: others were handed it.
    async fn catch_up(&mut self) -> Result<(), Gone> {
        while let Ok(hand_over) = self.from.replies.try_recv() {
            self.on_hand_over(hand_over).await?;
        }
        if self.complete().is_some() {
            return Ok(());
        }
        match self.ended.as_ref().map(|ended| ended.turn) {
            Some(Some(turn)) => self.tell_delivered(turn).await,
            Some(None) => {
                for reply in self.answers().await.0 {
                    self.on_reply(reply).await?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What answered the message: what its channel has, and what it has yet to be handed.
    async fn answers(&self) -> (Vec<Outbound>, Vec<ReplyId>) {
        let answers = self.of.store.answers_to(self.of.message).await.unwrap_or_default();
        let Some(chat) = answers.first().map(|reply| reply.chat.clone()) else { return Default::default() };
        let due = self.of.store.due_of(&chat).await.unwrap_or_default();
        let (due, told): (Vec<_>, Vec<_>) = answers.into_iter().partition(|reply| due.contains(&reply.id));
        (told, due.into_iter().map(|reply| reply.id).collect())
    }

    async fn tell_delivered(&mut self, turn: TurnId) -> Result<(), Gone> {
        for reply in self.of.store.delivered_of(turn).await.unwrap_or_default() {
            self.on_reply(reply).await?;
        }
        Ok(())
    }

    /// The message's row; none when it cannot be read just now. A group that was restored or removed meanwhile has another
    /// database, where the message's number may be another's.
    async fn row(&self) -> Result<Option<MessageView>, Gone> {
        match self.of.store.message(self.of.message).await {
            Err(StoreError::Closed) => Err(Gone),
            row => Ok(row.ok().flatten()),
        }
    }

    /// Reads how the message stands. The replies of one that was sent before may have gone to a connection that broke;
    /// those of a new one come to us.
    async fn look_up(&mut self, sent_before: bool) -> Result<(), Gone> {
        let Some(view) = self.row().await? else { return Ok(()) };
        if self.ended.is_some() {
            return Ok(());
        }
        if view.state != MessageState::Done {
            return match turn_of(&view).filter(|_| sent_before) {
                Some(turn) => self.tell_delivered(turn).await,
                None => Ok(()),
            };
        }
        let mut coming = Vec::new();
        let (told, due) = self.answers().await;
        for reply in told {
            if sent_before {
                self.on_reply(reply).await?;
            } else {
                coming.push(reply.id);
            }
        }
        // Delivery hands them to us; told from here they would be due again for the next client.
        coming.extend(due);
        self.ended = Some(ended(view, self.of.message, coming));
        Ok(())
    }

    /// The end, when all its replies were handed over.
    fn complete(&self) -> Option<&Ended> {
        self.ended.as_ref().filter(|ended| ended.replies.iter().all(|reply| self.handed_over.contains(reply)))
    }

    fn finished(&self, ended: &Ended) -> ChatEvent {
        let mut timings_ms = ended.timings;
        timings_ms.total = self.of.accepted_at.elapsed().as_secs_f64() * 1e3;
        let outcome = if self.of.stop { ChatOutcome::Replied } else { ended.outcome.clone() };
        ChatEvent::Finished(Finished {
            session: self.of.session.clone(),
            turn: ended.turn,
            attempt: ended.attempt,
            container: ended.container.clone(),
            outcome,
            usage: ended.usage,
            timings_ms,
        })
    }

    async fn tell(&self, event: ChatEvent) -> Result<(), Gone> {
        self.events.send(Told { line: Some(line(&event)), taken: None }).await.map_err(|_| Gone)
    }
}

/// An event as it goes to the client's socket.
fn line(event: &ChatEvent) -> Bytes {
    let mut text = serde_json::to_vec(event).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

/// The turn that a message is in. One that waits may be noted at a turn that it was only offered to.
fn turn_of(view: &MessageView) -> Option<TurnId> {
    view.turn.as_ref().filter(|_| view.state != MessageState::Pending).map(|turn| turn.id)
}

/// How a message that is done ended, as its rows say.
fn ended(view: MessageView, message: MessageId, replies: Vec<ReplyId>) -> Ended {
    let turn = view.turn;
    let outcome = match &turn {
        Some(turn) => turn.outcome.clone(),
        None => (view.kind != MessageKind::Message).then_some(ChatOutcome::Replied),
    };
    Ended {
        turn: turn.as_ref().map(|turn| turn.id),
        attempt: turn.as_ref().map_or(Attempt(0), |turn| turn.attempt),
        container: None,
        messages: vec![message],
        replies,
        outcome: outcome.unwrap_or(ChatOutcome::Failed { kind: FailureKind::Other }),
        usage: turn.as_ref().and_then(|turn| turn.usage),
        timings: Timings { provider: turn.and_then(|turn| turn.provider_ms), ..Default::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::group::views::TurnView;

    #[test]
    fn a_message_that_waits_is_in_no_turn() {
        let turn = TurnView { id: TurnId(7), attempt: Attempt(1), outcome: None, usage: None, provider_ms: None };
        let view = |state| MessageView { state, kind: MessageKind::Message, turn: Some(turn.clone()) };
        assert_eq!(turn_of(&view(MessageState::Pending)), None, "only offered to it");
        assert_eq!(turn_of(&view(MessageState::Claimed)), Some(TurnId(7)));
    }
}
