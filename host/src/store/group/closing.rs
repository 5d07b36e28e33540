//! ④ finish, the end of a turn: what becomes of its messages, and what is said of it.

use cofferdam_protocol::admin::ChatOutcome;
use cofferdam_protocol::ids::{Attempt, MessageId, ReplyId, Seq, SessionId, TurnId};
use cofferdam_protocol::runner::{Failure, FailureKind, Finish, Outcome, Thread, Work};
use jiff::tz::TimeZone;
use rusqlite::{Savepoint, params};

use super::claim::work_of;
use super::compactions::by_hand;
use super::inbox::Answered;
use super::outbox::insert_reply;
use super::retries::{self, has_spoken};
use super::states::{claimed, step_messages};
use super::turns::{chat_of_turn, end_turn, finish_messages, hear, stop_requested, stopped_elsewhere};
use super::{GroupDb, dead_letters, earlier, questions};
use crate::hooks;
use crate::model::chat::ChatRef;
use crate::model::dead_letter::Cause;
use crate::model::failure::is_worth_a_retry;
use crate::model::message::MessageEvent;
use crate::model::notice;
use crate::model::reply::ReplyKind;
use crate::model::turn::TurnEvent;
use crate::store::StoreError;
use crate::store::db::Durability;

/// The largest diff of a turn that is kept, in bytes; the rest of a longer one is left out.
const MOST_DIFF: usize = 512 * 1024;

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

impl GroupDb {
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
        let (session, folder) = (session.clone(), self.folder().to_string());
        self.db
            .write(Durability::Durable, move |tx| {
                if !hear(tx, &session, attempt, seq)? {
                    return Ok(None);
                }
                keep_thread(tx, &session, finish.thread.as_ref())?;
                keep_figures(tx, turn, &finish)?;
                let chat = chat_of_turn(tx, turn)?;
                let closing = Closing { tx, folder: &folder, session: &session, turn, chat };
                let finished = closing.end(&finish, &zone)?;
                hooks::crash_point("finish.before_commit");
                Ok(Some(finished))
            })
            .await
    }
}

/// A turn that is being ended.
struct Closing<'a> {
    tx: &'a Savepoint<'a>,
    folder: &'a str,
    session: &'a SessionId,
    turn: TurnId,
    chat: ChatRef,
}

/// What decides the last words of a turn, besides its outcome.
struct Told<'a> {
    work: Work,
    /// Somebody asked for its end.
    stop: bool,
    /// The runner sent words with its end.
    spoke: bool,
    /// Some of them the chat had from an earlier turn.
    repeats: bool,
    /// Messages that wait, and are given up with its own.
    rest: &'a [MessageId],
}

impl Closing<'_> {
    /// Ends it: its messages, its words, and what it leaves.
    fn end(self, finish: &Finish, zone: &TimeZone) -> Result<Finished, StoreError> {
        let Self { tx, turn, .. } = self;
        let stop = stop_requested(tx, turn)?;
        if let Some(why) = &finish.lost_thread {
            self.say(ReplyKind::Notice, &notice::thread_lost(why))?;
        }
        let work = work_of(tx, turn)?;
        // What is said of a compaction is no answer of the agent's.
        let kind = if work == Work::Compact { ReplyKind::Notice } else { ReplyKind::Reply };
        let (mut spoke, mut repeats) = (false, false);
        for (at, text) in finish.replies.iter().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            if at < finish.found && earlier::chat_has(tx, turn, text, &finish.replies[..at])? {
                repeats = true;
                continue;
            }
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
        let rest = match &outcome {
            Outcome::Failed(failure) if failure.kind == FailureKind::Silence => retries::silent_rest(tx, turn)?,
            _ => Vec::new(),
        };
        if let Some(words) = self.last_words(&outcome, Told { work, stop, spoke, repeats, rest: &rest }, zone)? {
            let notice = self.say(ReplyKind::Notice, &words)?;
            end_waiting(tx, &rest, notice)?;
        }
        let words = if outcome == Outcome::Completed { notice::stopped_too_late() } else { notice::stopped() };
        let elsewhere = stopped_elsewhere(tx, self.session, turn, &self.chat, &words)?;
        let mut messages = finish_messages(tx, turn)?;
        messages.extend(rest);
        self.finished(messages, End::Done(chat_outcome(&outcome)), elsewhere)
    }

    /// What Cofferdam itself says of the turn's end; never nothing when the agent said nothing (invariant 4).
    fn last_words(
        &self,
        outcome: &Outcome,
        Told { work, stop, spoke, repeats, rest }: Told<'_>,
        zone: &TimeZone,
    ) -> Result<Option<String>, StoreError> {
        Ok(match outcome {
            Outcome::Completed if stop => Some(notice::stopped_too_late()),
            Outcome::Completed if spoke || has_spoken(self.tx, self.turn)? => None,
            Outcome::Completed if work == Work::Compact => {
                Some(notice::compacted(by_hand(self.tx, self.session, self.turn)?.as_ref()))
            }
            Outcome::Completed if repeats || earlier::have_spoken(self.tx, self.turn)? => {
                Some(notice::said_before())
            }
            Outcome::Completed => Some(notice::nothing_to_say()),
            Outcome::Interrupted if stop => Some(notice::stopped()),
            Outcome::Interrupted => Some(notice::interrupted()),
            Outcome::Failed(failure) => {
                let compaction =
                    if work == Work::Compact { by_hand(self.tx, self.session, self.turn)? } else { None };
                Some(match compaction {
                    Some(compaction) => notice::compacted(Some(&compaction)),
                    None => self.failed(failure, work, rest, zone)?,
                })
            }
        })
    }

    /// The words for its messages' last failure. They become dead letters, unless to try them again makes no sense.
    fn failed(
        &self,
        failure: &Failure,
        work: Work,
        rest: &[MessageId],
        zone: &TimeZone,
    ) -> Result<String, StoreError> {
        let mut words = notice::turn_failed(failure, &retries::known(self.tx, failure, zone)?);
        if work == Work::Compact || !is_worth_a_retry(failure.kind) {
            return Ok(words);
        }
        let mut messages = claimed(self.tx, self.turn)?;
        messages.extend(rest);
        if !rest.is_empty() {
            words = notice::silent_too(&words, rest.len());
        }
        let letters = dead_letters::bury(self.tx, self.session, &messages, Cause::Provider, &failure.message)?;
        Ok(notice::with_letters(&words, self.folder, &letters))
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

/// Ends messages that wait, in a notice. Their turn stays noted: the provider may have them from then.
fn end_waiting(tx: &Savepoint<'_>, messages: &[MessageId], notice: ReplyId) -> Result<(), StoreError> {
    step_messages(tx, messages, MessageEvent::Answer)?;
    let mut update = tx.prepare_cached("UPDATE inbox SET notice = ?1 WHERE id = ?2")?;
    for message in messages {
        update.execute([notice.0, message.0])?;
    }
    Ok(())
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

fn chat_outcome(outcome: &Outcome) -> ChatOutcome {
    match outcome {
        Outcome::Completed => ChatOutcome::Replied,
        Outcome::Interrupted => ChatOutcome::Interrupted,
        Outcome::Failed(failure) => ChatOutcome::Failed { kind: failure.kind },
    }
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
