//! What a program hands in, looked at: every length is bounded from here on.

use super::wire::{Arrived, Kind, OfferedFile};
use super::words::{NAME, Words};
use crate::channels::{Arrival, Content, Offered, Sender, Written};
use crate::model::chat::{ChatKind, ChatRef};

/// The most bytes of an id: of a message, a chat, a thread, a user, and of what is behind a button.
pub(super) const ID: usize = 256;
/// The most bytes of a cursor, and of what a file is known by.
const REFERENCE: usize = 4096;
/// The most files of a message that are told of. Which of them are taken is not decided here.
const FILES: usize = 32;

/// A message, and the cursor that came with it. A text that is too long is for the router to drop: it counts the drop.
pub(super) fn message(
    words: &Words,
    channel: &str,
    mut line: Arrived,
) -> Result<(Arrival, Option<String>), &'static str> {
    let text = line.text.take().ok_or("text")?;
    let cursor = line.cursor.take().map(|cursor| bounded(cursor, REFERENCE, "cursor")).transpose()?;
    let files = std::mem::take(&mut line.files);
    if files.len() > FILES {
        return Err("files");
    }
    let files = files.into_iter().map(|file| offered(words, file)).collect::<Result<_, _>>()?;
    // In a direct chat everything is for the bot.
    let addressed = line.addressed || matches!(line.kind, Kind::Direct);
    let written = Written { text, quote: None, addressed, files, output_schema: None };
    let content = if line.edit { Content::Edit(written) } else { Content::Message(written) };
    Ok((arrival(words, channel, line, content)?, cursor))
}

/// A press, and the cursor that came with it.
pub(super) fn press(
    words: &Words,
    channel: &str,
    mut line: Arrived,
) -> Result<(Arrival, Option<String>), &'static str> {
    let data = bounded(line.data.take().ok_or("data")?, ID, "data")?;
    let cursor = line.cursor.take().map(|cursor| bounded(cursor, REFERENCE, "cursor")).transpose()?;
    Ok((arrival(words, channel, line, Content::Press(data))?, cursor))
}

/// A chat of a channel.
pub(super) fn chat(channel: &str, chat: String, thread: Option<String>) -> Result<ChatRef, &'static str> {
    Ok(ChatRef {
        channel: channel.to_owned(),
        chat_id: id(chat, "chat")?,
        thread_id: thread.map(|thread| id(thread, "thread")).transpose()?,
    })
}

/// An id; which one it is, if it cannot be one.
pub(super) fn id(id: String, what: &'static str) -> Result<String, &'static str> {
    if id.is_empty() || id.chars().any(char::is_control) { Err(what) } else { bounded(id, ID, what) }
}

fn arrival(words: &Words, channel: &str, line: Arrived, content: Content) -> Result<Arrival, &'static str> {
    let sender = id(line.sender.id, "sender.id")?;
    let name = words.line(&line.sender.name, NAME);
    Ok(Arrival {
        chat: chat(channel, line.chat, line.thread)?,
        kind: match line.kind {
            Kind::Direct => ChatKind::Direct,
            Kind::Group => ChatKind::Group,
        },
        title: line.title.map(|title| words.line(&title, NAME)).filter(|title| !title.is_empty()),
        platform_id: id(line.id, "id")?,
        sender: Sender { name: if name.is_empty() { words.line(&sender, NAME) } else { name }, id: sender },
        content,
    })
}

fn offered(words: &Words, file: OfferedFile) -> Result<Offered, &'static str> {
    let reference = bounded(file.reference, REFERENCE, "files.reference")?;
    Ok(Offered { name: words.line(&file.name, ID), bytes: file.bytes, reference })
}

fn bounded(text: String, most: usize, what: &'static str) -> Result<String, &'static str> {
    if text.len() <= most { Ok(text) } else { Err(what) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::settings::Secrets;
    use super::super::wire::FromProgram;
    use super::*;

    fn take(change: impl FnOnce(&mut Value)) -> Result<(Arrival, Option<String>), &'static str> {
        let mut line = json!({
            "type": "message", "id": "1", "chat": "#c", "kind": "group", "sender": {"id": "u", "name": "U"},
            "text": "t", "files": [{"name": "a.txt", "reference": "r"}], "cursor": "9",
        });
        change(&mut line);
        match FromProgram::parse(line.to_string().as_bytes()) {
            Ok(FromProgram::Message(read)) => message(&Words::new("c", Secrets::default()), "c", read),
            _ => Err("no message"),
        }
    }

    #[test]
    fn what_is_said_in_a_direct_chat_is_said_to_the_bot() {
        for (kind, addressed) in [("group", false), ("direct", true)] {
            let (arrival, _) = take(|line| line["kind"] = kind.into()).unwrap();
            assert!(
                matches!(arrival.content, Content::Message(written) if written.addressed == addressed),
                "{kind}"
            );
        }
    }

    #[test]
    fn ids_are_bounded_and_names_are_cut() {
        assert!(take(|_| ()).is_ok());
        let long = "x".repeat(ID + 1);
        for (place, what) in [("/id", "id"), ("/chat", "chat"), ("/thread", "thread"), ("/sender/id", "sender.id")]
        {
            for wrong in [long.as_str(), "", "a\nb"] {
                let taken = take(|line| match line.pointer_mut(place) {
                    Some(at) => *at = wrong.into(),
                    None => line["thread"] = wrong.into(),
                });
                assert_eq!(taken.unwrap_err(), what);
            }
        }
        let huge = "x".repeat(REFERENCE + 1);
        assert_eq!(take(|line| line["cursor"] = huge.clone().into()).unwrap_err(), "cursor");
        assert_eq!(take(|line| line["files"][0]["reference"] = huge.into()).unwrap_err(), "files.reference");
        let file = json!({"name": "a", "reference": "r"});
        assert_eq!(take(|line| line["files"] = vec![file; FILES + 1].into()).unwrap_err(), "files");
        let (arrival, _) = take(|line| line["sender"]["name"] = "a\u{1b}b\n".repeat(400).into()).unwrap();
        assert_eq!(arrival.sender.name.chars().count(), NAME);
        assert!(!arrival.sender.name.chars().any(char::is_control));
        let (arrival, _) = take(|line| line["sender"]["name"] = " ".into()).unwrap();
        assert_eq!(arrival.sender.name, "u");
    }
}
