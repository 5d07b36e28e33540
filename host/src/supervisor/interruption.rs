//! What a runner reports, in order; and a turn that was interrupted though nobody asked for that: is it the engine, which
//! ends and takes its containers with it? Its messages go into another container then, when the engine is back.
//!
//! ```text
//! a batch of events ──▶ heard one by one ──────────────────────────────────────────▶ answered with the newest
//!                            │ the running turn's end: interrupted, and nobody asked for it        ▲
//!                            ▼                                                                     │
//!                       the engine is asked, by a task that the actor looks at (35 s at most)      │
//!                            │   meanwhile: what people want is done; the rest of the batch,       │
//!                            │   the attempt's next batches and its container's end wait in order  │
//!                            ├─ it is well, or somebody asked meanwhile ──▶ the end is kept ───────┤
//!                            └─ it ends, or was started again ──▶ the container is told to stop ───┘
//! ```
//!
//! All of that belongs to the attempt's [`super::life::Life`]: with it the question goes, and whoever waits is told that
//! the attempt is stale.

use std::collections::VecDeque;

use cofferdam_protocol::ids::{Attempt, Seq};
use cofferdam_protocol::runner::{Event, EventBody, Outcome};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::actor::Actor;
use super::ends::STOP_GRACE;
use crate::door::Refused;
use crate::model::session::PhaseEvent;
use crate::sandbox::SandboxError;

/// A batch of events that is not answered yet.
pub(super) struct Report {
    events: VecDeque<Event>,
    acked: Seq,
    reply: oneshot::Sender<Result<Seq, Refused>>,
}

/// Whether the engine is behind an interruption.
pub(super) struct Question {
    /// Whether the container's engine is the one that started it, and stays.
    pub(super) engine: AbortOnDropHandle<Result<bool, SandboxError>>,
    /// The first event of the first is the turn's end.
    reports: VecDeque<Report>,
}

impl Actor {
    pub(super) async fn on_events(
        &mut self,
        attempt: Attempt,
        events: Vec<Event>,
        reply: oneshot::Sender<Result<Seq, Refused>>,
    ) {
        let life = match self.life_of(attempt) {
            Ok(life) => life,
            Err(stale) => {
                let _ = reply.send(Err(stale));
                return;
            }
        };
        life.runner.last_sign = Instant::now();
        let report = Report { events: events.into(), acked: Seq(0), reply };
        match &mut life.runner.question {
            Some(question) => question.reports.push_back(report),
            None => self.hear(attempt, [report].into(), false).await,
        }
    }

    /// Hears what was reported, until an event needs the engine's word. `known`: the first one has it.
    async fn hear(&mut self, attempt: Attempt, mut reports: VecDeque<Report>, mut known: bool) {
        while let Some(mut report) = reports.pop_front() {
            let heard = loop {
                let Some(event) = report.events.pop_front() else { break Ok(report.acked) };
                if !std::mem::take(&mut known)
                    && let Some(engine) = self.doubts(attempt, &event).await
                {
                    report.events.push_front(event);
                    reports.push_front(report);
                    if let Ok(life) = self.life_of(attempt) {
                        life.runner.question = Some(Question { engine, reports });
                    }
                    return;
                }
                let seq = event.seq;
                if let Err(refused) = self.on_event(attempt, event).await {
                    break Err(refused);
                }
                report.acked = report.acked.max(seq);
            };
            // A runner that is gone tells it again.
            let _ = report.reply.send(heard);
        }
    }

    /// The question to the engine, when an event is the end of the running turn that nobody asked for.
    async fn doubts(
        &mut self,
        attempt: Attempt,
        event: &Event,
    ) -> Option<AbortOnDropHandle<Result<bool, SandboxError>>> {
        let EventBody::Finish(finish) = &event.body else { return None };
        let life = self.life_of(attempt).ok()?;
        if finish.outcome != Outcome::Interrupted || event.turn.is_none() || event.turn != life.work.turn {
            return None;
        }
        let container = life.container.id()?;
        if self.somebody_asked().await {
            return None;
        }
        let sandbox = self.inner.parts.sandbox.clone();
        Some(AbortOnDropHandle::new(tokio::spawn(async move { sandbox.is_its_engine(&container).await })))
    }

    /// Whether somebody wants the running turn's end, or its container's.
    async fn somebody_asked(&mut self) -> bool {
        let (Some(life), Some(store)) = (&self.life, &self.store) else { return false };
        life.work.obey_by.is_some()
            || life.end.is_stopping()
            || life.end.is_by_person()
            || store.stop_requested(&self.session).await.unwrap_or(false)
    }

    /// The engine's word on an interruption.
    pub(super) async fn on_engines_word(&mut self, word: Result<bool, SandboxError>) {
        let Some((attempt, mut question)) =
            self.life.as_mut().and_then(|life| Some((life.attempt, life.runner.question.take()?)))
        else {
            return;
        };
        let well = word.unwrap_or_else(|error| {
            self.inner.engine_failed(&error);
            false
        });
        if well || self.somebody_asked().await {
            return self.hear(attempt, question.reports, true).await;
        }
        self.leaves_with_the_engine();
        if let Some(report) = question.reports.front_mut()
            && let Some(end) = report.events.pop_front()
        {
            report.acked = report.acked.max(end.seq);
        }
        self.hear(attempt, question.reports, false).await;
    }

    /// Somebody wants the end now: the engine's word does not matter any more.
    pub(super) async fn no_question(&mut self) {
        if self.life.as_ref().is_some_and(|life| life.runner.question.is_some()) {
            self.on_engines_word(Ok(true)).await;
        }
    }

    /// The turn's messages wait for another container. The runner is told to stop, if it does not already.
    fn leaves_with_the_engine(&mut self) {
        tracing::warn!("the engine ends or was restarted, and takes the turn with it; its messages wait");
        self.advance(PhaseEvent::Stop);
        if let Some(life) = &mut self.life {
            life.end.outage = true;
            life.ask_to_stop(Instant::now() + STOP_GRACE);
        }
        self.show(None);
    }
}
