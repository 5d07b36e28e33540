//! The host's tools, called by the real codex.

mod common;

use cofferdam_protocol::runner::*;
use common::model::{Step, call, code, message};
use common::setup::{Setup, failure};
use rustix::process::Signal;
use serde_json::{Value, json};

/// What the runner logs when codex has a message in its memory.
const STEERED: &str = "the running turn is steered";

fn spec(name: &str) -> ToolSpec {
    let input_schema = json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
    ToolSpec { name: name.into(), description: format!("Does {name}."), input_schema }
}

fn with_tools(settings: &mut Settings) {
    settings.tools = vec![spec("chat_reply"), spec("ask_user")];
}

async fn setup() -> Setup {
    let setup = Setup::with(with_tools).await;
    // As the host has it: a tool that waits for a person goes on waiting when a message comes.
    setup.feature("instant_interrupt", false);
    setup
}

/// The models of code mode are called with scripts.
fn in_code_mode(setup: &Setup) {
    let model = Some("gpt-6.1-sol".to_owned());
    setup.door.with_options(TurnOptions { model, ..TurnOptions::default() });
}

/// The output of a call, as the last model call carried it.
fn output(setup: &Setup, call_id: &str) -> Value {
    let calls = setup.model.calls();
    let input = calls.last().unwrap()["input"].as_array().unwrap().clone();
    let of_call = |item: &&Value| {
        item["call_id"] == call_id && item["type"].as_str().is_some_and(|kind| kind.ends_with("_output"))
    };
    input.iter().find(of_call).unwrap_or_else(|| panic!("no output of {call_id}: {input:#?}"))["output"].clone()
}

#[tokio::test]
async fn a_tool_is_offered_called_on_the_host_and_answered_to_the_model() {
    let setup = setup().await;
    let _runner = setup.runner();
    let items = vec![call("chat_reply", json!({"text": "hi"}), "call_7")];
    setup.model.script([Step::Items(items), Step::Text("done")]);
    let turn = setup.door.say("x");
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    let calls = setup.door.orders.tool_calls();
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].turn, calls[0].call_id.as_str(), calls[0].tool.as_str()), (turn, "call_7", "chat_reply"));
    assert_eq!(calls[0].arguments, json!({"text": "hi"}));
    assert_eq!(output(&setup, "call_7"), "chat_reply did {\"text\":\"hi\"}");
    let offered = setup.model.calls()[0]["tools"].to_string();
    assert!(offered.contains("Does chat_reply.") && offered.contains("ask_user"), "{offered}");
    assert_eq!(setup.door.shown(turn, ActivityKind::Tool).await, "chat_reply");
}

#[tokio::test]
async fn a_tool_is_called_from_code_mode() {
    let setup = setup().await;
    in_code_mode(&setup);
    let _runner = setup.runner();
    let script = "const r = await tools.chat_reply({text: \"hi\"}); text(\"it said: \" + r);";
    setup.model.script([Step::Items(vec![code(script, "x1")]), Step::Text("done")]);
    let turn = setup.door.say("x");
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    let calls = setup.door.orders.tool_calls();
    assert_eq!((calls.len(), calls[0].tool.as_str()), (1, "chat_reply"));
    assert!(calls[0].call_id.starts_with("exec-"), "{calls:?}");
    assert!(output(&setup, "x1").to_string().contains("it said: chat_reply did"), "{}", output(&setup, "x1"));
}

#[tokio::test]
async fn two_calls_at_once_are_answered_in_any_order() {
    let setup = setup().await;
    let _runner = setup.runner();
    setup.door.orders.hold_tools();
    let items = vec![
        call("ask_user", json!({"text": "one"}), "call_1"),
        call("ask_user", json!({"text": "two"}), "call_2"),
    ];
    setup.model.script([Step::Items(items), Step::Text("done")]);
    let turn = setup.door.say("x");
    setup.door.orders.tools_called(2).await;
    setup.door.orders.answer("call_2", true, "second");
    setup.door.orders.answer("call_1", false, "first");
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    assert_eq!((output(&setup, "call_1"), output(&setup, "call_2")), ("first".into(), "second".into()));
}

#[tokio::test]
async fn a_person_may_take_longer_than_the_silence_timeout() {
    let setup = Setup::with(|settings| {
        with_tools(settings);
        settings.silence_secs = 4;
    })
    .await;
    let _runner = setup.runner();
    setup.door.orders.hold_tools();
    setup.door.orders.pend_tools(3);
    setup.model.script([Step::Items(vec![call("ask_user", json!({"text": "?"}), "call_1")]), Step::Text("done")]);
    let turn = setup.door.say("x");
    assert_eq!(setup.door.orders.tools_called(4).await.len(), 4, "asked again, with the same id");
    // It says that it lives when the time of silence is over, twice.
    setup
        .door
        .wait("two signs of life", |events| {
            let alive = |event: &&Event| {
                event.turn == Some(turn)
                    && matches!(event.body, EventBody::Activity { kind: ActivityKind::Alive, .. })
            };
            (events.iter().filter(alive).count() >= 2).then_some(())
        })
        .await;
    setup.door.orders.answer("call_1", true, "yes");
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    assert_eq!(output(&setup, "call_1"), "yes");
    let calls = setup.door.orders.tool_calls();
    assert!(calls.iter().all(|call| call.call_id == "call_1" && call.turn == turn));
    // After it silence counts again.
    setup.model.script([Step::Hang, Step::Hang]);
    assert_eq!(failure(&setup.say("y").await).kind, FailureKind::Silence);
}

