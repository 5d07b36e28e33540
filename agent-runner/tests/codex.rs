//! The real runner with the real `codex app-server`, a door in the test and a model that follows a script.

mod common;

use cofferdam_protocol::runner::*;
use common::model::{Step, command, message};
use common::runner::{Extra, Runner, signal_pid};
use common::setup::{Setup, failure, thread_of};
use rustix::process::Signal;
use serde_json::json;

#[tokio::test]
async fn the_first_message_gets_the_models_reply() {
    let setup = Setup::new().await;
    setup.door.with_options(TurnOptions { effort: Some("low".into()), ..TurnOptions::default() });
    let _runner = setup.runner();
    let turn = setup.door.say("hello there");
    let finish = setup.door.finish(turn).await;
    assert_eq!(finish.outcome, Outcome::Completed);
    assert_eq!(finish.replies, ["model reply 1"]);
    assert_eq!(finish.thread.clone().unwrap().continuation, Some(setup.door.ready().await));
    assert_eq!(finish.usage, Some(Usage { input: 100, cached_input: 40, output: 10, reasoning: 3 }));
    assert!(finish.provider_millis > 0.0);
    assert_eq!(setup.door.deltas(turn), "model reply 1");
    assert!(setup.model.last_input().contains("hello there"));
    assert!(setup.model.last_input().contains("You are in a test."));
    assert_eq!(setup.model.calls()[0]["reasoning"]["effort"], "low");
    assert_eq!(setup.model.last_key().unwrap(), "Bearer placeholder-of-the-test");
}

#[tokio::test]
async fn the_second_message_shares_the_thread_and_the_process() {
    let setup = Setup::new().await;
    let runner = setup.runner();
    let first = setup.say("my name is Ada").await;
    let children = runner.children();
    let second = setup.say("what is my name").await;
    assert_eq!(thread_of(&first), thread_of(&second));
    assert_eq!(second.usage.unwrap().input, 100);
    assert_eq!(runner.children(), children);
    let input = setup.model.last_input();
    assert!(input.contains("my name is Ada") && input.contains("model reply 1"), "{input}");
}

#[tokio::test]
async fn several_messages_go_in_one_turn_with_their_senders() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    setup.door.finish(setup.door.say_all(&["one", "two"])).await;
    let input = setup.model.last_input();
    assert!(
        input.contains("from=\\\"sender0\\\"") && input.contains("\\none\\n</message>\\n<message from="),
        "{input}"
    );
}

#[tokio::test]
async fn a_restarted_runner_resumes_the_thread() {
    let mut setup = Setup::new().await;
    let mut runner = setup.runner();
    let thread = setup.say("remember 4711").await.thread.unwrap().continuation.unwrap();
    setup.door.stop();
    assert_eq!(runner.ended().await.code(), Some(0));
    setup.new_attempt(&thread);
    let _runner = setup.runner();
    let finish = setup.say("and now").await;
    assert_eq!(finish.thread.as_ref().unwrap().continuation.as_ref(), Some(&thread));
    assert_eq!(setup.door.ready().await, thread);
    assert_eq!(finish.usage.unwrap().input, 100, "the past is not counted again");
    assert!(setup.model.last_input().contains("remember 4711"));
}

#[tokio::test]
async fn a_command_runs_in_the_workspace_and_is_shown() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let script = "pwd > where.txt; env > env.txt; echo out-$((40+2)); exit 3";
    setup.model.script([Step::Items(vec![command(script)]), Step::Text("done")]);
    let turn = setup.door.say("run it");
    let finish = setup.door.finish(turn).await;
    assert_eq!(finish.replies, ["done"]);
    assert_eq!(finish.usage.unwrap().input, 200);
    assert!(setup.model.last_input().contains("out-42"));
    let shown = setup.door.activities(turn);
    assert!(shown.contains(&(ActivityKind::CommandStarted, script.into())), "{shown:?}");
    assert!(shown.contains(&(ActivityKind::CommandFinished, format!("exit code 3: {script}"))), "{shown:?}");
    let workspace = setup.directory.path().join("workspace");
    let seen = std::fs::read_to_string(workspace.join("env.txt")).unwrap();
    assert!(!seen.contains("COFFERDAM_"), "{seen}");
    assert_eq!(std::fs::read_to_string(workspace.join("where.txt")).unwrap().trim(), workspace.to_str().unwrap());
}

#[tokio::test]
async fn several_messages_of_the_agent_are_several_replies_in_order() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let mut first = message("I look.");
    first["phase"] = "partial_answer".into();
    let mut last = message("I found it.");
    last["phase"] = "final_answer".into();
    setup.model.script([Step::Items(vec![first, last])]);
    assert_eq!(setup.say("look").await.replies, ["I look.", "I found it."]);
}

#[tokio::test]
async fn a_message_after_a_cut_stream_is_not_doubled() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    setup.model.script([Step::Cut("the answer"), Step::Text("the answer")]);
    let turn = setup.door.say("x");
    let finish = setup.door.finish(turn).await;
    assert_eq!(finish.replies, ["the answer"]);
    let shown = setup.door.activities(turn);
    assert!(shown.iter().any(|(kind, _)| *kind == ActivityKind::Retrying), "{shown:?}");
}

