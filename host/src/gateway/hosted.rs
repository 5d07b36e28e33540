//! Tools that the vendor itself would run. `--network none` means little if a container can have the vendor search the
//! web or call somebody's MCP server for it, so a model call that asks for one is refused.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Kinds of tools that run in the container, or nowhere: what Codex offers to the model. Everything else is refused.
const LOCAL: &[&str] = &["function", "custom", "local_shell", "shell", "apply_patch", "namespace", "tool_search"];

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow, default)]
    tools: Option<Vec<Tool<'a>>>,
    #[serde(borrow, default)]
    input: Option<Input<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input<'a> {
    Items(#[serde(borrow)] Vec<Item<'a>>),
    Other(IgnoredAny),
}

/// Newer models get some of their tools as an item of the input.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    tools: Option<Vec<Tool<'a>>>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    tools: Option<Vec<Tool<'a>>>,
}

/// The first tool in a call's body that the vendor would run; `Err` when the body is no JSON object of a call.
pub(super) fn hosted_tool(body: &[u8]) -> Result<Option<String>, serde_json::Error> {
    let call: Call<'_> = serde_json::from_slice(body)?;
    let items = match call.input {
        Some(Input::Items(items)) => items,
        Some(Input::Other(_)) | None => Vec::new(),
    };
    let lists = call.tools.into_iter().chain(items.into_iter().filter_map(|item| item.tools));
    Ok(lists.flatten().find_map(foreign))
}

fn foreign(tool: Tool<'_>) -> Option<String> {
    match tool.kind {
        Some(kind) if LOCAL.contains(&&*kind) => tool.tools.into_iter().flatten().find_map(foreign),
        Some(kind) => Some(kind.chars().take(60).collect()),
        None => Some("tool without a type".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(body: &serde_json::Value) -> Option<String> {
        hosted_tool(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_codex_sends_passes() {
        let body = json!({"model": "m", "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "\u{00e9} \"web_search\""}]},
            {"type": "additional_tools", "tools": [{"type": "function", "name": "x"}]},
        ], "tools": [{"type": "function", "name": "exec_command"}, {"type": "custom", "name": "apply_patch"}]});
        assert_eq!(found(&body), None);
        assert_eq!(found(&json!({"input": "text"})), None);
        assert_eq!(found(&json!({"input": [], "tools": null})), None);
    }

    #[test]
    fn tools_of_the_vendor_are_found_wherever_they_stand() {
        for tool in
            ["web_search", "web_search_preview", "mcp", "code_interpreter", "file_search", "computer_use_preview"]
        {
            let tool_of = json!([{"type": "function", "name": "x"}, {"type": tool}]);
            assert_eq!(found(&json!({"tools": tool_of})).as_deref(), Some(tool));
            let item = json!({"input": [{"type": "additional_tools", "tools": tool_of}]});
            assert_eq!(found(&item).as_deref(), Some(tool));
            let nested = json!({"tools": [{"type": "namespace", "tools": tool_of}]});
            assert_eq!(found(&nested).as_deref(), Some(tool));
        }
    }

    #[test]
    fn what_is_no_call_is_an_error() {
        for body in ["", "[]x", "{\"tools\": 3}", "{\"tools\": [{}], \"tools\": []}"] {
            assert!(hosted_tool(body.as_bytes()).is_err(), "{body}");
        }
    }
}
