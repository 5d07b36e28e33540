//! The door from outside: what an agent's own commands could try.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cofferdam_protocol::runner::ProviderKind;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::*;
use crate::gateway::Account;
use crate::sandbox::mounts::container_user;
use crate::sandbox::mounts::credentials::Credentials;

/// A session that accepts attempt 7.
struct Session;

#[async_trait]
impl RunnerApi for Session {
    async fn hello(&self, _: Attempt, _: Vec<u8>) -> Result<(Thread, Settings), Refused> {
        let settings = Settings {
            provider: ProviderKind::Mock,
            model: None,
            instructions: String::new(),
            cwd: "/".into(),
            silence_secs: 1,
            compaction: runner::CompactionSettings { threshold_tokens: 0, timeout_secs: 1 },
            tools: Vec::new(),
            mcp_servers: Vec::new(),
        };
        Ok((Thread { continuation: Some("thread".into()), ..Thread::default() }, settings))
    }

    fn next(&self, _: Attempt) -> Result<oneshot::Receiver<Next>, Refused> {
        let (reply, answer) = oneshot::channel();
        reply.send(Next::Stop).unwrap();
        Ok(answer)
    }

    async fn events(&self, _: Attempt, events: Vec<Event>) -> Result<Seq, Refused> {
        Ok(events.last().map_or(Seq(0), |event| event.seq))
    }

    fn control(&self, _: ControlRequest) -> Result<oneshot::Receiver<Control>, Refused> {
        let (reply, answer) = oneshot::channel();
        reply.send(Control { interrupt: true, steer: Vec::new() }).unwrap();
        Ok(answer)
    }

    async fn tool(&self, call: ToolCall) -> Result<ToolAnswer, Refused> {
        Ok(ToolAnswer::Done { success: true, text: call.tool })
    }

    async fn digest(&self, _: Attempt) -> Result<Digest, Refused> {
        Ok(Digest { text: Some("before".into()) })
    }
}

struct Opened {
    dir: tempfile::TempDir,
    _door: Door,
}

fn open() -> Opened {
    open_with(Gateway::new(Account::Offline).unwrap(), None)
}

fn open_with(gateway: Gateway, issued: Option<Issued>) -> Opened {
    let dir = tempfile::tempdir().unwrap();
    let spec = DoorSpec {
        dir: dir.path(),
        user: container_user(),
        caller: Caller {
            group: "demo".parse().unwrap(),
            session: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            serving: Default::default(),
        },
        attempt: Attempt(7),
        token_hash: None,
        issued,
        servers: Vec::new(),
        trust: Trust::MACHINE,
    };
    let door = Door::open(spec, Arc::new(Session), Arc::new(gateway)).unwrap();
    Opened { dir, _door: door }
}

impl Opened {
    async fn post(&self, path: &str, token: Option<&str>, body: impl Into<Vec<u8>>) -> (u16, Value) {
        let stream = tokio::net::UnixStream::connect(self.dir.path().join("door.sock")).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request =
            http::Request::post(path).header("host", "door").header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::<bytes::Bytes>::from(body.into())).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn hello(&self, protocol: u32, attempt: i64) -> (u16, Value) {
        let hello = json!({"protocol": protocol, "version": "x", "attempt": attempt});
        self.post(runner::HELLO, None, hello.to_string()).await
    }
}

#[tokio::test]
async fn the_token_is_handed_out_once() {
    let door = open();
    let (status, welcome) = door.hello(RUNNER_PROTOCOL, 7).await;
    assert_eq!((status, welcome["thread"]["continuation"].as_str()), (200, Some("thread")));
    assert_eq!(door.hello(RUNNER_PROTOCOL, 7).await.0, 409);
    let next = json!({"attempt": 7}).to_string();
    let token = welcome["token"].as_str().unwrap();
    assert_eq!(door.post(runner::NEXT, Some(token), next).await, (200, json!({"next": "stop"})));
}

#[tokio::test]
async fn a_stale_attempt_and_another_protocol_are_refused_and_take_no_token() {
    let door = open();
    assert_eq!(door.hello(RUNNER_PROTOCOL, 6).await.0, 409);
    assert_eq!(door.hello(RUNNER_PROTOCOL + 1, 7).await.0, 426);
    let (status, welcome) = door.hello(RUNNER_PROTOCOL, 7).await;
    assert_eq!(status, 200);
    let token = welcome["token"].as_str().unwrap();
    let stale = json!({"attempt": 6, "events": []}).to_string();
    assert_eq!(door.post(runner::EVENTS, Some(token), stale).await.0, 409);
}

#[tokio::test]
async fn without_the_token_nobody_speaks_for_the_runner() {
    let door = open();
    let next = json!({"attempt": 7}).to_string();
    assert_eq!(door.post(runner::NEXT, None, next.clone()).await.0, 401, "before hello");
    door.hello(RUNNER_PROTOCOL, 7).await;
    for token in [None, Some(""), Some("0123")] {
        assert_eq!(door.post(runner::NEXT, token, next.clone()).await.0, 401, "{token:?}");
        // Refused before the body is looked at.
        assert_eq!(door.post(runner::EVENTS, token, "not json").await.0, 401, "{token:?}");
    }
}

