//! The daemon is killed at each of its commits and between them, and each time the next one goes on as if nothing had been.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;

use cofferdam::hooks::POINTS;
use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, ChatRequest};
use cofferdam_protocol::runner::FailureKind;
use cofferdam_tests::admin::{Answer, message};
use cofferdam_tests::home::TestHome;
use cofferdam_tests::{engine, eventually, rows};
use futures_util::StreamExt;
use futures_util::stream::iter;
use rustix::process::Signal;
use serde_json::json;

/// Homes at once: each is a daemon and a container.
const AT_ONCE: usize = 3;

/// A container has to end for these to be reached: its runner dies in the turn, and again in the second try.
const RUNNER_DIES: &[&str] = &["ended.before_commit", "ended.after_commit"];

/// From here to ⑥ nobody can know whether the channel has the reply.
const DOUBT: &[&str] = &["lease.after_commit", "sent", "delivered.before_commit"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_at_any_point_loses_nothing_and_doubles_nothing() {
    let runs = POINTS.iter().map(|point| async move { (*point, tokio::spawn(survive(point)).await) });
    let ends: Vec<_> = iter(runs).buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<_> = ends.iter().filter(|(_, end)| end.is_err()).map(|(point, _)| *point).collect();
    assert!(failed.is_empty(), "not survived: {failed:?}");
}

#[test]
fn each_point_stands_once_in_the_list() {
    let all: BTreeSet<_> = POINTS.iter().collect();
    assert_eq!(all.len(), POINTS.len());
    for point in RUNNER_DIES.iter().chain(DOUBT) {
        assert!(POINTS.contains(point), "{point}");
    }
}

async fn survive(point: &str) {
    let dies = RUNNER_DIES.contains(&point);
    let mut home = TestHome::new();
    home.env("COFFERDAM_CRASH_AT", point);
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    let first = message("demo", if dies { "the first\n!exit 7" } else { "the first" });
    let second = message("demo", "the second");
    // What shares a turn with a message that kills its runner may end as it does.
    let offered = if dies { vec![&first] } else { vec![&first, &second] };
    let streams = offer(&home, &offered).await;
    let status = home.ended().await;
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{point}: reached, and killed there: {status}");
    let seen = streams.await.expect("the streams end with the daemon");

    home.unset("COFFERDAM_CRASH_AT");
    home.up().await;
    // As a client does that lost its connection: the same messages again.
    let again = home.admin().request(&first).await.expect("accepted");
    let known = again.accepted().2;
    let answer = again.end().await;
    let next = home.admin().request(&second).await.expect("accepted").end().await;
    if seen.iter().any(|event| matches!(event, ChatEvent::Accepted { .. })) {
        assert!(known, "{point}: what was accepted is known");
    }
    let failed = ChatOutcome::Failed { kind: FailureKind::ProviderDied };
    let expected = if dies { failed } else { ChatOutcome::Replied };
    assert_eq!(answer.finished.outcome, expected, "{point}");
    if !dies {
        assert_eq!(times(&answer, "the first"), 1, "{point}: {:#?}", answer.events);
    }
    assert_eq!(times(&next, "the second"), 1, "{point}: {:#?}", next.events);

    let install = home.admin().status().await.install;
    assert!(home.stop().await.success(), "{point}: {}", home.log());
    // The engine removes one a moment after it ended.
    let gone = async || engine::owned(&install).await.is_empty().then_some(());
    eventually("no container is left", gone).await;
    check_rows(&home, point);
}

/// Sends messages one after the other; answers what came of them before the daemon died.
async fn offer(home: &TestHome, requests: &[&ChatRequest]) -> tokio::task::JoinHandle<Vec<ChatEvent>> {
    let mut chats = Vec::new();
    for request in requests {
        chats.extend(home.admin().offer(request).await);
    }
    tokio::spawn(async move {
        let mut seen = Vec::new();
        for chat in chats {
            seen.extend(chat.drain().await);
        }
        seen
    })
}

/// How many of a client's replies answer this message.
fn times(answer: &Answer, text: &str) -> usize {
    answer.replies().iter().filter(|reply| reply.contains(text)).count()
}

/// One row and one outcome for each message, each reply handed over, each database whole.
fn check_rows(home: &TestHome, point: &str) {
    rows::assert_tidy(home.root());
    rows::assert_whole(&rows::central(home.root()));
    let group = rows::of_group(home.root(), "demo");
    rows::assert_whole(&group);
    let inbox: Vec<(String, String)> =
        rows::select(&group, "SELECT text, state FROM inbox ORDER BY id", |row| Ok((row.get(0)?, row.get(1)?)));
    assert_eq!(inbox.len(), 2, "{point}: {inbox:?}");
    assert!(inbox.iter().all(|(_, state)| state == "done"), "{point}: {inbox:?}");
    let running: Vec<i64> = rows::select(&group, "SELECT id FROM turns WHERE state = 'running'", |row| row.get(0));
    assert!(running.is_empty(), "{point}: turns still run: {running:?}");
    let outbox: Vec<(String, String)> =
        rows::select(&group, "SELECT text, state FROM outbox ORDER BY id", |row| Ok((row.get(0)?, row.get(1)?)));
    assert!(outbox.iter().all(|(_, state)| state == "delivered"), "{point}: {outbox:?}");
    let doubts: i64 = rows::select(&group, "SELECT coalesce(sum(doubt), 0) FROM outbox", |row| row.get(0))[0];
    assert_eq!(doubts, i64::from(DOUBT.contains(&point)), "{point}: a reply that may be there twice says so");
    // The mock's reply names the messages of its turn; a notice stands for one whose runner died.
    let answers = |text: &str| outbox.iter().filter(|(reply, _)| reply.contains(text)).count();
    let first = if RUNNER_DIES.contains(&point) { "container ended" } else { "the first" };
    assert_eq!((answers(first), answers("the second")), (1, 1), "{point}: {outbox:?}");
}
