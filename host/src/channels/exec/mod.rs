//! Any program that speaks our lines is a channel: docs/channels/exec.md has them.
//!
//! ```text
//!  delivery ─ send, progress, fetch ─▶ link ─▶ calls ─ stdin ─▶ program
//!  intake ◀─ inlet (a queue per chat, marks for the cursor) ◀─ read ─ stdout ─┘
//! ```
//!
//! - [`life`]: one run of it; it is started again with pauses that grow. - [`program`]: the process and its group.
//! - [`orders`]: what it is told. - [`wire`], [`arrivals`], [`hello`], [`words`]: what it says, parsed and bounded. All of it is hostile.

mod arrivals;
mod calls;
mod hello;
mod inlet;
mod life;
mod lines;
mod link;
mod loose;
mod marks;
mod orders;
mod outbound;
mod program;
mod queues;
mod read;
mod settings;
mod supervise;
mod wire;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::kinds::{Kind, Parts};
use super::{
    Abilities, Action, BadSettings, Channel, Intake, Offered, Outbound, Pace, Piece, Progress, Receipt, Room,
    SendError, Showing, Standing, State, Status,
};
use crate::model::channel::KindName;
use crate::model::chat::ChatRef;
use calls::Wire;
use hello::Hello;
use inlet::Inlet;
use life::{About, GRACE};
use loose::Loose;
use orders::{FileLine, ToProgram, Working};
use settings::{Secrets, Settings};
use supervise::{Inner, who};
use words::Words;

/// A slow line's bytes in a second.
const SLOW_LINE: u64 = 256 * 1024;
/// How long a test waits for a program that was just started.
const SOON: Duration = Duration::from_secs(20);
/// How much longer than a call a reply is waited for, which is when nothing is read meanwhile.
const HELD_UP: Duration = Duration::from_secs(900);

/// Programs.
pub static KIND: Kind = Kind {
    name: KindName::of("exec"),
    about: "any program that speaks Cofferdam's lines",
    needs: None,
    programs: false,
    example: "cofferdam channel add irc exec --settings irc.json",
    make,
};

fn make(parts: Parts<'_>) -> Result<Arc<dyn Channel>, BadSettings> {
    let Parts { name, settings, secret, state_dir, .. } = parts;
    Ok(Arc::new(Exec::new(name, settings, secret, state_dir)?))
}

/// The channel of a program.
pub struct Exec {
    inner: Arc<Inner>,
    _ends_with_this: DropGuard,
}

