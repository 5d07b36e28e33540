//! What happens right now, for whoever watches. Nothing here is kept: the rows are the truth, and a watcher that
//! falls behind reads them instead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_protocol::admin::{ChatOutcome, ErrorKind, Outlook, SessionState, Timings};
use cofferdam_protocol::ids::{Attempt, MessageId, ReplyId, SessionId, TurnId};
use cofferdam_protocol::runner::{ActivityKind, Usage};
use tokio::sync::broadcast;

use crate::model::chat::Due;

/// Events of a session that a slow watcher may be behind before it loses the oldest; their places are made when the first
/// watcher comes.
const BACKLOG: usize = 256;
/// The same for a watcher of all sessions.
const BACKLOG_OF_ALL: usize = 1024;

/// Something that happened in a session.
#[derive(Debug, Clone)]
pub enum Live {
    /// Its life moved on.
    State(SessionState, Option<String>),
    /// It cannot go on by itself just now; its messages wait.
    Blocked(Blocked),
    /// A turn failed in a way that can pass: its messages wait for another try.
    Retrying {
        /// The turn.
        turn: TurnId,
        /// When they are tried again: RFC 3339, UTC.
        at: String,
        /// The messages.
        messages: Vec<MessageId>,
    },
    /// A turn began, or took more messages while it ran.
    Started {
        /// The turn.
        turn: TurnId,
        /// The attempt that runs it.
        attempt: Attempt,
        /// Its container.
        container: Option<String>,
        /// The messages it took.
        messages: Vec<MessageId>,
    },
    /// A turn works for a chat.
    Working {
        /// The turn.
        turn: TurnId,
        /// Where its replies will go.
        due: Due,
    },
    /// A piece of the answer.
    Delta(String),
    /// Something the agent does.
    Activity(ActivityKind, String),
    /// The end of messages: their outcome is in the outbox.
    Ended(Ended),
}

/// Why a session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// What sort of trouble.
    pub kind: ErrorKind,
    /// What failed.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// What becomes of the messages that wait.
    pub outlook: Outlook,
}

/// The end of messages.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The turn; none when they ended without one.
    pub turn: Option<TurnId>,
    /// The attempt.
    pub attempt: Attempt,
    /// Its container.
    pub container: Option<String>,
    /// The messages; all of one chat.
    pub messages: Vec<MessageId>,
    /// What went into the outbox.
    pub replies: Vec<ReplyId>,
    /// How they ended.
    pub outcome: ChatOutcome,
    /// Tokens.
    pub usage: Option<Usage>,
    /// How long the parts took; `total` is the watcher's to fill.
    pub timings: Timings,
}

/// Where sessions tell and watchers listen.
#[derive(Clone)]
pub struct Hub {
    sessions: Arc<Mutex<HashMap<SessionId, broadcast::Sender<Arc<Live>>>>>,
    everything: broadcast::Sender<(SessionId, Arc<Live>)>,
}

impl Default for Hub {
    fn default() -> Self {
        Self { sessions: Arc::default(), everything: broadcast::Sender::new(BACKLOG_OF_ALL) }
    }
}

impl Hub {
    /// Tells whoever watches the session, and whoever watches all. Costs a look-up when nobody does.
    pub fn tell(&self, session: &SessionId, live: Live) {
        let live = Arc::new(live);
        // Pieces of answers are many, and whoever watches all wants to know what goes on, not what is said.
        if !matches!(*live, Live::Delta(_)) {
            // Nobody may watch.
            let _ = self.everything.send((session.clone(), live.clone()));
        }
        let mut sessions = self.lock();
        if let Some(sender) = sessions.get(session)
            && sender.send(live).is_err()
        {
            sessions.remove(session);
        }
    }

    /// Watches a session from now on.
    pub fn watch(&self, session: &SessionId) -> broadcast::Receiver<Arc<Live>> {
        let mut sessions = self.lock();
        // Of sessions in which nothing happened since their last watcher left.
        sessions.retain(|_, sender| sender.receiver_count() > 0);
        sessions.entry(session.clone()).or_insert_with(|| broadcast::Sender::new(BACKLOG)).subscribe()
    }

    /// Watches all sessions from now on, without the pieces of their answers.
    pub fn watch_all(&self) -> broadcast::Receiver<(SessionId, Arc<Live>)> {
        self.everything.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, broadcast::Sender<Arc<Live>>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
