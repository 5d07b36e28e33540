//! What a session's actor is asked, and the runner's side of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use cofferdam_protocol::ids::{Attempt, Seq};
use cofferdam_protocol::runner::{
    Control, ControlRequest, Digest, Event, Next, Settings, Thread, ToolAnswer, ToolCall,
};
use tokio::sync::{mpsc, oneshot};

use crate::door::{Refused, RunnerApi};
use crate::sandbox::Running;

/// A call to a session's actor.
pub(super) enum Call {
    /// Messages may wait.
    Wake,
    /// A place is free for it.
    Granted,
    /// Others need its place, if it is idle.
    Evict,
    /// Something may be due: a look that was not asked for by anybody.
    Look,
    /// The attempt's container, found running, is its actor's from now on.
    Adopt(Attempt, Running),
    /// The engine has no running container of the attempt.
    NotThere(Attempt),
    /// The session's actor before this one broke.
    Broken,
    /// The runner's hello.
    Hello(Attempt, Vec<u8>, oneshot::Sender<Result<(Thread, Settings), Refused>>),
    /// The runner asks for work.
    Next(Attempt, oneshot::Sender<Next>),
    /// The runner's events.
    Events(Attempt, Vec<Event>, oneshot::Sender<Result<Seq, Refused>>),
    /// The runner asks what changes for its turn.
    Control(ControlRequest, oneshot::Sender<Control>),
    /// The runner's agent calls a host tool.
    Tool(ToolCall, oneshot::Sender<Result<ToolAnswer, Refused>>),
    /// The runner asks what was said before.
    Digest(Attempt, oneshot::Sender<Result<Digest, Refused>>),
    /// Somebody wants its container gone; its turn is interrupted, what waits goes on waiting.
    Stop(oneshot::Sender<()>),
    /// The engine can be used again.
    EngineBack,
    /// The daemon or the group ends: stop after the running turn.
    Drain,
    /// They end now: what runs waits for its next start.
    CutOff(Rest),
}

/// What an actor that is cut off may leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// A container that the engine has not told of yet: the daemon ends, and its next start finds it.
    ForTheNextStart,
    /// None: others wait to have the group's files for themselves.
    Nothing,
}

/// An actor's mailbox, seen from outside. However many messages come, at most one [`Call::Wake`] waits in it: the
/// others are for its runner, whose calls wait for their answers, and for people.
#[derive(Clone)]
pub(super) struct Post {
    calls: mpsc::UnboundedSender<Call>,
    woken: Arc<AtomicBool>,
}

/// An actor's mailbox.
pub(super) struct Mailbox {
    calls: mpsc::UnboundedReceiver<Call>,
    woken: Arc<AtomicBool>,
}

/// A new mailbox.
pub(super) fn mailbox() -> (Post, Mailbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let woken = Arc::new(AtomicBool::new(false));
    (Post { calls: sender, woken: woken.clone() }, Mailbox { calls: receiver, woken })
}

impl Post {
    /// Puts a call into the mailbox. Answers whether an actor will read it.
    pub(super) fn send(&self, call: Call) -> bool {
        if matches!(call, Call::Wake) && self.woken.swap(true, Ordering::AcqRel) {
            // The one that waits already will see the same rows.
            return !self.calls.is_closed();
        }
        self.calls.send(call).is_ok()
    }

    /// Whether no actor reads it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.calls.is_closed()
    }

    /// Returns when no actor reads it any more.
    pub(super) async fn closed(&self) {
        self.calls.closed().await;
    }

    /// The mailbox without the wakes, for those who have none to send.
    pub(super) fn calls(&self) -> mpsc::UnboundedSender<Call> {
        self.calls.clone()
    }
}

impl Mailbox {
    /// The next call.
    pub(super) async fn recv(&mut self) -> Option<Call> {
        let call = self.calls.recv().await;
        if matches!(call, Some(Call::Wake)) {
            // Before the rows are read: whoever comes from here on wakes it again.
            self.woken.store(false, Ordering::Release);
        }
        call
    }

    /// Whether nothing waits in it.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

/// The door's way to the actor.
pub(super) struct RunnerCalls(pub(super) mpsc::UnboundedSender<Call>);

impl RunnerCalls {
    async fn ask<T>(&self, call: Call, answer: oneshot::Receiver<Result<T, Refused>>) -> Result<T, Refused> {
        self.0.send(call).map_err(|_| Refused::Stale)?;
        // An actor that ended is one whose attempt is over.
        answer.await.map_err(|_| Refused::Stale)?
    }
}

#[async_trait]
impl RunnerApi for RunnerCalls {
    async fn hello(&self, attempt: Attempt, token_hash: Vec<u8>) -> Result<(Thread, Settings), Refused> {
        let (reply, answer) = oneshot::channel();
        self.ask(Call::Hello(attempt, token_hash, reply), answer).await
    }

    fn next(&self, attempt: Attempt) -> Result<oneshot::Receiver<Next>, Refused> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Call::Next(attempt, reply)).map_err(|_| Refused::Stale)?;
        Ok(answer)
    }

    async fn events(&self, attempt: Attempt, events: Vec<Event>) -> Result<Seq, Refused> {
        let (reply, answer) = oneshot::channel();
        self.ask(Call::Events(attempt, events, reply), answer).await
    }

    fn control(&self, request: ControlRequest) -> Result<oneshot::Receiver<Control>, Refused> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Call::Control(request, reply)).map_err(|_| Refused::Stale)?;
        Ok(answer)
    }

    async fn tool(&self, call: ToolCall) -> Result<ToolAnswer, Refused> {
        let (reply, answer) = oneshot::channel();
        self.ask(Call::Tool(call, reply), answer).await
    }

    async fn digest(&self, attempt: Attempt) -> Result<Digest, Refused> {
        let (reply, answer) = oneshot::channel();
        self.ask(Call::Digest(attempt, reply), answer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_of_nudges_is_one_call_and_one_that_comes_later_is_another() {
        let (post, mut mailbox) = mailbox();
        for _ in 0..10_000 {
            assert!(post.send(Call::Wake));
        }
        assert!(post.send(Call::Drain));
        assert!(matches!(mailbox.recv().await, Some(Call::Wake)));
        assert!(matches!(mailbox.recv().await, Some(Call::Drain)));
        assert!(mailbox.is_empty());
        assert!(post.send(Call::Wake));
        assert!(!mailbox.is_empty());
        drop(mailbox);
        assert!(!post.send(Call::Wake) && !post.send(Call::Wake), "nobody reads it");
    }
}
