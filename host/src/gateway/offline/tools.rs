//! Which tools a request offers, and how to call them.

use serde_json::{Value, json};

use super::events;

/// A poll of a running command waits so long for more output, in milliseconds; codex allows up to 300,000.
const POLL_MS: u64 = 60_000;
/// A command's first answer waits so long for its end, in milliseconds: the most that codex allows.
const YIELD_MS: u64 = 30_000;

/// The tool that shows a plan.
const PLAN: &str = "update_plan";
/// The tools that speak to the person at once, while the turn goes on; newer models have one of them.
const ASK: &str = "request_user_input_async";
/// The other one.
const SEND: &str = "send_user_message_async";

/// The tools of a request.
#[derive(Debug, Default)]
pub(super) struct Toolbox(Vec<Tool>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tool {
    kind: Kind,
    name: String,
    namespace: Option<String>,
    /// What its description says that it reaches: the tools of code mode.
    reaches: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Function,
    Custom,
    LocalShell,
}

/// A tool call as an output item.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ToolCall {
    /// The item, complete.
    pub(super) item: Value,
}

impl Toolbox {
    /// Reads `tools`, and the `additional_tools` items of `input` that newer models get instead.
    pub(super) fn of(request: &Value) -> Self {
        let mut this = Self::default();
        this.add(&request["tools"], None);
        for item in request["input"].as_array().into_iter().flatten() {
            if item["type"] == "additional_tools" {
                this.add(&item["tools"], None);
            }
        }
        this
    }

    fn add(&mut self, tools: &Value, namespace: Option<&str>) {
        for tool in tools.as_array().into_iter().flatten() {
            let name = tool["name"].as_str().unwrap_or_default();
            let kind = match tool["type"].as_str() {
                Some("function") => Kind::Function,
                Some("custom") => Kind::Custom,
                Some("local_shell") => Kind::LocalShell,
                // Namespaces do not nest.
                Some("namespace") if namespace.is_none() => {
                    self.add(&tool["tools"], Some(name));
                    continue;
                }
                _ => continue,
            };
            let reaches = reached(tool["description"].as_str().unwrap_or_default());
            self.0.push(Tool { kind, name: name.to_owned(), namespace: namespace.map(str::to_owned), reaches });
        }
    }

    /// By its name, or by `NAMESPACE__NAME`.
    fn find(&self, name: &str) -> Option<&Tool> {
        self.0.iter().find(|tool| tool.name == name).or_else(|| {
            self.0.iter().find(|tool| {
                let inner = tool.namespace.as_deref().and_then(|ns| name.strip_prefix(ns)?.strip_prefix("__"));
                inner == Some(tool.name.as_str())
            })
        })
    }

    fn function(&self, name: &str) -> Option<&Tool> {
        self.find(name).filter(|tool| tool.kind == Kind::Function)
    }

    /// The tool that runs JavaScript over all others, where a model has only that.
    fn code(&self) -> Option<&Tool> {
        self.find("exec").filter(|tool| tool.kind == Kind::Custom)
    }

    /// A call that runs a shell command; none when the request offers no tool for it.
    pub(super) fn run(&self, step: usize, command: &str) -> Option<ToolCall> {
        let id = CallId::new(step);
        if let Some(tool) = self.function("exec_command") {
            return Some(tool.call(&id, &json!({ "cmd": command, "yield_time_ms": YIELD_MS })));
        }
        if let Some(tool) = self.function("shell_command") {
            return Some(tool.call(&id, &json!({ "command": command })));
        }
        if let Some(tool) = self.function("shell") {
            return Some(tool.call(&id, &json!({ "command": ["bash", "-lc", command] })));
        }
        if self.0.iter().any(|tool| tool.kind == Kind::LocalShell) {
            let action = json!({ "type": "exec", "command": ["bash", "-lc", command], "env": {} });
            let item = json!({
                "type": "local_shell_call", "id": events::id("lsh"), "call_id": id.0, "status": "completed",
                "action": action,
            });
            return Some(ToolCall { item });
        }
        self.code().map(|tool| tool.call(&id, &Value::String(run_script(command))))
    }

    /// A call that shows a plan, its first step in work; none when the request offers no tool for it.
    pub(super) fn plan(&self, step: usize, steps: &[String]) -> Option<ToolCall> {
        let status = |at| if at == 0 { "in_progress" } else { "pending" };
        let plan: Vec<_> =
            steps.iter().enumerate().map(|(at, step)| json!({ "step": step, "status": status(at) })).collect();
        self.offers(PLAN).then(|| self.call(step, PLAN, &json!({ "plan": plan })))
    }

