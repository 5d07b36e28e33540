//! ③ ready, replies on the way, and ④ finish.

use std::collections::BTreeMap;

use cofferdam_protocol::admin::ChatOutcome;
use cofferdam_protocol::ids::{Attempt, MessageId, ReplyId, Seq, SessionId, TurnId};
use cofferdam_protocol::runner::{Finish, Model, Outcome, Thread, Work};
use jiff::tz::TimeZone;
use rusqlite::{Savepoint, params};

use super::attempts::running_turn;
use super::claim::work_of;
use super::compactions::by_hand;
use super::detail::SHOWN_CHARS;
use super::inbox::{Answered, answer};
use super::models::keep_models;
use super::outbox::insert_reply;
use super::retries::{self, has_spoken};
use super::{GroupDb, chat_of, fence, questions};
use crate::model::chat::ChatRef;
use crate::model::message::{MessageEvent, MessageState};
use crate::model::notice;
use crate::model::reply::ReplyKind;
use crate::model::turn::{TurnEvent, TurnState};
use crate::store::db::Durability;
use crate::store::{StoreError, now_ms};

/// The largest diff of a turn that is kept, in bytes; the rest of a longer one is left out.
const MOST_DIFF: usize = 512 * 1024;

/// The newest turns of a session whose diffs are kept.
const MOST_DIFFS: usize = 50;

/// What a finished turn left to do.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The chat that its replies go to.
    pub chat: ChatRef,
    /// Its replies and notices that wait for delivery, in order.
    pub replies: Vec<ReplyId>,
    /// Its messages.
    pub messages: Vec<MessageId>,
    /// How it ended for them.
    pub end: End,
    /// Stops of it that were asked for in other chats.
    pub elsewhere: Vec<Answered>,
}

/// How a turn ended for its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// They are done.
    Done(ChatOutcome),
    /// They wait for another try at this time, ms.
    Again(i64),
}

/// The provider is ready.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The conversation that the thread belongs to.
    pub generation: u64,
    /// The provider's thread.
    pub continuation: String,
    /// The models that it knows; empty leaves what is known.
    pub models: Vec<Model>,
}

impl GroupDb {
    /// ③ The provider is ready: keeps its thread and models. A repeated event changes nothing.
    pub async fn ready(
        &self,
        session: &SessionId,
        attempt: Attempt,
        seq: Seq,
        ready: Ready,
    ) -> Result<(), StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Relaxed, move |tx| {
                if !hear(tx, &session, attempt, seq)? {
                    return Ok(());
                }
                keep_models(tx, &ready.models)?;
                // A thread of an older conversation is not the session's any more.
                tx.prepare_cached("UPDATE sessions SET continuation = ?1 WHERE id = ?2 AND generation = ?3")?
                    .execute(params![ready.continuation, session.as_str(), ready.generation])?;
                Ok(())
            })
            .await
    }

    /// Puts what the agent says before its turn ends into the outbox. None when it was there already, or is nothing.
    pub async fn reply(
        &self,
        session: &SessionId,
        attempt: Attempt,
        seq: Seq,
        turn: TurnId,
        text: String,
    ) -> Result<Option<(ChatRef, ReplyId)>, StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                let new = hear(tx, &session, attempt, seq)?;
                if !new || text.trim().is_empty() || running_turn(tx, &session)? != Some(turn) {
                    return Ok(None);
                }
                let chat = chat_of_turn(tx, turn)?;
                let reply = insert_reply(tx, &session, Some(turn), &chat, ReplyKind::Reply, &text)?;
                Ok(Some((chat, reply)))
            })
            .await
    }

    /// ④ The turn's end: messages done or back for another try, continuation kept and replies in the outbox, in one
    /// transaction. `zone` is the one that people are told times in. None when the event had been kept before.
    pub async fn finish(
        &self,
        session: &SessionId,
        attempt: Attempt,
        seq: Seq,
        turn: TurnId,
        finish: Finish,
        zone: TimeZone,
    ) -> Result<Option<Finished>, StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                if !hear(tx, &session, attempt, seq)? {
                    return Ok(None);
                }
                keep_thread(tx, &session, finish.thread.as_ref())?;
                keep_figures(tx, turn, &finish)?;
                Closing { tx, session: &session, turn, chat: chat_of_turn(tx, turn)? }.end(&finish, &zone).map(Some)
            })
            .await
    }

    /// Ends the waiting messages of a session in a notice for each chat, without a turn that ran: for what only a person
    /// can mend.
    pub async fn refuse_waiting(&self, session: &SessionId, text: String) -> Result<Vec<Answered>, StoreError> {
        let session = session.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                let waiting: Vec<(MessageId, ChatRef)> = tx
                    .prepare_cached(
                        "SELECT id, channel, chat_id, thread_id FROM inbox WHERE session = ?1 AND state = 'pending'
                         ORDER BY id",
                    )?
                    .query_map([session.as_str()], |row| Ok((MessageId(row.get(0)?), chat_of(row, 1)?)))?
                    .collect::<Result<_, _>>()?;
                let mut chats: BTreeMap<ChatRef, Vec<MessageId>> = BTreeMap::new();
                for (message, chat) in waiting {
                    chats.entry(chat).or_default().push(message);
                }
                chats.iter().map(|(chat, messages)| answer(tx, &session, chat, messages.clone(), &text)).collect()
            })
            .await
    }
}

