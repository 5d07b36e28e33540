//! Telegram, by the [Bot API](https://core.telegram.org/bots/api). One value is one bot.
//!
//! | file | what |
//! |---|---|
//! | [`settings`] | what a home says about the bot |
//! | [`api`], [`failure`], [`wire`] | calls, why they fail, and what we read of Telegram's objects |
//! | [`poll`], [`queues`], [`cursor`] | updates: asked for, waiting by chat, and how far they were read |
//! | [`webhook`], [`watch`] | updates: posted by Telegram, and whether it can |
//! | [`seen`], [`attached`], [`words`], [`albums`], [`taking`] | what an update says that somebody did, and handing it in |
//! | [`send`], [`post`], [`files`], [`ask`] | replies |
//! | [`text`] | replies in messages |
//! | [`progress`] | what a turn does |

mod albums;
mod api;
mod ask;
mod attached;
mod cursor;
mod failure;
mod files;
mod poll;
mod post;
mod progress;
mod queues;
mod seen;
mod send;
mod settings;
mod taking;
mod text;
mod watch;
mod webhook;
mod wire;
mod words;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use frankenstein::methods::SetMyCommandsParams;
use frankenstein::types::BotCommand;
use secrecy::SecretString;
use serde_json::json;
use tokio::io::AsyncWrite;
use tokio_util::sync::CancellationToken;

use self::albums::Albums;
use self::api::Api;
use self::failure::Failure;
use self::progress::Displays;
use self::send::Moved;
use self::settings::{Settings, Webhook};
use self::taking::Taking;
use self::wire::Me;
use super::{
    Abilities, BadSettings, Channel, Intake, Offered, Pace, Pauses, Piece, Progress, Rate, Receipt, Room,
    SendError, Standing, State,
};
use crate::model::chat::ChatRef;
use crate::model::reply::Outbound;
use crate::trust::Trust;

/// What a short call may take. Below the time that delivery gives a reply, so that our own words say what happened.
const CALL: Duration = Duration::from_secs(25);

/// What people find in the bot's menu: the commands of a chat.
const COMMANDS: [(&str, &str); 10] = [
    ("help", "What can be said here"),
    ("status", "What the agent does now"),
    ("stop", "End what it does now"),
    ("clear", "Begin a new conversation"),
    ("compact", "Shorten what it remembers"),
    ("model", "Show or choose the model"),
    ("effort", "Show or choose how hard it thinks"),
    ("account", "Show or choose the account"),
    ("approve", "Allow what was asked for"),
    ("deny", "Refuse what was asked for"),
];

/// A bot. Clones are the same.
#[derive(Clone)]
pub struct Telegram {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    /// The bot's id.
    bot: String,
    api: Arc<Api>,
    webhook: Option<Webhook>,
    standing: Standing,
    displays: Displays,
    moved: Moved,
    albums: Albums,
    /// Where arrivals go, once it runs.
    intake: Mutex<Option<Arc<dyn Intake>>>,
}

