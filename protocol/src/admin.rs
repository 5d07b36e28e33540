//! What the CLI and the daemon say to each other through the admin socket (HTTP/1.1 on a Unix socket, 0600).
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/groups` · `GET /v1/groups/{folder}` | [`Vec<Group>`] · [`Group`] |
//! | `PUT /v1/groups/{folder}` | registers the folder: [`Group`] |
//! | `DELETE /v1/groups/{folder}` | 204; stops its sessions and forgets its state, keeps its folder |
//! | `GET /v1/sessions?group=` · `GET /v1/sessions/{id}` | [`Vec<Session>`] · [`SessionDetail`] |
//! | `POST /v1/sessions/{id}/stop` | 204 when its container has ended |
//! | `GET /v1/sessions/{id}/logs` | the newest attempt's log, text; `?attempt=N` another one's |
//! | `GET /v1/sessions/{id}/diff` | [`TurnDiff`] of the newest turn that changed files; `?turn=N` another one's |
//! | `GET /v1/sessions/{id}/follow` | JSON lines of [`FollowEvent`] without end; `?attempt=N&offset=M` goes on there |
//! | `GET /v1/wirings` · `PATCH /v1/wirings` ([`WiringChange`]) | [`Vec<Wiring>`] · [`Wiring`] |
//! | `POST /v1/files?group=&name=` with a body of at most [`MAX_FILE_BYTES`] | [`StagedFile`], for a message of the group |
//! | `POST /v1/chat` ([`ChatRequest`]) | JSON lines of [`ChatEvent`] until the message's turn ended and its replies were handed over |
//!
//! Errors are an [`ErrorBody`] with a 4xx or 5xx status.

mod session;
mod wiring;

use serde::{Deserialize, Serialize};

use crate::ids::{Attempt, FileId, Folder, MessageId, ReplyId, SessionId, TurnId};
use crate::runner::{ActivityKind, FailureKind, ProviderKind, Usage};

pub use session::{
    CompactionRecord, ContextView, Conversation, FOLLOW_TAIL_LINES, FollowEvent, OpenQuestion, SessionDetail,
    Setting, SettingSource, ToolCallRecord, ToolCallState, TurnDiff, TurnFailure,
};
pub use wiring::{Wiring, WiringChange};

/// An error as people read it, and a kind for scripts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Chooses the CLI's exit code.
    pub kind: ErrorKind,
    /// What failed, on what.
    pub message: String,
    /// What to do now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Kinds of errors; each has one stable exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Something in Cofferdam itself (exit 1).
    Internal,
    /// The command line is wrong (exit 2).
    Usage,
    /// A configuration file is wrong (exit 3).
    Config,
    /// The named thing does not exist (exit 4).
    NotFound,
    /// It exists already, or another daemon has the home (exit 5).
    Conflict,
    /// The Docker engine cannot be reached or refused (exit 6).
    Engine,
    /// The image is missing and could not be built (exit 7).
    Image,
    /// The daemon cannot be reached, or went away (exit 8).
    Daemon,
    /// The disk refused: full, read-only or no rights (exit 9).
    Disk,
    /// The turn ended in an error notice (exit 10).
    TurnFailed,
    /// The turn was interrupted (exit 11).
    TurnInterrupted,
    /// A check of `doctor` failed (exit 12).
    Unhealthy,
}

impl ErrorKind {
    /// The stable exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::Engine => 6,
            Self::Image => 7,
            Self::Daemon => 8,
            Self::Disk => 9,
            Self::TurnFailed => 10,
            Self::TurnInterrupted => 11,
            Self::Unhealthy => 12,
        }
    }
}

/// A registered group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// Its folder under `groups/`.
    pub folder: Folder,
    /// The folder's path on the host.
    pub path: String,
    /// When it was registered: RFC 3339, UTC.
    pub registered_at: String,
    /// Its settings as last read from `container.json`.
    pub config: serde_json::Value,
    /// What is wrong with `container.json` now, if anything.
    pub config_error: Option<String>,
}

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// No container; starts on the next message.
    Stopped,
    /// Waits for a place under `max_sessions`.
    Queued,
    /// Its container is starting.
    Starting,
    /// Its container waits for messages.
    Idle,
    /// A turn is running.
    Busy,
    /// Its container is being stopped.
    Stopping,
}

/// A session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its group.
    pub group: Folder,
    /// `channel:chat` and `#thread`, if any.
    pub chat: String,
    /// Where it is in its life.
    pub state: SessionState,
    /// What it waits for, or what is notable about it now, in words.
    pub note: Option<String>,
    /// Its newest attempt; 0 before the first start.
    pub attempt: Attempt,
    /// The provider of its newest start.
    pub provider: Option<ProviderKind>,
    /// The provider's thread.
    pub continuation: Option<String>,
    /// The container that serves it now.
    pub container: Option<String>,
    /// Turns so far.
    pub turns: u64,
    /// Messages that wait.
    pub waiting: u64,
    /// Last time something happened: RFC 3339, UTC.
    pub active_at: String,
    /// Whether `container.json` changed since the container started.
    pub config_changed: bool,
    /// When messages that failed in a way that can pass are tried again: RFC 3339, UTC.
    pub retry_at: Option<String>,
}

/// The daemon as a whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Cofferdam's version.
    pub version: String,
    /// The home directory.
    pub home: String,
    /// This installation's id, the label of its containers.
    pub install: String,
    /// The daemon's process id.
    pub pid: u32,
    /// Seconds since it started; none when the answer came from a command that hosted itself.
    pub uptime_secs: Option<u64>,
    /// The account that serves model calls.
    pub account: String,
    /// The most containers at once.
    pub max_sessions: usize,
    /// Containers now.
    pub running: usize,
    /// Sessions that wait for a place.
    pub queued: usize,
    /// Registered groups.
    pub groups: usize,
    /// What the engine last said, when it could not be used.
    pub engine_error: Option<String>,
    /// Groups whose `container.json` has errors or awaits a restart of their sessions, in words.
    pub notes: Vec<String>,
    /// Messages that the router dropped, by reason.
    pub dropped: Vec<Dropped>,
    /// Sessions that live or wait.
    pub sessions: Vec<Session>,
}

/// A count of dropped messages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dropped {
    /// `channel:chat`.
    pub chat: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
}

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
    /// The session cannot go on by itself just now, such as without an engine. The message stays accepted and is
    /// answered when the trouble is over; a one-shot client need not wait for that.
    Blocked {
        /// What sort of trouble.
        kind: ErrorKind,
        /// What failed.
        message: String,
        /// What to do.
        hint: Option<String>,
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
