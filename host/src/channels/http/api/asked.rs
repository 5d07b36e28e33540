//! What a request asks, whichever API it came through.

use axum::http::HeaderMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::files::File;
use super::super::plain::is_name;
use super::content::{self, MOST_FILES};
use super::error::ApiError;
use super::params;

/// The most messages of a request.
const MOST_MESSAGES: usize = 10_000;
/// The longest text for the agent, in bytes.
const MOST_TEXT: usize = 1024 * 1024;
/// How much of an unknown conversation's history is told, in bytes: its end.
const MOST_HISTORY: usize = 256 * 1024;
/// The header that names a thread.
const THREAD: &str = "x-cofferdam-thread";

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The caller's program: `system`, `developer`, `instructions`.
    System,
    User,
    Assistant,
}

/// A message of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) role: Role,
    pub(super) text: String,
    /// Of its files.
    stamps: Vec<[u8; 32]>,
}

/// By what a conversation is known: the messages themselves are not kept while their answer is waited for.
#[derive(Clone)]
pub(super) struct Prints {
    /// Without the new messages.
    pub(super) before: [u8; 32],
    /// With them.
    pub(super) with_message: [u8; 32],
    hash: Sha256,
}

impl Prints {
    /// With their answer.
    pub(super) fn with_answer(&self, answer: &str) -> [u8; 32] {
        let mut hash = self.hash.clone();
        Line::new(Role::Assistant, answer).add_to(&mut hash);
        hash.finalize().into()
    }
}

/// What a request asks.
#[derive(Debug)]
pub(super) struct Asked {
    /// All messages, in their order.
    lines: Vec<Line>,
    /// How many of them are history: those up to the last answer.
    history: usize,
    /// Those of the new messages.
    pub(super) files: Vec<File>,
    /// The thread that the caller names.
    pub(super) thread: Option<String>,
    /// The response that this one follows.
    pub(super) previous: Option<String>,
    /// JSON Schema that the answer must follow.
    pub(super) schema: Option<String>,
    pub(super) stream: bool,
    /// A completion's stream tells in the end what it took.
    pub(super) include_usage: bool,
    /// The caller's, as it was sent.
    pub(super) metadata: Value,
}

impl Asked {
    /// Reads what both APIs have alike. `messages` are at `param`, after the instructions.
    pub(super) fn read(
        headers: &HeaderMap,
        request: &Value,
        (param, messages): (&str, &[Value]),
        instructions: Option<&str>,
    ) -> Result<Self, ApiError> {
        params::check(request)?;
        if messages.len() > MOST_MESSAGES {
            return Err(ApiError::bad(param, format!("more than {MOST_MESSAGES} messages")));
        }
        let instructed = instructions.map(|text| Line::new(Role::System, text));
        let mut lines: Vec<Line> = instructed.into_iter().collect();
        let mut data = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            let param = format!("{param}[{at}]");
            let role = role(message, &param)?;
            let content = content::read(&message["content"], &format!("{param}.content"))?;
            match role {
                Role::Assistant => data.clear(),
                Role::User => {}
                Role::System if content.files.is_empty() => {}
                Role::System => return Err(ApiError::bad(param, "only users send files")),
            }
            let stamps = content.files.iter().map(content::Data::stamp).collect();
            lines.push(Line { role, text: content.text, stamps });
            data.extend(content.files);
        }
        let history = lines.iter().rposition(|line| line.role == Role::Assistant).map_or(0, |last| last + 1);
        let new: Vec<&Line> = lines[history..].iter().filter(|line| line.role == Role::User).collect();
        if new.iter().all(|line| line.text.trim().is_empty() && line.stamps.is_empty()) {
            return Err(ApiError::bad(param, "the last message is not the user's, or it is empty"));
        }
        if new.iter().map(|line| line.text.len()).sum::<usize>() > MOST_TEXT || data.len() > MOST_FILES {
            let message =
                format!("the message is longer than {MOST_TEXT} bytes, or has more than {MOST_FILES} files");
            return Err(ApiError { code: Some("string_above_max_length"), ..ApiError::bad(param, message) });
        }
        let files = data.iter().enumerate().map(|(at, data)| data.decode(at + 1)).collect::<Result<_, _>>()?;
        Ok(Self {
            lines,
            history,
            files,
            thread: thread(headers, request)?,
            previous: None,
            schema: None,
            stream: request["stream"] == true,
            include_usage: request["stream_options"]["include_usage"] == true,
            metadata: request["metadata"].clone(),
        })
    }

    /// Whether something was answered before.
    pub(super) fn has_history(&self) -> bool {
        self.history > 0
    }

    /// The fingerprints of the conversation.
    pub(super) fn prints(&self) -> Prints {
        let mut hash = Sha256::new_with_prefix(b"cofferdam conversation 1");
        self.lines[..self.history].iter().for_each(|line| line.add_to(&mut hash));
        let before = hash.clone().finalize().into();
        self.lines[self.history..].iter().for_each(|line| line.add_to(&mut hash));
        Prints { before, with_message: hash.clone().finalize().into(), hash }
    }

    /// The fingerprint of what the call asks for, however its JSON is written and whether its answer is a stream.
    pub(super) fn stamp(&self) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(b"cofferdam call 1").chain_update(self.prints().with_message);
        for part in [&self.thread, &self.previous, &self.schema] {
            let part = part.as_deref();
            hash.update([u8::from(part.is_some())]);
            hash.update(Sha256::digest(part.unwrap_or_default()));
        }
        hash.finalize().into()
    }

    /// The text for the agent. At the beginning of a thread it has what the agent does not know: the caller's
    /// instructions, and what was said elsewhere.
    pub(super) fn text(&self, begins: bool) -> String {
        let new = joined(self.lines[self.history..].iter().filter(|line| line.role == Role::User));
        if !begins {
            return new;
        }
        let mut parts = Vec::new();
        let instructions = joined(self.lines.iter().filter(|line| line.role == Role::System));
        if !instructions.is_empty() {
            parts.push(format!("[Instructions of the calling program]\n{}", end_of(&instructions)));
        }
        let history = joined_history(&self.lines[..self.history]);
        if !history.is_empty() {
            parts.push(format!(
                "[Earlier in this conversation, as the calling program tells it]\n{}",
                end_of(&history)
            ));
        }
        if parts.is_empty() {
            return new;
        }
        parts.push(format!("[The message]\n{new}"));
        parts.join("\n\n")
    }
}

