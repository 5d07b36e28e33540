//! The terminal: people at the admin socket. A reply waits in the outbox until one of them is attached to its chat.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Channel, SendError};
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
}

impl Terminal {
    /// Attaches a terminal to a chat until the receiver is dropped.
    pub fn attach(&self, chat: ChatRef) -> mpsc::Receiver<Outbound> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        attached.entry(chat).or_default().push(sender);
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

    async fn send(&self, reply: &Outbound) -> Result<(), SendError> {
        let mut taken = false;
        for terminal in self.present(&reply.chat) {
            taken |= terminal.send(reply.clone()).await.is_ok();
        }
        if taken { Ok(()) } else { Err(SendError::Absent) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reply::ReplyKind;
    use cofferdam_protocol::ids::ReplyId;

    fn reply(chat: &ChatRef) -> Outbound {
        Outbound {
            id: ReplyId(1),
            chat: chat.clone(),
            turn: None,
            kind: ReplyKind::Reply,
            text: "x".into(),
            tries: 0,
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
}
