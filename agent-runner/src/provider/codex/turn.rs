//! What a turn's notifications mean, without I/O: texts, things to show, and the end. [`Step`] is one of them.

use std::time::Instant;

use cofferdam_protocol::runner::{
    ActivityKind, Compaction, CompactionCause, CompactionOutcome, Failure, FailureKind, Finish, Outcome,
};

use super::failure::words;
use super::jsonrpc::Notification;
use super::limits::Limits;
use super::progress::{bounded_diff, plan_lines};
use super::protocol::{Item, Notice};
use super::said::{Manner, Said};
use super::step::{Step, began, ended, plain_command};
use super::tokens::Meter;
use super::watch::WatchEnd;
use crate::bounds::one_line;

/// A running turn, as far as it was heard.
#[derive(Debug)]
pub struct TurnLog<'a> {
    thread: &'a str,
    turn: &'a str,
    meter: &'a mut Meter,
    /// The account's limits, as far as the turn said.
    pub limits: Limits,
    /// Since when codex compacts by itself.
    compacting: Option<Instant>,
    /// What the agent said.
    said: Said,
    /// A part of a message was shown that is not complete.
    half_said: bool,
    /// Commands and calls of MCP servers' tools that began, less those that ended.
    running: usize,
    /// What the turn changed in files, the latest.
    diff: Option<String>,
}

impl<'a> TurnLog<'a> {
    /// Nothing heard yet.
    pub fn new(thread: &'a str, turn: &'a str, meter: &'a mut Meter) -> Self {
        Self {
            thread,
            turn,
            meter,
            limits: Limits::default(),
            compacting: None,
            said: Said::default(),
            half_said: false,
            running: 0,
            diff: None,
        }
    }

    /// Adds what the turn came to, when it ended so: its replies in order, less those that went out at once, and what
    /// it changed. When a completed turn has nothing but commentary, its last is the answer.
    pub fn close(&self, end: &WatchEnd, finish: &mut Finish) {
        let completed = matches!(end, WatchEnd::Over(Outcome::Completed));
        finish.replies.extend(self.said.replies(completed && finish.replies.is_empty()));
        if let Some(diff) = self.diff.as_deref().filter(|diff| !diff.is_empty()) {
            // What a process changed before it was started again in this turn comes first.
            finish.diff = Some(bounded_diff(&(finish.diff.take().unwrap_or_default() + diff)));
        }
    }

