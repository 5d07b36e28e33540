//! How a group's conversations go on: compaction, and messages that come during a turn.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values;

/// When a session's conversation is summed up to make room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Compaction {
    /// Between turns, once so many input tokens were used since the last time; 0 turns it off.
    #[serde(deserialize_with = "values::within::<0, 10_000_000, _>")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub threshold_tokens: u64,
    /// How long it may take, in seconds; after that it is given up and tried again after the next turn.
    #[serde(deserialize_with = "values::within::<1, 3600, _>")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_secs: u64,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { threshold_tokens: 40_000, timeout_secs: 120 }
    }
}

/// What happens to messages that come while a turn runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DuringTurn {
    /// They wait and form the next turn.
    #[default]
    Queue,
    /// They go into the running turn.
    Steer,
}
