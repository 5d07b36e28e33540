//! What stands behind a button: at most 64 bytes, which every platform takes. It comes back from a platform, so it is hostile until
//! what it names was looked up.

use cofferdam_protocol::ids::{Folder, QuestionId};
use sha2::{Digest, Sha256};

/// A button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Button {
    /// An option of a question of an agent.
    Option {
        /// Which group's agent asks; see [`tag`].
        group: String,
        /// The question.
        question: QuestionId,
        /// The option's place, from 0.
        option: usize,
    },
    /// A choice of an approval.
    Choice {
        /// The approval.
        approval: i64,
        /// The choice's place, from 0.
        choice: usize,
    },
}

/// What tells a group in a button: eight hexadecimal digits, as names may be too long.
pub fn tag(folder: &Folder) -> String {
    Sha256::digest(folder.as_str()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

impl Button {
    /// The button as a platform keeps it.
    pub fn data(&self) -> String {
        match self {
            Self::Option { group, question, option } => format!("q:{group}:{}:{option}", question.0),
            Self::Choice { approval, choice } => format!("a:{approval}:{choice}"),
        }
    }

    /// The button that a platform gave back; none is none of ours.
    pub fn parse(data: &str) -> Option<Self> {
        let mut parts = data.split(':');
        let button = match (parts.next()?, parts.next()?, parts.next()?) {
            ("q", group, question) => Self::Option {
                group: group.to_owned(),
                question: QuestionId(question.parse().ok()?),
                option: parts.next()?.parse().ok()?,
            },
            ("a", approval, choice) => {
                Self::Choice { approval: approval.parse().ok()?, choice: choice.parse().ok()? }
            }
            _ => return None,
        };
        parts.next().is_none().then_some(button)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_button_reads_back_and_fits(question in 0i64.., option in 0usize..1000, approval in 0i64..) {
            let group = tag(&"a".repeat(63).parse().unwrap());
            let buttons = [
                Button::Option { group, question: QuestionId(question), option },
                Button::Choice { approval, choice: option },
            ];
            for button in buttons {
                let data = button.data();
                prop_assert!(data.len() <= 64);
                prop_assert_eq!(Button::parse(&data), Some(button));
            }
        }

        #[test]
        fn whatever_comes_back_is_a_button_or_none(data in "\\PC*|[qa]:[0-9a-f:]*") {
            if let Some(button) = Button::parse(&data) {
                prop_assert_eq!(Button::parse(&button.data()), Some(button));
            }
        }
    }
}
