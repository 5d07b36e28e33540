//! One container's life, as its session's actor keeps it.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_protocol::admin::{SessionState, Timings};
use cofferdam_protocol::ids::{Attempt, Seq, TurnId};
use cofferdam_protocol::runner::{Control, ControlRequest, LONG_POLL_SECS, Next};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::interruption::Question;
use super::launch::{Ready, Started, short};
use crate::config::group::LoadedGroup;
use crate::door::Door;
use crate::sandbox::{ContainerId, Exit, Running};
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
    pub(super) exit: Option<JoinHandle<Exit>>,
    pub(super) said_hello: bool,
    /// The turn that the runner has.
    pub(super) turn: Option<TurnId>,
    /// The runner's open wish for work.
    pub(super) parked: Option<oneshot::Sender<Next>>,
    /// The runner's open wish to know what changes for its turn.
    pub(super) control: Option<(ControlRequest, oneshot::Sender<Control>)>,
    /// After a claim that the store refused.
    pub(super) claim_again: Option<Instant>,
    /// Somebody asked for its turn's end: what does not obey by then loses its container.
    pub(super) obey_by: Option<Instant>,
    /// The newest event that was looked at.
    heard: Seq,
    /// What its events, and its end, wait for.
    pub(super) question: Option<Question>,
    /// Told with the first turn's end.
    pub(super) timings: Option<Timings>,
    pub(super) last_sign: Instant,
    /// Somebody wants it gone: its turn is over, whether or not the runner still says so.
    pub(super) stopped_by_person: bool,
    /// A turn was handed to it: it works.
    pub(super) served: bool,
    /// Since when it keeps its place from others: its first turn here.
    pub(super) serving_since: Option<Instant>,
    /// It was given up because nothing was heard of it.
    pub(super) silent: bool,
    /// It reported an MCP server that the group has not; told once.
    reported_strange: bool,
    door: Option<Door>,
    container: Option<ContainerId>,
    /// Its container may be gone.
    in_doubt: bool,
    started_at: Option<Instant>,
    idle_since: Option<Instant>,
    stopping: Option<Stopping>,
}

struct Stopping {
    kill_at: Instant,
    /// The engine was asked before, and it did not end.
    asked: bool,
    blameless: bool,
}

impl Life {
    pub(super) fn new(ready: Ready, queued: Option<Duration>) -> Self {
        let timings = Timings { queued: queued.map(millis), ..Timings::default() };
        Self {
            attempt: ready.attempt,
            config: ready.config,
            exit: None,
            said_hello: false,
            turn: None,
            parked: None,
            control: None,
            claim_again: None,
            obey_by: None,
            timings: Some(timings),
            heard: Seq(0),
            question: None,
            last_sign: Instant::now(),
            stopped_by_person: false,
            served: false,
            serving_since: None,
            silent: false,
            reported_strange: false,
            door: Some(ready.door),
            container: None,
            in_doubt: false,
            started_at: None,
            idle_since: None,
            stopping: None,
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
            exit: None,
            said_hello: true,
            turn: row.running,
            parked: None,
            control: None,
            claim_again: None,
            obey_by: None,
            timings: None,
            heard: Seq(0),
            question: None,
            last_sign: Instant::now(),
            stopped_by_person: false,
            served: true,
            serving_since: Some(Instant::now()),
            silent: false,
            reported_strange: false,
            door: Some(door),
            container: row.container.map(ContainerId),
            in_doubt: true,
            started_at: None,
            idle_since: row.running.is_none().then(Instant::now),
            stopping: None,
        }
    }

    /// Whether an event is heard for the first time.
    pub(super) fn is_news(&mut self, seq: Seq) -> bool {
        let news = seq > self.heard;
        self.heard = self.heard.max(seq);
        news
    }

    /// Whether the group has an MCP server of this name. What a runner says of others is not kept.
    pub(super) fn has_server(&mut self, name: &str) -> bool {
        let known = self.config.config.mcp_servers.contains_key(name);
        if !known && !std::mem::replace(&mut self.reported_strange, true) {
            tracing::warn!("the runner reports an MCP server that the group's file does not name; ignored");
        }
        known
    }

    pub(super) fn started(&mut self, started: Started) {
        self.container = Some(started.running.id);
        self.exit = Some(tokio::spawn(started.running.exit));
        self.started_at = Some(Instant::now());
        if let Some(timings) = &mut self.timings {
            timings.container_start = Some(started.millis);
        }
    }

    /// The provider is ready; `millis` since the runner's start.
    pub(super) fn provider_ready(&mut self, millis: u64) {
        if let Some(timings) = &mut self.timings {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of a start")]
            let millis = millis as f64;
            timings.provider_ready = Some(millis);
        }
    }

    /// Whether its runner asks for work now.
    pub(super) fn asks(&self) -> bool {
        self.parked.as_ref().is_some_and(|parked| !parked.is_closed())
    }

