//! What callers may cost: time, places and memory; and the end.

use std::time::Duration;

use cofferdam::channels::http::Limits;
use cofferdam::channels::http::book::HookFormat;
use cofferdam::channels::http::signature;
use cofferdam::channels::{Channel, State};
use cofferdam::clock::now_ms;
use cofferdam_tests::LIMIT;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::agent::{Act, SECRET, gate};
use super::world::{World, told};

/// Few places, and a sign of life now and then.
pub fn limits() -> Limits {
    Limits { calls_of_one: 2, calls: 3, keep_alive: Duration::from_millis(300), ..Limits::default() }
}

/// What comes on a connection after these bytes, until it is closed.
async fn sent(world: &World, bytes: &str) -> String {
    let mut stream = TcpStream::connect(world.address()).await.expect("a connection");
    stream.write_all(bytes.as_bytes()).await.expect("written");
    let mut text = Vec::new();
    let closed = timeout(LIMIT, stream.read_to_end(&mut text)).await;
    let _ = closed.expect("it is closed");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn who_sends_slowly_is_not_waited_for() {
    // Longer than a busy machine takes from a connection to its first bytes.
    let soon = Duration::from_secs(2);
    let world = World::with(Limits { head: soon, body: soon, ..Limits::default() }, json!({})).await;
    world.agent.hook("ci", HookFormat::Plain);
    let key = world.agent.key("k");
    assert_eq!(sent(&world, "").await, "", "nothing at all");
    let head = sent(&world, "POST /hooks/ci HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    let body = sent(&world, "POST /hooks/ci HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{").await;
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    let body = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 100\r\n\r\n{{"
    );
    let body = sent(&world, &body).await;
    assert!(body.starts_with("HTTP/1.1 408") && body.contains("\"error\""), "{body}");
    assert_eq!(world.agent.refused(), ["hook/ci too-slow", "key/k too-slow"]);
}

#[tokio::test]
async fn a_key_has_so_many_calls_at_once_and_all_together_have() {
    let world = World::with(limits(), json!({})).await;
    let (one, two) = (world.agent.key("one"), world.agent.key("two"));
    let gate = gate();
    world.agent.script("wait", [Act::Until(gate.clone()), Act::Say(vec!["ok"])]);
    let ask = |key: &str| world.api(key, "responses", &json!({"model": "demo", "input": "wait"}));
    let mut waiting: Vec<_> = [ask(&one), ask(&one)].into_iter().map(|call| tokio::spawn(told(call))).collect();
    world.agent.has_taken(2).await;
    let refused = async |key: &str| {
        let answer = ask(key).send().await.expect("an answer");
        assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].as_bytes()), (429, &b"5"[..]));
        let body: serde_json::Value = answer.json().await.expect("JSON");
        assert_eq!(body["error"]["type"], "rate_limit_error");
    };
    refused(&one).await;
    waiting.push(tokio::spawn(told(ask(&two))));
    world.agent.has_taken(3).await;
    refused(&two).await;
    gate.add_permits(4);
    for waiting in waiting {
        assert_eq!(waiting.await.expect("no panic").0, 200);
    }
    assert_eq!(told(ask(&one)).await.0, 200, "places are free again");
}

#[tokio::test]
async fn bodies_have_so_much_memory_together() {
    let world = World::with(Limits { memory: 256 * 1024, ..Limits::default() }, json!({})).await;
    let key = world.agent.key("k");
    let ask = |length: usize| world.api(&key, "responses", &json!({"model": "demo", "input": "a".repeat(length)}));
    assert_eq!(told(ask(300 * 1024)).await.0, 429);
    assert_eq!(told(ask(100 * 1024)).await.0, 200);
    assert_eq!(told(ask(100 * 1024)).await.0, 200, "it is given back");
}

/// A call of a webhook that sends some of its body and then nothing.
async fn slow(world: &World, name: &str, sends: usize) -> TcpStream {
    let mut stream = TcpStream::connect(world.address()).await.expect("a connection");
    let head = format!("POST /hooks/{name} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&vec![b'a'; sends]).await.expect("sent");
    stream
}

/// What a call without a signature is answered: the status, its headers' names and its words.
async fn unsigned(world: &World, name: &str) -> (u16, Vec<String>, String) {
    let call = world.client.post(format!("{}/hooks/{name}", world.url)).body("x");
    let answer = call.send().await.expect("an answer");
    let mut headers: Vec<String> = answer.headers().keys().map(ToString::to_string).collect();
    headers.sort();
    (answer.status().as_u16(), headers, answer.text().await.expect("a body"))
}

fn right(world: &World, name: &str, text: &str) -> reqwest::RequestBuilder {
    let body = json!({ "text": text }).to_string();
    let signature = signature::sign(&SECRET.into(), now_ms() / 1000, body.as_bytes());
    let call = world.client.post(format!("{}/hooks/{name}", world.url)).header(signature::HEADER, signature);
    call.header("content-type", "application/json").body(body)
}

/// Few places and little memory, so that two names could take all that webhooks have.
fn few() -> Limits {
    let kib = 1024;
    Limits {
        unsigned: 4,
        unsigned_of_one: 2,
        unsigned_memory: 256 * kib,
        unsigned_memory_of_one: 128 * kib,
        unsigned_body: LIMIT,
        ..Limits::default()
    }
}

#[tokio::test]
async fn strangers_hold_up_no_webhook_neither_its_places_nor_its_memory() {
    let world = World::with(few(), json!({})).await;
    world.agent.hook("ci", HookFormat::Plain);
    let mut strangers = Vec::new();
    for number in 0..8 {
        let name = format!("nobody-{number}");
        strangers.push(slow(&world, &name, 100_000).await);
        // Its name's memory is taken, and with it that of all webhooks, were it theirs.
        while unsigned(&world, &name).await.0 != 429 {}
    }
    assert_eq!(told(right(&world, "ci", "x")).await.0, 202);
    assert_eq!(unsigned(&world, "ci").await, unsigned(&world, "another").await);
    assert_eq!(unsigned(&world, "ci").await.0, 401);
}

#[tokio::test]
async fn who_fills_a_names_places_or_memory_does_not_learn_whether_it_is_there() {
    let world = World::with(few(), json!({})).await;
    world.agent.hook("ci", HookFormat::Plain);
    world.agent.hook("other", HookFormat::Plain);
    // So many bodies, and of so many bytes: memory, and places.
    for (calls, sends) in [(1, 100_000), (2, 10)] {
        let mut answers = Vec::new();
        let mut held = Vec::new();
        for name in ["ci", "nobody"] {
            for _ in 0..calls {
                held.push(slow(&world, name, sends).await);
            }
            while unsigned(&world, name).await.0 != 429 {}
            answers.push(unsigned(&world, name).await);
        }
        assert_eq!(answers[0], answers[1], "{calls}");
        assert_eq!(told(right(&world, "other", "x")).await.0 / 100, 2, "another has its own");
        drop(held);
        for name in ["ci", "nobody"] {
            while unsigned(&world, name).await.0 != 401 {}
        }
    }
}

#[tokio::test]
async fn a_key_that_calls_without_end_is_told_to_come_later_and_another_is_not() {
    let world = World::start().await;
    let (key, other) = (world.agent.key("k"), world.agent.key("other"));
    let mut taken = 0;
    // Nothing that the agent does: each call counts. The next one after a refusal may be allowed again.
    let answer = loop {
        let answer = world.api(&key, "responses", &json!({})).send().await.expect("an answer");
        if answer.status() != 400 {
            break answer;
        }
        taken += 1;
        assert!(taken < 5000, "it has no pace");
    };
    assert!(taken >= 600, "{taken}");
    assert!(answer.status() == 429 && answer.headers().contains_key("retry-after"), "{answer:?}");
    assert_eq!(world.ask(&other, "responses", json!({"model": "demo", "input": "x"})).await.0, 200);
    assert!(world.agent.refused().contains(&"key/k flood".to_owned()));
}

#[tokio::test]
async fn a_webhook_that_calls_without_end_is_told_to_come_later_and_another_is_not() {
    let world = World::start().await;
    world.agent.hook("ci", HookFormat::Plain);
    world.agent.hook("other", HookFormat::Plain);
    let call = async |name: &str, number: usize| told(right(&world, name, &number.to_string())).await.0;
    let mut taken = 0;
    // The next one after a refusal may be allowed again.
    let refused = loop {
        match call("ci", taken).await {
            202 => taken += 1,
            status => break status,
        }
        assert!(taken < 1000, "it has no pace");
    };
    assert!(taken >= 100, "{taken}");
    assert_eq!(refused, 429);
    assert_eq!(world.agent.remembered(), taken, "what was not let in pushes nothing out");
    assert_eq!(call("other", 1).await, 202);
    assert!(world.agent.refused().contains(&"hook/ci flood".to_owned()));
}

#[tokio::test]
async fn a_body_of_very_many_values_is_refused_before_they_are_read() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let many = vec![0; 300_001];
    let body = json!({"model": "demo", "input": "x", "metadata": many});
    let (status, answer) = told(world.api(&key, "responses", &body)).await;
    assert!(status == 400 && answer.to_string().contains("too many values"), "{answer}");
}

#[tokio::test]
async fn a_request_of_more_than_20_mib_is_refused() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let head = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 20971521\r\n\r\n"
    );
    let answer = sent(&world, &head).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn deep_json_is_an_error_and_no_end() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let call =
        world.client.post(format!("{}/v1/responses", world.url)).bearer_auth(&key).body("[".repeat(1_000_000));
    assert_eq!(told(call).await.0, 400);
}