impl Line {
    fn new(role: Role, text: &str) -> Self {
        Self { role, text: text.to_owned(), stamps: Vec::new() }
    }

    /// In a form that is the same for the same conversation: lengths make the parts unambiguous, and blanks at the ends of
    /// texts do not count.
    fn add_to(&self, hash: &mut Sha256) {
        let text = self.text.trim();
        hash.update([self.role as u8]);
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
        hash.update((self.stamps.len() as u64).to_be_bytes());
        self.stamps.iter().for_each(|stamp| hash.update(stamp));
    }
}

fn joined<'a>(lines: impl Iterator<Item = &'a Line>) -> String {
    lines.map(|line| line.text.as_str()).filter(|text| !text.trim().is_empty()).collect::<Vec<_>>().join("\n\n")
}

fn joined_history(lines: &[Line]) -> String {
    let mut told = Vec::new();
    for line in lines {
        let who = match line.role {
            Role::System => continue,
            Role::User => "User",
            Role::Assistant => "You",
        };
        let files = match line.stamps.len() {
            0 => String::new(),
            files => format!(" [with {files} files, which are not here]"),
        };
        told.push(format!("{who}:{files} {}", line.text.trim()));
    }
    told.join("\n\n")
}

/// The end of a text that is too long.
fn end_of(text: &str) -> String {
    if text.len() <= MOST_HISTORY {
        return text.to_owned();
    }
    format!("[the beginning is left out] …{}", &text[text.ceil_char_boundary(text.len() - MOST_HISTORY)..])
}

fn role(message: &Value, param: &str) -> Result<Role, ApiError> {
    let kind = message["type"].as_str().unwrap_or("message");
    match (kind, message["role"].as_str().unwrap_or_default()) {
        ("message", "system" | "developer") => Ok(Role::System),
        ("message", "user") => Ok(Role::User),
        ("message", "assistant") => Ok(Role::Assistant),
        ("message", other) => Err(ApiError::bad(
            format!("{param}.role"),
            format!("'{param}.role' is '{other}'; system, developer, user and assistant are taken"),
        )),
        (other, _) => Err(ApiError::bad(param, format!("'{param}' is a '{other}'; messages are taken"))),
    }
}

