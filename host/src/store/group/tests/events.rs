//! What a runner reports besides a turn's end, and what is kept of it.

use cofferdam_protocol::runner::{
    Compaction, CompactionCause, CompactionOutcome, ContextMeter, McpState, McpStatus,
};

use super::*;

fn mcp(name: &str, status: McpStatus) -> McpState {
    McpState { name: name.into(), status, error: (status == McpStatus::Failed).then(|| "no such file".into()) }
}

#[tokio::test]
async fn what_the_agent_says_early_goes_out_once_and_in_order() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    for seq in [1, 1, 2] {
        f.db.reply(&session, attempt, Seq(seq), turn, format!("part {seq}")).await.unwrap();
    }
    assert!(f.db.reply(&session, attempt, Seq(3), TurnId(99), "x".into()).await.unwrap().is_none());
    assert_eq!(f.told().await, "part 1");
    let finished = f.finish(&session, attempt, 4, turn, finish(Outcome::Completed, &["end"])).await.unwrap();
    assert_eq!(finished.replies.len(), 2, "those that are not delivered yet");
    assert_eq!(f.all_told().await, ["part 2", "end"]);
    f.accept("2").await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.db.reply(&session, attempt, Seq(5), turn, "all".into()).await.unwrap();
    f.finish(&session, attempt, 6, turn, finish(Outcome::Completed, &[])).await;
    assert_eq!(f.all_told().await, ["all"], "it was not without a reply");
}

#[tokio::test]
async fn an_answer_on_a_fresh_thread_says_before_it_that_the_old_one_is_lost() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    let lost = Finish { lost_thread: Some("no rollout".into()), ..finish(Outcome::Completed, &["hi"]) };
    f.finish(&session, attempt, 1, turn, lost).await;
    let told = f.all_told().await;
    assert!(
        told.len() == 2 && told[0].contains("could not be resumed (no rollout)") && told[1] == "hi",
        "{told:?}"
    );
}

#[tokio::test]
async fn a_turns_diff_is_kept_and_bounded() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    let diff = "+ü\n".repeat(300_000);
    let end = Finish { diff: Some(diff), ..finish(Outcome::Completed, &["hi"]) };
    f.finish(&session, attempt, 1, turn, end).await;
    let kept = f.db.diff(&session, Some(turn)).await.unwrap().unwrap().diff.unwrap();
    assert!(kept.len() <= 512 * 1024 && kept.len() > 500 * 1024 && kept.ends_with("+ü\n"), "{}", kept.len());
    assert_eq!(f.db.diff(&session, Some(TurnId(99))).await.unwrap(), None);
}

#[tokio::test]
async fn the_diffs_of_old_turns_are_let_go() {
    let f = Fixture::new();
    let session = f.accept("0").await;
    let attempt = f.begin(&session).await;
    let mut turns = Vec::new();
    for seq in 1..=53 {
        f.accept(&seq.to_string()).await;
        let (turn, _) = f.claim(&session, attempt).await.unwrap();
        let end = Finish { diff: Some(format!("+{seq}\n")), ..finish(Outcome::Completed, &[]) };
        f.finish(&session, attempt, seq, turn, end).await;
        turns.push(turn);
    }
    let mut kept = Vec::new();
    for turn in &turns {
        kept.push(f.db.diff(&session, Some(*turn)).await.unwrap().unwrap().diff.is_some());
    }
    assert_eq!((kept.iter().filter(|kept| **kept).count(), kept[2], kept[3]), (50, false, true));
}

#[tokio::test]
async fn a_digest_shows_a_replys_newest_text_also_when_a_later_turn_changed_it() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    let (_, reply) = f.db.reply(&session, attempt, Seq(1), turn, "blu".into()).await.unwrap().unwrap();
    f.finish(&session, attempt, 2, turn, finish(Outcome::Completed, &["well"])).await;
    f.accept("2").await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    let edit = crate::model::action::Action::Edit { reply };
    let by = session.clone();
    let put = move |tx: &Savepoint<'_>| outbox::insert_action(tx, &by, turn, &chat(None), &edit, "blue");
    f.db.db.write(crate::store::db::Durability::Relaxed, put).await.unwrap();
    f.finish(&session, attempt, 3, turn, finish(Outcome::Completed, &["done"])).await;
    let digest = f.db.digest(&session, TimeZone::UTC).await.unwrap().unwrap();
    let said: Vec<_> = digest.lines().filter_map(|line| line.split_once("agent: ")).map(|(_, text)| text).collect();
    assert_eq!(said, ["blue", "well", "done"], "{digest}");
}

