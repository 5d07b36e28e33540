//! Compaction between turns, by hand and by codex itself, with the real app-server: when it is due, and all the ways
//! in which it can fail without costing a message.

mod common;

use cofferdam_protocol::runner::*;
use common::codex::{Deed, shim_after};
use common::model::{Asked, Step, message, said_by};
use common::runner::signal_pid;
use common::setup::{Setup, failure, thread_of};
use rustix::process::Signal;
use serde_json::json;

/// A session that compacts after so many tokens; a model call uses 100 unless the script says otherwise.
async fn setup(threshold: u64, timeout: u64) -> Setup {
    let compaction = CompactionSettings { threshold_tokens: threshold, timeout_secs: timeout };
    Setup::with(|settings| settings.compaction = compaction).await
}

fn meter(finish: &Finish) -> ContextMeter {
    finish.thread.as_ref().unwrap().meter
}

fn failed(compaction: &Compaction) -> &str {
    match &compaction.outcome {
        CompactionOutcome::Failed { message } => message,
        CompactionOutcome::Completed => panic!("it completed: {compaction:?}"),
    }
}

fn broken() -> Step {
    Step::Status(500, json!({"error": {"message": "broken by the test"}}))
}

async fn by_hand(setup: &Setup) -> Finish {
    setup.door.finish(setup.door.put(&["/compact"], |batch| batch.work = Work::Compact)).await
}

#[tokio::test]
async fn a_conversation_that_reaches_the_threshold_is_compacted_after_the_turn() {
    let setup = setup(150, 60).await;
    let _runner = setup.runner();
    let first = setup.say("one").await;
    assert_eq!(meter(&first), ContextMeter { since_compaction: 100, last_total: Some(100) });
    assert!(setup.door.compactions().is_empty());
    let second = setup.say("two").await;
    assert_eq!(meter(&second).since_compaction, 200);
    let compaction = setup.door.compacted(1).await;
    assert_eq!((compaction.cause, compaction.outcome), (CompactionCause::Threshold, CompactionOutcome::Completed));
    assert_eq!((compaction.before, compaction.meter.since_compaction), (200, 0));
    let third = setup.say("three").await;
    assert_eq!(meter(&third).since_compaction, 100, "the compaction's own call is not counted");
    assert_eq!(third.usage.unwrap().input, 100);
    assert_eq!(thread_of(&third), thread_of(&first));
    let last = setup.model.calls().pop().unwrap();
    assert!(said_by("user", &last).iter().any(|said| said.contains("the summary")), "{:#}", last["input"]);
    assert!(!last["input"].to_string().contains("model reply 1"));
    let shown = |event: &Event| matches!(event.body, EventBody::Activity { kind: ActivityKind::Compacting, .. });
    assert!(setup.door.events().iter().any(shown), "the host hears that it lives");
}

#[tokio::test]
async fn a_threshold_of_zero_never_compacts() {
    let setup = setup(0, 60).await;
    let _runner = setup.runner();
    setup.model.script([Step::Counted(vec![message("a")], 200_000, 10)]);
    setup.say("one").await;
    setup.say("two").await;
    assert!(setup.door.compactions().is_empty());
    assert!(setup.model.asked(Asked::Summary).is_empty());
}

#[tokio::test]
async fn the_count_goes_on_over_a_restart_of_the_container() {
    let mut setup = setup(250, 60).await;
    let runner = setup.runner();
    setup.say("one").await;
    let second = setup.say("two").await;
    assert_eq!(meter(&second), ContextMeter { since_compaction: 200, last_total: Some(200) });
    setup.end(runner).await;
    setup.new_attempt_on(second.thread.unwrap());
    let _runner = setup.runner();
    let third = setup.say("three").await;
    assert_eq!(meter(&third), ContextMeter { since_compaction: 300, last_total: Some(300) });
    assert_eq!(third.usage.unwrap().input, 100);
    assert_eq!(setup.door.compacted(1).await.before, 300);
}

#[tokio::test]
async fn tokens_that_a_killed_container_could_not_report_are_counted() {
    let mut setup = setup(0, 60).await;
    let runner = setup.runner();
    let first = setup.say("one").await;
    setup.say("two").await;
    setup.end(runner).await;
    // As if the host had never heard of the second turn's end.
    setup.new_attempt_on(first.thread.unwrap());
    let _runner = setup.runner();
    let third = setup.say("three").await;
    assert_eq!((meter(&third).since_compaction, third.usage.unwrap().input), (300, 100));
}

