//! A turn that says nothing: whether its commands work all the same, and whether codex is still there to hear of their end.

use std::time::Duration;

use serde::de::IgnoredAny;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use super::method;
use super::protocol::CleanParams;
use super::steer::Target;
use super::watch::INTERRUPT_LIMIT;
use crate::work::Work;

/// What is found of a turn that says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Its commands work.
    Works,
    /// They do, but codex itself does not answer any more.
    Wedged,
}

/// Looks after a silent turn.
pub struct Pulse {
    work: Work,
    looks: Interval,
    silence: Duration,
    /// When codex last said anything.
    heard: Instant,
    /// A question to it; whether it answered.
    asked: Option<AbortOnDropHandle<bool>>,
}

impl Pulse {
    /// For a turn of the app-server with this process.
    pub fn new(provider: u32, silence: Duration) -> Self {
        // A few times in the time-out, so that it counts from the last movement; and not so often that looking is work.
        let mut looks = interval((silence / 4).clamp(Duration::from_millis(500), Duration::from_secs(15)));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { work: Work::below(provider), looks, silence, heard: Instant::now(), asked: None }
    }

    /// Codex said something.
    pub fn heard(&mut self) {
        self.heard = Instant::now();
        self.asked = None;
    }

    /// Whether something has worked since the last look.
    pub fn works(&mut self, command_runs: bool) -> bool {
        self.work.moved(command_runs)
    }

    /// The next thing to know. Nothing is lost when it is dropped and called again.
    pub async fn next(&mut self, at: Target<'_>, command_runs: bool) -> Beat {
        loop {
            tokio::select! {
                answered = answer(&mut self.asked) => {
                    self.heard();
                    if !answered {
                        return Beat::Wedged;
                    }
                }
                _ = self.looks.tick() => if self.works(command_runs) {
                    // A command can work for hours, but somebody must be there to take its end.
                    if self.asked.is_none() && self.heard.elapsed() >= self.silence {
                        self.asked = Some(ask(at));
                    }
                    return Beat::Works;
                }
            }
        }
    }
}

async fn answer(asked: &mut Option<AbortOnDropHandle<bool>>) -> bool {
    match asked {
        Some(asked) => asked.await.unwrap_or(false),
        None => std::future::pending().await,
    }
}

/// Asks codex what it answers at once.
fn ask(at: Target<'_>) -> AbortOnDropHandle<bool> {
    let (client, params) = (at.client.clone(), CleanParams { thread_id: at.thread.to_owned() });
    AbortOnDropHandle::new(tokio::spawn(async move {
        let answer = client.request::<IgnoredAny>(method::TERMINALS_LIST, &params, INTERRUPT_LIMIT).await;
        // A refusal is an answer too.
        !matches!(answer, Err(super::client::RequestError::Timeout(..) | super::client::RequestError::Closed(_)))
    }))
}
