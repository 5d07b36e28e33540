//! What a request's `input` says about the conversation so far.

use serde_json::Value;

use super::recap::Recap;
use super::script::{self, Verdict};
use super::wrapper;

/// Texts with the role of a user that are Codex's own context: nobody wrote them to the model.
/// As Codex sends them.
const CONTEXT: &[&str] = &[
    "# AGENTS.md instructions",
    "<agent_message_board_notification>",
    "<context_window_reminder>",
    "<current_time_reminder>",
    "<environment_context>",
    // The text parts around an image.
    "<image name=",
    "</image>",
    "<skill>",
    "<startup_context>",
    "<subagent_notification>",
    "<user_instructions>",
    "<user_shell_command>",
];
/// Begins what Codex writes after a turn that was interrupted.
const ABORTED: &str = "<turn_aborted>";
/// Begins Codex's request to sum up the conversation.
const COMPACT_PROMPT: &str = "You are performing a CONTEXT CHECKPOINT COMPACTION";

/// A conversation as the model sees it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Conversation {
    /// User messages so far, those that a recap stands for included.
    pub(super) messages: u64,
    /// The first of them.
    pub(super) first: String,
    /// The newest of them.
    pub(super) newest: String,
    /// Images with the newest.
    pub(super) images: usize,
    /// What came after the newest, in order.
    pub(super) after: Vec<After>,
    /// What the client wants now, if not an answer.
    pub(super) compaction: Option<Compaction>,
    /// How compaction calls are answered, as the newest message that says so has it.
    pub(super) verdict: Verdict,
}

/// Something that came after the newest user message.
#[derive(Debug, PartialEq)]
pub(super) enum After {
    /// A message of the model.
    Said,
    /// A tool call of the model, by its id.
    Called(String),
    /// What a tool answered.
    Output {
        /// The call's id.
        id: String,
        /// The answer's text.
        text: String,
    },
    /// The turn was interrupted, or the client asked to go on after that.
    Interrupted,
    /// The offline model's own summary, which stands for everything before it.
    Recap(Recap),
}

/// How the client asks for a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compaction {
    /// As an ordinary message.
    Message,
    /// As a `compaction` item.
    Item,
}

impl Conversation {
    /// Reads `input`; none when it is neither a text nor a list.
    pub(super) fn read(input: &Value) -> Option<Self> {
        let mut this = Self::default();
        match input {
            Value::String(text) => this.user(text),
            Value::Array(items) => items.iter().for_each(|item| this.item(item)),
            _ => return None,
        }
        Some(this)
    }

    fn item(&mut self, item: &Value) {
        let id = || item["call_id"].as_str().unwrap_or_default().to_owned();
        match item["type"].as_str() {
            // Clients may leave the type of a message out.
            None | Some("message") => self.message(item),
            Some("function_call" | "custom_tool_call" | "local_shell_call") => self.after.push(After::Called(id())),
            Some("function_call_output" | "custom_tool_call_output" | "local_shell_call_output") => {
                self.after.push(After::Output { id: id(), text: text_of(&item["output"]) });
            }
            Some("compaction" | "compaction_summary") => {
                self.recap(item["encrypted_content"].as_str().unwrap_or_default());
            }
            Some("compaction_trigger") => self.compaction = Some(Compaction::Item),
            _ => {}
        }
    }

    fn message(&mut self, item: &Value) {
        match item["role"].as_str() {
            Some("assistant") => self.after.push(After::Said),
            Some("user") => self.user_item(&item["content"]),
            _ => {}
        }
    }

    fn user_item(&mut self, content: &Value) {
        let Value::Array(parts) = content else {
            return self.user(&text_of(content));
        };
        let own: Vec<&Value> = parts.iter().filter(|part| !is_context(&text_of(part))).collect();
        if own.is_empty() {
            return;
        }
        let texts: Vec<String> = own.iter().map(|part| text_of(part)).filter(|text| !text.is_empty()).collect();
        self.user(&texts.join("\n"));
        self.images = own.iter().filter(|part| part["type"] == "input_image").count();
    }

    fn user(&mut self, text: &str) {
        if text.starts_with(COMPACT_PROMPT) {
            self.compaction = Some(Compaction::Message);
        } else if Recap::is_in(text) {
            self.recap(text);
        } else if text.trim_start().starts_with(ABORTED) || wrapper::continues(text) {
            self.after.push(After::Interrupted);
        } else if !is_context(text) {
            self.person(wrapper::unwrap(text));
        }
    }

    fn person(&mut self, text: String) {
        if self.messages == 0 {
            self.first.clone_from(&text);
        }
        if let Some(verdict) = script::verdict(&text) {
            self.verdict = verdict;
        }
        self.messages = self.messages.saturating_add(1);
        self.newest = text;
        self.images = 0;
        self.after.clear();
        self.compaction = None;
    }

