//! A start that takes long through no fault of its session: its chats are told once that their messages are kept.

use tokio::time::Instant;

use super::actor::Actor;
use super::blame::Surroundings;
use super::launch::LaunchError;
use crate::error_chain;
use crate::model::notice;
use crate::model::session::Phase;

/// A wait for a start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    tell_at: Instant,
    told: bool,
}

impl Waits {
    /// When somebody has to be told, if nobody was.
    pub(super) fn tell_at(&self) -> Option<Instant> {
        (!self.told).then_some(self.tell_at)
    }
}

impl Actor {
    pub(super) fn begins_to_wait(&mut self) {
        let tell_at = Instant::now() + self.inner.parts.tell_after;
        self.waits.get_or_insert(Waits { tell_at, told: false });
    }

    /// Whether messages wait for a start, or for one that goes on.
    pub(super) fn waits_for_a_start(&self) -> bool {
        let stopped = self.phase == Phase::STOPPED && (self.trouble.is_some() || self.held);
        stopped || self.preparing.is_some() || self.starting.is_some()
    }

    /// Tells the chats, once, when it has taken long and is not the session's fault.
    pub(super) async fn tell_if_it_waits(&mut self, now: Instant) {
        let Some(waits) = self.waits.filter(|waits| waits.tell_at().is_some_and(|at| at <= now)) else { return };
        if !self.waits_for_a_start() {
            return;
        }
        let again = Waits { tell_at: now + self.inner.parts.tell_after, told: false };
        let Some(words) = self.what_it_waits_for() else {
            self.waits = Some(again);
            return;
        };
        let told = match self.store().await {
            Ok(store) => store.tell_waiting(&self.session, words).await.map_err(LaunchError::Store),
            Err(error) => Err(error),
        };
        self.waits = match told {
            Ok(told) => {
                for (chat, _) in told {
                    self.deliver(chat);
                }
                Some(Waits { told: true, ..waits })
            }
            Err(error) => {
                // On a full disk there is no room for the notice either.
                tracing::warn!(error = %error_chain(&error), "nobody could be told what it waits for");
                Some(again)
            }
        };
    }

    fn what_it_waits_for(&self) -> Option<String> {
        if let Some(trouble) = &self.trouble
            && let Some(what) = trouble.waits_for
        {
            return Some(notice::waits(&trouble.blocked.message, what.until()));
        }
        if self.held {
            let error = self.inner.engine_is_away()?;
            return Some(notice::waits(&error_chain(&error), Surroundings::Engine.until()));
        }
        self.inner.parts.sandbox.building()?;
        Some(notice::waits("the agent image is being built, which takes minutes", Surroundings::Image.until()))
    }
}
