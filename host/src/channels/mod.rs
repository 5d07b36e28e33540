//! Chat platforms. A channel hands in messages and takes replies; it knows nothing of groups, sessions or containers.

pub mod markup;
pub mod pace;
#[cfg(feature = "test-hooks")]
pub mod platform;
pub mod terminal;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cofferdam_protocol::ids::TurnId;

pub use crate::model::action::Abilities;
use crate::model::action::Action;
use crate::model::chat::ChatRef;
use crate::model::reply::Outbound;
pub use pace::{Pace, Rate};

/// A chat platform's adapter.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Its name in wirings.
    fn name(&self) -> &'static str;

    /// What it can do besides showing text. An action that it lacks is not asked of it; a question comes all the same,
    /// its text with the options as a list.
    fn abilities(&self) -> Abilities;

    /// Whether somebody is there to take a chat's replies. When that is no, the replies wait without being tried, and
    /// the channel nudges delivery once it is yes.
    fn is_there(&self, _chat: &ChatRef) -> bool {
        true
    }

    /// How fast its platform takes replies. Delivery keeps to it.
    fn pace(&self) -> Pace {
        Pace::UNLIMITED
    }

    /// How long handing this reply over may take. What takes longer is given up, in doubt whether the platform has it,
    /// and sent again.
    fn patience(&self, reply: &Outbound) -> Duration {
        usual_patience(reply)
    }

    /// Hands a reply over. `Ok` means that the platform has it. Called for one reply of a chat at a time, and for many
    /// chats at once. May be dropped at any await.
    async fn send(&self, reply: &Outbound) -> Result<(), SendError>;

    /// Shows the chat what a turn does: a typing mark, and one message that is changed and goes away at the turn's end.
    /// Called at most once a second, and every few seconds when nothing changed, so that a typing mark can be renewed. A
    /// hint: it may be dropped, and an error costs nothing but the display.
    async fn progress(&self, _chat: &ChatRef, _progress: &Progress) -> Result<(), SendError> {
        Ok(())
    }
}

/// What a turn does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The turn.
    pub turn: TurnId,
    /// How it stands.
    pub status: Status,
}

/// How a turn stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It works: the status message's text. Its first line stands for itself where there is room for one only.
    Working(String),
    /// It ended: nothing is to be shown any more.
    Ended,
}

/// Why a channel did not take a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nobody is there to take it; the channel nudges delivery when somebody is. Waits without end.
    #[error("nobody is connected")]
    Absent,
    /// The platform did not take it and may take it later, such as after a rate limit or a broken connection. Tried a
    /// bounded number of times.
    #[error("{why}")]
    Later {
        /// What the platform said, for people.
        why: String,
        /// The pause that it asked for.
        after: Option<Duration>,
        /// The pause is for everything that goes there, not for this chat alone.
        whole_channel: bool,
    },
    /// The platform will never take it, such as for a chat that is gone. Not tried again.
    #[error("{why}")]
    Refused {
        /// What the platform said, for people.
        why: String,
    },
    /// The platform may have it: the connection broke after it was written, or the answer cannot be read. Sent again,
    /// with the same key.
    #[error("{why}")]
    Doubt {
        /// What happened, for people.
        why: String,
    },
}

impl SendError {
    /// Not now, for this chat.
    pub fn later(why: impl Into<String>, after: Option<Duration>) -> Self {
        Self::Later { why: why.into(), after, whole_channel: false }
    }
}

/// The time that a platform gets for a reply: a minute, as most HTTP clients wait for an answer, and for a file what its
/// bytes take over a slow line (256 KiB a second) on top.
fn usual_patience(reply: &Outbound) -> Duration {
    const ANSWER: Duration = Duration::from_secs(60);
    const SLOW_LINE: u64 = 256 * 1024;
    match &reply.action {
        Some(Action::File(file)) => ANSWER + Duration::from_secs(file.bytes / SLOW_LINE),
        _ => ANSWER,
    }
}

/// All channels, by name.
#[derive(Clone, Default)]
pub struct Channels {
    by_name: HashMap<&'static str, Arc<dyn Channel>>,
}

impl Channels {
    /// Adds a channel.
    pub fn add(&mut self, channel: Arc<dyn Channel>) {
        self.by_name.insert(channel.name(), channel);
    }

    /// What the channel with this name can do; a channel that is not there can nothing.
    pub fn abilities(&self, name: &str) -> Abilities {
        self.get(name).map(|channel| channel.abilities()).unwrap_or_default()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Channel>> {
        self.by_name.values()
    }

    /// The channel with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Channel>> {
        self.by_name.get(name)
    }
}
