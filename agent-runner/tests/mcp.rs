//! MCP servers of the real codex: how they stand, waiting for them, and bringing back one that died.

mod common;

use std::path::PathBuf;

use cofferdam_protocol::runner::*;
use common::model::{Step, code, mcp_call};
use common::setup::{Setup, failure};
use serde_json::json;

/// A server over stdio in Python: `echo` says its words again, `die` ends the server at once, `hang` never answers.
/// It begins when the file in its argument is there, and counts its starts in a file beside itself.
const SERVER: &str = r#"
import json, os, sys, time
if len(sys.argv) > 1:
    while not os.path.exists(sys.argv[1]): time.sleep(0.02)
with open(__file__ + ".starts", "a") as starts: starts.write("x")
tool = lambda name: {"name": name, "description": name, "inputSchema": {"type": "object"}}
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked: continue
    method, params = asked["method"], asked.get("params") or {}
    if method == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "test", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [tool("echo"), tool("die"), tool("hang")]}
    elif method == "tools/call":
        if params["name"] == "die": os._exit(3)
        if params["name"] == "hang": continue
        result = {"content": [{"type": "text", "text": "echo says " + json.dumps(params.get("arguments"))}]}
    else:
        result = {}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"#;

struct Servers {
    setup: Setup,
}

impl Servers {
    /// A session with these servers: each a name, and more lines of its configuration.
    async fn new(servers: &[(&str, &str)]) -> Self {
        let setup = Setup::with(|settings| {
            let server = |(name, _): &(&str, &str)| McpServer { name: (*name).into(), startup_timeout_secs: 30 };
            settings.mcp_servers = servers.iter().map(server).collect();
        })
        .await;
        for (name, lines) in servers {
            let script = setup.directory.path().join(format!("{name}.py"));
            std::fs::write(&script, SERVER).unwrap();
            let lines = lines.replace("SCRIPT", script.to_str().unwrap());
            setup.configure(&format!("[mcp_servers.{name}]\nstartup_timeout_sec = 30\n{lines}\n"));
        }
        Self { setup }
    }

    /// How often a server's process has begun.
    fn starts(&self, name: &str) -> usize {
        let path: PathBuf = self.setup.directory.path().join(format!("{name}.py.starts"));
        std::fs::read_to_string(path).unwrap_or_default().len()
    }

    /// What the host was told of a server, in order.
    fn told(&self, name: &str) -> Vec<McpState> {
        told(&self.setup.door.events(), name)
    }

    async fn is(&self, name: &str, states: &[McpStatus]) {
        self.setup
            .door
            .wait("state of a server", |events| {
                let told: Vec<_> = told(events, name).iter().map(|state| state.status).collect();
                told.ends_with(states).then_some(())
            })
            .await;
    }
}

fn told(events: &[Event], name: &str) -> Vec<McpState> {
    let of_server = |event: &Event| match &event.body {
        EventBody::Mcp(state) if state.name == name => Some(state.clone()),
        _ => None,
    };
    events.iter().filter_map(of_server).collect()
}

const GOOD: &str = "command = \"python3\"\nargs = [\"SCRIPT\"]";

#[tokio::test]
async fn a_server_is_called_and_its_states_are_told_once_each() {
    let servers = Servers::new(&[("good", GOOD)]).await;
    let setup = &servers.setup;
    let _runner = setup.runner();
    let items = vec![mcp_call("good", "echo", json!({"x": "1"}), "call_1")];
    setup.model.script([Step::Items(items), Step::Text("done")]);
    let turn = setup.door.say("x");
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    assert!(setup.model.last_input().contains("echo says"), "{}", setup.model.last_input());
    assert_eq!(setup.door.shown(turn, ActivityKind::Tool).await, "good: echo");
    setup.say("y").await;
    let states: Vec<_> = servers.told("good").iter().map(|state| state.status).collect();
    assert_eq!(states, [McpStatus::Starting, McpStatus::Ready]);
    assert_eq!(servers.starts("good"), 1);
}

