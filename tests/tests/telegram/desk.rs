//! An intake as the daemon's: it takes each message once, keeps the cursor, and can be told not to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use cofferdam::channels::{Arrival, Content, Intake, NotTaken, Taken, Written};
use cofferdam::model::chat::ChatRef;
use cofferdam_tests::LIMIT;
use tokio::sync::watch;

/// Where it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// Before it does what it is called for.
    Before,
    /// After that, and before it answers.
    After,
}

/// The intake. It outlives the channel, as a database does. Clones are the same.
#[derive(Clone, Default)]
pub struct Desk(Arc<Inside>);

#[derive(Default)]
struct Inside {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    taken: Vec<Arrival>,
    known: HashSet<(String, String)>,
    /// Every hand-in: chat and id.
    handed: Vec<(String, String)>,
    cursor: Option<String>,
    /// Chats that got another id.
    moves: Vec<(String, String)>,
    /// Who was turned away, and why.
    refused: Vec<String>,
    /// What was too much for its chat, and whether it was the first.
    overflowed: Vec<(String, bool)>,
    stuck: HashMap<String, NotTaken>,
    keeps_no_cursor: bool,
    answer: Option<String>,
    /// Calls until it dies.
    dies: Option<(usize, Death)>,
    dead: bool,
    /// The next message meets a bug.
    breaks: bool,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("a lock")
    }

    fn change(&self) {
        self.0.changed.send_modify(|change| *change += 1);
    }

    /// What was taken.
    pub fn taken(&self) -> Vec<Arrival> {
        self.state().taken.clone()
    }

    /// The texts that were taken from a chat.
    pub fn texts(&self, chat: i64) -> Vec<String> {
        let of = |arrival: &Arrival| match &arrival.content {
            Content::Message(written) | Content::Edit(written) if arrival.chat.chat_id == chat.to_string() => {
                Some(written.text.clone())
            }
            _ => None,
        };
        self.state().taken.iter().filter_map(of).collect()
    }

    /// How often a message was handed in.
    pub fn handed(&self, chat: i64, message: i64) -> usize {
        let this = (chat.to_string(), message.to_string());
        self.state().handed.iter().filter(|handed| **handed == this).count()
    }

    /// The cursor as it is kept.
    pub fn cursor(&self) -> Option<String> {
        self.state().cursor.clone()
    }

    /// The chats that got another id, each time that it was told.
    pub fn moves(&self) -> Vec<(String, String)> {
        self.state().moves.clone()
    }

    /// Who was turned away before there was an arrival, and why.
    pub fn refused(&self) -> Vec<String> {
        self.state().refused.clone()
    }

    /// What was too much for its chat, and whether it was the first.
    pub fn overflowed(&self) -> Vec<(String, bool)> {
        self.state().overflowed.clone()
    }

    /// Takes nothing of a chat from now on.
    pub fn stick(&self, chat: i64, why: NotTaken) {
        self.state().stuck.insert(chat.to_string(), why);
    }

    /// Takes everything again.
    pub fn unstick(&self) {
        self.state().stuck.clear();
    }

    /// Whether it can keep a cursor.
    pub fn keeps_cursor(&self, keeps: bool) {
        self.state().keeps_no_cursor = !keeps;
    }

    /// What presses are answered with.
    pub fn answers(&self, text: &str) {
        self.state().answer = Some(text.to_owned());
    }

    /// Dies at the call with this number from now: everything after it has no effect.
    pub fn dies_at(&self, call: usize, death: Death) {
        let mut state = self.state();
        (state.dies, state.dead) = (Some((call, death)), false);
    }

    /// Lives for ever.
    pub fn lives(&self) {
        let mut state = self.state();
        (state.dies, state.dead) = (None, false);
    }

    /// Whether it died.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Waits until `look` finds what it looks for, looking after every change.
    pub async fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let mut changed = self.0.changed.subscribe();
        let looking = async {
            loop {
                changed.borrow_and_update();
                if let Some(found) = look(self) {
                    return found;
                }
                changed.changed().await.expect("it is there");
            }
        };
        tokio::time::timeout(LIMIT, looking).await.unwrap_or_else(|_| panic!("never: {what}; {:?}", self.taken()))
    }

    /// Waits until so many were taken; answers them.
    pub async fn takes(&self, count: usize) -> Vec<Arrival> {
        let what = format!("{count} taken");
        self.until(&what, |desk| Some(desk.taken()).filter(|taken| taken.len() >= count)).await
    }

    /// The next message breaks off inside.
    pub fn breaks(&self) {
        self.state().breaks = true;
    }

    /// Whether this call is the last, or comes after it.
    fn death(&self) -> Option<Death> {
        let mut state = self.state();
        if state.dead {
            return Some(Death::Before);
        }
        let (left, death) = state.dies.as_mut()?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        let death = *death;
        state.dead = true;
        Some(death)
    }

    async fn dead<T>(&self) -> T {
        self.change();
        std::future::pending().await
    }

    fn take_now(&self, arrival: Arrival) -> Result<Taken, NotTaken> {
        let mut state = self.state();
        let mut key = (arrival.chat.chat_id.clone(), arrival.platform_id.clone());
        if matches!(arrival.content, Content::Edit(_)) {
            // A change is no repetition of its message.
            key.1 += " changed";
        }
        state.handed.push(key.clone());
        if let Some(why) = state.stuck.get(&arrival.chat.chat_id) {
            return Err(why.clone());
        }
        if !state.known.insert(key) {
            return Ok(Taken::Known);
        }
        let answer = match &arrival.content {
            Content::Press(_) => state.answer.clone(),
            Content::Message(_) | Content::Edit(_) => None,
        };
        state.taken.push(arrival);
        Ok(answer.map_or(Taken::Accepted, Taken::Done))
    }
}

