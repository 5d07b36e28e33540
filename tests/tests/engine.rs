//! The engine misbehaves: it restarts, hangs, fills up, loses its image, and the way to it breaks. The daemon stays the
//! same process, says what it waits for, and goes on by itself. What hurts an engine is done to one of the test's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, ErrorKind, SessionState};
use cofferdam_protocol::runner::FailureKind;
use cofferdam_tests::admin::{Chat, message};
use cofferdam_tests::engine_proxy::{EngineProxy, Fault};
use cofferdam_tests::home::TestHome;
use cofferdam_tests::own_engine::{IMAGE, OwnEngine, runner};
use cofferdam_tests::{engine, eventually};
use rustix::process::Signal;
use serde_json::json;

/// How long an answer that needs no engine may take, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A daemon with a group `demo` on an engine of its own.
async fn on_own_engine() -> (OwnEngine, TestHome) {
    let engine = OwnEngine::new().await;
    let mut home = TestHome::new();
    home.env("DOCKER_HOST", &engine.host());
    home.up().await;
    home.group("demo", &json!({"provider": "mock", "image": IMAGE})).await;
    (engine, home)
}

/// A daemon with a group `demo` that reaches the machine's engine through a proxy.
async fn behind_proxy() -> (EngineProxy, TestHome) {
    let mut home = TestHome::new();
    let proxy = EngineProxy::new(&home.root().join("proxy.sock"));
    home.env("DOCKER_HOST", &proxy.host());
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    (proxy, home)
}

/// What `status` says of the engine, once it says something.
async fn trouble(home: &TestHome) -> String {
    eventually("status says what it waits for", || async { home.admin().status().await.engine_error }).await
}

async fn no_trouble(home: &TestHome) {
    let look = || async { home.admin().status().await.engine_error.is_none().then_some(()) };
    eventually("status has forgotten the trouble", look).await;
}

/// Status and session answer at once whatever the engine does.
async fn answers_at_once(home: &TestHome, chat: &Chat) {
    let asked = async {
        home.admin().status().await;
        home.admin().session(&chat.session()).await
    };
    tokio::time::timeout(AT_ONCE, asked).await.expect("answered without the engine");
}

