use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::post;
use cofferdam_protocol::ids::TurnId;
use serde_json::json;

use super::*;

const FINISHED: &str = r#"{"event":"finished","session":"0123456789abcdef0123456789abcdef","turn":1,"attempt":1,"container":"c","outcome":{"outcome":"replied"},"usage":null,"timings_ms":{"queued":null,"container_start":null,"provider_ready":null,"provider":null,"total":1.0}}"#;
const REPLY: &str = r#"{"event":"reply","turn":1,"reply":7,"text":"hello"}"#;
const SAME_WORDS: &str = r#"{"event":"reply","turn":1,"reply":8,"text":"hello"}"#;
const ACCEPTED: &str =
    r#"{"event":"accepted","message":1,"session":"0123456789abcdef0123456789abcdef","duplicate":false}"#;

#[derive(Default)]
struct Heard {
    replies: Vec<String>,
    lost: usize,
}

impl Listener for Heard {
    fn event(&mut self, event: &ChatEvent) -> Result<(), CliError> {
        if let ChatEvent::Reply { text, .. } = event {
            self.replies.push(text.clone());
        }
        Ok(())
    }

    fn lost(&mut self) {
        self.lost += 1;
    }
}

/// A daemon that gives one of `answers` to each call and keeps the messages' ids.
struct Fake {
    dir: tempfile::TempDir,
    ids: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn start(answers: Vec<(StatusCode, String)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ids = Arc::new(Mutex::new(Vec::new()));
        let listener = tokio::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let answers = Arc::new(Mutex::new(answers.into_iter()));
        let seen = ids.clone();
        let app = Router::new().route(
            "/v1/chat",
            post(async move |request: axum::Json<ChatRequest>| {
                seen.lock().unwrap().push(request.message_id.clone());
                let (status, text) = answers.lock().unwrap().next().unwrap();
                (status, Body::from(text))
            }),
        );
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { dir, ids }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }
}

fn request() -> ChatRequest {
    ChatRequest {
        group: "demo".parse().unwrap(),
        thread: None,
        message_id: "m1".into(),
        sender: "s".into(),
        text: "hi".into(),
        schema: None,
        files: Vec::new(),
    }
}

async fn followed(socket: &Path, heard: &mut Heard) -> Result<Finished, CliError> {
    follow(&Client::new(socket), &request(), heard).await
}

#[tokio::test]
async fn a_message_is_followed_to_its_end() {
    let fake = Fake::start(vec![(StatusCode::OK, format!("{ACCEPTED}\n{REPLY}\n{FINISHED}\n"))]);
    let mut heard = Heard::default();
    let finished = followed(&fake.socket(), &mut heard).await.unwrap();
    assert_eq!(finished.turn, Some(TurnId(1)));
    assert_eq!((heard.replies, heard.lost), (vec!["hello".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_is_taken_up_with_the_same_id_and_nothing_is_shown_twice() {
    let again = format!("{ACCEPTED}\n{REPLY}\n{SAME_WORDS}\n{FINISHED}\n");
    let fake = Fake::start(vec![(StatusCode::OK, format!("{ACCEPTED}\n{REPLY}\n")), (StatusCode::OK, again)]);
    let mut heard = Heard::default();
    followed(&fake.socket(), &mut heard).await.unwrap();
    // The second connection repeats the first reply and has a new one with the same words.
    assert_eq!((heard.replies.len(), heard.lost), (2, 1));
    assert_eq!(*fake.ids.lock().unwrap(), ["m1", "m1"]);
}

#[tokio::test]
async fn a_refusal_is_final_and_keeps_its_kind() {
    let body = json!({"kind": "not_found", "message": "no group", "hint": "add it"}).to_string();
    let fake = Fake::start(vec![(StatusCode::NOT_FOUND, body)]);
    let mut heard = Heard::default();
    let error = followed(&fake.socket(), &mut heard).await.unwrap_err();
    assert_eq!((error.kind(), heard.lost), (ErrorKind::NotFound, 0));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stays_away_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut heard = Heard::default();
    let error = followed(&dir.path().join("none"), &mut heard).await.unwrap_err();
    assert_eq!((error.kind(), heard.lost), (ErrorKind::Daemon, 1));
}
