//! One session's actor: the only one that changes the session's phase, and that the door's calls end at.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cofferdam_protocol::ids::{Folder, SessionId};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::adoption::IN_DOUBT;
use super::calls::{Call, Mailbox};
use super::ends::STOP_GRACE;
use super::launch::{LaunchError, Ready, Started};
use super::life::Life;
use super::start::Start;
use super::starting::SHORTEST_PAUSE;
use super::waits::Wait;
use super::{Inner, View, lock};
use crate::clock;
use crate::error_chain;
use crate::live::Live;
use crate::model::session::{Phase, PhaseEvent};
use crate::sandbox::{Exit, SandboxError};
use crate::store::GroupDb;
use crate::store::group::commands::Due;
use cofferdam_protocol::admin::SessionState;

/// The daemon's end, or its group's, as an actor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Not yet.
    No,
    /// After the running turn.
    Drain,
    /// Now.
    CutOff,
}

/// One session's actor.
pub(super) struct Actor {
    pub(super) inner: Arc<Inner>,
    pub(super) folder: Folder,
    pub(super) session: SessionId,
    pub(super) store: Option<Arc<GroupDb>>,
    pub(super) phase: Phase,
    pub(super) life: Option<Life>,
    pub(super) ending: Ending,
    pub(super) calls: mpsc::UnboundedSender<Call>,
    mailbox: Mailbox,
    view: Arc<Mutex<View>>,
    pub(super) start: Start,
    pub(super) wait: Wait,
    pub(super) stop_waiters: Vec<oneshot::Sender<()>>,
    /// Whether the rows were looked at for an attempt that has not ended.
    pub(super) arrived: bool,
    /// Tells calls that wait for a person to look at their rows.
    pub(super) look_again: Arc<Notify>,
}

enum Happening {
    Call(Call),
    Ready(Box<Result<Ready, LaunchError>>),
    Started(Result<Started, LaunchError>),
    EnginesWord(Result<bool, SandboxError>),
    Exit(Exit),
    Deadline,
}

impl Actor {
    pub(super) fn new(
        inner: Arc<Inner>,
        folder: Folder,
        session: SessionId,
        calls: mpsc::UnboundedSender<Call>,
        mailbox: Mailbox,
        view: Arc<Mutex<View>>,
    ) -> Self {
        Self {
            inner,
            folder,
            session,
            store: None,
            phase: Phase::STOPPED,
            life: None,
            ending: Ending::No,
            calls,
            mailbox,
            view,
            start: Start::default(),
            wait: Wait::default(),
            stop_waiters: Vec::new(),
            arrived: false,
            look_again: Arc::default(),
        }
    }

    #[tracing::instrument(name = "session", skip_all, fields(group = %self.folder, session = %self.session))]
    pub(super) async fn run(mut self) {
        loop {
            let happening = self.happening().await;
            // A start that is under way has its door open, and its attempt is the one in the rows.
            let starts = matches!(happening, Happening::Ready(_) | Happening::Started(_));
            if !starts && !self.start.is_under_way() {
                self.arrive().await;
            }
            match happening {
                Happening::Call(call) => self.on_call(call).await,
                Happening::Ready(result) => self.on_ready(*result).await,
                Happening::Started(result) => self.on_started(result).await,
                Happening::EnginesWord(word) => self.on_engines_word(word).await,
                Happening::Exit(exit) => self.on_exit(exit).await,
                Happening::Deadline => self.on_deadline().await,
            }
            let done = self.phase == Phase::STOPPED
                && !self.start.is_under_way()
                && (self.wait.is_over() || self.ending != Ending::No);
            if done && self.inner.retire(&self.session, &self.mailbox) {
                break;
            }
        }
        if self.ending == Ending::No
            && let Err(error) = self.inner.parts.stores.settle(&self.folder).await
        {
            tracing::warn!(error = %error_chain(&error), "the group stays marked busy");
        }
    }

