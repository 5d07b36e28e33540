//! Who may do what.

use super::chat::ChatKind;

/// What a person may do, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Writes to the agent, and asks how it stands.
    Guest,
    /// Steers their conversation too.
    Member,
    /// Chooses what it costs, and decides on approvals, in all groups or in one.
    Admin,
    /// Everything.
    Owner,
}

super::sql_state!(Role { Guest = "guest", Member = "member", Admin = "admin", Owner = "owner" });

/// What becomes of somebody whom nobody knows, in a chat that is wired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnknownPolicy {
    /// Their messages are dropped.
    Drop,
    /// An approver is asked; their messages are held until then.
    Ask,
    /// They are guests.
    Public,
}

super::sql_state!(UnknownPolicy { Drop = "drop", Ask = "ask", Public = "public" });

impl UnknownPolicy {
    /// Where nobody said otherwise.
    pub fn of(kind: ChatKind) -> Self {
        match kind {
            ChatKind::Direct => Self::Ask,
            ChatKind::Group => Self::Drop,
        }
    }
}

/// What somebody asks for, as far as roles tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// Writing to the agent; answering its questions.
    Write,
    /// `/help`, `/status`.
    Look,
    /// `/stop`, `/clear`, `/compact`.
    Steer,
    /// `/model`, `/effort`, `/account`.
    Choose,
    /// `/approve`, `/deny`, and the buttons of approvals.
    Decide,
}

impl Act {
    /// The least role that may.
    pub fn needs(self) -> Role {
        match self {
            Self::Write | Self::Look => Role::Guest,
            Self::Steer => Role::Member,
            Self::Choose | Self::Decide => Role::Admin,
        }
    }
}

impl Role {
    /// Whether it may.
    pub fn may(self, act: Act) -> bool {
        self >= act.needs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_those_below_it_may_and_more() {
        use Act::{Choose, Decide, Look, Steer, Write};
        let may = |role: Role| [Write, Look, Steer, Choose, Decide].map(|act| role.may(act));
        assert_eq!(may(Role::Guest), [true, true, false, false, false]);
        assert_eq!(may(Role::Member), [true, true, true, false, false]);
        assert_eq!(may(Role::Admin), [true; 5]);
        assert_eq!(may(Role::Owner), [true; 5]);
    }
}
