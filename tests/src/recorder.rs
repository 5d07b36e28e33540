//! An intake that remembers what a channel hands in, and refuses what a test tells it to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use cofferdam::channels::{Arrival, Channel, Content, Intake, NotTaken, State, Taken};
use cofferdam::model::action::Action;
use cofferdam::model::button::Button;
use cofferdam::model::chat::ChatRef;
use cofferdam::model::reply::{Labelled, Outbound, ReplyKind};
use cofferdam_protocol::ids::ReplyId;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::LIMIT;

/// What came in.
#[derive(Debug, Default, Clone)]
pub struct Book {
    /// Taken, in their order.
    pub arrivals: Vec<Arrival>,
    /// Cursors, as they were kept.
    pub cursors: Vec<String>,
    /// Chats that can be reached again.
    pub present: Vec<ChatRef>,
    /// What was too much for its chat, and whether it was the first.
    pub overflowed: Vec<(Arrival, bool)>,
    /// How often an arrival was refused.
    pub refused: u64,
    /// Who was turned away before there was an arrival: where, and why.
    pub turned_away: Vec<(String, &'static str)>,
}

/// Remembers.
pub struct Recorder {
    book: watch::Sender<Book>,
    refuses: Mutex<HashMap<String, NotTaken>>,
    answers: Mutex<HashMap<String, Taken>>,
    cursor: Option<String>,
}

impl Recorder {
    /// One that has kept this cursor.
    pub fn new(cursor: Option<&str>) -> Arc<Self> {
        Arc::new(Self {
            book: watch::channel(Book::default()).0,
            refuses: Mutex::default(),
            answers: Mutex::default(),
            cursor: cursor.map(Into::into),
        })
    }

    /// Refuses what comes from a chat, until it is told otherwise.
    pub fn refuse(&self, chat: &str, why: Option<NotTaken>) {
        let mut refuses = lock(&self.refuses);
        match why {
            Some(why) => refuses.insert(chat.to_owned(), why),
            None => refuses.remove(chat),
        };
    }

    /// What becomes of an arrival with this id; else it is accepted.
    pub fn answer(&self, id: &str, taken: Taken) {
        lock(&self.answers).insert(id.to_owned(), taken);
    }

    /// What came in until now.
    pub fn book(&self) -> Book {
        self.book.borrow().clone()
    }

    /// Waits until what came in is as it should be.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Book) -> bool) -> Book {
        let mut book = self.book.subscribe();
        let found = tokio::time::timeout(LIMIT, book.wait_for(|book| is_so(book))).await;
        match found {
            Ok(found) => found.expect("a recorder").clone(),
            Err(_) => panic!("never: {what}; there is {:?}", self.book()),
        }
    }
}

impl Book {
    /// The texts of a chat's messages.
    pub fn texts(&self, chat: &str) -> Vec<&str> {
        let of_chat = self.arrivals.iter().filter(|arrival| arrival.chat.chat_id == chat);
        of_chat
            .filter_map(|arrival| match &arrival.content {
                Content::Message(written) | Content::Edit(written) => Some(written.text.as_str()),
                Content::Press(_) => None,
            })
            .collect()
    }
}

#[async_trait]
impl Intake for Recorder {
    async fn take(&self, arrival: Arrival) -> Result<Taken, NotTaken> {
        if let Some(why) = lock(&self.refuses).get(&arrival.chat.chat_id) {
            self.book.send_modify(|book| book.refused += 1);
            return Err(why.clone());
        }
        let answer = lock(&self.answers).get(&arrival.platform_id).cloned();
        let mut known = false;
        self.book.send_modify(|book| {
            known = book.arrivals.iter().any(|other| {
                let same = (&other.platform_id, &other.content) == (&arrival.platform_id, &arrival.content);
                let changed = matches!(arrival.content, Content::Edit(_));
                (same || !changed && other.platform_id == arrival.platform_id)
                    && other.chat.chat_id == arrival.chat.chat_id
            });
            if !known {
                book.arrivals.push(arrival);
            }
        });
        Ok(if known { Taken::Known } else { answer.unwrap_or(Taken::Accepted) })
    }

