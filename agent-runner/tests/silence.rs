//! Silence, not work, is limited: real commands of the real codex.

mod common;

use cofferdam_protocol::runner::*;
use common::model::{Step, command};
use common::runner::signal_pid;
use common::setup::{Setup, failure};
use rustix::process::Signal;

/// Works without a word for three times as long as nothing may move.
const QUIET_WORK: &str = "timeout 9 sh -c 'while :; do :; done'; echo worked";

async fn setup() -> Setup {
    Setup::with(|settings| settings.silence_secs = 3).await
}

#[tokio::test]
async fn a_command_that_works_without_a_word_is_left_alone() {
    let setup = setup().await;
    let _runner = setup.runner();
    setup.model.script([Step::Items(vec![command(QUIET_WORK)]), Step::Text("done")]);
    let turn = setup.door.say("build it");
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    assert!(setup.model.last_input().contains("worked"), "{}", setup.model.last_input());
    let shown = setup.door.activities(turn);
    assert!(shown.iter().any(|(kind, _)| *kind == ActivityKind::Alive), "the host hears of it: {shown:?}");
}

#[tokio::test]
async fn what_works_first_and_then_hangs_is_interrupted() {
    let setup = setup().await;
    let _runner = setup.runner();
    let script = "timeout 4 sh -c 'while :; do :; done'; sleep 300";
    setup.model.script([Step::Items(vec![command(script)]), Step::Text("never")]);
    let finish = setup.say("build it").await;
    assert_eq!(failure(&finish).kind, FailureKind::Silence);
    assert!(failure(&finish).message.contains("for 3 s"), "{finish:?}");
}

#[tokio::test]
async fn a_loop_that_only_waits_is_silence() {
    let setup = setup().await;
    let _runner = setup.runner();
    let script = "until [ -e never ]; do sleep 1; done";
    setup.model.script([Step::Items(vec![command(script)]), Step::Text("never")]);
    assert_eq!(failure(&setup.say("wait for it").await).kind, FailureKind::Silence);
}

/// Somebody must be there to take the command's end.
#[tokio::test]
async fn a_command_that_works_does_not_hide_that_codex_is_stuck() {
    let setup = setup().await;
    let runner = setup.runner();
    setup.model.script([Step::Items(vec![command("while :; do :; done")]), Step::Text("done")]);
    let turn = setup.door.say("build it");
    setup.door.shown(turn, ActivityKind::CommandStarted).await;
    signal_pid(runner.children()[0], Signal::STOP);
    let finish = setup.door.finish(turn).await;
    assert_eq!((finish.outcome, finish.replies), (Outcome::Completed, vec!["done".to_owned()]));
}
