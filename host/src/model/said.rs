//! What was said in a chat.

use cofferdam_protocol::ids::{MessageId, ReplyId};

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// By whom.
    pub by: By,
    /// When, ms since 1970.
    pub at: i64,
    /// What; may be cut at its end.
    pub text: String,
}

/// Who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// A person.
    Person(MessageId, String),
    /// The agent.
    Agent(ReplyId),
}