/// A turn that is being ended.
struct Closing<'a> {
    tx: &'a Savepoint<'a>,
    session: &'a SessionId,
    turn: TurnId,
    chat: ChatRef,
}

/// What decides the last words of a turn, besides its outcome.
struct Told {
    work: Work,
    /// Somebody asked for its end.
    stop: bool,
    /// The runner sent words with its end.
    spoke: bool,
}

impl Closing<'_> {
    fn end(self, finish: &Finish, zone: &TimeZone) -> Result<Finished, StoreError> {
        let Self { tx, turn, .. } = self;
        let stop = stop_requested(tx, turn)?;
        if let Some(why) = &finish.lost_thread {
            self.say(ReplyKind::Notice, &notice::thread_lost(why))?;
        }
        let work = work_of(tx, turn)?;
        // What is said of a compaction is no answer of the agent's.
        let kind = if work == Work::Compact { ReplyKind::Notice } else { ReplyKind::Reply };
        let mut spoke = false;
        for text in finish.replies.iter().filter(|text| !text.trim().is_empty()) {
            self.say(kind, text)?;
            spoke = true;
        }
        if let (Outcome::Failed(failure), false, Work::Answer) = (&finish.outcome, stop, work)
            && let Some(retry) = retries::plan(tx, turn, failure, zone)?
        {
            end_turn(tx, turn, TurnEvent::Finish(&finish.outcome))?;
            // It has no questions: those that wait for it are left to its next try.
            questions::calls_ended(tx, turn)?;
            let messages = retries::release(tx, turn, &retry)?;
            self.say(ReplyKind::Notice, &retry.text)?;
            return self.finished(messages, End::Again(retry.at), Vec::new());
        }
        questions::turn_ended(tx, self.session, turn)?;
        // Whatever a turn that was to be stopped failed of: it was stopped.
        let failed = matches!(finish.outcome, Outcome::Failed(_));
        let outcome = if stop && failed { Outcome::Interrupted } else { finish.outcome.clone() };
        end_turn(tx, turn, TurnEvent::Finish(&outcome))?;
        if let Some(words) = self.last_words(&outcome, Told { work, stop, spoke }, zone)? {
            self.say(ReplyKind::Notice, &words)?;
        }
        let words = if outcome == Outcome::Completed { notice::stopped_too_late() } else { notice::stopped() };
        let elsewhere = stopped_elsewhere(tx, self.session, turn, &self.chat, &words)?;
        let messages = finish_messages(tx, turn)?;
        self.finished(messages, End::Done(chat_outcome(&outcome)), elsewhere)
    }

    /// What Cofferdam itself says of the turn's end; never nothing when the agent said nothing (invariant 4).
    fn last_words(
        &self,
        outcome: &Outcome,
        Told { work, stop, spoke }: Told,
        zone: &TimeZone,
    ) -> Result<Option<String>, StoreError> {
        Ok(match outcome {
            Outcome::Completed if stop => Some(notice::stopped_too_late()),
            Outcome::Completed if spoke || has_spoken(self.tx, self.turn)? => None,
            Outcome::Completed if work == Work::Compact => {
                Some(notice::compacted(by_hand(self.tx, self.session, self.turn)?.as_ref()))
            }
            Outcome::Completed => Some(notice::nothing_to_say()),
            Outcome::Interrupted if stop => Some(notice::stopped()),
            Outcome::Interrupted => Some(notice::interrupted()),
            Outcome::Failed(failure) => {
                let compaction =
                    if work == Work::Compact { by_hand(self.tx, self.session, self.turn)? } else { None };
                Some(match compaction {
                    Some(compaction) => notice::compacted(Some(&compaction)),
                    None => notice::turn_failed(failure, &retries::known(self.tx, failure, zone)?),
                })
            }
        })
    }

    fn say(&self, kind: ReplyKind, text: &str) -> Result<ReplyId, StoreError> {
        insert_reply(self.tx, self.session, Some(self.turn), &self.chat, kind, text)
    }

    fn finished(
        self,
        messages: Vec<MessageId>,
        end: End,
        elsewhere: Vec<Answered>,
    ) -> Result<Finished, StoreError> {
        let replies = self
            .tx
            .prepare_cached(
                "SELECT id FROM outbox WHERE turn = ?1 AND state IN ('pending', 'leased')
                        AND channel = ?2 AND chat_id = ?3 AND thread_id IS ?4 ORDER BY id",
            )?
            .query_map(params![self.turn.0, self.chat.channel, self.chat.chat_id, self.chat.thread_id], |row| {
                Ok(ReplyId(row.get(0)?))
            })?
            .collect::<Result<_, _>>()?;
        Ok(Finished { chat: self.chat, replies, messages, end, elsewhere })
    }
}