#[tokio::test]
async fn a_sessions_newest_messages_are_found_by_their_index() {
    let f = Fixture::new();
    let plan = |tx: &Savepoint<'_>| {
        let mut statement = tx.prepare(&format!("EXPLAIN QUERY PLAN {}", digest::NEWEST))?;
        let rows = statement.query_map(rusqlite::params!["a", 20, 600], |row| row.get::<_, String>(3))?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?.join("; "))
    };
    let plan = f.db.db.read(plan).await.unwrap();
    assert!(plan.contains("inbox_session (session=? AND id>?)") && !plan.contains("TEMP B-TREE"), "{plan}");
}

#[tokio::test]
async fn compactions_are_kept_with_the_meter() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    f.ready(&session, attempt, 1).await;
    let compaction = |outcome, since_compaction| Compaction {
        cause: CompactionCause::Threshold,
        outcome,
        before: 41_000,
        meter: ContextMeter { since_compaction, last_total: Some(41_000) },
        millis: 50,
    };
    let failed = compaction(CompactionOutcome::Failed { message: "500".into() }, 41_000);
    f.db.compacted(&session, attempt, Seq(2), failed.clone()).await.unwrap();
    f.db.compacted(&session, attempt, Seq(2), failed).await.unwrap();
    f.db.compacted(&session, attempt, Seq(3), compaction(CompactionOutcome::Completed, 0)).await.unwrap();
    let detail = f.db.detail(&session, Inherited::default()).await.unwrap();
    let outcomes: Vec<_> = detail.lists.compactions.into_iter().map(|compaction| compaction.outcome).collect();
    let failed = CompactionOutcome::Failed { message: "500".into() };
    assert_eq!((outcomes, detail.since_compaction), (vec![CompactionOutcome::Completed, failed], 0));
    let next = f.begin(&session).await;
    let thread = f.db.hello(&session, next, vec![1]).await.unwrap();
    assert_eq!(thread.meter, ContextMeter { since_compaction: 0, last_total: Some(41_000) });
}

#[tokio::test]
async fn a_server_that_failed_is_told_once_in_an_attempt() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let report = async |attempt, seq, state| f.db.mcp_state(&session, attempt, Seq(seq), state).await.unwrap();
    let steps = [McpStatus::Starting, McpStatus::Failed, McpStatus::Starting, McpStatus::Failed, McpStatus::Ready];
    for (seq, status) in (1..).zip(steps) {
        let told = report(attempt, seq, mcp("files", status)).await;
        assert_eq!(told.is_some(), seq == 2, "{seq}");
    }
    assert!(report(attempt, 6, mcp("mail", McpStatus::Failed)).await.is_some(), "another server");
    let told = f.all_told().await;
    assert!(told.len() == 2 && told[0].contains("'files' failed: no such file."), "{told:?}");
    let detail = f.db.detail(&session, Inherited::default()).await.unwrap();
    assert_eq!(detail.lists.mcp_servers, [mcp("files", McpStatus::Ready), mcp("mail", McpStatus::Failed)]);
    let next = f.begin(&session).await;
    assert!(f.db.detail(&session, Inherited::default()).await.unwrap().lists.mcp_servers.is_empty());
    assert!(report(next, 1, mcp("files", McpStatus::Failed)).await.is_some(), "another attempt");
}

#[tokio::test]
async fn a_digest_is_what_was_said_since_the_conversation_began_and_is_over() {
    let f = Fixture::new();
    let session = f.say(Inbound { text: "before".into(), ..message("0") }).await.session;
    let attempt = f.begin(&session).await;
    let digest = async || f.db.digest(&session, TimeZone::UTC).await.unwrap();
    assert_eq!(digest().await, None, "it waits");
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.finish(&session, attempt, 1, turn, finish(Outcome::Completed, &["old"])).await;
    assert!(digest().await.unwrap().contains("before"));
    f.command("/clear").await;
    f.db.do_commands(&session, Inherited::default()).await.unwrap();
    assert_eq!(digest().await, None, "cleared");
    for (seq, text) in [(2, "one"), (3, "two")] {
        f.say(Inbound { text: text.into(), ..message(text) }).await;
        let (turn, _) = f.claim(&session, attempt).await.unwrap();
        f.finish(&session, attempt, seq, turn, finish(Outcome::Completed, &[&format!("re {text}")])).await;
    }
    f.say(Inbound { text: "three".into(), ..message("three") }).await;
    f.claim(&session, attempt).await.unwrap();
    let text = digest().await.unwrap();
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
    assert!(at("\"me\": one") < at("the agent: re one") && at("re one") < at("two") && at("two") < at("re two"));
    assert!(!text.contains("three") && !text.contains("old") && !text.contains("/clear"), "{text}");
    assert!(text.starts_with("History"), "{text}");
}
