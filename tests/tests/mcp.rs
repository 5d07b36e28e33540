//! MCP servers from `container.json`, with the real Codex as their client.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use cofferdam_protocol::admin::ChatOutcome;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::vendor::{Say, Vendor};
use serde_json::{Value, json};

/// The host's value; looks like nothing else, so that it is found wherever it should not be.
const VALUE: &str = "val-5d0c8e61f2a94b37";

/// An MCP server over standard input and output; its tool `whoami` answers the value that it was started with.
const STDIO_SERVER: &str = r#"
import json, os, sys
for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    method, result = request["method"], None
    if method == "initialize":
        result = {"protocolVersion": request["params"]["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "notes", "version": "1"}}
    elif method == "tools/list":
        empty = {"type": "object", "properties": {}}
        result = {"tools": [{"name": name, "description": name, "inputSchema": empty} for name in ("whoami", "hidden")]}
    elif method == "tools/call":
        words = " ".join([request["params"]["name"], os.environ.get("KEY", "no key"), *sys.argv[1:]])
        result = {"content": [{"type": "text", "text": words}]}
    answer = {"jsonrpc": "2.0", "id": request["id"]}
    answer.update({"result": result} if result else {"error": {"code": -32601, "message": "no"}})
    print(json.dumps(answer), flush=True)
"#;

/// A remote MCP server on loopback: wants the value as a bearer token, and answers calls as a stream of events.
#[derive(Clone)]
struct Far {
    requests: Arc<Mutex<Vec<(Method, HeaderMap, Value)>>>,
    url: String,
}

impl Far {
    async fn start() -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let app = Router::new().route("/hidden/mcp", any(far)).with_state(requests.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hidden/mcp", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { requests, url }
    }

    fn calls(&self, method: &str) -> Vec<HeaderMap> {
        let requests = self.requests.lock().expect("a lock");
        requests
            .iter()
            .filter(|(_, _, body)| body["method"] == method)
            .map(|(_, headers, _)| headers.clone())
            .collect()
    }
}

type Requests = Arc<Mutex<Vec<(Method, HeaderMap, Value)>>>;

async fn far(State(requests): State<Requests>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    requests.lock().expect("a lock").push((method.clone(), headers.clone(), body.clone()));
    if headers.get(header::AUTHORIZATION).is_none_or(|value| value != &format!("Bearer {VALUE}")) {
        return (StatusCode::UNAUTHORIZED, format!("not you: {headers:?}")).into_response();
    }
    if method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let result = match body["method"].as_str().unwrap_or_default() {
        "initialize" => json!({"protocolVersion": body["params"]["protocolVersion"], "capabilities": {"tools": {}},
            "serverInfo": {"name": "far", "version": "1"}}),
        "tools/list" => json!({"tools": [{"name": "echo", "description": "echoes",
            "inputSchema": {"type": "object", "properties": {"x": {"type": "string"}}}}]}),
        "tools/call" => {
            let text = format!("far heard {}", body["params"]["arguments"]["x"].as_str().unwrap_or_default());
            json!({"content": [{"type": "text", "text": text}]})
        }
        _ => return StatusCode::ACCEPTED.into_response(),
    };
    let answer = json!({"jsonrpc": "2.0", "id": body["id"], "result": result});
    let event = format!("event: message\ndata: {answer}\n\n");
    ([("content-type", "text/event-stream"), ("mcp-session-id", "far-session-1")], event).into_response()
}

/// A home with these servers in its group `demo`, whose value is in the daemon's environment.
async fn home_with(servers: Value) -> (TestHome, Vendor) {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.serve(&mut home);
    home.env("COFFERDAM_VALUE_MCP_KEY", VALUE);
    home.up().await;
    home.group("demo", &json!({"model": "gpt-5.4-mini", "mcpServers": servers})).await;
    std::fs::create_dir_all(home.folder("demo").join("workspace")).expect("a workspace");
    std::fs::write(home.folder("demo").join("workspace/server.py"), STDIO_SERVER).expect("the server");
    (home, vendor)
}

/// The names of the tools that a model call offers in a namespace.
fn offered(call: &Value, namespace: &str) -> Vec<String> {
    let tools = call["tools"].as_array().cloned().unwrap_or_default();
    let ours = tools.into_iter().filter(|tool| tool["name"] == namespace);
    ours.flat_map(|tool| tool["tools"].as_array().cloned().unwrap_or_default())
        .filter_map(|tool| tool["name"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn a_program_gets_its_values_and_only_its_enabled_tools_are_offered() {
    let server = json!({"command": "python3", "args": ["/group/workspace/server.py", "arg", "$${literal}"],
        "env": {"KEY": "${MCP_KEY}"}, "required": true, "enabled_tools": ["whoami"]});
    let (home, vendor) = home_with(json!({"notes": server})).await;
    vendor.script([Say::Call("mcp__notes", "whoami", json!({})), Say::Text("done".into())]);
    let answer = home.admin().chat("demo", "who are you?").await;
    assert_eq!(answer.text(), "done");
    let calls = vendor.calls();
    assert_eq!(offered(&calls[0].body, "mcp__notes"), ["whoami"]);
    assert!(calls[1].input().contains(&format!("whoami {VALUE} arg ${{literal}}")), "{}", calls[1].input());
    // The file and its parsed copy have the name, and only Codex's own configuration the value.
    let shown = home.cli(&["group", "show", "demo", "--json"]).await;
    assert!(shown.stdout.contains("${MCP_KEY}") && !shown.stdout.contains(VALUE), "{shown:?}");
    for database in ["data/central.db", "data/central.db-wal"] {
        let bytes = std::fs::read(home.root().join(database)).unwrap_or_default();
        assert!(!bytes.windows(VALUE.len()).any(|window| window == VALUE.as_bytes()), "{database}");
    }
    assert!(!home.log().contains(VALUE));
}

#[tokio::test]
async fn codex_knows_every_key_of_the_configuration_that_it_is_given() {
    let local = json!({"command": "python3", "args": ["/group/workspace/server.py"], "env": {"KEY": "x"},
        "enabled_tools": ["whoami"], "startup_timeout_sec": 7, "tool_timeout_sec": 8});
    let (home, vendor) = home_with(json!({"local": local, "far": {"url": "http://127.0.0.1:1/"}})).await;
    home.write_script(
        "demo",
        "mkdir /tmp/given /tmp/wrong && cd /tmp && cp ~/.codex/config.toml given\n\
         (echo nonsense = 1; cat given/config.toml) > wrong/config.toml\n\
         for home in given wrong; do CODEX_HOME=/tmp/$home codex app-server --strict-config </dev/null; echo $home=$?; done\n\
         grep -c mcp_servers given/config.toml\n",
    );
    vendor.script([Say::Run("sh ./script.sh 2>&1".into()), Say::Text("done".into())]);
    home.admin().chat("demo", "look").await.text();
    let output = vendor.calls()[1].input();
    assert!(output.contains("given=0") && output.contains("wrong=1"), "{output}");
}

#[tokio::test]
async fn a_remote_server_is_reached_through_the_door_and_its_secret_never_enters_the_container() {
    let far = Far::start().await;
    let server = json!({"type": "http", "url": far.url, "headers": {"Authorization": "Bearer ${MCP_KEY}"}, "required": true});
    let (home, vendor) = home_with(json!({"far": server})).await;
    let pattern = format!("[{}]{}", &VALUE[..1], &VALUE[1..]);
    home.write_script(
        "demo",
        &format!(
            "key='{pattern}'\ngrep -la \"$key\" /proc/*/environ /proc/*/cmdline 2>/dev/null | sed 's/^/leak=/'\n\
             grep -raI -l \"$key\" /home /tmp /run /group /etc 2>/dev/null | sed 's/^/leak=/'\n\
             curl -s -m 10 http://127.0.0.1:8787/mcp/far -H 'authorization: Bearer mine' -d '{{\"method\":\"x\"}}' -o /dev/null -w 'status=%{{http_code}}\\n'\n\
             curl -s -m 10 http://127.0.0.1:8787/mcp/other -w ' status=%{{http_code}}\\n'\n"
        ),
    );
    vendor.script([
        Say::Call("mcp__far", "echo", json!({"x": "hello"})),
        Say::Run("sh ./script.sh 2>&1".into()),
        Say::Text("done".into()),
    ]);
    assert_eq!(home.admin().chat("demo", "go").await.text(), "done");
    let calls = vendor.calls();
    assert_eq!(offered(&calls[0].body, "mcp__far"), ["echo"]);
    assert!(calls[1].input().contains("far heard hello"), "{}", calls[1].input());
    let output = calls[2].input();
    assert!(output.contains("status=202") && !output.contains("leak="), "{output}");
    assert!(output.contains("no remote MCP server 'other'") && output.contains("status=404"), "{output}");
    let call = far.calls("tools/call");
    assert_eq!(call.len(), 1);
    assert_eq!(call[0]["mcp-session-id"], "far-session-1", "Codex's session goes along");
    let tried = far.calls("x");
    assert_eq!(tried[0].get_all("authorization").iter().collect::<Vec<_>>(), [&format!("Bearer {VALUE}")]);
    assert!(!home.log().contains(VALUE) && !output.contains(VALUE));
}

#[tokio::test]
async fn a_container_that_outlives_its_daemon_keeps_the_servers_that_it_started_with() {
    let far = Far::start().await;
    let server = json!({"url": far.url, "headers": {"Authorization": "Bearer ${MCP_KEY}"}, "required": true});
    let (mut home, vendor) = home_with(json!({"far": server})).await;
    let first = home.admin().chat("demo", "one").await;
    home.write_group("demo", &json!({"model": "gpt-5.4-mini"}));
    home.crash().await;
    home.up().await;
    vendor.script([Say::Call("mcp__far", "echo", json!({"x": "again"})), Say::Text("done".into())]);
    let second = home.admin().chat("demo", "two").await;
    // The daemon may have died before it noted that the first answer was handed over: then it comes once more.
    assert!(second.text().ends_with("done"), "{}", second.text());
    assert_eq!(second.container(), first.container(), "the same container");
    assert!(vendor.calls().last().expect("a call").input().contains("far heard again"));
    assert_eq!(far.calls("tools/call").len(), 1);
    // Its next start is one without.
    home.admin().stop(&second.finished.session).await;
    home.admin().chat("demo", "three").await.text();
    assert!(offered(&vendor.calls().last().expect("a call").body, "mcp__far").is_empty());
}

#[tokio::test]
async fn a_value_that_is_not_there_is_named_in_the_chat_and_found_at_the_next_start() {
    let server = json!({"command": "python3", "args": ["/group/workspace/server.py"], "env": {"KEY": "${LATER}"}, "required": true});
    let (home, vendor) = home_with(json!({"notes": server})).await;
    let answer = home.admin().chat("demo", "hello").await;
    assert!(matches!(answer.finished.outcome, ChatOutcome::Failed { .. }), "{answer:?}");
    let notice = answer.notices().join("\n");
    for word in ["container.json", "mcpServers.notes.env.KEY", "${LATER}", "COFFERDAM_VALUE_LATER", "[values]"] {
        assert!(notice.contains(word), "{word}: {notice}");
    }
    // No restart of the daemon is needed.
    home.configure(&format!("[values]\nLATER = \"{VALUE}\"\n"));
    vendor.script([Say::Call("mcp__notes", "whoami", json!({})), Say::Text("done".into())]);
    assert_eq!(home.admin().chat("demo", "hello").await.text(), "done");
    assert!(vendor.calls()[1].input().contains(&format!("whoami {VALUE}")));
}
