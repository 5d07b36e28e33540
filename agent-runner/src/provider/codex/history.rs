//! A thread's history as `thread/turns/list` shows it.

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::method;
use super::protocol::TurnStatus;

/// Parameters of [`method::TURNS_LIST`]: the newest come first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TurnsParams {
    /// The thread.
    pub thread_id: String,
    /// How many.
    pub limit: u32,
    /// With all their items.
    pub items_view: &'static str,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The answer to [`method::TURNS_LIST`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TurnsAnswer {
    /// The turns, newest first.
    pub data: Vec<PastTurn>,
    /// Where older ones are.
    pub next_cursor: Option<String>,
}

/// A turn of a thread's history.
#[derive(Debug, Deserialize)]
pub struct PastTurn {
    /// How it ended; a process that died leaves it [`TurnStatus::Interrupted`].
    pub status: TurnStatus,
    /// What is kept of it.
    pub items: Vec<PastItem>,
}

/// What a turn of the history consists of.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PastItem {
    /// What was given to the turn.
    UserMessage {
        /// The id that the client gave it.
        client_id: Option<String>,
    },
    /// What the agent said, complete.
    AgentMessage {
        /// What it says.
        text: String,
        /// Whether it is commentary or an answer.
        phase: Option<String>,
        /// Whether it was meant for the user at once.
        delivery: Option<String>,
    },
    /// The history before it was replaced by a summary.
    ContextCompaction {},
    /// Anything else.
    #[serde(other)]
    Other,
}
