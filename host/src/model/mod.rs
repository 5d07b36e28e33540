//! Pure states and their transitions. No I/O; imports nothing of ours but the protocol's ids.
//!
//! Each machine's diagram stands at the top of its module: [`message`], [`turn`], [`session`], [`reply`],
//! [`dead_letter`], [`question`], [`tool_call`]. Each has one function `next`, which live code and recovery share; a step
//! that it does not have is [`IllegalTransition`], and nothing is written.

pub mod action;
pub mod approval;
pub mod backoff;
pub mod button;
pub mod channel;
pub mod chat;
pub mod command;
pub mod dead_letter;
pub mod delivery;
pub mod engage;
pub mod failure;
pub mod message;
pub mod notice;
pub mod outage;
pub mod own_command;
pub mod people;
pub mod pin;
pub mod pool;
pub mod question;
pub mod reply;
pub mod said;
pub mod session;
pub mod setting;
pub mod stand;
pub mod tool_call;
pub mod turn;

/// A state machine was asked for a step that it does not have. A bug of ours, never of a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{machine} in state {state} cannot take '{event}'")]
pub struct IllegalTransition {
    /// Which machine.
    pub machine: &'static str,
    /// The state it was in.
    pub state: String,
    /// The event that it was given.
    pub event: String,
}

/// Implements the text form of a state that is kept in SQL.
macro_rules! sql_state {
    ($name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        impl $name {
            /// Every one, as in SQL's CHECK.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The state's name in SQL.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The state with this name in SQL.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use sql_state;

#[cfg(test)]
mod reference;
