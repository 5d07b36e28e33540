//! The offline model's summaries. They carry the state of the script, so that a turn that is compacted in its
//! middle goes on where it was.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::MARK;
use super::conversation::Conversation;
use super::plan::Progress;
use super::script;

/// Begins the line with the state.
const STATE: &str = "offline-model-state: ";
/// Begins a user-role item with a summary; Codex puts it before the summary's text.
const CODEX_PREFIX: &str = "Another language model started to solve this problem";
/// The most characters of the first message, and of each tool's answer, that a summary keeps.
const KEPT_CHARS: usize = 500;

/// The state in a summary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recap {
    /// User messages so far.
    pub(super) messages: u64,
    /// The first of them, shortened.
    pub(super) first: String,
    /// The next step of the newest message's script.
    pub(super) step: usize,
    /// Tools' answers to that message: the step, and the text, shortened.
    pub(super) outputs: Vec<(usize, String)>,
}

impl Recap {
    /// Whether a user-role text is a summary, by whatever model.
    pub(super) fn is_in(text: &str) -> bool {
        text.starts_with(CODEX_PREFIX)
    }

    /// The state in a summary's text; none when it is not the offline model's.
    pub(super) fn read(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix(STATE))?;
        serde_json::from_str(line).ok()
    }

    /// The conversation's state now.
    pub(super) fn of(conversation: &Conversation) -> Self {
        let steps = script::parse(&conversation.newest).unwrap_or_default();
        let progress = Progress::of(&steps, &conversation.after);
        Self {
            messages: conversation.messages,
            first: short(&conversation.first, KEPT_CHARS),
            step: progress.next,
            outputs: progress.outputs.into_iter().map(|(step, text)| (step, short(&text, KEPT_CHARS))).collect(),
        }
    }

    /// The summary as text.
    pub(super) fn text(&self) -> String {
        // Serialising plain data to a string has no way to fail.
        let state = serde_json::to_string(self).unwrap_or_default();
        format!("{MARK}Summary: {} user message(s) so far. My own state follows.\n{STATE}{state}", self.messages)
    }

    /// The summary as the vendor's `compaction` item.
    pub(super) fn item(&self) -> Value {
        json!({ "type": "compaction", "id": super::events::id("cmp"), "encrypted_content": self.text() })
    }
}

/// The answer to `POST /v1/responses/compact`: the newest message and a summary of everything.
pub(super) fn compacted(conversation: &Conversation, input_tokens: u64) -> Value {
    let recap = Recap::of(conversation);
    let newest = json!({
        "type": "message", "id": super::events::id("msg"), "role": "user", "status": "completed",
        "content": [{ "type": "input_text", "text": conversation.newest }],
    });
    json!({
        "id": super::events::id("resp"),
        "object": "response.compaction",
        "created_at": super::events::now(),
        "output": [newest, recap.item()],
        "usage": super::events::usage(input_tokens, recap.text().len() as u64 / super::BYTES_PER_TOKEN),
    })
}

/// At most `chars` characters of a text, with a mark when it was longer.
pub(super) fn short(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_recap_survives_its_text(messages in 0u64..99, first in "\\PC{0,40}|a\nb", step in 0usize..9, out in "\\PC{0,20}") {
            let recap = Recap { messages, first, step, outputs: vec![(step, out)] };
            let text = format!("{CODEX_PREFIX} and produced a summary:\n{}", recap.text());
            prop_assert!(Recap::is_in(&text));
            prop_assert_eq!(Recap::read(&text), Some(recap));
        }
    }
}
