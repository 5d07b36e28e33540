//! A turn and those before it over the same messages: what they have told the chat already.
//!
//! A message that is tried again may find in the provider's thread what was said to it. What of that the chat has, only the
//! outbox knows.

use cofferdam_protocol::ids::TurnId;
use rusqlite::{Savepoint, params};

use super::claim::goes_apart;
use crate::store::StoreError;

/// The most texts that a turn is told of; the newest.
const TOLD: usize = 5;
/// The most characters that are read of a text.
const READ_CHARS: i64 = 200;

/// The turn `?1` and all before it. Each message was in no other: a turn is noted at it before a provider may have it. What
/// still waited after one that completed was only offered to that.
pub(super) const TRIES: &str = "WITH RECURSIVE tries (turn) AS (
         SELECT ?1 UNION
         SELECT turns.earlier FROM turns JOIN tries ON turns.id = tries.turn WHERE turns.earlier IS NOT NULL)";

/// The agent's words that the chat has, or will have. One that died without a doubt is not there.
const HAS: &str =
    "outbox.turn IN (SELECT turn FROM tries JOIN turns ON turns.id = tries.turn WHERE turns.state <> 'completed')
     AND outbox.kind = 'reply' AND (outbox.state <> 'dead' OR outbox.doubt > 0)";

/// What earlier tries of a turn said to its chat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The beginnings of the newest, oldest first.
    pub newest: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

/// Whether the chat has `text` from the turn or one before it; as often as it is among `others`, once more.
pub(super) fn chat_has(
    tx: &Savepoint<'_>,
    turn: TurnId,
    text: &str,
    others: &[String],
) -> Result<bool, StoreError> {
    let sql = format!("{TRIES} SELECT count(*) FROM outbox WHERE {HAS} AND action IS NULL AND text = ?2");
    let has: usize = tx.prepare_cached(&sql)?.query_row(params![turn.0, text], |row| row.get(0))?;
    Ok(has > others.iter().filter(|other| *other == text).count())
}

/// Whether an earlier try of the turn spoke to its chat for it. One over several messages spoke for any of them.
pub(super) fn have_spoken(tx: &Savepoint<'_>, turn: TurnId) -> Result<bool, StoreError> {
    let sql = format!("{TRIES} SELECT EXISTS (SELECT 1 FROM outbox WHERE {HAS} AND action IS NULL)");
    Ok(!goes_apart(tx, turn)? && tx.prepare_cached(&sql)?.query_row([turn.0], |row| row.get(0))?)
}

/// Part of ②: what a turn's earlier tries said, for its agent.
pub(super) fn said(tx: &Savepoint<'_>, turn: TurnId) -> Result<Said, StoreError> {
    let sql = format!("{TRIES} SELECT substr(text, 1, ?2) FROM outbox WHERE {HAS} ORDER BY outbox.id DESC");
    let mut statement = tx.prepare_cached(&sql)?;
    let texts = statement.query_map(params![turn.0, READ_CHARS], |row| row.get::<_, String>(0))?;
    let mut said = Said::default();
    for text in texts {
        if said.newest.len() == TOLD {
            said.more += 1;
            continue;
        }
        said.newest.push(text?);
    }
    said.newest.reverse();
    Ok(said)
}
