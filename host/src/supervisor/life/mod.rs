//! One container's life, as its session's actor keeps it.
//!
//! - [`Container`]: what the engine says of it. - [`Runner`]: what its runner says and waits for.
//! - [`Work`]: what it is given to do. - [`End`]: how it is told to end.

mod container;
mod end;
mod runner;
mod work;

use std::sync::Arc;
use std::time::Duration;

use cofferdam_protocol::admin::{SessionState, Timings};
use cofferdam_protocol::ids::{Attempt, TurnId};
use cofferdam_protocol::runner::LONG_POLL_SECS;
use tokio::time::Instant;

use self::container::Container;
use self::end::End;
use self::runner::Runner;
use self::work::Work;
use super::launch::{Ready, Started};
use crate::config::group::LoadedGroup;
use crate::door::Door;
use crate::sandbox::{ContainerId, Running};
use crate::store::group::attempts::SessionRow;

/// What the host waits beyond the group's silence time-out, so that the runner's own interrupt comes first.
const SILENCE_SLACK: Duration = Duration::from_secs(30);
/// How long a started container may take to its runner's hello; it takes 0.1 s on an idle machine.
const HELLO_LIMIT: Duration = Duration::from_secs(60);
/// How long an idle runner may not ask for work: two long polls.
const POLL_LIMIT: Duration = Duration::from_secs(2 * LONG_POLL_SECS);

/// A container from its start to its end.
pub(super) struct Life {
    pub(super) attempt: Attempt,
    pub(super) config: Arc<LoadedGroup>,
    pub(super) container: Container,
    pub(super) runner: Runner,
    pub(super) work: Work,
    pub(super) end: End,
}

impl Life {
    pub(super) fn new(ready: Ready, queued: Option<Duration>) -> Self {
        let timings = Timings { queued: queued.map(millis), ..Timings::default() };
        Self {
            attempt: ready.attempt,
            config: ready.config,
            container: Container::default(),
            runner: Runner::behind(ready.door),
            work: Work::to_come(timings),
            end: End::default(),
        }
    }

    /// The life of a container that another daemon started, and that the engine has yet to confirm.
    pub(super) fn in_doubt(row: SessionRow, config: Arc<LoadedGroup>, door: Door) -> Self {
        let mut config = config;
        if let Some(hash) = row.config_hash {
            // It runs with what it was started with, whatever the file says now.
            Arc::make_mut(&mut config).hash = hash;
        }
        Self {
            attempt: row.attempt,
            config,
            container: Container::in_doubt(row.container.map(ContainerId)),
            runner: Runner::known_behind(door),
            work: Work::under_way(row.running),
            end: End::wanted_by(row.wanted_end),
        }
    }

    /// Whether the group has an MCP server of this name. What a runner says of others is not kept.
    pub(super) fn has_server(&mut self, name: &str) -> bool {
        let known = self.config.config.mcp_servers.contains_key(name);
        if !known && self.runner.is_strange_once() {
            tracing::warn!("the runner reports an MCP server that the group's file does not name; ignored");
        }
        known
    }

    pub(super) fn started(&mut self, started: Started) {
        self.container.started(started.running);
        self.work.time(|timings| timings.container_start = Some(started.millis));
    }

    /// The provider is ready; `millis` since the runner's start.
    pub(super) fn provider_ready(&mut self, millis: u64) {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a start")]
        self.work.time(|timings| timings.provider_ready = Some(millis as f64));
    }

    /// Whether its runner may be handed work: the engine, or its own words, say that it is there.
    pub(super) fn is_started(&self) -> bool {
        self.container.is_known() || self.container.is_in_doubt()
    }

    /// Whether nothing runs in it that could touch a file: its start has not come to an end, and its runner has not spoken,
    /// which it cannot any more once the door is closed.
    pub(super) fn is_nothing_yet(&self) -> bool {
        !self.is_started() && !self.runner.said_hello
    }

    /// The engine says that it is there.
    pub(super) fn confirmed(&mut self, running: Running) {
        self.container.confirmed(running);
        // Whether it was asked to end before did not reach it.
        self.end.not_asked();
    }

    /// Nothing more is heard from the runner.
    pub(super) fn close(&mut self) {
        self.runner.close();
    }

    /// Its turn is over.
    pub(super) fn turn_ended(&mut self) {
        self.work.turn_ended();
        // Whoever wanted its end has it; what comes next is another's.
        self.end.wanted = None;
        // The door answers that nothing changes any more.
        self.runner.control = None;
    }

    pub(super) fn is_busy(&mut self, turn: TurnId) {
        self.work.begins(turn);
        self.runner.last_sign = Instant::now();
    }

    /// Answers the runner's wish with stop, now or when it asks.
    pub(super) fn ask_to_stop(&mut self, kill_at: Instant) {
        self.runner.answer_stop();
        self.end.is_asked_of_the_runner(kill_at);
    }

    /// Notes that the engine is asked to end it; answers the container, if there is one yet, and whether the engine
    /// was asked before.
    pub(super) fn being_killed(&mut self, again: Instant, blameless: bool) -> Option<(ContainerId, bool)> {
        let container = self.container.id();
        let asked = self.end.is_asked_of_the_engine(again, container.is_some(), blameless);
        Some((container?, asked))
    }

    /// When a runner that says nothing is given up.
    fn silence_end(&self, state: SessionState) -> Option<Instant> {
        let silence = Duration::from_secs(self.config.config.timeouts.silence_secs);
        match state {
            SessionState::Starting => Some(self.container.started_at()? + HELLO_LIMIT),
            SessionState::Idle => Some(self.runner.last_sign + POLL_LIMIT + self.compaction_limit()),
            SessionState::Busy => Some(self.runner.last_sign + silence + SILENCE_SLACK),
            SessionState::Stopped | SessionState::Queued | SessionState::Stopping => None,
        }
    }

    /// How long a runner between turns may compact without asking for work: two tries.
    fn compaction_limit(&self) -> Duration {
        Duration::from_secs(2 * self.config.config.compaction.timeout_secs)
    }

    fn idle_end(&self) -> Option<Instant> {
        self.work.idle_end(Duration::from_secs(self.config.config.timeouts.idle_secs))
    }

    pub(super) fn idle_is_over(&self, now: Instant) -> bool {
        self.idle_end().is_some_and(|end| end <= now)
    }

    pub(super) fn silence_is_over(&self, state: SessionState, now: Instant) -> bool {
        self.silence_end(state).is_some_and(|end| end <= now)
    }

    /// When the actor has to look again.
    pub(super) fn deadline(&self, state: SessionState) -> Option<Instant> {
        let own = match state {
            SessionState::Idle => self.work.claim_again.into_iter().chain(self.idle_end()).min(),
            SessionState::Stopping => self.end.kill_at(),
            SessionState::Busy => self.work.obey_by,
            _ => None,
        };
        own.into_iter().chain(self.silence_end(state)).min()
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
