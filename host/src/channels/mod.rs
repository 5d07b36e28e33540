//! Chat platforms. A channel hands in messages and takes replies; it knows nothing of groups, sessions or containers.

pub mod terminal;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_protocol::ids::TurnId;

pub use crate::model::action::Abilities;
use crate::model::chat::ChatRef;
use crate::model::reply::Outbound;

/// A chat platform's adapter.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Its name in wirings.
    fn name(&self) -> &'static str;

    /// What it can do besides showing text. An action that it lacks is not asked of it; a question comes all the same,
    /// its text with the options as a list.
    fn abilities(&self) -> Abilities;

    /// Hands a reply over. `Ok` means that the platform has it.
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
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Nobody is there to take it; the channel nudges delivery when somebody is.
    #[error("nobody is connected")]
    Absent,
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

    /// The channel with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Channel>> {
        self.by_name.get(name)
    }
}
