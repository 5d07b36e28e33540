//! An app-server that dies, stops or talks nonsense in a turn: the turn goes on, and each message is told once.

mod common;

use cofferdam_protocol::ids::MessageId;
use cofferdam_protocol::runner::*;
use common::codex::{Deed, shim, shim_after};
use common::model::{Asked, Step, command, message, said_by};
use common::runner::{Runner, signal_pid};
use common::setup::{Setup, failure, thread_of};
use futures_util::StreamExt as _;
use rustix::process::Signal;
use serde_json::{Value, json};

const TURN_STARTED: &str = r#""result":{"turn":"#;
const TURN_COMPLETED: &str = r#""method":"turn/completed""#;

fn phased(text: &str, phase: &str) -> Value {
    let mut message = message(text);
    message["phase"] = phase.into();
    message
}

fn kill_codex(runner: &Runner) {
    signal_pid(runner.children()[0], Signal::KILL);
}

/// The model was told that it goes on after a restart.
fn was_told_to_go_on(setup: &Setup) -> bool {
    let last = setup.model.calls().pop().unwrap();
    said_by("developer", &last).iter().any(|said| said.contains("restarted in the middle"))
}

#[tokio::test]
async fn a_turn_whose_app_server_is_killed_in_a_model_call_goes_on() {
    let setup = Setup::new().await;
    let runner = setup.runner();
    let first = setup.say("remember 4711").await;
    setup.model.script([Step::Hang, Step::Text("done")]);
    let turn = setup.door.say("the question");
    setup.model.called(2).await;
    kill_codex(&runner);
    let finish = setup.door.finish(turn).await;
    assert_eq!((finish.outcome.clone(), finish.replies.clone()), (Outcome::Completed, vec!["done".to_owned()]));
    assert_eq!(thread_of(&finish), thread_of(&first));
    assert!(setup.model.last_input().contains("remember 4711") && was_told_to_go_on(&setup));
    assert_eq!(setup.model.calls().len(), 3);
    setup.model.assert_told_once("the question");
    let shown = setup.door.activities(turn);
    assert!(shown.iter().any(|(kind, text)| *kind == ActivityKind::Retrying && text.contains("started again")));
    assert_eq!(setup.say("y").await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_command_that_has_run_before_the_kill_is_not_repeated_by_the_message() {
    let setup = Setup::new().await;
    let runner = setup.runner();
    let script = "echo run >> runs.txt";
    let items = vec![message("I will run it."), command(script)];
    setup.model.script([Step::Items(items), Step::Hang, Step::Text("it ran")]);
    let turn = setup.door.say("run it once");
    setup.model.called(2).await;
    kill_codex(&runner);
    let finish = setup.door.finish(turn).await;
    assert_eq!(finish.replies, ["I will run it.", "it ran"]);
    assert_eq!(finish.found, 1, "the first is from before the kill");
    assert_eq!(std::fs::read_to_string(setup.workspace().join("runs.txt")).unwrap(), "run\n");
    assert!(setup.model.last_input().contains(script), "the model sees what it did");
    setup.model.assert_told_once("run it once");
    assert_eq!(finish.usage.unwrap().input, 200, "of both processes");
}

#[tokio::test]
async fn a_kill_before_turn_start_is_answered_loses_and_repeats_nothing() {
    let mut setup = Setup::new().await;
    setup.codex = shim(setup.directory.path(), Deed::Kill, TURN_STARTED, 1);
    let _runner = setup.runner();
    let finish = setup.say("the question").await;
    assert_eq!(finish.outcome, Outcome::Completed);
    assert_eq!(finish.replies.len(), 1);
    assert_eq!(finish.lost_thread, None);
    setup.model.assert_told_once("the question");
    assert!(setup.model.last_input().contains("the question"));
}

#[tokio::test]
async fn the_same_kill_in_a_later_turn_keeps_the_thread() {
    let mut setup = Setup::new().await;
    let runner = setup.runner();
    let first = setup.say("remember 4711").await;
    setup.end(runner).await;
    setup.codex = shim(setup.directory.path(), Deed::Kill, TURN_STARTED, 1);
    setup.new_attempt(&thread_of(&first));
    let _runner = setup.runner();
    let finish =
        setup.door.finish(setup.door.put(&["the question"], |batch| batch.messages[0].id = MessageId(99))).await;
    assert_eq!((finish.outcome.clone(), thread_of(&finish)), (Outcome::Completed, thread_of(&first)));
    setup.model.assert_told_once("the question");
    assert!(setup.model.last_input().contains("remember 4711"));
}

#[tokio::test]
async fn an_answer_before_the_kill_is_delivered_without_asking_the_model_again() {
    let setup = Setup::new().await;
    let runner = setup.runner();
    setup
        .model
        .script([Step::Stall(vec![phased("looking", "commentary"), phased("forty-two 4242", "final_answer")])]);
    let turn = setup.door.say("the question");
    // Complete, but the turn is not.
    setup.until_written(&setup.home().join("sessions"), "forty-two 4242").await;
    kill_codex(&runner);
    let finish = setup.door.finish(turn).await;
    assert_eq!((finish.outcome, finish.replies), (Outcome::Completed, vec!["forty-two 4242".to_owned()]));
    assert_eq!(setup.model.calls().len(), 1);
}

#[tokio::test]
async fn a_completed_turn_whose_end_was_not_seen_is_delivered() {
    for deed in [Deed::Kill, Deed::Garble] {
        let mut setup = Setup::with(|settings| settings.silence_secs = 5).await;
        setup.codex = shim(setup.directory.path(), deed, TURN_COMPLETED, 1);
        let _runner = setup.runner();
        setup.model.script([Step::Text("the answer")]);
        let finish = setup.say("the question").await;
        assert_eq!((finish.outcome, finish.replies), (Outcome::Completed, vec!["the answer".to_owned()]));
        assert_eq!(setup.model.calls().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_to_turn_start_that_is_no_json_does_not_repeat_the_message() {
    let mut setup = Setup::with(|settings| settings.silence_secs = 5).await;
    setup.codex = shim(setup.directory.path(), Deed::Garble, TURN_STARTED, 1);
    let _runner = setup.runner();
    setup.model.script([Step::Items(vec![phased("the answer", "final_answer")])]);
    let finish = setup.say("the question").await;
    assert_eq!((finish.outcome, finish.replies), (Outcome::Completed, vec!["the answer".to_owned()]));
    assert_eq!(setup.model.calls().len(), 1, "codex ran the turn although nobody heard that it did");
}

#[tokio::test]
async fn a_stray_line_that_is_no_json_is_skipped() {
    let mut setup = Setup::new().await;
    setup.codex = shim(setup.directory.path(), Deed::Garble, r#""method":"item/started""#, 3);
    let _runner = setup.runner();
    assert_eq!(setup.say("the question").await.replies, ["model reply 1"]);
}

#[tokio::test]
async fn an_app_server_that_dies_twice_in_a_turn_fails_it() {
    let mut setup = Setup::new().await;
    setup.codex = shim(setup.directory.path(), Deed::Kill, TURN_STARTED, 2);
    let _runner = setup.runner();
    let finish = setup.say("the question").await;
    assert_eq!(failure(&finish).kind, FailureKind::ProviderDied);
    assert!(failure(&finish).message.contains("exit status: 1"), "{finish:?}");
    assert_eq!(setup.say("another").await.outcome, Outcome::Completed);
    setup.model.assert_told_once("the question");
}

#[tokio::test]
async fn an_app_server_that_dies_while_it_starts_is_started_once_more() {
    for words in [r#""result":{"userAgent""#, r#""result":{"thread":"#] {
        let mut setup = Setup::new().await;
        setup.codex = shim(setup.directory.path(), Deed::Kill, words, 1);
        let _runner = setup.runner();
        let finish = setup.say("the question").await;
        assert_eq!((finish.outcome, finish.replies), (Outcome::Completed, vec!["model reply 1".to_owned()]));
    }
}

#[tokio::test]
async fn an_app_server_that_was_stopped_while_idle_is_replaced_in_the_turn() {
    let setup = Setup::with(|settings| settings.silence_secs = 5).await;
    let runner = setup.runner();
    setup.say("remember 4711").await;
    // It takes what is written to it, and would do it when it is woken.
    let codex = runner.children()[0];
    signal_pid(codex, Signal::STOP);
    let finish = setup.say("the question").await;
    assert_eq!((finish.outcome, finish.replies), (Outcome::Completed, vec!["model reply 2".to_owned()]));
    assert!(!runner.children().contains(&codex));
    assert!(setup.model.last_input().contains("remember 4711"));
    setup.model.assert_told_once("the question");
}

#[tokio::test]
async fn an_app_server_that_was_stopped_in_the_turn_is_replaced_and_the_turn_goes_on() {
    let setup = Setup::with(|settings| settings.silence_secs = 5).await;
    let runner = setup.runner();
    setup.model.script([Step::Hang, Step::Text("done")]);
    let turn = setup.door.say("the question");
    setup.model.called(1).await;
    // It neither speaks nor obeys any more.
    signal_pid(runner.children()[0], Signal::STOP);
    let finish = setup.door.finish(turn).await;
    assert_eq!((finish.outcome, finish.replies), (Outcome::Completed, vec!["done".to_owned()]));
    assert!(was_told_to_go_on(&setup));
    setup.model.assert_told_once("the question");
}

#[tokio::test]
async fn a_stop_while_the_app_server_is_restarted_ends_the_turn() {
    let setup = Setup::new().await;
    let mut runner = setup.runner();
    setup.model.script([Step::Hang, Step::Hang]);
    let turn = setup.door.say("the question");
    setup.model.called(1).await;
    kill_codex(&runner);
    setup.door.shown(turn, ActivityKind::Retrying).await;
    runner.signal(Signal::TERM);
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Interrupted);
    assert_eq!(runner.ended().await.code(), Some(0));
}

/// Kills codex in the place of its line after the first `pass`; the answer is whether it came to that.
async fn killed_after(pass: usize) -> bool {
    let mut setup = Setup::new().await;
    setup.codex = shim_after(setup.directory.path(), Deed::Kill, "", pass, 1);
    let _runner = setup.runner();
    let answer = phased("done", "final_answer");
    setup.model.script([Step::Items(vec![command("echo run >> runs.txt")]), Step::Items(vec![answer])]);
    let finish = setup.say("the question").await;
    assert_eq!(finish.outcome, Outcome::Completed, "killed after {pass} lines: {finish:?}");
    assert_eq!(finish.replies.len(), 1, "killed after {pass} lines: {finish:?}");
    assert!(setup.model.last_input().contains("the question"), "killed after {pass} lines");
    setup.model.assert_told_once("the question");
    let runs = std::fs::read_to_string(setup.workspace().join("runs.txt")).unwrap_or_default();
    assert!(runs.len() <= "run\n".len(), "killed after {pass} lines: {runs}");
    assert_eq!(setup.say("another").await.outcome, Outcome::Completed);
    setup.directory.path().join("done").exists()
}

#[tokio::test]
async fn a_kill_at_any_line_of_a_turn_with_a_command_costs_nothing() {
    let deeds: Vec<_> = futures_util::stream::iter(0..48).map(killed_after).buffered(4).collect().await;
    let lines = deeds.iter().take_while(|done| **done).count();
    assert!(lines > 20, "codex says more than {lines} lines in two turns");
}

/// A second container, whose first turn has the message of the first one's: `m:10`.
async fn retried(setup: &Setup, texts: &[&str], ids: &[i64]) -> Finish {
    let turn = setup.door.put(texts, |batch| {
        batch.retried = true;
        for (message, id) in batch.messages.iter_mut().zip(ids) {
            message.id = MessageId(*id);
        }
    });
    setup.door.finish(turn).await
}

#[tokio::test]
async fn a_message_that_an_earlier_container_answered_is_answered_by_that() {
    let mut setup = Setup::new().await;
    let runner = setup.runner();
    let first = setup.say("the question").await;
    setup.end(runner).await;
    setup.new_attempt(&thread_of(&first));
    let _runner = setup.runner();
    let finish = retried(&setup, &["the question"], &[10]).await;
    assert_eq!((finish.outcome, finish.replies), (Outcome::Completed, first.replies));
    assert_eq!(setup.model.calls().len(), 1);
}

#[tokio::test]
async fn a_message_that_was_answered_long_ago_is_answered_by_that() {
    let mut setup = Setup::new().await;
    let runner = setup.runner();
    let first = setup.say("the question").await;
    for _ in 0..25 {
        setup.say("another").await;
    }
    setup.end(runner).await;
    setup.new_attempt(&thread_of(&first));
    let _runner = setup.runner();
    let finish = retried(&setup, &["the question"], &[10]).await;
    assert_eq!((finish.outcome, finish.replies, finish.found), (Outcome::Completed, first.replies, 1));
    assert_eq!(setup.model.calls().len(), 26);
}

#[tokio::test]
async fn a_message_of_a_killed_container_goes_on_in_the_next_one() {
    let mut setup = Setup::new().await;
    let mut runner = setup.runner();
    setup.model.script([Step::Items(vec![command("echo run >> runs.txt")]), Step::Hang, Step::Text("done")]);
    setup.door.say("the question");
    let thread = setup.door.ready().await;
    setup.model.called(2).await;
    runner.signal(Signal::KILL);
    runner.ended().await;
    setup.new_attempt(&thread);
    let _runner = setup.runner();
    let finish = retried(&setup, &["the question"], &[10]).await;
    assert_eq!((finish.outcome, finish.replies), (Outcome::Completed, vec!["done".to_owned()]));
    assert_eq!(std::fs::read_to_string(setup.workspace().join("runs.txt")).unwrap(), "run\n");
    assert!(was_told_to_go_on(&setup));
    setup.model.assert_told_once("the question");
}

#[tokio::test]
async fn a_turn_that_failed_is_gone_on_with_and_what_came_meanwhile_is_added() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let broken = || Step::Status(500, json!({"error": {"message": "broken"}}));
    setup.model.script((0..20).map(|_| broken()));
    let failed = setup.say("the question").await;
    assert_eq!(failure(&failed).kind, FailureKind::Upstream);
    setup.model.script([]);
    let calls = setup.model.calls().len();
    let finish = retried(&setup, &["the question", "and this"], &[10, 21]).await;
    assert_eq!((finish.outcome, finish.replies.len()), (Outcome::Completed, 1));
    assert_eq!(setup.model.calls().len(), calls + 1);
    let last = setup.model.calls().pop().unwrap();
    assert!(said_by("user", &last).iter().any(|said| said.contains("and this")));
    assert!(said_by("developer", &last).iter().any(|said| said.contains("connection to the model was lost")));
    setup.model.assert_told_once("the question");
    setup.model.assert_told_once("and this");
}

#[tokio::test]
async fn a_message_that_is_tried_again_but_was_never_given_is_sent() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    setup.say("before").await;
    let finish = retried(&setup, &["the question"], &[77]).await;
    assert_eq!(finish.replies, ["model reply 2"]);
    assert!(setup.model.last_input().contains("the question") && !was_told_to_go_on(&setup));
    // On a thread without any turn there is nothing to look for either.
    let fresh = Setup::new().await;
    let _runner = fresh.runner();
    assert_eq!(retried(&fresh, &["the question"], &[77]).await.replies, ["model reply 1"]);
}

#[tokio::test]
async fn a_silent_model_endpoint_is_asked_once_more_with_the_message_told_once() {
    let setup = Setup::with(|settings| settings.silence_secs = 4).await;
    let runner = setup.runner();
    setup.model.script([Step::Hang, Step::Text("done")]);
    let turn = setup.door.say("the question");
    setup.model.called(1).await;
    let codex = runner.children();
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    assert_ne!(runner.children(), codex, "by another process");
    assert_eq!(setup.model.asked(Asked::Answer).len(), 2);
    assert_eq!(setup.model.last_input().matches("the question").count(), 1);
}

#[tokio::test]
async fn a_model_endpoint_that_stays_silent_is_told() {
    let setup = Setup::with(|settings| settings.silence_secs = 4).await;
    let _runner = setup.runner();
    setup.model.script([Step::Hang, Step::Hang]);
    assert_eq!(failure(&setup.say("the question").await).kind, FailureKind::Silence);
    assert_eq!(setup.model.asked(Asked::Answer).len(), 2);
}

#[tokio::test]
async fn a_silent_command_is_told_and_not_run_again() {
    let setup = Setup::with(|settings| settings.silence_secs = 4).await;
    let runner = setup.runner();
    setup.model.script([Step::Items(vec![command("sleep 300")])]);
    let turn = setup.door.say("the question");
    setup.model.called(1).await;
    let codex = runner.children();
    assert_eq!(failure(&setup.door.finish(turn).await).kind, FailureKind::Silence);
    assert_eq!(runner.children(), codex, "codex itself is well");
    assert_eq!(setup.model.asked(Asked::Answer).len(), 1);
}
