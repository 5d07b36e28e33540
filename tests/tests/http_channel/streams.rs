//! Answers as they come.

use cofferdam::channels::Taken;
use cofferdam::channels::http::Limits;
use serde_json::{Value, json};
use std::time::Duration;

use super::agent::{Act, gate};
use super::world::{World, told};

/// The events of a stream, as their names and their data.
pub fn events(text: &str) -> Vec<(String, Value)> {
    let blocks = text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':'));
    blocks
        .map(|block| {
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(ToOwned::to_owned);
            let data = field("data: ").expect("data");
            let data = serde_json::from_str(&data).unwrap_or(Value::String(data));
            (field("event: ").unwrap_or_default(), data)
        })
        .collect()
}

pub async fn stream(world: &World, key: &str, path: &str, mut body: Value) -> Vec<(String, Value)> {
    body["model"] = json!("demo");
    body["stream"] = json!(true);
    let answer = world.api(key, path, &body).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-type"].to_str().expect("text").starts_with("text/event-stream"));
    events(&answer.text().await.expect("a body"))
}

fn chat(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

const GROWS: [Act; 5] =
    [Act::Draft("I look"), Act::Draft("I look."), Act::Draft("It "), Act::Draft("It is"), Act::Draft("It is so")];

fn grows(last: Act) -> Vec<Act> {
    GROWS.into_iter().chain([last]).collect()
}

#[tokio::test]
async fn a_completion_grows_in_chunks_and_is_whole() {
    let world = World::start().await;
    let key = world.agent.key("k");
    world.agent.script("go", grows(Act::Say(vec!["It is so."])));
    let events = stream(&world, &key, "chat/completions", chat("go")).await;
    let (last, chunks) = events.split_last().expect("events");
    assert_eq!(last.1, json!("[DONE]"));
    assert!(chunks.iter().all(|(name, chunk)| name.is_empty() && chunk["object"] == "chat.completion.chunk"));
    assert!(chunks.iter().all(|(_, chunk)| chunk["id"] == chunks[0].1["id"] && chunk.get("usage").is_none()));
    let delta = |at: usize| &chunks[at].1["choices"][0]["delta"];
    assert_eq!(delta(0), &json!({"role": "assistant", "content": ""}));
    let said: String =
        chunks.iter().filter_map(|(_, chunk)| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    // Drafts that nobody saw in time may be missing; what the agent says in the end is not.
    assert!(said.ends_with("It is so.") && said.matches("It is so.").count() == 1, "{said:?}");
    let end = &chunks[chunks.len() - 1].1["choices"][0];
    assert_eq!((&end["finish_reason"], &end["delta"]), (&json!("stop"), &json!({})));
    // What was streamed is the history that the client sends next.
    let next = json!([{"role": "user", "content": "go"}, {"role": "assistant", "content": said},
        {"role": "user", "content": "next"}]);
    world.chat(&key, next).await;
    let threads = world.agent.threads();
    assert_eq!(threads[0], threads[1]);
}

#[tokio::test]
async fn a_stream_of_a_completion_tells_what_it_took_when_it_is_asked_to() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let mut body = chat("go");
    body["stream_options"] = json!({"include_usage": true});
    let events = stream(&world, &key, "chat/completions", body).await;
    let [chunks @ .., (_, last), (_, done)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(done, &json!("[DONE]"));
    assert!(chunks.len() > 2 && chunks.iter().all(|(_, chunk)| chunk["usage"].is_null()), "{chunks:?}");
    assert!(chunks.iter().all(|(_, chunk)| chunk.get("usage").is_some()), "{chunks:?}");
    assert_eq!(chunks[chunks.len() - 1].1["choices"][0]["finish_reason"], "stop");
    assert_eq!((&last["choices"], &last["object"]), (&json!([]), &json!("chat.completion.chunk")));
    let usage = json!({"prompt_tokens": 1200, "completion_tokens": 34, "total_tokens": 1234,
        "prompt_tokens_details": {"cached_tokens": 1000}, "completion_tokens_details": {"reasoning_tokens": 20}});
    assert_eq!(last["usage"], usage);
    world.agent.answers("/status", Ok(Taken::Done("All is well.".into())));
    let mut body = chat("/status");
    body["stream_options"] = json!({"include_usage": true});
    let events = stream(&world, &key, "chat/completions", body).await;
    assert_eq!(events[events.len() - 2].1["usage"]["total_tokens"], 0, "what a command does takes nothing");
}

#[tokio::test]
async fn a_response_has_its_events_in_order() {
    let world = World::start().await;
    let key = world.agent.key("k");
    world.agent.script("go", grows(Act::Say(vec!["It is so."])));
    let events = stream(&world, &key, "responses", json!({"input": "go", "metadata": {"a": "b"}})).await;
    let mut names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    for (at, (name, event)) in events.iter().enumerate() {
        assert_eq!(
            (event["type"].as_str(), event["sequence_number"].as_u64()),
            (Some(name.as_str()), Some(at as u64))
        );
    }
    names.dedup();
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed"
        ]
    );
    let deltas: String = events.iter().filter_map(|(_, event)| event["delta"].as_str()).collect();
    let of = |name: &str| &events.iter().find(|(is, _)| is == name).expect("the event").1;
    assert_eq!(of("response.output_text.done")["text"], json!(deltas));
    let response = &of("response.completed")["response"];
    assert_eq!(response["output"][0]["content"][0]["text"], json!(deltas));
    assert_eq!((&response["status"], &response["metadata"]), (&json!("completed"), &json!({"a": "b"})));
    assert_eq!(response["id"], of("response.created")["response"]["id"]);
    assert_eq!(
        (&response["usage"]["input_tokens"], &response["usage"]["total_tokens"]),
        (&json!(1200), &json!(1234))
    );
    assert!(of("response.created")["response"]["usage"].is_null(), "what it takes is known in the end");
}

