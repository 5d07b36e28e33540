//! Chat platforms. A channel hands in what people do and takes replies; it knows nothing of groups, sessions or containers,
//! and nothing outside this room knows a platform's name.
//!
//! - [`arrival`]: what a channel hands in, and to whom. - [`piece`]: a reply in messages of the platform.
//! - [`state`]: how a channel stands, and how it comes back. - [`pace`]: what its platform allows.
//! - [`markup`]: an agent's Markdown in messages. - [`terminal`]: people at the admin socket. - [`telegram`]: a Telegram bot.
//! - [`exec`]: any program that speaks our lines. - [`http`]: programs over HTTP.

pub mod arrival;
pub mod exec;
pub mod http;
pub mod markup;
pub mod pace;
mod parked;
pub mod piece;
#[cfg(feature = "test-hooks")]
pub mod platform;
mod registry;
mod shown;
mod socket;
pub mod state;
mod stuck;
pub mod telegram;
pub mod terminal;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cofferdam_protocol::ids::TurnId;
use tokio::io::AsyncWrite;
use tokio_util::sync::CancellationToken;

pub use crate::model::action::Abilities;
use crate::model::action::Action;
use crate::model::chat::ChatRef;
use crate::model::reply::Outbound;
pub use arrival::{Arrival, Content, Intake, NotTaken, Offered, Sender, Taken, Written};
pub use pace::{Pace, Rate, Room, Showing};
pub use parked::Parked;
pub use piece::{Piece, Receipt};
pub use registry::Channels;
pub use shown::Shown;
pub use state::{Pauses, Standing, State};

/// Who writes on a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// People, and whoever says so.
    People,
    /// Programs, each let in by a secret that somebody gave it for one group: nobody is asked about them, and their channel
    /// bounds their calls, so they have no pace.
    Programs,
}

/// A chat platform's adapter. One value is one channel of the home: a bot, a server, a program.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Its name in wirings.
    fn name(&self) -> &str;

    /// What it can do besides showing text. An action that it lacks is not asked of it; a question comes all the same,
    /// its text with the options as a list.
    fn abilities(&self) -> Abilities;

    /// Who it is at its platform, by the platform's id, where that numbers messages anew for each: so that one channel's name is
    /// never given to two.
    fn identity(&self) -> Option<String> {
        None
    }

    /// Who writes there.
    fn writers(&self) -> Writers {
        Writers::People
    }

    /// How it stands.
    fn state(&self) -> State {
        State::Connected
    }

    /// Takes in what people do, until `stop`; comes back by itself when its platform was away. Replies are handed over also
    /// before and after. Ends early only when it [`State::Stopped`].
    async fn run(&self, _intake: Arc<dyn Intake>, stop: CancellationToken) {
        stop.cancelled().await;
    }

    /// Lets go of its platform, after the last reply was handed over.
    async fn close(&self) {}

    /// Whether [`Channel::test`] works before the channel runs: it is tried before it is kept.
    fn tests_alone(&self) -> bool {
        true
    }

    /// Whether [`Channel::test`] may run beside another value of the same channel that runs; else that one is ended before.
    fn tests_beside(&self) -> bool {
        true
    }

    /// Asks its platform whether all is well; answers who the channel is there, for people.
    async fn test(&self) -> Result<String, SendError> {
        Ok("nothing to test".to_owned())
    }

    /// Whether somebody is there to take a chat's replies. When that is no, the replies wait without being tried, and
    /// the channel nudges delivery once it is yes.
    fn is_there(&self, _chat: &ChatRef) -> bool {
        true
    }

    /// How fast its platform takes what is sent and shown. Delivery and progress keep to it together.
    fn pace(&self) -> Pace {
        Pace::UNLIMITED
    }

    /// How fast one chat takes replies, where its platform tells kinds of chats apart; else as [`Channel::pace`] has it.
    fn chat_rate(&self, _chat: &ChatRef) -> Rate {
        self.pace().chat
    }

    /// How long handing a piece over may take. What takes longer is given up, in doubt whether the platform has it,
    /// and sent again.
    fn patience(&self, reply: &Outbound) -> Duration {
        usual_patience(reply)
    }

    /// A reply in messages that the platform takes, in their order; at least one. The same for the same reply at every try
    /// and after every restart: which of them the platform has is known by their places.
    fn pieces(&self, _reply: &Outbound) -> Vec<Piece> {
        vec![Piece::Whole]
    }

    /// Hands a piece of a reply over: as a new message, or by changing the message `onto`, which has that id on the platform
    /// (from an earlier [`Receipt`] or from [`Channel::progress`]). The piece comes with its place among the reply's pieces,
    /// from 0. `Ok` means that the platform has it. Called for one piece of a chat at a time, and for many chats at once. May be
    /// dropped at any await.
    async fn send(
        &self,
        reply: &Outbound,
        piece: (usize, &Piece),
        onto: Option<&str>,
    ) -> Result<Receipt, SendError>;

    /// Shows the chat what a turn does: a typing mark, and one message that is changed, and that goes away at the turn's end
    /// unless a reply takes its place. `shown` is that message's id on the platform, if there is one; answers which there is now.
    /// Called at most once in [`Channel::progress_pace`], and every few seconds when nothing changed, so that a typing mark can
    /// be renewed. A hint: it may be dropped, and an error costs nothing but the display, which pauses when that says so. What goes
    /// to a platform that has a pace asks for `room` before each call; only what takes the display away at the end does not.
    async fn progress(
        &self,
        _chat: &ChatRef,
        _progress: &Progress,
        _shown: Option<&str>,
        _room: &dyn Room,
    ) -> Result<Option<String>, SendError> {
        Ok(None)
    }

    /// The least time between two changes of what a turn shows in this chat: what platforms allow for one chat.
    fn progress_pace(&self, _chat: &ChatRef) -> Duration {
        Duration::from_secs(1)
    }

    /// Writes a file that came with a message, at most so many bytes; answers how many there were.
    async fn fetch(
        &self,
        _file: &Offered,
        _into: &mut (dyn AsyncWrite + Send + Unpin),
        _most: u64,
    ) -> Result<u64, SendError> {
        Err(SendError::Refused { why: "this channel has no files".to_owned() })
    }
}

