//! The poll loop's API: what the runner asks of the door, and what it is told.
//!
//! All are `POST` with a JSON body. `hello` needs no token and hands one out **once** per attempt; every other
//! call carries it as `Authorization: Bearer`. Answers other than 200 carry a [`Refusal`]:
//! 401 no or wrong token · 409 stale attempt, or a second `hello` (the runner must exit) · 426 another protocol
//! version · 400 malformed · 503 the host cannot just now (try again).

use serde::{Deserialize, Serialize};

use crate::ids::{Attempt, MessageId, Seq, SessionId, TurnId};

/// Path of [`Hello`] → [`Welcome`].
pub const HELLO: &str = "/runner/hello";
/// Path of [`NextRequest`] → [`Next`]; answered when there is something to say, or after [`LONG_POLL_SECS`].
pub const NEXT: &str = "/runner/next";
/// Path of [`EventBatch`] → [`EventAck`].
pub const EVENTS: &str = "/runner/events";
/// How long the host holds a `next` open, in seconds. Below the minute after which idle proxies cut.
pub const LONG_POLL_SECS: u64 = 50;
/// The largest body of an [`EventBatch`] that the host takes, in bytes.
pub const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// Environment variable with the attempt's number.
pub const ENV_ATTEMPT: &str = "COFFERDAM_ATTEMPT";
/// Environment variable with the path of the door's socket inside the container.
pub const ENV_DOOR: &str = "COFFERDAM_DOOR";
/// Where the door's socket is in the container when [`ENV_DOOR`] is not set.
pub const DOOR_SOCKET: &str = "/run/cofferdam/door.sock";
/// The loopback port in the container that the runner forwards to the door.
pub const FORWARD_PORT: u16 = 8787;

/// The runner's first words.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`crate::RUNNER_PROTOCOL`] of the runner.
    pub protocol: u32,
    /// The runner's own version, for logs.
    pub version: String,
    /// The attempt that the container was started with.
    pub attempt: Attempt,
}

/// The host's answer to [`Hello`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Welcome {
    /// Bearer token for the other calls, given once; it lives in the runner's memory only.
    pub token: String,
    /// The session that this container serves.
    pub session: SessionId,
    /// The provider thread to resume; none for a fresh session.
    pub continuation: Option<String>,
    /// What to run, and how.
    pub settings: Settings,
}

/// Which provider drives the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// `codex app-server`.
    Codex,
    /// Answers at once by itself; for tests of everything else.
    Mock,
}

/// A session's settings as the runner needs them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// The provider.
    pub provider: ProviderKind,
    /// The model's name; none leaves it to the provider's configuration.
    pub model: Option<String>,
    /// Reasoning effort; none leaves it to the model.
    pub effort: Option<String>,
    /// Cofferdam's own instructions for the agent.
    pub instructions: String,
    /// The agent's working directory in the container.
    pub cwd: String,
    /// A turn in which nothing moves for so many seconds is interrupted.
    pub silence_secs: u64,
}

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
    Batch(Batch),
    /// Nothing yet: ask again.
    Idle,
    /// Stop the provider and exit 0.
    Stop,
}

/// The messages of one turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Batch {
    /// The turn.
    pub turn: TurnId,
    /// Its messages, oldest first; never empty.
    pub messages: Vec<BatchMessage>,
}

/// One message of a batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BatchMessage {
    /// Its id in the group's inbox.
    pub id: MessageId,
    /// Who wrote it, as the channel names them.
    pub sender: String,
    /// When it was accepted: RFC 3339, UTC.
    pub time: String,
    /// What they wrote.
    pub text: String,
}

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
        /// The provider's thread.
        continuation: String,
        /// Milliseconds from the runner's start until the provider was ready.
        millis: u64,
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
    /// The turn's end. Kept: the messages are done and the replies go out.
    Finish(Finish),
}

impl EventBody {
    /// Whether the event changes what the host keeps, and so needs a commit before it is acknowledged.
    pub fn is_durable(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Finish(_))
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
    /// Nothing to show; something moved.
    Alive,
}

/// A turn's end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finish {
    /// How it ended.
    pub outcome: Outcome,
    /// The agent's messages, in order. May be there after a failure too.
    pub replies: Vec<String>,
    /// The provider's thread after the turn, if it has one.
    pub continuation: Option<String>,
    /// Tokens of the turn, when the provider said.
    pub usage: Option<Usage>,
    /// Milliseconds that the provider itself took for the turn: request sent → end of turn seen.
    pub provider_millis: f64,
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

/// Why a turn failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What sort of failure; chooses the advice in the notice.
    pub kind: FailureKind,
    /// What the provider said, one or two lines, no secrets.
    pub message: String,
}

/// Sorts of failures, independent of any provider's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The account's limit or credit is used up.
    UsageLimit,
    /// The vendor limits the rate of requests (429).
    RateLimited,
    /// The credential was refused (401, 403).
    Unauthorized,
    /// The model is not known or not allowed.
    ModelNotFound,
    /// The conversation does not fit into the model's window.
    ContextWindow,
    /// The vendor is overloaded or failed (5xx).
    Upstream,
    /// The vendor could not be reached, or the stream was cut.
    Connection,
    /// Nothing moved for the group's silence time-out.
    Silence,
    /// The provider's process died.
    ProviderDied,
    /// The provider could not start.
    ProviderStart,
    /// The provider's thread could not be resumed.
    StaleThread,
    /// Anything else.
    Other,
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

/// Acknowledges a batch: everything up to `acked` is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventAck {
    /// The highest sequence number that the host has.
    pub acked: Seq,
}

/// Why a call was refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    /// One line for logs.
    pub error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_back_as_they_were_written() {
        let batch = EventBatch {
            attempt: Attempt(3),
            events: vec![Event {
                seq: Seq(1),
                turn: Some(TurnId(7)),
                body: EventBody::Finish(Finish {
                    outcome: Outcome::Failed(Failure { kind: FailureKind::Silence, message: "x".into() }),
                    replies: vec!["a".into()],
                    continuation: None,
                    usage: Some(Usage { input: 1, ..Usage::default() }),
                    provider_millis: 1.5,
                }),
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
