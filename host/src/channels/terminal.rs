//! The terminal: people at the admin socket. A reply waits in the outbox until one of them is attached to its chat, and it
//! is delivered when it was written to the stream of one of them.
//!
//! A client that does not read (a stopped process, a terminal that is held) holds up nobody: it is detached, and attaches
//! itself again when it goes on. What nobody else was handed meanwhile is still in the outbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use super::{Abilities, Channel, Pace, Piece, Progress, Rate, Receipt, Room, SendError, Status};
use crate::model::chat::ChatRef;
use crate::model::reply::Outbound;

/// The channel's name.
pub const NAME: &str = "terminal";

/// Replies that an attached terminal may be behind the others before it is detached.
const BACKLOG: usize = 64;

/// How long terminals may take to read a reply before they are detached. Writing to a socket of this machine takes
/// microseconds; what takes longer is somebody who does not read.
const READS_WITHIN: Duration = Duration::from_secs(10);

/// The most replies on their way to terminals: each is only a place in a queue.
const AT_ONCE: usize = 1024;

/// The terminal channel.
#[derive(Clone, Default)]
pub struct Terminal {
    attached: Arc<Mutex<HashMap<ChatRef, Vec<mpsc::Sender<HandOver>>>>>,
    progress: Arc<Mutex<HashMap<ChatRef, watch::Sender<Option<String>>>>>,
}

/// A reply on its way to a terminal. It is delivered when one of its terminals says so; one that is dropped was not taken.
#[derive(Debug)]
pub struct HandOver {
    /// The reply; shared, since every terminal of its chat is handed it.
    pub reply: Arc<Outbound>,
    /// Says that it was taken.
    pub taken: Taken,
}

/// Says that a reply was written to a terminal.
#[derive(Debug)]
pub struct Taken(mpsc::Sender<()>);

#[cfg(test)]
impl HandOver {
    /// What says that a reply was taken, and where that is heard.
    pub fn taken() -> (Taken, mpsc::Receiver<()>) {
        let (taken, answer) = mpsc::channel(1);
        (Taken(taken), answer)
    }
}

impl Taken {
    /// It was.
    pub fn yes(self) {
        // Another terminal may have said so before.
        let _ = self.0.try_send(());
    }
}

impl Terminal {
    /// Attaches a terminal to a chat until the receiver is dropped, or, when it does not read, until the receiver ends.
    pub fn attach(&self, chat: ChatRef) -> mpsc::Receiver<HandOver> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of other chats too: nobody may ever come there again.
        attached.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
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
    fn present(&self, chat: &ChatRef) -> Vec<mpsc::Sender<HandOver>> {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(senders) = attached.get_mut(chat) else { return Vec::new() };
        senders.retain(|sender| !sender.is_closed());
        let present = senders.clone();
        if present.is_empty() {
            attached.remove(chat);
        }
        present
    }

    /// Forgets a terminal that does not read. What is in its queue is still its own.
    fn detach(&self, chat: &ChatRef, terminal: &mpsc::Sender<HandOver>) {
        tracing::info!(%chat, "a terminal does not read; it is detached until it does");
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(senders) = attached.get_mut(chat) {
            senders.retain(|sender| !sender.same_channel(terminal));
        }
    }
}

#[async_trait]
impl Channel for Terminal {
    fn name(&self) -> &str {
        NAME
    }

    fn abilities(&self) -> Abilities {
        // Options are a numbered list there.
        Abilities {
            files: true,
            threads: true,
            edit: true,
            react: true,
            buttons: false,
            progress: true,
            replies: false,
            idempotent: false,
        }
    }

    fn is_there(&self, chat: &ChatRef) -> bool {
        !self.present(chat).is_empty()
    }

    fn pace(&self) -> Pace {
        Pace { chat: Rate::UNLIMITED, all: Rate::UNLIMITED, at_once: AT_ONCE }
    }

