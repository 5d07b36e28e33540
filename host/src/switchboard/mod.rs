//! The channels of a home: made of their rows, run, and changed while the daemon runs. Which kinds there are,
//! [`channels::kinds`](crate::channels::kinds) says.
//!
//! - [`change`]: added, changed, taken away. - [`identity`]: never two of one name. - [`running`]: kept running. - [`kinds`]: what each is made
//!   of. - [`book`], [`programs`]: what HTTP channels look up.

mod book;
mod change;
mod identity;
mod kinds;
mod programs;
mod running;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::channels::kinds::Kind;
use crate::channels::{BadSettings, Channel, Channels, Parked, SendError, State};
use crate::config::home::Home;
use crate::desk::Desk;
use crate::error_chain;
use crate::gateway::accounts::{AccountError, Accounts};
use crate::model::channel::KindName;
use crate::store::channels::{ChannelRow, SecretOf};
use crate::store::{StoreError, Stores};
use crate::trust::Trust;

pub use programs::HookSecret;

/// How long a channel may take to end what it takes in.
const STOPS: Duration = Duration::from_secs(5);
/// How long a channel that could not be tried before may take until it says how it is.
const SETTLES: Duration = Duration::from_secs(2);
/// How long a channel's test may take.
const TESTS: Duration = Duration::from_secs(30);

/// What the switchboard works with.
pub struct Board {
    /// Where everything lies.
    pub home: Home,
    /// Where the channels are kept, and what their callers ask for.
    pub stores: Stores,
    /// What seals and opens their secrets.
    pub secrets: Accounts,
    /// The channels that are there.
    pub channels: Channels,
    /// Where they hand in.
    pub desk: Desk,
    /// Makes their HTTP clients.
    pub trust: Trust,
    /// A channel came or went: what waits for it is looked at.
    pub changed: Box<dyn Fn() + Send + Sync>,
}

