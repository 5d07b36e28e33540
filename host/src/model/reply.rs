//! An outbound reply's life.

use cofferdam_protocol::ids::{ReplyId, TurnId};

use super::IllegalTransition;
use super::action::Action;
use super::chat::ChatRef;

/// Where a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyState {
    /// In the outbox.
    Pending,
    /// Being handed to its channel.
    Leased,
    /// Its channel has it.
    Delivered,
    /// Its channel will never take it.
    Dead,
}

super::sql_state!(ReplyState { Pending = "pending", Leased = "leased", Delivered = "delivered", Dead = "dead" });

/// What happens to a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyEvent {
    /// Delivery takes it.
    Lease,
    /// The channel took it.
    Delivered,
    /// The channel could not take it now.
    Retry,
    /// The channel will never take it.
    GiveUp,
}

impl ReplyState {
    /// The state after `event`. A lease that its holder lost (a crash) is leased again.
    pub fn next(self, event: ReplyEvent) -> Result<Self, IllegalTransition> {
        use ReplyEvent::{Delivered, GiveUp, Lease, Retry};
        match (self, event) {
            (Self::Pending | Self::Leased, Lease) => Ok(Self::Leased),
            (Self::Leased, Delivered) => Ok(Self::Delivered),
            (Self::Leased, Retry) => Ok(Self::Pending),
            (Self::Leased, GiveUp) => Ok(Self::Dead),
            _ => {
                Err(IllegalTransition { machine: "reply", state: format!("{self:?}"), event: format!("{event:?}") })
            }
        }
    }
}

/// What a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// The agent's words.
    Reply,
    /// Cofferdam's own words, such as an error notice.
    Notice,
}

super::sql_state!(ReplyKind { Reply = "reply", Notice = "notice" });

/// A reply on its way to a channel.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Its place in the outbox.
    pub id: ReplyId,
    /// Where it goes.
    pub chat: ChatRef,
    /// The turn it came from.
    pub turn: Option<TurnId>,
    /// What it is.
    pub kind: ReplyKind,
    /// The text.
    pub text: String,
    /// What the channel does instead of showing the text.
    pub action: Option<Action>,
    /// How often it was tried before.
    pub tries: i64,
}
