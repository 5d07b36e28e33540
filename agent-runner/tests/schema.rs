//! What the runner sends and reads of the app-server protocol, held against the schema that the binary prints.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use cofferdam_agent_runner::provider::codex::context::Context;
use cofferdam_agent_runner::provider::codex::history::{PastItem, TurnsParams};
use cofferdam_agent_runner::provider::codex::mcp::McpStatusParams;
use cofferdam_agent_runner::provider::codex::models::NoParams;
use cofferdam_agent_runner::provider::codex::protocol::{self, *};
use cofferdam_agent_runner::provider::codex::tools::DynamicTool;
use cofferdam_agent_runner::provider::codex::{failure, method};
use serde_json::{Value, json};

struct Schemas(tempfile::TempDir);

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let status = std::process::Command::new(common::codex::binary())
        .args(["app-server", "generate-json-schema", "--experimental", "--out"])
        .arg(directory.path().join("schema"))
        .env("CODEX_HOME", directory.path())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    Schemas(directory)
});

impl Schemas {
    fn read(&self, name: &str) -> Value {
        let path = self.0.path().join("schema").join(Path::new(name)).with_extension("json");
        serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))).unwrap()
    }

    /// The methods of a union such as `ServerRequest`.
    fn methods(&self, union: &str) -> BTreeSet<String> {
        let union = self.read(union);
        let names = union["oneOf"].as_array().unwrap().iter();
        names.map(|one| one["properties"]["method"]["enum"][0].as_str().unwrap().to_owned()).collect()
    }

    fn check(&self, schema: &str, value: &Value) {
        let schema_value = self.read(schema);
        let validator = jsonschema::validator_for(&schema_value).unwrap();
        let errors: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{value} is no {schema}: {errors:?}");
    }

    /// The parameters' schema of a client request's method.
    fn params(&self, name: &str) -> Value {
        let union = self.read("ClientRequest");
        let of_name = |one: &&Value| one["properties"]["method"]["enum"][0] == name;
        let one = union["oneOf"].as_array().unwrap().iter().find(of_name).unwrap();
        resolve(&union, &one["properties"]["params"]).clone()
    }
}

fn resolve<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    while let Some(reference) = schema.get("$ref") {
        schema = root.pointer(reference.as_str().unwrap().trim_start_matches('#')).unwrap();
    }
    schema
}

fn sent() -> Vec<(&'static str, Value)> {
    let thread = ThreadParams {
        cwd: "/group/workspace".into(),
        sandbox: "danger-full-access",
        approval_policy: "never",
        model: Some("m".into()),
        developer_instructions: Some("i".into()),
    };
    let tool = DynamicTool::Function { name: "t".into(), description: "d".into(), input_schema: json!({}) };
    let start = StartParams { thread: thread.clone(), dynamic_tools: vec![tool] };
    let resume = ResumeParams { thread_id: "t".into(), exclude_turns: true, thread: thread.clone() };
    let mut context = Context::default();
    context.ours("ours", "x");
    context.untrusted("theirs", 1, "x");
    let turn = TurnParams {
        thread_id: "t".into(),
        input: vec![Input::Text { text: "x".into() }, Input::LocalImage { path: "/x.png".into() }],
        client_user_message_id: Some("m:1,2".into()),
        additional_context: context.into_entries(),
        model: Some("m".into()),
        effort: Some("low".into()),
        output_schema: Some(json!({"type": "object"})),
    };
    let status = McpStatusParams { thread_id: "t".into(), server_name: "s".into(), detail: "toolsAndAuthOnly" };
    let steer = SteerParams {
        thread_id: "t".into(),
        expected_turn_id: "u".into(),
        input: vec![Input::Text { text: "x".into() }],
        client_user_message_id: "m:3".into(),
    };
    let turns = TurnsParams { thread_id: "t".into(), limit: 5, items_view: "full", cursor: Some("c".into()) };
    vec![
        (method::INITIALIZE, json!(InitializeParams::ours())),
        (method::THREAD_START, json!(start)),
        (method::THREAD_RESUME, json!(resume)),
        (method::TURN_START, json!(turn)),
        (method::TURN_INTERRUPT, json!(InterruptParams { thread_id: "t".into(), turn_id: "u".into() })),
        (method::TERMINALS_CLEAN, json!(CleanParams { thread_id: "t".into() })),
        (method::COMPACT_START, json!(CompactParams { thread_id: "t".into() })),
        (method::TURNS_LIST, json!(turns)),
        (method::THREAD_REVERT, json!(RevertParams { thread_id: "t".into(), before_turn_id: "u".into() })),
        (method::THREAD_ARCHIVE, json!(CleanParams { thread_id: "t".into() })),
        (method::TURN_STEER, json!(steer)),
        (method::TERMINALS_LIST, json!(CleanParams { thread_id: "t".into() })),
        (method::MODEL_LIST, json!(NoParams {})),
        (method::CONFIG_READ, json!(NoParams {})),
        (method::MCP_RELOAD, Value::Null),
        (method::MCP_STATUS, json!(status)),
    ]
}

