//! The terminal: people at the admin socket. A reply waits in the outbox until one of them is attached to its chat.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use super::{Abilities, Channel, Progress, SendError, Status};
use crate::model::chat::ChatRef;
use crate::model::reply::Outbound;

/// The channel's name.
pub const NAME: &str = "terminal";

/// Replies that an attached terminal may be behind before delivery waits for it.
const BACKLOG: usize = 64;

/// The terminal channel.
#[derive(Clone, Default)]
pub struct Terminal {
    attached: Arc<Mutex<HashMap<ChatRef, Vec<mpsc::Sender<Outbound>>>>>,
    progress: Arc<Mutex<HashMap<ChatRef, watch::Sender<Option<String>>>>>,
}

impl Terminal {
    /// Attaches a terminal to a chat until the receiver is dropped.
    pub fn attach(&self, chat: ChatRef) -> mpsc::Receiver<Outbound> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        attached.entry(chat).or_default().push(sender);
        receiver
    }

    /// What a chat's turn does, now and whenever it changes: only the latest, so a slow terminal holds up nobody.
    pub fn watch_progress(&self, chat: &ChatRef) -> watch::Receiver<Option<String>> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.retain(|_, sender| sender.receiver_count() > 0);
        let mut receiver = progress.entry(chat.clone()).or_default().subscribe();
        if receiver.borrow().is_some() {
            receiver.mark_changed();
        }
        receiver
    }

    /// The terminals attached to a chat now; forgets those that left.
    fn present(&self, chat: &ChatRef) -> Vec<mpsc::Sender<Outbound>> {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(senders) = attached.get_mut(chat) else { return Vec::new() };
        senders.retain(|sender| !sender.is_closed());
        let present = senders.clone();
        if present.is_empty() {
            attached.remove(chat);
        }
        present
    }
}

#[async_trait]
impl Channel for Terminal {
    fn name(&self) -> &'static str {
        NAME
    }

    fn abilities(&self) -> Abilities {
        // Options are a numbered list there.
        Abilities { files: true, edit: true, react: true, buttons: false, progress: true, idempotent: false }
    }

    fn is_there(&self, chat: &ChatRef) -> bool {
        !self.present(chat).is_empty()
    }

    async fn send(&self, reply: &Outbound) -> Result<(), SendError> {
        let mut taken = false;
        for terminal in self.present(&reply.chat) {
            taken |= terminal.send(reply.clone()).await.is_ok();
        }
        if taken { Ok(()) } else { Err(SendError::Absent) }
    }

    async fn progress(&self, chat: &ChatRef, progress: &Progress) -> Result<(), SendError> {
        let text = match &progress.status {
            Status::Working(text) => Some(text.clone()),
            Status::Ended => None,
        };
        if let Some(sender) = self.progress.lock().unwrap_or_else(PoisonError::into_inner).get(chat) {
            sender.send_if_modified(|shown| {
                let changed = *shown != text;
                *shown = text;
                changed
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reply::ReplyKind;
    use cofferdam_protocol::ids::{ReplyId, TurnId};

    fn reply(chat: &ChatRef) -> Outbound {
        Outbound {
            id: ReplyId(1),
            key: "k".into(),
            chat: chat.clone(),
            turn: None,
            kind: ReplyKind::Reply,
            text: "x".into(),
            action: None,
            tries: 0,
            doubts: 0,
        }
    }

    #[tokio::test]
    async fn a_reply_is_taken_only_by_its_own_chat() {
        let terminal = Terminal::default();
        let chat = |id: &str| ChatRef { channel: NAME.into(), chat_id: id.into(), thread_id: None };
        let mut a = terminal.attach(chat("a"));
        assert!(terminal.send(&reply(&chat("b"))).await.is_err());
        assert!(terminal.send(&reply(&chat("a"))).await.is_ok());
        assert_eq!(a.recv().await.unwrap().id, ReplyId(1));
        drop(a);
        assert!(terminal.send(&reply(&chat("a"))).await.is_err(), "it left");
    }

    #[tokio::test]
    async fn progress_reaches_those_who_watch_and_whoever_comes_later_sees_the_latest() {
        let terminal = Terminal::default();
        let chat = ChatRef { channel: NAME.into(), chat_id: "a".into(), thread_id: None };
        let working = |text: &str| Progress { turn: TurnId(1), status: Status::Working(text.into()) };
        terminal.progress(&chat, &working("nobody watches")).await.unwrap();
        let mut first = terminal.watch_progress(&chat);
        assert!(!first.has_changed().unwrap(), "there is nothing to show yet");
        terminal.progress(&chat, &working("one")).await.unwrap();
        assert_eq!(first.borrow_and_update().as_deref(), Some("one"));
        let mut second = terminal.watch_progress(&chat);
        assert!(second.has_changed().unwrap());
        assert_eq!(second.borrow_and_update().as_deref(), Some("one"));
        terminal.progress(&chat, &working("one")).await.unwrap();
        assert!(!first.has_changed().unwrap(), "the same again is no news");
        terminal.progress(&chat, &Progress { turn: TurnId(1), status: Status::Ended }).await.unwrap();
        assert!(first.borrow_and_update().is_none() && second.borrow_and_update().is_none());
    }
}