/// The daemon is the process that it was, and after its sessions' end nothing of it is left on its engine.
async fn still_there_and_clean(home: &TestHome, own: Option<&OwnEngine>) {
    let status = home.admin().status().await;
    assert_eq!(status.pid, home.pid());
    for session in status.sessions {
        home.admin().stop(&session.id).await;
    }
    eventually("nothing is left behind", || async {
        let left = match own {
            Some(engine) => engine.containers().await,
            None => engine::owned(&status.install).await,
        };
        left.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_message_is_not_blamed_for_an_engine_that_restarts_under_its_turn_again_and_again() {
    let (mut engine, home) = on_own_engine().await;
    let mut chat = home.admin().send_text("demo", "hold on\n!wait 10").await;
    // A message whose container dies by itself has two tries.
    for _ in 0..3 {
        chat.started().await;
        engine.end(Signal::TERM).await;
        assert!(trouble(&home).await.contains("does not answer"));
        answers_at_once(&home, &chat).await;
        engine.start().await;
    }
    let answer = chat.end().await;
    assert_eq!(answer.text(), "mock reply to: hold on\n(turn 1)");
    assert!(answer.notices().is_empty(), "{:?}", answer.notices());
    no_trouble(&home).await;
    still_there_and_clean(&home, Some(&engine)).await;
}

#[tokio::test]
async fn a_turn_ends_well_without_its_engine_and_the_next_waits_for_the_engine() {
    let (mut engine, home) = on_own_engine().await;
    let mut chat = home.admin().send_text("demo", "hold on\n!wait 2").await;
    chat.started().await;
    engine.end(Signal::KILL).await;
    assert_eq!(chat.end().await.text(), "mock reply to: hold on\n(turn 1)", "its container goes on");
    // The engine, started again, ends the container that it finds.
    engine.start().await;
    let answer = home.admin().chat("demo", "and now?").await;
    assert!(answer.text().contains("and now?"));
    still_there_and_clean(&home, Some(&engine)).await;
}

#[tokio::test]
async fn a_turn_of_a_killed_engine_goes_into_another_container_without_blame() {
    let (mut engine, home) = on_own_engine().await;
    // Its container goes on without the engine, until that is there again and ends it.
    let mut chat = home.admin().send_text("demo", "hold on\n!wait 25").await;
    for _ in 0..2 {
        chat.started().await;
        engine.end(Signal::KILL).await;
        engine.start().await;
    }
    let answer = chat.end().await;
    assert_eq!(answer.text(), "mock reply to: hold on\n(turn 1)");
    assert!(answer.notices().is_empty(), "{:?}", answer.notices());
    still_there_and_clean(&home, Some(&engine)).await;
}

#[tokio::test]
async fn a_frozen_engine_holds_up_neither_the_turn_that_runs_nor_the_daemon() {
    let (engine, home) = on_own_engine().await;
    home.group("other", &json!({"provider": "mock", "image": IMAGE})).await;
    let mut chat = home.admin().send_text("demo", "hold on\n!wait 2").await;
    let container = chat.started().await;
    engine.signal(Signal::STOP);
    let starting = home.admin().send_text("other", "you have to wait").await;
    answers_at_once(&home, &starting).await;
    let answer = chat.end().await;
    assert_eq!(
        (answer.text().as_str(), answer.container()),
        ("mock reply to: hold on\n(turn 1)", container.as_str())
    );
    let again = home.admin().chat("demo", "once more").await;
    assert_eq!(again.container(), container, "and the one after it too");
    assert!(trouble(&home).await.contains("hang"));
    answers_at_once(&home, &starting).await;
    engine.signal(Signal::CONT);
    assert_eq!(starting.end().await.text(), "mock reply to: you have to wait\n(turn 1)");
    no_trouble(&home).await;
    still_there_and_clean(&home, Some(&engine)).await;
}

#[tokio::test]
async fn a_full_engine_is_named_and_the_message_is_answered_when_there_is_room() {
    let (engine, home) = on_own_engine().await;
    engine.fill();
    let mut chat = home.admin().send_text("demo", "room?").await;
    let blocked = |event: &ChatEvent| matches!(event, ChatEvent::Blocked { .. });
    match chat.until("it says why it waits", blocked).await {
        ChatEvent::Blocked { kind, message, hint, .. } => {
            assert_eq!(kind, ErrorKind::Engine, "{message}");
            assert!(message.contains("full") && hint.is_some_and(|hint| hint.contains("free space")), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert!(trouble(&home).await.contains("full"));
    engine.empty();
    assert_eq!(chat.end().await.text(), "mock reply to: room?\n(turn 1)");
    no_trouble(&home).await;
    still_there_and_clean(&home, Some(&engine)).await;
}

#[tokio::test]
async fn a_container_over_its_memory_limit_is_told_with_the_limit_and_the_key() {
    let (engine, home) = on_own_engine().await;
    home.group("small", &json!({"provider": "mock", "image": IMAGE, "limits": {"memory_mb": 64}})).await;
    let answer = home.admin().chat("small", "!eat").await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Failed { kind: FailureKind::ProviderDied });
    let notices = answer.notices();
    assert!(
        notices.len() == 1 && notices[0].contains("64 MB") && notices[0].contains("limits.memory_mb"),
        "{notices:?}"
    );
    home.admin().chat("small", "next").await.text();
    still_there_and_clean(&home, Some(&engine)).await;
}

#[tokio::test]
async fn a_turn_survives_connections_to_the_engine_that_break() {
    let (proxy, home) = behind_proxy().await;
    let mut chat = home.admin().send_text("demo", "hold on\n!wait 2").await;
    let container = chat.started().await;
    let looked = proxy.fault_times(&["GET", "/json"], Fault::Close, 1);
    proxy.cut();
    looked.at_least(2).await;
    let answer = chat.end().await;
    assert_eq!(
        (answer.text().as_str(), answer.container()),
        ("mock reply to: hold on\n(turn 1)", container.as_str())
    );
    let session = answer.finished.session;
    eventually("its output is kept on", || async {
        let log = home.admin().logs(&session, None).await.expect("a log");
        (log.matches("turn begins").count() == 1 && log.contains("turn ends")).then_some(())
    })
    .await;
    // Also an end that nobody could hear is found.
    proxy.fault(&["/wait"], Fault::Hang);
    proxy.cut();
    engine::kill(&container).await;
    proxy.normal();
    assert_ne!(home.admin().chat("demo", "next").await.container(), container);
    still_there_and_clean(&home, None).await;
}

#[tokio::test]
async fn a_start_that_hangs_can_be_stopped_and_leaves_no_container() {
    let (proxy, home) = behind_proxy().await;
    for (call, fault) in [("/create", Fault::Hang), ("/create", Fault::HangAfter), ("/start", Fault::HangAfter)] {
        let hangs = proxy.fault(&["POST", call], fault);
        let chat = home.admin().send_text("demo", "hello").await;
        hangs.at_least(1).await;
        answers_at_once(&home, &chat).await;
        // Its message was accepted: it waits, and `/stop` takes it back.
        // Where its runner is there already, the engine has to end it: that is told after a while (6).
        let stopped = home.cli(&["session", "stop", &chat.session().to_string()]).await;
        assert!([0, 6].contains(&stopped.code), "{stopped:?}");
        assert_eq!(home.admin().session(&chat.session()).await.waiting, 1, "{call}");
        home.admin().chat("demo", "/stop").await;
        let answer = chat.end().await;
        assert_eq!((answer.finished.outcome, answer.finished.turn), (ChatOutcome::Interrupted, None), "{call}");
        proxy.normal();
        home.admin().stop(&answer.finished.session).await;
    }
    assert_eq!(home.admin().chat("demo", "and now?").await.text(), "mock reply to: and now?\n(turn 1)");
    still_there_and_clean(&home, None).await;
}

#[tokio::test]
async fn an_engine_that_hangs_is_told_in_status_and_a_start_goes_on_when_it_answers() {
    let (proxy, home) = behind_proxy().await;
    proxy.fault(&[" "], Fault::Hang);
    let chat = home.admin().send_text("demo", "hello").await;
    assert!(trouble(&home).await.contains("hang"));
    answers_at_once(&home, &chat).await;
    proxy.normal();
    assert_eq!(chat.end().await.text(), "mock reply to: hello\n(turn 1)");
    no_trouble(&home).await;
    still_there_and_clean(&home, None).await;
}

#[tokio::test]
async fn a_stop_that_hangs_holds_up_nobody_else_and_comes_to_its_end() {
    let (proxy, home) = behind_proxy().await;
    home.group("other", &json!({"provider": "mock"})).await;
    let session = home.admin().chat("demo", "hello").await.finished.session;
    let hangs = proxy.fault(&["POST", "/stop"], Fault::Hang);
    let stopping = tokio::spawn({
        let (admin, session) = (home.admin(), session.clone());
        async move { admin.stop(&session).await }
    });
    hangs.at_least(1).await;
    assert_eq!(home.admin().chat("other", "hello").await.text(), "mock reply to: hello\n(turn 1)");
    let waiting = home.admin().send_text("demo", "after the stop").await;
    answers_at_once(&home, &waiting).await;
    proxy.normal();
    stopping.await.expect("stopped");
    waiting.end().await;
    still_there_and_clean(&home, None).await;
}

#[tokio::test]
async fn a_paused_container_can_be_stopped() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let mut chat = home.admin().send_text("demo", "hold on\n!wait 600").await;
    let container = chat.started().await;
    engine::engine().await.pause_container(&container).await.expect("paused");
    home.admin().stop(&chat.session()).await;
    assert_eq!(chat.end().await.finished.outcome, ChatOutcome::Interrupted);
    engine::gone(&container).await;
    still_there_and_clean(&home, None).await;
}

/// A runner with other bytes has another image, so that nobody else's is touched.
fn runner_of_its_own(home: &TestHome) -> PathBuf {
    use std::io::Write;
    let (from, own) = (runner(), home.root().join("cofferdam-runner"));
    std::fs::copy(&from, &own).unwrap_or_else(|error| panic!("{}: {error}: run `make runner`", from.display()));
    let mut file = std::fs::File::options().append(true).open(&own).expect("the copy");
    write!(file, "{}", home.root().display()).expect("bytes after the program's end");
    own
}

#[tokio::test]
async fn a_pruned_image_is_built_once_for_all_who_wait_also_when_only_a_part_of_it_is_left() {
    let mut home = TestHome::new();
    let proxy = EngineProxy::new(&home.root().join("proxy.sock"));
    let own = runner_of_its_own(&home);
    home.env("COFFERDAM_RUNNER", &own.display().to_string()).env("DOCKER_HOST", &proxy.host());
    home.up().await;
    let builds = proxy.fault_times(&["POST", "/build"], Fault::Close, 0);
    for group in ["one", "two", "three"] {
        home.group(group, &json!({"provider": "mock"})).await;
    }
    let admin = home.admin();
    let answers = tokio::join!(admin.chat("one", "a"), admin.chat("two", "b"), admin.chat("three", "c"));
    assert_eq!(builds.count(), 1, "one build for three sessions");
    let image = engine::inspect(answers.0.container()).await.and_then(|seen| seen.config?.image).expect("an image");
    for answer in [&answers.0, &answers.1] {
        admin.stop(&answer.finished.session).await;
    }
    let options = bollard::query_parameters::RemoveImageOptionsBuilder::default().force(true).build();
    engine::engine().await.remove_image(&image, Some(options.clone()), None).await.expect("pruned");
    let unharmed = answers.2.container();
    let again = tokio::join!(admin.chat("one", "d"), admin.chat("two", "e"), admin.chat("three", "f"));
    assert_eq!((builds.count(), again.2.container()), (2, unharmed), "one that runs needs no image");
    admin.stop(&again.0.finished.session).await;
    proxy.fault_times(&["POST", "/create"], Fault::Answer(500, "layer does not exist"), 1);
    let partly = admin.chat("one", "g").await;
    assert_eq!((partly.text().as_str(), builds.count()), ("mock reply to: g\n(turn 3)", 3));
    still_there_and_clean(&home, None).await;
    let _ = engine::engine().await.remove_image(&image, Some(options), None).await;
    let tag = image.rsplit(':').next().expect("a tag");
    let _ = std::fs::remove_dir_all(home.root().join("data/cache/codex-home").join(tag));
}

/// The same request, so that it is one message however often it is sent.
#[tokio::test]
async fn an_engine_that_refuses_one_call_while_it_ends_is_away_and_no_fault_of_the_sessions() {
    let (proxy, home) = behind_proxy().await;
    let words = "rpc error: code = Canceled desc = grpc: the client connection is closing: unknown";
    let met = proxy.fault_times(&["POST", "/start"], Fault::Answer(500, words), 1);
    let request = message("demo", "hello");
    let chat = home.admin().request(&request).await.expect("accepted");
    met.at_least(1).await;
    assert_eq!(chat.end().await.text(), "mock reply to: hello\n(turn 1)");
    still_there_and_clean(&home, None).await;
}

/// The files below a directory, with their bytes; databases and logs left out.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            found.append(&mut files(&entry));
        } else if !["state.db", ".log"].iter().any(|part| entry.to_string_lossy().contains(part)) {
            found.insert(entry.clone(), std::fs::read(&entry).expect("a file"));
        }
    }
    found
}

#[tokio::test]
async fn a_group_is_neither_restored_nor_removed_while_the_engine_cannot_end_its_containers() {
    let (proxy, home) = behind_proxy().await;
    home.group("gone", &json!({"provider": "mock"})).await;
    let admin = home.admin();
    let (kept, gone) = tokio::join!(admin.chat("demo", "one"), admin.chat("gone", "one"));
    let place = tempfile::tempdir().expect("a place");
    let backup = place.path().join("backup").display().to_string();
    assert_eq!(home.cli(&["backup", &backup]).await.code, 0);
    let before = files(&home.root().join("data/groups"));
    proxy.fault(&[" "], Fault::Hang);
    let (restore, remove) = (["restore", "--from", &backup, "demo"], ["group", "remove", "gone", "--yes"]);
    let (restored, removed) = tokio::join!(home.cli(&restore), home.cli(&remove));
    for (ended, what) in [(restored, "group demo is not restored"), (removed, "group gone is not removed")] {
        assert_eq!(ended.code, 6, "{ended:?}");
        assert!(ended.stderr.contains(what) && ended.stderr.contains("nothing of it was changed"), "{ended:?}");
    }
    assert_eq!(files(&home.root().join("data/groups")), before);
    proxy.normal();
    // Nobody was told to end before the engine answered.
    for (answer, group) in [(&kept, "demo"), (&gone, "gone")] {
        let next = home.admin().chat(group, "two").await;
        assert_eq!((next.text().as_str(), next.container()), ("mock reply to: two\n(turn 2)", answer.container()));
    }
    assert_eq!(home.cli(&restore).await.code, 0);
    assert_eq!(home.admin().chat("demo", "two again").await.text(), "mock reply to: two again\n(turn 2)");
    assert_eq!(home.cli(&remove).await.code, 0);
    engine::gone(gone.container()).await;
    assert!(!home.root().join("data/groups/gone").exists());
    still_there_and_clean(&home, None).await;
}

#[tokio::test]
async fn a_restore_waits_for_a_container_that_does_not_end_and_gives_up_with_everything_as_it_was() {
    let (proxy, home) = behind_proxy().await;
    let answer = home.admin().chat("demo", "one").await;
    let place = tempfile::tempdir().expect("a place");
    let backup = place.path().join("backup").display().to_string();
    assert_eq!(home.cli(&["backup", &backup]).await.code, 0);
    let before = files(&home.root().join("data/groups"));
    // One that is paused does not end when it is told to; its end by force never comes.
    engine::engine().await.pause_container(answer.container()).await.expect("paused");
    proxy.fault(&["POST", "/stop"], Fault::Hang);
    proxy.fault(&["DELETE"], Fault::Hang);
    let restored = home.cli(&["restore", "--from", &backup, "demo"]).await;
    assert_eq!(restored.code, 6, "{restored:?}");
    assert!(restored.stderr.contains("has not ended") && restored.stderr.contains("session stop"), "{restored:?}");
    assert_eq!(files(&home.root().join("data/groups")), before);
    proxy.normal();
    engine::gone(answer.container()).await;
    // The engine knows of the end before the daemon does, which refuses what still stops (5).
    eventually("its end is seen", || async {
        let state = home.admin().session(&answer.finished.session).await.state;
        (state == SessionState::Stopped).then_some(())
    })
    .await;
    assert_eq!(home.cli(&["restore", "--from", &backup, "demo"]).await.code, 0);
    assert_eq!(home.admin().chat("demo", "two").await.text(), "mock reply to: two\n(turn 2)");
    still_there_and_clean(&home, None).await;
}

#[tokio::test]
async fn a_session_whose_image_is_being_built_is_stopped_at_once_and_the_build_goes_on() {
    let mut home = TestHome::new();
    let proxy = EngineProxy::new(&home.root().join("proxy.sock"));
    let own = runner_of_its_own(&home);
    home.env("COFFERDAM_RUNNER", &own.display().to_string()).env("DOCKER_HOST", &proxy.host());
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    let builds = proxy.fault(&["POST", "/build"], Fault::Hang);
    let chat = home.admin().send_text("demo", "hello").await;
    builds.at_least(1).await;
    tokio::time::timeout(AT_ONCE, home.admin().stop(&chat.session()))
        .await
        .expect("it does not wait for the build");
    proxy.normal();
    let answer = chat.end().await;
    assert_eq!((answer.text().as_str(), builds.count()), ("mock reply to: hello\n(turn 1)", 1));
    let image = engine::inspect(answer.container()).await.and_then(|seen| seen.config?.image).expect("an image");
    still_there_and_clean(&home, None).await;
    let options = bollard::query_parameters::RemoveImageOptionsBuilder::default().force(true).build();
    let _ = engine::engine().await.remove_image(&image, Some(options), None).await;
    let tag = image.rsplit(':').next().expect("a tag");
    let _ = std::fs::remove_dir_all(home.root().join("data/cache/codex-home").join(tag));
}

#[tokio::test]
async fn a_second_signal_leaves_an_engine_that_hangs_to_the_next_start_and_loses_nothing() {
    let (proxy, mut home) = behind_proxy().await;
    let request = message("demo", "hold on\n!wait 600");
    let mut chat = home.admin().request(&request).await.expect("accepted");
    let container = chat.started().await;
    proxy.fault(&[" "], Fault::Hang);
    home.signal(Signal::TERM);
    eventually("it ends", || async { home.log().contains("a second signal ends now").then_some(()) }).await;
    home.signal(Signal::TERM);
    let begun = Instant::now();
    assert!(home.ended().await.success());
    // 2 s for the engine. Without hurry it would be 20 s for the turn, and 20 s for the engine.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    chat.drain().await;
    proxy.normal();
    home.up().await;
    let again = home.admin().request(&message("demo", "/stop")).await.expect("accepted");
    again.end().await;
    let session = home.admin().sessions(Some("demo")).await.remove(0).id;
    home.admin().stop(&session).await;
    engine::gone(&container).await;
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Interrupted, "its message has its one outcome");
    still_there_and_clean(&home, None).await;
}
