//! What the runner is given to do.

use serde::{Deserialize, Serialize};

use crate::ids::{Attempt, MessageId, TurnId};

/// Asks for the next batch. Every call repeats the attempt, so that a stale runner is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextRequest {
    /// The caller's attempt.
    pub attempt: Attempt,
}

/// What the runner does next.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "snake_case")]
pub enum Next {
    /// Run a turn over these messages. The same turn is handed out again until it is finished.
    Batch(Box<Batch>),
    /// Nothing yet: ask again.
    Idle,
    /// Stop the provider and exit 0.
    Stop,
}

/// One turn's work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Batch {
    /// The turn.
    pub turn: TurnId,
    /// What to do.
    pub work: Work,
    /// The conversation that it belongs to. Newer than the runner's: begin a fresh thread first.
    pub generation: u64,
    /// An earlier turn may have given some of these messages to the provider: look before sending them again.
    pub retried: bool,
    /// Its message goes by itself, after a turn over it and others came to nothing: what the provider was given of several
    /// at once does not count as given.
    #[serde(default)]
    pub apart: bool,
    /// What the agent should know for this turn besides the messages: which chat, its people's time zone, what became
    /// of earlier replies. Ours, not a person's.
    pub context: String,
    /// How the provider runs it.
    pub options: TurnOptions,
    /// Its messages, oldest first; never empty.
    pub messages: Vec<BatchMessage>,
}

/// What a turn is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Answer the messages.
    #[default]
    Answer,
    /// Compact the conversation, as the message (`/compact`) asks.
    Compact,
}

/// How the provider runs one turn. Everything is stated anew for each turn.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TurnOptions {
    /// The model; none is the provider's own default.
    pub model: Option<String>,
    /// Reasoning effort; none is the model's own default.
    pub effort: Option<String>,
    /// JSON Schema that the last answer must follow.
    pub output_schema: Option<serde_json::Value>,
}

/// One message of a batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BatchMessage {
    /// Its id in the group's inbox.
    pub id: MessageId,
    /// Who wrote it, as the channel names them.
    pub sender: String,
    /// When it was accepted, in the group's time zone and words, such as `2026-11-21 14:03 Europe/Berlin`.
    pub time: String,
    /// What they wrote.
    pub text: String,
    /// What they sent with it.
    pub files: Vec<InboundFile>,
}

/// A file that came with a message; it lies in the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundFile {
    /// Its path in the container.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether the model can look at it as an image.
    pub image: bool,
}
