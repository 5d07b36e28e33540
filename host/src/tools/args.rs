//! What the model gives a tool. Hostile until parsed; what is wrong with it is said in words that help it.

use std::path::{Component, Path, PathBuf};

use cofferdam_protocol::ids::{MessageId, ReplyId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ASK_RANGE, ASK_SECS, HISTORY, MAX_HISTORY, MAX_OPTION, MAX_OPTIONS, MAX_QUESTION, MAX_TEXT};

/// Where the workspace is in the container.
const WORKSPACE: &str = "/group/workspace";

/// What the agent wants of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Say something in the chat now.
    Reply {
        /// What.
        text: String,
    },
    /// Send a file.
    SendFile {
        /// Below the workspace; not yet looked at.
        path: PathBuf,
        /// What to say about it.
        caption: Option<String>,
    },
    /// React to a message.
    React {
        /// With what.
        emoji: String,
        /// The message; none is the turn's newest.
        message: Option<MessageId>,
    },
    /// Change an earlier reply.
    Edit {
        /// Which.
        reply: ReplyId,
        /// To what.
        text: String,
    },
    /// Ask the chat's people.
    Ask {
        /// What.
        question: String,
        /// What can be chosen.
        options: Vec<String>,
        /// How long to wait, in seconds.
        timeout_secs: i64,
    },
    /// Read what was said.
    History {
        /// The most entries.
        limit: usize,
        /// Only what was said before this message.
        before: Option<MessageId>,
    },
}

/// Why a call cannot be followed, for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong(pub String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SendFile {
    path: String,
    caption: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct React {
    emoji: String,
    message: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    reply: i64,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    question: String,
    #[serde(default)]
    options: Option<Vec<String>>,
    timeout_secs: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    limit: Option<usize>,
    before: Option<i64>,
}

/// What a call asks for.
pub fn parse(tool: &str, arguments: &Value) -> Result<Wish, Wrong> {
    match tool {
        "chat_reply" => {
            let Reply { text } = read(arguments)?;
            Ok(Wish::Reply { text: said("text", text, MAX_TEXT)? })
        }
        "chat_send_file" => {
            let SendFile { path, caption } = read(arguments)?;
            let caption = caption.filter(|caption| !caption.trim().is_empty());
            let caption = caption.map(|caption| said("caption", caption, MAX_QUESTION)).transpose()?;
            Ok(Wish::SendFile { path: below_workspace(&path)?, caption })
        }
        "chat_react" => {
            let React { emoji, message } = read(arguments)?;
            Ok(Wish::React { emoji: emoji_of(&emoji)?, message: message.map(MessageId) })
        }
        "chat_edit" => {
            let Edit { reply, text } = read(arguments)?;
            Ok(Wish::Edit { reply: ReplyId(reply), text: said("text", text, MAX_TEXT)? })
        }
        "ask_user" => ask(read(arguments)?),
        "chat_history" => {
            let History { limit, before } = read(arguments)?;
            let limit = limit.unwrap_or(HISTORY);
            if !(1..=MAX_HISTORY).contains(&limit) {
                return Err(Wrong(format!("'limit' is 1 to {MAX_HISTORY}")));
            }
            Ok(Wish::History { limit, before: before.map(MessageId) })
        }
        other => Err(Wrong(format!("there is no tool '{}'", short(other, 60)))),
    }
}

fn ask(ask: Ask) -> Result<Wish, Wrong> {
    let question = said("question", ask.question, MAX_QUESTION)?;
    let mut options: Vec<String> = Vec::new();
    for option in ask.options.unwrap_or_default() {
        let option = said("an option", option, MAX_OPTION)?.trim().to_owned();
        if option.contains('\n') {
            return Err(Wrong("an option is one line".to_owned()));
        }
        if options.iter().any(|known| known.to_lowercase() == option.to_lowercase()) {
            return Err(Wrong(format!("the option '{option}' is there twice")));
        }
        options.push(option);
    }
    if options.len() > MAX_OPTIONS {
        return Err(Wrong(format!("at most {MAX_OPTIONS} options")));
    }
    let timeout_secs = ask.timeout_secs.unwrap_or(ASK_SECS);
    if !ASK_RANGE.contains(&timeout_secs) {
        return Err(Wrong(format!("'timeout_secs' is {} to {}", ASK_RANGE.start(), ASK_RANGE.end())));
    }
    Ok(Wish::Ask { question, options, timeout_secs })
}

