//! What a turn's notifications mean, without I/O: texts, things to show, and the end.

use std::time::Instant;

use cofferdam_protocol::runner::{
    ActivityKind, BatchMessage, Compaction, CompactionCause, CompactionOutcome, Failure, FailureKind, Outcome,
};

use super::failure::{failure, words};
use super::jsonrpc::Notification;
use super::limits::Limits;
use super::protocol::{Item, Notice, TurnCompleted, TurnStatus};
use super::tokens::Meter;

/// The text of a turn's input: one message alone, several each under who wrote it and when.
pub fn input(messages: &[BatchMessage]) -> String {
    match messages {
        [only] => only.text.clone(),
        several => {
            let part = |message: &BatchMessage| format!("[{}, {}]\n{}", message.sender, message.time, message.text);
            several.iter().map(part).collect::<Vec<_>>().join("\n\n")
        }
    }
}

/// What follows from one notification.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Only that something moves.
    Alive,
    /// A piece of the answer.
    Delta(String),
    /// Something to show.
    Activity(ActivityKind, String),
    /// Codex compacted the conversation by itself.
    Compacted(Compaction),
    /// The turn is over.
    End(Outcome),
}

/// A running turn, as far as it was heard.
#[derive(Debug)]
pub struct TurnLog<'a> {
    thread: &'a str,
    turn: &'a str,
    meter: &'a mut Meter,
    /// Complete messages, in order.
    pub replies: Vec<String>,
    /// The account's limits, as far as the turn said.
    pub limits: Limits,
    /// Since when codex compacts by itself.
    compacting: Option<Instant>,
    /// Where the messages of the current model call begin in `replies`.
    call: usize,
    /// Messages of calls that were cut and are tried again: the same text once more is a repetition.
    repeatable: Vec<String>,
}

impl<'a> TurnLog<'a> {
    /// Nothing heard yet.
    pub fn new(thread: &'a str, turn: &'a str, meter: &'a mut Meter) -> Self {
        Self {
            thread,
            turn,
            meter,
            replies: Vec::new(),
            limits: Limits::default(),
            compacting: None,
            call: 0,
            repeatable: Vec::new(),
        }
    }

    /// Takes in one notification.
    pub fn hear(&mut self, notification: &Notification) -> Step {
        match Notice::read(&notification.method, notification.params.get()) {
            Ok(notice) => self.take(notice),
            Err(error) if notification.method == super::method::TURN_COMPLETED => {
                let message = format!("the end of the turn cannot be read: {error}");
                Step::End(Outcome::Failed(Failure::new(FailureKind::Other, message)))
            }
            Err(error) => {
                tracing::warn!(%error, method = notification.method, "a notification from codex is malformed");
                Step::Alive
            }
        }
    }

    fn take(&mut self, notice: Notice) -> Step {
        match notice {
            Notice::TurnCompleted(end) if end.thread_id == self.thread && end.turn.id == self.turn => ended(&end),
            Notice::ItemStarted(event) if event.thread_id == self.thread => {
                if matches!(event.item, Item::ContextCompaction {}) {
                    self.compacting = Some(Instant::now());
                }
                began(event.item)
            }
            Notice::ItemCompleted(event) if event.thread_id == self.thread => self.completed(event.item),
            Notice::Delta(delta) if delta.thread_id == self.thread => Step::Delta(delta.delta),
            Notice::Error(event) if event.thread_id == self.thread && event.will_retry => {
                self.repeatable.extend(self.replies[self.call..].iter().cloned());
                self.call = self.replies.len();
                Step::Activity(ActivityKind::Retrying, words(&event.error))
            }
            Notice::Tokens(event) if event.thread_id == self.thread => {
                if event.turn_id != self.turn {
                    self.meter.rebase(&event.token_usage);
                } else if self.meter.count(&event.token_usage) {
                    self.call = self.replies.len();
                    self.repeatable.clear();
                }
                Step::Alive
            }
            Notice::RateLimits(update) => {
                self.limits.learn(update.rate_limits);
                Step::Alive
            }
            Notice::Warning(warning) => {
                tracing::info!(warning = %crate::outbox::one_line(&warning.message, 300), "codex warns");
                Step::Alive
            }
            _ => Step::Alive,
        }
    }

