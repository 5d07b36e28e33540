//! What model calls cost, and the newest of them one by one.
//!
//! Both are written together when a call is over, and no promise stands on them: a power cut may take the last of them,
//! the death of our process none that was written.

use cofferdam_protocol::admin::{CallOutcome, MAX_ACTIVITY, Missed, Tokens, UsageBy, UsageRow, UsageSum};
use cofferdam_protocol::ids::{AccountName, SessionId};
use rusqlite::{Row, Savepoint, params};

use super::{GroupDb, session_of};
use crate::store::StoreError;
use crate::store::db::Durability;

/// How many models a session's day may have with one account by name. A container names the model it asks for, and must not
/// fill the table with names.
const MOST_MODELS: i64 = 32;
/// The name of those beyond.
const OTHER_MODELS: &str = "(others)";
/// The name of a model that nobody named.
const NO_MODEL: &str = "(unnamed)";

/// A model call that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRow {
    /// When it ended, ms since 1970.
    pub at: i64,
    /// Whose it was.
    pub session: SessionId,
    /// The account that served it, if one did.
    pub account: Option<AccountName>,
    /// Those that were asked before.
    pub missed: Vec<Missed>,
    /// The model, as the vendor named it, else as it was asked for.
    pub model: Option<String>,
    /// What was called.
    pub route: String,
    /// What became of it.
    pub outcome: CallOutcome,
    /// More of that.
    pub why: Option<String>,
    /// How long it took, ms.
    pub millis: u64,
    /// What it cost, if the vendor told.
    pub tokens: Option<Tokens>,
}

impl GroupDb {
    /// Keeps calls that are over, each with the day that it counts for. The oldest activity makes room.
    pub async fn note_calls(&self, calls: Vec<(String, CallRow)>) -> Result<(), StoreError> {
        self.db
            .write(Durability::Relaxed, move |tx| {
                for (day, call) in &calls {
                    count(tx, day, call)?;
                    remember(tx, call)?;
                }
                tx.prepare_cached(
                    "DELETE FROM model_calls
                     WHERE id <= (SELECT id FROM model_calls ORDER BY id DESC LIMIT 1 OFFSET ?1)",
                )?
                .execute([MAX_ACTIVITY])?;
                Ok(())
            })
            .await
    }

    /// What calls cost, from a day on if one is named, added up. A row has what it was added up by, but for the group.
    pub async fn usage(&self, by: UsageBy, since: Option<String>) -> Result<Vec<UsageRow>, StoreError> {
        self.db
            .read(move |tx| {
                let sql = format!(
                    "SELECT sum(calls), sum(input), sum(cached), sum(output), sum(reasoning), {key} AS key
                     FROM usage WHERE day >= ?1 GROUP BY key ORDER BY key",
                    key = key(by)
                );
                let mut statement = tx.prepare_cached(&sql)?;
                let rows = statement.query_and_then([since.unwrap_or_default()], |row| usage_row(row, by))?;
                rows.collect()
            })
            .await
    }

    /// The newest calls, newest first.
    pub async fn activity(&self, limit: u32) -> Result<Vec<CallRow>, StoreError> {
        self.db
            .read(move |tx| {
                let mut statement = tx.prepare_cached(
                    "SELECT at, session, account, missed, model, route, outcome, why, millis, input, cached, output,
                            reasoning
                     FROM model_calls ORDER BY id DESC LIMIT ?1",
                )?;
                statement.query_and_then([limit], call_row)?.collect()
            })
            .await
    }
}

/// Adds a call to its day. One that no account served cost nothing.
fn count(tx: &Savepoint<'_>, day: &str, call: &CallRow) -> Result<(), StoreError> {
    let Some(account) = &call.account else { return Ok(()) };
    let tokens = call.tokens.unwrap_or_default();
    let model = model_of(tx, day, call, account)?;
    tx.prepare_cached(
        "INSERT INTO usage (day, session, account, model, calls, input, cached, output, reasoning)
         VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8)
         ON CONFLICT DO UPDATE SET calls = calls + 1, input = input + excluded.input,
             cached = cached + excluded.cached, output = output + excluded.output,
             reasoning = reasoning + excluded.reasoning",
    )?
    .execute(params![
        day,
        call.session.as_str(),
        account.as_str(),
        model,
        tokens.input_tokens,
        tokens.cached_input_tokens,
        tokens.output_tokens,
        tokens.reasoning_tokens,
    ])?;
    Ok(())
}

