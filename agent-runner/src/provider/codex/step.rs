//! What follows from one notification of a turn.

use cofferdam_protocol::runner::{ActivityKind, Compaction, Failure, FailureKind, Outcome, Usage};

use super::failure::failure;
use super::protocol::{CommandAction, Item, TurnCompleted, TurnStatus};

/// What follows from one notification.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Only that something moves.
    Alive,
    /// A piece of the answer.
    Delta(String),
    /// A reply for the chat at once.
    Reply(String),
    /// Something to show.
    Activity(ActivityKind, String),
    /// Codex compacted the conversation by itself.
    Compacted(Compaction),
    /// Tokens of the turn so far.
    Tokens(Usage),
    /// The turn has what was sent under this name.
    Taken {
        /// The name.
        client_id: String,
        /// It cut an answer that was being written, of which nothing remains.
        cut: bool,
    },
    /// A call of an MCP server's tool failed on the way.
    McpFailed {
        /// The server.
        server: String,
        /// How.
        error: String,
    },
    /// The turn is over.
    End(Outcome),
}

/// What an item that begins is for whoever watches.
pub(super) fn began(item: Item) -> Step {
    match item {
        Item::CommandExecution { command, command_actions, .. } => {
            Step::Activity(ActivityKind::CommandStarted, plain_command(command, &command_actions))
        }
        Item::Reasoning {} => Step::Activity(ActivityKind::Reasoning, String::new()),
        Item::McpToolCall { server, tool, .. } => Step::Activity(ActivityKind::Tool, format!("{server}: {tool}")),
        Item::DynamicToolCall { tool } => Step::Activity(ActivityKind::Tool, tool),
        Item::WebSearch { query } => Step::Activity(ActivityKind::Tool, format!("web search: {query}")),
        Item::ContextCompaction {} => Step::Activity(ActivityKind::Compacting, String::new()),
        Item::AgentMessage { .. } | Item::UserMessage { .. } | Item::FileChange { .. } | Item::Other => Step::Alive,
    }
}

/// The command as the model wrote it, without the shell around it, where codex says so.
pub(super) fn plain_command(command: String, actions: &[CommandAction]) -> String {
    match actions {
        [only] => only.command.clone(),
        _ => command,
    }
}

/// How a turn ended.
pub(super) fn ended(end: &TurnCompleted) -> Step {
    let failed = |kind, message: &str| Outcome::Failed(Failure::new(kind, message));
    Step::End(match (end.turn.status, &end.turn.error) {
        (TurnStatus::Completed, _) => Outcome::Completed,
        (TurnStatus::Interrupted, _) => Outcome::Interrupted,
        (_, Some(error)) => Outcome::Failed(failure(error)),
        (_, None) => failed(FailureKind::Other, "codex says that the turn failed, but not why"),
    })
}
