//! What people ask of Cofferdam itself in a chat. Each command ends in exactly one notice.

use cofferdam_protocol::ids::{MessageId, SessionId};
use rusqlite::{Savepoint, params};

use super::GroupDb;
use super::attempts::running_turn;
use super::claim::has_thread;
use super::inbox::{Answered, Waiting, answer, walk};
use super::models::{Chosen, Inherited, chosen, effort_setting, model_setting, read_models, takes};
use super::states::step_message;
use crate::config::error::nearest;
use crate::model::chat::ChatRef;
use crate::model::command::{Choice, Command, MessageKind};
use crate::model::message::MessageEvent;
use crate::model::notice;
use crate::model::pin;
use crate::store::StoreError;
use crate::store::db::Durability;

/// What waits for a session that has no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A turn, now: its container is needed.
    Turn,
    /// Commands, now: they need no container.
    Commands,
    /// Nothing before this time, ms; none: nothing at all.
    Later(Option<i64>),
}

impl GroupDb {
    /// What the session's oldest message that is due asks for.
    pub async fn due(&self, session: &SessionId) -> Result<Due, StoreError> {
        let session = session.clone();
        self.db
            .read(move |tx| {
                if running_turn(tx, &session)?.is_some() {
                    return Ok(Due::Turn);
                }
                Ok(match head(tx, &session)? {
                    (Some(head), _) if needs_turn(tx, &session, &head)? => Due::Turn,
                    (Some(_), _) => Due::Commands,
                    (None, next) => Due::Later(next),
                })
            })
            .await
    }

    /// Does the commands that stand before the oldest message that is due. While a turn runs, they wait for its end.
    pub async fn do_commands(
        &self,
        session: &SessionId,
        inherited: Inherited,
    ) -> Result<Vec<Answered>, StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                let mut answered = Vec::new();
                if running_turn(tx, &session)?.is_some() {
                    return Ok(answered);
                }
                while let (Some(head), _) = head(tx, &session)? {
                    if needs_turn(tx, &session, &head)? {
                        break;
                    }
                    let words = obey(tx, &session, &head, &inherited)?;
                    answered.push(answer(tx, &session, &head.chat, vec![head.id], &words)?);
                }
                Ok(answered)
            })
            .await
    }
}

/// The oldest waiting message that is due; else when there is one.
fn head(tx: &Savepoint<'_>, session: &SessionId) -> Result<(Option<Waiting>, Option<i64>), StoreError> {
    let mut head = None;
    let next = walk(
        tx,
        session,
        |_, _| true,
        |row| {
            head = Some(row);
            false
        },
    )?;
    Ok((head, next))
}

fn needs_turn(tx: &Savepoint<'_>, session: &SessionId, head: &Waiting) -> Result<bool, StoreError> {
    match head.kind {
        MessageKind::Message => Ok(true),
        MessageKind::Compact => has_thread(tx, session),
        _ => Ok(false),
    }
}

/// Does one command; answers the words of its notice.
fn obey(
    tx: &Savepoint<'_>,
    session: &SessionId,
    head: &Waiting,
    inherited: &Inherited,
) -> Result<String, StoreError> {
    match Command::parse(&head.text) {
        Some(Command::Clear) => clear(tx, session, head.id),
        Some(Command::Model(choice)) => choose_model(tx, session, &choice, inherited),
        Some(Command::Effort(choice)) => choose_effort(tx, session, &choice, inherited),
        Some(Command::Account(choice)) => choose_account(tx, session, &choice, inherited),
        Some(Command::Compact) => Ok(notice::nothing_to_compact()),
        // A stop is done when it is accepted; one that is left had nothing to stop.
        Some(Command::Stop) | None => Ok(notice::nothing_runs()),
    }
}

/// The next turn begins a new conversation; what came after the command belongs to it.
fn clear(tx: &Savepoint<'_>, session: &SessionId, at: MessageId) -> Result<String, StoreError> {
    tx.prepare_cached(
        "UPDATE sessions SET generation = generation + 1, continuation = NULL, since_compaction = 0, last_total = NULL,
                cleared_at = ?1 WHERE id = ?2",
    )?
    .execute(params![at.0, session.as_str()])?;
    Ok(notice::cleared())
}

