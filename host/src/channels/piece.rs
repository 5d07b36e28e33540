//! A reply in the messages that a platform takes.

/// One message of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The reply as it is: its action, or its text.
    Whole,
    /// Text: in the platform's markup, and the same in plain words for when that is refused.
    Text {
        /// In the platform's markup.
        markup: String,
        /// In plain words.
        plain: String,
    },
    /// What is too long for a message, such as a code block.
    File {
        /// Its name, safe for any file system.
        name: String,
        /// What is in it.
        content: String,
    },
    /// Nothing: the message that stood there goes away.
    Gone,
}

/// What the platform said of a message that it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The platform's id of the message, by which it can be changed; none when it has none.
    pub id: Option<String>,
}

impl Receipt {
    /// The platform gives no ids.
    pub const NONE: Self = Self { id: None };

    /// The platform's id.
    pub fn of(id: impl Into<String>) -> Self {
        Self { id: Some(id.into()) }
    }
}