    /// A call that says something to the person at once; none when the request offers no tool for it.
    pub(super) fn tell(&self, step: usize, text: &str) -> Option<ToolCall> {
        if self.offers(ASK) {
            return Some(self.call(step, ASK, &json!({ "questions": [{ "title": text }] })));
        }
        self.offers(SEND).then(|| self.call(step, SEND, &json!({ "message": text })))
    }

    /// Whether the tool can be called, directly or in code mode.
    fn offers(&self, name: &str) -> bool {
        self.find(name).is_some() || self.code().is_some_and(|code| code.reaches.iter().any(|tool| tool == name))
    }

    /// A call of any tool. One that the request does not offer is called all the same: the client's answer
    /// shows what becomes of it.
    pub(super) fn call(&self, step: usize, name: &str, arguments: &Value) -> ToolCall {
        let id = CallId::new(step);
        if let Some(tool) = self.find(name) {
            return tool.call(&id, arguments);
        }
        if let Some(tool) = self.code() {
            let script = format!(
                "const answer = await tools[{}]({arguments});\ntext(typeof answer === \"string\" ? answer : JSON.stringify(answer));",
                Value::from(name)
            );
            return tool.call(&id, &Value::String(script));
        }
        Tool { kind: Kind::Function, name: name.to_owned(), namespace: None, reaches: Vec::new() }
            .call(&id, arguments)
    }

    /// A call that waits for a command which still ran when `output` was written; none when it had ended.
    pub(super) fn poll(&self, step: usize, output: &str) -> Option<ToolCall> {
        let head = output.split_once("\nOutput:").map_or(output, |(head, _)| head);
        let word = |mark: &str| head.lines().find_map(|line| line.strip_prefix(mark)).map(str::trim);
        if let Some(session) = word("Process running with session ID ").and_then(|id| id.parse::<u64>().ok()) {
            let arguments = json!({ "session_id": session, "chars": "", "yield_time_ms": POLL_MS });
            return Some(self.function("write_stdin")?.call(&CallId::new(step), &arguments));
        }
        let cell = word("Script running with cell ID ")?;
        Some(self.function("wait")?.call(&CallId::new(step), &json!({ "cell_id": cell, "yield_time_ms": POLL_MS })))
    }
}

