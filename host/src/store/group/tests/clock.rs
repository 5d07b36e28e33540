//! A wall clock that is set back: nothing waits longer than its pause, nothing is done twice.

use std::time::Duration;

use rusqlite::params;

use super::*;
use crate::model::delivery::Miss;
use crate::store::db::Durability;
use crate::store::group::commands::Due;
use crate::store::group::questions::{NewQuestion, Waiting};
use crate::store::group::tools::{CallKey, CallLimits, Deed, NewCall};
use crate::store::now_ms;

const DAY: i64 = 86_400_000;
const MINUTE: i64 = 60_000;

impl Fixture {
    /// Makes every row as much later as the clock is to be set back.
    pub(super) async fn clock_goes_back(&self, by: i64) {
        self.sql(
            "UPDATE sessions SET active_at = active_at + ?1,
                    start_again_at = CASE WHEN start_again_at > 0 THEN start_again_at + ?1 ELSE 0 END",
            by,
        )
        .await;
        self.sql("UPDATE inbox SET due_at = due_at + ?1 WHERE due_at > 0", by).await;
        self.sql("UPDATE outbox SET next_try_at = next_try_at + ?1 WHERE next_try_at > 0", by).await;
        self.sql("UPDATE questions SET asked_at = asked_at + ?1, expires_at = expires_at + ?1", by).await;
        self.sql("UPDATE turns SET started_at = started_at + ?1", by).await;
        self.sql("UPDATE tool_calls SET called_at = called_at + ?1", by).await;
    }

    /// How far ahead the latest try is, in ms.
    pub(super) async fn longest_wait(&self) -> i64 {
        self.number("SELECT coalesce(max(due_at), 0) FROM inbox WHERE state = 'pending'").await - now_ms()
    }

    async fn sql(&self, sql: &'static str, value: i64) {
        let write = move |tx: &Savepoint<'_>| Ok(tx.execute(sql, params![value])?);
        self.db.db.write(Durability::Relaxed, write).await.unwrap();
    }

    async fn number(&self, sql: &'static str) -> i64 {
        self.db.db.read(move |tx| Ok(tx.query_row(sql, [], |row| row.get(0))?)).await.unwrap()
    }

    /// A message whose turn failed, to be tried again in 15 s.
    async fn retried(&self) -> (SessionId, Attempt) {
        let session = self.accept("1").await;
        let attempt = self.begin(&session).await;
        let (turn, _) = self.claim(&session, attempt).await.unwrap();
        let failed = Outcome::Failed(Failure::new(FailureKind::Upstream, "x"));
        self.finish(&session, attempt, 1, turn, finish(failed, &[])).await;
        (session, attempt)
    }

