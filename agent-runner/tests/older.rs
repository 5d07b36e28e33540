//! The provider on an older release of Codex: what Cofferdam lives on is not the newest version's.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use cofferdam_agent_runner::provider::codex::method;
use cofferdam_protocol::runner::*;
use common::door::{Door, settings};
use common::model::{Model, Step, command};
use common::runner::{Extra, Runner};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A session on the older Codex.
struct Setup {
    directory: tempfile::TempDir,
    model: Arc<Model>,
    door: Arc<Door>,
}

impl Setup {
    async fn new() -> Self {
        Self::of("gpt-5.5").await
    }

    /// With this model, and a tool of the host.
    async fn of(model_name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let model = Model::start().await;
        common::codex::write_home_of(&directory.path().join("codex"), model.port, model_name);
        let workspace = directory.path().join("workspace");
        std::fs::create_dir(&workspace).unwrap();
        let mut settings = settings(ProviderKind::Codex, &workspace);
        let input_schema = json!({"type": "object", "properties": {"text": {"type": "string"}}});
        settings.tools =
            vec![ToolSpec { name: "chat_reply".into(), description: "Replies now.".into(), input_schema }];
        Self { door: Door::open(settings, None), directory, model }
    }

    fn runner(&self) -> Runner {
        let codex_home = Some(self.directory.path().join("codex"));
        let codex = Some(common::codex::older());
        Runner::start_with(&self.door, &Extra { codex, codex_home, forward_port: 0 })
    }

    fn new_attempt(&mut self, continuation: &str) {
        let workspace = self.directory.path().join("workspace");
        self.door = Door::open(settings(ProviderKind::Codex, &workspace), Some(continuation));
    }

    async fn say(&self, text: &str) -> Finish {
        self.door.finish(self.door.say(text)).await
    }
}

#[test]
fn it_is_older_than_the_pinned_one() {
    let numbers = |lock: &str| -> Vec<u32> {
        common::codex::locked_version(lock).split('.').map(|number| number.parse().unwrap()).collect()
    };
    let (older, pinned) = (numbers("codex-older.lock"), numbers("codex.lock"));
    assert!(older < pinned, "{older:?} is not older than {pinned:?}");
    let said = std::process::Command::new(common::codex::older()).arg("--version").output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.trim().ends_with(&common::codex::locked_version("codex-older.lock")), "{said}");
}

#[test]
fn it_has_every_method_that_the_provider_uses() {
    let directory = tempfile::tempdir().unwrap();
    let status = std::process::Command::new(common::codex::older())
        .args(["app-server", "generate-json-schema", "--experimental", "--out"])
        .arg(directory.path())
        .env("CODEX_HOME", directory.path())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    for (union, used) in [
        ("ClientRequest", &method::REQUESTS[..]),
        ("ServerNotification", &method::READ),
        ("ServerRequest", &method::ANSWERED),
    ] {
        let text = std::fs::read(directory.path().join(union).with_extension("json")).unwrap();
        let schema: Value = serde_json::from_slice(&text).unwrap();
        let members = schema["oneOf"].as_array().unwrap().iter();
        let known: BTreeSet<_> =
            members.filter_map(|one| one["properties"]["method"]["enum"][0].as_str()).collect();
        let missing: Vec<_> = used.iter().filter(|name| !known.contains(**name)).collect();
        assert!(missing.is_empty(), "{union}: {missing:?}");
    }
}

#[tokio::test]
async fn a_turn_is_answered_and_counted() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let turn = setup.door.say("hello there");
    let finish = setup.door.finish(turn).await;
    assert_eq!((finish.outcome, finish.replies), (Outcome::Completed, vec!["model reply 1".to_owned()]));
    assert_eq!(finish.usage, Some(Usage { input: 100, cached_input: 40, output: 10, reasoning: 3 }));
    assert_eq!(setup.door.deltas(turn), "model reply 1");
    assert!(setup.model.last_input().contains("hello there"));
    assert!(setup.model.last_input().contains("You are in a test."));
}

#[tokio::test]
async fn a_thread_is_resumed_by_a_new_runner() {
    let mut setup = Setup::new().await;
    let mut runner = setup.runner();
    let thread = setup.say("remember 4711").await.thread.unwrap().continuation.unwrap();
    setup.door.stop();
    assert_eq!(runner.ended().await.code(), Some(0));
    setup.new_attempt(&thread);
    let _runner = setup.runner();
    assert_eq!(setup.say("and now").await.thread.unwrap().continuation, Some(thread));
    assert!(setup.model.last_input().contains("remember 4711"));
}

