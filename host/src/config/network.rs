//! What a group's containers reach besides their door.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a session's container reaches besides its door.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Nothing.
    #[default]
    None,
    /// All that the host's machine reaches, and the host's own ports; no other container of Cofferdam. What the agent reads
    /// can leave, and nothing looks at it.
    Open,
}
