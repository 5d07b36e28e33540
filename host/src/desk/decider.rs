//! Who decides on what waits, and why nothing was decided.

use cofferdam_protocol::ids::{Folder, WaitingId};

use crate::model::people::Act;
use crate::router::MAX_MESSAGE_BYTES;
use crate::store::StoreError;
use crate::store::people::Known;

/// Who decides.
#[derive(Debug, Clone)]
pub enum Decider {
    /// Whoever has the host.
    Host,
    /// A person on a platform.
    Person {
        /// How they are called.
        name: String,
        /// What they may.
        known: Known,
    },
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// There is none.
    #[error("there is no {}", .0.named())]
    Unknown(WaitingId),
    /// It was decided.
    #[error("{} is over: {how}", .id.named())]
    Before {
        /// Which.
        id: WaitingId,
        /// How it ended, and by whom.
        how: String,
    },
    /// That is none of its answers.
    #[error("{} does not take '{word}'; it takes {}", .id.named(), takes.join(", "))]
    Word {
        /// Which.
        id: WaitingId,
        /// What was said.
        word: String,
        /// What it takes.
        takes: Vec<String>,
    },
    /// What was chosen is gone; another choice may do.
    #[error("the group '{group}' is not here any more; {} takes {}", .id.named(), takes.join(", "))]
    Gone {
        /// Which.
        id: WaitingId,
        /// What was chosen.
        group: String,
        /// What it takes else.
        takes: Vec<String>,
    },
    /// The message that decides has decided before.
    #[error("this message has decided already")]
    Said,
    /// A plain yes or no is no answer to it.
    #[error("{} takes an answer: {takes}", .id.named())]
    Unsaid {
        /// Which.
        id: WaitingId,
        /// What it takes, in words.
        takes: String,
    },
    /// The answer is longer than any message.
    #[error("the answer to {} is over {MAX_MESSAGE_BYTES} bytes", .0.named())]
    TooLong(WaitingId),
    /// Not theirs to decide.
    #[error("deciding on {} takes the role admin", .0.named())]
    Role(WaitingId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Decider {
    /// Whether they may decide on what is about a group; none: about all of them.
    pub(super) fn may(&self, folder: Option<&Folder>) -> bool {
        match self {
            Self::Host => true,
            Self::Person { known, .. } => {
                let role = match folder {
                    Some(folder) => known.role(folder),
                    None => known.everywhere(),
                };
                role.is_some_and(|role| role.may(Act::Decide))
            }
        }
    }

    /// How they are called.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Host => "the host".to_owned(),
            Self::Person { name, .. } => name.clone(),
        }
    }
}
