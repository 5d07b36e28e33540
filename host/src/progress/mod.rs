//! What a running turn does, into the chat that waits for it.
//!
//! ```text
//! Hub ──all sessions──▶ Reporter ──latest only──▶ one task a turn ──at most 1/s──▶ Channel::progress
//! ```
//!
//! Hints, kept nowhere: whoever is slow skips what came between, a turn never waits for it, and a lost end is made good
//! by whatever is heard of the session next. Shown where the channel can, unless the chat's wiring has progress off.
//!
//! - [`work`]: what a turn has shown so far, and its words; pure.

pub mod work;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_protocol::admin::SessionState;
use cofferdam_protocol::ids::{SessionId, TurnId};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::channels::{Channel, Channels, Progress, Status};
use crate::live::{Hub, Live};
use crate::model::chat::ChatRef;
use crate::store::{Central, Stores};
use work::Work;

/// A turn that ends sooner shows nothing.
const FIRST: Duration = Duration::from_millis(500);
/// The least time between two changes of a status: what platforms allow for one chat.
const PACE: Duration = Duration::from_secs(1);
/// How long after [`PACE`] a status that did not change is given to the channel again: typing marks fade after about
/// five seconds.
const RENEW: Duration = Duration::from_secs(3);
/// The longest that a channel may take; after that its chat has seen enough of the turn's progress.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reports the progress of turns.
pub struct Reporter {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Reporter {
    /// Reports whatever the hub tells from now on.
    pub fn start(hub: &Hub, stores: &Stores, channels: Channels) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let desk =
            Desk { central: stores.central().clone(), channels, tasks: tasks.clone(), turns: HashMap::new() };
        tasks.spawn(desk.run(hub.watch_all(), stop.clone()));
        Self { stop, tasks }
    }

    /// Ends what is shown, at most `deadline`.
    pub async fn shutdown(self, deadline: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(deadline, self.tasks.wait()).await.is_err() {
            tracing::debug!("a channel still shows the progress of turns that ended");
        }
    }
}

/// Which turns are shown.
struct Desk {
    central: Central,
    channels: Channels,
    tasks: TaskTracker,
    turns: HashMap<SessionId, Turn>,
}

/// A running turn. Dropping it ends what is shown.
struct Turn {
    id: TurnId,
    work: watch::Sender<Work>,
    _ended: DropGuard,
}

impl Desk {
    async fn run(mut self, mut live: broadcast::Receiver<(SessionId, Arc<Live>)>, stop: CancellationToken) {
        loop {
            let heard = tokio::select! {
                heard = live.recv() => heard,
                () = stop.cancelled() => return,
            };
            match heard {
                Ok((session, live)) => self.hear(session, &live),
                // Their ends may be among what was missed.
                Err(broadcast::error::RecvError::Lagged(_)) => self.turns.clear(),
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn hear(&mut self, session: SessionId, live: &Live) {
        match live {
            Live::Working { turn, due } => {
                if self.turns.get(&session).is_none_or(|running| running.id != *turn) {
                    self.begin(session, *turn, due.chat.clone());
                }
            }
            Live::Activity(kind, text) => {
                if let Some(turn) = self.turns.get(&session) {
                    turn.work.send_if_modified(|work| work.see(*kind, text));
                }
            }
            Live::Ended(ended) => {
                if self.turns.get(&session).is_some_and(|running| ended.turn == Some(running.id)) {
                    self.turns.remove(&session);
                }
            }
            Live::State(state, _) if *state != SessionState::Busy => {
                self.turns.remove(&session);
            }
            Live::State(..) | Live::Blocked(_) | Live::Started { .. } | Live::Retrying { .. } | Live::Delta(_) => {}
        }
    }

    fn begin(&mut self, session: SessionId, turn: TurnId, chat: ChatRef) {
        let Some(channel) = self.channels.get(&chat.channel).filter(|channel| channel.abilities().progress) else {
            self.turns.remove(&session);
            return;
        };
        let (work, seen) = watch::channel(Work::default());
        let ended = CancellationToken::new();
        let screen = Screen { channel: channel.clone(), chat, turn, work: seen, ended: ended.clone() };
        self.tasks.spawn(screen.run(self.central.clone()));
        self.turns.insert(session, Turn { id: turn, work, _ended: ended.drop_guard() });
    }
}

/// One turn's display in its chat.
struct Screen {
    channel: Arc<dyn Channel>,
    chat: ChatRef,
    turn: TurnId,
    work: watch::Receiver<Work>,
    ended: CancellationToken,
}

impl Screen {
    async fn run(mut self, central: Central) {
        let ended = self.ended.clone();
        tokio::select! {
            () = ended.cancelled() => return,
            () = sleep(FIRST) => {}
        }
        if !self.is_wanted(&central).await {
            return;
        }
        loop {
            let again = Instant::now() + PACE;
            let text = self.work.borrow_and_update().text();
            if !self.show(Status::Working(text)).await {
                // What it may show by now is to go away with the turn all the same.
                ended.cancelled().await;
                break;
            }
            tokio::select! {
                () = ended.cancelled() => break,
                () = sleep_until(again) => {}
            }
            tokio::select! {
                () = ended.cancelled() => break,
                Ok(()) = self.work.changed() => {}
                () = sleep(RENEW) => {}
            }
        }
        self.show(Status::Ended).await;
    }

    async fn is_wanted(&self, central: &Central) -> bool {
        match central.wiring(&self.chat.channel, &self.chat.chat_id).await {
            Ok(wiring) => wiring.is_some_and(|wiring| wiring.progress),
            Err(error) => {
                tracing::debug!(chat = %self.chat, error = %crate::error_chain(&error), "no progress is shown");
                false
            }
        }
    }

    /// Answers whether to go on.
    async fn show(&self, status: Status) -> bool {
        let progress = Progress { turn: self.turn, status };
        match timeout(PATIENCE, self.channel.progress(&self.chat, &progress)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(chat = %self.chat, %error, "progress was not shown");
                true
            }
            Err(_) => {
                tracing::debug!(chat = %self.chat, "the channel does not take progress; no more of this turn's");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
