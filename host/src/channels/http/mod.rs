//! Programs, over HTTP: webhooks that write to an agent, and an API that OpenAI's clients speak.
//!
//! ```text
//!  POST /hooks/NAME          signed   ─┐                      ┌─▶ callback, signed
//!  POST /v1/chat/completions  key     ─┼─▶ intake …turn… send ┼─▶ those that wait
//!  POST /v1/responses         key     ─┘                      └─▶ nobody: the reply counts as taken
//! ```
//!
//! One listener and one channel. The chats are `hook/NAME` and `key/NAME` (`key/NAME/2` where one of the name was removed
//! before), their threads are conversations. What a call is answered with is read from the rows ([`book`]); a client's end
//! is never the turn's.
//!
//! - [`book`]: what is looked up elsewhere. - [`webhook`], in the [`forms`] [`plain`] and [`github`]. - [`api`].
//! - [`waiting`]: calls that wait. - [`places`]: what calls may cost.

mod api;
pub mod book;
mod callback;
mod files;
mod forms;
mod github;
pub mod keys;
mod places;
mod plain;
mod settings;
pub mod signature;
mod waiting;
mod webhook;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::routing::post;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::book::Book;
use self::callback::Callbacks;
use self::files::Files;
use self::places::Places;
use self::settings::Settings;
use self::waiting::Waiting;
use super::kinds::{Kind, Parts};
use super::socket;
use super::{
    Abilities, Arrival, BadSettings, Channel, Intake, NotTaken, Offered, Pauses, Piece, Progress, Receipt, Room,
    SendError, Standing, State, Status, Taken, Writers,
};
use crate::model::action::Action;
use crate::model::channel::KindName;
use crate::model::chat::ChatRef;
use crate::model::reply::{Outbound, ReplyKind};
use crate::trust::Trust;

pub use self::callback::shown;
pub use self::forms::changed as changed_form;
pub use self::plain::is_name;
pub use self::settings::{Limits, url};

/// Programs that call.
pub static KIND: Kind = Kind {
    name: KindName::of("http"),
    about: "webhooks, and an API that OpenAI's clients speak; it listens on 127.0.0.1 unless it is told otherwise",
    needs: None,
    programs: true,
    example: "cofferdam channel add http http",
    make,
};

fn make(parts: Parts<'_>) -> Result<Arc<dyn Channel>, BadSettings> {
    let Parts { name, settings, trust, book, .. } = parts;
    Ok(Arc::new(Http::new(name, settings, book(), trust)?))
}

/// The HTTP channel.
pub struct Http {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    settings: Settings,
    limits: Limits,
    book: Arc<dyn Book>,
    callbacks: Callbacks,
    places: Places,
    files: Files,
    waiting: Arc<Waiting>,
    recent: api::Recent,
    standing: Standing,
    /// When it began, s since 1970.
    began: i64,
    address: watch::Sender<Option<SocketAddr>>,
    /// No new calls.
    stopping: CancellationToken,
    /// No calls at all.
    closed: CancellationToken,
    server: Mutex<Option<JoinHandle<()>>>,
}

/// What a request is served with.
#[derive(Clone)]
struct Desk {
    inner: Arc<Inner>,
    intake: Arc<dyn Intake>,
}

impl Http {
    /// The channel of this name; it does not listen yet.
    pub fn new(
        name: impl Into<String>,
        settings: serde_json::Value,
        book: Arc<dyn Book>,
        trust: &Trust,
    ) -> Result<Self, BadSettings> {
        Self::with_limits(name, settings, book, trust, Limits::default())
    }