#[tokio::test]
async fn at_the_end_new_calls_are_sent_away_and_waiting_ones_go_on_until_it_closes() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let gate = gate();
    world.agent.script("soon", [Act::Until(gate.clone()), Act::Say(vec!["ok"])]);
    world.agent.script("never", [Act::Until(super::agent::gate())]);
    let ask = |text: &str| world.api(&key, "responses", &json!({"model": "demo", "input": text}));
    let (soon, never) = (tokio::spawn(told(ask("soon"))), tokio::spawn(told(ask("never"))));
    let streams = world.api(&key, "responses", &json!({"model": "demo", "input": "never", "stream": true}));
    let streams = tokio::spawn(async move { streams.send().await.expect("an answer").text().await });
    world.agent.has_taken(3).await;
    world.stop.cancel();
    cofferdam_tests::eventually("new calls are sent away", || async {
        let answer = ask("more").send().await.expect("an answer");
        let again = answer.headers().contains_key("retry-after");
        (answer.status() == 503 && again).then_some(())
    })
    .await;
    gate.add_permits(1);
    assert_eq!(soon.await.expect("no panic").0, 200, "it still gets its answer");
    timeout(LIMIT, world.http.close()).await.expect("in time");
    let (status, error) = never.await.expect("no panic");
    assert_eq!((status, &error["error"]["type"]), (503, &json!("server_error")));
    let events = streams.await.expect("no panic").expect("a body");
    assert!(events.contains("event: error\n") && events.contains("is ending"), "{events}");
    assert!(TcpStream::connect(world.address()).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_and_tried_again() {
    let first = World::start().await;
    let second = cofferdam::channels::http::Http::new(
        "two",
        json!({"listen": first.address()}),
        first.book(),
        &cofferdam::trust::Trust::MACHINE,
    );
    let second = std::sync::Arc::new(second.expect("a channel"));
    let (runs, stop, inbox) = (second.clone(), first.stop.clone(), first.inbox());
    let runs = tokio::spawn(async move { runs.run(inbox, stop).await });
    let why = cofferdam_tests::eventually("it says why", || async {
        match second.state() {
            State::Waiting { why, .. } => Some(why),
            _ => None,
        }
    })
    .await;
    assert!(why.contains(first.address()), "{why}");
    first.http.close().await;
    let address = timeout(LIMIT, second.listening()).await.expect("in time").expect("an address");
    assert_eq!((address.to_string().as_str(), second.state()), (first.address(), State::Connected));
    first.stop.cancel();
    runs.await.expect("no panic");
}
