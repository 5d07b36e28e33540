//! Whether the engine can be used: noted by whoever meets its trouble, looked after by one task, told in `status`, and
//! over for everybody at once.
//!
//! ```text
//!            a call meets its trouble              it answers (full: a start worked, or nobody met it for a while)
//!  usable ─────────────────────────────▶ unusable ─────────────────────────────────────────────────────▶ usable
//!                                          │  ▲                                                            │
//!                                          └──┘ one task asks every second                                 ▼
//!                                                                                         every actor looks again
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

use super::calls::Call;
use super::{Inner, Supervisor, lock};
use crate::error_chain;
use crate::sandbox::{ContainerId, SandboxError};
use crate::store::rfc3339;

/// How often an engine that cannot be used is asked whether it can.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a call takes before somebody looks whether the engine answers at all; a start takes 0.3 s.
const LONG: Duration = Duration::from_secs(2);
/// How long a full engine is shown as full after somebody last met it: longer than the longest pause of a start.
const FULL_FOR: Duration = Duration::from_secs(60);
/// The longest pause between tries to remove a container that nobody waits for.
const LONGEST: Duration = Duration::from_secs(30);

/// What is known of the engine.
#[derive(Default)]
pub(super) struct EngineWatch {
    trouble: watch::Sender<Option<EngineTrouble>>,
    /// Whether somebody asks until it is over.
    asked: AtomicBool,
}

/// Why the engine cannot be used.
struct EngineTrouble {
    error: SandboxError,
    since: SystemTime,
    met: Instant,
}

impl EngineTrouble {
    /// A full one answers, and has to be tried.
    fn is_full(&self) -> bool {
        matches!(self.error, SandboxError::Full { .. })
    }
}

impl Inner {
    /// Notes what the sandbox said, if it is about the engine itself.
    pub(super) fn engine_failed(self: &Arc<Self>, error: &SandboxError) {
        if !error.is_the_engines() {
            return;
        }
        self.engine.trouble.send_modify(|trouble| {
            if trouble.is_none() {
                tracing::warn!(error = %error_chain(error), "the engine cannot be used; sessions that start wait for it");
            }
            let since = trouble.as_ref().map_or_else(SystemTime::now, |trouble| trouble.since);
            *trouble = Some(EngineTrouble { error: error.clone(), since, met: Instant::now() });
        });
        if !self.engine.asked.swap(true, Ordering::AcqRel) {
            tokio::spawn(ask_until_over(self.clone()));
        }
    }

    /// The engine did what it was asked: whoever waits for it goes on.
    pub(super) fn engine_works(&self) {
        let mut over = None;
        self.engine.trouble.send_if_modified(|trouble| {
            over = trouble.take();
            over.is_some()
        });
        let Some(trouble) = over else { return };
        let away = trouble.since.elapsed().unwrap_or_default();
        tracing::info!(seconds = away.as_secs(), "the engine can be used again");
        for handle in lock(&self.actors).values() {
            // One that ends has nothing to look at.
            handle.post.send(Call::EngineBack);
        }
    }

    /// Why the engine is known not to answer; asked without a call to it.
    pub(super) fn engine_is_away(&self) -> Option<SandboxError> {
        let trouble = self.engine.trouble.borrow();
        trouble.as_ref().filter(|trouble| !trouble.is_full()).map(|trouble| trouble.error.clone())
    }

    /// Returns when the engine is not known to be away.
    pub(super) async fn engine_answers(&self) {
        let mut trouble = self.engine.trouble.subscribe();
        // The sender lives as long as we do.
        let _ = trouble.wait_for(|trouble| trouble.as_ref().is_none_or(EngineTrouble::is_full)).await;
    }

    /// Whether the engine answers; quick when it is known that it does not.
    pub(super) async fn ask_engine(self: &Arc<Self>) -> Result<(), SandboxError> {
        if let Some(error) = self.engine_is_away() {
            return Err(error);
        }
        self.parts.sandbox.ping().await
    }

    /// A long call to the engine: an engine that is away or hangs meanwhile is noted, so that `status` says what is
    /// waited for.
    pub(super) async fn while_watched<T>(self: &Arc<Self>, call: impl Future<Output = T>) -> T {
        let mut call = std::pin::pin!(call);
        loop {
            tokio::select! {
                value = &mut call => return value,
                () = tokio::time::sleep(LONG) => if let Err(error) = self.parts.sandbox.ping().await {
                    self.engine_failed(&error);
                }
            }
        }
    }

    /// Removes a container that nobody waits for, as soon as the engine does it.
    pub(super) fn remove_unwatched(self: &Arc<Self>, container: ContainerId) {
        let me = self.clone();
        tokio::spawn(async move {
            let mut pause = AGAIN;
            while let Err(error) = me.parts.sandbox.remove(&container).await {
                me.engine_failed(&error);
                tracing::warn!(%container, error = %error_chain(&error), "not removed yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
            }
        });
    }
}

impl Supervisor {
    /// What sessions wait for when the engine cannot be used, since when, and what that means.
    pub fn engine_error(&self) -> Option<String> {
        if let Some(trouble) = &*self.inner.engine.trouble.borrow() {
            let meaning = match trouble.error {
                SandboxError::Full { .. } => {
                    "free space there (`docker system df`); starts are tried again by themselves"
                }
                _ => "running sessions go on, those that start wait and go on when it answers",
            };
            return Some(format!("{} (since {}): {meaning}", error_chain(&trouble.error), when(trouble.since)));
        }
        let since = self.inner.parts.sandbox.building()?;
        Some(format!("the agent image is being built (since {}); sessions that start wait for it", when(since)))
    }
}

fn when(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    rfc3339(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Asks until the engine can be used again; at most one of these runs.
async fn ask_until_over(inner: Arc<Inner>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        let answer = inner.parts.sandbox.ping().await;
        let (mut over, mut rests) = (false, false);
        inner.engine.trouble.send_if_modified(|trouble| {
            match (&mut *trouble, answer) {
                (Some(trouble), Err(error)) => trouble.error = error,
                (Some(trouble), Ok(())) => over = !trouble.is_full() || trouble.met.elapsed() > FULL_FOR,
                (None, _) => {
                    // With the trouble locked: whoever notes the next one begins the next of these.
                    inner.engine.asked.store(false, Ordering::Release);
                    rests = true;
                }
            }
            false
        });
        if rests {
            return;
        }
        if over {
            inner.engine_works();
        }
    }
}