#[tokio::test]
async fn the_first_turn_waits_for_a_slow_server_and_has_its_tools() {
    let servers = Servers::new(&[("slow", "command = \"python3\"\nargs = [\"SCRIPT\", \"SCRIPT.go\"]")]).await;
    let setup = &servers.setup;
    let _runner = setup.runner();
    let turn = setup.door.say("x");
    servers.is("slow", &[McpStatus::Starting]).await;
    setup.door.ready().await;
    // Far longer than codex itself would wait (1 s): only our own sign of life ends the wait here.
    setup.door.shown(turn, ActivityKind::Alive).await;
    assert_eq!(setup.model.calls().len(), 0, "the model is not asked without the tools");
    std::fs::write(setup.directory.path().join("slow.py.go"), "").unwrap();
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Completed);
    servers.is("slow", &[McpStatus::Starting, McpStatus::Ready]).await;
    assert!(setup.model.calls()[0].to_string().contains("mcp__slow"), "{:#}", setup.model.calls()[0]);
}

#[tokio::test]
async fn a_stop_ends_the_wait_for_a_server_and_the_next_turn_waits_on() {
    let servers = Servers::new(&[("slow", "command = \"python3\"\nargs = [\"SCRIPT\", \"SCRIPT.go\"]")]).await;
    let setup = &servers.setup;
    let _runner = setup.runner();
    let turn = setup.door.say("x");
    servers.is("slow", &[McpStatus::Starting]).await;
    setup.door.orders.interrupt(turn);
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Interrupted);
    assert_eq!(setup.model.calls().len(), 0);
    let turn = setup.door.say("y");
    setup.door.handed(turn).await;
    std::fs::write(setup.directory.path().join("slow.py.go"), "").unwrap();
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Completed);
    assert!(setup.model.calls()[0].to_string().contains("mcp__slow"), "{:#}", setup.model.calls()[0]);
}

#[tokio::test]
async fn a_server_that_cannot_start_is_told_with_its_reason_and_the_turn_goes_on() {
    let servers = Servers::new(&[("good", GOOD), ("gone", "command = \"/no/such/program\"")]).await;
    let setup = &servers.setup;
    let _runner = setup.runner();
    assert_eq!(setup.say("x").await.outcome, Outcome::Completed);
    let told = servers.told("gone");
    assert_eq!(told.last().unwrap().status, McpStatus::Failed);
    assert!(told.last().unwrap().error.as_ref().unwrap().contains("No such file"), "{told:?}");
    assert_eq!(servers.told("good").last().unwrap().status, McpStatus::Ready);
}

#[tokio::test]
async fn a_required_server_that_cannot_start_is_named_in_the_failure() {
    let servers = Servers::new(&[("needed", "command = \"/no/such/program\"\nrequired = true")]).await;
    let setup = &servers.setup;
    let _runner = setup.runner();
    let finish = setup.say("x").await;
    assert_eq!(failure(&finish).kind, FailureKind::ProviderStart);
    let message = &failure(&finish).message;
    assert!(message.starts_with("the MCP server 'needed' is required and did not start: "), "{message}");
    assert!(!message.contains("Fatal"), "{message}");
}

#[tokio::test]
async fn a_required_server_that_fails_at_a_resume_does_not_cost_the_thread() {
    let servers = Servers::new(&[("needed", &format!("{GOOD}\nrequired = true"))]).await;
    let mut setup = servers.setup;
    let mut runner = setup.runner();
    let thread = setup.say("remember 4711").await.thread.unwrap().continuation.unwrap();
    setup.door.stop();
    runner.ended().await;
    let script = setup.directory.path().join("needed.py");
    std::fs::write(&script, "import sys; sys.exit(3)").unwrap();
    setup.new_attempt(&thread);
    let _runner = setup.runner();
    let finish = setup.say("x").await;
    assert_eq!(failure(&finish).kind, FailureKind::ProviderStart);
    assert!(failure(&finish).message.contains("'needed'"), "{finish:?}");
    std::fs::write(&script, SERVER).unwrap();
    let finish = setup.say("y").await;
    assert_eq!(finish.thread.unwrap().continuation, Some(thread));
    assert!(setup.model.last_input().contains("remember 4711"));
}

