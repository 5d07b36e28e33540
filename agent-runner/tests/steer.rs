//! Messages and orders that come while a turn runs, with the real codex.

mod common;

use std::path::Path;
use std::sync::Arc;

use cofferdam_protocol::runner::*;
use common::codex::Deed;
use common::model::{Step, call, command};
use common::setup::Setup;
use rustix::process::Signal;
use serde_json::json;
use tokio::sync::Notify;

/// What the runner logs when codex has a message in its memory.
const STEERED: &str = "the running turn is steered";

#[tokio::test]
async fn a_message_that_comes_while_the_model_speaks_is_in_its_next_call_and_said_to_be_taken() {
    let setup = setup().await;
    let runner = setup.runner();
    let told = Arc::new(Notify::new());
    setup.model.script([Step::Slowly("The first is done.", told.clone()), Step::Text("And the second.")]);
    let turn = setup.door.say("first");
    setup.door.said(turn, "The first").await;
    let ids = setup.door.orders.steer(turn, &["and also this"]);
    runner.logged(STEERED, ids.len()).await;
    assert_eq!(setup.door.steered(turn), []);
    told.notify_one();
    let finish = setup.door.finish(turn).await;
    assert_eq!(finish.replies, ["The first is done.", "And the second."]);
    assert_eq!(setup.door.steered(turn), ids);
    let input = setup.model.last_input();
    assert!(input.contains("first") && input.contains("and also this"), "{input}");
    let shown = setup.door.activities(turn);
    assert!(!shown.iter().any(|(kind, _)| *kind == ActivityKind::Retrying), "nothing was cut: {shown:?}");
}

#[tokio::test]
async fn where_codex_cuts_an_answer_off_for_a_message_that_is_said() {
    let setup = Setup::new().await;
    setup.feature("instant_interrupt", true);
    let _runner = setup.runner();
    setup.model.script([Step::Begun("I will now"), Step::Text("both done")]);
    let turn = setup.door.say("first");
    setup.door.said(turn, "I will now").await;
    let ids = setup.door.orders.steer(turn, &["and also this"]);
    let finish = setup.door.finish(turn).await;
    assert_eq!(finish.replies, ["both done"]);
    assert_eq!(setup.door.steered(turn), ids);
    assert!(!setup.model.last_input().contains("I will now"), "nothing of the half answer remains");
    let retrying = setup.door.shown(turn, ActivityKind::Retrying).await;
    assert!(retrying.contains("new message"), "{retrying}");
}

#[tokio::test]
async fn a_message_that_comes_while_a_command_runs_waits_for_its_end() {
    let setup = setup().await;
    let runner = setup.runner();
    let script = "while [ ! -e go ]; do sleep 0.02; done; echo command-done";
    setup.model.script([Step::Items(vec![command(script)]), Step::Text("done")]);
    let turn = setup.door.say("run it");
    setup.door.shown(turn, ActivityKind::CommandStarted).await;
    let ids = setup.door.orders.steer(turn, &["hurry"]);
    runner.logged(STEERED, ids.len()).await;
    assert_eq!(setup.door.steered(turn), [], "not before the model is given it");
    std::fs::write(setup.workspace().join("go"), "").unwrap();
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    assert_eq!(setup.door.steered(turn), ids);
    let input = setup.model.last_input();
    assert!(input.find("command-done").unwrap() < input.find("hurry").unwrap(), "{input}");
    let shown = setup.door.activities(turn);
    assert!(!shown.iter().any(|(kind, _)| *kind == ActivityKind::Retrying), "nothing was cut: {shown:?}");
}

#[tokio::test]
async fn several_messages_are_taken_in_order_with_their_senders() {
    let setup = setup().await;
    let runner = setup.runner();
    let told = Arc::new(Notify::new());
    let run = call("exec_command", json!({"cmd": "while [ ! -e go ]; do sleep 0.02; done"}), "call_1");
    setup.model.script([Step::When(told.clone(), vec![run]), Step::Text("done")]);
    let turn = setup.door.say("zero");
    setup.model.called(1).await;
    told.notify_one();
    setup.door.shown(turn, ActivityKind::CommandStarted).await;
    let mut ids = setup.door.orders.steer(turn, &["one", "two"]);
    ids.extend(setup.door.orders.steer(turn, &["three"]));
    runner.logged(STEERED, ids.len()).await;
    std::fs::write(setup.workspace().join("go"), "").unwrap();
    setup.door.finish(turn).await;
    assert_eq!(setup.door.steered(turn), ids);
    let inputs: Vec<_> = setup.model.calls().iter().map(|call| call["input"].to_string()).collect();
    let last = inputs.last().unwrap();
    let places: Vec<_> = ["one", "two", "three"]
        .iter()
        .map(|text| {
            last.find(&format!("\\n{text}\\n</message>")).unwrap_or_else(|| panic!("{text} is not in {last}"))
        })
        .collect();
    assert!(places.is_sorted(), "{last}");
}