/// Why no channel can be made of its settings; for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSettings(pub String);

/// What a turn does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The turn.
    pub turn: TurnId,
    /// How it stands.
    pub status: Status,
    /// The message that the turn answers, by the platform's id: for a channel that marks that, while nothing is shown yet.
    pub reply_to: Option<String>,
}

/// How a turn stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Working {
        /// The status in words. Its first line stands for itself where there is room for one only.
        status: String,
        /// The answer as far as it is written, in Markdown; empty before it begins. It may begin anew.
        draft: String,
    },
    /// It ended: nothing is to be shown any more.
    Ended,
}

/// Why a channel did not take a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nobody is there to take it; the channel nudges delivery when somebody is. Waits without end.
    #[error("nobody is connected")]
    Absent,
    /// The platform did not take it and may take it later, such as after a rate limit or a broken connection. Tried a
    /// bounded number of times.
    #[error("{why}")]
    Later {
        /// What the platform said, for people.
        why: String,
        /// The pause that it asked for.
        after: Option<Duration>,
        /// The pause is for everything that goes there, not for this chat alone.
        whole_channel: bool,
    },
    /// The platform will never take it, such as for a chat that is gone. Not tried again.
    #[error("{why}")]
    Refused {
        /// What the platform said, for people.
        why: String,
    },
    /// The platform may have it: the connection broke after it was written, or the answer cannot be read. Sent again,
    /// with the same key.
    #[error("{why}")]
    Doubt {
        /// What happened, for people.
        why: String,
    },
}

impl SendError {
    /// Not now, for this chat.
    pub fn later(why: impl Into<String>, after: Option<Duration>) -> Self {
        Self::Later { why: why.into(), after, whole_channel: false }
    }
}

/// The time that a platform gets for a reply: a minute, as most HTTP clients wait for an answer, and for a file what its
/// bytes take over a slow line (256 KiB a second) on top.
fn usual_patience(reply: &Outbound) -> Duration {
    const ANSWER: Duration = Duration::from_secs(60);
    const SLOW_LINE: u64 = 256 * 1024;
    match &reply.action {
        Some(Action::File(file)) => ANSWER + Duration::from_secs(file.bytes / SLOW_LINE),
        _ => ANSWER,
    }
}
