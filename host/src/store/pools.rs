//! Pools of accounts.

use cofferdam_protocol::admin::PoolStrategy;
use cofferdam_protocol::ids::AccountName;
use rusqlite::{OptionalExtension, Savepoint, params};

use super::accounts::name_of;
use super::db::Durability;
use super::{Central, StoreError, now_ms};
use crate::model::pool::Pool;

/// What came of a new pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutPool {
    /// It is there.
    Done,
    /// There is no account of that name.
    Unknown(AccountName),
    /// The one that would own it is a member of another's pool.
    IsMember {
        /// Which.
        of: AccountName,
    },
    /// One that would be a member owns a pool.
    OwnsOne(AccountName),
}

impl Central {
    /// All pools, with who owns them.
    pub async fn pools(&self) -> Result<Vec<(AccountName, Pool)>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT name, strategy, member FROM accounts JOIN account_members ON owner = name
                     WHERE strategy IS NOT NULL ORDER BY name, position",
                )?;
                let mut rows = statement.query([])?;
                let mut members: Vec<(AccountName, PoolStrategy, Vec<AccountName>)> = Vec::new();
                while let Some(row) = rows.next()? {
                    let (owner, member) = (name_of(row.get(0)?)?, name_of(row.get(2)?)?);
                    let strategy = strategy_of(row.get(1)?)?;
                    match members.last_mut().filter(|(last, ..)| *last == owner) {
                        Some((.., members)) => members.push(member),
                        None => members.push((owner, strategy, vec![member])),
                    }
                }
                // One whose members were all removed is none.
                let pool = |(owner, strategy, members): (AccountName, _, Vec<_>)| {
                    Pool::new(&owner, strategy, &members).ok().map(|pool| (owner, pool))
                };
                Ok(members.into_iter().filter_map(pool).collect())
            })
            .await
    }

    /// Gives an account a pool in the place of the one that it has.
    pub async fn put_pool(&self, owner: &AccountName, pool: Pool) -> Result<PutPool, StoreError> {
        let owner = owner.clone();
        self.db.write(Durability::Durable, move |tx| put(tx, &owner, &pool)).await
    }

    /// Takes an account's pool away. Answers whether it had one.
    pub async fn remove_pool(&self, owner: &AccountName) -> Result<bool, StoreError> {
        let owner = owner.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                tx.execute("DELETE FROM account_members WHERE owner = ?1", [owner.as_str()])?;
                let sql = "UPDATE accounts SET strategy = NULL WHERE name = ?1 AND strategy IS NOT NULL";
                Ok(tx.execute(sql, [owner.as_str()])? > 0)
            })
            .await
    }
}

fn put(tx: &Savepoint<'_>, owner: &AccountName, pool: &Pool) -> Result<PutPool, StoreError> {
    for name in [owner].into_iter().chain(&pool.accounts) {
        if !tx.prepare_cached("SELECT 1 FROM accounts WHERE name = ?1")?.exists([name.as_str()])? {
            return Ok(PutPool::Unknown(name.clone()));
        }
    }
    let sql = "SELECT owner FROM account_members WHERE member = ?1 AND owner <> ?1";
    if let Some(of) = tx.query_row(sql, [owner.as_str()], |row| row.get(0)).optional()? {
        return Ok(PutPool::IsMember { of: name_of(of)? });
    }
    for member in pool.accounts.iter().filter(|member| *member != owner) {
        let sql = "SELECT 1 FROM account_members WHERE owner = ?1";
        if tx.prepare_cached(sql)?.exists([member.as_str()])? {
            return Ok(PutPool::OwnsOne(member.clone()));
        }
    }
    tx.execute("DELETE FROM account_members WHERE owner = ?1", [owner.as_str()])?;
    // The owner has a row where it has a place of its own.
    let placed = pool.accounts.first() != Some(owner);
    for (position, member) in pool.accounts.iter().filter(|member| placed || *member != owner).enumerate() {
        tx.execute(
            "INSERT INTO account_members (owner, position, member) VALUES (?1, ?2, ?3)",
            params![owner.as_str(), i64::try_from(position).unwrap_or(i64::MAX), member.as_str()],
        )?;
    }
    tx.execute(
        "UPDATE accounts SET strategy = ?2, changed_at = ?3 WHERE name = ?1",
        params![owner.as_str(), pool.strategy.as_str(), now_ms()],
    )?;
    Ok(PutPool::Done)
}