fn chat_outcome(outcome: &Outcome) -> ChatOutcome {
    match outcome {
        Outcome::Completed => ChatOutcome::Replied,
        Outcome::Interrupted => ChatOutcome::Interrupted,
        Outcome::Failed(failure) => ChatOutcome::Failed { kind: failure.kind },
    }
}

/// Keeps where the conversation stands, unless it was cleared meanwhile.
fn keep_thread(tx: &Savepoint<'_>, session: &SessionId, thread: Option<&Thread>) -> Result<(), StoreError> {
    let Some(thread) = thread else { return Ok(()) };
    tx.prepare_cached(
        "UPDATE sessions SET continuation = coalesce(?1, continuation), since_compaction = ?2, last_total = ?3
         WHERE id = ?4 AND generation = ?5",
    )?
    .execute(params![
        thread.continuation,
        thread.meter.since_compaction,
        thread.meter.last_total,
        session.as_str(),
        thread.generation,
    ])?;
    Ok(())
}

/// Hears an event of an attempt: refused from a stale one, and false when it was heard before.
pub(super) fn hear(
    tx: &Savepoint<'_>,
    session: &SessionId,
    attempt: Attempt,
    seq: Seq,
) -> Result<bool, StoreError> {
    fence(tx, session, attempt)?;
    let heard = tx
        .prepare_cached("UPDATE sessions SET last_seq = ?1, active_at = ?2 WHERE id = ?3 AND last_seq < ?1")?
        .execute(params![seq.0, now_ms(), session.as_str()])?;
    Ok(heard > 0)
}

/// Moves a turn on, through its one transition function.
pub(super) fn end_turn(tx: &Savepoint<'_>, turn: TurnId, event: TurnEvent<'_>) -> Result<TurnState, StoreError> {
    let now: String =
        tx.prepare_cached("SELECT state FROM turns WHERE id = ?1")?.query_row([turn.0], |row| row.get(0))?;
    let next = TurnState::parse(&now).ok_or(StoreError::Unknown { what: "turn state", value: now })?.next(event)?;
    tx.prepare_cached("UPDATE turns SET state = ?1, finished_at = ?2 WHERE id = ?3")?.execute(params![
        next.as_str(),
        now_ms(),
        turn.0
    ])?;
    forget_much(tx, turn)?;
    Ok(next)
}

/// Lets go of what grows with every turn: a call's answer is said again only while its turn runs, and people look at
/// its beginning and at the newest diffs.
fn forget_much(tx: &Savepoint<'_>, turn: TurnId) -> Result<(), StoreError> {
    tx.prepare_cached(
        "UPDATE tool_calls SET answer = substr(answer, 1, ?2) WHERE turn = ?1 AND length(answer) > ?2",
    )?
    .execute(params![turn.0, SHOWN_CHARS])?;
    // Each end moves the bound by one turn, so that there are never many behind it.
    tx.prepare_cached(
        "UPDATE turns SET diff = NULL WHERE diff IS NOT NULL AND id IN (
             SELECT id FROM turns WHERE session = (SELECT session FROM turns WHERE id = ?1)
             ORDER BY id DESC LIMIT 10 OFFSET ?2)",
    )?
    .execute(params![turn.0, MOST_DIFFS])?;
    Ok(())
}

