//! What happened in the container.

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use crate::ids::{Attempt, MessageId, Seq, TurnId};

/// Path of [`EventBatch`] → [`EventAck`].
pub const EVENTS: &str = "/runner/events";
/// The largest body of an [`EventBatch`] that the host takes, in bytes.
pub const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;
/// The most events in one [`EventBatch`].
pub const MAX_EVENTS: usize = 1000;

/// Events of one attempt, in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventBatch {
    /// The caller's attempt.
    pub attempt: Attempt,
    /// The events; their `seq` grow.
    pub events: Vec<Event>,
}

/// One event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the attempt's stream.
    pub seq: Seq,
    /// The turn that it belongs to, if any.
    pub turn: Option<TurnId>,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened in the container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventBody {
    /// The provider is ready on this thread; the host keeps the continuation.
    Ready {
        /// The conversation that the thread belongs to.
        generation: u64,
        /// The provider's thread.
        continuation: String,
        /// Milliseconds from the runner's start until the provider was ready.
        millis: u64,
        /// The models that the provider knows, best first; empty leaves what the host knows.
        models: Vec<Model>,
    },
    /// A piece of the answer, as it is written. Shown live, not kept.
    Delta {
        /// The piece.
        text: String,
    },
    /// Something the agent does. Shown live, not kept. Also the sign of life during long work.
    Activity {
        /// What kind.
        kind: ActivityKind,
        /// One line for people, such as the command.
        text: String,
    },
    /// A reply that is meant for the chat at once. Kept: it goes out before the turn ends.
    Reply {
        /// What the agent says.
        text: String,
    },
    /// The provider has these messages in the running turn. Kept: they are the turn's.
    Steered {
        /// The messages.
        messages: Vec<MessageId>,
    },
    /// A compaction ended. Kept, with what the conversation's meter shows after it.
    Compacted(Compaction),
    /// An MCP server's state changed. Kept for people to see.
    Mcp(McpState),
    /// The turn's end. Kept: the messages are done and the replies go out.
    Finish(Box<Finish>),
}

/// A model that the provider knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// The efforts that it takes, least first.
    pub efforts: Vec<String>,
    /// What it uses when none is named.
    pub default_effort: Option<String>,
    /// Whether the provider uses it when none is named.
    pub default: bool,
}

/// Input tokens of a conversation since its last compaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextMeter {
    /// Their sum over all model calls.
    pub since_compaction: u64,
    /// The provider's running total when it was last heard; increases from here count. None before the first.
    pub last_total: Option<u64>,
}

/// A compaction that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compaction {
    /// Why it ran.
    pub cause: CompactionCause,
    /// How it ended.
    pub outcome: CompactionOutcome,
    /// Input tokens since the compaction before it, when it began.
    pub before: u64,
    /// What the meter shows now.
    pub meter: ContextMeter,
    /// How long it took.
    pub millis: u64,
}

/// Why a compaction ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompactionCause {
    /// The group's threshold was reached.
    Threshold,
    /// Somebody wrote `/compact`.
    ByHand,
    /// The provider did it by itself, inside a turn.
    Automatic,
}

/// How a compaction ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CompactionOutcome {
    /// The conversation is shorter now.
    Completed,
    /// It failed, hung or was interrupted; the conversation is as it was, and it is tried after the next turn.
    Failed {
        /// Why.
        message: String,
    },
}

/// How an MCP server stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct McpState {
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub status: McpStatus,
    /// Why it failed.
    pub error: Option<String>,
}

/// Where an MCP server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum McpStatus {
    /// It is being started.
    Starting,
    /// Its tools can be called.
    Ready,
    /// It could not be started, or it died.
    Failed,
}

impl EventBody {
    /// Whether the event changes what the host keeps, and so needs a commit before it is acknowledged.
    pub fn is_durable(&self) -> bool {
        !matches!(self, Self::Delta { .. } | Self::Activity { .. })
    }
}

/// Kinds of [`EventBody::Activity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivityKind {
    /// A command began; the text is the command.
    CommandStarted,
    /// A command ended; the text says how.
    CommandFinished,
    /// A file was changed.
    FileChange,
    /// The model thinks.
    Reasoning,
    /// A tool is called.
    Tool,
    /// The provider tries a model call again; the text says why.
    Retrying,
    /// The agent says what it is about to do. Progress, not a reply.
    Commentary,
    /// The agent's plan, a line for each step: `[x]` done, `[>]` in progress, `[ ]` open.
    Plan,
    /// Tokens of the turn so far, in words.
    Tokens,
    /// The conversation is being compacted.
    Compacting,
    /// Nothing to show; something moved.
    Alive,
}

/// A turn's end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finish {
    /// How it ended.
    pub outcome: Outcome,
    /// The agent's messages, in order, less those that went out as [`EventBody::Reply`]. May be there after a failure.
    pub replies: Vec<String>,
    /// How many of these, from the first, were found in the thread: an earlier turn said them, and the chat may have them.
    #[serde(default)]
    pub found: usize,
    /// Where the conversation stands after the turn; none leaves what the host knows.
    pub thread: Option<super::Thread>,
    /// The earlier thread could not be resumed, and this turn ran on a fresh one: why, for the log.
    pub lost_thread: Option<String>,
    /// What the turn changed in files, as a unified diff, bounded; none when nothing changed.
    pub diff: Option<String>,
    /// Tokens of the turn, when the provider said.
    pub usage: Option<Usage>,
    /// Milliseconds that the provider itself took for the turn: request sent → end of turn seen.
    pub provider_millis: f64,
}

impl Finish {
    /// An end of which nothing but the outcome is known.
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            replies: Vec::new(),
            found: 0,
            thread: None,
            lost_thread: None,
            diff: None,
            usage: None,
            provider_millis: 0.0,
        }
    }
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The agent finished; no replies mean that it had nothing to say.
    Completed,
    /// Somebody stopped it.
    Interrupted,
    /// It failed.
    Failed(Failure),
}

/// Tokens of one turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Input tokens, cached ones included.
    pub input: u64,
    /// Cached input tokens.
    pub cached_input: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// Reasoning tokens.
    pub reasoning: u64,
}

impl Usage {
    /// Both together; more than can be counted counts as that.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached_input: self.cached_input.saturating_add(other.cached_input),
            output: self.output.saturating_add(other.output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }
}

/// Acknowledges a batch: everything up to `acked` is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventAck {
    /// The highest sequence number that the host has.
    pub acked: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::{FailureKind, Next};

    #[test]
    fn events_read_back_as_they_were_written() {
        let batch = EventBatch {
            attempt: Attempt(3),
            events: vec![Event {
                seq: Seq(1),
                turn: Some(TurnId(7)),
                body: EventBody::Finish(Box::new(Finish {
                    replies: vec!["a".into()],
                    usage: Some(Usage { input: 1, ..Usage::default() }),
                    provider_millis: 1.5,
                    ..Finish::new(Outcome::Failed(Failure::new(FailureKind::Silence, "x")))
                })),
            }],
        };
        let text = serde_json::to_string(&batch).unwrap();
        let back: EventBatch = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }

    #[test]
    fn next_is_tagged() {
        assert_eq!(serde_json::to_string(&Next::Stop).unwrap(), r#"{"next":"stop"}"#);
    }
}