#[tokio::test]
async fn the_count_goes_on_over_a_restart_of_the_app_server() {
    let setup = setup(0, 60).await;
    let mut runner = setup.runner();
    setup.say("one").await;
    let codex = runner.children()[0];
    signal_pid(codex, Signal::KILL);
    runner.reaped(codex).await;
    let second = setup.say("two").await;
    assert_eq!(meter(&second), ContextMeter { since_compaction: 200, last_total: Some(200) });
}

#[tokio::test]
async fn a_failed_compaction_costs_nothing_and_is_tried_after_the_next_turn() {
    let setup = setup(50, 60).await;
    let _runner = setup.runner();
    setup.model.script_summaries((0..20).map(|_| broken()));
    setup.say("remember 4711").await;
    let first = setup.door.compacted(1).await;
    assert!(!failed(&first).is_empty());
    assert_eq!((first.before, first.meter.since_compaction), (100, 100));
    setup.model.script_summaries([]);
    let next = setup.say("two").await;
    assert_eq!(next.outcome, Outcome::Completed);
    let history = setup.model.asked(Asked::Answer).pop().unwrap()["input"].to_string();
    assert!(history.contains("remember 4711") && history.contains("model reply 1"));
    let second = setup.door.compacted(2).await;
    assert_eq!((second.outcome, second.before), (CompactionOutcome::Completed, 200));
}

#[tokio::test]
async fn a_hanging_compaction_is_interrupted_and_messages_that_waited_are_answered() {
    let setup = setup(50, 5).await;
    let runner = setup.runner();
    setup.model.script_summaries([Step::Hang]);
    setup.say("one").await;
    setup.model.asked_for(Asked::Summary, 1).await;
    let children = runner.children();
    let waited = setup.door.say("two");
    assert_eq!(setup.door.finish(waited).await.outcome, Outcome::Completed);
    assert_eq!(failed(&setup.door.compactions()[0]), "the compaction did not end within 5 s");
    assert_eq!(runner.children(), children, "codex obeyed");
    assert_eq!(setup.door.compacted(2).await.outcome, CompactionOutcome::Completed);
    setup.model.assert_told_once("two");
}

#[tokio::test]
async fn a_wedged_app_server_is_replaced_and_the_compaction_tried_once_more() {
    let setup = setup(50, 5).await;
    let runner = setup.runner();
    setup.model.script_summaries([Step::Hang]);
    setup.say("one").await;
    setup.model.asked_for(Asked::Summary, 1).await;
    let codex = runner.children()[0];
    signal_pid(codex, Signal::STOP);
    assert_eq!(setup.door.compacted(1).await.outcome, CompactionOutcome::Completed);
    assert!(!runner.children().contains(&codex));
    assert_eq!(setup.say("two").await.outcome, Outcome::Completed);
    assert_eq!(setup.door.compactions().len(), 1, "one compaction, whatever it took");
}

#[tokio::test]
async fn an_app_server_that_dies_in_a_compaction_is_replaced_and_it_is_tried_once_more() {
    let setup = setup(50, 60).await;
    let runner = setup.runner();
    setup.model.script_summaries([Step::Hang, Step::Hang]);
    setup.say("remember 4711").await;
    setup.model.asked_for(Asked::Summary, 1).await;
    signal_pid(runner.children()[0], Signal::KILL);
    setup.model.asked_for(Asked::Summary, 2).await;
    signal_pid(runner.children()[0], Signal::KILL);
    assert!(failed(&setup.door.compacted(1).await).contains("signal: 9"));
    assert_eq!(setup.model.asked(Asked::Summary).len(), 2);
    assert_eq!(setup.say("two").await.outcome, Outcome::Completed);
    assert!(setup.model.asked(Asked::Answer).pop().unwrap()["input"].to_string().contains("model reply 1"));
    assert_eq!(setup.door.compacted(2).await.outcome, CompactionOutcome::Completed);
}

#[tokio::test]
async fn a_signal_ends_a_compaction_soon() {
    let setup = setup(50, 60).await;
    let mut runner = setup.runner();
    setup.model.script_summaries([Step::Hang]);
    setup.say("one").await;
    setup.model.asked_for(Asked::Summary, 1).await;
    // The compaction itself has a minute, and the model never answers.
    runner.signal(Signal::TERM);
    assert_eq!(runner.ended().await.code(), Some(0));
    assert_eq!(failed(&setup.door.compactions()[0]), "the compaction was interrupted");
}

