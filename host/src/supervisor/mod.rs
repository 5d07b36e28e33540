//! Sessions and their containers: one actor per session that has something to do.
//!
//! The happy path: [`Supervisor::nudge`] → an actor → [`admission`] grants a place → [`launch`] → the runner's hello,
//! next and events, through the door, as calls to the actor → the container is idle → its time-out stops it → the
//! actor retires. A nudge is a hint: losing it costs latency, never a message.
//!
//! When it goes wrong: a start that fails is tried again with a growing pause, and its messages become dead letters after
//! the last try ([`blame`] says which failures count); a container that dies in a turn puts its messages back, and the
//! second time into dead letters; an engine that is away, hangs or is full
//! is waited for ([`engine`]) and costs no message a try, but ends that it takes a turn along with are counted apart, and
//! the tenth is the last ([`crate::model::outage`]); a daemon that dies leaves containers behind, and [`recovery`] adopts those whose attempt is current and removes the others.

mod actor;
pub mod admission;
mod adoption;
mod blame;
mod bounds;
mod calls;
pub mod conversation;
mod credentials;
mod ending;
mod ends;
mod engine;
mod events;
mod instructions;
mod interruption;
mod launch;
mod life;
mod overheard;
mod recovery;
mod remote;
mod start;
mod starting;
mod sweep;
mod tools;
mod turns;
mod undelivered;
mod waits;

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofferdam_protocol::admin::{ChatOutcome, SessionState, Timings};
use cofferdam_protocol::ids::{Attempt, Folder, SessionId};
use futures_util::FutureExt;
use tokio_util::task::TaskTracker;

use crate::config::group::GroupConfig;
use crate::config::home::Home;
use crate::error_chain;
use crate::gateway::Gateway;
use crate::hooks;
use crate::live::{Ended, Hub, Live};
use crate::model::action::Abilities;
use crate::model::backoff::Backoff;
use crate::model::chat::Due;
use crate::sandbox::Sandbox;
use crate::store::group::inbox::{Accepted, Answered};
use crate::store::{StoreError, Stores};
use crate::trust::Trust;

use actor::Actor;
use admission::{Admission, Step};
use calls::{Call, Mailbox, Post, mailbox};
pub use credentials::Wiped;
pub use ending::{GroupEnd, NotEnded, Quiet};
use engine::EngineWatch;
use recovery::Recovery;

/// What the supervisor works with.
pub struct Parts {
    /// Where everything lies.
    pub home: Home,
    /// The label of our containers.
    pub install: String,
    /// Runs containers.
    pub sandbox: Arc<dyn Sandbox>,
    /// The databases.
    pub stores: Stores,
    /// Serves model calls.
    pub gateway: Arc<Gateway>,
    /// Makes the clients for remote MCP servers.
    pub trust: Trust,
    /// Tells watchers.
    pub hub: Hub,
    /// Hints that a chat has replies due.
    pub deliver: Box<dyn Fn(Due) + Send + Sync>,
    /// Has a chat with replies looked at.
    pub look: Box<dyn Fn(Due) + Send + Sync>,
    /// What a channel can do, by its name.
    pub abilities: Box<dyn Fn(&str) -> Abilities + Send + Sync>,
    /// The most containers at once.
    pub max_sessions: usize,
    /// The model of groups that name none.
    pub default_model: Option<String>,
    /// How often a session's container is started that does not start.
    pub starts: Backoff,
    /// After how long a chat is told that its messages wait for the engine, the disk or the image.
    pub tell_after: Duration,
}

/// Owns the sessions' actors. Clones are handles to the same.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    admission: Mutex<Admission>,
    actors: Mutex<HashMap<SessionId, Handle>>,
    /// Groups whose sessions get no actor: they are ended. Looked at with `actors` locked.
    quiet: Mutex<HashSet<Folder>>,
    tasks: TaskTracker,
    /// Whether sessions are called: not before recovery, which calls all that have something due, and not at the end.
    open: AtomicBool,
    engine: EngineWatch,
    recovery: Recovery,
    /// Held for reading from a login in hand to its copy in a session's file, and for writing while copies are wiped.
    copying: tokio::sync::RwLock<()>,
}

impl Inner {
    /// The model of a group that names none: its account's, or else the host's.
    fn default_model(&self, config: &GroupConfig) -> Option<String> {
        let of_account = self.parts.gateway.model_of(config.account.as_ref());
        of_account.or_else(|| self.parts.default_model.clone())
    }
}

/// An actor, seen from outside.
#[derive(Clone)]
struct Handle {
    post: Post,
    view: Arc<Mutex<View>>,
    folder: Folder,
}

/// What is shown of a session that lives or waits.
#[derive(Debug, Clone)]
pub struct View {
    /// Where it is in its life.
    pub state: SessionState,
    /// What it waits for.
    pub note: Option<String>,
    /// Its attempt.
    pub attempt: Attempt,
    /// Its container, short.
    pub container: Option<String>,
    /// The configuration that its container started with.
    pub config_hash: Option<String>,
}

