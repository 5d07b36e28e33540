//! Against a fake of the vendor: a small HTTP server on loopback that answers as each test says.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::*;

const KEY: &str = "sk-host-0123456789";

/// Limits that no test reaches by accident.
const PATIENT: Limits = Limits {
    trust: Trust::MACHINE,
    connect: Duration::from_secs(60),
    headers: Duration::from_secs(60),
    stall: Duration::from_secs(60),
};
/// Limits for upstreams that never answer.
const HASTY: Limits = Limits { headers: Duration::from_millis(50), stall: Duration::from_millis(50), ..PATIENT };

/// The fake vendor; its base URL. It stops with the test's runtime.
async fn vendor<F, Fut>(answer: F) -> String
where
    F: Fn(Request<Body>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    base
}

fn gateway(base: &str, limits: Limits) -> Gateway {
    let account = Account::open_ai(base, KEY.into()).unwrap();
    Gateway::with_limits(account, limits).unwrap()
}

fn answer(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).body(body.into()).unwrap()
}

fn call() -> Request<Body> {
    post("/v1/responses", "{\"input\":\"the secret plan\"}")
}

/// Says when it is dropped.
struct Guard(Option<oneshot::Sender<()>>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.take().unwrap().send(());
    }
}

#[tokio::test]
async fn the_hosts_key_replaces_whatever_the_container_sends() {
    let (seen_by, mut seen) = mpsc::unbounded_channel();
    let base = vendor(move |request| {
        let (parts, body) = request.into_parts();
        let seen_by = seen_by.clone();
        async move {
            let body = body.collect().await.unwrap().to_bytes();
            seen_by.send((parts, body)).unwrap();
            answer(200, "{}")
        }
    })
    .await;
    let mut request = call();
    for (name, value) in [
        ("authorization", "Bearer placeholder"),
        ("cookie", "a=b"),
        ("chatgpt-account-id", "acc"),
        ("openai-organization", "org"),
        ("x-api-key", "k"),
        ("proxy-authorization", "p"),
        ("x-codex-window-id", "w"),
        ("session-id", "s"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    assert_eq!(gateway(&format!("{base}/"), PATIENT).handle(&caller(), request).await.status(), 200);
    let (parts, body) = seen.recv().await.unwrap();
    assert_eq!(parts.uri.path(), "/v1/responses");
    assert_eq!(body, "{\"input\":\"the secret plan\"}");
    assert_eq!(parts.headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(
        (&parts.headers["x-codex-window-id"], &parts.headers["session-id"]),
        (&"w".parse().unwrap(), &"s".parse().unwrap())
    );
    for dropped in ["cookie", "chatgpt-account-id", "openai-organization", "x-api-key", "proxy-authorization"] {
        assert!(!parts.headers.contains_key(dropped), "{dropped}");
    }
}

#[tokio::test]
async fn the_models_call_keeps_its_query() {
    let base =
        vendor(|request| async move { answer(200, format!("{} {}", request.method(), request.uri())) }).await;
    let get = Request::get("/v1/models?client_version=1").body(Body::empty()).unwrap();
    assert_eq!(text(gateway(&base, PATIENT).handle(&caller(), get).await).await, "GET /v1/models?client_version=1");
}

#[tokio::test]
async fn only_listed_response_headers_reach_the_container() {
    let base = vendor(|_| async {
        let mut response = answer(200, "{}");
        for name in ["set-cookie", "server", "openai-organization", "x-codex-a", "x-request-id", "openai-version"] {
            response.headers_mut().insert(name, "v".parse().unwrap());
        }
        response.headers_mut().insert("x-codex-echo", format!("Bearer {KEY}").parse().unwrap());
        response
    })
    .await;
    let response = gateway(&base, PATIENT).handle(&caller(), call()).await;
    let mut names: Vec<_> = response.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["openai-version", "x-codex-a", "x-request-id"]);
}

#[tokio::test]
async fn a_piece_reaches_the_container_while_the_upstream_holds_the_next_back() {
    let (send, pieces) = mpsc::unbounded_channel::<&'static str>();
    let pieces = Arc::new(Mutex::new(Some(pieces)));
    let base = vendor(move |_| {
        let pieces = pieces.lock().unwrap().take().unwrap();
        async move {
            let next = |mut pieces: mpsc::UnboundedReceiver<_>| async {
                Some((Ok::<_, io::Error>(pieces.recv().await?), pieces))
            };
            answer(200, Body::from_stream(stream::unfold(pieces, next)))
        }
    })
    .await;
    send.send("data: one\n\n").unwrap();
    let response = gateway(&base, PATIENT).handle(&caller(), call()).await;
    let mut body = response.into_body().into_data_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "data: one\n\n");
    send.send("data: two\n\n").unwrap();
    assert_eq!(body.next().await.unwrap().unwrap(), "data: two\n\n");
    drop(send);
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn dropping_the_answer_cancels_the_upstream() {
    let (gone, cancelled) = oneshot::channel();
    let guard = Arc::new(Mutex::new(Some(Guard(Some(gone)))));
    let base = vendor(move |_| {
        let guard = guard.lock().unwrap().take();
        async move {
            let first = stream::once(async { Ok::<_, io::Error>("data: one\n\n") });
            let rest = stream::pending().map(move |piece| {
                let _held = &guard;
                piece
            });
            answer(200, Body::from_stream(first.chain(rest)))
        }
    })
    .await;
    let response = gateway(&base, PATIENT).handle(&caller(), call()).await;
    let mut body = response.into_body().into_data_stream();
    body.next().await.unwrap().unwrap();
    drop(body);
    cancelled.await.unwrap();
}

#[tokio::test]
async fn dropping_a_call_before_its_answer_cancels_the_upstream() {
    let (gone, cancelled) = oneshot::channel();
    let (arrived_at, mut arrived) = mpsc::unbounded_channel();
    let guard = Arc::new(Mutex::new(Some(Guard(Some(gone)))));
    let base = vendor(move |_| {
        let guard = guard.lock().unwrap().take();
        arrived_at.send(()).unwrap();
        async move {
            let _held = guard;
            std::future::pending().await
        }
    })
    .await;
    let gateway = gateway(&base, PATIENT);
    let caller = caller();
    tokio::select! {
        _ = gateway.handle(&caller, call()) => panic!("answered"),
        _ = arrived.recv() => {}
    }
    cancelled.await.unwrap();
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_504() {
    let base = vendor(|_| std::future::pending()).await;
    let response = gateway(&base, HASTY).handle(&caller(), call()).await;
    assert_eq!(response.status(), 504);
    assert_eq!(error_of(response).await["code"], "upstream_timeout");
}

#[tokio::test]
async fn a_stream_that_stalls_breaks_off_after_what_came() {
    let base = vendor(|_| async {
        let first = stream::once(async { Ok::<_, io::Error>("data: one\n\n") });
        answer(200, Body::from_stream(first.chain(stream::pending())))
    })
    .await;
    // Hasty only between pieces: the first answer may take its time.
    let limits = Limits { stall: HASTY.stall, ..PATIENT };
    let mut body = gateway(&base, limits).handle(&caller(), call()).await.into_body().into_data_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "data: one\n\n");
    assert!(body.next().await.unwrap().is_err());
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_502() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let response = gateway(&base, PATIENT).handle(&caller(), call()).await;
    assert_eq!(response.status(), 502);
    let error = error_of(response).await;
    assert_eq!(error["code"], "upstream_unreachable");
    assert!(error["message"].as_str().unwrap().contains("OPENAI_BASE_URL"), "{error}");
}

#[test]
fn an_account_shows_neither_key_nor_password() {
    let account = Account::OpenAi { base_url: "https://me:hunter2@host/v1".parse().unwrap(), key: KEY.into() };
    let shown = format!("{account:?}");
    assert!(shown.contains("host") && !shown.contains("hunter2") && !shown.contains(KEY), "{shown}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let base = vendor(|request| async move {
        assert_eq!(request.uri().path(), "/v1/responses");
        Response::builder().status(307).header("location", "/elsewhere").body(Body::empty()).unwrap()
    })
    .await;
    let response = gateway(&base, PATIENT).handle(&caller(), call()).await;
    assert_eq!(response.status(), 502);
    assert!(!response.headers().contains_key("location"));
    assert_eq!(error_of(response).await["code"], "upstream_redirect");
}

/// What the gateway logs, down to the finest level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_key_is_in_no_answer_and_no_log_however_it_is_echoed() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    // With a single dispatcher, tracing asks whichever thread reaches a log line first whether it is wanted, and
    // caches the answer: tests in other threads would silence this one. A second dispatcher turns that off.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    for status in [200, 400, 401, 403, 500] {
        let base = vendor(move |request| async move {
            let echo = format!("you sent {:?}", request.headers()["authorization"].to_str().unwrap());
            let halves = [echo[..20].to_owned(), echo[20..].to_owned()].map(Ok::<_, io::Error>);
            answer(status, Body::from_stream(stream::iter(halves)))
        })
        .await;
        let gateway = gateway(&base, PATIENT);
        let response = gateway.handle(&caller(), call()).await;
        assert_eq!(response.status(), status);
        let body = text(response).await;
        assert!(!body.contains(KEY), "{status}: {body}");
        assert!(status == 401 || body.contains("Bearer [redacted]"), "{status}: {body}");
        assert!(!format!("{gateway:?} {}", gateway.account_name()).contains(KEY));
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("model call refused by the endpoint"), "{log}");
    assert!(!log.contains(KEY), "the key is in the log");
    assert!(!log.contains("the secret plan"), "a request's body is in the log");
}
