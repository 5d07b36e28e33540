//! A daemon that starts: it answers at once, finds what is its own, and nothing of others. And what it does when hints are
//! lost or a part of it breaks.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, SessionState};
use cofferdam_protocol::ids::Attempt;
use cofferdam_protocol::runner::FailureKind;
use cofferdam_tests::admin::message;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::{engine, eventually, rows};
use rustix::process::Signal;
use serde_json::json;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// An engine that takes connections and never answers.
struct Hanging {
    _dir: tempfile::TempDir,
    host: String,
    /// How many connections somebody waited for in vain, and closed.
    given_up: Arc<AtomicUsize>,
    server: tokio::task::JoinHandle<()>,
}

impl Hanging {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).expect("bound");
        let given_up = Arc::new(AtomicUsize::new(0));
        let count = given_up.clone();
        let server = tokio::spawn(async move {
            let mut taken = JoinSet::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                let count = count.clone();
                taken.spawn(async move {
                    let _ = tokio::io::copy(&mut connection, &mut tokio::io::sink()).await;
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Self { host: format!("unix://{}", socket.display()), given_up, server, _dir: dir }
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tokio::test]
async fn a_turn_goes_on_through_its_door_while_the_engine_hangs_at_the_start() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let request = message("demo", "in the dark\n!wait 2");
    let mut chat = home.admin().request(&request).await.expect("accepted");
    let container = chat.started().await;
    home.crash().await;
    chat.drain().await;
    let hanging = Hanging::new();
    home.env("DOCKER_HOST", &hanging.host);
    home.up().await;
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!(answer.text(), "mock reply to: in the dark\n(turn 1)", "its runner needs no engine");
    let session = home.admin().session(&answer.finished.session).await;
    assert_eq!((session.attempt, session.state), (Attempt(1), SessionState::Idle));
    assert!(session.note.is_some_and(|note| note.contains("whether its container still runs")));
    let next = home.admin().chat("demo", "again").await;
    assert_eq!(next.text(), "mock reply to: again\n(turn 2)", "also a new message is served");
    home.crash().await;
    home.unset("DOCKER_HOST");
    home.up().await;
    assert_eq!(home.admin().chat("demo", "in the light").await.container(), container);
}

#[tokio::test]
async fn the_socket_answers_within_a_second_though_the_engine_hangs_and_messages_say_what_they_wait_for() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    assert!(home.stop().await.success());
    let hanging = Hanging::new();
    home.env("DOCKER_HOST", &hanging.host);
    let begun = Instant::now();
    home.up().await;
    let took = begun.elapsed();
    // A second is the goal on an idle machine, which the benchmark judges. Whoever waits for the engine waits for 5 s and more,
    // and then gives a call up; on a busy machine the start alone may take so long.
    let given_up = hanging.given_up.load(Ordering::Relaxed);
    assert!(took < Duration::from_secs(4) || given_up == 0, "{took:?}, and {given_up} calls were given up");
    let mut chat = home.admin().send_text("demo", "are you there").await;
    let waits = |event: &ChatEvent| matches!(event, ChatEvent::State { note: Some(note), .. } if note.contains("Docker engine"));
    chat.until("it says that it waits for the engine", waits).await;
    chat.until("it says that the engine hangs", |event| matches!(event, ChatEvent::Blocked { .. })).await;
    assert!(home.admin().status().await.engine_error.is_some());
}

#[tokio::test]
async fn two_homes_on_one_engine_do_not_touch_each_other() {
    let mut one = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let two = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let request = message("demo", "one\n!wait 3");
    let mut chat_one = one.admin().request(&request).await.expect("accepted");
    let first = chat_one.started().await;
    let mut chat_two = two.admin().send_text("demo", "two\n!wait 5").await;
    let second = chat_two.started().await;
    // One's attempt is not current any more, so its next daemon removes what it has.
    one.crash().await;
    chat_one.drain().await;
    rows::execute(
        &rows::of_group(one.root(), "demo"),
        "UPDATE sessions SET attempt = attempt + 1, token_hash = NULL, container = NULL",
    );
    one.up().await;
    engine::gone(&first).await;
    let answer = one.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!(answer.text(), "mock reply to: one\n(turn 1)");
    let answer = chat_two.end().await;
    assert_eq!((answer.text().as_str(), answer.container()), ("mock reply to: two\n(turn 1)", second.as_str()));
    assert_eq!(answer.finished.attempt, Attempt(1));
    assert!(one.stop().await.success());
    assert!(engine::inspect(&second).await.is_some(), "also the other's end leaves it alone");
}

#[tokio::test]
async fn a_message_whose_every_nudge_was_lost_is_answered_all_the_same() {
    let mut home = TestHome::new();
    home.env("COFFERDAM_LOSE_NUDGES", "100").env("COFFERDAM_SWEEP_MS", "200");
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    let answer = home.admin().chat("demo", "nobody was told").await;
    assert_eq!(answer.text(), "mock reply to: nobody was told\n(turn 1)");
    let next = home.admin().chat("demo", "nor now").await;
    assert_eq!(next.text(), "mock reply to: nor now\n(turn 2)", "an idle runner is reached too");
    assert_eq!(next.container(), answer.container());
}

#[tokio::test]
async fn an_actor_that_breaks_is_replaced_and_its_message_answered_in_another_container() {
    let mut home = TestHome::new();
    home.env("COFFERDAM_PANIC_AT", "finish.after_commit:2").env("RUST_BACKTRACE", "0");
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    let before = home.admin().chat("demo", "fine").await;
    let request = message("demo", "this breaks");
    // Its finish stands, and whoever was to tell it broke.
    let broken = home.admin().request(&request).await.expect("accepted");
    eventually("it is replaced", || async { home.log().contains("another takes its place").then_some(()) }).await;
    drop(broken);
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!(answer.text(), "mock reply to: this breaks\n(turn 2)");
    engine::gone(before.container()).await;
    let after = home.admin().chat("demo", "mended").await;
    assert_eq!((after.finished.attempt, after.text().as_str()), (Attempt(2), "mock reply to: mended\n(turn 3)"));
}

#[tokio::test]
async fn an_actor_that_breaks_in_a_turn_costs_it_a_try() {
    let mut home = TestHome::new();
    home.env("COFFERDAM_PANIC_AT", "claim.after_commit").env("RUST_BACKTRACE", "0");
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    let answer = home.admin().chat("demo", "twice if need be\n!exit 7").await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Failed { kind: FailureKind::ProviderDied });
    assert_eq!(answer.finished.attempt, Attempt(2), "the broken one was the first of two tries");
}

