//! How an approval ends: by a decision, by its time, or because what it asks for was done another way.

use cofferdam_protocol::ids::{Folder, ReplyId};
use rusqlite::{Savepoint, params};

use super::approvals::ApprovalRow;
use super::db::Durability;
use super::own_states::step_approval;
use super::people::known;
use super::posts::{self, NewPost};
use super::{Central, StoreError, asking, drops, group, late, wirings};
use crate::model::approval::{ApprovalEvent, ApprovalKind, ApprovalState};
use crate::model::chat::ChatRef;

/// Who decided on what was done another way: a wiring, a role or a pairing, in words after "approved by".
const BY_HAND: &str = "hand";

impl Central {
    /// Ends approvals whose chat was wired, or whose sender got a role, in another way: by a pairing code, or on the host. What they
    /// hold waits to be taken in. Answers the chats that have news.
    pub async fn settle_met(&self) -> Result<Vec<ChatRef>, StoreError> {
        if self.open_approvals().await? == 0 {
            return Ok(Vec::new());
        }
        self.db
            .write(Durability::Durable, |tx| {
                let mut news = Vec::new();
                for row in asking::open(tx)? {
                    let about = (row.kind, row.channel.as_str(), row.chat_id.as_str());
                    if is_met(tx, about, row.user_id.as_deref(), row.folder.as_ref())? {
                        let choice = choice(tx, &row)?;
                        news.extend(settle(tx, &row, ApprovalEvent::Approve, Some((&choice, BY_HAND)))?);
                    }
                }
                Ok(news)
            })
            .await
    }
}

/// Whether what is asked is so already.
pub(super) fn is_met(
    tx: &Savepoint<'_>,
    (kind, channel, chat_id): (ApprovalKind, &str, &str),
    user: Option<&str>,
    folder: Option<&Folder>,
) -> Result<bool, StoreError> {
    Ok(match (kind, user, folder) {
        (ApprovalKind::Wiring, ..) => !wirings::wirings_of(tx, channel, chat_id)?.is_empty(),
        (ApprovalKind::Sender, Some(user), Some(folder)) => known(tx, channel, user)?.role(folder).is_some(),
        (ApprovalKind::Sender, ..) => false,
    })
}

/// What was chosen by doing it.
fn choice(tx: &Savepoint<'_>, row: &ApprovalRow) -> Result<String, StoreError> {
    Ok(match (row.kind, &row.user_id, &row.folder) {
        (ApprovalKind::Sender, Some(user), Some(folder)) => {
            known(tx, &row.channel, user)?.role(folder).map(|role| role.as_str().to_owned()).unwrap_or_default()
        }
        _ => {
            let wirings = wirings::wirings_of(tx, &row.channel, &row.chat_id)?;
            wirings.iter().map(|wiring| wiring.folder.as_str()).collect::<Vec<_>>().join(", ")
        }
    })
}

/// Ends an approval; what was held waits to be taken in, or is dropped if it is not allowed. Everybody who was asked reads how it
/// ended, in place of the question.
pub(super) fn settle(
    tx: &Savepoint<'_>,
    row: &ApprovalRow,
    event: ApprovalEvent,
    decided: Option<(&str, &str)>,
) -> Result<Vec<ChatRef>, StoreError> {
    let next = step_approval(tx, row.id, event, decided)?;
    match next {
        ApprovalState::Approved => drop(late::release(tx)?),
        ApprovalState::Denied => drop_held(tx, row, "denied")?,
        ApprovalState::Open | ApprovalState::Expired => drop_held(tx, row, "unanswered")?,
    }
    let end = match (next, decided) {
        (ApprovalState::Approved, Some((choice, by))) => format!("approved by {by}: {choice}"),
        (ApprovalState::Denied, Some((_, by))) => format!("denied by {by}"),
        _ => "nobody answered in time; nothing is allowed".to_owned(),
    };
    let mut statement =
        tx.prepare("SELECT id, channel, chat_id, thread_id FROM posts WHERE approval = ?1 ORDER BY id")?;
    let asked = statement.query_map([row.id], |row| Ok((ReplyId(row.get(0)?), group::chat_of(row, 1)?)))?;
    let asked: Vec<_> = asked.collect::<Result<_, _>>()?;
    let mut news = Vec::new();
    for (post, chat) in asked {
        let text = format!("{}\n→ {end}", row.words);
        posts::change(tx, post, &NewPost::new(chat.clone(), text))?;
        news.push(chat);
    }
    Ok(news)
}

/// Drops what an approval held, each counted.
fn drop_held(tx: &Savepoint<'_>, row: &ApprovalRow, reason: &str) -> Result<(), StoreError> {
    let held: Vec<String> = tx
        .prepare_cached(
            "SELECT coalesce(iif(json_valid(arrival), json_extract(arrival, '$.sender.id'), NULL), '') FROM held
             WHERE approval = ?1",
        )?
        .query_map([row.id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for sender in &held {
        drops::count(tx, (&row.channel, &row.chat_id, sender), reason)?;
    }
    tx.prepare_cached("DELETE FROM held WHERE approval = ?1")?.execute(params![row.id])?;
    Ok(())
}