#[tokio::test]
async fn a_thread_that_is_gone_is_replaced_for_the_same_message() {
    let mut setup = Setup::new().await;
    let gone = "01a1fcba-9e4d-76d1-8c02-23c3560d227f";
    setup.new_attempt(gone);
    let _runner = setup.runner();
    let finish = setup.say("still here").await;
    assert_eq!(finish.outcome, Outcome::Completed);
    assert_ne!(finish.thread.unwrap().continuation.unwrap(), gone);
    assert!(setup.model.last_input().contains("still here"));
}

#[tokio::test]
async fn a_command_runs_in_the_workspace_and_is_shown() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let script = "pwd > where.txt; echo out-$((40+2)); exit 3";
    setup.model.script([Step::Items(vec![command(script)]), Step::Text("done")]);
    let turn = setup.door.say("run it");
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    assert!(setup.model.last_input().contains("out-42"));
    let shown = setup.door.activities(turn);
    assert!(shown.contains(&(ActivityKind::CommandStarted, script.into())), "{shown:?}");
    assert!(shown.contains(&(ActivityKind::CommandFinished, format!("exit code 3: {script}"))), "{shown:?}");
    let workspace = setup.directory.path().join("workspace");
    let seen = std::fs::read_to_string(workspace.join("where.txt")).unwrap();
    assert_eq!(seen.trim(), workspace.to_str().unwrap());
}

#[tokio::test]
async fn a_command_runs_in_code_mode() {
    let setup = Setup::of("gpt-6.1-sol").await;
    let _runner = setup.runner();
    let script = "const ran = await tools.exec_command({cmd: \"echo out-$((40+2))\"}); text(ran.output);";
    let call = json!({"type": "custom_tool_call", "name": "exec", "input": script, "call_id": "call_1"});
    setup.model.script([Step::Items(vec![call]), Step::Text("done")]);
    let turn = setup.door.say("run it");
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    assert!(setup.model.last_input().contains("out-42"), "{}", setup.model.last_input());
    let shown = setup.door.activities(turn);
    assert!(shown.iter().any(|(kind, _)| *kind == ActivityKind::CommandFinished), "{shown:?}");
}

#[tokio::test]
async fn a_tool_of_the_host_is_called_with_both_kinds_of_models() {
    let direct = json!({"type": "function_call", "name": "chat_reply", "call_id": "call_1",
        "arguments": "{\"text\":\"soon\"}"});
    let script = "text(await tools.chat_reply({text: \"soon\"}));";
    let code = json!({"type": "custom_tool_call", "name": "exec", "input": script, "call_id": "call_1"});
    for (model, call) in [("gpt-5.5", direct), ("gpt-6.1-sol", code)] {
        let setup = Setup::of(model).await;
        let _runner = setup.runner();
        setup.model.script([Step::Items(vec![call]), Step::Text("done")]);
        assert_eq!(setup.say("tell me").await.replies, ["done"], "{model}");
        let calls = setup.door.orders.tool_calls();
        assert_eq!(calls.len(), 1, "{model}: {calls:?}");
        assert_eq!((calls[0].tool.as_str(), &calls[0].arguments), ("chat_reply", &json!({"text": "soon"})));
        assert!(setup.model.last_input().contains("chat_reply did"), "{model}: {}", setup.model.last_input());
    }
}

#[tokio::test]
async fn a_failed_turn_says_why_and_the_next_one_works() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let unknown = json!({"error": {"code": "model_not_found", "message": "no such model"}});
    setup.model.script((0..9).map(|_| Step::Status(404, unknown.clone())));
    match setup.say("x").await.outcome {
        Outcome::Failed(failure) => assert_eq!(failure.kind, FailureKind::ModelNotFound),
        other => panic!("not failed: {other:?}"),
    }
    setup.model.script([]);
    assert_eq!(setup.say("y").await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_turn_is_interrupted_and_the_process_ends() {
    let setup = Setup::new().await;
    let mut runner = setup.runner();
    setup.model.script([Step::Hang]);
    let turn = setup.door.say("x");
    setup.model.called(1).await;
    runner.signal(Signal::TERM);
    assert_eq!(runner.ended().await.code(), Some(0));
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Interrupted);
}