fn model_of<'c>(
    tx: &Savepoint<'_>,
    day: &str,
    call: &'c CallRow,
    account: &AccountName,
) -> Result<&'c str, StoreError> {
    let model = call.model.as_deref().unwrap_or(NO_MODEL);
    let others: i64 = tx
        .prepare_cached(
            "SELECT count(*) FROM usage WHERE day = ?1 AND session = ?2 AND account = ?3 AND model <> ?4
             AND NOT EXISTS (SELECT 1 FROM usage WHERE day = ?1 AND session = ?2 AND account = ?3 AND model = ?4)",
        )?
        .query_row(params![day, call.session.as_str(), account.as_str(), model], |row| row.get(0))?;
    Ok(if others < MOST_MODELS { model } else { OTHER_MODELS })
}

fn remember(tx: &Savepoint<'_>, call: &CallRow) -> Result<(), StoreError> {
    let missed = serde_json::to_string(&call.missed).unwrap_or_else(|_| "[]".to_owned());
    tx.prepare_cached(
        "INSERT INTO model_calls (at, session, account, missed, model, route, outcome, why, millis, input, cached,
                                  output, reasoning)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        call.at,
        call.session.as_str(),
        call.account.as_ref().map(AccountName::as_str),
        missed,
        call.model,
        call.route,
        call.outcome.as_str(),
        call.why,
        call.millis,
        call.tokens.map(|tokens| tokens.input_tokens),
        call.tokens.map(|tokens| tokens.cached_input_tokens),
        call.tokens.map(|tokens| tokens.output_tokens),
        call.tokens.map(|tokens| tokens.reasoning_tokens),
    ])?;
    Ok(())
}

/// What rows of one line have in common. A group's lines have the group in common already.
fn key(by: UsageBy) -> &'static str {
    match by {
        UsageBy::Group => "''",
        UsageBy::Session => "session",
        UsageBy::Account => "account",
        UsageBy::Model => "model",
        UsageBy::Day => "day",
    }
}

fn usage_row(row: &Row<'_>, by: UsageBy) -> Result<UsageRow, StoreError> {
    let tokens = Tokens {
        input_tokens: row.get(1)?,
        cached_input_tokens: row.get(2)?,
        output_tokens: row.get(3)?,
        reasoning_tokens: row.get(4)?,
    };
    let mut line = UsageRow { sum: UsageSum { calls: row.get(0)?, tokens }, ..UsageRow::default() };
    let key: String = row.get(5)?;
    match by {
        UsageBy::Group => {}
        UsageBy::Session => line.session = Some(session_of(key)?),
        UsageBy::Account => line.account = Some(account_of(key)?),
        UsageBy::Model => line.model = Some(key),
        UsageBy::Day => line.day = Some(key),
    }
    Ok(line)
}

fn call_row(row: &Row<'_>) -> Result<CallRow, StoreError> {
    let missed: String = row.get(3)?;
    let outcome: String = row.get(6)?;
    let tokens = |input_tokens| -> rusqlite::Result<Tokens> {
        Ok(Tokens {
            input_tokens,
            cached_input_tokens: row.get(10)?,
            output_tokens: row.get(11)?,
            reasoning_tokens: row.get(12)?,
        })
    };
    Ok(CallRow {
        at: row.get(0)?,
        session: session_of(row.get(1)?)?,
        account: row.get::<_, Option<String>>(2)?.map(account_of).transpose()?,
        missed: serde_json::from_str(&missed).unwrap_or_default(),
        model: row.get(4)?,
        route: row.get(5)?,
        outcome: CallOutcome::parse(&outcome)
            .ok_or(StoreError::Unknown { what: "outcome of a model call", value: outcome })?,
        why: row.get(7)?,
        millis: row.get(8)?,
        tokens: row.get::<_, Option<u64>>(9)?.map(tokens).transpose()?,
    })
}