impl Supervisor {
    /// Ready, but nothing runs before [`Supervisor::recover`].
    pub fn new(parts: Parts) -> Self {
        let inner = Inner {
            admission: Mutex::new(Admission::new(parts.max_sessions)),
            actors: Mutex::default(),
            quiet: Mutex::default(),
            tasks: TaskTracker::new(),
            open: AtomicBool::new(false),
            engine: EngineWatch::default(),
            recovery: Recovery::default(),
            copying: tokio::sync::RwLock::default(),
            parts,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Hints that a session has messages waiting. A hint that is lost costs the time to the next [`sweep`].
    pub fn nudge(&self, folder: &Folder, session: &SessionId) {
        if hooks::nudge_is_lost() {
            tracing::debug!(%session, "its nudge is lost");
            return;
        }
        if self.inner.open.load(Ordering::Acquire) {
            self.call(folder, session, Call::Wake);
        }
    }

    /// A message was accepted: hints at it, and tells of what it ended at once.
    pub fn accepted(&self, folder: &Folder, accepted: &Accepted) {
        if let Some(answered) = &accepted.answered {
            let live = Live::Ended(answered_live(answered, ChatOutcome::Interrupted));
            self.inner.parts.hub.tell(&accepted.session, live);
            (self.inner.parts.deliver)(Due { folder: folder.clone(), chat: answered.chat.clone() });
        }
        if let Some(chat) = accepted.news.as_deref() {
            (self.inner.parts.deliver)(Due { folder: folder.clone(), chat: chat.clone() });
        }
        self.nudge(folder, &accepted.session);
    }

    /// What lives or waits now.
    pub fn views(&self) -> HashMap<SessionId, (Folder, View)> {
        let actors = lock(&self.inner.actors);
        actors
            .iter()
            .map(|(id, handle)| (id.clone(), (handle.folder.clone(), lock(&handle.view).clone())))
            .collect()
    }

    /// Places taken and sessions that wait for one.
    pub fn counts(&self) -> (usize, usize) {
        let admission = lock(&self.inner.admission);
        (admission.running(), admission.queued())
    }

    /// The wall clock jumped by so many ms, or the machine slept: due times are put right, and whoever waits for one
    /// looks at its rows again.
    pub async fn clock_jumped(&self, jump: i64) -> Result<(), StoreError> {
        let put_right = self.put_times_right(jump).await;
        self.everyone(|| Call::Wake);
        put_right
    }

    async fn put_times_right(&self, jump: i64) -> Result<(), StoreError> {
        let stores = &self.inner.parts.stores;
        for folder in stores.central().busy_groups().await? {
            let put_right = async || {
                let store = stores.group(&folder).await?;
                if jump < 0 {
                    store.clock_set_back(-jump).await.map(drop)
                } else {
                    store.clock_set_forward(jump).await
                }
            };
            if let Err(error) = put_right().await {
                tracing::error!(group = %folder, error = %error_chain(&error), "its due times were not put right");
            }
        }
        Ok(())
    }

    fn everyone(&self, call: impl Fn() -> Call) {
        for handle in lock(&self.inner.actors).values() {
            handle.post.send(call());
        }
    }

    fn call(&self, folder: &Folder, session: &SessionId, call: Call) {
        Inner::call(&self.inner, folder, session, call);
    }
}

impl Inner {
    /// Calls a session's actor, started if need be. The call is in its mailbox before it runs.
    fn call(self: &Arc<Self>, folder: &Folder, session: &SessionId, call: Call) {
        let mut actors = lock(&self.actors);
        if let Some(handle) = actors.get(session) {
            // Fails only while it retires, which happens under the lock that we hold.
            handle.post.send(call);
            return;
        }
        if !self.open.load(Ordering::Acquire) || lock(&self.quiet).contains(folder) {
            return;
        }
        let (post, mailbox) = mailbox();
        post.send(call);
        let view = Arc::new(Mutex::new(View {
            state: SessionState::Stopped,
            note: None,
            attempt: Attempt(0),
            container: None,
            config_hash: None,
        }));
        let calls = post.calls();
        actors.insert(session.clone(), Handle { post, view: view.clone(), folder: folder.clone() });
        let actor = Actor::new(self.clone(), folder.clone(), session.clone(), calls, mailbox, view);
        let (inner, folder, session) = (self.clone(), folder.clone(), session.clone());
        self.tasks.spawn(async move {
            if AssertUnwindSafe(actor.run()).catch_unwind().await.is_err() {
                inner.replace(&folder, &session).await;
            }
        });
    }

    /// An actor broke: another takes its place, and ends what it left.
    async fn replace(self: &Arc<Self>, folder: &Folder, session: &SessionId) {
        /// Should it break as well, it does not do so in a loop.
        const PAUSE: Duration = Duration::from_secs(1);
        tracing::error!(group = %folder, %session, "a bug: the session's actor broke; another takes its place");
        lock(&self.actors).remove(session);
        self.with_admission(|admission| {
            admission.cancel(session);
            admission.release(session)
        });
        tokio::time::sleep(PAUSE).await;
        self.call(folder, session, Call::Broken);
    }

    /// Lets an actor end unless somebody called it meanwhile.
    fn retire(&self, session: &SessionId, mailbox: &Mailbox) -> bool {
        let mut actors = lock(&self.actors);
        let idle = mailbox.is_empty();
        if idle {
            actors.remove(session);
        }
        idle
    }

    fn with_admission(&self, change: impl FnOnce(&mut Admission) -> Vec<Step>) {
        let mut steps = change(&mut lock(&self.admission));
        while let Some(step) = steps.pop() {
            let (session, call) = match step {
                Step::Grant(session) => (session, Call::Granted),
                Step::Evict(session) => (session, Call::Evict),
            };
            let told = lock(&self.actors).get(&session).is_some_and(|handle| handle.post.send(call));
            if !told {
                // It retired meanwhile: its place goes to the next.
                steps.extend(lock(&self.admission).release(&session));
            }
        }
    }
}

/// The end of messages that no turn answered.
fn answered_live(answered: &Answered, outcome: ChatOutcome) -> Ended {
    Ended {
        turn: None,
        attempt: Attempt(0),
        container: None,
        messages: answered.messages.clone(),
        replies: vec![answered.reply],
        outcome,
        usage: None,
        timings: Timings::default(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
