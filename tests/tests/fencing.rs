//! Two containers of one session, two daemons of one home: only the current one acts, and the other ends itself.
//!
//! They cannot come about by themselves. Here a daemon is blinded to the containers of the one before it: the home's
//! installation gets another id, so the engine shows it none of them, and it starts its own beside them.

use bollard::query_parameters::{LogsOptionsBuilder, WaitContainerOptionsBuilder};
use cofferdam_protocol::ids::Attempt;
use cofferdam_tests::admin::message;
use cofferdam_tests::engine::{self, engine};
use cofferdam_tests::home::TestHome;
use cofferdam_tests::{LIMIT, eventually, rows};
use futures_util::StreamExt;
use serde_json::json;

/// The runner's exit code when the host refuses it.
const REFUSED: i64 = 4;

/// From here on the engine shows the home's daemons none of the containers that run.
fn blind(home: &TestHome) {
    rows::put_changed(&rows::central(home.root()), "UPDATE meta SET value = value || 'x' WHERE key = 'install'");
}

/// Waits for the container's own end. It is removed as it ends, so somebody has to wait before.
fn ends_itself(container: &str) -> tokio::task::JoinHandle<i64> {
    let container = container.to_owned();
    tokio::spawn(async move {
        let docker = engine().await;
        let options = WaitContainerOptionsBuilder::default().condition("next-exit").build();
        let mut waiting = docker.wait_container(&container, Some(options));
        match waiting.next().await {
            Some(Ok(exit)) => exit.status_code,
            Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => code,
            other => panic!("{container}: {other:?}"),
        }
    })
}

async fn code(end: tokio::task::JoinHandle<i64>) -> i64 {
    tokio::time::timeout(LIMIT, end).await.expect("it ends by itself").expect("an exit code")
}

/// A copy of the lock that nobody holds, in its place.
fn copy_lock(home: &TestHome) {
    let (lock, copy) = (home.root().join("run/daemon.lock"), home.root().join("run/copy"));
    std::fs::copy(&lock, &copy).expect("copied");
    std::fs::rename(&copy, &lock).expect("in its place");
}

#[tokio::test]
async fn of_two_daemons_on_a_copied_lock_the_first_ends_and_its_container_ends_itself() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let request = message("demo", "whose am I\n!wait 15");
    let mut chat = home.admin().request(&request).await.expect("accepted");
    let first = chat.started().await;
    let end = ends_itself(&first);
    blind(&home);
    copy_lock(&home);
    let mut older = home.take_daemon();
    home.up().await;
    let status = tokio::time::timeout(LIMIT, older.wait()).await.expect("the first ends").expect("a status");
    assert_eq!(status.code(), Some(5), "{}", home.log());
    assert!(home.log().contains("has lost its home"), "{}", home.log());
    chat.drain().await;
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!(answer.text(), "mock reply to: whose am I\n(turn 1)", "once, from the one that is current");
    assert_eq!(answer.finished.attempt, Attempt(2));
    assert_ne!(answer.container(), first);
    // Whoever ended it would have given it another code.
    assert_eq!(code(end).await, REFUSED, "the first container ran on, and ended by itself");
    assert_eq!(home.admin().pid().await, Some(home.pid()), "the second still has its socket");
    home.admin().chat("demo", "go on").await.text();
}

#[tokio::test]
async fn a_daemon_whose_lock_is_taken_ends_before_it_writes_anything_more() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let container = home.admin().chat("demo", "hello").await.container().to_owned();
    copy_lock(&home);
    let mut older = home.take_daemon();
    home.up().await;
    assert_eq!(older.wait().await.expect("a status").code(), Some(5), "{}", home.log());
    let answer = home.admin().chat("demo", "and now").await;
    assert_eq!(answer.text(), "mock reply to: and now\n(turn 2)");
    assert_eq!(answer.container(), container, "the second adopted it, and the first left it alone");
    assert_eq!(answer.finished.attempt, Attempt(1));
}

#[tokio::test]
async fn a_container_that_comes_back_from_a_pause_after_its_time_is_refused_and_ends_itself() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let request = message("demo", "who speaks\n!wait 10");
    let mut chat = home.admin().request(&request).await.expect("accepted");
    let first = chat.started().await;
    let docker = engine().await;
    docker.pause_container(&first).await.expect("paused");
    home.crash().await;
    chat.drain().await;
    blind(&home);
    home.up().await;
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    let second = answer.container().to_owned();
    assert_eq!(
        (answer.text().as_str(), answer.finished.attempt),
        ("mock reply to: who speaks\n(turn 1)", Attempt(2))
    );
    assert_ne!(first, second);
    let end = ends_itself(&first);
    docker.unpause_container(&first).await.expect("goes on");
    assert_eq!(code(end).await, REFUSED, "its old token opens no new door");
    let next = home.admin().chat("demo", "still you").await;
    assert_eq!(next.container(), second, "the current one did not notice");
    assert!(home.stop().await.success());
    let group = rows::of_group(home.root(), "demo");
    let said: Vec<String> = rows::select(&group, "SELECT text FROM outbox ORDER BY id", |row| row.get(0));
    assert_eq!(said, ["mock reply to: who speaks\n(turn 1)", "mock reply to: still you\n(turn 2)"]);
}

#[tokio::test]
async fn a_second_container_of_the_same_attempt_gets_no_token_and_ends_itself() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let container = home.admin().chat("demo", "hello").await.container().to_owned();
    let twin = twin_of(&container).await;
    let gone = eventually("the twin ends", || async {
        let seen = engine::inspect(&twin).await?.state?;
        (seen.running == Some(false)).then_some(seen.exit_code)
    });
    assert_eq!(gone.await, Some(REFUSED), "{}", log_of(&twin).await);
    let answer = home.admin().chat("demo", "and you").await;
    assert_eq!(
        (answer.container(), answer.text().as_str()),
        (container.as_str(), "mock reply to: and you\n(turn 2)")
    );
}

/// Starts a container exactly like another, but for its removal: its exit code is looked at.
async fn twin_of(container: &str) -> String {
    use bollard::models::ContainerCreateBody;
    let docker = engine().await;
    let seen = engine::inspect(container).await.expect("it runs");
    let config = serde_json::to_value(seen.config.expect("a configuration")).expect("JSON");
    let mut body: ContainerCreateBody = serde_json::from_value(config).expect("the same fields");
    body.hostname = None;
    let mut host = seen.host_config.expect("a host configuration");
    host.auto_remove = Some(false);
    body.host_config = Some(host);
    let made = docker.create_container(None, body).await.expect("created");
    docker.start_container(&made.id, None).await.expect("started");
    made.id
}

async fn log_of(container: &str) -> String {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
    let lines: Vec<_> = engine().await.logs(container, Some(options)).collect().await;
    lines.into_iter().filter_map(|line| Some(line.ok()?.to_string())).collect()
}