#[async_trait]
impl Intake for Desk {
    async fn take(&self, arrival: Arrival) -> Result<Taken, NotTaken> {
        let breaks = std::mem::take(&mut self.state().breaks);
        assert!(!breaks, "a bug");
        let death = self.death();
        if death == Some(Death::Before) {
            return self.dead().await;
        }
        let taken = self.take_now(arrival);
        if death.is_some() {
            return self.dead().await;
        }
        self.change();
        taken
    }

    /// A full inbox is one chat's; what else fails here fails for all, so that nothing can be counted either.
    async fn overflow(&self, arrival: Arrival, first: bool) -> Result<(), NotTaken> {
        match self.state().stuck.get(&arrival.chat.chat_id) {
            Some(NotTaken::Failed(why)) => return Err(NotTaken::Failed(why.clone())),
            Some(NotTaken::Full(_)) | None => {}
        }
        self.state().overflowed.push((written(&arrival).text.clone(), first));
        self.change();
        Ok(())
    }

    async fn refused(&self, chat: &str, reason: &'static str) {
        self.state().refused.push(format!("{chat} {reason}"));
    }

    async fn present(&self, _: ChatRef) {}

    async fn moved(&self, from: &str, to: &str) -> Result<(), NotTaken> {
        self.state().moves.push((from.to_owned(), to.to_owned()));
        self.change();
        Ok(())
    }

    async fn cursor(&self) -> Result<Option<String>, NotTaken> {
        Ok(self.state().cursor.clone())
    }

    async fn keep_cursor(&self, cursor: String) -> Result<(), NotTaken> {
        let death = self.death();
        if death == Some(Death::Before) {
            return self.dead().await;
        }
        {
            let mut state = self.state();
            if state.keeps_no_cursor {
                return Err(NotTaken::Failed("the disk is full".to_owned()));
            }
            state.cursor = Some(cursor);
        }
        if death.is_some() {
            return self.dead().await;
        }
        self.change();
        Ok(())
    }
}

/// What was written, of an arrival that is a message.
pub fn written(arrival: &Arrival) -> &Written {
    match &arrival.content {
        Content::Message(written) | Content::Edit(written) => written,
        Content::Press(data) => panic!("a press: {data}"),
    }
}