#[tokio::test]
async fn a_server_that_died_is_brought_back_within_the_turn() {
    let servers = Servers::new(&[("good", GOOD)]).await;
    let setup = &servers.setup;
    let _runner = setup.runner();
    let told = std::sync::Arc::new(tokio::sync::Notify::new());
    setup.model.script([
        Step::Items(vec![mcp_call("good", "die", json!({}), "call_1")]),
        Step::Items(vec![mcp_call("good", "echo", json!({"x": "1"}), "call_2")]),
        Step::When(told.clone(), vec![mcp_call("good", "echo", json!({"x": "2"}), "call_3")]),
        Step::Text("done"),
    ]);
    let turn = setup.door.say("x");
    servers.is("good", &[McpStatus::Failed, McpStatus::Starting, McpStatus::Ready]).await;
    told.notify_one();
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    assert!(setup.model.last_input().contains("echo says"), "{}", setup.model.last_input());
    let failed = servers.told("good").into_iter().find(|state| state.status == McpStatus::Failed).unwrap();
    assert!(failed.error.unwrap().contains("started again"));
    assert_eq!(servers.starts("good"), 2, "once in a turn");
}

#[tokio::test]
async fn a_server_that_dies_again_and_again_is_brought_back_once_in_a_turn() {
    let servers = Servers::new(&[("good", GOOD)]).await;
    let setup = &servers.setup;
    let _runner = setup.runner();
    let told = std::sync::Arc::new(tokio::sync::Notify::new());
    let die = |call_id: &str| vec![mcp_call("good", "die", json!({}), call_id)];
    setup.model.script([Step::Items(die("call_1")), Step::When(told.clone(), die("call_2")), Step::Text("done")]);
    let turn = setup.door.say("x");
    servers.is("good", &[McpStatus::Failed, McpStatus::Starting, McpStatus::Ready]).await;
    told.notify_one();
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    assert_eq!(servers.starts("good"), 2);
    // The next turn may do so again.
    setup.model.script([Step::Items(die("call_3")), Step::Text("done")]);
    setup.say("y").await;
    common::setup::until("the third start", || servers.starts("good") == 3).await;
}

#[tokio::test]
async fn a_server_that_died_in_the_last_call_of_a_turn_is_told_as_ready_without_another_turn() {
    let servers = Servers::new(&[("good", GOOD)]).await;
    let setup = &servers.setup;
    let _runner = setup.runner();
    let die = vec![mcp_call("good", "die", json!({}), "call_1")];
    setup.model.script([Step::Items(die), Step::Text("done")]);
    assert_eq!(setup.say("x").await.replies, ["done"]);
    servers.is("good", &[McpStatus::Failed, McpStatus::Starting, McpStatus::Ready]).await;
}

#[tokio::test]
async fn a_server_that_only_hangs_is_left_alone() {
    let servers = Servers::new(&[("good", &format!("{GOOD}\ntool_timeout_sec = 1"))]).await;
    let setup = &servers.setup;
    let _runner = setup.runner();
    setup.model.script([
        Step::Items(vec![mcp_call("good", "hang", json!({}), "call_1")]),
        Step::Items(vec![mcp_call("good", "echo", json!({}), "call_2")]),
        Step::Text("done"),
    ]);
    assert_eq!(setup.say("x").await.replies, ["done"]);
    setup.say("y").await;
    assert!(servers.told("good").iter().all(|state| state.status != McpStatus::Failed));
    assert_eq!(servers.starts("good"), 1);
}

#[tokio::test]
async fn a_server_is_called_and_brought_back_in_code_mode() {
    let servers = Servers::new(&[("good", GOOD)]).await;
    let setup = &servers.setup;
    let model = Some("gpt-6.1-sol".to_owned());
    setup.door.with_options(TurnOptions { model, ..TurnOptions::default() });
    let _runner = setup.runner();
    let told = std::sync::Arc::new(tokio::sync::Notify::new());
    let die = "try { await tools.mcp__good__die({}); } catch (e) { text(\"failed\"); }";
    let echo = "const r = await tools.mcp__good__echo({x: \"1\"}); text(r.content[0].text);";
    setup.model.script([
        Step::Items(vec![code(die, "x1")]),
        Step::When(told.clone(), vec![code(echo, "x2")]),
        Step::Text("done"),
    ]);
    let turn = setup.door.say("x");
    servers.is("good", &[McpStatus::Failed, McpStatus::Starting, McpStatus::Ready]).await;
    told.notify_one();
    assert_eq!(setup.door.finish(turn).await.replies, ["done"]);
    assert!(setup.model.last_input().contains("echo says"), "{}", setup.model.last_input());
}
