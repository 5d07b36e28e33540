//! What a session waits for. When that takes long through no fault of its own, its chats are told once that their messages
//! are kept.

use cofferdam_protocol::admin::SessionState;
use tokio::time::Instant;

use super::actor::Actor;
use super::blame::Surroundings;
use super::launch::LaunchError;
use super::starting::StartTrouble;
use crate::error_chain;
use crate::model::notice;

/// What a session waits for, with or without a container.
#[derive(Default)]
pub(super) struct Wait {
    /// Its start failed.
    pub(super) trouble: Option<StartTrouble>,
    /// A turn waits for the engine's list.
    pub(super) held: bool,
    /// When messages that wait for another try are due.
    pub(super) due_again: Option<Instant>,
    /// When its chats are told that their messages wait.
    pub(super) telling: Option<Telling>,
    /// Whether failed starts may be counted in its row; what an earlier daemon left is looked up first.
    pub(super) counted: Option<bool>,
}

impl Wait {
    /// Whether it waits for nothing that has a time, or that somebody tells.
    pub(super) fn is_over(&self) -> bool {
        !self.is_for_a_start() && self.due_again.is_none()
    }

    fn is_for_a_start(&self) -> bool {
        self.trouble.is_some() || self.held
    }

    /// Whether messages wait for a start; `starts`: or for one that goes on.
    fn messages_wait(&self, state: SessionState, starts: bool) -> bool {
        starts || (state == SessionState::Stopped && self.is_for_a_start())
    }

    /// When the actor has to look again. Only of what the session waits for in that state: a time that has passed would wake
    /// the actor without end.
    pub(super) fn deadline(&self, state: SessionState, starts: bool) -> Option<Instant> {
        use SessionState::{Idle, Stopped};
        let trouble = self.trouble.as_ref().filter(|_| state == Stopped && !self.held).map(|trouble| trouble.again);
        let due = self.due_again.filter(|_| matches!(state, Stopped | Idle));
        let tell = self.telling.as_ref().filter(|_| self.messages_wait(state, starts)).and_then(Telling::tell_at);
        trouble.into_iter().chain(due).chain(tell).min()
    }

    /// Whether it waits for the engine's list, and then for nothing else before a start: a time that has passed would wake the actor
    /// without end; the list wakes it.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
        if held {
            self.trouble = None;
        }
    }
}

/// When chats are told that their messages wait for a start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Telling {
    tell_at: Instant,
    told: bool,
}

impl Telling {
    /// When somebody has to be told, if nobody was.
    pub(super) fn tell_at(&self) -> Option<Instant> {
        (!self.told).then_some(self.tell_at)
    }
}

impl Actor {
    pub(super) fn begins_to_wait(&mut self) {
        let tell_at = Instant::now() + self.inner.parts.tell_after;
        self.wait.telling.get_or_insert(Telling { tell_at, told: false });
    }

    /// Tells the chats, once, when it has taken long and is not the session's fault.
    pub(super) async fn tell_if_it_waits(&mut self, now: Instant) {
        let Some(waits) = self.wait.telling.filter(|waits| waits.tell_at().is_some_and(|at| at <= now)) else {
            return;
        };
        if !self.wait.messages_wait(self.phase.state(), self.start.is_under_way()) {
            return;
        }
        let again = Telling { tell_at: now + self.inner.parts.tell_after, told: false };
        let Some(words) = self.what_it_waits_for() else {
            self.wait.telling = Some(again);
            return;
        };
        let told = match self.store().await {
            Ok(store) => store.tell_waiting(&self.session, words).await.map_err(LaunchError::Store),
            Err(error) => Err(error),
        };
        self.wait.telling = match told {
            Ok(told) => {
                for (chat, _) in told {
                    self.deliver(chat);
                }
                Some(Telling { told: true, ..waits })
            }
            Err(error) => {
                // On a full disk there is no room for the notice either.
                tracing::warn!(error = %error_chain(&error), "nobody could be told what it waits for");
                Some(again)
            }
        };
    }

    fn what_it_waits_for(&self) -> Option<String> {
        if let Some(trouble) = &self.wait.trouble
            && let Some(what) = trouble.waits_for
        {
            return Some(notice::waits(&trouble.blocked.message, what.until()));
        }
        if self.wait.held {
            let error = self.inner.engine_is_away()?;
            return Some(notice::waits(&error_chain(&error), Surroundings::Engine.until()));
        }
        self.inner.parts.sandbox.building()?;
        Some(notice::waits("the agent image is being built, which takes minutes", Surroundings::Image.until()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cofferdam_protocol::admin::SessionState::{Busy, Idle, Queued, Starting, Stopped, Stopping};

    use super::*;

    const ALL: [SessionState; 6] = [Stopped, Queued, Starting, Idle, Busy, Stopping];

    fn at(secs: u64) -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(secs))
    }

    #[test]
    fn a_retry_is_due_only_where_it_can_be_claimed() {
        let wait = Wait { due_again: at(60), ..Wait::default() };
        let looks = ALL.map(|state| wait.deadline(state, false).is_some());
        assert_eq!(looks, [true, false, false, true, false, false]);
        assert!(!wait.is_over());
    }

    #[test]
    fn chats_are_told_while_their_messages_wait_for_a_start_and_once() {
        let telling = Telling { tell_at: Instant::now(), told: false };
        let waits = |held, told| Wait { held, telling: Some(Telling { told, ..telling }), ..Wait::default() };
        for (held, starts, told, looks) in [
            (true, false, false, true),
            (false, true, false, true),
            (false, false, false, false),
            (true, true, true, false),
        ] {
            assert_eq!(waits(held, told).deadline(Stopped, starts).is_some(), looks, "{held} {starts} {told}");
        }
        assert_eq!(waits(true, false).deadline(Busy, false), None, "an earlier wait does not wake it in a turn");
    }

    #[test]
    fn a_session_that_waits_for_the_list_is_woken_by_it_alone() {
        let mut wait = Wait::default();
        assert!(wait.is_over());
        wait.hold(true);
        assert!(!wait.is_over() && wait.trouble.is_none());
        assert_eq!(wait.deadline(Stopped, false), None);
    }
}