fn read<T: DeserializeOwned>(arguments: &Value) -> Result<T, Wrong> {
    // Some models leave the arguments out when there are none.
    let empty = Value::Object(serde_json::Map::new());
    let arguments = if arguments.is_null() { &empty } else { arguments };
    T::deserialize(arguments)
        .map_err(|error| Wrong(format!("the arguments do not fit: {}", short(&error.to_string(), 300))))
}

fn said(what: &str, text: String, most: usize) -> Result<String, Wrong> {
    if text.trim().is_empty() {
        return Err(Wrong(format!("{what} is empty")));
    }
    if text.len() > most {
        return Err(Wrong(format!("{what} has {} bytes; at most {most} are taken", text.len())));
    }
    if text.contains('\0') {
        return Err(Wrong(format!("{what} contains a NUL character")));
    }
    Ok(text)
}

fn emoji_of(text: &str) -> Result<String, Wrong> {
    /// A family with skin tones has 41 bytes.
    const MOST: usize = 64;
    let text = text.trim();
    let plain = |c: char| c.is_whitespace() || c.is_control() || c.is_ascii_alphanumeric();
    // Digits and the like are part of some, such as 1️⃣; alone they are text.
    if text.is_empty() || text.len() > MOST || text.is_ascii() || text.chars().filter(|c| plain(*c)).count() > 1 {
        return Err(Wrong("'emoji' is one emoji, such as 👍".to_owned()));
    }
    Ok(text.to_owned())
}

/// A path below the workspace, by its words alone; whether links lead elsewhere is seen when it is opened.
fn below_workspace(path: &str) -> Result<PathBuf, Wrong> {
    const MOST: usize = 1024;
    let wrong = || {
        let path = short(path, 100);
        Wrong(format!(
            "'{path}' is not a file below {WORKSPACE}: give its path relative to it, or beginning with it"
        ))
    };
    if path.len() > MOST || path.contains('\0') {
        return Err(wrong());
    }
    let given = Path::new(path);
    let relative = if given.is_absolute() { given.strip_prefix(WORKSPACE).map_err(|_| wrong())? } else { given };
    let mut below = PathBuf::new();
    for component in relative.components() {
        match component {
            Component::Normal(name) => below.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(wrong()),
        }
    }
    if below.as_os_str().is_empty() { Err(wrong()) } else { Ok(below) }
}

impl Wish {
    /// What it is called with, for people who look at a session: one short line.
    pub fn summary(&self) -> String {
        match self {
            Self::Reply { text } => quote(text),
            Self::SendFile { path, .. } => short(&path.to_string_lossy(), 80),
            Self::React { emoji, message: None } => emoji.clone(),
            Self::React { emoji, message: Some(message) } => format!("{emoji} to message {message}"),
            Self::Edit { reply, text } => format!("reply {reply}: {}", quote(text)),
            Self::Ask { question, options, .. } if options.is_empty() => quote(question),
            Self::Ask { question, options, .. } => format!("{} {} options", quote(question), options.len()),
            Self::History { limit, before: None } => format!("{limit} entries"),
            Self::History { limit, before: Some(before) } => format!("{limit} entries before message {before}"),
        }
    }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", short(text, 60))
}

