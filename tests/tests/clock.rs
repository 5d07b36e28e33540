//! The wall clock is set while the daemon runs, or while it does not: due work is neither lost nor done twice, and does
//! not wait for the clock to come round again.

use std::path::{Path, PathBuf};

use cofferdam_protocol::admin::ChatEvent;
use cofferdam_tests::admin::{Answer, Chat, message};
use cofferdam_tests::eventually;
use cofferdam_tests::home::TestHome;
use serde_json::json;

const DAY: i64 = 86_400_000;

/// A home whose daemon's wall clock the test can set.
struct Clocked {
    home: TestHome,
    clock: PathBuf,
}

impl Clocked {
    async fn up() -> Self {
        let mut home = TestHome::new();
        let clock = home.root().join("clock");
        home.env("COFFERDAM_CLOCK", clock.to_str().expect("a path"));
        home.up().await;
        for group in ["demo", "other"] {
            home.group(group, &json!({"provider": "mock"})).await;
        }
        Self { home, clock }
    }

    /// How many jumps the daemon has seen.
    fn jumps(&self) -> usize {
        self.home.log().matches("the wall clock jumped").count()
    }

    fn set(&self, offset_ms: i64) {
        set(&self.clock, offset_ms);
    }
}

fn set(clock: &Path, offset_ms: i64) {
    let new = clock.with_extension("new");
    std::fs::write(&new, offset_ms.to_string()).expect("the clock is written");
    std::fs::rename(&new, clock).expect("the clock is set");
}

async fn retrying(chat: &mut Chat) {
    chat.until("another try is announced", |event| matches!(event, ChatEvent::Retrying { .. })).await;
}

/// The notices that say that a message is tried again.
fn tries(answer: &Answer) -> usize {
    answer.notices().len()
}

/// Its last pause is five minutes, longer than a test waits for anything.
#[tokio::test]
async fn a_jump_forward_makes_due_what_is_due_and_once() {
    let clocked = Clocked::up().await;
    let admin = clocked.home.admin();
    let mut chat = admin.send_text("demo", "!fail upstream 4\nhello").await;
    // The pauses are 15 s, one minute and five, and a fifth.
    for offset in [60_000, 180_000, 600_000] {
        retrying(&mut chat).await;
        clocked.set(offset);
    }
    let answer = chat.end().await;
    assert_eq!((answer.text().as_str(), tries(&answer)), ("mock reply to: hello\n(turn 4)", 3));
    assert_eq!(
        admin.chat("demo", "next").await.text(),
        "mock reply to: next\n(turn 5)",
        "and no other try was made"
    );
}

#[tokio::test]
async fn a_jump_back_by_a_day_keeps_a_message_no_longer_than_its_pause() {
    let clocked = Clocked::up().await;
    let admin = clocked.home.admin();
    let mut chat = admin.send_text("demo", "!fail upstream 2\nhello").await;
    retrying(&mut chat).await;
    clocked.set(-DAY);
    let behind = admin.send_text("demo", "next").await;
    let answer = chat.end().await;
    assert_eq!((answer.text().as_str(), tries(&answer)), ("mock reply to: hello\n(turn 2)", 1));
    let behind = behind.end().await;
    assert_eq!(behind.replies().last(), Some(&"mock reply to: next\n(turn 3)"), "in their order");
    for answer in [&answer, &behind] {
        let timings = answer.finished.timings_ms;
        let all = [timings.queued, timings.container_start, timings.provider_ready, timings.provider];
        assert!(all.into_iter().flatten().all(|ms| ms >= 0.0), "{timings:?}");
    }
}

#[tokio::test]
async fn a_jump_back_while_no_daemon_runs_is_seen_by_the_next_one() {
    let mut clocked = Clocked::up().await;
    let request = message("demo", "!fail upstream 2\nhello");
    let mut chat = clocked.home.admin().request(&request).await.expect("accepted");
    retrying(&mut chat).await;
    clocked.home.crash().await;
    chat.drain().await;
    clocked.set(-DAY);
    clocked.home.up().await;
    let answer = clocked.home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!(answer.text(), "mock reply to: hello\n(turn 2)");
    assert!(clocked.home.log().contains("set back while no daemon ran"), "{}", clocked.home.log());
}

#[tokio::test]
async fn a_clock_that_swings_does_a_message_once() {
    let clocked = Clocked::up().await;
    let admin = clocked.home.admin();
    let mut chat = admin.send_text("demo", "!fail upstream 2\nhello").await;
    retrying(&mut chat).await;
    for (seen, offset) in [(1, DAY), (2, -DAY), (3, DAY), (4, 0)] {
        clocked.set(offset);
        eventually("the daemon sees the jump", || async { (clocked.jumps() >= seen).then_some(()) }).await;
        // Ordinary work goes on under every clock.
        let other = admin.chat("other", &format!("at {offset}")).await;
        assert_eq!(other.replies().len(), 1);
    }
    let answer = chat.end().await;
    assert_eq!((answer.replies(), tries(&answer)), (vec!["mock reply to: hello\n(turn 2)"], 1));
    let last = admin.chat("demo", "last").await;
    assert!(last.text().contains("last"), "{:?}", last.events);
    let session = admin.session(&last.finished.session).await;
    assert_eq!(session.waiting, 0);
}