#[tokio::test]
async fn there_is_nothing_else_behind_the_door() {
    let door = open();
    for path in ["/", "/v1/status", "/v1/chat", "/runner", "/runner/../v1/groups", "/admin"] {
        let (status, _) = door.post(path, None, "{}").await;
        assert!(status == 404 || status == 401, "{path}: {status}");
    }
}

#[tokio::test]
async fn a_batch_of_too_many_events_is_refused_whole() {
    let door = open();
    let (_, welcome) = door.hello(RUNNER_PROTOCOL, 7).await;
    let token = welcome["token"].as_str().unwrap();
    let batch = |count: usize| {
        let events: Vec<_> =
            (1..=count).map(|seq| json!({"seq": seq, "turn": 1, "event": "delta", "text": ""})).collect();
        json!({"attempt": 7, "events": events}).to_string()
    };
    assert_eq!(
        door.post(runner::EVENTS, Some(token), batch(MAX_EVENTS)).await,
        (200, json!({"acked": MAX_EVENTS}))
    );
    let (status, refusal) = door.post(runner::EVENTS, Some(token), batch(MAX_EVENTS + 1)).await;
    assert_eq!(status, 400);
    assert!(refusal["error"].as_str().unwrap().contains("1001 events"), "{refusal}");
}

#[tokio::test]
async fn an_oversized_hello_is_refused() {
    let door = open();
    assert_eq!(door.post(runner::HELLO, None, vec![b' '; SMALL_BODY + 1]).await.0, 413);
}

#[tokio::test]
async fn a_closed_door_leaves_no_socket() {
    let Opened { dir, _door } = open();
    drop(_door);
    assert!(!dir.path().join("door.sock").exists());
}

/// Codex's form, with this in the place of the refresh token.
fn form(handle: &str) -> Value {
    json!({"client_id": crate::gateway::login::CLIENT_ID, "grant_type": "refresh_token", "refresh_token": handle,
        "refresh_reason": "proactive_expiry"})
}

fn sealed() -> (Opened, String) {
    let sealed = Credentials::sealed(&"0123456789abcdef0123456789abcdef".parse().unwrap());
    let door = open_with(Gateway::new(Account::Offline).unwrap(), Some(sealed.issued()));
    (door, sealed.handle.text().expose_secret().to_owned())
}

#[tokio::test]
async fn the_token_sink_gives_a_sealed_session_placeholders_that_are_no_tokens() {
    let (door, handle) = sealed();
    for reason in ["proactive_expiry", "unauthorized_recovery"] {
        let mut form = form(&handle);
        form["refresh_reason"] = reason.into();
        let (status, tokens) = door.post(TOKEN_SINK, None, form.to_string()).await;
        assert_eq!((status, tokens["refresh_token"].as_str()), (200, Some(handle.as_str())));
        assert_eq!(tokens.as_object().unwrap().len(), 3);
        for name in ["id_token", "access_token"] {
            let parts: Vec<&str> = tokens[name].as_str().unwrap().split('.').collect();
            let read =
                |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
            assert_eq!((parts.len(), read(parts[0])["alg"].as_str()), (3, Some("none")));
            let claims = read(parts[1]);
            assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
            assert_eq!(claims["iss"], "cofferdam");
        }
    }
}

#[tokio::test]
async fn the_token_sink_takes_only_the_sessions_own_handle() {
    let (door, handle) = sealed();
    let other = Credentials::sealed(&"0123456789abcdef0123456789abcdef".parse().unwrap());
    for wrong in ["", &handle[1..], &format!("{handle}x"), other.handle.text().expose_secret(), "rt-of-somebody"] {
        let (status, answer) = door.post(TOKEN_SINK, None, form(wrong).to_string()).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (401, Some("refresh_token_invalidated")), "{wrong}");
        assert!(answer.get("access_token").is_none());
    }
    let without = open();
    assert_eq!(without.post(TOKEN_SINK, None, form(&handle).to_string()).await.0, 401, "nothing was issued");
}

#[tokio::test]
async fn the_token_sink_takes_only_codexs_form() {
    let (door, handle) = sealed();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut form = form(&handle);
        change(&mut form);
        form.to_string()
    };
    let wrong = [
        with(&|form| form["client_id"] = "app_other".into()),
        with(&|form| form["grant_type"] = "authorization_code".into()),
        with(&|form| form["refresh_reason"] = "curiosity".into()),
        with(&|form| form["scope"] = "everything".into()),
        with(&|form| drop(form.as_object_mut().unwrap().remove("refresh_reason"))),
        with(&|form| form["refresh_token"] = json!([handle])),
        "[]".to_owned(),
        "grant_type=refresh_token".to_owned(),
    ];
    for wrong in wrong {
        let (status, answer) = door.post(TOKEN_SINK, None, wrong.clone()).await;
        assert!([400, 422].contains(&status), "{wrong}: {status}");
        assert_eq!(answer["error"]["code"], "invalid_request", "{wrong}");
        assert!(!answer.to_string().contains(&handle), "{answer}");
    }
    let long = with(&|form| form["refresh_token"] = "x".repeat(sink::MAX_FORM).into());
    assert_eq!(door.post(TOKEN_SINK, None, long).await.0, 413);
    let (status, _) = door.post("/oauth/revoke", None, form(&handle).to_string()).await;
    assert!([401, 404].contains(&status), "{status}");
}
