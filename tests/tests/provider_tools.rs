//! The host's tools, early words and MCP servers, called by the real Codex.

use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, ToolCallState};
use cofferdam_protocol::ids::{ReplyId, SessionId};
use cofferdam_protocol::runner::{McpState, McpStatus};
use cofferdam_tests::admin::Admin;
use cofferdam_tests::eventually;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::vendor::{Say, Vendor};
use serde_json::json;

/// A model that calls its tools from JavaScript, and one that calls them itself.
const CODE_MODE: &str = "gpt-6.1-sol";
const DIRECT: &str = "gpt-5.5";

fn is_question(event: &ChatEvent) -> bool {
    matches!(event, ChatEvent::Question { .. })
}

/// Asks with this script, answers "2", and looks for the option of that number in what the model was told.
async fn asks_and_is_answered(model: &str, script: &str) {
    let home = TestHome::with_demo(&json!({ "model": model })).await;
    let admin = home.admin();
    let mut asking = admin.send_text("demo", script).await;
    let ChatEvent::Question { question, options, .. } = asking.until("the question", is_question).await else {
        unreachable!("just matched")
    };
    assert_eq!((question.as_str(), options), ("Which?", vec!["left".to_owned(), "right".to_owned()]));
    let answering = admin.chat("demo", "2").await;
    let asked = asking.end().await;
    assert!(asked.text().contains("right") && !asked.text().contains("left"), "{}", asked.text());
    assert_eq!(answering.finished.turn, asked.finished.turn, "it is the same turn");
    let detail = admin.detail(&asked.finished.session).await;
    let [call] = &detail.tool_calls[..] else { panic!("{:?}", detail.tool_calls) };
    assert_eq!((call.tool.as_str(), call.state), ("ask_user", ToolCallState::Done));
}