    fn completed(&mut self, item: Item) -> Step {
        match item {
            Item::AgentMessage { text } => {
                if let Some(at) = self.repeatable.iter().position(|earlier| *earlier == text) {
                    self.repeatable.remove(at);
                } else if !text.trim().is_empty() {
                    self.replies.push(text);
                }
                Step::Alive
            }
            Item::CommandExecution { command, command_actions, exit_code } => {
                let command = plain_command(command, &command_actions);
                let how = exit_code.map_or_else(|| "ended".to_owned(), |code| format!("exit code {code}"));
                Step::Activity(ActivityKind::CommandFinished, format!("{how}: {command}"))
            }
            Item::FileChange { changes } => {
                let paths: Vec<_> = changes.iter().map(|change| change.path.as_str()).collect();
                Step::Activity(ActivityKind::FileChange, paths.join(", "))
            }
            Item::ContextCompaction {} => self.compacted(),
            _ => Step::Alive,
        }
    }

    fn compacted(&mut self) -> Step {
        let took = self.compacting.take().map(|begun| begun.elapsed().as_millis()).unwrap_or_default();
        let before = self.meter.compacted();
        Step::Compacted(Compaction {
            cause: CompactionCause::Automatic,
            outcome: CompactionOutcome::Completed,
            before,
            meter: self.meter.context(),
            millis: u64::try_from(took).unwrap_or(u64::MAX),
        })
    }
}

fn began(item: Item) -> Step {
    match item {
        Item::CommandExecution { command, command_actions, .. } => {
            Step::Activity(ActivityKind::CommandStarted, plain_command(command, &command_actions))
        }
        Item::Reasoning {} => Step::Activity(ActivityKind::Reasoning, String::new()),
        Item::McpToolCall { server, tool } => Step::Activity(ActivityKind::Tool, format!("{server}: {tool}")),
        Item::DynamicToolCall { tool } => Step::Activity(ActivityKind::Tool, tool),
        Item::WebSearch { query } => Step::Activity(ActivityKind::Tool, format!("web search: {query}")),
        Item::ContextCompaction {} => Step::Activity(ActivityKind::Compacting, String::new()),
        Item::AgentMessage { .. } | Item::FileChange { .. } | Item::Other => Step::Alive,
    }
}

/// The command as the model wrote it, without the shell around it, where codex says so.
fn plain_command(command: String, actions: &[super::protocol::CommandAction]) -> String {
    match actions {
        [only] => only.command.clone(),
        _ => command,
    }
}

