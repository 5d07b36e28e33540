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
    /// The chat's name, as its platform told it.
    #[serde(default)]
    pub title: Option<String>,
    /// The group.
    pub group: Folder,
    /// Which of its messages share a session: `shared`, `per-thread` or `group`.
    pub session_mode: String,
    /// Which messages wake the agent: `always`, `mention` or `pattern`.
    pub engage: String,
    /// The regular expression of `pattern`.
    #[serde(default)]
    pub pattern: Option<String>,
    /// Whether a thread in which one did goes on without being asked again.
    pub sticky: bool,
    /// What becomes of the other messages: `drop` or `context`.
    pub others: String,
    /// What becomes of senders that nobody knows, in the whole chat: `drop`, `ask` or `public`.
    pub unknown: String,
    /// Only the home's owners write in the chat: nobody there is unknown.
    #[serde(default)]
    pub owners_only: bool,
    /// Whether the chat is shown what the agent does while it works.
    pub progress: bool,
}

/// Makes a wiring (`PUT /v1/wirings`) or changes one (`PATCH /v1/wirings`). What is left out stays, or is the default of the chat's
/// kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WiringChange {
    /// The channel.
    pub channel: String,
    /// The chat on it.
    pub chat_id: String,
    /// The group; a change may leave it out where only one listens.
    #[serde(default)]
    pub group: Option<Folder>,
    /// The sort of chat: `direct` or `group`. Told by the platform with the chat's first message.
    #[serde(default)]
    pub kind: Option<String>,
    /// See [`Wiring::session_mode`].
    #[serde(default)]
    pub session_mode: Option<String>,
    /// See [`Wiring::engage`].
    #[serde(default)]
    pub engage: Option<String>,
    /// See [`Wiring::pattern`].
    #[serde(default)]
    pub pattern: Option<String>,
    /// See [`Wiring::sticky`].
    #[serde(default)]
    pub sticky: Option<bool>,
    /// See [`Wiring::others`].
    #[serde(default)]
    pub others: Option<String>,
    /// See [`Wiring::unknown`].
    #[serde(default)]
    pub unknown: Option<String>,
    /// See [`Wiring::progress`].
    #[serde(default)]
    pub progress: Option<bool>,
}
