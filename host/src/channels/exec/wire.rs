//! The lines that a program writes, as docs/channels/exec.md has them. What the host writes is in [`super::orders`].

use std::fmt;

use serde::Deserialize;

/// The version of the protocol.
pub(super) const PROTOCOL: u32 = 1;
/// The most bytes of a line that the program writes.
pub(super) const LONGEST_LINE: usize = 1024 * 1024;

/// What the program writes; not looked at yet.
pub(super) enum FromProgram {
    Hello(Hello),
    State(StateLine),
    Message(Arrived),
    Press(Arrived),
    Done(Done),
    Failed(Failed),
    Present(Present),
    Log(Log),
    /// A later version's.
    Unknown(String),
}

/// Why a line is none of ours. It shows nothing of what is in the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) struct NotOurs {
    words: String,
    /// It was to hand something in, which is lost.
    pub(super) is_arrival: bool,
}

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

const NO_OBJECT: &str = r#"a line on stdout is no JSON object with a "type""#;

impl FromProgram {
    /// Reads a line.
    pub(super) fn parse(line: &[u8]) -> Result<Self, NotOurs> {
        #[derive(Deserialize)]
        struct Kind {
            r#type: String,
        }
        let Kind { r#type } =
            serde_json::from_slice(line).map_err(|_| NotOurs { words: NO_OBJECT.to_owned(), is_arrival: false })?;
        match r#type.as_str() {
            "hello" => read(line, "hello").map(Self::Hello),
            "state" => read(line, "state").map(Self::State),
            "message" => read(line, "message").map(Self::Message),
            "press" => read(line, "press").map(Self::Press),
            "done" => read(line, "done").map(Self::Done),
            "failed" => read(line, "failed").map(Self::Failed),
            "present" => read(line, "present").map(Self::Present),
            "log" => read(line, "log").map(Self::Log),
            _ => Ok(Self::Unknown(r#type)),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(line: &'a [u8], what: &str) -> Result<T, NotOurs> {
    let mut json = serde_json::Deserializer::from_slice(line);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        // What is missing is named in our words; everything else may be in the program's.
        let said = error.inner().to_string();
        let missing = said.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let words = match missing {
            Some(field) => format!("a `{what}` line lacks `{field}`"),
            None => format!("a `{what}` line is wrong at `{}`", error.path()),
        };
        NotOurs { words, is_arrival: matches!(what, "message" | "press") }
    })
}

#[derive(Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: u32,
    #[serde(default)]
    pub(super) abilities: Abilities,
    pub(super) text: Text,
    #[serde(default)]
    pub(super) pace: Pace,
    #[serde(default)]
    pub(super) answer_ms: Option<u64>,
    #[serde(default)]
    pub(super) who: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Abilities {
    pub(super) files: bool,
    pub(super) threads: bool,
    pub(super) edit: bool,
    pub(super) react: bool,
    pub(super) buttons: bool,
    pub(super) progress: bool,
    pub(super) replies: bool,
    pub(super) idempotent: bool,
}

#[derive(Deserialize)]
pub(super) struct Text {
    pub(super) markup: Markup,
    pub(super) limit: u64,
    pub(super) measure: MeasureName,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Markup {
    Plain,
    Markdown,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum MeasureName {
    Bytes,
    Chars,
    Utf16,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Pace {
    pub(super) chat_ms: u64,
    pub(super) chat_burst: Option<u32>,
    pub(super) all_ms: u64,
    pub(super) all_burst: Option<u32>,
    pub(super) at_once: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct StateLine {
    pub(super) state: StateName,
    #[serde(default)]
    pub(super) why: String,
    /// When a waiting program tries again, from now.
    #[serde(default)]
    pub(super) again_ms: u64,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum StateName {
    Connecting,
    Connected,
    Waiting,
    Stopped,
}

/// What somebody did, and where: a message has a text, a press has data.
#[derive(Deserialize)]
pub(super) struct Arrived {
    pub(super) id: String,
    pub(super) chat: String,
    #[serde(default)]
    pub(super) thread: Option<String>,
    pub(super) kind: Kind,
    #[serde(default)]
    pub(super) title: Option<String>,
    pub(super) sender: Sender,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) data: Option<String>,
    #[serde(default)]
    pub(super) addressed: bool,
    /// The message of this id was changed to this.
    #[serde(default)]
    pub(super) edit: bool,
    #[serde(default)]
    pub(super) files: Vec<OfferedFile>,
    #[serde(default)]
    pub(super) cursor: Option<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Direct,
    Group,
}

#[derive(Deserialize)]
pub(super) struct Sender {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct OfferedFile {
    pub(super) name: String,
    #[serde(default)]
    pub(super) bytes: Option<u64>,
    pub(super) reference: String,
}

#[derive(Deserialize)]
pub(super) struct Done {
    pub(super) call: u64,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) text: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Failed {
    pub(super) call: u64,
    #[serde(default)]
    pub(super) why: String,
    #[serde(default)]
    pub(super) after_ms: Option<u64>,
    pub(super) sort: Sort,
    #[serde(default)]
    pub(super) whole_channel: bool,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sort {
    Later,
    Refused,
    Doubt,
    Absent,
}

#[derive(Deserialize)]
pub(super) struct Present {
    pub(super) chat: String,
    #[serde(default)]
    pub(super) thread: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Log {
    #[serde(default)]
    pub(super) level: String,
    #[serde(default)]
    pub(super) text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &str) -> String {
        FromProgram::parse(line.as_bytes()).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_wrong_line_is_named_without_its_content() {
        assert_eq!(wrong("hush"), r#"a line on stdout is no JSON object with a "type""#);
        assert_eq!(wrong(r#"{"type":7,"x":"hush"}"#), r#"a line on stdout is no JSON object with a "type""#);
        assert_eq!(wrong(r#"{"type":"done","call":"hush"}"#), "a `done` line is wrong at `call`");
        let press = r#"{"type":"press","id":"1","chat":"c","kind":"hush","sender":{"id":"u"},"data":"d"}"#;
        assert!(!wrong(press).contains("hush"), "{}", wrong(press));
        assert_eq!(wrong(press), "a `press` line is wrong at `kind`");
        assert_eq!(wrong(r#"{"type":"failed","call":1}"#), "a `failed` line lacks `sort`");
    }

    #[test]
    fn later_versions_may_say_more() {
        assert!(matches!(FromProgram::parse(br#"{"type":"new","x":[1]}"#), Ok(FromProgram::Unknown(_))));
        let line = br##"{"type":"message","id":"1","chat":"#c","kind":"group","sender":{"id":"u","x":1},"text":"t","y":{}}"##;
        assert!(matches!(FromProgram::parse(line), Ok(FromProgram::Message(_))));
        assert!(matches!(FromProgram::parse(b"{\"type\":\"done\",\"call\":1}\r"), Ok(FromProgram::Done(_))));
    }
}
