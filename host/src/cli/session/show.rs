//! `cofferdam session show`: a session in depth.

use cofferdam_protocol::admin::{SessionDetail, Setting, SettingSource, ToolCallState};
use cofferdam_protocol::runner::CompactionOutcome;
use jiff::Timestamp;
use serde::Serialize;

use super::{note, state};
use crate::cli::client::Client;
use crate::cli::connect::{self, Mode};
use crate::cli::error::CliError;
use crate::cli::table::{Table, ago, grouped, pairs, until};
use crate::cli::words::SessionWord;
use crate::cli::{Context, terminal};

pub(super) async fn run(context: &Context, id: &SessionWord) -> Result<(), CliError> {
    let get = async |client: &Client| Ok(client.get::<SessionDetail>(&format!("/v1/sessions/{id}")).await?);
    let detail = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&detail);
    }
    terminal::out(&render(&detail, Timestamp::now()))
}

fn render(detail: &SessionDetail, now: Timestamp) -> String {
    let lists = [
        compactions(detail, now),
        mcp_servers(detail),
        tool_calls(detail, now),
        questions(detail, now),
        failures(detail, now),
        deliveries(detail, now),
    ];
    let mut text = facts(detail, now);
    for list in lists.iter().flatten() {
        text += &format!("\n\n{list}");
    }
    text
}

fn facts(detail: &SessionDetail, now: Timestamp) -> String {
    let (session, conversation) = (&detail.session, &detail.conversation);
    let some = |text: String| (!text.is_empty()).then_some(text);
    let cleared = match conversation.generation {
        0 => None,
        1 => Some("cleared once".to_owned()),
        n => Some(format!("cleared {n} times")),
    };
    pairs(&[
        ("session", Some(session.id.to_string())),
        ("group", Some(session.group.to_string())),
        ("chat", Some(session.chat.clone())),
        ("state", Some(state(session.state).to_owned())),
        ("note", some(note(session, now))),
        ("attempt", Some(session.attempt.to_string())),
        ("provider", session.provider.map(|provider| word(&provider))),
        ("model", Some(setting(&conversation.model))),
        ("effort", Some(setting(&conversation.effort))),
        ("in a turn", conversation.during_turn.as_deref().map(during_turn)),
        ("context", Some(context(detail))),
        ("thread", session.continuation.clone()),
        ("conversation", cleared),
        ("container", session.container.clone()),
        ("turns", Some(session.turns.to_string())),
        ("waiting", Some(session.waiting.to_string())),
        ("active", Some(ago(&session.active_at, now))),
    ])
}

fn setting(setting: &Setting) -> String {
    let from = match setting.from {
        SettingSource::Chat => "chosen in the chat",
        SettingSource::Group => "container.json",
        SettingSource::Account => "the account's default",
        SettingSource::Provider => "the provider's default",
    };
    setting.value.as_ref().map_or_else(|| from.to_owned(), |value| format!("{value} ({from})"))
}

fn during_turn(mode: &str) -> String {
    match mode {
        "queue" => "messages wait for the next one (queue)".to_owned(),
        "steer" => "messages go into the running one (steer)".to_owned(),
        other => other.to_owned(),
    }
}

fn context(detail: &SessionDetail) -> String {
    let context = &detail.conversation.context;
    let used = grouped(context.since_compaction);
    match context.threshold {
        Some(0) => format!("{used} input tokens since the last compaction; compaction is off"),
        Some(threshold) => format!("{used} of {} input tokens until the next compaction", grouped(threshold)),
        None => format!("{used} input tokens since the last compaction"),
    }
}

fn compactions(detail: &SessionDetail, now: Timestamp) -> Option<String> {
    let mut table = Table::new(["COMPACTION", "BEFORE", "TOOK", "WHEN", "OUTCOME"]);
    for compaction in &detail.compactions {
        let outcome = match &compaction.outcome {
            CompactionOutcome::Completed => "completed".to_owned(),
            CompactionOutcome::Failed { message } => format!("failed: {message}"),
        };
        table.row([
            word(&compaction.cause).replace('_', " "),
            grouped(compaction.before),
            took(compaction.millis),
            ago(&compaction.at, now),
            outcome,
        ]);
    }
    (!detail.compactions.is_empty()).then(|| table.render())
}

fn mcp_servers(detail: &SessionDetail) -> Option<String> {
    let mut table = Table::new(["MCP SERVER", "STATE", "ERROR"]);
    for server in &detail.mcp_servers {
        table.row([server.name.clone(), word(&server.status), server.error.clone().unwrap_or_default()]);
    }
    (!detail.mcp_servers.is_empty()).then(|| table.render())
}

