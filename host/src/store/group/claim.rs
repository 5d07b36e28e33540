//! ② claim.

use cofferdam_protocol::ids::{Attempt, MessageId, SessionId, TurnId};
use cofferdam_protocol::runner::{TurnOptions, Work};
use rusqlite::{Savepoint, params};

use super::attempts::running_turn;
use super::context::{self, Overheard};
use super::earlier::{self, Said};
use super::inbox::{Waiting, walk};
use super::models::{Inherited, chosen, options};
use super::questions::FETCHED;
use super::states::step_message;
use super::undelivered::{self, Undelivered};
use super::{GroupDb, chat_of, fence, files, questions, shown};
use crate::hooks;
use crate::model::chat::{Attachment, ChatRef};
use crate::model::command::MessageKind;
use crate::model::message::MessageEvent;
use crate::model::turn::TurnState;
use crate::store::db::Durability;
use crate::store::{StoreError, now_ms};

/// The most messages of one turn.
pub(in crate::store) const BATCH_MESSAGES: usize = 50;
/// The most text of one turn, in bytes; Codex refuses input over 1,048,576 characters. A single longer message
/// still makes a turn of its own.
pub(super) const BATCH_BYTES: usize = 512 * 1024;

/// What there is for a runner to do.
#[derive(Debug, Clone)]
pub enum Claim {
    /// This turn.
    Turn(Box<Claimed>),
    /// Commands are to be done first: [`GroupDb::do_commands`], then claim again.
    Commands,
    /// Nothing, before this time (ms) at least.
    Nothing(Option<i64>),
}

/// A turn as it is handed to a runner.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The turn.
    pub turn: TurnId,
    /// What it is for.
    pub work: Work,
    /// The conversation that it belongs to.
    pub generation: u64,
    /// Some of its messages may have been given to a provider before.
    pub retried: bool,
    /// Its message goes by itself, after a turn over it and others.
    pub apart: bool,
    /// How the provider runs it.
    pub options: TurnOptions,
    /// The account that the chat chose.
    pub account: Option<String>,
    /// The chat that its replies go to.
    pub chat: ChatRef,
    /// What the turn before asked and nobody answered: a message may be the answer.
    pub question: Option<String>,
    /// What the agent said earlier and its chat never got.
    pub undelivered: Undelivered,
    /// What earlier tries of it said to the chat.
    pub said: Said,
    /// What was said in its chat before, and not to the agent.
    pub overheard: Vec<Overheard>,
    /// Its messages, oldest first.
    pub messages: Vec<ClaimedMessage>,
}

/// A message of a turn.
#[derive(Debug, Clone)]
pub struct ClaimedMessage {
    /// Its row.
    pub id: MessageId,
    /// Who wrote it.
    pub sender: String,
    /// What they wrote.
    pub text: String,
    /// When it was accepted, ms.
    pub accepted_at: i64,
    /// What they sent with it.
    pub files: Vec<Attachment>,
}

impl GroupDb {
    /// ② Makes a turn of the oldest waiting messages of one chat, or hands out the attempt's running turn again:
    /// a runner that asks again never got the first answer.
    pub async fn claim(
        &self,
        session: &SessionId,
        attempt: Attempt,
        inherited: Inherited,
    ) -> Result<Claim, StoreError> {
        let session = session.clone();
        let claim = self
            .db
            .write(Durability::Relaxed, move |tx| {
                fence(tx, &session, attempt)?;
                let mut claim = match running_turn(tx, &session)? {
                    Some(turn) => {
                        // It may have begun under an earlier one; its calls come from this one now.
                        tx.prepare_cached("UPDATE turns SET attempt = ?1 WHERE id = ?2")?
                            .execute(params![attempt.0, turn.0])?;
                        Claim::Turn(Box::new(read_turn(tx, &session, turn, &inherited)?))
                    }
                    None => new_turn(tx, &session, attempt, &inherited)?,
                };
                if let Claim::Turn(claimed) = &mut claim {
                    files::fill(tx, &mut claimed.messages)?;
                    claimed.account = chosen(tx, &session)?.account;
                    claimed.question = questions::unanswered(tx, &session, claimed.turn, &claimed.chat)?;
                    claimed.undelivered = undelivered::told_to(tx, claimed.turn)?;
                    claimed.said = earlier::said(tx, claimed.turn)?;
                    claimed.overheard = context::of(tx, claimed.turn)?;
                    hooks::crash_point("claim.before_commit");
                }
                Ok(claim)
            })
            .await?;
        if let Claim::Turn(claimed) = &claim
            && claimed.retried
        {
            self.sync_turn(claimed.turn).await?;
        }
        Ok(claim)
    }

