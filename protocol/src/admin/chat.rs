//! A message from the terminal, and what its sender sees of its way.

use serde::{Deserialize, Serialize};

use super::{ErrorKind, SessionState};
use crate::ids::{Attempt, FileId, Folder, MessageId, ReplyId, SessionId, TurnId};
use crate::runner::{ActivityKind, FailureKind, Usage};

/// A message from the terminal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatRequest {
    /// The group to talk to.
    pub group: Folder,
    /// A named conversation; none is the group's main one.
    #[serde(default)]
    pub thread: Option<String>,
    /// The sender's own id for the message. Sending it again attaches to the same message.
    pub message_id: String,
    /// Who writes.
    pub sender: String,
    /// What they write; at most [`MAX_MESSAGE_BYTES`], and not empty unless there are files.
    pub text: String,
    /// JSON Schema that the answer must follow: an object of at most [`MAX_SCHEMA_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<serde_json::Value>,
    /// Files that come with it, as `POST /v1/files` named them; at most [`MAX_FILES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileId>,
}

/// The largest JSON Schema of a [`ChatRequest`], in bytes.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;

/// A file that waits for its message. It is kept for a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// Its id, for [`ChatRequest::files`].
    pub id: FileId,
    /// Its name as the agent will see it, made safe.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// The largest file that goes either way, in bytes.
pub const MAX_FILE_BYTES: u64 = 20 * 1024 * 1024;
/// The most files of one message.
pub const MAX_FILES: usize = 10;

/// The largest message, in bytes: Codex takes 1,048,576 characters, and a batch has room for a few.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// What becomes of a message whose session cannot go on by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// It waits for as long as it takes, and is answered when the trouble is over.
    #[default]
    Waits,
    /// It is tried again. Tries are counted: after the last one it becomes a dead letter.
    Counted,
    /// It became a dead letter.
    GivenUp,
}

/// What a chat client sees.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ChatEvent {
    /// The message is in the inbox, durably.
    Accepted {
        /// Its id.
        message: MessageId,
        /// Its session.
        session: SessionId,
        /// Whether it had been accepted before.
        duplicate: bool,
    },
    /// The session's life moved on.
    State {
        /// Where it is now.
        state: SessionState,
        /// In words.
        note: Option<String>,
    },
    /// The session cannot go on by itself just now, such as without an engine; a one-shot client need not wait.
    Blocked {
        /// What sort of trouble.
        kind: ErrorKind,
        /// What failed.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// What becomes of the message.
        #[serde(default)]
        outlook: Outlook,
    },
    /// A turn over the message began.
    Started {
        /// The turn.
        turn: TurnId,
        /// The attempt that runs it.
        attempt: Attempt,
        /// Its container.
        container: Option<String>,
    },
    /// The message's turn failed in a way that can pass. What was streamed of its answer is void; the message is tried
    /// again by itself, and goes on being followed.
    Retrying {
        /// The turn that failed.
        turn: TurnId,
        /// When it is tried again: RFC 3339, UTC.
        at: String,
    },
    /// A piece of the answer.
    Delta {
        /// The piece.
        text: String,
    },
    /// Something the agent does.
    Activity {
        /// What kind.
        kind: ActivityKind,
        /// One line.
        text: String,
    },
    /// What the turn of this chat does now, renewed while it works: the first line is short and stands for itself. Not
    /// told when the wiring shows no progress.
    Progress {
        /// In words; none when there is nothing to show any more.
        text: Option<String>,
    },
    /// The group was restored from a state that does not have the message. Nothing more comes.
    Restored,
    /// A reply, complete. `turn` may be an earlier one whose reply was still waiting.
    Reply {
        /// The turn it came from, if any.
        turn: Option<TurnId>,
        /// Its number.
        reply: ReplyId,
        /// The text.
        text: String,
    },
    /// A file from the agent, complete.
    File {
        /// The turn it came from, if any.
        turn: Option<TurnId>,
        /// Its number among the replies.
        reply: ReplyId,
        /// Its name.
        name: String,
        /// Where it lies on the host.
        path: String,
        /// Its size in bytes.
        bytes: u64,
        /// What the agent says about it.
        caption: Option<String>,
    },
    /// The agent changed what it said in an earlier reply.
    Edited {
        /// The turn that changed it, if any.
        turn: Option<TurnId>,
        /// The change's own number among the replies.
        edit: ReplyId,
        /// The reply that is changed.
        reply: ReplyId,
        /// The text now.
        text: String,
    },
    /// The agent reacted to a message.
    Reacted {
        /// The turn that reacted, if any.
        turn: Option<TurnId>,
        /// Its number among the replies.
        reply: ReplyId,
        /// The message.
        message: MessageId,
        /// With what.
        emoji: String,
    },
    /// The agent asks, and waits: the next message of the chat is the answer.
    Question {
        /// The turn that asks, if any.
        turn: Option<TurnId>,
        /// Its number among the replies.
        reply: ReplyId,
        /// What it wants to know.
        question: String,
        /// What can be answered, numbered from 1; anything else is a free answer.
        options: Vec<String>,
        /// Until when it waits, ms since 1970.
        expires_at: i64,
    },
    /// An error notice or another word from Cofferdam itself.
    Notice {
        /// The turn it came from, if any.
        turn: Option<TurnId>,
        /// Its number among the replies.
        reply: ReplyId,
        /// The text.
        text: String,
    },
    /// The message's turn has ended and all its replies were handed over. The last event.
    Finished(Finished),
}

impl ChatEvent {
    /// The number of the reply or notice that it shows, by which a repeated one is known.
    pub fn number(&self) -> Option<ReplyId> {
        match self {
            Self::Reply { reply, .. }
            | Self::File { reply, .. }
            | Self::Edited { edit: reply, .. }
            | Self::Reacted { reply, .. }
            | Self::Question { reply, .. }
            | Self::Notice { reply, .. } => Some(*reply),
            _ => None,
        }
    }
}

/// The end of a chat message's turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finished {
    /// The session.
    pub session: SessionId,
    /// The turn; none when the message ended without one.
    pub turn: Option<TurnId>,
    /// The attempt that ran it.
    pub attempt: Attempt,
    /// The container that ran it.
    pub container: Option<String>,
    /// How it ended.
    pub outcome: ChatOutcome,
    /// Tokens, when the provider said.
    pub usage: Option<Usage>,
    /// How long the parts took.
    pub timings_ms: Timings,
}

/// How a chat message ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ChatOutcome {
    /// In a reply, or in a stated "nothing to say".
    Replied,
    /// In an error notice.
    Failed {
        /// What sort of failure.
        kind: FailureKind,
    },
    /// Somebody stopped it.
    Interrupted,
}

/// Milliseconds of the parts of one message's way. Parts that did not happen are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Accepted → a container could be started (waiting for a place).
    pub queued: Option<f64>,
    /// Engine's create and start.
    pub container_start: Option<f64>,
    /// Container started → provider ready.
    pub provider_ready: Option<f64>,
    /// The provider's own time for the turn.
    pub provider: Option<f64>,
    /// Accepted → finished.
    pub total: f64,
}
