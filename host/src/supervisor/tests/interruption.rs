//! Turns that were interrupted though nobody asked for that.

use cofferdam_protocol::ids::Seq;
use cofferdam_protocol::runner::{ActivityKind, Event, EventBody, Finish, Next, Outcome};
use tokio::sync::oneshot;

use super::*;
use crate::door::Refused;

/// Far less than the half minute for which an actor would wait for an engine that says nothing.
const SOON: Duration = Duration::from_secs(20);

/// A turn whose runner says that it was interrupted, and then one thing more, while the engine does not answer.
struct Interrupted {
    it: Fixture,
    attempt: Attempt,
    reports: Vec<oneshot::Receiver<Result<Seq, Refused>>>,
}

impl Interrupted {
    async fn new() -> Self {
        let it = Fixture::new().await;
        let attempt = it.leave_a_container().await;
        it.engine.its_own.send_replace(None);
        it.supervisor.recover();
        it.until("in doubt", in_doubt).await;
        let running = it.engine.adopt(&ContainerId(ID.into()), PathBuf::new());
        it.supervisor.call(&it.folder, &it.session, Call::Adopt(attempt, running));
        let (reply, next) = oneshot::channel();
        it.supervisor.call(&it.folder, &it.session, Call::Next(attempt, reply));
        let Ok(Next::Batch(batch)) = next.await else { panic!("a turn") };
        let end = EventBody::Finish(Box::new(Finish::new(Outcome::Interrupted)));
        let more = EventBody::Activity { kind: ActivityKind::Reasoning, text: "more".into() };
        let mut reports = Vec::new();
        for (seq, body) in [(1, end), (2, more)] {
            let (reply, answer) = oneshot::channel();
            let event = Event { seq: Seq(seq), turn: Some(batch.turn), body };
            it.supervisor.call(&it.folder, &it.session, Call::Events(attempt, vec![event], reply));
            reports.push(answer);
        }
        Self { it, attempt, reports }
    }

    /// Whether the actor does something else than to wait for the engine.
    async fn is_heard(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.it.supervisor.call(&self.it.folder, &self.it.session, Call::Digest(self.attempt, reply));
        matches!(tokio::time::timeout(SOON, answer).await, Ok(Ok(Ok(_))))
    }

    /// What the reports were answered.
    async fn acked(self) -> (Fixture, Vec<i64>) {
        let mut acked = Vec::new();
        for report in self.reports {
            let answer = tokio::time::timeout(SOON, report).await;
            acked.push(answer.expect("in time").expect("answered").expect("heard").0);
        }
        (self.it, acked)
    }

    async fn turn_runs(it: &Fixture) -> bool {
        let store = it.stores.group(&it.folder).await.unwrap();
        store.session(&it.session).await.unwrap().running.is_some()
    }
}

#[tokio::test]
async fn an_actor_that_asks_whether_the_engine_ends_hears_everybody_else_and_keeps_the_order() {
    for (its_own, runs) in [(true, false), (false, true)] {
        let mut turn = Interrupted::new().await;
        assert!(turn.is_heard().await, "though the engine does not answer");
        assert!(turn.reports.iter_mut().all(|report| report.try_recv().is_err()), "what was reported waits");
        turn.it.engine.its_own.send_replace(Some(its_own));
        let (it, acked) = turn.acked().await;
        assert_eq!(acked, [1, 2]);
        assert_eq!(Interrupted::turn_runs(&it).await, runs, "an engine that ends does not end the turn");
        let state = if runs { SessionState::Stopping } else { SessionState::Idle };
        it.until("the container is told to stop, or not", |view| view.state == state).await;
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_engines_word_on_an_interruption() {
    let turn = Interrupted::new().await;
    assert!(turn.is_heard().await);
    let (done, _gone) = oneshot::channel();
    turn.it.supervisor.call(&turn.it.folder, &turn.it.session, Call::Stop(done));
    let (it, acked) = turn.acked().await;
    assert_eq!(acked, [1, 2]);
    assert!(!Interrupted::turn_runs(&it).await, "it was interrupted, and says so");
}

#[tokio::test]
async fn a_stop_of_a_turn_that_leaves_with_the_engine_is_its_end() {
    let turn = Interrupted::new().await;
    turn.it.engine.its_own.send_replace(Some(false));
    let (it, _) = turn.acked().await;
    assert!(Interrupted::turn_runs(&it).await, "until somebody says otherwise it goes into another container");
    let (done, gone) = oneshot::channel();
    it.supervisor.call(&it.folder, &it.session, Call::Stop(done));
    it.engine.ended.send_replace(true);
    let _ = tokio::time::timeout(SOON, gone).await.expect("in time");
    assert!(!Interrupted::turn_runs(&it).await);
    let store = it.stores.group(&it.folder).await.unwrap();
    assert!(!matches!(store.due(&it.session).await.unwrap(), Due::Turn), "its message ended with it");
}
