//! Tools that the vendor itself would run. `--network none` means little if a container can have the vendor search the
//! web or call somebody's MCP server for it, so a model call that asks for one is refused.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Kinds of tools that run in the container, or nowhere: what Codex offers to the model. Everything else is refused.
const LOCAL: &[&str] = &["function", "custom", "local_shell", "apply_patch", "namespace", "tool_search"];

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    tools: Found,
    #[serde(default)]
    input: Items,
}

/// The first foreign tool of a list. Read piece by piece: nothing of a hostile body is kept.
#[derive(Default)]
struct Found(Option<String>);

/// The same over the items of an input; newer models get some of their tools as such an item.
#[derive(Default)]
struct Items(Option<String>);

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    tools: Found,
}

#[derive(Deserialize)]
struct Tool {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    tools: Found,
}

/// The first tool in a call's body that the vendor would run; `Err` when the body is no JSON object of a call.
pub(super) fn hosted_tool(body: &[u8]) -> Result<Option<String>, serde_json::Error> {
    let call: Call = serde_json::from_slice(body)?;
    Ok(call.tools.0.or(call.input.0))
}

fn foreign(tool: Tool) -> Option<String> {
    match tool.kind {
        Some(kind) if LOCAL.contains(&kind.as_str()) => tool.tools.0,
        Some(kind) => Some(kind.chars().take(60).collect()),
        None => Some("tool without a type".to_owned()),
    }
}

/// Reads a list (or nothing, or a text) and keeps the first thing found in it.
struct First<T>(fn(T) -> Option<String>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for First<T> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut first = None;
        while let Some(element) = list.next_element::<T>()? {
            first = first.or((self.0)(element));
        }
        Ok(first)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(First(foreign)).map(Self)
    }
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(First(|item: Item| item.tools.0)).map(Self)
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
        let twice = r#"{"input": [{"tools": [{"type": "mcp"}], "tools": []}]}"#;
        for body in ["", "[]x", "{\"input\": [0, 0]}", twice, "{\"tools\": 3}", "{\"tools\": [{}], \"tools\": []}"]
        {
            assert!(hosted_tool(body.as_bytes()).is_err(), "{body}");
        }
    }
}