    /// A full inbox is one chat's; what else fails here fails for all, so that nothing can be counted either.
    async fn overflow(&self, arrival: Arrival, first: bool) -> Result<(), NotTaken> {
        if let Some(NotTaken::Failed(why)) = lock(&self.refuses).get(&arrival.chat.chat_id) {
            return Err(NotTaken::Failed(why.clone()));
        }
        self.book.send_modify(|book| book.overflowed.push((arrival, first)));
        Ok(())
    }

    async fn refused(&self, chat: &str, reason: &'static str) {
        self.book.send_modify(|book| book.turned_away.push((chat.to_owned(), reason)));
    }

    async fn present(&self, chat: ChatRef) {
        self.book.send_modify(|book| book.present.push(chat));
    }

    async fn cursor(&self) -> Result<Option<String>, NotTaken> {
        Ok(self.book().cursors.last().cloned().or_else(|| self.cursor.clone()))
    }

    async fn keep_cursor(&self, cursor: String) -> Result<(), NotTaken> {
        self.book.send_modify(|book| book.cursors.push(cursor));
        Ok(())
    }
}

/// A channel that runs until the test ends it.
pub struct Running<C> {
    /// The channel.
    pub channel: Arc<C>,
    /// What it hands in.
    pub intake: Arc<Recorder>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl<C: Channel + 'static> Running<C> {
    /// Runs it.
    pub fn start(channel: C, intake: Arc<Recorder>) -> Self {
        let (channel, stop) = (Arc::new(channel), CancellationToken::new());
        let task = {
            let (channel, intake, stop) = (channel.clone(), intake.clone(), stop.clone());
            tokio::spawn(async move { channel.run(intake, stop).await })
        };
        Self { channel, intake, stop, task: Some(task) }
    }

    /// Takes nothing in any more.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        self.ends().await;
    }

    /// Waits until it takes nothing in any more.
    pub async fn ends(&mut self) {
        if let Some(task) = self.task.take() {
            tokio::time::timeout(LIMIT, task).await.expect("`run` ends").expect("no panic");
        }
    }

    /// Ends it.
    pub async fn close(mut self) {
        self.stop().await;
        self.channel.close().await;
    }

    /// Lets go of it, as when a daemon's task is gone.
    pub async fn abandon(self) {
        if let Some(task) = self.task {
            task.abort();
            let _ = task.await;
        }
    }

    /// Waits until it stands as it should.
    pub async fn stands(&self, what: &str, is_so: impl Fn(&State) -> bool) -> State {
        let looked = crate::eventually(what, || async {
            let state = self.channel.state();
            is_so(&state).then_some(state)
        });
        looked.await
    }

    /// A reply in pieces, one after the other, as delivery hands it over; waits while nobody is there.
    pub async fn deliver(&self, reply: &Outbound) {
        let there = || async { self.channel.is_there(&reply.chat).then_some(()) };
        crate::eventually("somebody is there", there).await;
        for piece in self.channel.pieces(reply).iter().enumerate() {
            let sent = self.channel.send(reply, piece, None).await;
            assert!(sent.is_ok(), "{sent:?}");
        }
    }
}

/// A reply for a chat.
pub fn reply(chat: &ChatRef, text: &str) -> Outbound {
    Outbound {
        id: ReplyId(1),
        key: "5ca1ab1e-0000-4000-8000-000000000001".to_owned(),
        chat: chat.clone(),
        turn: None,
        kind: ReplyKind::Reply,
        text: text.to_owned(),
        action: None,
        buttons: Vec::new(),
        tries: 0,
        doubts: 0,
        sent: Vec::new(),
        onto: Vec::new(),
        reply_to: None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The buttons of a question's options, as the outbox gives them to a channel.
pub fn buttons(action: &Action) -> Vec<Labelled> {
    let Action::Question(asked) = action else { return Vec::new() };
    let labelled = |(option, label): (usize, &String)| Labelled {
        label: label.clone(),
        data: Button::Option { group: "demo0000".to_owned(), question: asked.id, option }.data(),
    };
    asked.options.iter().enumerate().map(labelled).collect()
}