#[tokio::test]
async fn a_message_that_the_turn_did_not_take_is_not_said_to_be_taken() {
    let setup = setup().await;
    let runner = setup.runner();
    // No headers ever: codex keeps the message in memory, and the stop loses it there.
    setup.model.script([Step::Hang]);
    let turn = setup.door.say("x");
    setup.model.called(1).await;
    let ids = setup.door.orders.steer(turn, &["too late"]);
    runner.logged(STEERED, ids.len()).await;
    setup.door.orders.interrupt(turn);
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Interrupted);
    assert_eq!(setup.door.steered(turn), []);
    // So the host gives it to the next turn, where it is new.
    let next = setup.door.say_as("too late", |batch| batch.messages[0].id = ids[0]);
    assert_eq!(setup.door.finish(next).await.outcome, Outcome::Completed);
    assert_eq!(setup.model.last_input().matches("too late").count(), 1);
}

#[tokio::test]
async fn a_steered_image_is_looked_at() {
    let setup = setup().await;
    let runner = setup.runner();
    let told = Arc::new(Notify::new());
    setup.model.script([Step::Slowly("hm", told.clone()), Step::Text("seen")]);
    let turn = setup.door.say("look");
    setup.door.said(turn, "hm").await;
    let image = setup.workspace().join("dot.png");
    std::fs::write(&image, common::setup::PNG).unwrap();
    let id = setup.door.orders.steer_with(turn, "this one", &image);
    runner.logged(STEERED, 1).await;
    told.notify_one();
    assert_eq!(setup.door.finish(turn).await.replies, ["hm", "seen"]);
    assert_eq!(setup.door.steered(turn), [id]);
    let input = setup.model.last_input();
    assert!(input.contains("data:image/png;base64,") && input.contains("[image: dot.png, "), "{input}");
}

#[tokio::test]
async fn a_stop_ends_the_turn_and_the_commands_that_it_left_running() {
    let setup = setup().await;
    let _runner = setup.runner();
    let script = "echo $$ > pid; sleep 1000 & echo $! > child; wait";
    let background = call("exec_command", json!({"cmd": script, "yield_time_ms": 250}), "call_1");
    setup.model.script([Step::Items(vec![background]), Step::Hang]);
    let turn = setup.door.say("run a server");
    // The model has been told that the command goes on in the background.
    setup.model.called(2).await;
    let pid =
        |name: &str| std::fs::read_to_string(setup.workspace().join(name)).unwrap_or_default().trim().to_owned();
    // It may have got no further yet.
    common::setup::until("both run", || !pid("pid").is_empty() && !pid("child").is_empty()).await;
    let processes = [pid("pid"), pid("child")];
    assert!(processes.iter().all(|pid| is_running(pid)));
    setup.door.orders.interrupt(turn);
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Interrupted);
    // Killed, but the kernel may still be at it.
    let is_gone = || processes.iter().all(|pid| !is_running(pid));
    common::setup::until("the command and its own child are gone", is_gone).await;
    assert_eq!(setup.say("y").await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_stop_ends_the_command_that_the_turn_waits_for() {
    let setup = setup().await;
    let _runner = setup.runner();
    setup.model.script([Step::Items(vec![command("echo $$ > pid; sleep 1000")])]);
    let turn = setup.door.say("x");
    setup.door.shown(turn, ActivityKind::CommandStarted).await;
    let pid = || std::fs::read_to_string(setup.workspace().join("pid")).unwrap_or_default().trim().to_owned();
    common::setup::until("the command runs", || !pid().is_empty()).await;
    setup.door.orders.interrupt(turn);
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Interrupted);
    common::setup::until("the command is gone", || !is_running(&pid())).await;
}

