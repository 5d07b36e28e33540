//! Asks Telegram for updates, for as long as it is told to.
//!
//! ```text
//!  cursor ─▶ getUpdates(next) ─▶ a queue for each chat ─▶ take ─▶ keep the cursor, with what still waits ─▶ again
//! ```
//! Telegram forgets an update when it is asked for the next one. That is only after the cursor was kept, and the cursor has
//! what nobody took. So whatever ends in between, each update is taken, or comes again and is known by its message's id.

use std::sync::Arc;
use std::time::Duration;

use frankenstein::methods::{DeleteWebhookParams, GetUpdatesParams};
use frankenstein::types::AllowedUpdate;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::cursor::Cursor;
use super::failure::Failure;
use super::queues::{Queues, Room};
use super::seen::{Refused, TOO_LARGE, read};
use super::taking::Task;
use super::wire::{Me, WebhookInfo};
use crate::channels::{Intake, NotTaken, Pauses, State};
use crate::clock::now_ms;

/// The updates that we want.
pub(super) const WANTED: [AllowedUpdate; 4] = [
    AllowedUpdate::Message,
    AllowedUpdate::EditedMessage,
    AllowedUpdate::CallbackQuery,
    AllowedUpdate::MyChatMember,
];
/// How long Telegram waits for an update, in seconds.
const LONG: u32 = 50;
/// Who has nothing and answers sooner did not wait at all.
const HASTY: Duration = Duration::from_secs(1);
/// What an answer takes beyond that.
const ANSWER: Duration = Duration::from_secs(15);
/// Updates at once (Telegram's own most).
const BATCH: u32 = 100;
/// How long a batch gets to be taken before it counts as waiting.
const SOON: Duration = Duration::from_millis(250);
/// The pause before asking again after another program got the updates; Telegram itself tells of that every 3 s.
const RIVAL: Duration = Duration::from_secs(3);

pub(super) struct Poll {
    inner: Arc<Inner>,
    intake: Arc<dyn Intake>,
    queues: Queues,
    stop: CancellationToken,
    me: Me,
    cursor: Cursor,
    /// The cursor as it is kept.
    kept: String,
    pauses: Pauses,
    batch: u32,
    /// The next answer comes at once, so that it is known that the line is back.
    at_once: bool,
}

/// What one round was.
enum Round {
    /// There is nothing to wait for.
    Next,
    /// We end.
    End,
    /// It did not work.
    Failed(Failure),
    /// It did not work for another reason.
    Stuck(String),
}

impl Poll {
    pub(super) fn new(inner: Arc<Inner>, intake: Arc<dyn Intake>, me: Me, stop: CancellationToken) -> Self {
        let taking = inner.taking(intake.clone());
        let stop = stop.child_token();
        let queues = Queues::new(taking, stop.clone());
        Self {
            inner,
            intake,
            queues,
            stop,
            me,
            cursor: Cursor::default(),
            kept: String::new(),
            pauses: Pauses::default(),
            batch: BATCH,
            at_once: true,
        }
    }

    /// Until the stop, or until a person is needed.
    pub(super) async fn run(mut self) {
        if self.begin().await {
            self.no_webhook().await;
            while self.goes_on().await {}
        }
        self.end().await;
    }

    async fn end(&mut self) {
        self.stop.cancel();
        // What waits for its next try waits in the cursor.
        self.queues.ended().await;
        if let Err(error) = self.keep().await {
            tracing::info!(channel = self.inner.name, %error, "the place among the updates was not kept; the last ones come again");
        }
    }

    /// Goes on where the last run stood.
    async fn begin(&mut self) -> bool {
        loop {
            match self.intake.cursor().await {
                Ok(kept) => {
                    self.cursor = Cursor::parse(&self.inner.name, &self.inner.bot, kept.as_deref());
                    self.inner.albums.remember(std::mem::take(&mut self.cursor.albums));
                    self.kept = kept.unwrap_or_default();
                    for update in std::mem::take(&mut self.cursor.held) {
                        self.queue(update).await;
                    }
                    return true;
                }
                Err(why) if !self.pause((why.to_string(), None)).await => return false,
                Err(_) => {}
            }
        }
    }

    /// One round, and what follows from it. Answers whether to go on.
    async fn goes_on(&mut self) -> bool {
        match self.round().await {
            Round::End => false,
            Round::Next => {
                self.pauses.reset();
                true
            }
            Round::Stuck(why) => self.pause((why, None)).await,
            Round::Failed(failure) => self.failed(failure).await,
        }
    }

    async fn round(&mut self) -> Round {
        if !self.queues.has_room() && !self.wait_for_room().await {
            return Round::End;
        }
        // Asking for what follows makes Telegram forget what was before.
        if let Err(why) = self.keep().await {
            return Round::Stuck(why.to_string());
        }
        let asked = Instant::now();
        let batch = tokio::select! {
            () = self.stop.cancelled() => return Round::End,
            batch = self.ask() => batch,
        };
        let batch = match batch {
            Ok(batch) => batch,
            Err(Failure::TooLarge) => return self.too_large().await,
            Err(failure) => return Round::Failed(failure),
        };
        if batch.is_empty() && !self.at_once && asked.elapsed() < HASTY {
            return Round::Stuck(
                "Telegram, or what is between it and us, answers without waiting for messages".to_owned(),
            );
        }
        self.inner.standing.set(&self.inner.name, State::Connected);
        self.at_once = false;
        self.batch = BATCH;
        let further = self.read(batch).await;
        tokio::select! {
            () = self.stop.cancelled() => return Round::End,
            () = self.queues.empty() => {}
            () = tokio::time::sleep(SOON) => {}
        }
        if further {
            Round::Next
        } else {
            Round::Stuck("Telegram gives the same updates again and again".to_owned())
        }
    }

