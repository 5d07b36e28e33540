//! What the agent says and does, told apart: progress, replies at once, the answer, plans, changes and tokens.

mod common;

use cofferdam_protocol::runner::*;
use common::model::{Step, call, code, command, in_phase, message};
use common::setup::Setup;
use serde_json::json;

const PATCH: &str = "*** Begin Patch\n*** Add File: hello.txt\n+hello\n*** End Patch";

#[tokio::test]
async fn commentary_is_progress_and_the_final_message_is_the_reply() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let items = vec![in_phase("commentary", "I look."), command("true")];
    setup.model.script([Step::Items(items), Step::Items(vec![in_phase("final_answer", "Found.")])]);
    let turn = setup.door.say("look");
    assert_eq!(setup.door.finish(turn).await.replies, ["Found."]);
    assert_eq!(setup.door.shown(turn, ActivityKind::Commentary).await, "I look.");
}

#[tokio::test]
async fn a_turn_with_nothing_but_commentary_is_answered_by_its_last() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let items = vec![in_phase("commentary", "I look."), command("true")];
    setup.model.script([Step::Items(items), Step::Items(vec![in_phase("commentary", "It is done.")])]);
    assert_eq!(setup.say("look").await.replies, ["It is done."]);
}

#[tokio::test]
async fn messages_without_a_phase_are_replies_and_a_turn_without_any_has_none() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    setup.model.script([Step::Items(vec![message("one"), in_phase("final_answer", "two"), message(" ")])]);
    assert_eq!(setup.say("x").await.replies, ["one", "two"]);
    setup.model.script([Step::Items(vec![])]);
    let finish = setup.say("y").await;
    assert_eq!((finish.outcome, finish.replies), (Outcome::Completed, Vec::new()));
}

#[tokio::test]
async fn what_a_turn_changed_is_its_diff_and_the_next_turn_has_none() {
    let setup = Setup::new().await;
    let git = |arguments: &[&str]| {
        let status = std::process::Command::new("git").args(arguments).current_dir(setup.workspace()).status();
        assert!(status.unwrap().success());
    };
    git(&["init", "-q"]);
    let _runner = setup.runner();
    let patch = format!("apply_patch <<'EOF'\n{PATCH}\nEOF");
    setup.model.script([Step::Items(vec![command(&patch)]), Step::Text("done")]);
    let turn = setup.door.say("write it");
    let finish = setup.door.finish(turn).await;
    let diff = finish.diff.expect("a diff");
    assert!(diff.starts_with("diff --git a/hello.txt b/hello.txt\n"), "{diff}");
    assert!(diff.contains("+hello\n"), "{diff}");
    assert!(setup.door.shown(turn, ActivityKind::FileChange).await.ends_with("hello.txt"));
    assert_eq!(setup.say("y").await.diff, None);
}

#[tokio::test]
async fn a_patch_in_code_mode_is_in_the_diff_too() {
    let setup = Setup::new().await;
    let model = Some("gpt-6.1-sol".to_owned());
    setup.door.with_options(TurnOptions { model, ..TurnOptions::default() });
    let _runner = setup.runner();
    let script = format!("await tools.apply_patch({}); text(\"ok\");", json!(PATCH));
    setup.model.script([Step::Items(vec![code(&script, "x1")]), Step::Text("done")]);
    let finish = setup.say("write it").await;
    assert_eq!(finish.replies, ["done"]);
    assert!(finish.diff.unwrap().contains("+hello\n"));
}

#[tokio::test]
async fn a_plan_is_shown_with_a_line_for_each_step() {
    let setup = Setup::new().await;
    setup.configure("[tools.update_plan]\nenabled = true\n");
    let _runner = setup.runner();
    let plan = json!({"explanation": "so", "plan": [{"step": "look", "status": "completed"},
        {"step": "change it", "status": "in_progress"}, {"step": "test", "status": "pending"}]});
    setup.model.script([Step::Items(vec![call("update_plan", plan, "call_1")]), Step::Text("done")]);
    let turn = setup.door.say("x");
    assert_eq!(setup.door.shown(turn, ActivityKind::Plan).await, "[x] look\n[>] change it\n[ ] test");
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
}

#[tokio::test]
async fn tokens_are_shown_in_words_and_not_with_every_call() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let run = || Step::Items(vec![command("true")]);
    setup.model.script([run(), run(), run(), Step::Text("done")]);
    let turn = setup.door.say("x");
    assert_eq!(setup.door.finish(turn).await.usage.unwrap().input, 400);
    assert_eq!(setup.door.shown(turn, ActivityKind::Tokens).await, "100 in, 10 out");
}
