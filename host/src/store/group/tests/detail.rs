//! What people see of a session, on a real database.

use cofferdam_protocol::admin::{DeliveryState, HardDelivery, ToolCallState};
use cofferdam_protocol::runner::{CompactionCause, CompactionOutcome, McpStatus};

use super::*;
use crate::store::db::Durability;

/// A session after two turns: one that was completed, one that failed.
async fn after_two_turns() -> (Fixture, SessionId) {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let failed = Outcome::Failed(Failure::new(FailureKind::UsageLimit, "x".repeat(400)));
    for (seq, outcome) in [(1, Outcome::Completed), (2, failed)] {
        f.accept(&seq.to_string()).await;
        let (turn, _) = f.claim(&session, attempt).await.unwrap();
        f.finish(&session, attempt, seq, turn, finish(outcome, &[])).await.unwrap();
    }
    (f, session)
}

/// Writes what other parts write while a session lives; `?1` is the session.
async fn run(f: &Fixture, session: &SessionId, sql: &'static str) {
    let id = session.clone();
    let written = f.db.db.write(Durability::Relaxed, move |tx| Ok(tx.execute(sql, [id.as_str()])?));
    assert!(written.await.unwrap() > 0, "{sql}");
}

#[tokio::test]
async fn a_session_without_anything_special_has_empty_lists_and_its_failure() {
    let (f, session) = after_two_turns().await;
    let detail = f.db.detail(&session, Inherited::default()).await.unwrap();
    assert_eq!((detail.generation, detail.model.now, detail.since_compaction), (0, None, 0));
    let lists = detail.lists;
    assert!(lists.compactions.is_empty() && lists.mcp_servers.is_empty() && lists.tool_calls.is_empty());
    let [failure] = &lists.failures[..] else { panic!("{:?}", lists.failures) };
    assert_eq!((failure.turn, failure.kind, failure.message.len()), (TurnId(2), FailureKind::UsageLimit, 300));
}

