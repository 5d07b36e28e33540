//! An outbound reply's life.
//!
//! ```text
//!                      ┌──┐ lease (its holder lost it: a crash)
//!                      ▼  │
//!  pending ──lease──▶ leased ──delivered──▶ delivered
//!   ▲  ▲                │ │
//!   │  └─────retry──────┘ └──give up──▶ dead
//!   └───────────────revive───────────────┘  (a person has its dead letter tried again)
//! ```

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
    /// A person has it tried again.
    Revive,
}

impl ReplyState {
    /// The state after `event`. A lease that its holder lost (a crash) is leased again.
    pub fn next(self, event: ReplyEvent) -> Result<Self, IllegalTransition> {
        use ReplyEvent::{Delivered, GiveUp, Lease, Retry, Revive};
        match (self, event) {
            (Self::Pending | Self::Leased, Lease) => Ok(Self::Leased),
            (Self::Leased, Delivered) => Ok(Self::Delivered),
            (Self::Leased, Retry) | (Self::Dead, Revive) => Ok(Self::Pending),
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

/// A button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// What people read.
    pub label: String,
    /// What comes back when it is pressed; at most 64 bytes.
    pub data: String,
}

/// A reply on its way to a channel.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Its place in the outbox.
    pub id: ReplyId,
    /// What a platform knows it by when it comes again: a UUID, the same at every try and after every restart, and no
    /// other reply's of any installation, also not of one that was restored from an older copy.
    pub key: String,
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
    /// What can be answered with a press, where the channel has buttons; the text says the same in words.
    pub buttons: Vec<Labelled>,
    /// How often it was tried before.
    pub tries: i64,
    /// How often its platform may have got it before, without our knowing.
    pub doubts: i64,
    /// What its platform has of it already, piece by piece: the ids of the messages there, as far as they have one.
    pub sent: Vec<Option<String>>,
    /// The messages that it changes, by the platform's ids: those of the reply that it edits, or what its turn showed.
    pub onto: Vec<String>,
    /// The message that it answers, by the platform's id: the newest of its turn that came from its chat. None where it answers
    /// nobody's, or its channel has no such mark.
    pub reply_to: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference::Reference;
    use super::ReplyEvent as E;
    use super::ReplyState::{self, Dead, Delivered, Leased, Pending};

    const EVENTS: [E; 5] = [E::Lease, E::Delivered, E::Retry, E::GiveUp, E::Revive];

    fn reference() -> Reference<ReplyState, E> {
        Reference {
            machine: "reply",
            start: Pending,
            states: ReplyState::ALL.to_vec(),
            events: EVENTS.to_vec(),
            edges: vec![
                (Pending, E::Lease, Leased),
                (Leased, E::Lease, Leased),
                (Leased, E::Delivered, Delivered),
                (Leased, E::Retry, Pending),
                (Leased, E::GiveUp, Dead),
                (Dead, E::Revive, Pending),
            ],
            ends: vec![Delivered, Dead],
            revivals: vec![E::Revive],
        }
    }

    #[test]
    fn a_reply_has_these_steps_and_no_others() {
        reference().holds(ReplyState::next);
    }

    proptest! {
        #[test]
        fn a_reply_follows_its_reference(events in proptest::collection::vec(0..EVENTS.len(), 1..60)) {
            reference().follows(&events, ReplyState::next);
        }

        /// What was delivered is never handed over again, and nothing is delivered that was not leased.
        #[test]
        fn a_reply_is_delivered_at_most_once(events in proptest::collection::vec(0..EVENTS.len(), 1..60)) {
            let (mut state, mut leased, mut delivered) = (Pending, false, 0);
            for event in events.into_iter().map(|at| EVENTS[at]) {
                let Ok(next) = state.next(event) else { continue };
                prop_assert_eq!(delivered, 0, "{:?} after its delivery", event);
                prop_assert!(event != E::Delivered || leased);
                leased = event == E::Lease;
                delivered += u32::from(event == E::Delivered);
                state = next;
            }
            prop_assert_eq!(delivered, u32::from(state == Delivered));
        }
    }
}