    /// Whether its runner may be handed work: the engine, or its own words, say that it is there.
    pub(super) fn is_started(&self) -> bool {
        self.container.is_some() || self.in_doubt
    }

    /// Whether nothing runs in it that could touch a file: its start has not come to an end, and its runner has not spoken,
    /// which it cannot any more once the door is closed.
    pub(super) fn is_nothing_yet(&self) -> bool {
        !self.is_started() && !self.said_hello
    }

    /// Whether the engine has yet to say that its container is there.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// The engine says that it is there.
    pub(super) fn confirmed(&mut self, running: Running) {
        self.in_doubt = false;
        self.container = Some(running.id);
        self.exit = Some(tokio::spawn(running.exit));
        // Whether it was asked to end before did not reach it.
        if let Some(stopping) = &mut self.stopping {
            stopping.asked = false;
        }
    }

    pub(super) fn container(&self) -> Option<ContainerId> {
        self.container.clone()
    }

    pub(super) fn container_text(&self) -> Option<String> {
        self.container.as_ref().map(short)
    }

    /// Nothing more is heard from the runner.
    pub(super) fn close(&mut self) {
        self.door = None;
        self.question = None;
        self.parked = None;
        self.control = None;
    }

    pub(super) fn is_idle(&mut self) {
        self.idle_since.get_or_insert_with(Instant::now);
    }

    /// Its turn is over.
    pub(super) fn turn_ended(&mut self) {
        self.turn = None;
        self.obey_by = None;
        // The door answers that nothing changes any more.
        self.control = None;
    }

    pub(super) fn is_busy(&mut self, turn: TurnId) {
        self.served = true;
        self.serving_since.get_or_insert_with(Instant::now);
        self.idle_since = None;
        self.last_sign = Instant::now();
        self.turn = Some(turn);
    }

    /// Answers the runner's wish with stop, now or when it asks.
    pub(super) fn ask_to_stop(&mut self, kill_at: Instant) {
        if let Some(parked) = self.parked.take() {
            let _ = parked.send(Next::Stop);
        }
        self.stopping = Some(Stopping { kill_at, asked: false, blameless: true });
    }

    /// Notes that the engine is asked to end it; answers the container, if there is one yet, and whether the engine
    /// was asked before.
    pub(super) fn being_killed(&mut self, again: Instant, blameless: bool) -> Option<(ContainerId, bool)> {
        let before = self.stopping.take();
        let asked = before.as_ref().is_some_and(|stopping| stopping.asked);
        let blameless = blameless || before.is_some_and(|stopping| stopping.blameless);
        self.stopping = Some(Stopping { kill_at: again, asked: self.container.is_some(), blameless });
        Some((self.container.clone()?, asked))
    }

    /// The engine is asked again at once, if it was asked before.
    pub(super) fn kill_now(&mut self) {
        if let Some(stopping) = &mut self.stopping
            && stopping.asked
        {
            stopping.kill_at = Instant::now();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    pub(super) fn is_blameless(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.blameless)
    }

    fn idle_end(&self) -> Option<Instant> {
        Some(self.idle_since? + Duration::from_secs(self.config.config.timeouts.idle_secs))
    }

    /// When a runner that says nothing is given up.
    fn silence_end(&self, state: SessionState) -> Option<Instant> {
        let silence = Duration::from_secs(self.config.config.timeouts.silence_secs);
        match state {
            SessionState::Starting => Some(self.started_at? + HELLO_LIMIT),
            SessionState::Idle => Some(self.last_sign + POLL_LIMIT + self.compaction_limit()),
            SessionState::Busy => Some(self.last_sign + silence + SILENCE_SLACK),
            SessionState::Stopped | SessionState::Queued | SessionState::Stopping => None,
        }
    }

    /// How long a runner between turns may compact without asking for work: two tries.
    fn compaction_limit(&self) -> Duration {
        Duration::from_secs(2 * self.config.config.compaction.timeout_secs)
    }

    pub(super) fn idle_is_over(&self, now: Instant) -> bool {
        self.idle_end().is_some_and(|end| end <= now)
    }

    pub(super) fn silence_is_over(&self, state: SessionState, now: Instant) -> bool {
        self.silence_end(state).is_some_and(|end| end <= now)
    }

    pub(super) fn kill_is_due(&self, now: Instant) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.kill_at <= now)
    }

    /// When the actor has to look again.
    pub(super) fn deadline(&self, state: SessionState) -> Option<Instant> {
        let own = match state {
            SessionState::Idle => self.claim_again.into_iter().chain(self.idle_end()).min(),
            SessionState::Stopping => self.stopping.as_ref().map(|stopping| stopping.kill_at),
            SessionState::Busy => self.obey_by,
            _ => None,
        };
        own.into_iter().chain(self.silence_end(state)).min()
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
