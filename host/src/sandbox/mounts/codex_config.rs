//! Codex's `config.toml` for one start of a session.

use cofferdam_protocol::runner::FORWARD_PORT;
use secrecy::{ExposeSecret, SecretString};
use toml::{Table, Value};

use crate::config::agents;
use crate::config::mcp::Terms;
use crate::config::mcp::resolve::{Reached, Resolved};

/// What never changes: quiet, and with the session's own `auth.json`.
const BASE: &str = r#"
model_provider = "cofferdam"
project_root_markers = ["container.json"]
cli_auth_credentials_store = "file"
web_search = "disabled"
check_for_update_on_startup = false

[model_providers.cofferdam]
name = "Cofferdam"
wire_api = "responses"
requires_openai_auth = true
supports_websockets = false
request_max_retries = 2
stream_max_retries = 3
stream_idle_timeout_ms = 300000

[features]
plugins = false
apps = false
goals = false
hooks = false
multi_agent = false
shell_snapshot = false
image_generation = false
memories = false
# A steered turn first says what it was saying, and a tool that waits for a person goes on waiting.
instant_interrupt = false
# Else a model that cannot be reached is called for ever, and the turn never ends.
unbounded_connection_retries = false
# A turn that sleeps for hours looks like one that hangs.
sleep_tool = false

# The plan is shown to people while the agent works.
[tools.update_plan]
enabled = true

[agents]
enabled = false

[analytics]
enabled = false

[feedback]
enabled = false

[skills]
bundled = { enabled = false }

[history]
persistence = "none"
"#;

/// What Codex reads of an `AGENTS.md` in the workspace at least: its own default for all of them together.
const WORKSPACE_DOC_BYTES: u64 = 32 * 1024;

/// The file's text. Passes `--strict-config`. Model calls go to `base_url`, or else through the door.
pub(super) fn text(model: Option<&str>, base_url: Option<&str>, servers: &[Resolved]) -> String {
    // It can be read: a test does.
    let mut config: Table = BASE.parse().unwrap_or_default();
    if let Some(model) = model {
        config.insert("model".to_owned(), model.into());
    }
    // Counts the group's file and then the workspace's; the one of all groups has no limit (0.169.0).
    let docs = i64::try_from(agents::MAX_BYTES + WORKSPACE_DOC_BYTES).unwrap_or(i64::MAX);
    config.insert("project_doc_max_bytes".to_owned(), docs.into());
    if let Some(Value::Table(provider)) =
        config.get_mut("model_providers").and_then(|providers| providers.get_mut("cofferdam"))
    {
        let door = || format!("http://127.0.0.1:{FORWARD_PORT}/v1");
        provider.insert("base_url".to_owned(), base_url.map_or_else(door, str::to_owned).into());
    }
    if !servers.is_empty() {
        let servers = servers.iter().map(|server| (server.name.clone(), Value::Table(table(server))));
        config.insert("mcp_servers".to_owned(), Value::Table(servers.collect()));
    }
    format!("# Written by Cofferdam before each start.\n{config}")
}

/// One server as Codex takes it. A remote one is reached through the door, which knows its address and headers.
fn table(server: &Resolved) -> Table {
    let Terms { required, startup_timeout_sec, tool_timeout_sec, enabled_tools } = &server.terms;
    let seconds = |secs: &u64| Value::Integer(i64::try_from(*secs).unwrap_or(i64::MAX));
    let text = |secret: &SecretString| Value::String(secret.expose_secret().to_owned());
    let mut table = Table::new();
    let mut set = |key: &str, value: Value| drop(table.insert(key.to_owned(), value));
    set("required", Value::Boolean(*required));
    set("startup_timeout_sec", seconds(startup_timeout_sec));
    set("tool_timeout_sec", seconds(tool_timeout_sec));
    if let Some(tools) = enabled_tools {
        set("enabled_tools", tools.clone().into());
    }
    match &server.reached {
        Reached::Stdio { command, args, env } => {
            set("command", text(command));
            set("args", Value::Array(args.iter().map(text).collect()));
            set("env", Value::Table(env.iter().map(|(name, value)| (name.clone(), text(value))).collect()));
        }
        Reached::Remote(_) => {
            set("url", format!("http://127.0.0.1:{FORWARD_PORT}/mcp/{}", server.name).into());
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::mcp::resolve::Remote;

    fn server(name: &str, reached: Reached) -> Resolved {
        let enabled_tools = Some(vec!["t".into()]);
        let terms = Terms { required: true, startup_timeout_sec: 5, tool_timeout_sec: 6, enabled_tools };
        Resolved { name: name.into(), terms, reached }
    }

    #[test]
    fn it_is_toml_whatever_the_model_is_called() {
        let parsed: Table = text(Some("a\"\n[x]"), None, &[]).parse().unwrap();
        assert_eq!(parsed["model"].as_str(), Some("a\"\n[x]"));
        let provider = &parsed["model_providers"]["cofferdam"];
        assert_eq!(provider["base_url"].as_str(), Some("http://127.0.0.1:8787/v1"));
        assert_eq!(provider["requires_openai_auth"].as_bool(), Some(true));
        assert_eq!(parsed["project_doc_max_bytes"].as_integer(), Some(98_304));
        assert!(!parsed.contains_key("mcp_servers"));
        let direct: Table = text(None, Some("https://vendor/x"), &[]).parse().unwrap();
        assert_eq!(direct["model_providers"]["cofferdam"]["base_url"].as_str(), Some("https://vendor/x"));
    }

    #[test]
    fn a_program_has_its_environment_and_a_remote_server_nothing_but_the_door() {
        let odd = "a\"\n[mcp_servers.x]\ncommand = '";
        let stdio = Reached::Stdio {
            command: odd.into(),
            args: vec!["-y".into(), odd.into()],
            env: BTreeMap::from([("KEY".to_owned(), odd.into())]),
        };
        let remote = Reached::Remote(Remote {
            url: "https://mcp.example/secret-path".into(),
            headers: vec![("authorization".into(), "Bearer secret".into())],
            secrets: vec!["secret".into()],
        });
        let text = text(None, None, &[server("local", stdio), server("far-1", remote)]);
        let parsed: Table = text.parse().unwrap();
        let servers = parsed["mcp_servers"].as_table().unwrap();
        assert_eq!(servers.len(), 2);
        assert_eq!(servers["local"]["env"]["KEY"].as_str(), Some(odd));
        assert_eq!(servers["local"]["args"][1].as_str(), Some(odd));
        assert_eq!(servers["local"]["enabled_tools"][0].as_str(), Some("t"));
        assert_eq!(servers["far-1"]["url"].as_str(), Some("http://127.0.0.1:8787/mcp/far-1"));
        assert_eq!(servers["far-1"]["required"].as_bool(), Some(true));
        assert!(!text.contains("secret") && !text.contains("example"), "{text}");
    }
}