    async fn happening(&mut self) -> Happening {
        let mut deadline = self.deadline().map(|at| Box::pin(tokio::time::sleep_until(at)));
        // A container's end comes after what its runner said.
        let (word, exit) = match &mut self.life {
            Some(life) => match &mut life.runner.question {
                Some(question) => (Some(&mut question.engine), None),
                None => (None, life.container.exit.as_mut()),
            },
            None => (None, None),
        };
        tokio::select! {
            // We hold a sender, so the mailbox never closes.
            Some(call) = self.mailbox.recv() => Happening::Call(call),
            result = or_never(self.start.preparing.as_mut()) => Happening::Ready(Box::new(result)),
            result = or_never(self.start.starting.as_mut().map(|starting| &mut starting.answer)) => Happening::Started(result),
            word = or_never(word) => Happening::EnginesWord(word.unwrap_or(Ok(true))),
            exit = or_never(exit) => Happening::Exit(exit.unwrap_or_default()),
            () = or_never(deadline.as_mut()) => Happening::Deadline,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = self.phase.state();
        let life = self.life.as_ref().and_then(|life| life.deadline(state));
        life.into_iter().chain(self.wait.deadline(state, self.start.is_under_way())).min()
    }

    async fn on_call(&mut self, call: Call) {
        match call {
            Call::Wake => self.wake().await,
            Call::Granted => self.on_granted().await,
            Call::Evict => {
                if self.phase.state() == SessionState::Idle {
                    self.stop_idle("others need its place").await;
                }
            }
            Call::EngineBack => self.on_engine_back(),
            Call::Look => self.look().await,
            Call::Adopt(attempt, running) => self.on_adopt(attempt, running).await,
            Call::NotThere(attempt) => self.on_not_there(attempt).await,
            Call::Broken => self.on_broken(),
            Call::Hello(attempt, hash, reply) => {
                let _ = reply.send(self.on_hello(attempt, hash).await);
            }
            Call::Next(attempt, reply) => self.on_next(attempt, reply).await,
            Call::Events(attempt, events, reply) => self.on_events(attempt, events, reply).await,
            Call::Control(request, reply) => self.on_control(request, reply).await,
            Call::Tool(call, reply) => self.on_tool(call, reply),
            Call::Digest(attempt, reply) => {
                let _ = reply.send(self.on_digest(attempt).await);
            }
            Call::Stop(done) => self.on_stop(done).await,
            Call::Drain => self.on_drain().await,
            Call::CutOff(rest) => self.on_cut_off(rest).await,
        }
    }

    /// The group's database, opened at the first use.
    pub(super) async fn store(&mut self) -> Result<Arc<GroupDb>, LaunchError> {
        if let Some(store) = &self.store {
            return Ok(store.clone());
        }
        let store = self.inner.parts.stores.group(&self.folder).await?;
        Ok(self.store.insert(store).clone())
    }

    /// What was not asked for by anybody: does not hurry what waits for its time.
    async fn look(&mut self) {
        let waits = self.wait.trouble.as_ref().is_some_and(|trouble| trouble.again > Instant::now());
        match self.phase.state() {
            SessionState::Stopped if waits => {}
            // A claim that finds nothing is a write.
            SessionState::Idle if !matches!(self.due().await, Ok(Due::Turn)) => {}
            _ => self.wake().await,
        }
    }

    /// Containers are not started before the engine told, once, which there are. Says so if a turn waits for it.
    async fn is_held(&mut self) -> bool {
        let held = !self.inner.recovery.is_listed() && matches!(self.due().await, Ok(Due::Turn));
        self.wait.hold(held);
        if held {
            self.begins_to_wait();
            self.show(Some("waits for the Docker engine to say which containers run".to_owned()));
            if let Some(error) = self.inner.engine_is_away() {
                self.tell(Live::Blocked(LaunchError::Sandbox(error).blocked(&self.folder)));
            }
        }
        held
    }

    /// Messages may wait: asks for a place, or hands them to the runner.
    pub(super) async fn wake(&mut self) {
        self.look_again.notify_waiters();
        match self.phase.state() {
            SessionState::Stopped if self.ending == Ending::No => {
                if self.is_held().await || self.waits_on().await {
                    return;
                }
                // Somebody who writes again may have mended it: tried at once, but not in a loop.
                if let Some(trouble) = &mut self.wait.trouble
                    && trouble.again > Instant::now()
                    && trouble.met.elapsed() < SHORTEST_PAUSE
                {
                    trouble.again = trouble.again.min(trouble.met + SHORTEST_PAUSE);
                    let blocked = trouble.blocked.clone();
                    self.tell(Live::Blocked(blocked));
                    return;
                }
                match self.due().await {
                    Ok(Due::Turn) => self.ask_for_a_place(),
                    Ok(Due::Commands | Due::Later(_)) => self.forget_trouble().await,
                    Err(error) => self.in_trouble(&error).await,
                }
            }
            // A runner that does not ask, such as while it compacts, does not hold up commands.
            SessionState::Idle if !self.life.as_ref().is_some_and(|life| life.runner.asks()) => {
                if let Err(error) = self.due().await {
                    tracing::warn!(error = %error_chain(&error), "what waits could not be read");
                }
            }
            SessionState::Idle => self.hand_out().await,
            SessionState::Stopped => {}
            // Somebody new may watch.
            state => {
                let note = lock(&self.view).note.clone();
                self.tell(Live::State(state, note));
                if state == SessionState::Busy {
                    self.answer_control().await;
                } else if let Err(error) = self.due().await {
                    tracing::warn!(error = %error_chain(&error), "what waits could not be read");
                }
            }
        }
    }

    /// What the session's messages wait for, after the commands before them were done.
    async fn due(&mut self) -> Result<Due, LaunchError> {
        let store = self.store().await?;
        let mut due = store.due(&self.session).await?;
        if due == Due::Commands {
            self.do_commands().await?;
            due = store.due(&self.session).await?;
        }
        self.wait_until(if let Due::Later(next) = due { next } else { None });
        Ok(due)
    }

    /// Wakes the actor at that time, ms since 1970.
    pub(super) fn wait_until(&mut self, at: Option<i64>) {
        self.wait.due_again = at.map(|at| Instant::now() + clock::until(at));
    }

    pub(super) async fn on_exit(&mut self, exit: Exit) {
        if self.life.as_ref().is_some_and(|life| life.end.is_by_person()) {
            self.interrupt_what_runs().await;
        }
        let Some(mut life) = self.life.take() else { return };
        // Before the rows forget the container: nobody would look for its socket after.
        life.close();
        tracing::info!(attempt = %life.attempt, %exit, "the container ended");
        let memory_mb = life.config.config.limits.memory_mb;
        self.inner.wipe_copy(&self.folder, &self.session).await;
        self.end_attempt(&life, exit).await;
        self.advance(PhaseEvent::Gone);
        self.give_back_place();
        // An engine that ends takes its containers with it.
        let died = !life.work.has_served() && (!life.end.is_stopping() || life.end.silent) && !exit.outage;
        let why = if life.end.silent { "it was silent for too long".to_owned() } else { died_of(exit, memory_mb) };
        drop(life);
        self.show(None);
        // Whoever waited for the stop finds it stopped.
        self.answer_stop_waiters();
        if died {
            self.in_trouble(&LaunchError::Died(why)).await;
        } else {
            self.wake().await;
        }
    }

    async fn on_deadline(&mut self) {
        let now = Instant::now();
        if self.phase == Phase::STOPPED && self.wait.trouble.as_ref().is_some_and(|trouble| trouble.again <= now) {
            self.wake().await;
        }
        self.tell_if_it_waits(now).await;
        if self.wait.due_again.take_if(|at| *at <= now).is_some() {
            self.wake().await;
        }
        let Some(life) = &mut self.life else { return };
        match self.phase.state() {
            SessionState::Idle if life.work.claim_again.take_if(|at| *at <= now).is_some() => self.hand_out().await,
            SessionState::Idle if life.idle_is_over(now) => self.stop_idle("idle").await,
            SessionState::Busy if life.silence_is_over(SessionState::Busy, now) => self.end_silent_turn().await,
            SessionState::Starting | SessionState::Idle if life.silence_is_over(self.phase.state(), now) => {
                tracing::warn!("the runner says nothing; its container is replaced");
                life.end.silent = true;
                self.advance(PhaseEvent::Stop);
                self.kill(Duration::from_secs(1), false);
            }
            SessionState::Busy if life.work.obey_by.take_if(|by| *by <= now).is_some() => {
                tracing::warn!("the turn does not end; its container is stopped");
                self.advance(PhaseEvent::Stop);
                self.kill(STOP_GRACE, false);
                self.show(None);
            }
            SessionState::Stopping if life.end.kill_is_due(now) && life.is_nothing_yet() => {
                self.give_up_start().await
            }
            SessionState::Stopping if life.end.kill_is_due(now) => self.kill(Duration::from_secs(1), false),
            _ => {}
        }
    }

    pub(super) fn give_back_place(&self) {
        self.inner.with_admission(|admission| admission.release(&self.session));
    }

    /// Moves the phase on. An illegal step is a bug: logged, and the phase stays.
    pub(super) fn advance(&mut self, event: PhaseEvent) {
        match self.phase.next(event) {
            Ok(phase) => self.phase = phase,
            Err(error) => tracing::error!(%error, "a bug in the supervisor"),
        }
    }

    /// Renews what others see.
    pub(super) fn show(&self, note: Option<String>) {
        let state = self.phase.state();
        let in_doubt = self.life.as_ref().is_some_and(|life| life.container.is_in_doubt());
        let note = note.or_else(|| in_doubt.then(|| IN_DOUBT.to_owned()));
        {
            let mut view = lock(&self.view);
            view.state = state;
            view.note.clone_from(&note);
            if let Some(life) = &self.life {
                view.attempt = life.attempt;
                view.config_hash = Some(life.config.hash.clone());
            }
            view.container = self.life.as_ref().and_then(|life| life.container.text());
        }
        self.tell(Live::State(state, note));
    }

    pub(super) fn tell(&self, live: Live) {
        self.inner.parts.hub.tell(&self.session, live);
    }
}

/// Why a container ended before it served.
fn died_of(exit: Exit, memory_mb: u64) -> String {
    if exit.oom { format!("{exit} of {memory_mb} MB; raise 'limits.memory_mb'") } else { exit.to_string() }
}

async fn or_never<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