#[test]
fn every_method_name_exists() {
    let requests = SCHEMAS.methods("ClientRequest");
    assert!(method::REQUESTS.iter().all(|name| requests.contains(*name)));
    assert!(SCHEMAS.methods("ClientNotification").contains(method::INITIALIZED));
    let notifications = SCHEMAS.methods("ServerNotification");
    for name in method::READ.iter().chain(&method::OPT_OUT) {
        assert!(notifications.contains(*name), "{name}");
    }
    assert!(method::OPT_OUT.iter().all(|name| !method::READ.contains(name)));
}

#[test]
fn every_request_is_valid_and_has_no_field_that_codex_does_not_know() {
    let sent = sent();
    assert!(sent.iter().map(|(name, _)| *name).eq(method::REQUESTS));
    for (name, params) in sent {
        SCHEMAS.check("ClientRequest", &json!({"id": 1, "method": name, "params": params}));
        let schema = SCHEMAS.params(name);
        for field in params.as_object().into_iter().flat_map(|params| params.keys()) {
            assert!(schema["properties"].get(field).is_some(), "{name} has no {field}");
        }
    }
}

#[test]
fn every_server_request_has_a_valid_answer_or_is_refused_on_purpose() {
    // Nothing that the runner could know: refused with "unknown method".
    let refused = ["account/chatgptAuthTokens/refresh", "attestation/generate", "currentTime/read"];
    let known: BTreeSet<_> = method::ANSWERED.iter().chain(&refused).map(|name| (*name).to_owned()).collect();
    assert_eq!(SCHEMAS.methods("ServerRequest"), known);
    let asked = json!({"permissions": {"network": {"enabled": true}}, "tool": "x"});
    for (name, schema) in [
        (method::APPROVE_COMMAND, "CommandExecutionRequestApprovalResponse"),
        (method::APPROVE_FILES, "FileChangeRequestApprovalResponse"),
        (method::APPROVE_PERMISSIONS, "PermissionsRequestApprovalResponse"),
        (method::APPROVE_PATCH, "ApplyPatchApprovalResponse"),
        (method::APPROVE_EXEC, "ExecCommandApprovalResponse"),
        (method::TOOL_CALL, "DynamicToolCallResponse"),
        (method::USER_INPUT, "ToolRequestUserInputResponse"),
        (method::ELICITATION, "McpServerElicitationRequestResponse"),
    ] {
        SCHEMAS.check(schema, &protocol::answer(name, &asked).unwrap());
        SCHEMAS.check(schema, &protocol::answer(name, &Value::Null).unwrap());
    }
    assert!(refused.iter().all(|name| protocol::answer(name, &asked).is_none()));
}

/// Finds `definition.field` in a schema file: whether codex always sends it.
fn always_sent(file: &str, definition: &str, field: &str) -> bool {
    let root = SCHEMAS.read(file);
    let own = if definition.is_empty() { &root } else { &root["definitions"][definition] };
    assert!(own["properties"].get(field).is_some(), "{file} {definition} has no {field}");
    own["required"].as_array().is_some_and(|all| all.iter().any(|name| name == field))
}