fn account_of(name: String) -> Result<AccountName, StoreError> {
    name.parse().map_err(|_| StoreError::Unknown { what: "account", value: name })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "2026-11-21";

    fn session(digit: char) -> SessionId {
        digit.to_string().repeat(32).parse().unwrap()
    }

    fn call(digit: char, account: &str, model: &str) -> CallRow {
        CallRow {
            at: 1_795_266_209_000,
            session: session(digit),
            account: Some(account.parse().unwrap()),
            missed: Vec::new(),
            model: Some(model.into()),
            route: "responses".into(),
            outcome: CallOutcome::Completed,
            why: None,
            millis: 12,
            tokens: Some(Tokens {
                input_tokens: 100,
                cached_input_tokens: 40,
                output_tokens: 10,
                reasoning_tokens: 3,
            }),
        }
    }

    fn open() -> (tempfile::TempDir, GroupDb) {
        let dir = tempfile::tempdir().unwrap();
        let db = GroupDb::open("demo".parse().unwrap(), &dir.path().join("state.db")).unwrap();
        (dir, db)
    }

    async fn note(db: &GroupDb, day: &str, calls: impl IntoIterator<Item = CallRow>) {
        db.note_calls(calls.into_iter().map(|call| (day.to_owned(), call)).collect()).await.unwrap();
    }

    fn figures(row: &UsageRow) -> (u64, u64, u64, u64, u64) {
        let UsageSum { calls, tokens } = row.sum;
        (calls, tokens.input_tokens, tokens.cached_input_tokens, tokens.output_tokens, tokens.reasoning_tokens)
    }

    #[tokio::test]
    async fn usage_is_added_up_by_whatever_is_asked_and_from_the_day_on() {
        let (_dir, db) = open();
        let told_nothing = CallRow { tokens: None, model: None, ..call('a', "work", "") };
        note(&db, "2026-11-20", [call('a', "work", "sol")]).await;
        note(&db, DAY, [call('a', "work", "sol"), call('b', "home", "luna"), told_nothing]).await;
        let by = async |by, since: Option<&str>| db.usage(by, since.map(str::to_owned)).await.unwrap();
        assert_eq!(figures(&by(UsageBy::Group, None).await[0]), (4, 300, 120, 30, 9));
        assert_eq!(figures(&by(UsageBy::Group, Some(DAY)).await[0]), (3, 200, 80, 20, 6));
        let days = by(UsageBy::Day, None).await;
        assert_eq!(days.iter().map(|row| row.day.as_deref().unwrap()).collect::<Vec<_>>(), ["2026-11-20", DAY]);
        let sessions = by(UsageBy::Session, None).await;
        assert_eq!((sessions[0].session.clone(), sessions[0].sum.calls), (Some(session('a')), 3));
        let accounts = by(UsageBy::Account, None).await;
        let names: Vec<_> = accounts.iter().map(|row| row.account.as_ref().unwrap().as_str()).collect();
        assert_eq!((names, accounts[0].sum.calls), (vec!["home", "work"], 1));
        let models = by(UsageBy::Model, None).await;
        let names: Vec<_> = models.iter().map(|row| row.model.as_deref().unwrap()).collect();
        assert_eq!(names, [NO_MODEL, "luna", "sol"]);
        assert_eq!(by(UsageBy::Group, Some("2026-11-22")).await, []);
    }

    #[tokio::test]
    async fn what_nobody_served_costs_nothing_and_is_remembered_with_its_reasons() {
        let (_dir, db) = open();
        let missed = CallRow {
            account: None,
            missed: vec![Missed { account: "work".parse().unwrap(), why: "its limit is reached".into() }],
            outcome: CallOutcome::Failed,
            why: Some("429".into()),
            tokens: None,
            ..call('a', "work", "sol")
        };
        note(&db, DAY, [missed.clone(), call('b', "work", "sol")]).await;
        assert_eq!(db.usage(UsageBy::Group, None).await.unwrap()[0].sum.calls, 1);
        assert_eq!(db.activity(10).await.unwrap(), [call('b', "work", "sol"), missed]);
        assert_eq!(db.activity(1).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_newest_thousand_are_remembered_and_all_are_counted() {
        let (_dir, db) = open();
        let numbered = |n: u64| CallRow { millis: n, ..call('a', "work", "sol") };
        note(&db, DAY, (0..1_100).map(numbered)).await;
        note(&db, DAY, [numbered(1_100)]).await;
        let kept = db.activity(u32::MAX).await.unwrap();
        assert_eq!((kept.len(), kept[0].millis, kept[999].millis), (1_000, 1_100, 101));
        assert_eq!(db.usage(UsageBy::Group, None).await.unwrap()[0].sum.calls, 1_101);
    }

    /// A container says which model it wants, in each call another one if it likes.
    #[tokio::test]
    async fn names_of_models_cannot_fill_the_table() {
        let (_dir, db) = open();
        note(&db, DAY, (0..100).map(|n| call('a', "work", &format!("model-{n}")))).await;
        note(&db, DAY, [call('a', "work", "model-0"), call('b', "work", "model-99")]).await;
        let models = db.usage(UsageBy::Model, None).await.unwrap();
        let calls =
            |name: &str| models.iter().find(|row| row.model.as_deref() == Some(name)).map(|row| row.sum.calls);
        assert_eq!(models.len(), 34);
        assert_eq!((calls("model-0"), calls(OTHER_MODELS), calls("model-99")), (Some(2), Some(68), Some(1)));
    }

    #[tokio::test]
    async fn sums_do_not_overflow_whatever_one_call_says() {
        let (_dir, db) = open();
        let most = Tokens { input_tokens: 1_000_000_000_000, ..Tokens::default() };
        let huge = || CallRow { tokens: Some(most), ..call('a', "work", "sol") };
        note(&db, DAY, (0..1_000).map(|_| huge())).await;
        assert_eq!(db.usage(UsageBy::Day, None).await.unwrap()[0].sum.tokens.input_tokens, 1_000_000_000_000_000);
    }
}