    /// Syncs a turn and all that was written before it. A first claim that a power cut takes is marked at the next boot
    /// ([`boot`](crate::store::boot)); what takes the host down each time must also be counted each time.
    async fn sync_turn(&self, turn: TurnId) -> Result<(), StoreError> {
        self.db
            .write(Durability::Durable, move |tx| {
                tx.prepare_cached("UPDATE turns SET started_at = started_at WHERE id = ?1")?.execute([turn.0])?;
                Ok(())
            })
            .await
    }
}

/// Messages that will share a turn.
#[derive(Default)]
struct Batch {
    rows: Vec<Waiting>,
    bytes: usize,
    /// A command stands before all messages.
    command: bool,
}

impl Batch {
    /// Takes the next waiting message if it may share the turn; answers whether to go on.
    fn take(&mut self, row: Waiting) -> bool {
        self.bytes += row.text.len();
        let Some(first) = self.rows.first() else {
            self.command = !matches!(row.kind, MessageKind::Message | MessageKind::Compact);
            let alone = row.kind != MessageKind::Message || row.output_schema.is_some() || row.apart;
            if !self.command {
                self.rows.push(row);
            }
            return !alone;
        };
        // A turn answers in one place. Messages that were in a turn before go exactly as they were then: the provider
        // may have that input already, and knows it by these messages.
        let fits = row.kind == MessageKind::Message
            && row.output_schema.is_none()
            && !row.apart
            && row.chat == first.chat
            && row.turn == first.turn
            && row.offered == first.offered
            && self.bytes <= BATCH_BYTES
            && self.rows.len() < BATCH_MESSAGES;
        if fits {
            self.rows.push(row);
        }
        fits
    }
}

fn new_turn(
    tx: &Savepoint<'_>,
    session: &SessionId,
    attempt: Attempt,
    inherited: &Inherited,
) -> Result<Claim, StoreError> {
    let mut batch = Batch::default();
    let next = walk(tx, session, |_, _| true, |row| batch.take(row))?;
    if batch.command {
        return Ok(Claim::Commands);
    }
    let Some(first) = batch.rows.first() else { return Ok(Claim::Nothing(next)) };
    let (chat, retried, apart) = (first.chat.clone(), first.turn.is_some() || first.offered, first.apart);
    let work = if first.kind == MessageKind::Compact { Work::Compact } else { Work::Answer };
    if work == Work::Compact && !has_thread(tx, session)? {
        return Ok(Claim::Commands);
    }
    let mut options = options(tx, session, inherited)?;
    options.output_schema = schema_of(first.output_schema.as_deref());
    let turn = begin_turn(tx, session, attempt, work, &batch.rows)?;
    let messages = batch.rows.into_iter().map(ClaimedMessage::from).collect();
    let generation = generation_of(tx, session)?;
    let (question, undelivered, said) = (None, Undelivered::default(), Said::default());
    Ok(Claim::Turn(Box::new(Claimed {
        turn,
        work,
        generation,
        retried,
        apart,
        options,
        account: None,
        chat,
        question,
        undelivered,
        said,
        overheard: Vec::new(),
        messages,
    })))
}

fn begin_turn(
    tx: &Savepoint<'_>,
    session: &SessionId,
    attempt: Attempt,
    work: Work,
    rows: &[Waiting],
) -> Result<TurnId, StoreError> {
    let now = now_ms();
    // They were all in the same one.
    let earlier = rows.first().and_then(|row| row.turn);
    tx.prepare_cached(
        "INSERT INTO turns (session, attempt, state, started_at, work, earlier) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        session.as_str(),
        attempt.0,
        TurnState::Running.as_str(),
        now,
        work_text(work),
        earlier.map(|turn| turn.0),
    ])?;
    let turn = TurnId(tx.last_insert_rowid());
    let mut update = tx.prepare_cached("UPDATE inbox SET turn = ?1, tries = tries + 1 WHERE id = ?2")?;
    for row in rows {
        step_message(tx, row.id, MessageEvent::Claim)?;
        update.execute(params![turn.0, row.id.0])?;
    }
    if let Some(earlier) = earlier {
        questions::carry_answers(tx, earlier, turn)?;
        undelivered::carry(tx, earlier, turn)?;
        shown::carry(tx, earlier, turn)?;
        context::carry(tx, earlier, turn)?;
    } else if work == Work::Answer
        && let Some(first) = rows.first()
    {
        context::show(tx, session, turn, &first.chat)?;
    }
    if work == Work::Answer {
        undelivered::tell(tx, session, turn)?;
    }
    // Its container works: starts are counted from the first again.
    tx.prepare_cached(
        "UPDATE sessions SET active_at = ?1, start_failures = 0, start_again_at = 0, start_error = NULL, wait_told = 0
         WHERE id = ?2",
    )?
    .execute(params![now, session.as_str()])?;
    Ok(turn)
}

