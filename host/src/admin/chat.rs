//! The terminal's messages: accepted durably, then followed until their turn's replies were handed over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, ErrorKind, Finished};
use cofferdam_protocol::ids::{Folder, MessageId, ReplyId, TurnId};
use cofferdam_protocol::runner::FailureKind;
use futures_util::StreamExt;
use tokio::sync::{broadcast, mpsc, watch};

use super::Admin;
use super::answers::no_group;
use super::error::Failed;
use super::intake::Admitted;
use super::{events, files, schema};
use crate::channels::terminal::{self, HandOver, Taken};
use crate::fair::Place;
use crate::live::{Ended, Live};
use crate::model::chat::{ChatRef, Due, Inbound};
use crate::model::command::{Command, MessageKind};
use crate::model::message::MessageState;
use crate::model::reply::Outbound;
use crate::router::{self, DropReason, MAX_MESSAGE_BYTES, Routed};
use crate::store::GroupDb;
use crate::store::group::views::MessageView;

/// How often a message that ended looks for replies that another client was handed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Events that a slow client may be behind before the daemon waits for it.
const BACKLOG: usize = 256;

pub(super) async fn chat(
    State(admin): State<Arc<Admin>>,
    Admitted { request, accepting, following }: Admitted,
) -> Result<Response, Failed> {
    let chat = ChatRef {
        channel: terminal::NAME.to_owned(),
        chat_id: request.group.to_string(),
        thread_id: request.thread.clone(),
    };
    let mut inbound = Inbound {
        chat: chat.clone(),
        platform_id: request.message_id,
        sender: request.sender,
        text: request.text,
        output_schema: schema::checked(request.schema)?,
        files: Vec::new(),
    };
    // A message that is refused leaves no file in the workspace.
    if !request.files.is_empty() {
        if let Some(reason) = router::before_files(&admin.stores, &inbound).await? {
            return Err(dropped(reason, &request.group));
        }
        inbound.files = files::place(&admin, &request.group, &inbound, &request.files).await?;
    }
    // Attached before the message exists, so that no reply can pass by.
    let replies = admin.terminal.attach(chat.clone());
    let progress = admin.terminal.watch_progress(&chat);
    let accepted_at = Instant::now();
    let stop = Command::parse(&inbound.text) == Some(Command::Stop);
    let (store, accepted) = match router::receive(&admin.stores, inbound).await? {
        Routed::Accepted(store, accepted) => (store, accepted),
        Routed::Dropped(reason) => return Err(dropped(reason, &request.group)),
        Routed::Full(waiting) => return Err(full(waiting)),
    };
    drop(accepting);
    let folder = store.folder().clone();
    files::forget(&admin, &folder, request.files);
    let live = admin.hub.watch(&accepted.session);
    let (events, body) = mpsc::channel(BACKLOG);
    let due = Due { folder: folder.clone(), chat };
    let follower = Follower {
        admin: admin.clone(),
        due: due.clone(),
        store,
        events,
        live,
        replies,
        progress,
        message: accepted.message,
        stop,
        accepted_at,
        ended: None,
        handed_over: BTreeSet::new(),
        state_said: None,
        _place: following,
    };
    let first = ChatEvent::Accepted {
        message: accepted.message,
        session: accepted.session.clone(),
        duplicate: accepted.duplicate,
    };
    tokio::spawn(follower.follow(first));
    admin.delivery.nudge(due);
    admin.supervisor.accepted(&folder, &accepted);
    let lines = tokio_stream(body).map(|told| Ok::<_, std::convert::Infallible>(written(told)));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// Why a message was not accepted, and what to do.
fn dropped(reason: DropReason, group: &Folder) -> Failed {
    match reason {
        DropReason::Unwired => no_group(group),
        DropReason::Empty => Failed::new(ErrorKind::Usage, "the message is empty", "write something"),
        DropReason::TooLarge => Failed::new(
            ErrorKind::Usage,
            format!("the message is over {MAX_MESSAGE_BYTES} bytes"),
            "put it into a file in the group's workspace and write where it is",
        ),
    }
}

/// Too many messages wait: the sender is to slow down.
fn full(waiting: u64) -> Failed {
    let message = format!("{waiting} messages of this conversation wait already");
    let hint = "nothing was accepted; send it again when some of them are answered, or end them with /stop";
    Failed::new(ErrorKind::Daemon, message, hint)
}

fn tokio_stream(mut receiver: mpsc::Receiver<Told>) -> impl futures_util::Stream<Item = Told> {
    futures_util::stream::poll_fn(move |context| receiver.poll_recv(context))
}

/// What a client is told, and, with a reply, who waits to hear that it was.
struct Told {
    event: ChatEvent,
    taken: Option<Taken>,
}

/// The line of an event, as it goes to the client's socket.
fn written(told: Told) -> Bytes {
    let mut text = serde_json::to_vec(&told.event).unwrap_or_default();
    text.push(b'\n');
    if let Some(taken) = told.taken {
        taken.yes();
    }
    text.into()
}

/// Follows one message for one client.
struct Follower {
    admin: Arc<Admin>,
    /// The chat.
    due: Due,
    store: Arc<GroupDb>,
    events: mpsc::Sender<Told>,
    live: broadcast::Receiver<Arc<Live>>,
    replies: mpsc::Receiver<HandOver>,
    progress: watch::Receiver<Option<String>>,
    message: MessageId,
    /// It asks for the end of what runs: that end is its answer.
    stop: bool,
    accepted_at: Instant,
    /// The end, once it is known; told when its replies were handed over.
    ended: Option<Ended>,
    handed_over: BTreeSet<ReplyId>,
    state_said: Option<(cofferdam_protocol::admin::SessionState, Option<String>)>,
    _place: Place,
}

/// The client is gone; its replies wait for the next one.
struct Gone;

impl Follower {
    async fn follow(mut self, first: ChatEvent) {
        let duplicate = matches!(first, ChatEvent::Accepted { duplicate: true, .. });
        let session = match &first {
            ChatEvent::Accepted { session, .. } => session.clone(),
            _ => return,
        };
        let told = async {
            self.tell(first).await?;
            // Also for a new message: a quick runner may have finished it before we watched.
            self.look_up(duplicate).await?;
            loop {
                if self.complete().is_some() {
                    // What the agent said before its turn's end is handed over already, but may not be told yet.
                    while let Ok(hand_over) = self.replies.try_recv() {
                        self.on_hand_over(hand_over).await?;
                    }
                }
                if let Some(ended) = self.complete() {
                    return self.tell(self.finished(ended, session)).await;
                }
                self.step().await?;
            }
        };
        // The connection broke: nothing to tell it to.
        let _: Result<(), Gone> = told.await;
    }

    async fn step(&mut self) -> Result<(), Gone> {
        tokio::select! {
            live = self.live.recv() => match live {
                Ok(live) => self.on_live(&live).await,
                // The rows know what was missed.
                Err(broadcast::error::RecvError::Lagged(_)) => self.look_up(false).await,
                Err(broadcast::error::RecvError::Closed) => Err(Gone),
            },
            hand_over = self.replies.recv() => match hand_over {
                Some(hand_over) => self.on_hand_over(hand_over).await,
                None => self.attach_again().await,
            },
            Ok(()) = self.progress.changed() => {
                let text = self.progress.borrow_and_update().clone();
                self.tell(ChatEvent::Progress { text }).await
            }
            () = tokio::time::sleep(LOOK_AGAIN), if self.ended.is_some() => self.catch_up().await,
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
            Live::Started { turn, attempt, container, messages } if messages.contains(&self.message) => {
                let (turn, attempt, container) = (*turn, *attempt, container.clone());
                self.tell(ChatEvent::Started { turn, attempt, container }).await
            }
            Live::Retrying { turn, at, messages } if messages.contains(&self.message) => {
                self.tell(ChatEvent::Retrying { turn: *turn, at: at.clone() }).await
            }
            Live::Delta(text) => self.tell(ChatEvent::Delta { text: text.clone() }).await,
            Live::Activity(kind, text) => self.tell(ChatEvent::Activity { kind: *kind, text: text.clone() }).await,
            Live::Ended(ended) if ended.messages.contains(&self.message) => {
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
        if !self.handed_over.insert(reply.id) {
            taken.yes();
            return Ok(());
        }
        self.events.send(Told { event: events::of(reply), taken: Some(taken) }).await.map_err(|_| Gone)
    }

    /// Our client did not read for a while, and does again. What nobody was handed comes to us now; what others were, the
    /// rows know.
    async fn attach_again(&mut self) -> Result<(), Gone> {
        self.replies = self.admin.terminal.attach(self.due.chat.clone());
        self.admin.delivery.nudge(self.due.clone());
        self.catch_up().await
    }

    /// Tells what the message's turn said before we came, or while our connection was broken: others were handed it.
    async fn catch_up(&mut self) -> Result<(), Gone> {
        while let Ok(hand_over) = self.replies.try_recv() {
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
        let answers = self.store.answers_to(self.message).await.unwrap_or_default();
        let Some(chat) = answers.first().map(|reply| reply.chat.clone()) else { return Default::default() };
        let due = self.store.due_of(&chat).await.unwrap_or_default();
        let (due, told): (Vec<_>, Vec<_>) = answers.into_iter().partition(|reply| due.contains(&reply.id));
        (told, due.into_iter().map(|reply| reply.id).collect())
    }

    async fn tell_delivered(&mut self, turn: TurnId) -> Result<(), Gone> {
        for reply in self.store.delivered_of(turn).await.unwrap_or_default() {
            self.on_reply(reply).await?;
        }
        Ok(())
    }

    /// Reads how the message stands. The replies of one that was sent before may have gone to a connection that broke;
    /// those of a new one come to us.
    async fn look_up(&mut self, sent_before: bool) -> Result<(), Gone> {
        let Ok(Some(view)) = self.store.message(self.message).await else { return Ok(()) };
        if self.ended.is_some() {
            return Ok(());
        }
        if view.state != MessageState::Done {
            return match turn_of(&view).filter(|_| sent_before) {
                Some(turn) => self.tell_delivered(turn).await,
                None => Ok(()),
            };
        }
        let turn = view.turn.as_ref();
        let outcome = match turn {
            Some(turn) => turn.outcome.clone(),
            None => (view.kind != MessageKind::Message).then_some(ChatOutcome::Replied),
        };
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
        self.ended = Some(Ended {
            turn: turn.map(|turn| turn.id),
            attempt: turn.map_or(cofferdam_protocol::ids::Attempt(0), |turn| turn.attempt),
            container: None,
            messages: vec![self.message],
            replies: coming,
            outcome: outcome.unwrap_or(ChatOutcome::Failed { kind: FailureKind::Other }),
            usage: turn.and_then(|turn| turn.usage),
            timings: cofferdam_protocol::admin::Timings {
                provider: turn.and_then(|turn| turn.provider_ms),
                ..Default::default()
            },
        });
        Ok(())
    }

    /// The end, when all its replies were handed over.
    fn complete(&self) -> Option<&Ended> {
        self.ended.as_ref().filter(|ended| ended.replies.iter().all(|reply| self.handed_over.contains(reply)))
    }

    fn finished(&self, ended: &Ended, session: cofferdam_protocol::ids::SessionId) -> ChatEvent {
        let mut timings_ms = ended.timings;
        timings_ms.total = self.accepted_at.elapsed().as_secs_f64() * 1e3;
        let outcome = if self.stop { ChatOutcome::Replied } else { ended.outcome.clone() };
        ChatEvent::Finished(Finished {
            session,
            turn: ended.turn,
            attempt: ended.attempt,
            container: ended.container.clone(),
            outcome,
            usage: ended.usage,
            timings_ms,
        })
    }

    async fn tell(&self, event: ChatEvent) -> Result<(), Gone> {
        self.events.send(Told { event, taken: None }).await.map_err(|_| Gone)
    }
}

/// The turn that a message is in. One that waits may be noted at a turn that it was only offered to.
fn turn_of(view: &MessageView) -> Option<TurnId> {
    view.turn.as_ref().filter(|_| view.state != MessageState::Pending).map(|turn| turn.id)
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::ids::Attempt;

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