    /// Whether a command or a tool of an MCP server runs, as far as codex says.
    pub fn runs_command(&self) -> bool {
        self.running > 0
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
                match event.item {
                    Item::ContextCompaction {} => self.compacting = Some(Instant::now()),
                    Item::CommandExecution { .. } | Item::McpToolCall { .. } => self.running += 1,
                    _ => {}
                }
                began(event.item)
            }
            Notice::ItemCompleted(event) if event.thread_id == self.thread => self.completed(event.item),
            Notice::Delta(delta) if delta.thread_id == self.thread => {
                self.half_said = true;
                Step::Delta(delta.delta)
            }
            Notice::Plan(event) if event.thread_id == self.thread => {
                Step::Activity(ActivityKind::Plan, plan_lines(&event.plan))
            }
            Notice::Diff(event) if event.turn_id == self.turn => {
                self.diff = Some(event.diff);
                Step::Alive
            }
            Notice::Error(event) if event.thread_id == self.thread && event.will_retry => {
                self.said.call_is_tried_again();
                Step::Activity(ActivityKind::Retrying, words(&event.error))
            }
            Notice::Tokens(event) if event.thread_id == self.thread => {
                if event.turn_id != self.turn {
                    self.meter.rebase(&event.token_usage);
                } else if self.meter.count(&event.token_usage) {
                    self.said.call_ended();
                    return self.meter.so_far().map_or(Step::Alive, Step::Tokens);
                }
                Step::Alive
            }
            Notice::RateLimits(update) => {
                self.limits.learn(update.rate_limits);
                Step::Alive
            }
            Notice::Warning(warning) => {
                tracing::info!(warning = %one_line(&warning.message, 300), "codex warns");
                Step::Alive
            }
            _ => Step::Alive,
        }
    }

    fn completed(&mut self, item: Item) -> Step {
        if matches!(item, Item::CommandExecution { .. } | Item::McpToolCall { .. }) {
            self.running = self.running.saturating_sub(1);
        }
        match item {
            Item::AgentMessage { text, phase, delivery } => {
                self.half_said = false;
                let manner = Manner::of(phase.as_deref(), delivery.as_deref());
                match manner {
                    _ if !self.said.add(&text, manner) => Step::Alive,
                    Manner::Reply => Step::Alive,
                    Manner::Async => Step::Reply(text),
                    Manner::Commentary => Step::Activity(ActivityKind::Commentary, text),
                }
            }
            Item::UserMessage { client_id: Some(client_id) } => {
                Step::Taken { client_id, cut: std::mem::take(&mut self.half_said) }
            }
            Item::McpToolCall { server, error: Some(error), .. } => {
                Step::McpFailed { server, error: error.message }
            }
            Item::ContextCompaction {} => self.compacted(),
            Item::CommandExecution { command, command_actions, exit_code } => {
                let command = plain_command(command, &command_actions);
                let how = exit_code.map_or_else(|| "ended".to_owned(), |code| format!("exit code {code}"));
                Step::Activity(ActivityKind::CommandFinished, format!("{how}: {command}"))
            }
            Item::FileChange { changes } => {
                let paths: Vec<_> = changes.iter().map(|change| change.path.as_str()).collect();
                Step::Activity(ActivityKind::FileChange, paths.join(", "))
            }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn hear(log: &mut TurnLog, method: &str, mut params: Value) -> Step {
        params["threadId"] = "T".into();
        let params = serde_json::value::to_raw_value(&params).unwrap();
        log.hear(&Notification { method: method.into(), params })
    }

    fn says(log: &mut TurnLog, text: &str, phase: Value) -> Step {
        let item = json!({"type": "agentMessage", "id": "i", "text": text, "phase": phase});
        hear(log, "item/completed", json!({"item": item, "turnId": "t"}))
    }

    fn replies(log: &TurnLog) -> Vec<String> {
        log.said.replies(true)
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
    fn commentary_is_shown_and_all_else_is_a_reply_in_order() {
        let mut meter = Meter::fresh();
        let mut log = TurnLog::new("T", "t", &mut meter);
        assert_eq!(
            says(&mut log, "looking", json!("commentary")),
            Step::Activity(ActivityKind::Commentary, "looking".into())
        );
        says(&mut log, "half", json!("partial_answer"));
        says(&mut log, " ", json!(null));
        says(&mut log, "older", json!(null));
        says(&mut log, "newer", json!("a_phase_of_tomorrow"));
        says(&mut log, "done", json!("final_answer"));
        assert_eq!(replies(&log), ["half", "older", "newer", "done"]);
        let item = json!({"type": "agentMessage", "id": "i", "text": "now", "phase": "commentary",
            "delivery": "async", "questions": [{"new": 1}]});
        let now = hear(&mut log, "item/completed", json!({"item": item, "turnId": "t"}));
        assert_eq!(now, Step::Reply("now".into()));
        assert_eq!(replies(&log).len(), 4);
    }

    #[test]
    fn a_steered_message_says_whether_it_cut_an_answer() {
        let mut meter = Meter::fresh();
        let mut log = TurnLog::new("T", "t", &mut meter);
        let taken = |log: &mut TurnLog| {
            let item = json!({"type": "userMessage", "id": "u", "clientId": "m:7", "content": []});
            hear(log, "item/completed", json!({"item": item, "turnId": "t"}))
        };
        let said = |cut| Step::Taken { client_id: "m:7".into(), cut };
        assert_eq!(taken(&mut log), said(false));
        hear(&mut log, "item/agentMessage/delta", json!({"delta": "half", "turnId": "t", "itemId": "i"}));
        assert_eq!(taken(&mut log), said(true));
        assert_eq!(taken(&mut log), said(false), "it was said");
        hear(&mut log, "item/agentMessage/delta", json!({"delta": "whole", "turnId": "t", "itemId": "i"}));
        says(&mut log, "whole", json!(null));
        assert_eq!(taken(&mut log), said(false));
    }

    #[test]
    fn a_plan_is_a_line_for_each_step() {
        let mut meter = Meter::fresh();
        let mut log = TurnLog::new("T", "t", &mut meter);
        let step = |step: &str, status: &str| json!({"step": step, "status": status});
        let plan = [step("look", "completed"), step("change\nit", "inProgress"), step("test", "pending")];
        let shown = hear(&mut log, "turn/plan/updated", json!({"turnId": "t", "plan": plan}));
        assert_eq!(shown, Step::Activity(ActivityKind::Plan, "[x] look\n[>] change it\n[ ] test".into()));
    }

    #[test]
    fn the_latest_diff_of_the_turn_is_kept() {
        let mut meter = Meter::fresh();
        let mut log = TurnLog::new("T", "t", &mut meter);
        let mut diff =
            |turn: &str, diff: &str| hear(&mut log, "turn/diff/updated", json!({"turnId": turn, "diff": diff}));
        diff("t", "old");
        diff("t", "diff --git a/f b/f\n+ä\n");
        diff("another", "x");
        let mut finish = Finish::new(Outcome::Interrupted);
        log.close(&WatchEnd::Stuck, &mut finish);
        assert_eq!(finish.diff.unwrap(), "diff --git a/f b/f\n+ä\n");
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
        assert_eq!(replies(&log), ["before", "same"]);
        // Said twice on purpose, in two model calls, it stays twice.
        says(&mut log, "same", json!(null));
        assert_eq!(replies(&log), ["before", "same", "same"]);
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
}
