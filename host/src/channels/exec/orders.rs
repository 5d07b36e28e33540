//! The lines that the host writes, as docs/channels/exec.md has them.

use serde::Serialize;
use serde_json::{Map, Value};

/// What the host writes. It is never shown: the first line has the secrets.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ToProgram<'a> {
    Start {
        protocol: u32,
        channel: &'a str,
        settings: &'a Map<String, Value>,
        secrets: &'a Map<String, Value>,
        cursor: Option<&'a str>,
        state_dir: &'a str,
    },
    Taken {
        id: &'a str,
        chat: &'a str,
        text: Option<&'a str>,
    },
    Send(Sending<'a>),
    Progress(Working<'a>),
    Fetch {
        call: u64,
        reference: &'a str,
        path: &'a str,
        most: u64,
    },
    Test {
        call: u64,
    },
    Stop {},
}

impl ToProgram<'_> {
    /// As a line with its end.
    pub(super) fn line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// One message for a chat.
#[derive(Serialize)]
pub(super) struct Sending<'a> {
    pub(super) call: u64,
    pub(super) chat: &'a str,
    pub(super) thread: Option<&'a str>,
    pub(super) key: &'a str,
    pub(super) kind: &'a str,
    pub(super) text: &'a str,
    pub(super) plain: Option<&'a str>,
    pub(super) onto: Option<&'a str>,
    pub(super) reply_to: Option<&'a str>,
    pub(super) gone: bool,
    pub(super) buttons: Option<Vec<Button<'a>>>,
    pub(super) file: Option<FileLine<'a>>,
    pub(super) react: Option<React<'a>>,
}

#[derive(Serialize)]
pub(super) struct Button<'a> {
    pub(super) label: &'a str,
    pub(super) data: &'a str,
}

#[derive(Serialize)]
pub(super) struct FileLine<'a> {
    pub(super) name: &'a str,
    pub(super) path: &'a str,
    pub(super) bytes: u64,
    pub(super) caption: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct React<'a> {
    pub(super) message: &'a str,
    pub(super) emoji: &'a str,
}

/// What a turn does.
#[derive(Serialize)]
pub(super) struct Working<'a> {
    pub(super) call: u64,
    pub(super) chat: &'a str,
    pub(super) thread: Option<&'a str>,
    pub(super) turn: i64,
    pub(super) status: &'a str,
    pub(super) draft: &'a str,
    pub(super) shown: Option<&'a str>,
    pub(super) reply_to: Option<&'a str>,
    pub(super) ended: bool,
}
