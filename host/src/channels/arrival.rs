//! What channels hand in.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::model::chat::{ChatKind, ChatRef};

/// Something that somebody did on a platform: wrote a message, changed one, or pressed a button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Where.
    pub chat: ChatRef,
    /// What sort of chat that is.
    pub kind: ChatKind,
    /// The chat's name, for people.
    pub title: Option<String>,
    /// The platform's id of the message or of the press, by which a repeated one is known. Of a change: the message's.
    pub platform_id: String,
    /// Who.
    pub sender: Sender,
    /// What they did.
    pub content: Content,
}

/// Who wrote, as the platform says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The platform's id of the user: stable, and nobody else's.
    pub id: String,
    /// How they call themselves; says nothing about who they are.
    pub name: String,
}

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Wrote.
    Message(Written),
    /// Changed what they wrote to this. While nobody has read it, its text is replaced; else this is too late, and nothing
    /// happens.
    Edit(Written),
    /// Pressed a button of a message of ours; what we put behind it, as it came back: hostile until it is looked up.
    Press(String),
}

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The text; a caption, when there are only files.
    pub text: String,
    /// One line of somebody else's words that it answers, where the platform shows them. None of the sender's own: nothing is
    /// decided by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// Whether it speaks to the bot: by name, in answer to it, or as a command. In a direct chat everything does.
    pub addressed: bool,
    /// What came with it; still on the platform.
    pub files: Vec<Offered>,
    /// JSON Schema that the answer must follow.
    pub output_schema: Option<String>,
}

/// A file on the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// Its name there; not safe yet.
    pub name: String,
    /// Its size in bytes, as far as the platform tells.
    pub bytes: Option<u64>,
    /// What [`Channel::fetch`](super::Channel::fetch) knows it by.
    pub reference: String,
}

/// What became of an arrival. Whatever it is, it is durable: the platform may forget the arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is in the inbox of so many groups; the answer comes as a reply.
    Accepted,
    /// It had been taken before.
    Known,
    /// It was dropped, and the drop counted with this reason.
    Dropped(&'static str),
    /// It was for Cofferdam itself, and this is the answer, in a few words for whoever pressed. A message's answer comes as
    /// a reply too.
    Done(String),
}

/// Why an arrival was not taken: nothing of it is kept. It is to be handed in again, a little later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// So much of this chat waits that no more is taken; other chats go on.
    #[error("{0} messages of this conversation wait already")]
    Full(u64),
    /// The store, or a file's way, failed.
    #[error("{0}")]
    Failed(String),
}

/// What a channel hands arrivals to, and where it keeps how far it has read.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Takes an arrival durably, or knows that it was taken before. After an error it is to be handed in again. Arrivals of
    /// one chat are handed in one after the other; those of different chats may be at once. Who writes too fast is not waited
    /// for here: their messages wait on the disk.
    async fn take(&self, arrival: Arrival) -> Result<Taken, NotTaken>;

    /// So much of the arrival's chat waits to be taken that the channel keeps no more of it: it is dropped, counted, and the
    /// first of a row is told of in the chat. After an error the channel waits, and offers it again.
    async fn overflow(&self, arrival: Arrival, first: bool) -> Result<(), NotTaken>;

    /// Somebody was turned away before there was an arrival: counted as a drop with this reason. The chat is where they tried.
    async fn refused(&self, _chat: &str, _reason: &'static str) {}

    /// A chat that was [`SendError::Absent`](super::SendError::Absent) can be reached.
    async fn present(&self, chat: ChatRef);

    /// A chat has another id from now on: everything of it, also what is handed in under the old id, is of the new one. Durable
    /// when it is answered; after an error it is to be told again, and telling it twice does no harm. May be called
    /// while a reply is handed over.
    async fn moved(&self, _from: &str, _to: &str) -> Result<(), NotTaken> {
        Ok(())
    }

    /// How far the channel has read, as it said itself with [`Intake::keep_cursor`].
    async fn cursor(&self) -> Result<Option<String>, NotTaken>;

    /// Keeps durably how far the channel has read. Everything before it was taken.
    async fn keep_cursor(&self, cursor: String) -> Result<(), NotTaken>;
}