/// One line of at most `most` characters, without control characters.
pub fn short(text: &str, most: usize) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line: String = words.chars().filter(|c| !c.is_control()).take(most + 1).collect();
    if line.chars().count() > most {
        line = line.chars().take(most.saturating_sub(1)).chain(['…']).collect();
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn wrong(tool: &str, arguments: &Value) -> String {
        parse(tool, arguments).expect_err("refused").0
    }

    #[test]
    fn calls_are_parsed() {
        assert_eq!(parse("chat_reply", &json!({"text": "hi"})), Ok(Wish::Reply { text: "hi".into() }));
        assert_eq!(
            parse("chat_react", &json!({"emoji": " 👨‍👩‍👧‍👦 ", "message": 4})),
            Ok(Wish::React { emoji: "👨‍👩‍👧‍👦".into(), message: Some(MessageId(4)) })
        );
        assert_eq!(parse("chat_history", &Value::Null), Ok(Wish::History { limit: HISTORY, before: None }));
        let ask = parse("ask_user", &json!({"question": "Which?", "options": ["a", " b "]}));
        let options = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(ask, Ok(Wish::Ask { question: "Which?".into(), options, timeout_secs: 600 }));
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        let long = "x".repeat(MAX_TEXT + 1);
        for (tool, arguments, says) in [
            ("chat_reply", json!({}), "missing field `text`"),
            ("chat_reply", json!({"text": "hi", "chat": "other"}), "unknown field `chat`"),
            ("chat_reply", json!({"text": " \n"}), "empty"),
            ("chat_reply", json!({"text": 5}), "do not fit"),
            ("chat_reply", json!({"text": long}), "at most 65536"),
            ("chat_reply", json!("hi"), "do not fit"),
            ("chat_reply", json!({"text": "a\u{0}"}), "NUL"),
            ("chat_react", json!({"emoji": "ok"}), "one emoji"),
            ("chat_react", json!({"emoji": "👍 and more words"}), "one emoji"),
            ("ask_user", json!({"question": "?", "timeout_secs": 9}), "10 to 86400"),
            ("ask_user", json!({"question": "?", "timeout_secs": 86_401}), "10 to 86400"),
            ("ask_user", json!({"question": "?", "options": ["a", "A "]}), "twice"),
            (
                "ask_user",
                json!({"question": "?", "options": (0..11).map(|n| n.to_string()).collect::<Vec<_>>()}),
                "at most 10",
            ),
            ("ask_user", json!({"question": "?", "options": [""]}), "empty"),
            ("chat_history", json!({"limit": 0}), "1 to 50"),
            ("chat_history", json!({"limit": 51}), "1 to 50"),
            ("chat_history", json!({"limit": -1}), "do not fit"),
            ("send_message", json!({}), "no tool 'send_message'"),
        ] {
            let words = wrong(tool, &arguments);
            assert!(words.contains(says), "{tool}: {words}");
        }
    }

    #[test]
    fn only_paths_below_the_workspace_are_taken() {
        let path = |path: &str| match parse("chat_send_file", &json!({ "path": path })) {
            Ok(Wish::SendFile { path, .. }) => Some(path.to_string_lossy().into_owned()),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        };
        assert_eq!(path("a/b.txt").as_deref(), Some("a/b.txt"));
        assert_eq!(path("./a//b.txt").as_deref(), Some("a/b.txt"));
        assert_eq!(path("/group/workspace/a.txt").as_deref(), Some("a.txt"));
        for bad in [
            "/etc/passwd",
            "../a",
            "a/../../b",
            "/group/workspace",
            "/group/workspace/../AGENTS.md",
            "",
            ".",
            "/group/workspaces/a",
            "/group/AGENTS.md",
            "a\0b",
        ] {
            assert_eq!(path(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn summaries_are_short_and_on_one_line() {
        let text = "first\nsecond \u{1b}[2J".to_owned() + &"x".repeat(500);
        let summary = Wish::Reply { text }.summary();
        assert!(summary.starts_with("\"first second [2J") && summary.chars().count() <= 62, "{summary}");
    }

    proptest! {
        #[test]
        fn nothing_that_is_parsed_leaves_the_workspace(path in "[a-z./]{0,30}") {
            if let Ok(Wish::SendFile { path, .. }) = parse("chat_send_file", &json!({ "path": path })) {
                prop_assert!(path.is_relative());
                prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}