#[tokio::test]
async fn a_session_that_waits_for_a_place_keeps_its_message_through_a_graceful_stop() {
    let mut home = TestHome::new();
    home.configure("max_sessions = 1");
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    home.group("other", &json!({"provider": "mock"})).await;
    let mut busy = home.admin().send_text("demo", "I have the place\n!wait 8").await;
    busy.started().await;
    let request = message("other", "I wait for it");
    let mut waits = home.admin().request(&request).await.expect("accepted");
    waits.until("queued", |event| matches!(event, ChatEvent::State { state: SessionState::Queued, .. })).await;
    home.signal(Signal::TERM);
    assert_eq!(busy.end().await.text(), "mock reply to: I have the place\n(turn 1)", "the running turn ends");
    assert!(home.ended().await.success());
    waits.drain().await;
    rows::assert_tidy(home.root());
    home.up().await;
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!(
        (answer.text().as_str(), answer.finished.attempt),
        ("mock reply to: I wait for it\n(turn 1)", Attempt(1))
    );
}

#[tokio::test]
async fn a_reply_that_nobody_fetched_outlives_a_graceful_stop() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let request = message("demo", "nobody waits\n!wait 4");
    let mut chat = home.admin().request(&request).await.expect("accepted");
    let session = chat.session();
    chat.started().await;
    drop(chat);
    let admin = home.admin();
    eventually("the turn ends", || async {
        (admin.session(&session).await.state == SessionState::Idle).then_some(())
    })
    .await;
    assert!(home.stop().await.success());
    rows::assert_tidy(home.root());
    let group = rows::of_group(home.root(), "demo");
    let states = || rows::select::<String>(&group, "SELECT state FROM outbox", |row| row.get(0));
    assert_eq!(states(), ["pending"]);
    home.up().await;
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!(answer.text(), "mock reply to: nobody waits\n(turn 1)");
    assert!(home.stop().await.success());
    assert_eq!(states(), ["delivered"]);
}

#[tokio::test]
async fn no_socket_is_left_of_a_container_that_ended_as_its_daemon_died() {
    let mut home = TestHome::new();
    home.env("COFFERDAM_CRASH_AT", "ended.after_commit");
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    let answer = home.admin().chat("demo", "the only one").await;
    engine::kill(answer.container()).await;
    // Killed when the rows have forgotten the container: nothing is due any more.
    assert_eq!(home.ended().await.signal(), Some(Signal::KILL.as_raw()));
    home.unset("COFFERDAM_CRASH_AT");
    home.up().await;
    assert!(home.stop().await.success());
    rows::assert_tidy(home.root());
}

#[tokio::test]
async fn a_container_that_could_not_be_noted_is_looked_for_all_the_same() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let answer = home.admin().chat("demo", "the only one").await;
    home.crash().await;
    engine::kill(answer.container()).await;
    // As a disk that was full for a moment leaves it: the runner's hello is there, the container's id is not.
    let group = rows::of_group(home.root(), "demo");
    rows::execute(&group, "UPDATE sessions SET container = NULL");
    let socket = home.root().join("run/doors").join(answer.finished.session.as_str()).join("door.sock");
    assert!(socket.exists(), "{}", socket.display());
    home.up().await;
    eventually("its door is closed", || async { (!socket.exists()).then_some(()) }).await;
    assert!(home.stop().await.success());
    rows::assert_tidy(home.root());
    let open: Vec<i64> =
        rows::select(&group, "SELECT attempt FROM sessions WHERE token_hash IS NOT NULL", |row| row.get(0));
    assert!(open.is_empty(), "its attempt has ended");
}

#[tokio::test]
async fn a_stop_soon_after_a_start_ends_what_the_daemon_before_left() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let answer = home.admin().chat("demo", "the only one").await;
    home.crash().await;
    home.up().await;
    assert!(home.stop().await.success());
    engine::gone(answer.container()).await;
    rows::assert_tidy(home.root());
}

#[tokio::test]
async fn a_daemon_that_ends_says_so_and_begins_nothing() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let mut chat = home.admin().send_text("demo", "slowly\n!wait 600").await;
    chat.started().await;
    home.signal(Signal::TERM);
    let admin = home.admin();
    let status = eventually("it says that it ends", || async {
        let status = admin.status().await;
        status.ends_within_secs.is_some().then_some(status)
    })
    .await;
    assert!(status.notes.iter().any(|note| note.contains("the daemon ends")), "{:?}", status.notes);
    let refused = home.cli(&["chat", "demo", "hello"]).await;
    assert_eq!(refused.code, 8, "{refused:?}");
    assert!(refused.stderr.contains("is ending"), "{refused:?}");
    assert!(admin.pid().await.is_some(), "at once, and not when it has ended");
    home.signal(Signal::TERM);
    drop(chat.drain().await);
    assert!(home.ended().await.success());
}
