//! Which accounts serve a group.

use cofferdam_protocol::admin::{MAX_POOL_MEMBERS, PoolStrategy};
use cofferdam_protocol::ids::AccountName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which accounts stand in for the group's account when it cannot serve.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, try_from = "Written")]
#[schemars(!try_from)]
pub struct GroupPool {
    /// `inherit`: those of the account's own pool, if it has one; `custom`: those that are named here.
    pub mode: PoolMode,
    /// In what order a `custom` pool is asked.
    #[serde(skip_serializing_if = "is_usual")]
    #[schemars(with = "Strategy")]
    pub strategy: PoolStrategy,
    /// The members of a `custom` pool; none: nobody stands in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>", length(max = 32))]
    pub members: Vec<AccountName>,
}

/// Where a group's pool comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PoolMode {
    /// From its account.
    #[default]
    Inherit,
    /// From its file.
    Custom,
}

// The schema's view of [`PoolStrategy`], whose own crate does not know schemas; a test holds them together.
/// In what order a pool's accounts are asked.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Strategy {
    /// The account itself; when it cannot, the members by turns.
    PrimaryFirst,
    /// All by turns.
    RoundRobin,
    /// Always as they are listed.
    PriorityOrder,
    /// Who has the largest share of its allowance left.
    QuotaAware,
}

fn is_usual(strategy: &PoolStrategy) -> bool {
    *strategy == PoolStrategy::default()
}

/// As it is written; not checked yet.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    mode: PoolMode,
    strategy: Option<PoolStrategy>,
    members: Vec<AccountName>,
}

impl TryFrom<Written> for GroupPool {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if written.mode == PoolMode::Inherit && (written.strategy.is_some() || !written.members.is_empty()) {
            return Err("`strategy` and `members` belong to `\"mode\": \"custom\"`".to_owned());
        }
        if written.members.len() > MAX_POOL_MEMBERS {
            return Err(format!("a pool has at most {MAX_POOL_MEMBERS} members"));
        }
        if let Some(built_in) = written.members.iter().find(|member| member.is_built_in()) {
            return Err(format!("'{built_in}' is built in and cannot be in a pool"));
        }
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = written.members.iter().find(|member| !seen.insert(*member)) {
            return Err(format!("'{twice}' is named twice"));
        }
        Ok(Self { mode: written.mode, strategy: written.strategy.unwrap_or_default(), members: written.members })
    }
}

/// What a session's calls are served by, as its group's file said when it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// The account; none is the default.
    #[serde(default)]
    pub account: Option<AccountName>,
    /// Who stands in for it.
    #[serde(default)]
    pub pool: GroupPool,
}

impl Serving {
    /// As it was kept: JSON, or the account's name alone.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        match text.trim().parse() {
            Ok(account) => Ok(Self { account: Some(account), ..Self::default() }),
            Err(_) => serde_json::from_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: serde_json::Value) -> Result<GroupPool, String> {
        serde_json::from_value(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (text, why) in [
            (json!({"members": ["a"]}), "belong to"),
            (json!({"mode": "custom", "members": ["a", "a"]}), "twice"),
            (json!({"mode": "custom", "members": ["offline"]}), "built in"),
            (json!({"mode": "custom", "members": ["A b"]}), "A b"),
            (json!({"mode": "own"}), "inherit"),
            (json!({"mode": "custom", "member": ["a"]}), "unknown field `member`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_schema_has_every_strategy() {
        let schema = serde_json::to_string(&schemars::schema_for!(Strategy)).unwrap();
        for strategy in PoolStrategy::ALL {
            assert!(schema.contains(&format!("\"{strategy}\"")), "{schema}");
        }
    }

    #[test]
    fn what_was_kept_is_read_again() {
        let account: AccountName = "work".parse().unwrap();
        assert_eq!(Serving::read("work\n").unwrap(), Serving { account: Some(account), ..Serving::default() });
        for pool in [
            json!({}),
            json!({"mode": "custom"}),
            json!({"mode": "custom", "members": ["b"], "strategy": "quota_aware"}),
        ] {
            let serving = Serving { account: Some("work".parse().unwrap()), pool: read(pool).unwrap() };
            assert_eq!(Serving::read(&serde_json::to_string(&serving).unwrap()).unwrap(), serving);
        }
    }
}
