//! What was said in a session's chat.

use cofferdam_protocol::ids::{MessageId, ReplyId, SessionId};
use rusqlite::{OptionalExtension, Savepoint, params};

use super::GroupDb;
use crate::model::said::{By, Said};
use crate::store::StoreError;

/// The most of one text that is read, in characters.
const TEXT_CHARS: i64 = 4000;

impl GroupDb {
    /// The newest `limit` messages and replies since the conversation was cleared, oldest first; only those before the
    /// message `before`, if it is one of the session. Of turns that have begun: what still waits was not said yet.
    pub async fn said(
        &self,
        session: &SessionId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Said>, StoreError> {
        let session = session.clone();
        self.db
            .read(move |tx| {
                let (turns, until) = range(tx, &session, before, limit)?;
                let mut said = messages(tx, &session, turns, until)?;
                let replies = replies(tx, &session, turns, until)?;
                // Each in the order of its ids: where the times are not, the clock was set back, and only turns tell.
                let in_order = |said: &[(i64, Said)]| said.is_sorted_by_key(|(_, said)| said.at);
                let set_back = !in_order(&said) || !in_order(&replies);
                said.extend(replies);
                // Messages stand before replies; of the same millisecond, those of an older turn come first.
                said.sort_by_key(|(turn, said)| (if set_back { *turn } else { 0 }, said.at, *turn));
                let surplus = said.len().saturating_sub(limit);
                Ok(said.into_iter().skip(surplus).map(|(_, said)| said).collect())
            })
            .await
    }
}

/// The turns to look at, first and last, and the time before which things were said. Each turn has at least one entry,
/// so that many turns are enough, whatever the history's length.
fn range(
    tx: &Savepoint<'_>,
    session: &SessionId,
    before: Option<MessageId>,
    limit: usize,
) -> Result<((i64, i64), i64), StoreError> {
    let (mut last, mut until) = (i64::MAX, i64::MAX);
    if let Some(before) = before {
        let row: Option<(Option<i64>, i64)> = tx
            .prepare_cached("SELECT turn, accepted_at FROM inbox WHERE id = ?1 AND session = ?2")?
            .query_row(params![before.0, session.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((turn, at)) = row {
            (last, until) = (turn.unwrap_or(i64::MAX), at);
        }
    }
    let first: Option<i64> = tx
        .prepare_cached(
            "SELECT min(id) FROM (SELECT id FROM turns WHERE session = ?1 AND id <= ?2 ORDER BY id DESC LIMIT ?3)",
        )?
        // One more: the turn of `before` may have nothing that was said before it.
        .query_row(params![session.as_str(), last, limit + 1], |row| row.get(0))?;
    Ok(((first.unwrap_or(i64::MAX), last), until))
}

fn messages(
    tx: &Savepoint<'_>,
    session: &SessionId,
    (first, last): (i64, i64),
    until: i64,
) -> Result<Vec<(i64, Said)>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT inbox.id, inbox.sender, substr(inbox.text, 1, ?5), inbox.accepted_at, turns.id
         FROM turns JOIN inbox ON inbox.turn = turns.id JOIN sessions ON sessions.id = turns.session
         WHERE turns.session = ?1 AND turns.id BETWEEN ?2 AND ?3 AND inbox.kind = 'message'
           -- What was only offered to a turn is noted at it too.
           AND inbox.state <> 'pending'
           AND inbox.accepted_at < ?4 AND inbox.id > sessions.cleared_at
         ORDER BY inbox.id",
    )?;
    let rows = statement.query_map(params![session.as_str(), first, last, until, TEXT_CHARS], |row| {
        let by = By::Person(MessageId(row.get(0)?), row.get(1)?);
        Ok((row.get(4)?, Said { by, text: row.get(2)?, at: row.get(3)? }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The agent's replies, each with its newest text. Edits and reactions are no entries of their own.
fn replies(
    tx: &Savepoint<'_>,
    session: &SessionId,
    (first, last): (i64, i64),
    until: i64,
) -> Result<Vec<(i64, Said)>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT outbox.id, substr(outbox.text, 1, ?5), outbox.created_at,
                json_extract(outbox.action, '$.edit.reply'), json_extract(outbox.action, '$.react.message'),
                turns.id
         FROM turns JOIN outbox ON outbox.turn = turns.id JOIN sessions ON sessions.id = turns.session
         WHERE turns.session = ?1 AND turns.id BETWEEN ?2 AND ?3 AND outbox.kind = 'reply' AND outbox.created_at < ?4
           AND EXISTS (SELECT 1 FROM inbox WHERE inbox.turn = turns.id AND inbox.id > sessions.cleared_at)
         ORDER BY outbox.id",
    )?;
    let mut rows = statement.query(params![session.as_str(), first, last, until, TEXT_CHARS])?;
    let mut said: Vec<(i64, Said)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, text, at): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let edited: Option<i64> = row.get(3)?;
        match edited {
            Some(reply) => {
                let earlier = said.iter_mut().find(|(_, said)| said.by == By::Agent(ReplyId(reply)));
                if let Some((_, earlier)) = earlier {
                    earlier.text = text;
                }
            }
            None if row.get::<_, Option<i64>>(4)?.is_some() => {}
            None => said.push((row.get(5)?, Said { by: By::Agent(ReplyId(id)), text, at })),
        }
    }
    Ok(said)
}
