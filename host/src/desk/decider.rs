//! Who decides on what waits, and why nothing was decided.

use cofferdam_protocol::ids::{Folder, WaitingId};

use crate::channels::Arrival;
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
        /// How they call themselves.
        name: String,
        /// Who they are on their platform: the channel, a colon, and the platform's id.
        user: String,
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
    /// Whoever an arrival is from.
    pub(super) fn of(arrival: &Arrival, known: Known) -> Self {
        let user = format!("{}:{}", arrival.chat.channel, arrival.sender.id);
        Self::Person { name: arrival.sender.name.clone(), user, known }
    }

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

    /// Who it was, for the record: anybody may call themselves anything.
    pub(super) fn recorded(&self) -> String {
        match self {
            Self::Host => self.name(),
            Self::Person { name, user, .. } => format!("{name} ({user})"),
        }
    }
}