impl Exec {
    /// The channel of this name, as `settings` have it. `secret`: a JSON object of texts, or a token. Of `state_dir` the
    /// program gets a directory of its own.
    pub fn new(
        name: &str,
        settings: Value,
        secret: Option<SecretString>,
        state_dir: PathBuf,
    ) -> Result<Self, BadSettings> {
        let settings = Settings::parse(settings)?;
        let secrets = Secrets::parse(secret.as_ref())?;
        let own = state_dir.join("program").into_os_string().into_string();
        let about = About {
            name: name.to_owned(),
            settings,
            words: Arc::new(Words::new(name, secrets.clone())),
            secrets,
            standing: Standing::default(),
            state_dir: own.map_err(|_| BadSettings("the path of the home is not UTF-8".to_owned()))?,
            files: state_dir.join("files"),
        };
        let inner = Arc::new(Inner {
            about: Arc::new(about),
            link: Arc::default(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            alone: tokio::sync::Mutex::default(),
        });
        let _ends_with_this = inner.closing.clone().drop_guard();
        Ok(Self { inner, _ends_with_this })
    }

    fn hello(&self) -> Option<Hello> {
        self.inner.link.hello()
    }

    fn files(&self) -> &Path {
        &self.inner.about.files
    }

    /// The program that is there, which may just have been started.
    async fn there_soon(&self) -> Result<(Arc<Wire>, Hello), SendError> {
        let soon = Instant::now() + SOON;
        loop {
            if let Some(there) = self.inner.link.there() {
                return Ok(there);
            }
            match self.state() {
                State::Waiting { why, .. } | State::Stopped { why } => return Err(SendError::later(why, None)),
                _ if Instant::now() >= soon => {
                    return Err(SendError::later("its program did not say hello yet", None));
                }
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

#[async_trait]
impl Channel for Exec {
    fn name(&self) -> &str {
        &self.inner.about.name
    }

    fn abilities(&self) -> Abilities {
        self.hello().map(|hello| hello.abilities).unwrap_or_default()
    }

    fn state(&self) -> State {
        self.inner.about.standing.state()
    }

    /// The program outlives `stop`: replies are handed over until [`Channel::close`].
    async fn run(&self, intake: Arc<dyn Intake>, stop: CancellationToken) {
        let inlet = Inlet::new(intake, self.inner.about.words.clone());
        let supervised = self.inner.tasks.spawn(self.inner.clone().supervise(inlet.clone()));
        let broke = tokio::select! {
            () = stop.cancelled() => None,
            ended = supervised => ended.err().and_then(|error| error.try_into_panic().ok()),
        };
        if broke.is_some() {
            self.inner.link.down();
        }
        inlet.end().await;
        // Whoever runs channels says so, and runs it again.
        if let Some(bug) = broke {
            std::panic::resume_unwind(bug);
        }
    }

    async fn close(&self) {
        self.inner.closing.cancel();
        self.inner.tasks.close();
        // The program's grace, and its last words.
        if timeout(GRACE * 2, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!(channel = self.name(), "its program could not be ended");
        }
    }

    /// It starts the program, which may be there once only: two would share a secret and a directory.
    fn tests_beside(&self) -> bool {
        false
    }

    async fn test(&self) -> Result<String, SendError> {
        if self.inner.link.there().is_none()
            && let Ok(_alone) = self.inner.alone.try_lock()
        {
            return self.inner.trial().await;
        }
        let (wire, hello) = self.there_soon().await?;
        let done = wire.ask(None, hello.answer, calls::test).await?;
        Ok(who(done, &hello, self.name()))
    }

    fn is_there(&self, chat: &ChatRef) -> bool {
        self.inner.link.reach(chat).is_some()
    }

    fn pace(&self) -> Pace {
        self.hello().map_or(Pace::UNLIMITED, |hello| hello.pace)
    }

    /// More than a call's, which says more.
    fn patience(&self, reply: &Outbound) -> Duration {
        self.hello().map(|hello| hello.answer).unwrap_or_default() + for_bytes(reply) + HELD_UP
    }

    fn pieces(&self, reply: &Outbound) -> Vec<Piece> {
        self.hello().map(|hello| outbound::pieces(&hello, reply)).unwrap_or_default()
    }

    async fn send(
        &self,
        reply: &Outbound,
        (place, piece): (usize, &Piece),
        onto: Option<&str>,
    ) -> Result<Receipt, SendError> {
        let Some((wire, hello)) = self.inner.link.reach(&reply.chat) else { return Err(SendError::Absent) };
        let loose = match piece {
            Piece::File { name, content } => Some((self.loose(name, content)?, name, content.len())),
            _ => None,
        };
        let key = outbound::key(reply, place);
        let Some(mut line) = outbound::sending(&hello, reply, (place, piece), &key, onto) else {
            return Err(not_shown(&hello, reply));
        };
        if let Some((loose, name, bytes)) = &loose {
            let bytes = u64::try_from(*bytes).unwrap_or(u64::MAX);
            line.file = Some(FileLine { name, path: loose.path(), bytes, caption: None });
        }
        let patience = hello.answer + for_bytes(reply);
        let asked = wire.ask(Some(&reply.chat), patience, |call| {
            line.call = call;
            ToProgram::Send(line).line()
        });
        match asked.await {
            Ok(done) => Ok(Receipt { id: done.id }),
            Err(SendError::Absent) if !self.inner.link.waits(&reply.chat, &wire) => {
                Err(SendError::later("the program was started anew", Some(Duration::ZERO)))
            }
            Err(error) => Err(error),
        }
    }

    async fn progress(
        &self,
        chat: &ChatRef,
        progress: &Progress,
        shown: Option<&str>,
        room: &dyn Room,
    ) -> Result<Option<String>, SendError> {
        let Some((wire, hello)) = self.inner.link.there() else { return Err(SendError::Absent) };
        if !hello.abilities.progress {
            return Ok(None);
        }
        let (status, draft, ended) = match &progress.status {
            Status::Working { status, draft } => (status.as_str(), outbound::first_text(&hello, draft), false),
            Status::Ended => ("", String::new(), true),
        };
        // A program that changes no messages shows at most that somebody works.
        let what = if hello.abilities.edit { Showing::Message } else { Showing::Mark };
        if !ended && !room.has(what) {
            return Ok(shown.map(str::to_owned));
        }
        let (thread, turn) = (chat.thread_id.as_deref(), progress.turn.0);
        let reply_to = progress.reply_to.as_deref().filter(|_| hello.abilities.replies);
        let chat = chat.chat_id.as_str();
        let line = Working { call: 0, chat, thread, turn, status, draft: &draft, shown, reply_to, ended };
        let line = |call| ToProgram::Progress(Working { call, ..line }).line();
        Ok(wire.ask(None, hello.answer, line).await?.id)
    }

    fn progress_pace(&self, _: &ChatRef) -> Duration {
        self.pace().chat.every.max(Duration::from_secs(1))
    }

    async fn fetch(
        &self,
        file: &Offered,
        into: &mut (dyn AsyncWrite + Send + Unpin),
        most: u64,
    ) -> Result<u64, SendError> {
        let Some((wire, hello)) = self.inner.link.there() else { return Err(SendError::Absent) };
        let place = Loose::place(self.files(), "file").map_err(|error| no_place(&error))?;
        let patience = hello.answer + Duration::from_secs(most / SLOW_LINE);
        let line = |call| ToProgram::Fetch { call, reference: &file.reference, path: place.path(), most }.line();
        // In all, also while nothing is read: what came before it may wait for just this file.
        match tokio::time::timeout(patience, wire.ask(None, patience, line)).await {
            Ok(answer) => answer.map(drop)?,
            Err(_) => {
                let why = format!("the program did not fetch the file within {} s", patience.as_secs());
                return Err(SendError::Doubt { why });
            }
        }
        copy(&place, into, most).await
    }
}

impl Exec {
    fn loose(&self, name: &str, content: &str) -> Result<Loose, SendError> {
        Loose::with(self.files(), name, content.as_bytes()).map_err(|error| no_place(&error))
    }
}

/// Copies what a program fetched.
async fn copy(place: &Loose, into: &mut (dyn AsyncWrite + Send + Unpin), most: u64) -> Result<u64, SendError> {
    let later = |error: std::io::Error| SendError::later(format!("the fetched file cannot be read: {error}"), None);
    let file = place.open().map_err(later)?;
    if file.metadata().map_err(later)?.len() > most {
        return Err(SendError::Refused { why: format!("the file is over {most} bytes") });
    }
    let mut bounded = tokio::fs::File::from_std(file).take(most);
    let bytes = tokio::io::copy(&mut bounded, into).await.map_err(later)?;
    into.flush().await.map_err(later)?;
    Ok(bytes)
}

fn no_place(error: &std::io::Error) -> SendError {
    SendError::Disk { why: format!("a file for the channel's program cannot be written: {error}") }
}

/// A reply as a whole that is no file and no reaction: it was cut before its program said how, or has nothing to show.
fn not_shown(hello: &Hello, reply: &Outbound) -> SendError {
    if outbound::pieces(hello, reply).is_empty() {
        SendError::Refused { why: "there is nothing in it to show".to_owned() }
    } else {
        SendError::later("the program has just been started", Some(Duration::ZERO))
    }
}

/// What a file's bytes take on top.
fn for_bytes(reply: &Outbound) -> Duration {
    match &reply.action {
        Some(Action::File(file)) => Duration::from_secs(file.bytes / SLOW_LINE),
        _ => Duration::ZERO,
    }
}