#[tokio::test]
async fn failed_turns_say_why_and_the_next_message_works() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let error = |message: &str| json!({"error": {"message": message}});
    let limit = json!({"error": {"type": "usage_limit_reached", "message": "limit", "resets_at": 1999999999}});
    let unknown = json!({"error": {"code": "model_not_found", "message": "no such model"}});
    for (status, body, kind, words) in [
        (400, error("bad thing"), FailureKind::Other, "bad thing"),
        (429, limit, FailureKind::UsageLimit, "usage limit"),
        (429, error("slow down"), FailureKind::RateLimited, "429"),
        (500, error("broken"), FailureKind::Upstream, ""),
        (403, error("forbidden"), FailureKind::Unauthorized, "forbidden"),
        (404, unknown, FailureKind::ModelNotFound, "no such model"),
    ] {
        setup.model.script((0..20).map(|_| Step::Status(status, body.clone())));
        let finish = setup.say("x").await;
        assert_eq!(failure(&finish).kind, kind, "{status}: {finish:?}");
        assert!(failure(&finish).message.contains(words), "{finish:?}");
        assert!(!failure(&finish).message.is_empty());
    }
    let unknown = json!({"error": {"code": "model_not_found", "message": "no such model"}});
    setup.model.script([Step::Status(404, unknown)]);
    let finish = setup.say("x").await;
    assert!(failure(&finish).message.contains("Known models: gpt-"), "{finish:?}");
    setup.model.script([]);
    assert_eq!(setup.say("y").await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn sigterm_interrupts_a_running_turn_and_leaves_no_process() {
    let setup = Setup::new().await;
    let mut runner = setup.runner();
    setup.model.script([Step::Hang]);
    let turn = setup.door.say("x");
    setup.model.called(1).await;
    let children = runner.children();
    let begun = std::time::Instant::now();
    runner.signal(Signal::TERM);
    assert_eq!(runner.ended().await.code(), Some(0));
    // Two seconds on an idle machine; silence alone would end it after a minute.
    assert!(begun.elapsed().as_secs_f64() < 20.0, "{:?}", begun.elapsed());
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Interrupted);
    for child in children {
        assert!(!std::path::Path::new(&format!("/proc/{child}")).exists());
    }
}

#[tokio::test]
async fn an_app_server_that_died_while_idle_is_replaced_unnoticed() {
    let setup = Setup::new().await;
    let mut runner = setup.runner();
    setup.say("remember 4711").await;
    let codex = runner.children()[0];
    signal_pid(codex, Signal::KILL);
    runner.reaped(codex).await;
    assert_eq!(setup.say("y").await.outcome, Outcome::Completed);
    assert!(setup.model.last_input().contains("remember 4711"));
}

#[tokio::test]
async fn a_silent_turn_is_interrupted_and_the_next_one_works() {
    let setup = Setup::with(|settings| settings.silence_secs = 4).await;
    let _runner = setup.runner();
    setup.model.script([Step::Hang, Step::Hang]);
    let finish = setup.say("x").await;
    assert_eq!(failure(&finish).kind, FailureKind::Silence);
    assert_eq!(setup.say("y").await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_provider_that_cannot_start_fails_the_batch_and_is_tried_again() {
    let mut setup = Setup::new().await;
    setup.codex = setup.directory.path().join("codex-program");
    let _runner = setup.runner();
    let finish = setup.say("x").await;
    assert_eq!(failure(&finish).kind, FailureKind::ProviderStart);
    assert!(failure(&finish).message.contains("codex-program"), "{finish:?}");
    std::os::unix::fs::symlink(common::codex::binary(), &setup.codex).unwrap();
    assert_eq!(setup.say("y").await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn an_app_server_that_ends_at_start_is_reported_with_its_last_words() {
    let setup = Setup::new().await;
    let (home, away) = (setup.directory.path().join("codex"), setup.directory.path().join("away"));
    std::fs::rename(&home, &away).unwrap();
    let _runner = setup.runner();
    let finish = setup.say("x").await;
    assert_eq!(failure(&finish).kind, FailureKind::ProviderStart);
    assert!(failure(&finish).message.contains("exit status: 1"), "{finish:?}");
    assert!(failure(&finish).message.contains("CODEX_HOME"), "{finish:?}");
    std::fs::rename(&away, &home).unwrap();
    assert_eq!(setup.say("y").await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_broken_configuration_is_reported_in_codexs_own_words() {
    let setup = Setup::new().await;
    let config = setup.directory.path().join("codex/config.toml");
    let good = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, "model = [broken").unwrap();
    let _runner = setup.runner();
    let finish = setup.say("x").await;
    assert_eq!(failure(&finish).kind, FailureKind::ProviderStart);
    assert!(failure(&finish).message.contains("config.toml:1:"), "{finish:?}");
    std::fs::write(&config, good).unwrap();
    assert_eq!(setup.say("y").await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_daemon_restart_in_a_turn_loses_nothing() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let script = "while [ ! -e go ]; do sleep 0.02; done";
    setup.model.script([Step::Items(vec![command(script)]), Step::Text("done")]);
    let turn = setup.door.say("x");
    setup.model.called(1).await;
    setup.door.unbind().await;
    std::fs::write(setup.workspace().join("go"), "").unwrap();
    setup.model.called(2).await;
    setup.door.bind();
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    assert_eq!(setup.say("y").await.outcome, Outcome::Completed);
    assert_eq!(setup.door.hellos(), 1);
}

#[tokio::test]
async fn the_models_traffic_passes_through_the_forwarder() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let setup = Setup::new().await;
    let home = setup.directory.path().join("codex");
    common::codex::write_home(&home, port);
    let extra = Extra { codex: Some(setup.codex.clone()), codex_home: Some(home), forward_port: port };
    let _runner = Runner::start_with(&setup.door, &extra);
    // The test's gateway answers with no model's stream, so the turn fails; what counts is what it saw.
    setup.say("x").await;
    let seen = setup.door.gateway.lock().unwrap().clone();
    assert!(!seen.is_empty() && seen.iter().all(|path| path == "/v1/responses"), "{seen:?}");
}