#[tokio::test]
async fn words_come_while_the_turn_still_works() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let (begin, end) = (gate(), gate());
    let acts = vec![
        Act::Until(begin.clone()),
        Act::Post("I begin."),
        Act::Draft("Nearly"),
        Act::Until(end.clone()),
        Act::Say(vec!["Nearly done."]),
    ];
    world.agent.script("go", acts);
    let mut body = chat("go");
    (body["model"], body["stream"]) = (json!("demo"), json!(true));
    let mut answer = world.api(&key, "chat/completions", &body).send().await.expect("an answer");
    begin.add_permits(1);
    let mut text = String::new();
    while !text.contains("Nearly") {
        text += &String::from_utf8_lossy(&answer.chunk().await.expect("a body").expect("more"));
    }
    assert!(text.contains("I begin."));
    end.add_permits(1);
    while let Some(more) = answer.chunk().await.expect("a body") {
        text += &String::from_utf8_lossy(&more);
    }
    let said: String = events(&text)
        .iter()
        .filter_map(|(_, chunk)| chunk["choices"][0]["delta"]["content"].as_str().map(ToOwned::to_owned))
        .collect();
    assert_eq!(said, "I begin.\n\nNearly done.");
}

#[tokio::test]
async fn words_of_another_turn_in_the_thread_are_not_shown() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let (first, second) = (gate(), gate());
    let acts = [Act::Until(first.clone()), Act::Draft("of one"), Act::Say(vec!["of one"])];
    world.agent.script("one", acts);
    world.agent.script("two", [Act::Until(second.clone()), Act::Say(vec!["of two"])]);
    let body =
        |text: &str| json!({"model": "demo", "input": text, "metadata": {"thread": "t"}, "stream": text == "two"});
    let one = tokio::spawn(told(world.api(&key, "responses", &body("one"))));
    world.agent.has_taken(1).await;
    let two = world.api(&key, "responses", &body("two")).send().await.expect("an answer");
    first.add_permits(1);
    world.agent.has_ended(1).await;
    assert_eq!(one.await.expect("no panic").1["output"][0]["content"][0]["text"], "of one");
    second.add_permits(1);
    let text = two.text().await.expect("a body");
    assert!(!text.contains("of one") && text.contains("of two"), "{text}");
}

#[tokio::test]
async fn a_turn_that_fails_ends_the_stream_in_an_error() {
    let world = World::start().await;
    let key = world.agent.key("k");
    world.agent.script("go", grows(Act::Fail("The turn failed: no.")));
    let completion = stream(&world, &key, "chat/completions", chat("go")).await;
    let (_, error) = completion.last().expect("events");
    assert_eq!(
        (&error["error"]["message"], &error["error"]["type"]),
        (&json!("The turn failed: no."), &json!("agent_error"))
    );
    let response = stream(&world, &key, "responses", json!({"input": "go"})).await;
    let (name, event) = response.last().expect("events");
    assert_eq!((name.as_str(), &event["response"]["status"]), ("response.failed", &json!("failed")));
    assert_eq!(event["response"]["error"]["message"], "The turn failed: no.");
}

#[tokio::test]
async fn a_quiet_stream_is_kept_alive() {
    let world = World::with(super::bounds::limits(), json!({})).await;
    let key = world.agent.key("k");
    let gate = gate();
    world.agent.script("go", [Act::Until(gate.clone()), Act::Say(vec!["ok"])]);
    let body = json!({"model": "demo", "input": "go", "stream": true});
    let mut answer = world.api(&key, "responses", &body).send().await.expect("an answer");
    let mut text = String::new();
    while text.matches("\n: ").count() < 2 {
        text += &String::from_utf8_lossy(&answer.chunk().await.expect("a body").expect("more"));
    }
    gate.add_permits(1);
    while let Some(more) = answer.chunk().await.expect("a body") {
        text += &String::from_utf8_lossy(&more);
    }
    assert_eq!(events(&text).last().expect("events").0, "response.completed");
}

#[tokio::test]
async fn who_leaves_ends_only_the_waiting_and_can_read_the_answer_later() {
    let limits = Limits { calls_of_one: 1, look: Duration::from_secs(600), ..Limits::default() };
    let world = World::with(limits, json!({})).await;
    let key = world.agent.key("k");
    let gate = gate();
    world.agent.script("go", [Act::Draft("so far"), Act::Until(gate.clone()), Act::Say(vec!["There."])]);
    let body = json!({"model": "demo", "input": "go", "stream": true});
    let mut answer = world.api(&key, "responses", &body).send().await.expect("an answer");
    let first = String::from_utf8_lossy(&answer.chunk().await.expect("a body").expect("more")).into_owned();
    let id = events(&first)[0].1["response"]["id"].as_str().expect("an id").to_owned();
    let get = || world.client.get(format!("{}/v1/responses/{id}", world.url)).bearer_auth(&key);
    world.agent.has_taken(1).await;
    assert_eq!(told(get()).await.1["status"], "in_progress");
    drop(answer);
    cofferdam_tests::eventually("its place is free", || async {
        let next = json!({"model": "demo", "input": "next"});
        (world.ask(&key, "responses", next).await.0 == 200).then_some(())
    })
    .await;
    gate.add_permits(1);
    world.agent.has_ended(2).await;
    let (status, response) = told(get()).await;
    assert_eq!((status, &response["status"]), (200, &json!("completed")));
    assert_eq!(response["output"][0]["content"][0]["text"], "There.");
}
