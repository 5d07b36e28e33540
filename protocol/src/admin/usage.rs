//! What model calls cost, and what became of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{AccountName, Folder, SessionId};

/// The most calls that a group remembers one by one, and that one answer has.
pub const MAX_ACTIVITY: u32 = 1000;

/// What usage is added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UsageBy {
    /// Groups.
    Group,
    /// Sessions of groups.
    Session,
    /// Accounts, over all groups.
    Account,
    /// Models, over all groups.
    Model,
    /// Days, each in the time zone of its group.
    Day,
}

impl UsageBy {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Group, Self::Session, Self::Account, Self::Model, Self::Day];

    /// Its word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Session => "session",
            Self::Account => "account",
            Self::Model => "model",
            Self::Day => "day",
        }
    }

    /// The one with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|by| by.as_str() == word)
    }
}

impl fmt::Display for UsageBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Tokens as the vendor counts them. What is cached is a part of the input, what is reasoning a part of the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Read, cached ones with them.
    pub input_tokens: u64,
    /// Read from the vendor's cache.
    pub cached_input_tokens: u64,
    /// Written, those of reasoning with them.
    pub output_tokens: u64,
    /// Written in reasoning.
    pub reasoning_tokens: u64,
}

/// Calls that an account served, and their tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageSum {
    /// How many calls, whatever became of their answers.
    pub calls: u64,
    /// Their tokens, as far as the vendor told them.
    #[serde(flatten)]
    pub tokens: Tokens,
}

impl UsageSum {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        let sum = |a: &mut u64, b: u64| *a = a.saturating_add(b);
        sum(&mut self.calls, other.calls);
        sum(&mut self.tokens.input_tokens, other.tokens.input_tokens);
        sum(&mut self.tokens.cached_input_tokens, other.tokens.cached_input_tokens);
        sum(&mut self.tokens.output_tokens, other.tokens.output_tokens);
        sum(&mut self.tokens.reasoning_tokens, other.tokens.reasoning_tokens);
    }
}

/// One line of usage. It names what it was added up by, a session with its group, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// The group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Folder>,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The account that served; also one that is not there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// The model, as the vendor named it, else as it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The day, such as `2026-11-21`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// How much.
    #[serde(flatten)]
    pub sum: UsageSum,
}

/// Usage, added up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageReport {
    /// What by.
    pub by: UsageBy,
    /// The first day, unless all are counted.
    pub since: Option<String>,
    /// In the order of what it was added up by.
    pub rows: Vec<UsageRow>,
    /// All of it.
    pub total: UsageSum,
}

/// What became of a model call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// Answered to its end.
    Completed,
    /// Answered with an error.
    Failed,
    /// Its answer broke off.
    Cut,
    /// The container went away before its end.
    GivenUp,
}

impl CallOutcome {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Completed, Self::Failed, Self::Cut, Self::GivenUp];

    /// Its word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cut => "cut",
            Self::GivenUp => "given_up",
        }
    }

    /// The outcome with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|outcome| outcome.as_str() == word)
    }
}

/// An account that was asked to serve a call, and did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The account.
    pub account: AccountName,
    /// Why it did not.
    pub why: String,
}

/// A model call that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCall {
    /// When it ended: RFC 3339, UTC.
    pub at: String,
    /// Whose it was.
    pub session: SessionId,
    /// The account that served it, if one did.
    pub account: Option<AccountName>,
    /// Those that were not asked, as they are at their limit; and those that were asked and did not, in order.
    pub missed: Vec<Missed>,
    /// The model, as the vendor named it, else as it was asked for.
    pub model: Option<String>,
    /// What was called: `responses` or `responses/compact`.
    pub route: String,
    /// What became of it.
    pub outcome: CallOutcome,
    /// More of that: a status, the vendor's code, where it broke off.
    pub why: Option<String>,
    /// From the call to the end of its answer.
    pub millis: u64,
    /// What it cost, if the vendor told.
    pub tokens: Option<Tokens>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_json() {
        for by in UsageBy::ALL {
            assert_eq!(serde_json::to_value(by).unwrap(), by.as_str());
            assert_eq!(UsageBy::parse(by.as_str()), Some(*by));
        }
        for outcome in CallOutcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
            assert_eq!(CallOutcome::parse(outcome.as_str()), Some(*outcome));
        }
    }

    #[test]
    fn a_row_has_what_it_was_added_up_by_beside_its_figures() {
        let row = UsageRow {
            day: Some("2026-11-21".into()),
            sum: UsageSum { calls: 1, tokens: Tokens { input_tokens: 7, ..Tokens::default() } },
            ..UsageRow::default()
        };
        let json = serde_json::to_value(&row).unwrap();
        let wanted = serde_json::json!({"day": "2026-11-21", "calls": 1, "input_tokens": 7,
            "cached_input_tokens": 0, "output_tokens": 0, "reasoning_tokens": 0});
        assert_eq!(json, wanted);
        assert_eq!(serde_json::from_value::<UsageRow>(json).unwrap(), row);
    }
}