fn tool_calls(detail: &SessionDetail, now: Timestamp) -> Option<String> {
    let mut table = Table::new(["TOOL CALL", "TURN", "STATE", "WHEN", "WITH", "ANSWER"]);
    for call in &detail.tool_calls {
        let state = match call.state {
            ToolCallState::Waiting => "waits",
            ToolCallState::Done => "done",
            ToolCallState::Failed => "failed",
        };
        table.row([
            call.tool.clone(),
            call.turn.to_string(),
            state.to_owned(),
            ago(&call.called_at, now),
            call.summary.clone(),
            call.answer.clone().unwrap_or_default(),
        ]);
    }
    (!detail.tool_calls.is_empty()).then(|| table.render())
}

fn questions(detail: &SessionDetail, now: Timestamp) -> Option<String> {
    let mut table = Table::new(["QUESTION IN", "TURN", "ENDS", "OPTIONS", "TEXT"]);
    for question in &detail.questions {
        table.row([
            question.chat.clone(),
            question.turn.to_string(),
            until(&question.expires_at, now),
            question.options.join(" | "),
            question.text.clone(),
        ]);
    }
    (!detail.questions.is_empty()).then(|| table.render())
}

fn failures(detail: &SessionDetail, now: Timestamp) -> Option<String> {
    let mut table = Table::new(["FAILED TURN", "ATTEMPT", "WHEN", "KIND", "MESSAGE"]);
    for failure in &detail.failures {
        table.row([
            failure.turn.to_string(),
            failure.attempt.to_string(),
            ago(&failure.at, now),
            word(&failure.kind).replace('_', " "),
            failure.message.clone(),
        ]);
    }
    (!detail.failures.is_empty()).then(|| table.render())
}

fn deliveries(detail: &SessionDetail, now: Timestamp) -> Option<String> {
    let mut table = Table::new(["REPLY TO", "NUMBER", "STATE", "TRIES", "DOUBTS", "ERROR"]);
    for delivery in &detail.deliveries {
        let state = match (&delivery.again_at, delivery.state) {
            (Some(at), _) => format!("again {}", until(at, now)),
            (None, state) => word(&state),
        };
        table.row([
            delivery.chat.clone(),
            delivery.reply.to_string(),
            state,
            delivery.tries.to_string(),
            delivery.doubts.to_string(),
            delivery.error.clone().unwrap_or_default(),
        ]);
    }
    (!detail.deliveries.is_empty()).then(|| table.render())
}