    fn recap(&mut self, text: &str) {
        // Another model's summary has no state for us: what is visible counts.
        if let Some(recap) = Recap::read(text) {
            self.messages = recap.messages;
            self.first.clone_from(&recap.first);
            self.after.clear();
            self.after.push(After::Recap(recap));
        }
    }
}

fn is_context(text: &str) -> bool {
    let text = text.trim_start();
    CONTEXT.iter().any(|start| text.starts_with(start))
}

/// The text of a content: a text, a part with a text, or a list of parts.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(text_of).filter(|t| !t.is_empty()).collect::<Vec<_>>().join("\n"),
        Value::Object(part) => match (part.get("text"), part.get("stdout").or_else(|| part.get("content"))) {
            (Some(Value::String(text)), _) => text.clone(),
            (None, Some(inner)) => text_of(inner),
            _ => String::new(),
        },
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn user(text: &str) -> Value {
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
    }

    #[test]
    fn codex_context_is_not_a_message() {
        let input = json!([
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "!run no"}]},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "# AGENTS.md instructions for /group\n\n!run no"},
                {"type": "input_text", "text": "<environment_context>\n!run no</environment_context>"}]},
            user("hello"),
            user("<turn_aborted>\n!run no\n</turn_aborted>"),
        ]);
        let read = Conversation::read(&input).unwrap();
        assert_eq!((read.messages, read.newest.as_str()), (1, "hello"));
    }

    #[test]
    fn context_of_the_host_around_a_message_is_no_part_of_it() {
        let input = json!([
            user("<message from=\"ann\" id=\"1\">\nhello\n&lt;/message> there\n</message>\n<message from=\"bob\" id=\"2\">\n!say x\n</message>"),
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<chat>!run no</chat>"}]},
            {"type": "function_call_output", "name": "history", "namespace": "agent", "output": "!run no"},
        ]);
        let read = Conversation::read(&input).unwrap();
        assert_eq!((read.messages, read.newest.as_str()), (1, "hello\n</message> there\n!say x"));
    }

    #[test]
    fn images_are_counted_and_their_marks_are_not_text() {
        let input = json!([{"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "look"},
            {"type": "input_text", "text": "<image name=[Image #1] path=\"/a.png\">"},
            {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
            {"type": "input_text", "text": "</image>"},
        ]}]);
        let read = Conversation::read(&input).unwrap();
        assert_eq!((read.newest.as_str(), read.images), ("look", 1));
    }

    #[test]
    fn a_request_to_go_on_is_not_a_message() {
        let input = json!([user("!run a"), user("<turn_aborted>\nx"), user("[cofferdam] Go on.")]);
        let read = Conversation::read(&input).unwrap();
        assert_eq!((read.messages, read.newest.as_str()), (1, "!run a"));
        assert_eq!(read.after, [After::Interrupted, After::Interrupted]);
    }

    #[test]
    fn the_newest_word_on_compaction_is_kept() {
        let input = json!([user("!compaction hang"), user("!compaction fail 500"), user("and now?")]);
        assert!(matches!(Conversation::read(&input).unwrap().verdict, Verdict::Fail(_)));
    }

    #[test]
    fn only_what_follows_the_newest_message_counts_as_served() {
        let input = json!([
            user("one"),
            {"type": "function_call", "call_id": "a", "name": "x", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "old"},
            user("two"),
            {"type": "custom_tool_call", "call_id": "b", "name": "exec", "input": ""},
            {"type": "custom_tool_call_output", "call_id": "b", "output": [
                {"type": "input_text", "text": "Script completed"}, {"type": "input_text", "text": "new"}]},
        ]);
        let read = Conversation::read(&input).unwrap();
        assert_eq!((read.messages, read.first.as_str(), read.newest.as_str()), (2, "one", "two"));
        let text = "Script completed\nnew".to_owned();
        assert_eq!(read.after, [After::Called("b".into()), After::Output { id: "b".into(), text }]);
    }

    #[test]
    fn a_compaction_prompt_asks_for_a_summary_and_is_not_a_message() {
        let input = json!([user("one"), user("You are performing a CONTEXT CHECKPOINT COMPACTION. Create …")]);
        let read = Conversation::read(&input).unwrap();
        assert_eq!((read.messages, read.newest.as_str()), (1, "one"));
        assert_eq!(read.compaction, Some(Compaction::Message));
    }

    #[test]
    fn a_bare_text_is_one_message_and_anything_else_is_refused() {
        assert_eq!(Conversation::read(&json!("hi")).unwrap().newest, "hi");
        assert_eq!(Conversation::read(&json!([{"role": "user", "content": "hi"}])).unwrap().newest, "hi");
        assert!(Conversation::read(&json!(null)).is_none());
    }
}
