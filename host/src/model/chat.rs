//! Where people write.

use std::fmt;

use cofferdam_protocol::ids::Folder;
use serde::{Deserialize, Serialize};

/// One conversation on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChatRef {
    /// The channel's name.
    pub channel: String,
    /// The platform's id of the chat.
    pub chat_id: String,
    /// The platform's id of a thread in it.
    pub thread_id: Option<String>,
}

impl fmt::Display for ChatRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.channel, self.chat_id)?;
        match &self.thread_id {
            Some(thread) => write!(f, "#{thread}"),
            None => Ok(()),
        }
    }
}

/// A chat that its platform gave another id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The channel.
    pub channel: String,
    /// The id that it had.
    pub from: String,
    /// The id that it has.
    pub to: String,
}

impl Move {
    /// What a message of before is known by from then on: in a chat with another id the platform numbers anew.
    pub fn message(&self, platform_id: &str) -> String {
        format!("{}/{platform_id}", self.from)
    }

    /// The key from then on of a session that has this one; none: it is not the chat's own.
    pub fn session_key(&self, key: &str) -> Option<String> {
        let chat = |id: &str| format!("{}/{}", part(&self.channel), part(id));
        let (old, new) = (chat(&self.from), chat(&self.to));
        if key.strip_prefix("chat/") == Some(&old) {
            return Some(format!("chat/{new}"));
        }
        let thread = key.strip_prefix("thread/")?.strip_prefix(&old)?.strip_prefix('/')?;
        Some(format!("thread/{new}/{thread}"))
    }
}

/// A part of a session's key. Lengths make the parts unambiguous whatever characters a platform's ids have.
fn part(text: &str) -> String {
    format!("{}:{text}", text.len())
}

/// What sort of chat it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatKind {
    /// One person and the bot.
    Direct,
    /// Several people and the bot.
    Group,
}

super::sql_state!(ChatKind { Direct = "direct", Group = "group" });

/// A chat of a group with replies that may be due. A hint: the rows are the truth.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Due {
    /// The group whose outbox it is.
    pub folder: Folder,
    /// The chat.
    pub chat: ChatRef,
}

/// A message as a channel hands it in.
#[derive(Debug, Clone)]
pub struct Inbound {
    /// Where it was written.
    pub chat: ChatRef,
    /// The platform's id of the message, by which a repeated one is known.
    pub platform_id: String,
    /// Who wrote it, as the channel names them.
    pub sender: String,
    /// The platform's id of who wrote it, where it has one.
    pub sender_id: Option<String>,
    /// What they wrote.
    pub text: String,
    /// What of somebody else's words it answers: shown before the text, and no part of what is looked for in it.
    pub quote: Option<String>,
    /// JSON Schema that the answer must follow.
    pub output_schema: Option<String>,
    /// What they sent with it; it lies in the workspace already.
    pub files: Vec<Attachment>,
}

impl Inbound {
    /// The text as it is read, with what it answers before it.
    pub fn whole(&self) -> String {
        quoting(self.quote.as_deref(), &self.text)
    }
}

/// A text behind a line of what it answers.
pub fn quoting(quote: Option<&str>, text: &str) -> String {
    match quote {
        Some(quote) => format!("> {quote}\n{text}"),
        None => text.to_owned(),
    }
}

/// What a line about a file that could not be taken begins with, behind a message's text.
pub const FILE_NOTE: &str = "\n[the file ";

/// A file that came with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its name, made safe.
    pub name: String,
    /// Where it is, below the workspace.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether a model can look at it as an image.
    pub image: bool,
}

/// Which messages of a wiring share a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionMode {
    /// One session for the chat, whatever the thread.
    Shared,
    /// One session for each thread of the chat.
    PerThread,
    /// One session for the whole group.
    Group,
}

super::sql_state!(SessionMode { Shared = "shared", PerThread = "per-thread", Group = "group" });

impl SessionMode {
    /// The key of the session that a message in `chat` belongs to; unique within a group.
    pub fn session_key(self, chat: &ChatRef) -> String {
        match self {
            Self::Group => "group".to_owned(),
            Self::Shared => format!("chat/{}/{}", part(&chat.channel), part(&chat.chat_id)),
            Self::PerThread => {
                let thread = chat.thread_id.as_deref().map_or_else(|| "-".to_owned(), part);
                format!("thread/{}/{}/{thread}", part(&chat.channel), part(&chat.chat_id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chat(chat_id: &str, thread: Option<&str>) -> ChatRef {
        ChatRef { channel: "t".into(), chat_id: chat_id.into(), thread_id: thread.map(Into::into) }
    }

    #[test]
    fn a_shared_session_ignores_the_thread() {
        let mode = SessionMode::Shared;
        assert_eq!(mode.session_key(&chat("a", None)), mode.session_key(&chat("a", Some("x"))));
        assert_ne!(mode.session_key(&chat("a", None)), mode.session_key(&chat("b", None)));
    }

    proptest! {
        #[test]
        fn a_moved_chats_sessions_have_the_keys_that_its_new_id_makes_and_no_others_are_touched(
            from in ".{0,8}", to in ".{0,8}", other in ".{0,8}", thread in proptest::option::of(".{0,8}"),
        ) {
            let moved = Move { channel: "t".into(), from: from.clone(), to: to.clone() };
            for mode in [SessionMode::Shared, SessionMode::PerThread] {
                let of = |id: &str| mode.session_key(&chat(id, thread.as_deref()));
                prop_assert_eq!(moved.session_key(&of(&from)), Some(of(&to)));
                if other != from {
                    prop_assert_eq!(moved.session_key(&of(&other)), None);
                }
            }
            prop_assert_eq!(moved.session_key("group"), None);
        }

        #[test]
        fn different_threads_never_share_a_session(
            a in ".{0,8}", b in ".{0,8}", x in proptest::option::of(".{0,8}"), y in proptest::option::of(".{0,8}"),
        ) {
            let (one, two) = (chat(&a, x.as_deref()), chat(&b, y.as_deref()));
            let same = SessionMode::PerThread.session_key(&one) == SessionMode::PerThread.session_key(&two);
            prop_assert_eq!(same, one == two);
        }
    }
}
