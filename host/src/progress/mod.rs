//! What a running turn does, into the chat that waits for it.
//!
//! ```text
//! Hub ──all sessions──▶ Reporter ──latest only──▶ one task a turn ──when the gate has room──▶ Channel::progress
//! ```
//!
//! Hints, kept nowhere: whoever is slow skips what came between, a turn never waits for it, and a lost end is made good
//! by whatever is heard of the session next. What the platform's pace leaves no room for is skipped (`pace`). Shown where the channel can, unless the chat's wiring has progress off.
//!
//! - `screen`: one turn's display. - `draft`: its answer as it grows.
//! - [`work`]: what a turn has shown so far, and its words; pure.

mod draft;
mod screen;
pub mod work;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_protocol::admin::SessionState;
use cofferdam_protocol::ids::{SessionId, TurnId};
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::channels::{Channels, Shown};
use crate::live::{Hub, Live};
use crate::model::chat::Due;
use crate::pace::Gates;
use crate::store::Stores;
use draft::Draft;
use screen::Screen;
use work::Work;

/// Reports the progress of turns.
pub struct Reporter {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Reporter {
    /// Reports whatever the hub tells from now on.
    pub fn start(hub: &Hub, stores: &Stores, channels: Channels, (shown, gates): (Shown, Gates)) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let desk = Desk {
            stores: stores.clone(),
            hub: hub.clone(),
            channels,
            shown,
            gates,
            stop: stop.clone(),
            tasks: tasks.clone(),
            turns: HashMap::new(),
        };
        tasks.spawn(desk.run(hub.watch_all()));
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
    stores: Stores,
    hub: Hub,
    channels: Channels,
    shown: Shown,
    gates: Gates,
    stop: CancellationToken,
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
    async fn run(mut self, mut live: broadcast::Receiver<(SessionId, Arc<Live>)>) {
        loop {
            let heard = tokio::select! {
                heard = live.recv() => heard,
                () = self.stop.cancelled() => return,
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
                    self.begin(session, *turn, due);
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

    fn begin(&mut self, session: SessionId, turn: TurnId, due: &Due) {
        let channel = self.channels.get(&due.chat.channel).filter(|channel| channel.abilities().progress);
        let Some(channel) = channel else {
            self.turns.remove(&session);
            return;
        };
        let (work, seen) = watch::channel(Work::default());
        let ended = CancellationToken::new();
        let gate = self.gates.of(channel.as_ref());
        let screen = Screen {
            channel,
            due: due.clone(),
            turn,
            work: seen,
            draft: Draft::of(self.hub.watch(&session)),
            ended: ended.clone(),
            stores: self.stores.clone(),
            shown: self.shown.clone(),
            gate,
            stop: self.stop.clone(),
        };
        self.tasks.spawn(screen.run());
        self.turns.insert(session, Turn { id: turn, work, _ended: ended.drop_guard() });
    }
}

#[cfg(test)]
mod tests;
