//! What a chat shows, for tests to look at.

use serde_json::{Value, json};

/// A part of a text that is more than text; offsets and lengths in UTF-16 units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// In Telegram's words, such as `bold`.
    pub kind: String,
    /// Where it begins.
    pub offset: usize,
    /// How long it is.
    pub length: usize,
    /// A link's address, a code's language.
    pub detail: Option<String>,
}

/// A file in a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// `document`, `photo`, `voice`, …
    pub kind: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What Telegram knows it by.
    pub id: String,
    /// Its size in bytes.
    pub bytes: usize,
}

/// A button below a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// What is on it.
    pub label: String,
    /// What is behind it.
    pub data: String,
}

/// A message as its chat shows it now.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its number in the chat.
    pub id: i64,
    /// Whether the bot wrote it.
    pub by_bot: bool,
    /// The topic that it is in.
    pub thread: Option<i64>,
    /// Its text, or its file's caption, as people read it.
    pub text: String,
    /// What of the text is what.
    pub entities: Vec<Entity>,
    /// Its file.
    pub file: Option<File>,
    /// Its buttons, row by row.
    pub buttons: Vec<Vec<Button>>,
    /// How often it was changed.
    pub edits: usize,
    /// Whether links may be shown with a picture of what is behind them.
    pub previews: bool,
    /// Which message it answers.
    pub reply_to: Option<i64>,
    /// The bot's reactions.
    pub reactions: Vec<String>,
    /// Too old to be changed or taken away.
    pub(crate) old: bool,
    /// As it is in updates.
    pub(crate) json: Value,
}

impl Message {
    /// Whether some of its text is of this kind, such as `bold`.
    pub fn has(&self, kind: &str) -> bool {
        self.entities.iter().any(|entity| entity.kind == kind)
    }

    /// All its buttons.
    pub fn all_buttons(&self) -> Vec<&Button> {
        self.buttons.iter().flatten().collect()
    }

    pub(crate) fn entities_json(&self) -> Value {
        let entity =
            |entity: &Entity| json!({"type": entity.kind, "offset": entity.offset, "length": entity.length});
        self.entities.iter().map(entity).collect()
    }

    pub(crate) fn keyboard_json(&self) -> Value {
        let button = |button: &Button| json!({"text": button.label, "callback_data": button.data});
        let rows: Vec<Vec<Value>> = self.buttons.iter().map(|row| row.iter().map(button).collect()).collect();
        json!({"inline_keyboard": rows})
    }
}
