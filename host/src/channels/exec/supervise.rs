//! What keeps a program running, and asks one that does not run.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::calls::{self, Done};
use super::hello::Hello;
use super::inlet::Inlet;
use super::life::{About, Life};
use super::link::Link;
use super::loose;
use crate::channels::{Pauses, SendError, State};

/// A run as long as this was no failure to start: the next pause is the first again.
const WORKED: Duration = Duration::from_secs(60);

/// A channel's program, whether it runs or not.
pub(super) struct Inner {
    pub(super) about: Arc<About>,
    pub(super) link: Arc<Link>,
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// Never two programs of this value at once; whoever makes a second value ends this one first.
    pub(super) alone: tokio::sync::Mutex<()>,
}

impl Inner {
    /// Keeps the program running.
    pub(super) async fn supervise(self: Arc<Self>, inlet: Arc<Inlet>) {
        let _alone = self.alone.lock().await;
        let About { name, standing, .. } = &*self.about;
        if let Err(error) = loose::make_empty(&self.about.files) {
            tracing::warn!(channel = name, %error, "what an earlier run left behind is not cleared away");
        }
        standing.set(name, State::Connecting);
        let mut pauses = Pauses::default();
        while !self.closing.is_cancelled() {
            let began = Instant::now();
            let why = self.live(&inlet).await;
            self.link.down();
            if self.closing.is_cancelled() || matches!(standing.state(), State::Stopped { .. }) {
                return;
            }
            if began.elapsed() >= WORKED {
                pauses.reset();
            }
            if !pauses.wait(name, standing, (why, None), &self.closing).await {
                return;
            }
        }
    }

    async fn live(&self, inlet: &Arc<Inlet>) -> String {
        let cursor = match inlet.cursor().await {
            Ok(cursor) => cursor,
            Err(why) => return why,
        };
        let (life, lines) = Life::new(&self.about, Some((inlet.clone(), self.link.clone())));
        life.run(lines, cursor.as_deref(), &self.closing).await
    }

    /// Starts the program only to ask it.
    pub(super) async fn trial(&self) -> Result<String, SendError> {
        let closing = self.closing.child_token();
        let (life, lines) = Life::new(&self.about, None);
        let run = life.clone().run(lines, None, &closing);
        tokio::pin!(run);
        let answer = async {
            let mut said = life.hello.subscribe();
            let _ = said.wait_for(Option::is_some).await.is_ok();
            let hello = said.borrow().clone();
            let Some(hello) = hello else { return Err(SendError::Absent) };
            let done = life.wire.ask(None, hello.answer, calls::test).await?;
            Ok(who(done, &hello, &self.about.name))
        };
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            why = &mut run => return Err(SendError::later(why, None)),
        };
        closing.cancel();
        run.await;
        answer
    }
}

/// Who a channel is on its platform: what its program answers, or else what it said first.
pub(super) fn who(done: Done, hello: &Hello, name: &str) -> String {
    let said = [done.text.unwrap_or_default(), hello.who.clone(), name.to_owned()];
    said.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}
