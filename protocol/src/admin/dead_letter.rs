//! What was tried for the last time and waits for a person.

use serde::{Deserialize, Serialize};

use crate::ids::{Folder, MessageId, ReplyId, SessionId, TurnId};

/// Where the dead letters of Cofferdam's own words are, which are no group's: in a group's place in references and paths.
pub const OWN_LETTERS: &str = "@own";

/// A message that was never answered, or a reply that never reached its chat. Times are RFC 3339, UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// How people name it: `GROUP/NUMBER`, or [`OWN_LETTERS`]`/NUMBER`.
    pub reference: String,
    /// Its group; none is Cofferdam itself.
    #[serde(default)]
    pub group: Option<Folder>,
    /// Its number there.
    pub number: i64,
    /// Its session; Cofferdam's own words have none.
    #[serde(default)]
    pub session: Option<SessionId>,
    /// `channel:chat` and `#thread`, if any: where it came from, or was to go to.
    pub chat: String,
    /// The message, if it is one.
    pub message: Option<MessageId>,
    /// The reply, if it is one; of Cofferdam's own words their number among these.
    pub reply: Option<ReplyId>,
    /// The newest turn over the message, or the turn that the reply came from.
    pub turn: Option<TurnId>,
    /// Its text; the beginning of it in a list.
    pub text: String,
    /// What failed: `start`, `provider`, `container` or `delivery`.
    pub cause: String,
    /// How it failed the last time.
    pub error: String,
    /// How often it was tried.
    pub tries: u32,
    /// What became of it: `open`, `retried` or `dropped`.
    pub state: String,
    /// Since when it is one.
    pub at: String,
    /// When a person decided.
    pub settled_at: Option<String>,
}

/// Dead letters that a person has just decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledLetters {
    /// Their references, in order.
    pub settled: Vec<String>,
}

/// How many dead letters of a group wait for a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLetters {
    /// The group; none is Cofferdam itself.
    #[serde(default)]
    pub group: Option<Folder>,
    /// How many.
    pub count: u64,
}
