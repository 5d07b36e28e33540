//! Accounts, their secrets sealed. What they are sealed with is the vault's business.

use cofferdam_protocol::admin::AccountKind;
use cofferdam_protocol::ids::AccountName;
use rusqlite::{OptionalExtension, Row, Savepoint, params};

use super::channels::SecretOf;
use super::db::Durability;
use super::{Central, StoreError, now_ms};
use crate::hooks;

/// An account's row.
#[derive(Debug, Clone)]
pub struct AccountRow {
    /// Its name.
    pub name: AccountName,
    /// What it is with.
    pub kind: AccountKind,
    /// The endpoint; none is the kind's.
    pub base_url: Option<String>,
    /// The model of groups that name none.
    pub model: Option<String>,
    /// What it needs to be used, sealed.
    pub secret: Option<Vec<u8>>,
    /// Why it needs a login, in words.
    pub login_needed: Option<String>,
    /// Of a ChatGPT login.
    pub login: LoginRow,
    /// Grows whenever it serves calls in another way.
    pub version: i64,
    /// When it was made, ms.
    pub created_at: i64,
    /// When its secret or its settings were last changed, ms.
    pub changed_at: i64,
    /// About when it last served a call, ms.
    pub used_at: Option<i64>,
}

/// What is known of a ChatGPT login; of other accounts nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginRow {
    /// The vendor's id of the account.
    pub account_id: Option<String>,
    /// Who logged in.
    pub email: Option<String>,
    /// The plan.
    pub plan: Option<String>,
    /// When the access token ends, ms.
    pub expires_at: Option<i64>,
    /// The `auth.json` that has it, when it is shared.
    pub auth_json: Option<String>,
}

/// What came of a new account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It is there.
    Done,
    /// There is one of that name and another kind; nothing was changed.
    OtherKind,
    /// Another account has the same login; nothing was changed.
    Same(AccountName),
}

/// A new account, or a new secret of one.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its name.
    pub name: AccountName,
    /// What it is with.
    pub kind: AccountKind,
    /// The endpoint; none keeps what is there.
    pub base_url: Option<String>,
    /// The model of groups that name none; none keeps what is there.
    pub model: Option<String>,
    /// The sealed secret; none when another file has it.
    pub secret: Option<Vec<u8>>,
    /// Of a ChatGPT login.
    pub login: LoginRow,
}

/// What a rotation of the vault's key found.
#[derive(Debug, Default)]
pub struct Resealed {
    /// All secrets, as they are now.
    pub secrets: Vec<Vec<u8>>,
    /// Whose secret did not open, and stayed as it was.
    pub left: Vec<String>,
}

const DEFAULT: &str = "account";