#[test]
fn what_is_read_without_a_default_is_always_sent() {
    let notifications = [
        ("TurnCompletedNotification", &["threadId", "turn"][..]),
        ("Turn", &["id", "status"]),
        ("TurnError", &["message"]),
        ("ErrorNotification", &["threadId", "error", "willRetry"]),
        ("ItemStartedNotification", &["threadId", "item"]),
        ("ItemCompletedNotification", &["threadId", "item"]),
        ("AgentMessageDeltaNotification", &["threadId", "delta"]),
        ("ThreadTokenUsageUpdatedNotification", &["threadId", "turnId", "tokenUsage"]),
        ("ThreadTokenUsage", &["total", "last"]),
        ("TokenUsageBreakdown", &["inputTokens", "cachedInputTokens", "outputTokens", "reasoningOutputTokens"]),
        ("WarningNotification", &["message"]),
        ("TurnStartedNotification", &["threadId", "turn"]),
        ("AccountRateLimitsUpdatedNotification", &["rateLimits"]),
        ("RateLimitWindow", &["usedPercent"]),
        ("TurnPlanUpdatedNotification", &["threadId", "plan"]),
        ("TurnPlanStep", &["step", "status"]),
        ("TurnDiffUpdatedNotification", &["turnId", "diff"]),
        ("McpServerStatusUpdatedNotification", &["name", "status"]),
        ("McpToolCallError", &["message"]),
        ("FileUpdateChange", &["path"]),
    ];
    for (definition, fields) in notifications {
        for field in fields {
            assert!(always_sent("ServerNotification", definition, field), "{definition}.{field}");
        }
    }
    for file in ["v2/ThreadStartResponse", "v2/ThreadResumeResponse"] {
        assert!(always_sent(file, "", "thread") && always_sent(file, "Thread", "id"));
    }
    assert!(always_sent("v2/TurnStartResponse", "", "turn") && always_sent("v2/TurnStartResponse", "Turn", "id"));
    assert!(always_sent("v2/ThreadTurnsListResponse", "", "data"));
    always_sent("v2/ThreadTurnsListResponse", "", "nextCursor");
    for field in ["status", "items"] {
        assert!(always_sent("v2/ThreadTurnsListResponse", "Turn", field));
    }
    for field in ["primary", "secondary"] {
        always_sent("ServerNotification", "RateLimitSnapshot", field);
    }
    always_sent("ServerNotification", "RateLimitWindow", "resetsAt");
    for (definition, field) in
        [("Turn", "error"), ("TurnError", "codexErrorInfo"), ("TurnError", "additionalDetails")]
    {
        always_sent("ServerNotification", definition, field);
    }
}

#[test]
fn items_are_read_by_the_names_and_fields_that_codex_sends() {
    let root = SCHEMAS.read("ServerNotification");
    let items = root["definitions"]["ThreadItem"]["oneOf"].as_array().unwrap();
    for (kind, required, optional) in [
        ("agentMessage", &["text"][..], &["phase", "delivery"][..]),
        ("commandExecution", &["command", "commandActions"], &["exitCode"]),
        ("fileChange", &["changes"], &[]),
        ("reasoning", &[], &[]),
        ("mcpToolCall", &["server", "tool"], &["error"]),
        ("dynamicToolCall", &["tool"], &[]),
        ("webSearch", &["query"], &[]),
        ("contextCompaction", &[], &[]),
        ("userMessage", &[], &["clientId"]),
    ] {
        let item = items.iter().find(|item| item["properties"]["type"]["enum"][0] == kind).expect(kind);
        let always = item["required"].as_array().unwrap();
        assert!(required.iter().all(|field| always.iter().any(|name| name == field)), "{kind}");
        assert!(optional.iter().all(|field| item["properties"].get(field).is_some()), "{kind}");
    }
    for item in items {
        let kind = &item["properties"]["type"]["enum"][0];
        let sample = json!({"type": kind, "text": "", "command": "", "commandActions": [], "changes": [],
            "server": "", "tool": "", "query": ""});
        serde_json::from_value::<Item>(sample.clone()).unwrap();
        serde_json::from_value::<PastItem>(sample).unwrap();
    }
    for action in root["definitions"]["CommandAction"]["oneOf"].as_array().unwrap() {
        assert!(action["required"].as_array().unwrap().iter().any(|name| name == "command"));
    }
}