    async fn waits_for(&self, session: &SessionId) -> i64 {
        match self.db.due(session).await.unwrap() {
            Due::Later(Some(at)) => at - now_ms(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_message_waits_no_longer_than_its_pause_when_the_clock_goes_back() {
    for seen in [0, DAY] {
        let f = Fixture::new();
        let (session, attempt) = f.retried().await;
        f.clock_goes_back(DAY).await;
        assert!(f.waits_for(&session).await > DAY - MINUTE);
        let by = f.db.clock_set_back(seen).await.unwrap();
        assert!((DAY - MINUTE..=DAY).contains(&by), "{by}");
        assert!((0..=18_000).contains(&f.waits_for(&session).await), "15 s and a fifth");
        assert_eq!(f.db.clock_set_back(0).await.unwrap(), 0, "once");
        assert!(f.claim(&session, attempt).await.is_none(), "nor sooner");
    }
}

#[tokio::test]
async fn a_clock_that_is_right_changes_nothing() {
    let f = Fixture::new();
    let (session, _) = f.retried().await;
    let before = f.waits_for(&session).await;
    assert_eq!(f.db.clock_set_back(0).await.unwrap(), 0);
    let after = f.waits_for(&session).await;
    assert!((before - 10_000..=before).contains(&after), "{before} {after}");
}

#[tokio::test]
async fn replies_and_starts_come_back_too() {
    let f = Fixture::new();
    f.retried().await;
    let reply = f.leased().await.expect("the notice");
    let later = Miss::Later { after: Some(Duration::from_millis((5 * MINUTE).unsigned_abs())) };
    f.db.missed(reply.id, later, "busy".into()).await.unwrap();
    f.sql("UPDATE sessions SET start_again_at = ?1", now_ms() + MINUTE).await;
    f.clock_goes_back(DAY).await;
    f.db.clock_set_back(DAY).await.unwrap();
    let NextReply::At(at) = f.db.lease(&chat(None), false).await.unwrap() else { panic!("it waits") };
    assert!((0..=6 * MINUTE).contains(&(at - now_ms())));
    let start = f.number("SELECT start_again_at FROM sessions").await;
    assert!((0..=MINUTE).contains(&(start - now_ms())));
}

#[tokio::test]
async fn a_question_keeps_its_time_and_what_is_over_does_not_end_before_it_began() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    let key = CallKey { session: session.clone(), attempt, turn, call_id: "c".into() };
    let limits = CallLimits { calls: 9, posts: 9 };
    let call = NewCall { key: key.clone(), tool: "ask_user".into(), summary: "?".into(), limits };
    let question = NewQuestion { text: "Which?".into(), options: Vec::new(), timeout_secs: 600 };
    f.db.call(call, Deed::Ask(question)).await.unwrap();
    f.clock_goes_back(DAY).await;
    f.db.clock_set_back(DAY).await.unwrap();
    let Waiting::Until(at) = f.db.waiting(&key).await.unwrap() else { panic!("it is open") };
    assert!((9 * MINUTE..=10 * MINUTE).contains(&(at - now_ms())));
    f.finish(&session, attempt, 1, turn, finish(Outcome::Completed, &["done"])).await;
    assert_eq!(f.number("SELECT finished_at - started_at FROM turns").await, 0);
    assert_eq!(f.number("SELECT finished_at - called_at FROM tool_calls").await, 0);
}

#[tokio::test]
async fn a_question_keeps_its_time_when_the_clock_goes_forward() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    let key = |call: &str| CallKey { session: session.clone(), attempt, turn, call_id: call.into() };
    let ask = async |call: &str| {
        let limits = CallLimits { calls: 9, posts: 9 };
        let call = NewCall { key: key(call), tool: "ask_user".into(), summary: "?".into(), limits };
        let question = NewQuestion { text: "Which?".into(), options: Vec::new(), timeout_secs: 600 };
        f.db.call(call, Deed::Ask(question)).await.unwrap();
    };
    let left = async |call: &str| {
        let Waiting::Until(at) = f.db.waiting(&key(call)).await.unwrap() else { panic!("it is open") };
        at - now_ms()
    };
    ask("before").await;
    f.clock_goes_back(-DAY).await;
    f.db.clock_set_forward(DAY).await.unwrap();
    assert!((9 * MINUTE..=10 * MINUTE).contains(&left("before").await));
    f.db.clock_set_forward(DAY).await.unwrap();
    assert!(left("before").await <= 10 * MINUTE, "one that was asked after the jump has its time");
}

#[tokio::test]
async fn what_was_said_stays_in_its_order() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    for seq in 1..=3 {
        let (turn, _) = f.claim(&session, attempt).await.unwrap();
        f.finish(&session, attempt, seq, turn, finish(Outcome::Completed, &[&format!("reply {seq}")])).await;
        f.sql("UPDATE inbox SET accepted_at = accepted_at + ?1", DAY).await;
        f.sql("UPDATE outbox SET created_at = created_at + ?1", DAY).await;
        f.accept(&format!("{}", seq + 1)).await;
    }
    let said = f.db.said(&session, None, 4).await.unwrap();
    let said: Vec<_> = said.iter().map(|said| said.text.as_str()).collect();
    assert_eq!(said, ["text of 2", "reply 2", "text of 3", "reply 3"]);
    let digest = f.db.digest(&session, TimeZone::UTC).await.unwrap().unwrap();
    let at = |words: &str| digest.find(words).unwrap_or_else(|| panic!("{words}: {digest}"));
    let places = ["text of 1", "reply 1", "text of 2", "reply 2", "text of 3", "reply 3"].map(at);
    assert!(places.is_sorted(), "{digest}");
}

/// What is done is not looked through, however much there is.
#[tokio::test]
async fn due_times_are_found_by_their_index() {
    let f = Fixture::new();
    for (sql, index) in [
        ("UPDATE inbox SET due_at = 0 WHERE state = 'pending' AND due_at > 5", "inbox_due"),
        (
            "UPDATE outbox SET next_try_at = 0 WHERE state IN ('pending', 'leased') AND next_try_at > 5",
            "outbox_due",
        ),
        ("UPDATE questions SET asked_at = 0 WHERE state = 'open' AND asked_at > 5", "questions_open"),
    ] {
        let plan = f.db.db.read(move |tx| {
            Ok(tx.query_row(&format!("EXPLAIN QUERY PLAN {sql}"), [], |row| row.get::<_, String>(3))?)
        });
        let plan = plan.await.unwrap();
        assert!(plan.contains(index), "{sql}: {plan}");
    }
}