/// A value's word in the protocol.
pub(super) fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn took(millis: u64) -> String {
    if millis < 1000 { format!("{millis} ms") } else { format!("{}.{} s", millis / 1000, millis % 1000 / 100) }
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::admin::{
        CompactionRecord, ContextView, Conversation, DeliveryState, HardDelivery, OpenQuestion, SessionState,
        ToolCallRecord, TurnFailure,
    };
    use cofferdam_protocol::ids::{Attempt, ReplyId, TurnId};
    use cofferdam_protocol::runner::{CompactionCause, FailureKind, McpState, McpStatus};

    use super::*;
    use crate::cli::session::tests::session;

    const AT: &str = "2026-01-01T00:00:00Z";

    fn plain() -> SessionDetail {
        let default = Setting { value: None, from: SettingSource::Provider };
        SessionDetail {
            session: session(SessionState::Busy, None),
            conversation: Conversation {
                generation: 0,
                model: default.clone(),
                effort: default,
                during_turn: Some("queue".into()),
                context: ContextView { since_compaction: 12_345, threshold: Some(40_000) },
            },
            compactions: vec![],
            mcp_servers: vec![],
            tool_calls: vec![],
            questions: vec![],
            failures: vec![],
            deliveries: vec![],
        }
    }

    fn rendered(detail: &SessionDetail) -> String {
        render(detail, "2026-01-01T00:00:05Z".parse().unwrap())
    }

    #[test]
    fn a_session_is_shown_without_what_it_does_not_have() {
        insta::assert_snapshot!(rendered(&plain()), @r"
        session:   0123456789abcdef0123456789abcdef
        group:     demo
        chat:      terminal:main
        state:     busy
        attempt:   2
        provider:  codex
        model:     the provider's default
        effort:    the provider's default
        in a turn: messages wait for the next one (queue)
        context:   12,345 of 40,000 input tokens until the next compaction
        container: c1
        turns:     3
        waiting:   1
        active:    5 s ago
        ");
    }

    fn delivery(reply: i64, state: DeliveryState, counts: (u64, u64), error: Option<&str>) -> HardDelivery {
        HardDelivery {
            reply: ReplyId(reply),
            chat: "slack:C1".into(),
            state,
            tries: counts.0,
            doubts: counts.1,
            error: error.map(Into::into),
            again_at: error.map(|_| "2026-01-01T00:00:35Z".into()),
        }
    }

    fn full() -> SessionDetail {
        let compaction =
            |cause, outcome| CompactionRecord { cause, outcome, before: 41_000, millis: 1250, at: AT.into() };
        let hung = CompactionOutcome::Failed { message: "hung".into() };
        let server = McpState { name: "web".into(), status: McpStatus::Failed, error: Some("no route".into()) };
        SessionDetail {
            conversation: Conversation {
                generation: 2,
                model: Setting { value: Some("gpt-x".into()), from: SettingSource::Chat },
                effort: Setting { value: Some("high".into()), from: SettingSource::Group },
                during_turn: Some("steer".into()),
                context: ContextView { since_compaction: 7, threshold: Some(0) },
            },
            compactions: vec![
                compaction(CompactionCause::ByHand, CompactionOutcome::Completed),
                compaction(CompactionCause::Threshold, hung),
            ],
            mcp_servers: vec![server],
            tool_calls: vec![ToolCallRecord {
                turn: TurnId(3),
                tool: "ask_user".into(),
                summary: "which one?\u{1b}[2J".into(),
                state: ToolCallState::Waiting,
                answer: None,
                called_at: AT.into(),
                finished_at: None,
            }],
            questions: vec![OpenQuestion {
                turn: TurnId(3),
                chat: "terminal:main".into(),
                text: "which one?".into(),
                options: vec!["a".into(), "b".into()],
                asked_at: AT.into(),
                expires_at: "2026-01-01T01:00:05Z".into(),
            }],
            failures: vec![TurnFailure {
                turn: TurnId(2),
                attempt: Attempt(1),
                kind: FailureKind::UsageLimit,
                message: "used up".into(),
                at: AT.into(),
            }],
            deliveries: vec![
                delivery(8, DeliveryState::Waiting, (2, 0), Some("busy")),
                delivery(7, DeliveryState::Delivered, (0, 1), None),
            ],
            ..plain()
        }
    }

    #[test]
    fn all_that_is_known_is_shown() {
        insta::assert_snapshot!(rendered(&full()), @r"
        session:      0123456789abcdef0123456789abcdef
        group:        demo
        chat:         terminal:main
        state:        busy
        attempt:      2
        provider:     codex
        model:        gpt-x (chosen in the chat)
        effort:       high (container.json)
        in a turn:    messages go into the running one (steer)
        context:      7 input tokens since the last compaction; compaction is off
        conversation: cleared 2 times
        container:    c1
        turns:        3
        waiting:      1
        active:       5 s ago

        COMPACTION  BEFORE  TOOK   WHEN     OUTCOME
        by hand     41,000  1.2 s  5 s ago  completed
        threshold   41,000  1.2 s  5 s ago  failed: hung

        MCP SERVER  STATE   ERROR
        web         failed  no route

        TOOL CALL  TURN  STATE  WHEN     WITH        ANSWER
        ask_user   3     waits  5 s ago  which one?

        QUESTION IN    TURN  ENDS    OPTIONS  TEXT
        terminal:main  3     in 1 h  a | b    which one?

        FAILED TURN  ATTEMPT  WHEN     KIND         MESSAGE
        2            1        5 s ago  usage limit  used up

        REPLY TO  NUMBER  STATE          TRIES  DOUBTS  ERROR
        slack:C1  8       again in 30 s  2      0       busy
        slack:C1  7       delivered      0      1
        ");
    }

    #[test]
    fn as_json_the_session_stands_at_the_top() {
        let json = serde_json::to_value(full()).unwrap();
        assert_eq!((&json["id"], &json["generation"]), (&"0123456789abcdef0123456789abcdef".into(), &2.into()));
        assert_eq!((&json["model"]["value"], &json["model"]["from"]), (&"gpt-x".into(), &"chat".into()));
        assert_eq!(
            (&json["compactions"][1]["outcome"], &json["mcp_servers"][0]["name"]),
            (&"failed".into(), &"web".into())
        );
        let back: SessionDetail = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(back).unwrap(), json);
    }
}