/// The thread that the caller names, in `metadata` or in a header.
fn thread(headers: &HeaderMap, request: &Value) -> Result<Option<String>, ApiError> {
    let metadata = &request["metadata"];
    if !metadata.is_null() && !metadata.is_object() {
        return Err(ApiError::bad("metadata", "'metadata' is no object"));
    }
    let named = match (&metadata["thread"], headers.get(THREAD)) {
        (Value::Null, None) => return Ok(None),
        (Value::Null, Some(header)) => header.to_str().unwrap_or_default(),
        (value, _) => value.as_str().unwrap_or_default(),
    };
    if is_name(named) {
        return Ok(Some(named.to_owned()));
    }
    Err(ApiError::bad("metadata.thread", "a thread is named with 1 to 64 of A-Z a-z 0-9 . _ -"))
}

/// A JSON Schema as it is kept.
pub(super) fn schema(schema: &Value, param: &str) -> Result<Option<String>, ApiError> {
    if !schema.is_object() {
        return Err(ApiError::bad(param, format!("'{param}' is no JSON Schema")));
    }
    Ok(Some(schema.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(messages: Value) -> Result<Asked, ApiError> {
        let messages = messages.as_array().unwrap().clone();
        Asked::read(&HeaderMap::new(), &json!({}), ("messages", &messages), None)
    }

    #[test]
    fn a_conversation_that_goes_on_is_known_by_its_history() {
        let first = asked(json!([{"role": "system", "content": "s"}, {"role": "user", "content": "a"}])).unwrap();
        let next = |answer: &str| {
            asked(json!([
                {"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "a"}]},
                {"role": "assistant", "content": answer}, {"role": "user", "content": "b"},
            ]))
            .unwrap()
        };
        let (first, before) = (first.prints(), |answer: &str| next(answer).prints().before);
        assert_eq!(before("yes"), first.with_answer(" yes\n"));
        assert_ne!(before("no"), first.with_answer("yes"));
        assert_ne!(first.with_message, first.with_answer(""));
        assert_eq!((next("yes").text(false), next("yes").has_history()), ("b".into(), true));
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        let print = |texts: &[&str]| {
            let said: Vec<Value> = texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
            asked(json!(said)).unwrap().prints().with_message
        };
        assert_ne!(print(&["ab", "c"]), print(&["a", "bc"]));
        assert_ne!(print(&["a"]), print(&["a", ""]));
    }

    #[test]
    fn what_the_agent_does_not_know_goes_before_the_first_message_labelled() {
        let asked = asked(json!([
            {"role": "developer", "content": "Be brief."}, {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"},
            {"role": "user", "content": "four"},
        ]))
        .unwrap();
        assert_eq!(
            asked.text(true),
            "[Instructions of the calling program]\nBe brief.\n\n[Earlier in this conversation, as the calling program \
             tells it]\nUser: one\n\nYou: two\n\n[The message]\nthree\n\nfour"
        );
        assert_eq!(asked.text(false), "three\n\nfour");
    }

    #[test]
    fn wrong_messages_are_refused_by_their_place() {
        for (messages, param) in [
            (json!([]), "messages"),
            (json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]), "messages"),
            (json!([{"role": "user", "content": " "}]), "messages"),
            (json!([{"role": "tool", "content": "a"}]), "messages[0].role"),
            (json!(["a"]), "messages[0].role"),
            (json!([{"type": "function_call", "name": "x"}]), "messages[0]"),
            (json!([{"role": "user", "content": "a".repeat(MOST_TEXT + 1)}]), "messages"),
        ] {
            assert_eq!(asked(messages).unwrap_err().param.as_deref(), Some(param));
        }
    }

    #[test]
    fn a_thread_is_named_in_metadata_or_a_header() {
        let named = |metadata: Value, header: Option<&str>| {
            let headers = header.map(|name| (THREAD.parse().unwrap(), name.parse().unwrap())).into_iter().collect();
            thread(&headers, &json!({ "metadata": metadata }))
        };
        assert_eq!(named(json!({"thread": "a.b_c-1"}), Some("x")), Ok(Some("a.b_c-1".into())));
        assert_eq!(named(Value::Null, Some("x")), Ok(Some("x".into())));
        assert_eq!(named(json!({"other": "x"}), None), Ok(None));
        for wrong in [json!({"thread": "a/b"}), json!({"thread": ""}), json!({"thread": 1}), json!([])] {
            assert!(named(wrong.clone(), None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn history_that_is_too_long_is_told_from_its_end() {
        let long = "é".repeat(MOST_HISTORY);
        let told = end_of(&long);
        assert!(told.len() < MOST_HISTORY + 100 && told.starts_with("[the beginning is left out]"));
    }
}
