//! The life of something that waits for a person's decision.
//!
//! ```text
//!         ┌─approve─▶ approved
//!  ask ─▶ open ─deny─▶ denied
//!         └─expire─▶ expired    (its time is over; nothing is allowed)
//! ```

use serde::{Deserialize, Serialize};

use super::IllegalTransition;

/// How long an approval waits, ms: a week, as people are away over weekends and holidays.
pub const WAITS: i64 = 7 * 24 * 60 * 60 * 1000;

/// The most that wait at once for all chats. More would be somebody's flood.
pub const MOST_OPEN: u64 = 50;

/// The most of these that one sender asked for: who has more to ask waits for the first answers, and others come to word.
pub const MOST_OPEN_OF_ONE: u64 = 3;

/// The most messages that are held for one.
pub const MOST_HELD: u64 = 20;

/// Where an approval is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalState {
    /// Waits.
    Open,
    /// Somebody allowed it.
    Approved,
    /// Somebody did not.
    Denied,
    /// Nobody said anything in time.
    Expired,
}

super::sql_state!(ApprovalState { Open = "open", Approved = "approved", Denied = "denied", Expired = "expired" });

/// What happens to an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalEvent {
    /// It is allowed.
    Approve,
    /// It is not.
    Deny,
    /// Its time is over.
    Expire,
}

impl ApprovalState {
    /// The state after `event`.
    pub fn next(self, event: ApprovalEvent) -> Result<Self, IllegalTransition> {
        match (self, event) {
            (Self::Open, ApprovalEvent::Approve) => Ok(Self::Approved),
            (Self::Open, ApprovalEvent::Deny) => Ok(Self::Denied),
            (Self::Open, ApprovalEvent::Expire) => Ok(Self::Expired),
            _ => Err(IllegalTransition {
                machine: "approval",
                state: format!("{self:?}"),
                event: format!("{event:?}"),
            }),
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalKind {
    /// A chat that nobody wired speaks to the bot: which group is it for?
    Wiring,
    /// Somebody whom nobody knows writes in a wired chat: may they?
    Sender,
}

super::sql_state!(ApprovalKind { Wiring = "wiring", Sender = "sender" });

/// The word by which everything is refused.
pub const DENY: &str = "deny";

/// Behind a group's name, where a chat with others is wired: everybody in it may write.
pub const EVERYBODY: &str = ":all";

/// An answer that an approval takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What a button or a command says: a group's folder, a role, or [`DENY`].
    pub word: String,
    /// What people read.
    pub label: String,
}

#[cfg(test)]
mod tests {
    use super::super::reference::Reference;
    use super::ApprovalEvent::{Approve, Deny, Expire};
    use super::ApprovalState::{Approved, Denied, Expired, Open};
    use super::*;

    #[test]
    fn an_approval_is_decided_once() {
        let reference = Reference {
            machine: "approval",
            start: Open,
            states: ApprovalState::ALL.to_vec(),
            events: vec![Approve, Deny, Expire],
            edges: vec![(Open, Approve, Approved), (Open, Deny, Denied), (Open, Expire, Expired)],
            ends: vec![Approved, Denied, Expired],
            revivals: vec![],
        };
        reference.holds(ApprovalState::next);
    }
}