    async fn ask(&self) -> Result<Vec<Value>, Failure> {
        let timeout = if self.at_once { 0 } else { LONG };
        let params = GetUpdatesParams::builder()
            .maybe_offset(self.cursor.offset(now_ms()))
            .limit(self.batch)
            .timeout(timeout)
            .allowed_updates(WANTED.to_vec())
            .build();
        self.inner.api.call("getUpdates", &params, Duration::from_secs(timeout.into()) + ANSWER).await
    }

    /// Queues a batch. Answers whether it led any further.
    async fn read(&mut self, batch: Vec<Value>) -> bool {
        let (mut further, now) = (batch.is_empty(), now_ms());
        for update in batch {
            match update.get("update_id").and_then(Value::as_i64).filter(|id| (0..i64::MAX).contains(id)) {
                Some(id) => further |= self.cursor.pass(id, now),
                None => tracing::warn!(channel = self.inner.name, "an update without a number is passed over"),
            }
            self.queue(update).await;
        }
        further
    }

    /// Queues an update, when there is room for it in its chat.
    async fn queue(&mut self, update: Value) {
        let bytes = update.to_string().len();
        let id = update.get("update_id").and_then(Value::as_i64);
        let seen = read(&self.inner.name, &self.me, id, &update, bytes);
        let Some(task) = Task::of(seen, self.intake.as_ref()).await else { return };
        loop {
            match self.queues.room_for(&self.inner.name, &task).await {
                Ok(Room::There) => break,
                Ok(Room::Dropped) => return,
                Ok(Room::None) => {}
                Err(why) => {
                    let (why, again_at) = (why.to_string(), now_ms());
                    self.inner.standing.set(&self.inner.name, State::Waiting { why, again_at });
                }
            }
            tokio::select! {
                // At the end it waits with the others.
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(SOON) => {}
            }
        }
        self.queues.push(&self.inner.name, update, bytes, task);
    }

    /// Keeps how far we are, before Telegram is told.
    async fn keep(&mut self) -> Result<(), NotTaken> {
        if self.cursor.next.is_none() {
            return Ok(());
        }
        let (held, albums) = (self.queues.held(), self.inner.albums.known());
        let cursor = Cursor { held, albums, ..self.cursor.clone() }.text();
        if cursor != self.kept {
            self.intake.keep_cursor(cursor.clone()).await?;
            self.kept = cursor;
        }
        Ok(())
    }

    /// One update that is too large costs itself only. They are numbered in a row.
    async fn too_large(&mut self) -> Round {
        let channel = &self.inner.name;
        match self.cursor.offset(now_ms()) {
            _ if self.batch > 1 => {
                tracing::warn!(channel, "Telegram's updates are too large together; they are read one by one");
                self.batch = 1;
                Round::Next
            }
            Some(next) => {
                tracing::warn!(channel, update = next, "an update that is too large is passed over");
                self.intake.refused(Refused::NOWHERE, TOO_LARGE).await;
                self.cursor.pass(next, now_ms());
                Round::Next
            }
            None => Round::Stuck("Telegram's first update is too large".to_owned()),
        }
    }

    async fn wait_for_room(&self) -> bool {
        let why = "so many messages wait for their conversations that no more are read".to_owned();
        self.inner.standing.set(&self.inner.name, State::Waiting { why, again_at: now_ms() });
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = self.queues.room() => true,
        }
    }

    async fn failed(&mut self, failure: Failure) -> bool {
        self.at_once = true;
        if failure.is_bad_token() {
            self.inner.stopped();
            return false;
        }
        if failure.says(&["webhook"]) {
            self.no_webhook().await;
        }
        let (why, asked) = match failure.is_conflict() {
            true => (
                "another program polls with this token; end it, or give this channel a bot of its own".to_owned(),
                Some(RIVAL),
            ),
            false => (failure.to_string(), failure.after()),
        };
        self.pause((why, asked)).await
    }

    async fn pause(&mut self, why: (String, Option<Duration>)) -> bool {
        self.pauses.wait(&self.inner.name, &self.inner.standing, why, &self.stop).await
    }

    /// Takes away a webhook, which somebody left: nobody else gets updates while there is one.
    async fn no_webhook(&self) {
        let channel = &self.inner.name;
        let work = async {
            let info: WebhookInfo = self.inner.api.call("getWebhookInfo", &serde_json::json!({}), ANSWER).await?;
            if info.url.is_empty() {
                return Ok(());
            }
            tracing::warn!(channel, "the bot had a webhook, set by another program; it is taken away");
            let params = DeleteWebhookParams::builder().build();
            self.inner.api.call::<bool>("deleteWebhook", &params, ANSWER).await.map(drop)
        };
        let done: Result<(), Failure> = tokio::select! {
            () = self.stop.cancelled() => Ok(()),
            done = work => done,
        };
        if let Err(error) = done {
            // The next poll meets it.
            tracing::debug!(channel, %error, "whether there is a webhook is not known");
        }
    }
}

/// What waited in the cursor when the bot was still polled for.
pub(super) struct Leftovers(Poll);

impl Leftovers {
    pub(super) fn new(inner: Arc<Inner>, intake: Arc<dyn Intake>, me: Me, stop: CancellationToken) -> Self {
        Self(Poll::new(inner, intake, me, stop))
    }

    /// Has it taken; what is left at the stop waits in the cursor again.
    pub(super) async fn take(self) {
        let mut poll = self.0;
        if poll.begin().await {
            tokio::select! {
                () = poll.stop.cancelled() => {}
                () = poll.queues.empty() => {}
            }
        }
        poll.end().await;
    }
}
