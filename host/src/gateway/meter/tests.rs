//! Calls over the offline model and over a fake of the vendor, and what is written down of them.

use std::io;

use axum::Router;
use cofferdam_protocol::admin::Tokens;
use futures_util::{StreamExt, stream};
use http::Request;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;
use crate::config::home::Home;
use crate::gateway::{Account, Gateway};
use crate::store::Stores;

struct Fixture {
    _dir: tempfile::TempDir,
    stores: Stores,
    ledger: Ledger,
    gateway: Gateway,
}

fn caller() -> Caller {
    Caller {
        group: "demo".parse().unwrap(),
        session: "0123456789abcdef0123456789abcdef".parse().unwrap(),
        serving: Default::default(),
    }
}

impl Fixture {
    async fn of(account: Account) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let stores = Stores::open(home.clone()).unwrap();
        stores.central().put_group(&caller().group, "{}".into(), String::new()).await.unwrap();
        let ledger = Ledger::start(stores.clone(), home);
        let gateway = Gateway::new(account).unwrap().with_ledger(ledger.clone());
        Self { _dir: dir, stores, ledger, gateway }
    }

    async fn offline() -> Self {
        Self::of(Account::Offline).await
    }

    /// Against a vendor that answers each call with this.
    async fn vendor<A>(answer: A) -> Self
    where
        A: Fn() -> Response<Body> + Clone + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let answer = move || std::future::ready(answer());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Self::of(Account::open_ai(&base, "key".into()).unwrap()).await
    }

    async fn ask(&self, path: &str, body: serde_json::Value) -> Response<Body> {
        let request = Request::post(path).body(body.to_string().into()).unwrap();
        self.gateway.handle(&caller(), request).await
    }

    /// Asks, reads the answer to its end, whatever that is, and answers with what was written down.
    async fn noted(&self, path: &str, body: serde_json::Value) -> CallRow {
        let answer = self.ask(path, body).await;
        let _ = answer.into_body().collect().await;
        self.newest().await
    }

    async fn activity(&self) -> Vec<CallRow> {
        self.ledger.settle().await;
        self.stores.group(&caller().group).await.unwrap().activity(100).await.unwrap()
    }

    async fn newest(&self) -> CallRow {
        self.activity().await.swap_remove(0)
    }
}

fn says(text: &str, stream: bool) -> serde_json::Value {
    serde_json::json!({"model": "sol", "stream": stream, "input": text})
}