    async fn send(&self, reply: &Outbound, _: (usize, &Piece), _: Option<&str>) -> Result<Receipt, SendError> {
        let (taken, mut answer) = mpsc::channel(1);
        let shared = Arc::new(reply.clone());
        let mut asked = Vec::new();
        for terminal in self.present(&reply.chat) {
            let hand_over = HandOver { reply: shared.clone(), taken: Taken(taken.clone()) };
            match terminal.try_send(hand_over) {
                Ok(()) => asked.push(terminal),
                Err(mpsc::error::TrySendError::Full(_)) => self.detach(&reply.chat, &terminal),
                Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
        drop(taken);
        match tokio::time::timeout(READS_WITHIN, answer.recv()).await {
            Ok(Some(())) => Ok(Receipt::NONE),
            // All of them left.
            Ok(None) => Err(SendError::Absent),
            Err(_) => {
                asked.iter().for_each(|terminal| self.detach(&reply.chat, terminal));
                Err(SendError::Absent)
            }
        }
    }

    async fn progress(
        &self,
        chat: &ChatRef,
        progress: &Progress,
        _: Option<&str>,
        _: &dyn Room,
    ) -> Result<Option<String>, SendError> {
        let text = match &progress.status {
            // Who watches a terminal sees the answer itself grow.
            Status::Working { status, .. } => Some(status.clone()),
            Status::Ended => None,
        };
        if let Some(sender) = self.progress.lock().unwrap_or_else(PoisonError::into_inner).get(chat) {
            sender.send_if_modified(|shown| {
                let changed = *shown != text;
                *shown = text;
                changed
            });
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::Showing;
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
            buttons: Vec::new(),
            tries: 0,
            doubts: 0,
            sent: Vec::new(),
            onto: Vec::new(),
            reply_to: None,
        }
    }

    async fn send(terminal: &Terminal, reply: &Outbound) -> Result<Receipt, SendError> {
        terminal.send(reply, (0, &Piece::Whole), None).await
    }

    fn chat(id: &str) -> ChatRef {
        ChatRef { channel: NAME.into(), chat_id: id.into(), thread_id: None }
    }

    /// Takes one reply after the other, as a client that reads.
    async fn read(mut replies: mpsc::Receiver<HandOver>) {
        while let Some(HandOver { taken, .. }) = replies.recv().await {
            taken.yes();
        }
    }

    #[tokio::test]
    async fn a_reply_is_taken_only_by_its_own_chat() {
        let terminal = Terminal::default();
        let mut a = terminal.attach(chat("a"));
        assert!(send(&terminal, &reply(&chat("b"))).await.is_err());
        let x = reply(&chat("a"));
        let taken = async {
            let HandOver { reply, taken } = a.recv().await.unwrap();
            taken.yes();
            reply.id
        };
        let (sent, id) = tokio::join!(send(&terminal, &x), taken);
        assert_eq!((sent, id), (Ok(Receipt::NONE), ReplyId(1)));
        drop(a);
        assert!(send(&terminal, &reply(&chat("a"))).await.is_err(), "it left");
    }

    #[test]
    fn nothing_is_kept_of_chats_that_all_left() {
        let terminal = Terminal::default();
        for number in 0..9 {
            drop(terminal.attach(chat(&number.to_string())));
        }
        let _there = terminal.attach(chat("a"));
        assert_eq!(terminal.attached.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_lay_in_the_queue_of_a_client_that_left_was_not_taken() {
        let terminal = Terminal::default();
        let mut a = terminal.attach(chat("a"));
        let x = reply(&chat("a"));
        let leaves = async {
            let hand_over = a.recv().await.unwrap();
            a.close();
            drop(hand_over);
        };
        let (sent, ()) = tokio::join!(send(&terminal, &x), leaves);
        assert_eq!(sent, Err(SendError::Absent));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_detached_and_its_replies_wait() {
        let terminal = Terminal::default();
        let mut stuck = terminal.attach(chat("a"));
        let start = tokio::time::Instant::now();
        assert_eq!(send(&terminal, &reply(&chat("a"))).await, Err(SendError::Absent));
        assert_eq!(start.elapsed(), READS_WITHIN);
        assert!(!terminal.is_there(&chat("a")), "the next ones wait at once");
        assert_eq!(stuck.recv().await.unwrap().reply.id, ReplyId(1), "it sees what it was handed");
        assert!(stuck.recv().await.is_none(), "and that it was detached");
        let _again = terminal.attach(chat("a"));
        assert!(terminal.is_there(&chat("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_holds_up_no_other_of_its_chat() {
        let terminal = Terminal::default();
        let mut stuck = terminal.attach(chat("a"));
        tokio::spawn(read(terminal.attach(chat("a"))));
        let start = tokio::time::Instant::now();
        for _ in 0..BACKLOG * 2 {
            assert_eq!(send(&terminal, &reply(&chat("a"))).await, Ok(Receipt::NONE));
        }
        assert!(start.elapsed().is_zero());
        let mut behind = 0;
        while stuck.recv().await.is_some() {
            behind += 1;
        }
        assert_eq!(behind, BACKLOG, "no more memory than that");
    }

    #[tokio::test]
    async fn progress_reaches_those_who_watch_and_whoever_comes_later_sees_the_latest() {
        let terminal = Terminal::default();
        let (chat, room) = (chat("a"), |_: Showing| false);
        let working = |text: &str| Progress {
            turn: TurnId(1),
            status: Status::Working { status: text.into(), draft: String::new() },
            reply_to: None,
        };
        terminal.progress(&chat, &working("nobody watches"), None, &room).await.unwrap();
        let mut first = terminal.watch_progress(&chat);
        assert!(!first.has_changed().unwrap(), "there is nothing to show yet");
        terminal.progress(&chat, &working("one"), None, &room).await.unwrap();
        assert_eq!(first.borrow_and_update().as_deref(), Some("one"));
        let mut second = terminal.watch_progress(&chat);
        assert!(second.has_changed().unwrap());
        assert_eq!(second.borrow_and_update().as_deref(), Some("one"));
        terminal.progress(&chat, &working("one"), None, &room).await.unwrap();
        assert!(!first.has_changed().unwrap(), "the same again is no news");
        let ended = Progress { turn: TurnId(1), status: Status::Ended, reply_to: None };
        terminal.progress(&chat, &ended, None, &room).await.unwrap();
        assert!(first.borrow_and_update().is_none() && second.borrow_and_update().is_none());
    }
}
