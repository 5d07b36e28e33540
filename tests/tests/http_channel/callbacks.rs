//! A webhook's replies, posted where it says.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use cofferdam::channels::http::book::{Hook, HookFormat};
use cofferdam::channels::http::signature;
use cofferdam::channels::{Channel, Piece, Receipt, SendError};
use cofferdam::model::chat::ChatRef;
use cofferdam::model::reply::ReplyKind;
use cofferdam_protocol::ids::TurnId;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::agent::{Agent, SECRET};
use super::world::World;

type Told = mpsc::UnboundedSender<(String, String)>;

/// Answers with the status in the address, and tells what came: the signature and the body.
async fn post(State(told): State<Told>, request: Request) -> impl IntoResponse {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let header = parts.headers.get(signature::HEADER).expect("signed").to_str().expect("text").to_owned();
    let _ = told.send((header, String::from_utf8(body.to_vec()).expect("text")));
    let status: u16 = parts.uri.path().rsplit('/').next().and_then(|status| status.parse().ok()).expect("a status");
    let status = axum::http::StatusCode::from_u16(status).expect("a status");
    (status, [("location", "/elsewhere/200"), ("retry-after", "7")])
}

async fn receiver() -> (String, mpsc::UnboundedReceiver<(String, String)>) {
    let (told, came) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let app = Router::new().fallback(post).with_state(told);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, came)
}

async fn send(world: &World, url: &str) -> Result<Receipt, SendError> {
    let callback = Some(url.parse().expect("an address"));
    let hook = Hook { callback, ..Agent::a_hook("ci", HookFormat::Plain) };
    world.agent.put_hook("ci", hook);
    let chat = ChatRef { channel: "http".into(), chat_id: "hook/ci".into(), thread_id: Some("t".into()) };
    let reply = world.agent.reply(&chat, TurnId(1), ReplyKind::Reply, "It is mended.");
    world.http.send(&reply, (0, &Piece::Whole), None).await
}

#[tokio::test]
async fn a_reply_is_posted_signed_and_with_its_key() {
    let (world, (url, mut came)) = (World::start().await, receiver().await);
    assert_eq!(send(&world, &format!("{url}/200")).await, Ok(Receipt::NONE));
    let (header, body) = came.recv().await.expect("a post");
    let at: i64 = header.strip_prefix("t=").and_then(|rest| rest.split(',').next()?.parse().ok()).expect("a time");
    assert_eq!(header, signature::sign_callback(&SECRET.into(), at, body.as_bytes()));
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let wanted =
        json!({"chat": "hook/ci", "thread": "t", "reply": "It is mended.", "key": "key-1", "kind": "reply"});
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn what_the_address_answers_decides_whether_it_is_tried_again() {
    let (world, (url, mut came)) = (World::start().await, receiver().await);
    for (status, refused) in [(404, true), (410, true), (408, false), (429, false), (500, false), (302, false)] {
        let sent = send(&world, &format!("{url}/token-of-the-address/{status}")).await.expect_err("not taken");
        assert_eq!(matches!(sent, SendError::Refused { .. }), refused, "{status}: {sent:?}");
        assert_eq!(matches!(sent, SendError::Later { .. }), !refused, "{status}: {sent:?}");
        let words = format!("{sent:?}");
        assert!(words.contains(&status.to_string()) && !words.contains("token-of-the-address"), "{words}");
    }
    let mut posts = 0;
    while came.try_recv().is_ok() {
        posts += 1;
    }
    assert_eq!(posts, 6, "no redirect was followed");
}

#[tokio::test]
async fn an_address_that_is_not_there_is_tried_again_and_not_shown() {
    let world = World::start().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let sent = send(&world, &format!("http://{gone}/hush")).await.expect_err("not taken");
    assert!(matches!(sent, SendError::Later { .. }) && !format!("{sent:?}").contains("hush"), "{sent:?}");
}

#[tokio::test]
async fn a_reply_for_nobody_counts_as_taken_and_one_for_a_hook_that_is_gone_is_refused() {
    let world = World::start().await;
    world.agent.hook("ci", HookFormat::Plain);
    let send = async |chat: &str| {
        let chat = ChatRef { channel: "http".into(), chat_id: chat.into(), thread_id: None };
        let reply = world.agent.reply(&chat, TurnId(1), ReplyKind::Reply, "x");
        Arc::clone(&world.http).send(&reply, (0, &Piece::Whole), None).await
    };
    assert_eq!(send("hook/ci").await, Ok(Receipt::NONE));
    assert_eq!(send("key/k").await, Ok(Receipt::NONE));
    assert!(matches!(send("hook/gone").await, Err(SendError::Refused { .. })));
    // One that was made again under its name.
    world.agent.put_hook("ci", Hook { chat_id: "hook/ci/2".into(), ..Agent::a_hook("ci", HookFormat::Plain) });
    assert!(matches!(send("hook/ci").await, Err(SendError::Refused { .. })));
    assert_eq!(send("hook/ci/2").await, Ok(Receipt::NONE));
}

#[tokio::test]
async fn what_is_posted_to_a_callback_cannot_come_back_as_a_call() {
    let (world, (url, mut came)) = (World::start().await, receiver().await);
    assert_eq!(send(&world, &format!("{url}/200")).await, Ok(Receipt::NONE));
    let (header, body) = came.recv().await.expect("a post");
    let call = world.client.post(format!("{}/hooks/ci", world.url)).header(signature::HEADER, header);
    let (status, _) = super::world::told(call.header("content-type", "text/plain").body(body)).await;
    assert_eq!((status, world.agent.messages().len()), (401, 0));
}
