//! `[retries]` of `cofferdam.toml`: how often and how far apart a session's container is started that does not start.

use serde::Deserialize;

use super::values;

/// The key `[retries]`. Without a say: a pause of 1 s that grows to 5 min, and eight tries, the last after about a quarter
/// of an hour. That is long enough for a person to be told and look, and for whatever was being restarted; what does
/// not start by then needs somebody to mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retries {
    /// The most tries of a start, 1 to 100.
    #[serde(deserialize_with = "values::within::<1, 100, _>")]
    pub start_tries: u64,
    /// The pause after the first that failed, in seconds, 1 to 3600; each pause is three times the one before.
    #[serde(deserialize_with = "values::within::<1, 3600, _>")]
    pub start_first_secs: u64,
    /// The longest pause, in seconds, 1 to 86400.
    #[serde(deserialize_with = "values::within::<1, 86_400, _>")]
    pub start_longest_secs: u64,
    /// After how many seconds a chat is told that its message waits for the engine, the disk or the image, 1 to 86400.
    #[serde(deserialize_with = "values::within::<1, 86_400, _>")]
    pub tell_after_secs: u64,
}

impl Default for Retries {
    fn default() -> Self {
        Self { start_tries: 8, start_first_secs: 1, start_longest_secs: 300, tell_after_secs: 60 }
    }
}