fn strategy_of(text: String) -> Result<PoolStrategy, StoreError> {
    PoolStrategy::parse(&text).ok_or(StoreError::Unknown { what: "pool's strategy", value: text })
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::admin::AccountKind;

    use super::*;
    use crate::store::accounts::{LoginRow, NewAccount};
    use crate::store::ground::Ground;

    fn name(text: &str) -> AccountName {
        text.parse().unwrap()
    }

    fn pool(owner: &str, strategy: PoolStrategy, members: &[&str]) -> Pool {
        Pool::new(&name(owner), strategy, &members.iter().map(|member| name(member)).collect::<Vec<_>>()).unwrap()
    }

    async fn central(accounts: &[&str]) -> (tempfile::TempDir, Central) {
        let dir = tempfile::tempdir().unwrap();
        let central = Central::open(&dir.path().join("central.db"), &Ground::default()).unwrap();
        for account in accounts {
            let new = NewAccount {
                name: name(account),
                kind: AccountKind::OpenAi,
                base_url: None,
                model: None,
                secret: Some(b"s".to_vec()),
                login: LoginRow::default(),
            };
            central.put_account(new).await.unwrap();
        }
        (dir, central)
    }

    #[tokio::test]
    async fn pools_are_kept_in_their_order_and_replaced_whole() {
        let (_dir, central) = central(&["a", "b", "c", "own"]).await;
        let first = pool("own", PoolStrategy::RoundRobin, &["c", "a"]);
        assert_eq!(central.put_pool(&name("own"), first.clone()).await.unwrap(), PutPool::Done);
        assert_eq!(central.pools().await.unwrap(), [(name("own"), first)]);
        let placed = pool("own", PoolStrategy::PriorityOrder, &["b", "own"]);
        assert_eq!(central.put_pool(&name("own"), placed.clone()).await.unwrap(), PutPool::Done);
        assert_eq!(central.pools().await.unwrap(), [(name("own"), placed)]);
        assert!(central.remove_pool(&name("own")).await.unwrap());
        assert!(!central.remove_pool(&name("own")).await.unwrap());
        assert_eq!(central.pools().await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_member_owns_no_pool_and_an_owner_is_no_member() {
        let (_dir, central) = central(&["a", "b", "own"]).await;
        let of = |owner: &str, member: &str| pool(owner, PoolStrategy::PrimaryFirst, &[member]);
        assert_eq!(central.put_pool(&name("own"), of("own", "a")).await.unwrap(), PutPool::Done);
        let put =
            async |owner: &str, member: &str| central.put_pool(&name(owner), of(owner, member)).await.unwrap();
        assert_eq!(put("a", "b").await, PutPool::IsMember { of: name("own") });
        assert_eq!(put("b", "own").await, PutPool::OwnsOne(name("own")));
        assert_eq!(put("own", "gone").await, PutPool::Unknown(name("gone")));
        assert_eq!(put("gone", "a").await, PutPool::Unknown(name("gone")));
        assert_eq!(central.pools().await.unwrap().len(), 1, "nothing was changed");
        assert_eq!(put("b", "a").await, PutPool::Done, "one may stand in for several");
    }

    #[tokio::test]
    async fn a_pool_forgets_a_member_that_is_removed_and_goes_with_the_last() {
        let (_dir, central) = central(&["a", "b", "own"]).await;
        central.put_pool(&name("own"), pool("own", PoolStrategy::RoundRobin, &["a", "b"])).await.unwrap();
        central.remove_account(&name("a")).await.unwrap();
        assert_eq!(central.pools().await.unwrap(), [(name("own"), pool("own", PoolStrategy::RoundRobin, &["b"]))]);
        central.remove_account(&name("b")).await.unwrap();
        assert_eq!(central.pools().await.unwrap(), []);
    }
}
