//! Calls that wait for their answer. What delivery and progress tell them is a hint, and shown while it comes; whether a
//! call is answered, and with what, the book says, which reads the rows. So a call that is repeated, or that lost every
//! hint, gets the same answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofferdam_protocol::ids::TurnId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::book::{Answer, Book, Stand};
use crate::model::chat::ChatRef;

/// Texts of a turn that wait to be shown to a call. More are left to its answer.
const MOST_HEARD: usize = 64;

/// All calls that wait, by chat and thread.
#[derive(Default)]
pub(super) struct Waiting {
    calls: Mutex<HashMap<ChatRef, Vec<Arc<Ear>>>>,
    closed: CancellationToken,
}

/// What a call is told.
#[derive(Default)]
struct Ear {
    heard: Mutex<Heard>,
    news: Notify,
}

#[derive(Default)]
struct Heard {
    /// The latest only.
    draft: Option<(TurnId, Arc<str>)>,
    said: VecDeque<(TurnId, Arc<str>)>,
    /// Something came after which the call may be answered.
    look: bool,
}

/// What comes of waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// The agent's words as far as they are written.
    Draft(Arc<str>),
    /// Words of the agent's before its turn is over.
    Said(Arc<str>),
    /// Nothing for so long.
    Quiet,
    /// It is over.
    Over(Over),
}

/// How waiting ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Over {
    /// With the agent's words, all of them.
    Said(Answer),
    /// With this notice instead.
    Failed(String),
    /// It took longer than a call may wait; the turn goes on.
    Late,
    /// Cofferdam ends; the turn goes on.
    Closed,
}

/// A call that waits. Its end is only its own: its message goes on.
pub(super) struct Call {
    waiting: Arc<Waiting>,
    ear: Arc<Ear>,
    book: Arc<dyn Book>,
    chat: ChatRef,
    platform_id: String,
    /// The turn that has its message, as far as is known.
    turn: Option<TurnId>,
    until: Instant,
    look_every: Duration,
    look_at: Instant,
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = lock(&self.waiting.calls);
        if let Some(ears) = calls.get_mut(&self.chat) {
            ears.retain(|ear| !Arc::ptr_eq(ear, &self.ear));
            if ears.is_empty() {
                calls.remove(&self.chat);
            }
        }
    }
}

/// What [`Waiting::call`] needs to know of a call.
pub(super) struct Of {
    pub(super) book: Arc<dyn Book>,
    pub(super) chat: ChatRef,
    pub(super) platform_id: String,
    /// The longest wait.
    pub(super) wait: Duration,
    /// How often it looks by itself.
    pub(super) look: Duration,
}

impl Waiting {
    /// A call that waits from now on: before its message is handed in, so that it misses nothing.
    pub(super) fn call(self: &Arc<Self>, of: Of) -> Call {
        let Of { book, chat, platform_id, wait, look } = of;
        let ear = Arc::<Ear>::default();
        lock(&self.calls).entry(chat.clone()).or_default().push(ear.clone());
        let now = Instant::now();
        Call {
            waiting: self.clone(),
            ear,
            book,
            chat,
            platform_id,
            turn: None,
            until: now + wait,
            look_every: look,
            look_at: now,
        }
    }

    /// A reply for a chat.
    pub(super) fn said(&self, chat: &ChatRef, turn: Option<TurnId>, text: Option<&str>) {
        let text = turn.zip(text.map(Arc::<str>::from));
        self.tell(chat, |heard| {
            heard.said.extend(text.clone());
            heard.said.truncate(MOST_HEARD);
            heard.look = true;
        });
    }

    /// A turn writes.
    pub(super) fn draft(&self, chat: &ChatRef, turn: TurnId, draft: &str) {
        if !draft.is_empty() {
            let draft = Arc::<str>::from(draft);
            self.tell(chat, |heard| heard.draft = Some((turn, draft.clone())));
        }
    }

    /// A turn ended.
    pub(super) fn ended(&self, chat: &ChatRef) {
        self.tell(chat, |heard| heard.look = true);
    }

    /// Ends all waiting, for good.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    fn tell(&self, chat: &ChatRef, tell: impl Fn(&mut Heard)) {
        for ear in lock(&self.calls).get(chat).into_iter().flatten() {
            tell(&mut lock(&ear.heard));
            ear.news.notify_one();
        }
    }
}

impl Call {
    /// What comes next. May be dropped and called again.
    pub(super) async fn next(&mut self, quiet: Duration) -> Result<News, String> {
        let quiet_at = Instant::now() + quiet;
        loop {
            if let Some(news) = self.look().await? {
                return Ok(news);
            }
            let ear = self.ear.clone();
            tokio::select! {
                biased;
                () = self.waiting.closed.cancelled() => return Ok(News::Over(Over::Closed)),
                () = ear.news.notified() => {}
                () = sleep_until(self.until) => return Ok(News::Over(Over::Late)),
                () = sleep_until(quiet_at) => return Ok(News::Quiet),
                () = sleep_until(self.look_at) => {}
            }
        }
    }

    /// How it ends; what is said before is left out.
    pub(super) async fn end(&mut self) -> Result<Over, String> {
        loop {
            if let News::Over(over) = self.next(Duration::from_secs(3600)).await? {
                return Ok(over);
            }
        }
    }

    /// What there is: asks the book when that may have changed.
    async fn look(&mut self) -> Result<Option<News>, String> {
        if self.is_to_ask() {
            // Before it is asked: what comes meanwhile is asked about once more.
            lock(&self.ear.heard).look = false;
            let stand = self.book.answer(&self.chat, &self.platform_id).await?;
            self.look_at = Instant::now() + self.look_every;
            match stand {
                Stand::Said(answer) | Stand::Asks(answer) => return Ok(Some(News::Over(Over::Said(answer)))),
                Stand::Failed(notice) => return Ok(Some(News::Over(Over::Failed(notice)))),
                Stand::Running(turn) => self.turn = Some(turn),
                // Whose words these are is not known yet.
                Stand::Unknown | Stand::Waiting => {
                    self.turn = None;
                    *lock(&self.ear.heard) = Heard::default();
                    return Ok(None);
                }
            }
        }
        Ok(self.heard())
    }

    fn is_to_ask(&self) -> bool {
        let heard = lock(&self.ear.heard);
        let other = heard.draft.as_ref().is_some_and(|(turn, _)| Some(*turn) != self.turn);
        heard.look || other || Instant::now() >= self.look_at
    }

    /// The next words of its turn; those of others are dropped.
    fn heard(&self) -> Option<News> {
        let mut heard = lock(&self.ear.heard);
        while let Some((turn, text)) = heard.said.pop_front() {
            if Some(turn) == self.turn {
                return Some(News::Said(text));
            }
        }
        let (turn, draft) = heard.draft.take()?;
        (Some(turn) == self.turn).then_some(News::Draft(draft))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