fn answered(content: &'static str) -> impl Fn() -> Response<Body> + Clone + Send + Sync + 'static {
    move || Response::new(Body::from(content))
}

#[tokio::test]
async fn a_stream_and_a_whole_answer_are_counted_alike() {
    let f = Fixture::offline().await;
    for stream in [true, false] {
        let call = f.noted("/v1/responses", says("!usage 1234\n!say hi", stream)).await;
        assert_eq!((call.outcome, call.why.as_deref()), (CallOutcome::Completed, None));
        assert_eq!((call.account.unwrap().as_str(), call.model.as_deref()), ("offline", Some("sol")));
        assert_eq!(call.tokens.unwrap().input_tokens, 1234);
        assert!(call.tokens.unwrap().output_tokens > 0);
    }
    let call = f.noted("/v1/responses/compact", says("hello", false)).await;
    assert_eq!((call.route.as_str(), call.outcome), ("responses/compact", CallOutcome::Completed));
    assert!(call.tokens.unwrap().input_tokens > 0);
}

#[tokio::test]
async fn a_stream_that_ends_otherwise_says_how() {
    let f = Fixture::offline().await;
    for (script, outcome, why) in [
        ("!fail 429", CallOutcome::Failed, "429 rate_limit_exceeded"),
        ("!fail 500", CallOutcome::Failed, "500 server_error"),
        ("!fail 400 context_length_exceeded", CallOutcome::Failed, "context_length_exceeded"),
        ("!cut", CallOutcome::Cut, "cut off, as the message asked"),
    ] {
        let call = f.noted("/v1/responses", says(script, true)).await;
        assert_eq!((call.outcome, call.why.as_deref()), (outcome, Some(why)), "{script}");
        assert_eq!(call.tokens, None);
    }
}

#[tokio::test]
async fn a_container_that_goes_away_has_given_its_call_up() {
    let f = Fixture::offline().await;
    let answer = f.ask("/v1/responses", says("!say one\n!hang", true)).await;
    let mut body = answer.into_body().into_data_stream();
    body.next().await.unwrap().unwrap();
    drop(body);
    let call = f.newest().await;
    assert_eq!((call.outcome, call.why.as_deref()), (CallOutcome::GivenUp, Some("while the answer came")));
    let unanswered =
        tokio::time::timeout(std::time::Duration::from_millis(1), f.ask("/v1/responses", says("!hang", true)));
    assert!(unanswered.await.is_err());
    let call = f.newest().await;
    assert_eq!((call.outcome, call.why.as_deref()), (CallOutcome::GivenUp, Some("before an answer came")));
    assert_eq!(call.account, None);
}

#[tokio::test]
async fn only_calls_that_cost_are_written_down() {
    let f = Fixture::offline().await;
    let models = Request::get("/v1/models").body(Body::empty()).unwrap();
    assert_eq!(f.gateway.handle(&caller(), models).await.status(), 200);
    let hosted = serde_json::json!({"input": "x", "tools": [{"type": "web_search"}]});
    assert_eq!(f.ask("/v1/responses", hosted).await.status(), 403);
    assert_eq!(f.activity().await, []);
}

#[tokio::test]
async fn what_an_account_could_not_serve_is_nobodys() {
    let f = Fixture::vendor(|| {
        let error = r#"{"error": {"message": "m", "type": "usage_limit_reached", "code": null}}"#;
        Response::builder().status(429).body(Body::from(error)).unwrap()
    })
    .await;
    let call = f.noted("/v1/responses", says("x", true)).await;
    assert_eq!((call.outcome, call.why.as_deref()), (CallOutcome::Failed, Some("429 usage_limit_reached")));
    assert_eq!((call.account, call.missed.len()), (None, 1));
    assert_eq!(call.missed[0].why, "its limit is reached (429)");
}

const COMPLETED: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":\"luna\",\
    \"usage\":{\"input_tokens\":9,\"output_tokens\":2}}}\n\n";

#[tokio::test]
async fn the_vendors_name_of_the_model_counts() {
    let f = Fixture::vendor(answered(COMPLETED)).await;
    assert_eq!(f.noted("/v1/responses", says("x", true)).await.model.as_deref(), Some("luna"));
}

#[tokio::test]
async fn a_stream_without_its_last_event_is_cut_also_when_it_ends_in_order() {
    let f = Fixture::vendor(answered("data: {\"type\":\"response.created\"}\n\n")).await;
    let call = f.noted("/v1/responses", says("x", true)).await;
    assert_eq!((call.outcome, call.account.is_some(), call.tokens), (CallOutcome::Cut, true, None));
}

/// What a turn cost is known when its container knows that the turn is over.
#[tokio::test]
async fn a_call_is_told_before_its_last_event_is_passed_on() {
    let f = Fixture::vendor(|| {
        let never_ends = stream::iter([Ok::<_, io::Error>(COMPLETED)]).chain(stream::pending());
        Response::new(Body::from_stream(never_ends))
    })
    .await;
    let answer = f.ask("/v1/responses", says("x", true)).await;
    let mut body = answer.into_body().into_data_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), COMPLETED);
    let call = f.newest().await;
    let tokens = Tokens { input_tokens: 9, output_tokens: 2, ..Tokens::default() };
    assert_eq!((call.outcome, call.tokens), (CallOutcome::Completed, Some(tokens)));
    drop(body);
    assert_eq!(f.activity().await.len(), 1, "once");
}

#[tokio::test]
async fn an_answer_that_is_encoded_passes_uncounted() {
    let f = Fixture::vendor(|| {
        Response::builder().header("content-encoding", "zstd").body(Body::from(COMPLETED)).unwrap()
    })
    .await;
    let answer = f.ask("/v1/responses", says("x", true)).await;
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), COMPLETED);
    let call = f.newest().await;
    assert_eq!((call.outcome, call.tokens), (CallOutcome::Completed, None));
}

#[tokio::test]
async fn a_body_is_passed_on_as_it_is_with_its_length() {
    let f = Fixture::offline().await;
    let answer = f.ask("/v1/responses", says("!say hi", false)).await;
    let told = answer.body().size_hint().exact().unwrap();
    assert_eq!(told, answer.into_body().collect().await.unwrap().to_bytes().len() as u64);
}

/// The meter sees a piece when the container takes it, and holds none back.
#[tokio::test]
async fn a_piece_is_passed_on_while_the_next_is_held_back() {
    let (go, gone) = oneshot::channel::<()>();
    let gone = std::sync::Arc::new(std::sync::Mutex::new(Some(gone)));
    let f = Fixture::vendor(move || {
        let gone = gone.lock().unwrap().take().unwrap();
        let held = stream::once(async move {
            gone.await.unwrap();
            Ok(COMPLETED)
        });
        Response::new(Body::from_stream(stream::iter([Ok::<_, io::Error>("data: {}\n\n")]).chain(held)))
    })
    .await;
    let mut body = f.ask("/v1/responses", says("x", true)).await.into_body().into_data_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "data: {}\n\n");
    go.send(()).unwrap();
    assert_eq!(body.next().await.unwrap().unwrap(), COMPLETED);
}

#[test]
fn a_model_is_found_wherever_the_request_has_it_and_odd_names_are_none() {
    let late = serde_json::json!({"input": [{"model": "inner", "text": "x".repeat(10_000)}], "model": "sol"});
    assert_eq!(model_of_request(late.to_string().as_bytes()).as_deref(), Some("sol"));
    for odd in [r#"{"model": "a b"}"#, r#"{"model": 7}"#, r#"{"model": ""}"#, r#"{"model": "\u001b[2J"}"#, "[", ""]
    {
        assert_eq!(model_of_request(odd.as_bytes()), None, "{odd}");
    }
    assert_eq!(model_name(&"m".repeat(129)), None);
}