fn keep_figures(tx: &Savepoint<'_>, turn: TurnId, finish: &Finish) -> Result<(), StoreError> {
    let failure = match &finish.outcome {
        Outcome::Failed(failure) => Some(failure),
        _ => None,
    };
    let kind = failure.map(|f| serde_json::to_value(f.kind).unwrap_or_default());
    let usage = finish.usage;
    tx.prepare_cached(
        "UPDATE turns SET failure_kind = ?1, failure_message = ?2, input_tokens = ?3, cached_tokens = ?4,
                output_tokens = ?5, reasoning_tokens = ?6, provider_ms = ?7, diff = ?8 WHERE id = ?9",
    )?
    .execute(params![
        kind.as_ref().and_then(|k| k.as_str()),
        failure.map(|f| &f.message),
        usage.map(|u| u.input),
        usage.map(|u| u.cached_input),
        usage.map(|u| u.output),
        usage.map(|u| u.reasoning),
        finish.provider_millis,
        finish.diff.as_deref().map(bounded),
        turn.0,
    ])?;
    Ok(())
}

/// A diff up to its bound, in whole lines.
fn bounded(diff: &str) -> &str {
    if diff.len() <= MOST_DIFF {
        return diff;
    }
    let cut = diff.floor_char_boundary(MOST_DIFF);
    diff[..cut].rfind('\n').map_or("", |end| &diff[..=end])
}

/// A turn's messages are done.
pub(super) fn finish_messages(tx: &Savepoint<'_>, turn: TurnId) -> Result<Vec<MessageId>, StoreError> {
    let done = MessageState::Claimed.next(MessageEvent::Finish)?;
    let mut statement =
        tx.prepare_cached("UPDATE inbox SET state = ?1 WHERE turn = ?2 AND state = 'claimed' RETURNING id")?;
    let rows = statement.query_map(params![done.as_str(), turn.0], |row| Ok(MessageId(row.get(0)?)))?;
    let mut ids: Vec<_> = rows.collect::<Result<_, _>>()?;
    ids.sort();
    Ok(ids)
}

/// Whether somebody asked for the turn's end.
pub(super) fn stop_requested(tx: &Savepoint<'_>, turn: TurnId) -> Result<bool, StoreError> {
    Ok(tx
        .prepare_cached("SELECT stop_requested FROM turns WHERE id = ?1")?
        .query_row([turn.0], |row| row.get(0))?)
}

/// Ends the stops that were asked for from elsewhere than where the turn answers, each in a notice in its own chat.
pub(super) fn stopped_elsewhere(
    tx: &Savepoint<'_>,
    session: &SessionId,
    turn: TurnId,
    chat: &ChatRef,
    text: &str,
) -> Result<Vec<Answered>, StoreError> {
    let stops: Vec<(MessageId, ChatRef)> = tx
        .prepare_cached(
            "SELECT id, channel, chat_id, thread_id FROM inbox
             WHERE turn = ?1 AND state = 'claimed' AND kind = 'stop' ORDER BY id",
        )?
        .query_map([turn.0], |row| Ok((MessageId(row.get(0)?), chat_of(row, 1)?)))?
        .collect::<Result<_, _>>()?;
    let done = MessageState::Claimed.next(MessageEvent::Finish)?;
    let mut ended: Vec<Answered> = Vec::new();
    for (message, other) in stops.into_iter().filter(|(_, other)| other != chat) {
        tx.prepare_cached("UPDATE inbox SET state = ?1 WHERE id = ?2")?
            .execute(params![done.as_str(), message.0])?;
        match ended.iter_mut().find(|ended| ended.chat == other) {
            Some(ended) => ended.messages.push(message),
            None => {
                let reply = insert_reply(tx, session, Some(turn), &other, ReplyKind::Notice, text)?;
                ended.push(Answered { messages: vec![message], chat: other, reply });
            }
        }
    }
    Ok(ended)
}

/// The chat of a turn's messages.
pub(super) fn chat_of_turn(tx: &Savepoint<'_>, turn: TurnId) -> Result<ChatRef, StoreError> {
    Ok(tx
        .prepare_cached("SELECT channel, chat_id, thread_id FROM inbox WHERE turn = ?1 ORDER BY id LIMIT 1")?
        .query_row([turn.0], |row| chat_of(row, 0))?)
}