fn read_turn(
    tx: &Savepoint<'_>,
    session: &SessionId,
    turn: TurnId,
    inherited: &Inherited,
) -> Result<Claimed, StoreError> {
    let work = work_of(tx, turn)?;
    let sql = format!(
        "SELECT id, sender, text, accepted_at, channel, chat_id, thread_id, output_schema FROM inbox
         WHERE turn = ?1 AND state = 'claimed' AND kind <> 'stop' AND id NOT IN ({FETCHED})
               AND id NOT IN (SELECT message FROM questions WHERE turn = ?1 AND message IS NOT NULL) ORDER BY id"
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let mut rows = statement.query([turn.0])?;
    let (mut chat, mut messages, mut schema) = (None, Vec::new(), None);
    while let Some(row) = rows.next()? {
        chat = Some(chat_of(row, 4)?);
        schema = row.get::<_, Option<String>>(7)?;
        messages.push(ClaimedMessage {
            id: MessageId(row.get(0)?),
            sender: row.get(1)?,
            text: row.get(2)?,
            accepted_at: row.get(3)?,
            files: Vec::new(),
        });
    }
    let chat = chat.ok_or(StoreError::Unknown { what: "turn without messages", value: turn.to_string() })?;
    let mut options = options(tx, session, inherited)?;
    options.output_schema = schema_of(schema.as_deref());
    let generation = generation_of(tx, session)?;
    // Its runner may have begun it.
    let (retried, apart) = (true, goes_apart(tx, turn)?);
    let (question, undelivered, said) = (None, Undelivered::default(), Said::default());
    Ok(Claimed {
        turn,
        work,
        generation,
        retried,
        apart,
        options,
        account: None,
        chat,
        question,
        undelivered,
        said,
        overheard: Vec::new(),
        messages,
    })
}

impl From<Waiting> for ClaimedMessage {
    fn from(row: Waiting) -> Self {
        let Waiting { id, sender, text, accepted_at, .. } = row;
        Self { id, sender, text, accepted_at, files: Vec::new() }
    }
}

/// A schema was checked when it was accepted; what does not parse now asks for nothing.
fn schema_of(text: Option<&str>) -> Option<serde_json::Value> {
    text.and_then(|text| serde_json::from_str(text).ok())
}

fn generation_of(tx: &Savepoint<'_>, session: &SessionId) -> Result<u64, StoreError> {
    Ok(tx
        .prepare_cached("SELECT generation FROM sessions WHERE id = ?1")?
        .query_row([session.as_str()], |row| row.get(0))?)
}

/// Whether the session's conversation has begun.
pub(super) fn has_thread(tx: &Savepoint<'_>, session: &SessionId) -> Result<bool, StoreError> {
    Ok(tx
        .prepare_cached("SELECT continuation IS NOT NULL FROM sessions WHERE id = ?1")?
        .query_row([session.as_str()], |row| row.get(0))?)
}

/// Whether a turn's message goes by itself.
pub(super) fn goes_apart(tx: &Savepoint<'_>, turn: TurnId) -> Result<bool, StoreError> {
    Ok(tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM inbox WHERE turn = ?1 AND state = 'claimed' AND apart)")?
        .query_row([turn.0], |row| row.get(0))?)
}

/// What a turn is for.
pub(super) fn work_of(tx: &Savepoint<'_>, turn: TurnId) -> Result<Work, StoreError> {
    let text: String =
        tx.prepare_cached("SELECT work FROM turns WHERE id = ?1")?.query_row([turn.0], |row| row.get(0))?;
    match text.as_str() {
        "answer" => Ok(Work::Answer),
        "compact" => Ok(Work::Compact),
        _ => Err(StoreError::Unknown { what: "work", value: text }),
    }
}

fn work_text(work: Work) -> &'static str {
    match work {
        Work::Answer => "answer",
        Work::Compact => "compact",
    }
}