fn ended(end: &TurnCompleted) -> Step {
    let failed = |kind, message: &str| Outcome::Failed(Failure::new(kind, message));
    Step::End(match (end.turn.status, &end.turn.error) {
        (TurnStatus::Completed, _) => Outcome::Completed,
        (TurnStatus::Interrupted, _) => Outcome::Interrupted,
        (_, Some(error)) => Outcome::Failed(failure(error)),
        (_, None) => failed(FailureKind::Other, "codex says that the turn failed, but not why"),
    })
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::ids::MessageId;
    use serde_json::{Value, json};

    use super::*;

    fn hear(log: &mut TurnLog, method: &str, mut params: Value) -> Step {
        params["threadId"] = "T".into();
        let params = serde_json::value::to_raw_value(&params).unwrap();
        log.hear(&Notification { method: method.into(), params })
    }

    fn says(log: &mut TurnLog, text: &str, phase: Value) {
        let item = json!({"type": "agentMessage", "id": "i", "text": text, "phase": phase});
        hear(log, "item/completed", json!({"item": item, "turnId": "t"}));
    }

    fn tokens(log: &mut TurnLog, total: i64) {
        let count =
            |n| json!({"inputTokens": n, "cachedInputTokens": 0, "outputTokens": 0, "reasoningOutputTokens": 0});
        let usage = json!({"total": count(total), "last": count(10)});
        hear(log, "thread/tokenUsage/updated", json!({"turnId": "t", "tokenUsage": usage}));
    }

    fn retries(log: &mut TurnLog) -> Step {
        let error =
            json!({"message": "Reconnecting... 1/2", "codexErrorInfo": "other", "additionalDetails": "cut"});
        hear(log, "error", json!({"error": error, "willRetry": true, "turnId": "t"}))
    }

    #[test]
    fn all_messages_are_kept_in_order_whatever_their_phase() {
        let mut meter = Meter::fresh();
        let mut log = TurnLog::new("T", "t", &mut meter);
        says(&mut log, "looking", json!("commentary"));
        says(&mut log, " ", json!(null));
        says(&mut log, "done", json!("final_answer"));
        assert_eq!(log.replies, ["looking", "done"]);
    }

    #[test]
    fn a_message_repeated_after_a_cut_stream_is_not_doubled() {
        let mut meter = Meter::fresh();
        let mut log = TurnLog::new("T", "t", &mut meter);
        says(&mut log, "before", json!(null));
        tokens(&mut log, 10);
        says(&mut log, "same", json!(null));
        // Codex repeats the old count before it says that it tries again.
        tokens(&mut log, 10);
        assert_eq!(retries(&mut log), Step::Activity(ActivityKind::Retrying, "Reconnecting... 1/2 (cut)".into()));
        says(&mut log, "same", json!(null));
        tokens(&mut log, 20);
        assert_eq!(log.replies, ["before", "same"]);
        // Said twice on purpose, in two model calls, it stays twice.
        says(&mut log, "same", json!(null));
        assert_eq!(log.replies, ["before", "same", "same"]);
    }

    #[test]
    fn only_the_own_turns_completion_ends_it() {
        let mut meter = Meter::fresh();
        let mut log = TurnLog::new("T", "t", &mut meter);
        let end =
            |id: &str, status: &str, error: Value| json!({"turn": {"id": id, "status": status, "error": error}});
        assert_eq!(hear(&mut log, "turn/completed", end("older", "completed", json!(null))), Step::Alive);
        let over = Step::End(Outcome::Completed);
        assert_eq!(hear(&mut log, "turn/completed", end("t", "completed", json!(null))), over);
        assert_eq!(
            hear(&mut log, "turn/completed", end("t", "interrupted", json!(null))),
            Step::End(Outcome::Interrupted)
        );
        let error = json!({"message": "m", "codexErrorInfo": "usageLimitExceeded"});
        let failure = Failure::new(FailureKind::UsageLimit, "m");
        assert_eq!(
            hear(&mut log, "turn/completed", end("t", "failed", error)),
            Step::End(Outcome::Failed(failure))
        );
        // Unreadable: better an error than waiting for ever.
        assert!(matches!(hear(&mut log, "turn/completed", json!({})), Step::End(Outcome::Failed(_))));
    }

    #[test]
    fn commands_are_shown_as_the_model_wrote_them() {
        let mut meter = Meter::fresh();
        let mut log = TurnLog::new("T", "t", &mut meter);
        let item = json!({"type": "commandExecution", "id": "c", "command": "/bin/bash -lc 'exit 3'", "exitCode": 3,
            "commandActions": [{"type": "unknown", "command": "exit 3"}]});
        let done = hear(&mut log, "item/completed", json!({"item": item, "turnId": "t"}));
        assert_eq!(done, Step::Activity(ActivityKind::CommandFinished, "exit code 3: exit 3".into()));
    }

    #[test]
    fn a_compaction_inside_the_turn_zeroes_the_meter_and_is_told() {
        let mut meter = Meter::fresh();
        let mut log = TurnLog::new("T", "t", &mut meter);
        tokens(&mut log, 900);
        let item = json!({"item": {"type": "contextCompaction", "id": "c"}, "turnId": "t"});
        assert_eq!(
            hear(&mut log, "item/started", item.clone()),
            Step::Activity(ActivityKind::Compacting, String::new())
        );
        let Step::Compacted(compaction) = hear(&mut log, "item/completed", item) else { panic!("not compacted") };
        assert_eq!((compaction.cause, compaction.before), (CompactionCause::Automatic, 900));
        assert_eq!((compaction.meter.since_compaction, compaction.meter.last_total), (0, Some(900)));
        tokens(&mut log, 950);
        assert_eq!(meter.context().since_compaction, 50);
    }

    #[test]
    fn several_messages_say_who_wrote_them() {
        let message = |sender: &str, text: &str| BatchMessage {
            id: MessageId(1),
            sender: sender.into(),
            time: "2026-01-02T03:04:05Z".into(),
            text: text.into(),
            files: Vec::new(),
        };
        assert_eq!(input(&[message("ann", "hi")]), "hi");
        assert_eq!(
            input(&[message("ann", "hi"), message("bob", "ho")]),
            "[ann, 2026-01-02T03:04:05Z]\nhi\n\n[bob, 2026-01-02T03:04:05Z]\nho"
        );
    }
}