#[tokio::test]
async fn a_stop_that_waited_for_the_turn_ends_it_at_its_beginning() {
    let setup = setup().await;
    let _runner = setup.runner();
    setup.say("warm").await;
    for _ in 0..5 {
        setup.model.script([Step::Hang]);
        let turn = setup.door.say_as("x", |batch| setup.door.orders.interrupt(batch.turn));
        assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Interrupted);
        setup.model.script([]);
        assert_eq!(setup.say("y").await.outcome, Outcome::Completed);
    }
}

#[tokio::test]
async fn a_stop_ends_a_turn_that_codex_does_not_begin() {
    let setup = setup().await;
    let mut runner = setup.runner();
    setup.say("warm").await;
    let codex = runner.children()[0];
    common::runner::signal_pid(codex, Signal::STOP);
    let turn = setup.door.say("x");
    setup.door.handed(turn).await;
    setup.door.orders.interrupt(turn);
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Interrupted);
    runner.logged("in a turn that was stopped", 1).await;
    runner.reaped(codex).await;
    assert_eq!(setup.say("y").await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_refusal_of_control_ends_the_runner_in_the_middle_of_a_turn() {
    for status in [401, 409] {
        let setup = setup().await;
        let mut runner = setup.runner();
        setup.model.script([Step::Hang]);
        setup.door.say("x");
        setup.model.called(1).await;
        setup.door.orders.refuse_control(status);
        assert_eq!(runner.ended().await.code(), Some(4), "{status}");
    }
}

#[tokio::test]
async fn a_daemon_restart_in_a_turn_loses_no_order() {
    let setup = setup().await;
    let runner = setup.runner();
    let told = Arc::new(Notify::new());
    setup.model.script([Step::Slowly("hm", told.clone()), Step::Hang]);
    let turn = setup.door.say("x");
    setup.door.said(turn, "hm").await;
    setup.door.unbind().await;
    let ids = setup.door.orders.steer(turn, &["more"]);
    setup.door.bind();
    runner.logged(STEERED, ids.len()).await;
    told.notify_one();
    setup.model.called(2).await;
    setup.door.steered_with(turn, &ids).await;
    setup.door.unbind().await;
    setup.door.orders.interrupt(turn);
    setup.door.bind();
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Interrupted);
}

#[tokio::test]
async fn an_app_server_that_dies_with_a_message_in_its_memory_does_not_have_it() {
    let setup = setup().await;
    let runner = setup.runner();
    setup.model.script([Step::Hang, Step::Text("done")]);
    let turn = setup.door.say("x");
    setup.model.called(1).await;
    let ids = setup.door.orders.steer(turn, &["lost in memory"]);
    runner.logged(STEERED, ids.len()).await;
    common::runner::signal_pid(runner.children()[0], Signal::KILL);
    let finish = setup.door.finish(turn).await;
    assert_eq!((finish.outcome, finish.replies), (Outcome::Completed, vec!["done".to_owned()]));
    assert_eq!(setup.door.steered(turn), []);
    // So the host gives it to the next turn.
    let next = setup.door.say_as("lost in memory", |batch| batch.messages[0].id = ids[0]);
    setup.door.finish(next).await;
    assert_eq!(setup.model.last_input().matches("lost in memory").count(), 1);
}

#[tokio::test]
async fn a_message_that_the_turn_has_is_said_to_be_taken_although_codex_died_before_it_said_so() {
    let mut setup = setup().await;
    let shim = common::codex::shim(setup.directory.path(), Deed::Kill, "\"clientId\":\"m:900\"", 1);
    setup.codex = shim;
    let runner = setup.runner();
    let told = Arc::new(Notify::new());
    setup.model.script([Step::Slowly("hm", told.clone()), Step::Text("both")]);
    let turn = setup.door.say("x");
    setup.door.said(turn, "hm").await;
    let ids = setup.door.orders.steer(turn, &["more"]);
    assert_eq!(ids[0].0, 900);
    runner.logged(STEERED, ids.len()).await;
    told.notify_one();
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Completed);
    assert!(setup.model.last_input().contains("more"), "its history had the message");
    assert_eq!(setup.door.steered(turn), ids);
}

/// As the host has it: codex does not cut an answer off for a message.
async fn setup() -> Setup {
    let setup = Setup::new().await;
    setup.feature("instant_interrupt", false);
    setup
}

fn is_running(pid: &str) -> bool {
    // A zombie is not running; its parent in the test has not read it yet.
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}