    /// The same with other limits.
    pub fn with_limits(
        name: impl Into<String>,
        settings: serde_json::Value,
        book: Arc<dyn Book>,
        trust: &Trust,
        limits: Limits,
    ) -> Result<Self, BadSettings> {
        let name = name.into();
        let callbacks = Callbacks::new(trust)
            .map_err(|why| BadSettings(format!("the channel '{name}' can make no calls: {why}")))?;
        let inner = Inner {
            settings: Settings::parse(&name, settings)?,
            name,
            limits,
            book,
            callbacks,
            places: Places::new(&limits),
            files: Files::default(),
            waiting: Arc::default(),
            recent: api::Recent::default(),
            standing: Standing::default(),
            began: crate::clock::now_ms() / 1000,
            address: watch::Sender::new(None),
            stopping: CancellationToken::new(),
            closed: CancellationToken::new(),
            server: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where it listens; waits until it does.
    pub async fn listening(&self) -> Option<SocketAddr> {
        let mut address = self.inner.address.subscribe();
        address.wait_for(Option::is_some).await.ok().and_then(|address| *address)
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.inner.stopping.cancel();
        self.inner.waiting.close();
        self.inner.closed.cancel();
    }
}

#[async_trait]
impl Channel for Http {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn abilities(&self) -> Abilities {
        // A file cannot be handed to whoever waits for text: the agent is told so, rather than the caller a name.
        // Who is called back knows a reply by its key.
        Abilities { threads: true, progress: true, idempotent: true, ..Abilities::default() }
    }

    fn writers(&self) -> Writers {
        Writers::Programs
    }

    fn state(&self) -> State {
        self.inner.standing.state()
    }

    async fn run(&self, intake: Arc<dyn Intake>, stop: CancellationToken) {
        if let Some(listener) = self.listen(&stop).await {
            let inner = self.inner.clone();
            let app = app(Desk { inner: inner.clone(), intake });
            let server =
                tokio::spawn(socket::serve(listener, inner.limits.of_connections(), app, inner.closed.clone()));
            *inner.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
            stop.cancelled().await;
        }
        self.inner.stopping.cancel();
    }

    async fn close(&self) {
        self.inner.stopping.cancel();
        self.inner.waiting.close();
        self.inner.closed.cancel();
        let server = self.inner.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            let _ = server.await;
        }
    }

    /// Its own address may be in use by the one whose place it takes.
    fn tests_alone(&self) -> bool {
        false
    }

    async fn test(&self) -> Result<String, SendError> {
        if let Some(address) = *self.inner.address.borrow() {
            return Ok(format!("listens on http://{address}"));
        }
        let listen = self.inner.settings.listen;
        match TcpListener::bind(listen).await {
            Ok(_) => Ok(format!("can listen on http://{listen}")),
            Err(error) => Err(SendError::later(format!("cannot listen on {listen}: {error}"), None)),
        }
    }

    async fn send(&self, reply: &Outbound, _: (usize, &Piece), _: Option<&str>) -> Result<Receipt, SendError> {
        let inner = &self.inner;
        if matches!(reply.action, Some(Action::React { .. })) {
            return Ok(Receipt::NONE);
        }
        // A notice is shown only when it is how the turn ended, which the book knows.
        let text = (reply.kind == ReplyKind::Reply).then_some(reply.text.as_str());
        inner.waiting.said(&reply.chat, reply.turn, text);
        let Some(name) = reply.chat.chat_id.strip_prefix("hook/") else { return Ok(Receipt::NONE) };
        let name = name.split('/').next().unwrap_or_default();
        let hook = inner.book.hook(name).await.map_err(|why| SendError::later(why, None))?;
        // One that was made again under its name is another.
        let Some(hook) = hook.filter(|hook| hook.chat_id == reply.chat.chat_id) else {
            return Err(SendError::Refused { why: format!("there is no webhook '{name}' any more") });
        };
        if let Some(callback) = &hook.callback {
            inner.callbacks.post(callback, &hook.secret, reply).await?;
        }
        Ok(Receipt::NONE)
    }

    async fn progress(
        &self,
        chat: &ChatRef,
        progress: &Progress,
        _: Option<&str>,
        _: &dyn Room,
    ) -> Result<Option<String>, SendError> {
        match &progress.status {
            Status::Working { draft, .. } => self.inner.waiting.draft(chat, progress.turn, draft),
            Status::Ended => self.inner.waiting.ended(chat),
        }
        Ok(None)
    }

    fn progress_pace(&self, _: &ChatRef) -> Duration {
        Duration::from_millis(50)
    }

    async fn fetch(
        &self,
        file: &Offered,
        into: &mut (dyn AsyncWrite + Send + Unpin),
        most: u64,
    ) -> Result<u64, SendError> {
        let Some(bytes) = self.inner.files.get(&file.reference) else {
            return Err(SendError::Refused { why: "the call that brought the file is over".to_owned() });
        };
        let length = bytes.len() as u64;
        if length > most {
            return Err(SendError::Refused { why: format!("the file has {length} bytes, more than {most}") });
        }
        let failed =
            |error: std::io::Error| SendError::later(format!("the file could not be written: {error}"), None);
        into.write_all(&bytes).await.map_err(failed)?;
        into.flush().await.map_err(failed)?;
        Ok(length)
    }
}

impl Http {
    /// Listens; while it cannot, such as when another program does, it tries again.
    async fn listen(&self, stop: &CancellationToken) -> Option<TcpListener> {
        let inner = &self.inner;
        let mut pauses = Pauses::default();
        loop {
            let bound = TcpListener::bind(inner.settings.listen).await;
            match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
                Ok((address, listener)) => {
                    inner.address.send_replace(Some(address));
                    inner.standing.set(&inner.name, State::Connected);
                    return Some(listener);
                }
                Err(error) => {
                    let why = format!("cannot listen on {}: {error}", inner.settings.listen);
                    if !pauses.wait(&inner.name, &inner.standing, (why, None), stop).await {
                        return None;
                    }
                }
            }
        }
    }
}

impl Desk {
    /// Hands an arrival in, after those of its chat before it. Goes on when the caller leaves, who may have been told
    /// nothing; `keeps` lives as long.
    async fn hand_in(&self, arrival: Arrival, keeps: impl Send + 'static) -> Result<Taken, NotTaken> {
        let desk = self.clone();
        let task = tokio::spawn(async move {
            let _keeps = keeps;
            let _alone = desk.inner.places.turn(&arrival.chat.chat_id).await;
            desk.intake.take(arrival).await
        });
        task.await.unwrap_or_else(|_| Err(NotTaken::Failed("the message was not taken".to_owned())))
    }
}

/// Who writes in a webhook's or a key's chat: `hook:NAME`, `key:NAME`, and more where one of the name was removed before.
fn sender_of(chat_id: &str) -> String {
    chat_id.replacen('/', ":", 1)
}

fn app(desk: Desk) -> Router {
    let api = api::routes(&desk.inner.settings.origins);
    Router::new().route("/hooks/{name}", post(webhook::post)).merge(api).with_state(desk)
}