#[test]
fn every_turn_status_and_every_shape_of_error_is_read() {
    let root = SCHEMAS.read("ServerNotification");
    for status in root["definitions"]["TurnStatus"]["enum"].as_array().unwrap() {
        serde_json::from_value::<TurnStatus>(status.clone()).unwrap();
    }
    let mut words = BTreeSet::new();
    let mut http = BTreeSet::new();
    let mut other = BTreeSet::new();
    for shape in root["definitions"]["CodexErrorInfo"]["anyOf"].as_array().unwrap() {
        for word in shape["enum"].as_array().into_iter().flatten() {
            words.insert(word.as_str().unwrap().to_owned());
        }
        let named = shape["properties"].as_object();
        for (name, inner) in named.into_iter().flatten() {
            if inner["properties"].get("httpStatusCode").is_some() {
                http.insert(name.clone());
            } else {
                other.insert(name.clone());
            }
        }
    }
    let known: BTreeSet<_> = failure::WORDS.iter().map(|(word, _)| (*word).to_owned()).collect();
    let new: Vec<_> = words.difference(&known).collect();
    assert!(new.is_empty(), "codex has new words for failures: {new:?}; say in failure::WORDS what they are");
    assert_eq!(http, BTreeSet::from(failure::WITH_STATUS.map(str::to_owned)), "see failure::WITH_STATUS");
    assert_eq!(other, BTreeSet::from(failure::WITH_MORE.map(str::to_owned)), "see failure::WITH_MORE");
    for name in http {
        let info = json!({name: {"httpStatusCode": 429}});
        assert!(matches!(serde_json::from_value::<ErrorInfo>(info), Ok(ErrorInfo::Http(_))));
    }
}

#[test]
fn what_is_read_of_models_servers_and_tool_calls_is_always_sent() {
    for (file, definition, fields) in [
        ("v2/ModelListResponse", "", &["data"][..]),
        (
            "v2/ModelListResponse",
            "Model",
            &["model", "hidden", "supportedReasoningEfforts", "defaultReasoningEffort", "isDefault"],
        ),
        ("v2/ModelListResponse", "ReasoningEffortOption", &["reasoningEffort"]),
        ("v2/ConfigReadResponse", "", &["config"]),
        ("v2/ListMcpServerStatusResponse", "", &["data"]),
        ("v2/ListMcpServerStatusResponse", "McpServerStatus", &["name"]),
        ("v2/ThreadBackgroundTerminalsListResponse", "", &["data"]),
        ("v2/ThreadBackgroundTerminalsListResponse", "ThreadBackgroundTerminal", &["itemId"]),
        ("v2/ThreadStartResponse", "", &["model"]),
        ("v2/ThreadResumeResponse", "", &["model"]),
        ("DynamicToolCallParams", "", &["turnId", "callId", "tool", "arguments"]),
    ] {
        for field in fields {
            assert!(always_sent(file, definition, field), "{file} {definition} {field}");
        }
    }
    always_sent("v2/ConfigReadResponse", "Config", "model");
    always_sent("v2/ListMcpServerStatusResponse", "McpServerStatus", "runtimeStatus");
    always_sent("ServerNotification", "McpServerStatusUpdatedNotification", "error");
    always_sent("v2/ThreadStartResponse", "", "reasoningEffort");
    let root = SCHEMAS.read("ServerNotification");
    for (name, words) in [
        ("McpServerStartupState", &["starting", "ready", "failed", "cancelled"][..]),
        ("TurnPlanStepStatus", &["pending", "inProgress", "completed"]),
        ("MessagePhase", &["commentary", "partial_answer", "final_answer"]),
        ("AgentMessageDelivery", &["async"]),
    ] {
        let known: BTreeSet<_> = words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(
            words_of(&root["definitions"][name]),
            known,
            "{name}: say in the provider what a new word means"
        );
    }
    let statuses = SCHEMAS.read("v2/ListMcpServerStatusResponse");
    assert!(words_of(&statuses["definitions"]["McpServerConnectionStatus"]).contains("failed"));
}

/// The words of an enumeration, documented one by one or not.
fn words_of(schema: &Value) -> BTreeSet<String> {
    let own = schema["enum"].as_array().into_iter().flatten();
    let each = schema["oneOf"].as_array().into_iter().flatten().flat_map(|one| one["enum"].as_array().unwrap());
    own.chain(each).map(|word| word.as_str().unwrap().to_owned()).collect()
}