fn choose_model(
    tx: &Savepoint<'_>,
    session: &SessionId,
    choice: &Choice,
    inherited: &Inherited,
) -> Result<String, StoreError> {
    let (models, mut chosen) = (read_models(tx)?, chosen(tx, session)?);
    let setting = model_setting(&models, &chosen, inherited);
    let mut words = match choice {
        Choice::Show => return Ok(setting.words()),
        Choice::Default => {
            chosen.model = None;
            model_setting(&models, &chosen, inherited).back()
        }
        Choice::Named(wish) => match setting.choose(wish, near) {
            Ok((name, words)) => {
                chosen.model = Some(name);
                words
            }
            Err(refusal) => return Ok(refusal),
        },
    };
    // Another model may not take the effort that was chosen for the one before.
    if let Some(effort) = chosen.effort.clone()
        && !takes(&effort_setting(&models, &chosen, inherited).known, &effort)
    {
        chosen.effort = None;
        words += &format!(" It does not take the effort {effort}; that is taken back.");
    }
    keep(tx, session, &chosen)?;
    Ok(words)
}

fn choose_effort(
    tx: &Savepoint<'_>,
    session: &SessionId,
    choice: &Choice,
    inherited: &Inherited,
) -> Result<String, StoreError> {
    let (models, mut chosen) = (read_models(tx)?, chosen(tx, session)?);
    let setting = effort_setting(&models, &chosen, inherited);
    let words = match choice {
        Choice::Show => return Ok(setting.words()),
        Choice::Default => {
            chosen.effort = None;
            effort_setting(&models, &chosen, inherited).back()
        }
        Choice::Named(wish) => match setting.choose(wish, near) {
            Ok((name, words)) => {
                chosen.effort = Some(name);
                words
            }
            Err(refusal) => return Ok(refusal),
        },
    };
    keep(tx, session, &chosen)?;
    Ok(words)
}

fn choose_account(
    tx: &Savepoint<'_>,
    session: &SessionId,
    choice: &Choice,
    inherited: &Inherited,
) -> Result<String, StoreError> {
    let mut chosen = chosen(tx, session)?;
    let (change, words) = pin::obey(choice, &inherited.accounts, chosen.account.as_deref(), near);
    if let Some(account) = change {
        chosen.account = account;
        keep(tx, session, &chosen)?;
    }
    Ok(words)
}

fn near(wish: &str, known: &[String]) -> Option<String> {
    nearest(wish, known.iter().map(String::as_str)).map(str::to_owned)
}

fn keep(tx: &Savepoint<'_>, session: &SessionId, chosen: &Chosen) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE sessions SET model = ?1, effort = ?2, account = ?3 WHERE id = ?4")?
        .execute(params![chosen.model, chosen.effort, chosen.account, session.as_str()])?;
    Ok(())
}

/// Does a `/stop` that was just put into the inbox: it joins the session's running turn, whose end is then its answer;
/// or else it ends what waits in its chat.
pub(super) fn stop(
    tx: &Savepoint<'_>,
    session: &SessionId,
    id: MessageId,
    chat: &ChatRef,
) -> Result<Option<Answered>, StoreError> {
    if let Some(turn) = running_turn(tx, session)? {
        step_message(tx, id, MessageEvent::Claim)?;
        tx.prepare_cached("UPDATE inbox SET turn = ?1 WHERE id = ?2")?.execute([turn.0, id.0])?;
        tx.prepare_cached("UPDATE turns SET stop_requested = 1 WHERE id = ?1")?.execute([turn.0])?;
        return Ok(None);
    }
    let mut messages: Vec<MessageId> = tx
        .prepare_cached(
            "SELECT id FROM inbox WHERE session = ?1 AND state = 'pending'
                    AND channel = ?2 AND chat_id = ?3 AND thread_id IS ?4 AND id <> ?5 ORDER BY id",
        )?
        .query_map(params![session.as_str(), chat.channel, chat.chat_id, chat.thread_id, id.0], |row| {
            Ok(MessageId(row.get(0)?))
        })?
        .collect::<Result<_, _>>()?;
    let words = if messages.is_empty() { notice::nothing_runs() } else { notice::stopped_waiting(messages.len()) };
    messages.push(id);
    answer(tx, session, chat, messages, &words).map(Some)
}