#[tokio::test]
async fn all_that_is_kept_of_a_session_is_shown_newest_first() {
    let (f, session) = after_two_turns().await;
    run(
        &f,
        &session,
        "UPDATE sessions SET generation = 2, model = 'm', effort = 'high', since_compaction = 7 WHERE id = ?1",
    )
    .await;
    run(
        &f,
        &session,
        "INSERT INTO compactions (session, cause, failure, tokens_before, millis, at)
           VALUES (?1, 'threshold', 'hung', 41000, 900, 1000), (?1, 'by_hand', NULL, 500, 80, 2000)",
    )
    .await;
    run(
        &f,
        &session,
        "INSERT INTO mcp_servers (session, name, status, error, at)
           VALUES (?1, 'web', 'failed', 'no route', 1000), (?1, 'files', 'ready', NULL, 1000)",
    )
    .await;
    run(
        &f,
        &session,
        "INSERT INTO tool_calls (turn, call_id, session, tool, summary, state, answer, called_at, finished_at)
           VALUES (1, 'a', ?1, 'chat_reply', 'hello', 'done', 'sent', 1000, 1001),
                  (2, 'b', ?1, 'ask_user', 'which?', 'waiting', NULL, 2000, NULL)",
    )
    .await;
    run(&f, &session, "INSERT INTO questions (session, turn, call_id, channel, chat_id, text, options, state, asked_at, expires_at)
           VALUES (?1, 2, 'b', 'terminal', 'demo', 'which?', '[\"a\",\"b\"]', 'open', 2000, 9000),
                  (?1, 1, 'a', 'terminal', 'demo', 'old?', '[]', 'answered', 1000, 9000)")
        .await;
    let detail = f.db.detail(&session, Inherited::default()).await.unwrap();
    assert_eq!((detail.generation, detail.since_compaction), (2, 7));
    assert_eq!((detail.model.now.as_deref(), detail.effort.now.as_deref()), (Some("m"), Some("high")));
    let lists = detail.lists;
    let causes: Vec<_> = lists.compactions.iter().map(|c| (c.cause, c.outcome.clone(), c.before)).collect();
    let hung = CompactionOutcome::Failed { message: "hung".into() };
    assert_eq!(
        causes,
        [(CompactionCause::ByHand, CompactionOutcome::Completed, 500), (CompactionCause::Threshold, hung, 41000)]
    );
    let servers: Vec<_> = lists.mcp_servers.iter().map(|s| (s.name.as_str(), s.status)).collect();
    assert_eq!(servers, [("files", McpStatus::Ready), ("web", McpStatus::Failed)]);
    let calls: Vec<_> = lists.tool_calls.iter().map(|c| (c.tool.as_str(), c.state, c.answer.as_deref())).collect();
    assert_eq!(
        calls,
        [("ask_user", ToolCallState::Waiting, None), ("chat_reply", ToolCallState::Done, Some("sent"))]
    );
    let [question] = &lists.questions[..] else { panic!("{:?}", lists.questions) };
    assert_eq!((question.text.as_str(), question.options.len()), ("which?", 2));
    assert_eq!(question.chat, "terminal:demo");
}

#[tokio::test]
async fn replies_that_did_not_simply_arrive_are_shown_with_their_doubts() {
    let (f, session) = after_two_turns().await;
    f.all_told().await;
    assert!(f.db.detail(&session, Inherited::default()).await.unwrap().lists.deliveries.is_empty());
    run(
        &f,
        &session,
        "INSERT INTO outbox (session, channel, chat_id, kind, text, state, tries, doubt, last_error, next_try_at, created_at)
           VALUES (?1, 'x', 'c', 'reply', 'a', 'delivered', 0, 1, NULL, 0, 1),
                  (?1, 'x', 'c', 'reply', 'b', 'dead', 1, 0, 'gone', 0, 1),
                  (?1, 'x', 'c', 'reply', 'c', 'pending', 2, 0, 'busy', 4102444800000, 1)",
    )
    .await;
    let deliveries = f.db.detail(&session, Inherited::default()).await.unwrap().lists.deliveries;
    let of = |d: &HardDelivery| (d.state, d.tries, d.doubts, d.error.clone(), d.again_at.is_some());
    assert_eq!(
        deliveries.iter().map(of).collect::<Vec<_>>(),
        [
            (DeliveryState::Waiting, 2, 0, Some("busy".into()), true),
            (DeliveryState::Dead, 1, 0, Some("gone".into()), false),
            (DeliveryState::Delivered, 0, 1, None, false),
        ]
    );
}

#[tokio::test]
async fn the_newest_diff_is_shown_and_those_of_other_turns_on_request() {
    let (f, session) = after_two_turns().await;
    assert_eq!(f.db.diff(&session, None).await.unwrap(), None);
    run(&f, &session, "UPDATE turns SET diff = 'diff --git' WHERE id = 1 AND session = ?1").await;
    let newest = f.db.diff(&session, None).await.unwrap().unwrap();
    assert_eq!((newest.turn, newest.diff.as_deref()), (Some(TurnId(1)), Some("diff --git")));
    let empty = f.db.diff(&session, Some(TurnId(2))).await.unwrap().unwrap();
    assert_eq!((empty.turn, empty.diff), (Some(TurnId(2)), None));
    assert_eq!(f.db.diff(&session, Some(TurnId(9))).await.unwrap(), None, "there is no such turn");
    let other = "0123456789abcdef0123456789abcdef".parse().unwrap();
    assert_eq!(
        f.db.diff(&other, Some(TurnId(1))).await.unwrap(),
        None,
        "another session's turn is not ours to show"
    );
}

#[tokio::test]
async fn messages_that_wait_for_another_try_say_when() {
    let (f, session) = after_two_turns().await;
    f.accept("3").await;
    assert!(f.db.retries().await.unwrap().is_empty(), "an ordinary waiting message is no retry");
    run(&f, &session, "UPDATE inbox SET due_at = 4102444800000 WHERE state = 'pending' AND session = ?1").await;
    assert_eq!(f.db.retries().await.unwrap()[&session], "2100-01-01T00:00:00Z");
}

#[tokio::test]
async fn a_session_that_is_not_there_is_said() {
    let (f, _) = after_two_turns().await;
    let other = "0123456789abcdef0123456789abcdef".parse().unwrap();
    assert!(matches!(f.db.detail(&other, Inherited::default()).await, Err(StoreError::NoSession(_))));
}
