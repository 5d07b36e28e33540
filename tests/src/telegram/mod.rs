//! Telegram's Bot API on loopback, as its documentation has it: <https://core.telegram.org/bots/api>. It keeps chats, messages,
//! files and updates, checks what it is sent as strictly as Telegram, answers in Telegram's words, and fails as Telegram
//! and the way to it fail. People write through [`Telegram::write`] and its neighbours.
//!
//! It does what Cofferdam's channel calls: `getMe`, `getUpdates`, the webhook's three, `sendMessage`, `editMessageText`,
//! `deleteMessage`, `sendChatAction`, `sendDocument`, `sendPhoto`, `sendVoice`, `sendAudio`, `sendVideo`, `getFile` and
//! the files themselves, `answerCallbackQuery`, `setMyCommands`, `setMessageReaction`. Other methods are not found.
//!
//! What it leaves out: Markdown modes and `entities` in calls, files by id or URL, sending albums, channels, inline mode, payments,
//! rights of members, privacy mode (people's messages always reach the bot), updates that expire after a day, numbering updates
//! anew after a week. A webhook's updates are posted one after the other, and over HTTP. Only the words that were checked
//! against the documentation or widely seen answers are Telegram's; others are near to them.

mod answer;
mod html;
mod media;
mod messages;
mod pace;
mod params;
mod people;
mod serve;
mod state;
mod updates;
mod view;

use std::sync::Arc;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use answer::Fault;
pub use people::{Person, Post, at_bot};
pub use state::{Call, Press};
pub use view::{Button, Entity, File, Message};

use crate::LIMIT;
use state::{Inside, Update};

/// The part of its token that nobody may see, so that it is found wherever it should not be.
pub const SECRET: &str = "AAF-telegram-secret-9f8e7d6c5b4a3";

/// Telegram, with one bot. Dropping it closes all its connections.
pub struct Telegram {
    inside: Arc<Inside>,
    url: String,
    serving: JoinHandle<()>,
}

impl Drop for Telegram {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Telegram {
    /// Opens it.
    pub async fn start() -> Self {
        Self::start_with(state::BOT).await
    }

    /// The same with the token of another bot, in a world of its own: nobody and nothing of the first is there.
    pub async fn start_with(bot: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let inside = Arc::new(Inside::new(&format!("{bot}:{SECRET}")));
        let serving = tokio::spawn(serve::accept(listener, inside.clone()));
        Self { inside, url, serving }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The bot's token.
    pub fn token(&self) -> String {
        self.inside.state().token.clone()
    }

    /// The bot gets another token: the one that it had is refused from now on.
    pub fn revoke_token(&self) {
        self.inside.state().token = format!("{}:another-{SECRET}", state::BOT);
    }

    /// The bot may read all messages of groups.
    pub fn reads_groups(&self) {
        self.inside.state().reads_groups = true;
    }

    /// The next calls of a method go wrong like this, one each.
    pub fn fail(&self, method: &str, faults: impl IntoIterator<Item = Fault>) {
        self.inside.state().faults.entry(method.to_owned()).or_default().extend(faults);
    }

    /// Refuses what comes faster than the published limits, or in a pause; otherwise it is only noted.
    pub fn keep_to_pace(&self) {
        self.keep_to_quicker_pace(1);
    }

    /// The same, with a minute of groups that lasts the `shorter`th part of one: 20 messages go in so long.
    pub fn keep_to_quicker_pace(&self, shorter: u32) {
        self.inside.state().meter.is_strict(shorter);
    }

    /// Where the published limits, or a pause that was asked for, were broken.
    pub fn violations(&self) -> Vec<String> {
        self.inside.state().meter.violations.clone()
    }

    /// What a chat shows, oldest first.
    pub fn shows(&self, chat: i64) -> Vec<Message> {
        self.inside.state().chat(chat).messages.values().cloned().collect()
    }

    /// What a chat shows of the bot's messages, oldest first.
    pub fn from_bot(&self, chat: i64) -> Vec<Message> {
        self.shows(chat).into_iter().filter(|message| message.by_bot).collect()
    }

    /// The messages that were taken away.
    pub fn deleted(&self, chat: i64) -> Vec<i64> {
        self.inside.state().chat(chat).deleted.clone()
    }

    /// The typing marks so far: in which topic.
    pub fn typing(&self, chat: i64) -> Vec<Option<i64>> {
        self.inside.state().chat(chat).typing.clone()
    }

    /// What is in a file.
    pub fn content(&self, file: &File) -> Vec<u8> {
        self.inside.state().files[&file.id].content.to_vec()
    }

    /// The commands in the bot's menu.
    pub fn commands(&self) -> Vec<String> {
        self.inside.state().commands.clone()
    }

    /// The calls of a method so far.
    pub fn calls(&self, method: &str) -> Vec<Call> {
        self.inside.state().calls.iter().filter(|call| call.method == method).cloned().collect()
    }

    /// All calls so far, in the order in which they came.
    pub fn all_calls(&self) -> Vec<Call> {
        self.inside.state().calls.clone()
    }

    /// The updates that were not confirmed.
    pub fn unconfirmed(&self) -> Vec<Value> {
        self.inside.state().updates.iter().map(|update| update.json.clone()).collect()
    }

    /// An update of any form. Without a number of its own it gets the next one.
    pub fn deliver(&self, mut update: Value) {
        {
            let mut state = self.inside.state();
            let id = match update.get("update_id") {
                Some(id) => id.as_i64().unwrap_or(state.next_update),
                None => {
                    state.next_update += 1;
                    update["update_id"] = (state.next_update - 1).into();
                    state.next_update - 1
                }
            };
            state.updates.push_back(Update { id, json: update });
        }
        self.inside.change();
    }

    /// A webhook that another program set, which answers nothing.
    pub fn has_stray_webhook(&self) {
        let webhook = state::Webhook { url: "https://elsewhere.example/hook".to_owned(), secret: String::new() };
        self.inside.state().webhook = Some(webhook);
    }

    /// Another program that has the token takes the webhook away.
    pub fn loses_webhook(&self) {
        self.inside.state().webhook = None;
        self.inside.change();
    }

    /// Waits until `look` finds what it looks for, looking after every change; panics with `what` after [`LIMIT`].
    pub async fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let mut changed = self.inside.changed.subscribe();
        let looking = async {
            loop {
                changed.borrow_and_update();
                if let Some(found) = look(self) {
                    return found;
                }
                changed.changed().await.expect("it is open");
            }
        };
        match tokio::time::timeout(LIMIT, looking).await {
            Ok(found) => found,
            Err(_) => panic!("never: {what}; calls: {:?}", self.inside.state().calls),
        }
    }

    /// Waits until a method was called so often.
    pub async fn called(&self, method: &str, times: usize) {
        let what = format!("{method}, {times} times");
        self.until(&what, |telegram| (telegram.calls(method).len() >= times).then_some(())).await;
    }
}