impl Tool {
    fn call(&self, id: &CallId, arguments: &Value) -> ToolCall {
        let text = match arguments {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut item = match self.kind {
            Kind::Custom => json!({
                "type": "custom_tool_call", "id": events::id("ctc"), "call_id": id.0, "name": self.name,
                "input": text, "status": "completed",
            }),
            _ => json!({
                "type": "function_call", "id": events::id("fc"), "call_id": id.0, "name": self.name,
                "arguments": text, "status": "completed",
            }),
        };
        if let Some(namespace) = &self.namespace {
            item["namespace"] = json!(namespace);
        }
        ToolCall { item }
    }
}

/// A call's id, which says the step that it serves: so the next request shows how far the script is.
struct CallId(String);

impl CallId {
    fn new(step: usize) -> Self {
        Self(events::id(&format!("call_offline{step}")))
    }
}

/// The step in a call's id; none for calls of other models.
pub(super) fn step_of(call_id: &str) -> Option<usize> {
    call_id.strip_prefix("call_offline")?.split_once('_')?.0.parse().ok()
}

/// The tools that a description of code mode has a chapter on.
fn reached(description: &str) -> Vec<String> {
    let chapter = |line: &str| Some(line.strip_prefix("### `")?.strip_suffix('`')?.to_owned());
    description.lines().filter_map(chapter).collect()
}

/// JavaScript that runs a command to its end and shows its output, as code mode has it.
fn run_script(command: &str) -> String {
    let cmd = Value::from(command);
    format!(
        "let step = await tools.exec_command({{ cmd: {cmd}, yield_time_ms: {YIELD_MS} }});\n\
         let output = step.output;\n\
         while (step.session_id !== undefined) {{\n\
           step = await tools.write_stdin({{ session_id: step.session_id, chars: \"\", yield_time_ms: {POLL_MS} }});\n\
           output += step.output;\n\
         }}\n\
         text(output);\n\
         if (step.exit_code) text(`(exit code ${{step.exit_code}})`);"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(tools: Value, command: &str) -> Value {
        Toolbox::of(&json!({ "tools": tools })).run(3, command).unwrap().item
    }

    #[test]
    fn a_command_goes_to_the_shell_tool_that_the_request_offers() {
        let item_of = |name: &str| item(json!([{"type": "function", "name": name}]), "ls \"a\"");
        assert_eq!(item_of("exec_command")["arguments"], "{\"cmd\":\"ls \\\"a\\\"\",\"yield_time_ms\":30000}");
        assert_eq!(item_of("shell_command")["arguments"], "{\"command\":\"ls \\\"a\\\"\"}");
        assert_eq!(item_of("shell")["arguments"], "{\"command\":[\"bash\",\"-lc\",\"ls \\\"a\\\"\"]}");
        assert_eq!(item(json!([{"type": "local_shell"}]), "ls")["action"]["command"], json!(["bash", "-lc", "ls"]));
        assert!(Toolbox::of(&json!({})).run(0, "ls").is_none());
    }

    #[test]
    fn code_mode_models_run_commands_through_their_exec_tool() {
        let tools =
            json!([{"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]}]);
        let request = json!({ "input": [{ "type": "additional_tools", "tools": tools }] });
        let item = Toolbox::of(&request).run(0, "echo `x` ${y}").unwrap().item;
        assert_eq!((item["type"].as_str(), item["name"].as_str()), (Some("custom_tool_call"), Some("exec")));
        assert!(item["input"].as_str().unwrap().contains("cmd: \"echo `x` ${y}\""));
    }

    #[test]
    fn plans_and_asynchronous_texts_need_a_tool_for_them() {
        let function = |name: &str| Toolbox::of(&json!({ "tools": [{"type": "function", "name": name}] }));
        let steps = ["look".to_owned(), "mend".to_owned()];
        let plan = function("update_plan").plan(0, &steps).unwrap().item;
        let sent: Value = serde_json::from_str(plan["arguments"].as_str().unwrap()).unwrap();
        let (look, mend) =
            (json!({"step": "look", "status": "in_progress"}), json!({"step": "mend", "status": "pending"}));
        assert_eq!(sent, json!({"plan": [look, mend]}));
        let ask = function("request_user_input_async").tell(0, "hi").unwrap().item;
        assert_eq!(ask["arguments"], "{\"questions\":[{\"title\":\"hi\"}]}");
        assert_eq!(
            function("send_user_message_async").tell(0, "hi").unwrap().item["arguments"],
            "{\"message\":\"hi\"}"
        );
        assert!(
            function("exec_command").plan(0, &steps).is_none() && function("exec_command").tell(0, "hi").is_none()
        );
    }

    #[test]
    fn a_plan_in_code_mode_goes_through_its_exec_tool() {
        let code = |description: &str| {
            let tool = json!({"type": "custom", "name": "exec", "description": description});
            Toolbox::of(&json!({ "tools": [tool] })).plan(0, &["look".to_owned()])
        };
        let call = code("Runs JavaScript.\n### `update_plan`\ndeclare const tools: …").unwrap().item;
        assert!(call["input"].as_str().unwrap().contains("tools[\"update_plan\"]({\"plan\""), "{call}");
        assert!(code("Runs JavaScript; no `update_plan`.").is_none());
    }

    #[test]
    fn a_tool_in_a_namespace_is_called_there() {
        let tools = json!([{"type": "namespace", "name": "mcp__a", "tools": [{"type": "function", "name": "go"}]}]);
        let toolbox = Toolbox::of(&json!({ "tools": tools }));
        for name in ["go", "mcp__a__go"] {
            let item = toolbox.call(0, name, &json!({"x": 1})).item;
            assert_eq!((&item["namespace"], &item["name"]), (&json!("mcp__a"), &json!("go")));
        }
    }

    #[test]
    fn a_command_that_still_runs_is_polled_and_one_that_ended_is_not() {
        let toolbox = Toolbox::of(&json!({"tools": [{"type": "function", "name": "write_stdin"}]}));
        let running = "Chunk ID: a\nWall time: 10 seconds\nProcess running with session ID 42\nOutput:\nhi\n";
        let poll = toolbox.poll(7, running).unwrap().item;
        assert!(poll["arguments"].as_str().unwrap().contains("\"session_id\":42"));
        assert_eq!(step_of(poll["call_id"].as_str().unwrap()), Some(7));
        let fooled =
            "Wall time: 1 seconds\nProcess exited with code 0\nOutput:\nProcess running with session ID 42\n";
        assert!(toolbox.poll(7, fooled).is_none());
    }

    #[test]
    fn call_ids_of_other_models_name_no_step() {
        for id in ["", "call_1", "call_offline", "call_offlinex_1"] {
            assert_eq!(step_of(id), None, "{id}");
        }
    }
}
