//! Pools: accounts that stand in for one another.
//!
//! An account owns its pool: who names the owner is served by the owner or by a member. A member owns none, so there are no
//! circles.

use std::collections::BTreeSet;

use cofferdam_protocol::admin::{MAX_POOL_MEMBERS, PoolStrategy};
use cofferdam_protocol::ids::AccountName;

/// Which accounts serve a call, and in what order they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// How the order comes about.
    pub strategy: PoolStrategy,
    /// The owner and the members, each once: by preference.
    pub accounts: Vec<AccountName>,
}

/// Why a pool cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// It would have none but its owner.
    #[error("a pool has at least one member besides its owner")]
    Empty,
    /// More than [`MAX_POOL_MEMBERS`].
    #[error("a pool has at most {MAX_POOL_MEMBERS} members")]
    TooMany,
    /// Named twice.
    #[error("'{0}' is named twice")]
    Twice(AccountName),
    /// The owner among the members.
    #[error("'{0}' owns the pool; only with the strategy priority_order it has a place among the members")]
    Owner(AccountName),
    /// Not of the vault.
    #[error("'{0}' is built in and cannot be in a pool")]
    BuiltIn(AccountName),
}

impl Pool {
    /// The pool of `owner` with these members. With `priority_order` the owner may be among them, at its place; else it is
    /// the first.
    pub fn new(owner: &AccountName, strategy: PoolStrategy, members: &[AccountName]) -> Result<Self, PoolError> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = members.iter().find(|member| !seen.insert(*member)) {
            return Err(PoolError::Twice(twice.clone()));
        }
        let placed = seen.contains(owner);
        if placed && strategy != PoolStrategy::PriorityOrder {
            return Err(PoolError::Owner(owner.clone()));
        }
        if let Some(built_in) = members.iter().find(|member| member.is_built_in()) {
            return Err(PoolError::BuiltIn(built_in.clone()));
        }
        let others = members.len() - usize::from(placed);
        if others == 0 {
            return Err(PoolError::Empty);
        }
        if others > MAX_POOL_MEMBERS {
            return Err(PoolError::TooMany);
        }
        let first = (!placed).then(|| owner.clone());
        Ok(Self { strategy, accounts: first.into_iter().chain(members.iter().cloned()).collect() })
    }

    /// An account without a pool.
    pub fn alone(account: AccountName) -> Self {
        Self { strategy: PoolStrategy::PriorityOrder, accounts: vec![account] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &str) -> Vec<AccountName> {
        words.split_whitespace().map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn the_owner_is_first_unless_it_has_a_place() {
        use PoolStrategy::{PriorityOrder, RoundRobin};
        let pool = |strategy, members| Pool::new(&"own".parse().unwrap(), strategy, &names(members));
        assert_eq!(pool(RoundRobin, "a b").unwrap().accounts, names("own a b"));
        assert_eq!(pool(PriorityOrder, "a own b").unwrap().accounts, names("a own b"));
        assert_eq!(pool(RoundRobin, "a own"), Err(PoolError::Owner("own".parse().unwrap())));
        assert_eq!(pool(RoundRobin, "a b a"), Err(PoolError::Twice("a".parse().unwrap())));
        assert_eq!(pool(RoundRobin, "a offline"), Err(PoolError::BuiltIn(AccountName::offline())));
        for members in ["", "own"] {
            assert_eq!(pool(PriorityOrder, members), Err(PoolError::Empty));
        }
    }
}
