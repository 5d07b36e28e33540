//! Which chats reach which groups.

use serde::{Deserialize, Serialize};

use crate::ids::Folder;

/// A wiring: this chat reaches this group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wiring {
    /// The channel.
    pub channel: String,
    /// The chat on it.
    pub chat_id: String,
    /// The group.
    pub group: Folder,
    /// Which of its messages share a session: `shared`, `per-thread` or `group`.
    pub session_mode: String,
    /// Whether the chat is shown what the agent does while it works.
    pub progress: bool,
}

/// Changes a wiring: the body of `PATCH /v1/wirings`. What is left out stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WiringChange {
    /// The channel.
    pub channel: String,
    /// The chat on it.
    pub chat_id: String,
    /// Whether the chat is shown what the agent does while it works.
    #[serde(default)]
    pub progress: Option<bool>,
}