/// Why a channel was not added or changed.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The change itself broke off.
    #[error("the change broke off inside")]
    BrokeOff,
    /// Its settings, or its secret, are no good.
    #[error(transparent)]
    Settings(#[from] BadSettings),
    /// The name is another kind's.
    #[error("'{0}' is a channel of another kind")]
    OtherKind(String),
    /// The name is another one's at its platform.
    #[error(
        "'{name}' is {before} at its platform, and this is {now}: their messages would be taken for each other's"
    )]
    OtherIdentity {
        /// The channel's.
        name: String,
        /// Whose it is, by the platform's id.
        before: String,
        /// Who was to get it.
        now: String,
    },
    /// It is of a kind that this program does not know, such as after a newer one had the home.
    #[error(
        "this Cofferdam knows no channels of the kind '{kind}': run one that does, or take it away with \
         `cofferdam channel remove {name}`"
    )]
    UnknownKind {
        /// The channel's name.
        name: String,
        /// What its row has.
        kind: KindName,
    },
    /// Another channel is what this was to be.
    #[error("channel '{name}' is {now} already, and its platform serves one of two")]
    SameIdentity {
        /// That channel's.
        name: String,
        /// Who both would be at their platform.
        now: String,
    },
    /// There is none of that name.
    #[error("there is no channel '{0}'")]
    Unknown(String),
    /// Its platform says no.
    #[error("'{name}' does not work: {why}")]
    Test {
        /// Which.
        name: String,
        /// What the platform said.
        why: SendError,
    },
    /// The vault does not give or take its secret.
    #[error(transparent)]
    Secret(#[from] AccountError),
    /// It has no secret any more.
    #[error("{0}")]
    NoSecret(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A channel, as people see it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its row.
    pub row: ChannelRow,
    /// How it stands; none: no daemon serves it.
    pub state: Option<State>,
}

/// A new channel, or new settings of one.
pub struct NewChannel {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static Kind,
    /// Its settings; none keeps what is there.
    pub settings: Option<Value>,
    /// Its secret; none keeps what is there.
    pub secret: Option<SecretString>,
}

/// The switchboard. Clones are the same.
#[derive(Clone)]
pub struct Switchboard {
    inner: Arc<Inner>,
}

struct Inner {
    board: Board,
    lines: Mutex<HashMap<String, Line>>,
    /// Why those that are not there are not.
    broken: Mutex<HashMap<String, String>>,
    /// No channel takes anything in from here on.
    ended: CancellationToken,
    /// The daemon serves: channels are run, not only kept.
    serves: CancellationToken,
    changing: tokio::sync::Mutex<()>,
}

/// A channel that runs.
struct Line {
    channel: Arc<dyn Channel>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Switchboard {
    /// A switchboard that nothing is plugged into.
    pub fn new(board: Board) -> Self {
        let inner = Inner {
            board,
            lines: Mutex::default(),
            broken: Mutex::default(),
            ended: CancellationToken::new(),
            serves: CancellationToken::new(),
            changing: tokio::sync::Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Holds the places of the channels until they run: what is on its way to them waits, rather than being nobody's.
    pub async fn hold_places(&self) -> Result<(), StoreError> {
        for row in self.inner.board.stores.central().channels().await? {
            self.inner.board.channels.add(Arc::new(Parked::new(&row.name, "it does not run yet")));
        }
        Ok(())
    }

    /// Runs every channel of the home. One that cannot be made is told of, and keeps no other from running.
    pub async fn start(&self) {
        self.inner.serves.cancel();
        self.look().await;
    }

    /// Runs the channels that are not, such as those that a restore brought.
    pub async fn look(&self) {
        let _alone = self.inner.changing.lock().await;
        if !self.inner.serves.is_cancelled() || self.inner.ended.is_cancelled() {
            return;
        }
        self.seal_callbacks().await;
        let rows = match self.inner.board.stores.central().channels().await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(error = %error_chain(&error), "no channel runs: they could not be read");
                return;
            }
        };
        for row in rows {
            if self.lock().contains_key(&row.name) {
                continue;
            }
            self.plug_or_park(&row).await;
        }
    }

    async fn plug_row(&self, row: &ChannelRow) -> Result<(), ChannelError> {
        let channel = self.made(row).await?;
        self.is_itself(&row.name, Some(row), channel.as_ref()).await?;
        self.note_identity(channel.as_ref()).await?;
        self.plug(channel);
        Ok(())
    }

    /// A channel as its row has it.
    async fn made(&self, row: &ChannelRow) -> Result<Arc<dyn Channel>, ChannelError> {
        let kind = kinds::of(row)?;
        if let Some(why) = self.lacks_of(row).await? {
            return Err(ChannelError::NoSecret(why));
        }
        let settings = change::parsed(row)?;
        let secret = self.inner.board.secrets.open_other(SecretOf::channel(&row.name)).await?;
        Ok(kinds::make(&self.inner.board, (&row.name, kind), settings, secret)?)
    }

    /// What a channel lacks before it can run, and what to do, in words.
    pub async fn lacks(&self, name: &str) -> Result<Option<String>, StoreError> {
        match self.row(name).await? {
            Some(row) => self.lacks_of(&row).await,
            None => Ok(None),
        }
    }

    async fn lacks_of(&self, row: &ChannelRow) -> Result<Option<String>, StoreError> {
        let kind = match kinds::of(row) {
            Ok(kind) => kind,
            Err(unknown) => return Ok(Some(unknown.to_string())),
        };
        let (central, of) = (self.inner.board.stores.central(), SecretOf::channel(&row.name));
        let lost = central.has_lost_secret(of.clone()).await?;
        let lacks = lost || kind.needs.is_some() && central.sealed(of).await?.is_none();
        Ok(lacks.then(|| kinds::has_no_secret(&row.name, kind)))
    }

    fn plug(&self, channel: Arc<dyn Channel>) {
        let name = channel.name().to_owned();
        let stop = self.inner.ended.child_token();
        let (intake, stopped) = (self.inner.board.desk.intake(&name, channel.writers()), stop.clone());
        self.inner.board.channels.add(channel.clone());
        self.lock_broken().remove(&name);
        let (board, runs) = (self.clone(), channel.clone());
        let task = tokio::spawn(async move {
            running::keep_running(runs.as_ref(), intake, stopped, |broken| board.note(runs.name(), broken)).await;
        });
        self.lock().insert(name, Line { channel, stop, task });
        (self.inner.board.changed)();
        self.inner.board.desk.look_soon();
    }

    /// Notes why a channel is not there; none: it is.
    fn note(&self, name: &str, broken: Option<&str>) {
        let mut all = self.lock_broken();
        match broken {
            Some(why) => all.insert(name.to_owned(), why.to_owned()),
            None => all.remove(name),
        };
    }

    /// Asks a channel's platform whether all is well.
    pub async fn test(&self, name: &str) -> Result<String, ChannelError> {
        if let Some(channel) = self.running(name) {
            return tested(channel.as_ref()).await;
        }
        // A trial of one that does not run is not to meet one that begins to.
        let _alone = self.inner.changing.lock().await;
        if let Some(channel) = self.running(name) {
            return tested(channel.as_ref()).await;
        }
        let row = self.row(name).await?.ok_or_else(|| ChannelError::Unknown(name.to_owned()))?;
        tested(self.made(&row).await?.as_ref()).await
    }

    /// All channels of the home.
    pub async fn list(&self) -> Result<Vec<Seen>, StoreError> {
        let rows = self.inner.board.stores.central().channels().await?;
        let mut seen = Vec::with_capacity(rows.len());
        for row in rows {
            let lacks = self.lacks_of(&row).await?;
            seen.push(Seen { state: lacks.map(|why| State::Stopped { why }).or_else(|| self.state(&row)), row });
        }
        Ok(seen)
    }

    fn state(&self, row: &ChannelRow) -> Option<State> {
        if let Some(why) = self.lock_broken().get(&row.name) {
            return Some(State::Stopped { why: why.clone() });
        }
        self.lock().get(&row.name).map(|line| line.channel.state())
    }

    /// Nothing is taken in any more; replies still go out.
    pub fn stop_intake(&self) {
        self.inner.ended.cancel();
    }

    /// Ends every channel.
    pub async fn close(&self) {
        self.inner.ended.cancel();
        let lines: Vec<Line> = self.lock().drain().map(|(_, line)| line).collect();
        futures_util::future::join_all(lines.into_iter().map(end)).await;
    }

    async fn row(&self, name: &str) -> Result<Option<ChannelRow>, StoreError> {
        Ok(self.inner.board.stores.central().channels().await?.into_iter().find(|row| row.name == name))
    }

    fn running(&self, name: &str) -> Option<Arc<dyn Channel>> {
        self.lock().get(name).map(|line| line.channel.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Line>> {
        self.inner.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_broken(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.inner.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn end(line: Line) {
    line.stop.cancel();
    let mut task = line.task;
    if tokio::time::timeout(STOPS, &mut task).await.is_err() {
        task.abort();
    }
    line.channel.close().await;
}

/// How a channel is that runs since just now, in words.
async fn settled(channel: &dyn Channel) -> String {
    let until = tokio::time::Instant::now() + SETTLES;
    while matches!(channel.state(), State::Connecting) && tokio::time::Instant::now() < until {
        tokio::time::sleep(SETTLES / 100).await;
    }
    match channel.state() {
        State::Waiting { why, .. } | State::Stopped { why } => format!("added, but it does not work yet: {why}"),
        State::Connecting | State::Connected => {
            tested(channel).await.unwrap_or_else(|error| format!("added, but {}", error_chain(&error)))
        }
    }
}

async fn tested(channel: &dyn Channel) -> Result<String, ChannelError> {
    let name = channel.name().to_owned();
    match tokio::time::timeout(TESTS, channel.test()).await {
        Ok(Ok(words)) => Ok(words),
        Ok(Err(why)) => Err(ChannelError::Test { name, why }),
        Err(_) => {
            let why = SendError::later(format!("no answer within {} s", TESTS.as_secs()), None);
            Err(ChannelError::Test { name, why })
        }
    }
}