#[tokio::test]
async fn compact_by_hand_says_what_it_did() {
    let setup = setup(0, 60).await;
    let _runner = setup.runner();
    assert_eq!(by_hand(&setup).await.replies, ["There is nothing to compact yet."]);
    assert!(setup.model.calls().is_empty());
    setup.model.script([Step::Counted(vec![message("a")], 41_200, 10)]);
    setup.say("one").await;
    let finish = by_hand(&setup).await;
    assert_eq!(finish.outcome, Outcome::Completed);
    let said = "Compacted: 41,200 input tokens since the last one; the conversation goes on from a summary.";
    assert_eq!(finish.replies, [said]);
    assert_eq!((meter(&finish).since_compaction, finish.usage.unwrap().input), (0, 100));
    let compaction = setup.door.compacted(1).await;
    assert_eq!((compaction.cause, compaction.before), (CompactionCause::ByHand, 41_200));
    assert_eq!(setup.say("two").await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn compact_by_hand_says_why_it_failed() {
    let setup = setup(0, 5).await;
    let _runner = setup.runner();
    setup.say("one").await;
    setup.model.script_summaries((0..20).map(|_| broken()));
    let finish = by_hand(&setup).await;
    assert_eq!(failure(&finish).kind, FailureKind::Upstream);
    assert!(finish.replies.is_empty());
    assert_eq!(failed(&setup.door.compacted(1).await), failure(&finish).message);
    setup.model.script_summaries([Step::Hang]);
    assert_eq!(failure(&by_hand(&setup).await).kind, FailureKind::Silence);
    assert_eq!(by_hand(&setup).await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_stop_interrupts_a_compaction_by_hand() {
    let setup = setup(0, 60).await;
    let mut runner = setup.runner();
    setup.say("one").await;
    setup.model.script_summaries([Step::Hang]);
    let turn = setup.door.put(&["/compact"], |batch| batch.work = Work::Compact);
    setup.model.asked_for(Asked::Summary, 1).await;
    runner.signal(Signal::TERM);
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Interrupted);
    assert_eq!(runner.ended().await.code(), Some(0));
}

#[tokio::test]
async fn an_answer_without_a_summary_is_undone() {
    let setup = setup(50, 60).await;
    let _runner = setup.runner();
    setup.model.script_summaries([Step::Counted(vec![], 100, 0)]);
    setup.say("remember 4711").await;
    let compaction = setup.door.compacted(1).await;
    assert!(failed(&compaction).contains("no summary"), "{compaction:?}");
    setup.say("two").await;
    let history = setup.model.asked(Asked::Answer).pop().unwrap()["input"].to_string();
    assert!(history.contains("model reply 1"), "what the agent said is still there: {history}");
    assert_eq!(setup.door.compacted(2).await.outcome, CompactionOutcome::Completed);
}

#[tokio::test]
async fn a_history_that_cannot_be_put_back_is_not_compacted_once_more() {
    let mut setup = setup(50, 60).await;
    // The answer to the second thing that is asked about a thread: the revert.
    setup.codex = shim_after(setup.directory.path(), Deed::Kill, r#""result":{"thread":"#, 1, 1);
    let _runner = setup.runner();
    setup.model.script_summaries([Step::Counted(vec![], 100, 0)]);
    setup.say("one").await;
    let compaction = setup.door.compacted(1).await;
    assert!(failed(&compaction).contains("could not be put back: "), "{compaction:?}");
    assert_eq!(setup.model.asked(Asked::Summary).len(), 1);
    assert_eq!(setup.say("two").await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn codexs_own_compaction_inside_a_turn_zeroes_the_count() {
    let setup = setup(0, 60).await;
    let _runner = setup.runner();
    // Near the end of the model's window, codex compacts before the next turn's input.
    setup.model.script([Step::Counted(vec![message("a")], 250_000, 10)]);
    assert_eq!(meter(&setup.say("one").await).since_compaction, 250_000);
    let second = setup.say("two").await;
    assert_eq!(second.outcome, Outcome::Completed);
    assert_eq!(meter(&second).since_compaction, 100);
    let compaction = setup.door.compacted(1).await;
    assert_eq!((compaction.cause, compaction.outcome), (CompactionCause::Automatic, CompactionOutcome::Completed));
    assert_eq!((compaction.before, compaction.meter.since_compaction), (250_100, 0));
}

#[tokio::test]
async fn a_conversation_that_does_not_fit_is_compacted_whatever_the_threshold() {
    let setup = setup(1_000_000, 60).await;
    let _runner = setup.runner();
    setup.say("one").await;
    let error = json!({"error": {"code": "context_length_exceeded", "message": "too long"}});
    setup.model.script([Step::Status(400, error)]);
    assert_eq!(failure(&setup.say("two").await).kind, FailureKind::ContextWindow);
    assert_eq!(setup.door.compacted(1).await.outcome, CompactionOutcome::Completed);
    let third = setup.say("three").await;
    assert_eq!((third.outcome.clone(), meter(&third).since_compaction), (Outcome::Completed, 100));
    assert_eq!(setup.door.compactions().len(), 1);
}
