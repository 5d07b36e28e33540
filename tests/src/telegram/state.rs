//! What Telegram knows.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::answer::{Fault, No};
use super::pace::Meter;
use super::params::Params;
use super::view::Message;

/// The bot's id and name.
pub(crate) const BOT: i64 = 424_242;
pub(crate) const BOT_NAME: &str = "cofferdam_test_bot";

pub(crate) struct Inside {
    state: Mutex<State>,
    /// Goes up whenever anything changes.
    pub(crate) changed: watch::Sender<u64>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) token: String,
    pub(crate) reads_groups: bool,
    pub(crate) chats: BTreeMap<i64, Chat>,
    pub(crate) updates: VecDeque<Update>,
    pub(crate) next_update: i64,
    pub(crate) next_id: i64,
    /// The present poller.
    pub(crate) poller: u64,
    pub(crate) webhook: Option<Webhook>,
    /// When posting failed last (s), and how.
    pub(crate) failed: Option<(u64, String)>,
    pub(crate) allowed: Vec<String>,
    pub(crate) files: HashMap<String, Stored>,
    /// The presses, and what they were answered with.
    pub(crate) presses: HashMap<String, Press>,
    pub(crate) commands: Vec<String>,
    pub(crate) faults: HashMap<String, VecDeque<Fault>>,
    pub(crate) calls: Vec<Call>,
    pub(crate) meter: Meter,
}

/// A call as it arrived.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: String,
    /// Its parameters, without files.
    pub params: Value,
}

/// An update that was not confirmed.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) id: i64,
    pub(crate) json: Value,
}

#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) url: String,
    pub(crate) secret: String,
}

/// What came of a press.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Press {
    /// The person sees a waiting mark.
    Waits,
    /// It was answered, with a text or without.
    Answered(Option<String>),
    /// It was not answered for so long that it cannot be any more.
    TooOld,
}

pub(crate) struct Stored {
    pub(crate) path: String,
    pub(crate) content: Bytes,
    pub(crate) claims: Option<u64>,
}

/// What sort of chat it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One person.
    Private,
    /// A small group.
    Group,
    /// A large one, or one with topics.
    Supergroup,
}

pub(crate) struct Chat {
    pub(crate) id: i64,
    pub(crate) kind: Kind,
    pub(crate) title: String,
    pub(crate) topics: BTreeSet<i64>,
    pub(crate) messages: BTreeMap<i64, Message>,
    pub(crate) next_message: i64,
    pub(crate) deleted: Vec<i64>,
    /// The topics of the typing marks so far.
    pub(crate) typing: Vec<Option<i64>>,
    pub(crate) blocked: bool,
    pub(crate) moved_to: Option<i64>,
}

impl Inside {
    pub(crate) fn new(token: &str) -> Self {
        let state = State { token: token.to_owned(), next_update: 900_000_001, next_id: 1, ..State::default() };
        Self { state: Mutex::new(state), changed: watch::Sender::new(0) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a lock")
    }

    pub(crate) fn change(&self) {
        self.changed.send_modify(|change| *change += 1);
    }
}

pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

pub(crate) fn bot_json() -> Value {
    json!({"id": BOT, "is_bot": true, "first_name": "Cofferdam", "username": BOT_NAME})
}

impl State {
    pub(crate) fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn chat(&mut self, id: i64) -> &mut Chat {
        self.chats.get_mut(&id).unwrap_or_else(|| panic!("there is no chat {id}"))
    }

    /// The chat that a call is about.
    pub(crate) fn called_chat(&mut self, params: &Params) -> Result<&mut Chat, No> {
        let id = params.int("chat_id").ok_or_else(|| No::bad("chat_id is empty"))?;
        let chat = self.chats.get_mut(&id).ok_or_else(|| No::bad("chat not found"))?;
        match (chat.moved_to, chat.blocked, chat.kind) {
            (Some(to), ..) => Err(No::moved(to)),
            (None, true, Kind::Private) => Err(No::new(403, "Forbidden: bot was blocked by the user")),
            (None, true, _) => Err(No::new(403, "Forbidden: bot was kicked from the supergroup chat")),
            _ => Ok(chat),
        }
    }

    /// Something happened. Kinds that nobody asked for leave no update.
    pub(crate) fn update(&mut self, kind: &str, what: Value) -> Option<i64> {
        let wanted = match self.allowed.as_slice() {
            [] => !matches!(kind, "chat_member" | "message_reaction" | "message_reaction_count"),
            allowed => allowed.iter().any(|allowed| allowed == kind),
        };
        if !wanted {
            return None;
        }
        let id = self.next_update;
        self.next_update += 1;
        self.updates.push_back(Update { id, json: json!({"update_id": id, kind: what}) });
        Some(id)
    }
}

impl Chat {
    pub(crate) fn new(id: i64, kind: Kind, title: &str) -> Self {
        Self {
            id,
            kind,
            title: title.to_owned(),
            topics: BTreeSet::new(),
            messages: BTreeMap::new(),
            next_message: 1,
            deleted: Vec::new(),
            typing: Vec::new(),
            blocked: false,
            moved_to: None,
        }
    }

    pub(crate) fn json(&self) -> Value {
        match self.kind {
            Kind::Private => json!({"id": self.id, "type": "private", "first_name": self.title}),
            Kind::Group => json!({"id": self.id, "type": "group", "title": self.title}),
            Kind::Supergroup => {
                let forum = !self.topics.is_empty();
                json!({"id": self.id, "type": "supergroup", "title": self.title, "is_forum": forum})
            }
        }
    }

    pub(crate) fn number(&mut self) -> i64 {
        self.next_message += 1;
        self.next_message - 1
    }

    pub(crate) fn thread(&self, thread: Option<i64>) -> Result<Option<i64>, No> {
        match thread {
            Some(thread) if !self.topics.contains(&thread) => Err(No::bad("message thread not found")),
            thread => Ok(thread),
        }
    }

    /// What every message's JSON has.
    pub(crate) fn message_json(&self, id: i64, thread: Option<i64>) -> Value {
        let mut json = json!({"message_id": id, "date": now_s(), "chat": self.json()});
        if let Some(thread) = thread {
            json["message_thread_id"] = thread.into();
            json["is_topic_message"] = true.into();
        }
        json
    }
}