impl Central {
    /// All accounts, by name.
    pub async fn accounts(&self) -> Result<Vec<AccountRow>, StoreError> {
        self.db
            .read(|tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT name, kind, base_url, model, secret, login_needed, version, created_at, changed_at, used_at,
                         account_id, email, plan, expires_at, auth_json
                     FROM accounts ORDER BY name",
                )?;
                let rows = statement.query_and_then([], account_row)?;
                rows.collect()
            })
            .await
    }

    /// Makes an account, or gives one that is there a new secret; the first one becomes the default. One login is
    /// one account's only.
    pub async fn put_account(&self, new: NewAccount) -> Result<Put, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                if let Some(same) = same_login(tx, &new)? {
                    return Ok(Put::Same(same));
                }
                let login = new.login;
                let put = tx.execute(
                    "INSERT INTO accounts (name, kind, base_url, model, secret, version, created_at, changed_at,
                         account_id, email, plan, expires_at, auth_json)
                     VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?6, ?7, ?8, ?9, ?10, ?11)
                     ON CONFLICT (name) DO UPDATE SET
                         account_id = excluded.account_id, email = excluded.email, plan = excluded.plan,
                         expires_at = excluded.expires_at, auth_json = excluded.auth_json,
                         base_url = coalesce(excluded.base_url, base_url), model = coalesce(excluded.model, model),
                         secret = excluded.secret, login_needed = NULL, version = version + 1,
                         changed_at = excluded.changed_at
                     WHERE kind = excluded.kind",
                    params![
                        new.name.as_str(),
                        new.kind.as_str(),
                        new.base_url,
                        new.model,
                        new.secret,
                        now_ms(),
                        login.account_id,
                        login.email,
                        login.plan,
                        login.expires_at,
                        login.auth_json
                    ],
                )?;
                if put > 0 {
                    tx.execute(
                        "INSERT OR IGNORE INTO meta (key, value) VALUES (?1, ?2)",
                        [DEFAULT, new.name.as_str()],
                    )?;
                }
                Ok(if put > 0 { Put::Done } else { Put::OtherKind })
            })
            .await
    }

    /// Puts a login's new tokens in the place of those that are there, if `still` takes what is there for those that they
    /// replace. Answers whether they are in place; none when there is no such secret.
    pub async fn replace_secret(
        &self,
        name: &AccountName,
        still: impl Fn(&[u8]) -> bool + Send + 'static,
        secret: Vec<u8>,
        expires_at: Option<i64>,
    ) -> Result<Option<bool>, StoreError> {
        let name = name.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                let Some(sealed) = secret_of(tx, &name)? else { return Ok(None) };
                if !still(&sealed) {
                    return Ok(Some(false));
                }
                tx.execute(
                    "UPDATE accounts SET secret = ?2, expires_at = ?3 WHERE name = ?1",
                    params![name.as_str(), secret, expires_at],
                )?;
                Ok(Some(true))
            })
            .await
    }

    /// An account's sealed secret, if it has one.
    pub async fn account_secret(&self, name: &AccountName) -> Result<Option<Vec<u8>>, StoreError> {
        let name = name.clone();
        self.db.read(move |tx| secret_of(tx, &name)).await
    }

    /// Wipes an account's secret and says why it needs a login now. Answers whether there is such an account.
    pub async fn wipe_account(&self, name: &AccountName, why: &'static str) -> Result<bool, StoreError> {
        let name = name.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                let changed = tx.execute(
                    "UPDATE accounts SET secret = NULL, auth_json = NULL, account_id = NULL, email = NULL, plan = NULL,
                         expires_at = NULL, login_needed = ?2, version = version + 1, changed_at = ?3
                     WHERE name = ?1",
                    params![name.as_str(), why, now_ms()],
                )?;
                Ok(changed > 0)
            })
            .await
    }

    /// Forgets an account; if it is the default, there is none. Answers whether there was such an account.
    pub async fn remove_account(&self, name: &AccountName) -> Result<bool, StoreError> {
        let name = name.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                tx.execute("DELETE FROM meta WHERE key = ?1 AND value = ?2", [DEFAULT, name.as_str()])?;
                Ok(tx.execute("DELETE FROM accounts WHERE name = ?1", [name.as_str()])? > 0)
            })
            .await
    }

    /// Notes that an account served a call.
    pub async fn note_account_used(&self, name: &AccountName) -> Result<(), StoreError> {
        let name = name.clone();
        self.db
            .write(Durability::Relaxed, move |tx| {
                tx.execute("UPDATE accounts SET used_at = ?2 WHERE name = ?1", params![name.as_str(), now_ms()])?;
                Ok(())
            })
            .await
    }

    /// The account of groups that name none, if somebody chose.
    pub async fn default_account(&self) -> Result<Option<AccountName>, StoreError> {
        self.db
            .read(|tx| {
                let found: Option<String> = tx
                    .query_row("SELECT value FROM meta WHERE key = ?1", [DEFAULT], |row| row.get(0))
                    .optional()?;
                found.map(name_of).transpose()
            })
            .await
    }

    /// Chooses the account of groups that name none.
    pub async fn set_default_account(&self, name: &AccountName) -> Result<(), StoreError> {
        let name = name.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                tx.execute(
                    "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    [DEFAULT, name.as_str()],
                )?;
                Ok(())
            })
            .await
    }

    /// Seals every secret again, all of them or none. `again` answers the new envelope, none when the old one is good, and
    /// an error when it does not open: such a one stays.
    pub async fn reseal<E>(
        &self,
        again: impl Fn(&SecretOf, &[u8]) -> Result<Option<Vec<u8>>, E> + Send + 'static,
    ) -> Result<Resealed, StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                let resealed = reseal(tx, again)?;
                hooks::crash_point("rotate.before_commit");
                Ok(resealed)
            })
            .await
    }
}

