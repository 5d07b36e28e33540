//! Newer models call every tool from JavaScript: the provider must see the same as with the others.

mod common;

use cofferdam_protocol::runner::*;
use common::model::Step;
use common::setup::Setup;
use serde_json::{Value, json};

/// A session with a model of code mode and a tool of the host.
async fn setup() -> Setup {
    let setup = Setup::with(|settings| {
        let input_schema = json!({"type": "object", "properties": {"text": {"type": "string"}}});
        settings.tools =
            vec![ToolSpec { name: "chat_reply".into(), description: "Replies now.".into(), input_schema }];
    })
    .await;
    common::codex::write_home_of(&setup.directory.path().join("codex"), setup.model.port, "gpt-6.1-sol");
    setup
}

fn exec(script: &str) -> Value {
    json!({"type": "custom_tool_call", "name": "exec", "input": script, "call_id": "call_1"})
}

#[tokio::test]
async fn several_calls_of_one_script_are_calls_of_their_own() {
    let setup = setup().await;
    let _runner = setup.runner();
    let script = "const all = await Promise.all([\"a\", \"b\"].map((text) => tools.chat_reply({text}))); text(all.join(\" and \"));";
    setup.model.script([Step::Items(vec![exec(script)]), Step::Text("done")]);
    let turn = setup.door.say("tell me");
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    let calls = setup.door.orders.tool_calls();
    let mut said: Vec<_> = calls.iter().map(|call| call.arguments["text"].as_str().unwrap()).collect();
    said.sort_unstable();
    assert_eq!(said, ["a", "b"]);
    assert_ne!(calls[0].call_id, calls[1].call_id);
    let input = setup.model.last_input();
    assert!(input.contains("chat_reply did") && input.contains(" and chat_reply did"), "{input}");
}

#[tokio::test]
async fn a_command_is_shown_as_one_and_the_next_turn_resumes_the_thread() {
    let mut setup = setup().await;
    let mut runner = setup.runner();
    let script = "const ran = await tools.exec_command({cmd: \"echo out-$((40+2))\"}); text(ran.output);";
    setup.model.script([Step::Items(vec![exec(script)]), Step::Text("done")]);
    let turn = setup.door.say("run it");
    let finish = setup.door.finish(turn).await;
    assert!(setup.model.last_input().contains("out-42"), "{}", setup.model.last_input());
    let shown = setup.door.activities(turn);
    assert!(
        shown.contains(&(ActivityKind::CommandFinished, "exit code 0: echo out-$((40+2))".into())),
        "{shown:?}"
    );
    setup.door.stop();
    runner.ended().await;
    let thread = finish.thread.unwrap().continuation.unwrap();
    setup.new_attempt(&thread);
    let _runner = setup.runner();
    assert_eq!(setup.say("and now").await.thread.unwrap().continuation, Some(thread));
    assert!(setup.model.last_input().contains("out-42"));
}

#[tokio::test]
async fn a_script_that_fails_is_told_to_the_model_and_ends_nothing() {
    let setup = setup().await;
    let _runner = setup.runner();
    let failing = exec("await tools.chat_reply({text: \"first\"}); throw new Error(\"no such luck\");");
    setup.model.script([Step::Items(vec![failing]), Step::Text("it failed")]);
    assert_eq!(setup.say("try").await.replies, ["it failed"]);
    assert!(setup.model.last_input().contains("no such luck"), "{}", setup.model.last_input());
    assert_eq!(setup.door.orders.tool_calls().len(), 1);
}