#[tokio::test]
async fn a_host_that_refuses_a_call_is_a_failed_call_for_the_model() {
    let setup = setup().await;
    let _runner = setup.runner();
    setup.door.orders.refuse_tools(400);
    setup.model.script([Step::Items(vec![call("chat_reply", json!({"text": "x"}), "call_1")]), Step::Text("done")]);
    let turn = setup.door.say("x");
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    let output = output(&setup, "call_1").to_string();
    assert!(output.contains("chat_reply could not be called") && output.contains("400"), "{output}");
}

#[tokio::test]
async fn a_call_that_is_answered_after_a_stop_harms_nothing() {
    let setup = setup().await;
    let _runner = setup.runner();
    setup.door.orders.hold_tools();
    setup.model.script([Step::Items(vec![call("ask_user", json!({"text": "?"}), "call_1")])]);
    let turn = setup.door.say("x");
    setup.door.orders.tools_called(1).await;
    setup.door.orders.interrupt(turn);
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Interrupted);
    setup.door.orders.answer("call_1", true, "too late");
    let finish = setup.say("y").await;
    assert_eq!(finish.outcome, Outcome::Completed);
    assert!(!setup.model.last_input().contains("too late"));
}

#[tokio::test]
async fn in_code_mode_a_turn_that_ends_before_the_answer_is_a_turn_like_any_other() {
    let setup = setup().await;
    in_code_mode(&setup);
    let _runner = setup.runner();
    setup.door.orders.hold_tools();
    let script = "// @exec: {\"yield_time_ms\": 200}\nconst r = await tools.ask_user({text: \"?\"}); text(r);";
    setup.model.script([Step::Items(vec![code(script, "x1")]), Step::Text("I asked.")]);
    let turn = setup.door.say("x");
    let calls = setup.door.orders.tools_called(1).await;
    assert_eq!(setup.door.finish(turn).await.replies, ["I asked."]);
    setup.door.orders.answer(&calls[0].call_id, true, "too late");
    assert_eq!(setup.say("y").await.outcome, Outcome::Completed);
    assert!(!setup.model.last_input().contains("too late"));
}

#[tokio::test]
async fn a_message_that_comes_while_a_script_waits_for_a_person_waits_too() {
    let setup = setup().await;
    in_code_mode(&setup);
    let runner = setup.runner();
    setup.door.orders.hold_tools();
    let script = "const r = await tools.ask_user({text: \"?\"}); text(\"answer: \" + r);";
    setup.model.script([Step::Items(vec![code(script, "x1")]), Step::Text("done")]);
    let turn = setup.door.say("x");
    let calls = setup.door.orders.tools_called(1).await;
    let ids = setup.door.orders.steer(turn, &["by the way"]);
    runner.logged(STEERED, ids.len()).await;
    assert_eq!(setup.model.calls().len(), 1, "the script goes on waiting");
    setup.door.orders.answer(&calls[0].call_id, true, "blue");
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    assert_eq!(setup.door.steered(turn), ids);
    assert!(output(&setup, "x1").to_string().contains("answer: blue"), "{}", output(&setup, "x1"));
    assert!(setup.model.last_input().contains("by the way"));
}

#[tokio::test]
async fn a_daemon_restart_while_a_person_thinks_loses_no_answer() {
    let setup = setup().await;
    let _runner = setup.runner();
    setup.door.orders.hold_tools();
    setup.model.script([Step::Items(vec![call("ask_user", json!({"text": "?"}), "call_1")]), Step::Text("done")]);
    let turn = setup.door.say("x");
    setup.door.orders.tools_called(1).await;
    setup.door.unbind().await;
    setup.door.bind();
    setup.door.orders.tools_called(2).await;
    setup.door.orders.answer("call_1", true, "yes");
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    assert_eq!(output(&setup, "call_1"), "yes");
}

#[tokio::test]
async fn a_resumed_thread_keeps_its_tools() {
    let mut setup = setup().await;
    let mut runner = setup.runner();
    let thread = setup.say("x").await.thread.unwrap().continuation.unwrap();
    runner.signal(Signal::TERM);
    runner.ended().await;
    setup.new_attempt(&thread);
    let _runner = setup.runner();
    let items = vec![message("a"), call("chat_reply", json!({"text": "again"}), "call_9")];
    setup.model.script([Step::Items(items), Step::Text("b")]);
    assert_eq!(setup.say("y").await.replies, ["a", "b"]);
    assert_eq!(setup.door.orders.tool_calls()[0].arguments, json!({"text": "again"}));
}

#[tokio::test]
async fn a_question_of_codex_itself_is_declined_at_once() {
    let setup = setup().await;
    in_code_mode(&setup);
    let _runner = setup.runner();
    let question = json!({"questions": [{"id": "q", "header": "Q", "question": "Which?", "options": [
        {"label": "A", "description": "a"}, {"label": "B", "description": "b"}]}]});
    let ask = json!({"type": "function_call", "name": "request_user_input", "namespace": "functions",
        "call_id": "q1", "arguments": question.to_string()});
    setup.model.script([Step::Items(vec![ask]), Step::Text("done")]);
    assert_eq!(setup.say("x").await.replies, ["done"]);
    assert!(!output(&setup, "q1").is_null());
}
