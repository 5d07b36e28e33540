//! How what waits for a person is named.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Folder, QuestionId};

/// What waits for a person, as it is typed: an approval's number (`3`), or a group and the number of its question
/// (`demo/7`). In JSON a number or a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "Typed", try_from = "Typed")]
pub enum WaitingId {
    /// Something that Cofferdam asks.
    Approval(i64),
    /// Something that a group's agent asks.
    Question(Folder, QuestionId),
}

/// Why a text is not a [`WaitingId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' names nothing that waits: an approval is a number, a question is GROUP/NUMBER, as in demo/7")]
pub struct BadWaitingId(String);

/// A [`WaitingId`] in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Typed {
    Number(i64),
    Text(String),
}

impl WaitingId {
    /// It with its sort, for people.
    pub fn named(&self) -> String {
        match self {
            Self::Approval(_) => format!("approval {self}"),
            Self::Question(..) => format!("question {self}"),
        }
    }
}

impl FromStr for WaitingId {
    type Err = BadWaitingId;

    fn from_str(text: &str) -> Result<Self, BadWaitingId> {
        let number = |text: &str| text.parse().ok().filter(|number: &i64| *number > 0);
        let plain = text.trim_start_matches('#');
        let id = match plain.split_once('/') {
            None => number(plain).map(Self::Approval),
            Some((folder, question)) => {
                folder.parse().ok().zip(number(question)).map(|(folder, id)| Self::Question(folder, QuestionId(id)))
            }
        };
        id.ok_or_else(|| BadWaitingId(text.chars().take(80).collect()))
    }
}

impl TryFrom<Typed> for WaitingId {
    type Error = BadWaitingId;

    fn try_from(typed: Typed) -> Result<Self, BadWaitingId> {
        match typed {
            Typed::Number(number) => Ok(Self::Approval(number)),
            Typed::Text(text) => text.parse(),
        }
    }
}

impl From<WaitingId> for Typed {
    fn from(id: WaitingId) -> Self {
        match id {
            WaitingId::Approval(number) => Self::Number(number),
            WaitingId::Question(..) => Self::Text(id.to_string()),
        }
    }
}

impl fmt::Display for WaitingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approval(number) => number.fmt(f),
            Self::Question(folder, question) => write!(f, "{folder}/{question}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_typed_as_it_is_shown_and_an_approvals_json_is_its_number() {
        for (text, json) in [("3", "3"), ("demo/7", "\"demo/7\"")] {
            let id: WaitingId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(serde_json::to_string(&id).unwrap(), json);
            assert_eq!(serde_json::from_str::<WaitingId>(json).unwrap(), id);
        }
        assert_eq!("#12".parse(), Ok(WaitingId::Approval(12)));
        for bad in ["", "#", "0", "-1", "demo", "demo/", "/7", "demo/0", "demo/7/1", "../7", "Demo/7", "1.5"] {
            assert!(bad.parse::<WaitingId>().is_err(), "{bad:?}");
        }
    }
}
