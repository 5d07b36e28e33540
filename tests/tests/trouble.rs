//! The engine, the image or the disk is not there: a clear error, and nothing lost.

use cofferdam_protocol::admin::{ChatEvent, ErrorBody, ErrorKind};
use cofferdam_tests::admin::{Chat, message};
use cofferdam_tests::engine;
use cofferdam_tests::home::TestHome;
use serde_json::json;

async fn blocked(chat: &mut Chat) -> ErrorBody {
    match chat.until("it says why it waits", |event| matches!(event, ChatEvent::Blocked { .. })).await {
        ChatEvent::Blocked { kind, message, hint, .. } => ErrorBody { kind, message, hint },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_an_engine_a_message_stays_accepted_and_is_answered_when_it_is_back() {
    let mut home = TestHome::new();
    let real = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let dead = format!("unix://{}", home.root().join("no-engine.sock").display());
    home.env("DOCKER_HOST", &dead);
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    let request = message("demo", "are you there?");
    let mut chat = home.admin().request(&request).await.expect("accepted");
    let why = blocked(&mut chat).await;
    assert_eq!(why.kind, ErrorKind::Engine);
    assert!(
        why.message.contains("engine") && why.hint.is_some_and(|hint| hint.contains("doctor")),
        "{}",
        why.message
    );
    let session = home.admin().session(&chat.session()).await;
    assert_eq!((session.waiting, session.attempt.0), (1, 0), "it waits, and cost no attempt");
    let status = home.admin().status().await;
    assert!(status.engine_error.is_some(), "{status:?}");
    let cli = home.cli(&["chat", "demo", "and you?"]).await;
    assert_eq!(cli.code, 6, "{cli:?}");
    assert!(cli.stderr.contains("engine"), "{cli:?}");
    home.stop().await;
    home.env("DOCKER_HOST", &real);
    home.up().await;
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    let text = answer.text();
    assert!(text.contains("are you there?") && text.contains("and you?"), "both are answered: {text}");
}

#[tokio::test]
async fn an_engine_that_comes_back_is_used_without_a_restart() {
    let mut home = TestHome::new();
    let real = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let Some(real) = real.strip_prefix("unix://") else { panic!("this test needs an engine on a Unix socket") };
    let link = home.root().join("engine.sock");
    home.env("DOCKER_HOST", &format!("unix://{}", link.display()));
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    let mut chat = home.admin().send_text("demo", "hello").await;
    assert_eq!(blocked(&mut chat).await.kind, ErrorKind::Engine);
    std::os::unix::fs::symlink(real, &link).expect("the engine is back");
    assert_eq!(chat.end().await.text(), "mock reply to: hello\n(turn 1)");
    assert!(home.admin().status().await.engine_error.is_none());
}

#[tokio::test]
async fn an_image_of_its_own_that_is_missing_is_named_and_the_message_waits() {
    let home = TestHome::with_demo(&json!({"provider": "mock", "image": "cofferdam-test/none:such"})).await;
    let mut chat = home.admin().send_text("demo", "hello").await;
    let why = blocked(&mut chat).await;
    assert_eq!(why.kind, ErrorKind::Image);
    assert!(why.message.contains("cofferdam-test/none:such") && why.hint.is_some(), "{why:?}");
    let cli = home.cli(&["chat", "demo", "again"]).await;
    assert_eq!(cli.code, 7, "{cli:?}");
    std::fs::write(home.container_json("demo"), r#"{"provider": "mock"}"#).expect("mended");
    let text = chat.end().await.text();
    assert!(text.contains("hello"), "it was not lost: {text}");
}

/// A runner with other bytes has another image, so that nobody else's is touched.
#[tokio::test]
async fn a_default_image_that_is_missing_is_built_by_itself() {
    use std::io::Write;
    let mut home = TestHome::new();
    let given = std::env::var_os("COFFERDAM_RUNNER").map(std::path::PathBuf::from);
    let runner = given.unwrap_or_else(|| {
        let target = cofferdam_tests::home::program();
        target.ancestors().nth(2).expect("a target").join("x86_64-unknown-linux-gnu/release/cofferdam-runner")
    });
    let own = home.root().join("cofferdam-runner");
    std::fs::copy(&runner, &own).unwrap_or_else(|error| panic!("{}: {error}: run `make runner`", runner.display()));
    let mut file = std::fs::File::options().append(true).open(&own).expect("the copy");
    write!(file, "{}", home.root().display()).expect("bytes after the program's end");
    drop(file);
    home.env("COFFERDAM_RUNNER", &own.display().to_string());
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    let answer = home.admin().chat("demo", "hello").await;
    let image = engine::inspect(answer.container()).await.and_then(|seen| seen.config?.image);
    let image = image.expect("an image");
    home.admin().stop(&answer.finished.session).await;
    remove_image(&image).await;
    let again = home.admin().chat("demo", "hello again").await;
    home.admin().stop(&again.finished.session).await;
    remove_image(&image).await;
    let _ = std::fs::remove_dir_all(
        home.root().join("data/cache/codex-home").join(image.rsplit(':').next().expect("a tag")),
    );
    assert_eq!(answer.text(), "mock reply to: hello\n(turn 1)");
    assert_eq!(again.text(), "mock reply to: hello again\n(turn 2)", "also when it was pruned meanwhile");
}

async fn remove_image(image: &str) {
    let options = bollard::query_parameters::RemoveImageOptionsBuilder::default().force(true).build();
    let removed = engine::engine().await.remove_image(image, Some(options), None).await;
    removed.unwrap_or_else(|error| panic!("{image}: {error}"));
}

#[tokio::test]
async fn a_group_whose_disk_refuses_says_so_and_accepts_nothing() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    // Root may write anywhere, so the directory's place is taken instead.
    std::fs::create_dir_all(home.root().join("data/groups")).expect("a directory");
    std::fs::write(home.root().join("data/groups/demo"), "not a directory").expect("a file");
    let error = home.admin().request(&message("demo", "hello")).await.err().expect("refused");
    assert_eq!(error.kind, ErrorKind::Disk, "{error:?}");
    assert!(error.hint.is_some() && error.message.contains("state.db"), "{error:?}");
    assert_eq!(home.cli(&["chat", "demo", "hello"]).await.code, 9);
    std::fs::remove_file(home.root().join("data/groups/demo")).expect("mended");
    assert_eq!(home.admin().chat("demo", "hello").await.text(), "mock reply to: hello\n(turn 1)");
}

#[tokio::test]
async fn a_session_whose_files_cannot_be_made_says_so_and_goes_on_when_they_can() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    std::fs::write(home.folder("demo").join("workspace"), "not a directory").expect("a file");
    let mut chat = home.admin().send_text("demo", "hello").await;
    let why = blocked(&mut chat).await;
    assert_eq!(why.kind, ErrorKind::Disk);
    assert!(why.message.contains("workspace"), "{why:?}");
    std::fs::remove_file(home.folder("demo").join("workspace")).expect("mended");
    assert_eq!(chat.end().await.text(), "mock reply to: hello\n(turn 1)");
}

#[tokio::test]
async fn a_home_that_cannot_be_written_is_named() {
    let home = TestHome::new();
    std::fs::write(home.root().join("run"), "not a directory").expect("a file");
    let up = home.cli(&["up"]).await;
    assert_eq!(up.code, 9, "{up:?}");
    assert!(up.stderr.contains("run"), "{up:?}");
}