impl Telegram {
    /// The bot with this token, as the channel `name`. It does not call anybody yet.
    pub fn new(
        name: &str,
        settings: serde_json::Value,
        token: SecretString,
        trust: &Trust,
    ) -> Result<Self, BadSettings> {
        settings::check_token(&token)?;
        let known = Settings::parse(settings)?;
        let inner = Inner {
            name: name.to_owned(),
            bot: settings::bot_of(&token),
            api: Arc::new(Api::new(known.api_url, token, trust)?),
            webhook: known.webhook,
            standing: Standing::default(),
            displays: Displays::default(),
            moved: Moved::default(),
            albums: Albums::default(),
            intake: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

#[async_trait]
impl Channel for Telegram {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            files: true,
            threads: true,
            edit: true,
            react: true,
            buttons: true,
            progress: true,
            replies: true,
            idempotent: false,
        }
    }

    fn identity(&self) -> Option<String> {
        Some(self.inner.bot.clone())
    }

    fn state(&self) -> State {
        self.inner.standing.state()
    }

    async fn run(&self, intake: Arc<dyn Intake>, stop: CancellationToken) {
        let inner = self.inner.clone();
        *inner.intake.lock().unwrap_or_else(PoisonError::into_inner) = Some(intake.clone());
        let Some(me) = inner.clone().hello(&stop).await else { return };
        match inner.webhook.clone() {
            Some(webhook) => webhook::run(inner, webhook, intake, me, stop).await,
            None => poll::Poll::new(inner, intake, me, stop).run().await,
        }
    }

    async fn test(&self) -> Result<String, SendError> {
        let me = self.inner.me().await?;
        let can = if me.can_read_all_group_messages { "can" } else { "cannot" };
        let stands = match self.state() {
            State::Waiting { why, .. } | State::Stopped { why } => format!("; but {why}"),
            State::Connecting | State::Connected => String::new(),
        };
        Ok(format!("@{}, {can} read all group messages{stands}", me.username))
    }

    /// What Telegram [publishes](https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this): in a chat about
    /// one message a second, with short bursts; in all "30 messages per second or so". A change of a message counts as one in its
    /// chat: the limits "share" ([its maintainers](https://github.com/tdlib/td/issues/2592)). Nothing is published about typing
    /// marks; they count in all. Of the 30 we use 25, as what goes evenly arrives in clusters.
    fn pace(&self) -> Pace {
        Pace {
            chat: Rate { burst: 3, every: Duration::from_secs(1) },
            all: Rate { burst: 3, every: Duration::from_millis(45) },
            at_once: 16,
        }
    }

    /// And 20 a minute in one group, all its topics together.
    fn chat_rate(&self, chat: &ChatRef) -> Rate {
        if is_group(chat) { Rate { burst: 3, every: Duration::from_millis(3500) } } else { self.pace().chat }
    }

    fn pieces(&self, reply: &Outbound) -> Vec<Piece> {
        text::pieces(reply)
    }

    async fn send(
        &self,
        reply: &Outbound,
        piece: (usize, &Piece),
        onto: Option<&str>,
    ) -> Result<Receipt, SendError> {
        self.inner.send(reply, piece, onto).await
    }

    async fn progress(
        &self,
        chat: &ChatRef,
        progress: &Progress,
        shown: Option<&str>,
        room: &dyn Room,
    ) -> Result<Option<String>, SendError> {
        self.inner.progress(chat, progress, shown, room).await
    }

    fn progress_pace(&self, chat: &ChatRef) -> Duration {
        Duration::from_secs(if is_group(chat) { 3 } else { 1 })
    }

    async fn fetch(
        &self,
        file: &Offered,
        into: &mut (dyn AsyncWrite + Send + Unpin),
        most: u64,
    ) -> Result<u64, SendError> {
        files::fetch(&self.inner.api, file, into, most).await
    }
}

/// Groups have negative ids.
fn is_group(chat: &ChatRef) -> bool {
    chat.chat_id.starts_with('-')
}

impl Inner {
    fn taking(&self, intake: Arc<dyn Intake>) -> Taking {
        let (api, moved, albums) = (self.api.clone(), self.moved.clone(), self.albums.clone());
        Taking { api, moved, albums, intake }
    }

    async fn me(&self) -> Result<Me, Failure> {
        self.api.call("getMe", &json!({}), CALL).await
    }

    /// Asks who we are until that is known. None: we end.
    async fn hello(&self, stop: &CancellationToken) -> Option<Me> {
        let mut pauses = Pauses::default();
        loop {
            let me = tokio::select! {
                () = stop.cancelled() => return None,
                me = self.me() => me,
            };
            let failure = match me {
                Ok(me) => {
                    self.standing.set(&self.name, State::Connected);
                    self.name_commands(stop).await;
                    return Some(me);
                }
                Err(failure) if failure.is_bad_token() => {
                    self.stopped();
                    return None;
                }
                Err(failure) => failure,
            };
            if !pauses.wait(&self.name, &self.standing, (failure.to_string(), failure.after()), stop).await {
                return None;
            }
        }
    }

    /// Puts the commands into the bot's menu, as far as that works.
    async fn name_commands(&self, stop: &CancellationToken) {
        let commands =
            COMMANDS.map(|(command, does)| BotCommand::builder().command(command).description(does).build());
        let params = SetMyCommandsParams::builder().commands(commands.to_vec()).build();
        let set = tokio::select! {
            () = stop.cancelled() => return,
            set = self.api.call::<bool>("setMyCommands", &params, CALL) => set,
        };
        if let Err(error) = set {
            tracing::info!(channel = self.name, %error, "the bot's menu was not set");
        }
    }

    /// Nothing works before a person does something.
    fn stopped(&self) {
        let why = format!(
            "Telegram does not know the bot's token; ask @BotFather for the present one (/token) and add the channel with it \
             again: `cofferdam channel add {} telegram`",
            self.name
        );
        self.standing.set(&self.name, State::Stopped { why });
    }
}