fn reseal<E>(
    tx: &Savepoint<'_>,
    again: impl Fn(&SecretOf, &[u8]) -> Result<Option<Vec<u8>>, E>,
) -> Result<Resealed, StoreError> {
    let mut resealed = Resealed::default();
    for (of, secret) in every_secret(tx)? {
        let now = match again(&of, &secret) {
            Ok(Some(fresh)) => {
                put_again(tx, &of, &fresh)?;
                fresh
            }
            Ok(None) => secret,
            Err(_) => {
                resealed.left.push(of.words());
                secret
            }
        };
        resealed.secrets.push(now);
    }
    Ok(resealed)
}

/// All that is sealed: of accounts, then of others.
fn every_secret(tx: &Savepoint<'_>) -> Result<Vec<(SecretOf, Vec<u8>)>, StoreError> {
    let mut all: Vec<(SecretOf, Vec<u8>)> = tx
        .prepare("SELECT name, secret FROM accounts WHERE secret IS NOT NULL ORDER BY name")?
        .query_map([], |row| Ok((SecretOf { purpose: SecretOf::ACCOUNT.into(), name: row.get(0)? }, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut others = tx.prepare("SELECT purpose, name, sealed FROM secrets ORDER BY purpose, name")?;
    let others =
        others.query_map([], |row| Ok((SecretOf { purpose: row.get(0)?, name: row.get(1)? }, row.get(2)?)))?;
    for other in others {
        all.push(other?);
    }
    Ok(all)
}

fn put_again(tx: &Savepoint<'_>, of: &SecretOf, sealed: &[u8]) -> Result<(), StoreError> {
    if of.purpose == SecretOf::ACCOUNT {
        tx.execute("UPDATE accounts SET secret = ?2 WHERE name = ?1", params![of.name, sealed])?;
    } else {
        let sql = "UPDATE secrets SET sealed = ?3 WHERE purpose = ?1 AND name = ?2";
        tx.execute(sql, params![of.purpose, of.name, sealed])?;
    }
    Ok(())
}

fn secret_of(tx: &Savepoint<'_>, name: &AccountName) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT secret FROM accounts WHERE name = ?1 AND secret IS NOT NULL";
    Ok(tx.query_row(sql, [name.as_str()], |row| row.get(0)).optional()?)
}

/// Another account that has this login.
fn same_login(tx: &Savepoint<'_>, new: &NewAccount) -> Result<Option<AccountName>, StoreError> {
    let sql = "SELECT name FROM accounts WHERE account_id = ?1 AND name <> ?2";
    let found: Option<String> =
        tx.query_row(sql, params![new.login.account_id, new.name.as_str()], |row| row.get(0)).optional()?;
    found.map(name_of).transpose()
}

pub(super) fn name_of(text: String) -> Result<AccountName, StoreError> {
    text.parse().map_err(|_| StoreError::Unknown { what: "account's name", value: text })
}

fn account_row(row: &Row<'_>) -> Result<AccountRow, StoreError> {
    let kind: String = row.get(1)?;
    Ok(AccountRow {
        name: name_of(row.get(0)?)?,
        kind: AccountKind::parse(&kind).ok_or(StoreError::Unknown { what: "account's kind", value: kind })?,
        base_url: row.get(2)?,
        model: row.get(3)?,
        secret: row.get(4)?,
        login_needed: row.get(5)?,
        version: row.get(6)?,
        created_at: row.get(7)?,
        changed_at: row.get(8)?,
        used_at: row.get(9)?,
        login: LoginRow {
            account_id: row.get(10)?,
            email: row.get(11)?,
            plan: row.get(12)?,
            expires_at: row.get(13)?,
            auth_json: row.get(14)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ground::Ground;

    fn central() -> (tempfile::TempDir, Central) {
        let dir = tempfile::tempdir().unwrap();
        let central = Central::open(&dir.path().join("central.db"), &Ground::default()).unwrap();
        (dir, central)
    }

    fn new(name: &str, secret: &[u8]) -> NewAccount {
        NewAccount {
            name: name.parse().unwrap(),
            kind: AccountKind::Compatible,
            base_url: Some("http://127.0.0.1:1/v1".into()),
            model: None,
            secret: Some(secret.to_vec()),
            login: LoginRow::default(),
        }
    }

    fn name(text: &str) -> AccountName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_new_secret_keeps_what_it_does_not_name_and_another_kind_is_refused() {
        let (_dir, central) = central();
        let first = NewAccount { model: Some("m".into()), ..new("a", b"1") };
        assert_eq!(central.put_account(first).await.unwrap(), Put::Done);
        assert!(central.wipe_account(&name("a"), "logged out").await.unwrap());
        assert_eq!(central.put_account(NewAccount { base_url: None, ..new("a", b"2") }).await.unwrap(), Put::Done);
        let row = central.accounts().await.unwrap().remove(0);
        assert_eq!((row.base_url.as_deref(), row.model.as_deref()), (Some("http://127.0.0.1:1/v1"), Some("m")));
        assert_eq!((row.secret.as_deref(), row.login_needed, row.version), (Some(&b"2"[..]), None, 3));
        let other = NewAccount { kind: AccountKind::OpenAi, ..new("a", b"3") };
        assert_eq!(central.put_account(other).await.unwrap(), Put::OtherKind);
        assert_eq!(central.accounts().await.unwrap()[0].secret.as_deref(), Some(&b"2"[..]));
    }

    #[tokio::test]
    async fn a_login_is_one_accounts_only_and_its_tokens_replace_those_they_were_made_of() {
        let (_dir, central) = central();
        let of = |account: &str, id: &str| NewAccount {
            login: LoginRow { account_id: Some(id.into()), ..LoginRow::default() },
            ..new(account, b"old")
        };
        assert_eq!(central.put_account(of("a", "acc-1")).await.unwrap(), Put::Done);
        assert_eq!(central.put_account(of("b", "acc-1")).await.unwrap(), Put::Same(name("a")));
        assert_eq!(central.put_account(of("a", "acc-1")).await.unwrap(), Put::Done, "again");
        assert_eq!(central.put_account(of("b", "acc-2")).await.unwrap(), Put::Done);
        let replace = async |account: &str, old: &'static [u8]| {
            let still = move |sealed: &[u8]| sealed == old;
            central.replace_secret(&name(account), still, b"new".to_vec(), Some(7)).await.unwrap()
        };
        assert_eq!(replace("a", b"other").await, Some(false));
        assert_eq!(replace("a", b"old").await, Some(true));
        assert_eq!(central.account_secret(&name("a")).await.unwrap().as_deref(), Some(&b"new"[..]));
        assert_eq!(replace("nobody", b"old").await, None);
        central.wipe_account(&name("a"), "gone").await.unwrap();
        assert_eq!(replace("a", b"new").await, None);
        assert_eq!(central.put_account(of("b", "acc-1")).await.unwrap(), Put::Done, "it is free again");
    }

    #[tokio::test]
    async fn the_first_account_is_the_default_until_another_is_chosen_or_it_goes() {
        let (_dir, central) = central();
        assert_eq!(central.default_account().await.unwrap(), None);
        for account in ["a", "b"] {
            central.put_account(new(account, b"1")).await.unwrap();
        }
        assert_eq!(central.default_account().await.unwrap(), Some(name("a")));
        central.set_default_account(&name("b")).await.unwrap();
        assert!(central.remove_account(&name("a")).await.unwrap());
        assert_eq!(central.default_account().await.unwrap(), Some(name("b")));
        assert!(
            central.remove_account(&name("b")).await.unwrap() && !central.remove_account(&name("b")).await.unwrap()
        );
        assert_eq!(central.default_account().await.unwrap(), None);
    }

    #[tokio::test]
    async fn sealing_again_changes_what_opens_and_names_what_does_not() {
        let (_dir, central) = central();
        for (account, secret) in [("a", b"old"), ("b", b"bad"), ("c", b"new")] {
            central.put_account(new(account, secret)).await.unwrap();
        }
        let again = |_: &SecretOf, secret: &[u8]| match secret {
            b"old" => Ok(Some(b"new".to_vec())),
            b"new" => Ok(None),
            _ => Err(()),
        };
        let resealed = central.reseal(again).await.unwrap();
        assert_eq!(resealed.left, ["b"]);
        assert_eq!(resealed.secrets, [&b"new"[..], b"bad", b"new"]);
        let kept: Vec<_> = central.accounts().await.unwrap().into_iter().filter_map(|row| row.secret).collect();
        assert_eq!(kept, resealed.secrets);
    }
}