#[tokio::test]
async fn codex_asks_and_is_answered() {
    asks_and_is_answered(DIRECT, r#"!tool ask_user {"question":"Which?","options":["left","right"]}"#).await;
}

#[tokio::test]
async fn codex_asks_from_javascript_and_is_answered() {
    let call = r#"text(await tools.ask_user({question: "Which?", options: ["left", "right"]}))"#;
    asks_and_is_answered(CODE_MODE, &format!("!tool exec {}", json!(call))).await;
}

#[tokio::test]
async fn codex_goes_on_when_nobody_answers_it() {
    let home = TestHome::with_demo(&json!({})).await;
    let answer = home.admin().chat("demo", r#"!tool ask_user {"question":"Anyone?","timeout_secs":10}"#).await;
    assert!(answer.text().contains("no answer within 10 s"), "{}", answer.text());
    let notices = answer.notices();
    assert!(notices.len() == 1 && notices[0].contains("No answer came within 10 s"), "{notices:?}");
    assert!(home.admin().detail(&answer.finished.session).await.questions.is_empty());
}

#[tokio::test]
async fn codex_changes_an_earlier_reply_and_reacts() {
    let home = TestHome::with_demo(&json!({})).await;
    let admin = home.admin();
    let first = admin.chat("demo", r#"!tool chat_reply {"text":"draft"}"#).await;
    let said = |event: &ChatEvent| match event {
        ChatEvent::Reply { reply, text, .. } if text == "draft" => Some(*reply),
        _ => None,
    };
    let number: ReplyId = first.events.iter().find_map(said).unwrap_or_else(|| panic!("{:#?}", first.events));
    let edit = json!({"reply": number, "text": "final"});
    let script = format!(
        "!tool chat_edit {edit}\n!tool chat_react {{\"emoji\":\"👍\"}}\n!tool chat_history {{}}\n!say Done."
    );
    let mut chat = admin.send_text("demo", &script).await;
    let (message, session, _) = chat.accepted();
    let edited = |event: &ChatEvent| matches!(event, ChatEvent::Edited { reply, text, .. } if *reply == number && text == "final");
    chat.until("the change", edited).await;
    let reacted = |event: &ChatEvent| matches!(event, ChatEvent::Reacted { message: of, emoji, .. } if *of == message && emoji == "👍");
    chat.until("the reaction", reacted).await;
    let answer = chat.end().await;
    assert!(answer.text().contains("Done."), "{:#?}", answer.events);
    let calls = admin.detail(&session).await.tool_calls;
    let tools: Vec<_> = calls.iter().map(|call| (call.tool.as_str(), call.state)).collect();
    let done = |tool| (tool, ToolCallState::Done);
    assert_eq!(tools, ["chat_history", "chat_react", "chat_edit", "chat_reply"].map(done));
    let history = calls[0].answer.as_deref().unwrap_or_default();
    assert!(history.contains("final") && !history.contains(r#""text":"draft""#), "{history}");
}

#[tokio::test]
async fn what_a_newer_model_says_meanwhile_is_a_reply_at_once() {
    let home = TestHome::with_demo(&json!({ "model": CODE_MODE })).await;
    let script = "!async I am looking.\n!run until [ -e go ]; do sleep 0.05; done\n!say Found it.";
    let mut chat = home.admin().send_text("demo", script).await;
    let early =
        |event: &ChatEvent| matches!(event, ChatEvent::Reply { text, .. } if text.contains("I am looking."));
    chat.until("the early reply", early).await;
    std::fs::write(home.folder("demo").join("workspace/go"), "").expect("the sign to go on");
    let answer = chat.end().await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Replied);
    let replies = answer.replies();
    assert!(replies.len() == 2 && replies[1].contains("Found it."), "{replies:?}");
}

/// An MCP server over standard input and output. It leaves a line at each start; its tool `die` ends it.
const SERVER: &str = r#"
import json, os, sys
open("/group/workspace/starts", "a").write("started\n")
for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    method, result = request["method"], {}
    if method == "initialize":
        result = {"protocolVersion": request["params"]["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "notes", "version": "1"}}
    elif method == "tools/list":
        empty = {"type": "object", "properties": {}}
        result = {"tools": [{"name": name, "description": name, "inputSchema": empty} for name in ("die", "greet")]}
    elif method == "tools/call":
        if request["params"]["name"] == "die":
            os._exit(3)
        result = {"content": [{"type": "text", "text": "greetings from pid %d" % os.getpid()}]}
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
"#;

/// A home whose group `demo` has the server as `notes`, and another one that cannot start when `broken`.
async fn home_with_server(broken: bool) -> (TestHome, Vendor) {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.serve(&mut home);
    home.up().await;
    let mut servers = json!({"notes": {"command": "python3", "args": ["script.sh"]}});
    if broken {
        servers["broken"] = json!({"command": "python3", "args": ["-c", "raise SystemExit(4)"]});
    }
    home.group("demo", &json!({"model": "gpt-5.4-mini", "mcpServers": servers})).await;
    home.write_script("demo", SERVER);
    (home, vendor)
}

async fn server(admin: &Admin, session: &SessionId, name: &str) -> McpState {
    let servers = admin.detail(session).await.mcp_servers;
    servers.iter().find(|server| server.name == name).unwrap_or_else(|| panic!("{servers:?}")).clone()
}

#[tokio::test]
async fn a_server_that_ended_is_started_again_and_can_be_called() {
    let (home, vendor) = home_with_server(false).await;
    let admin = home.admin();
    let until_go = Say::Run("until [ -e go ]; do sleep 0.05; done".into());
    vendor.script([Say::Call("mcp__notes", "die", json!({})), until_go, Say::Text("oh".into())]);
    let chat = admin.send_text("demo", "die").await;
    let session = chat.session();
    let starts = home.folder("demo").join("workspace/starts");
    eventually("the server is started again", || async {
        std::fs::read_to_string(&starts).ok().filter(|starts| starts.lines().count() == 2)
    })
    .await;
    eventually("it is ready", || async {
        (server(&admin, &session, "notes").await.status == McpStatus::Ready).then_some(())
    })
    .await;
    std::fs::write(home.folder("demo").join("workspace/go"), "").expect("the sign to go on");
    let first = chat.end().await;
    assert!(first.text().contains("oh"), "{:#?}", first.events);
    assert!(vendor.calls()[1].input().contains("Transport closed"), "its call failed");
    vendor.script([Say::Call("mcp__notes", "greet", json!({})), Say::Text("done".into())]);
    let second = admin.chat("demo", "greet").await;
    assert_eq!((second.text().as_str(), second.container()), ("done", first.container()));
    let told = vendor.calls().last().expect("a call").input();
    assert!(told.contains("greetings from pid"), "{told}");
    let shown = home.cli(&["session", "show", session.as_str()]).await.stdout;
    assert!(shown.contains("notes") && shown.contains("ready"), "{shown}");
}

#[tokio::test]
async fn a_server_that_cannot_start_is_named_once_and_the_turn_answered() {
    let (home, vendor) = home_with_server(true).await;
    let admin = home.admin();
    vendor.script([Say::Call("mcp__notes", "greet", json!({})), Say::Text("done".into())]);
    let answer = admin.chat("demo", "greet").await;
    assert!(answer.text().contains("done"), "{:#?}", answer.events);
    assert!(vendor.calls()[1].input().contains("greetings from pid"), "the other one works");
    let session = &answer.finished.session;
    // What is told of it may come behind the turn's end.
    let broken = eventually("it has failed", || async {
        Some(server(&admin, session, "broken").await).filter(|broken| broken.status == McpStatus::Failed)
    });
    assert!(broken.await.error.is_some());
    assert_eq!(server(&admin, session, "notes").await.status, McpStatus::Ready);
    let next = admin.chat("demo", "again").await;
    let notices: Vec<_> = answer.notices().into_iter().chain(next.notices()).collect();
    assert!(notices.len() == 1 && notices[0].contains("'broken' failed"), "{notices:?}");
}
