//! Calls that come again, or at the same time: one message, one thread, one turn.

use std::sync::Arc;

use serde_json::{Value, json};

use super::world::{World, told};

fn says(text: &str) -> Value {
    json!({"model": "demo", "input": text})
}

async fn call(world: &World, key: &str, id: &str, body: &Value) -> (u16, Value) {
    told(world.api(key, "responses", body).header("idempotency-key", id)).await
}

#[tokio::test]
async fn two_first_calls_at_once_under_one_key_are_one_message_in_one_thread() {
    let world = Arc::new(World::start().await);
    let key = world.agent.key("k");
    world.agent.next_two_reads_meet();
    let body = says("once");
    let (one, two) = tokio::join!(call(&world, &key, "i", &body), call(&world, &key, "i", &body));
    assert_eq!((one.0, two.0), (200, 200), "{one:?} {two:?}");
    assert_eq!((&one.1["id"], &one.1["output"]), (&two.1["id"], &two.1["output"]));
    assert_eq!(world.agent.texts(), ["once"]);
}

#[tokio::test]
async fn of_two_different_calls_at_once_under_one_key_one_is_refused() {
    let world = World::start().await;
    let key = world.agent.key("k");
    world.agent.next_two_reads_meet();
    let (this, that) = (says("this"), says("that"));
    let (one, two) = tokio::join!(call(&world, &key, "i", &this), call(&world, &key, "i", &that));
    let mut statuses = [one.0, two.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 422], "{one:?} {two:?}");
    assert_eq!(world.agent.messages().len(), 1);
}

#[tokio::test]
async fn another_call_under_a_key_is_refused_and_the_same_written_otherwise_is_not() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let (status, first) = call(&world, &key, "i", &says("hello")).await;
    assert_eq!(status, 200, "{first}");
    let schema = json!({"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}});
    for other in [
        says("something else"),
        json!({"model": "demo", "input": "hello", "instructions": "Be brief."}),
        json!({"model": "demo", "input": "hello", "metadata": {"thread": "other"}}),
        json!({"model": "demo", "input": "hello", "previous_response_id": first["id"]}),
        json!({"model": "demo", "input": "hello", "text": schema}),
    ] {
        let (status, error) = call(&world, &key, "i", &other).await;
        assert_eq!((status, &error["error"]["code"]), (422, &json!("idempotency_key_reused")), "{other}: {error}");
    }
    for same in [
        json!({"input": "hello", "model": "demo"}),
        json!({"model": "demo", "input": [{"role": "user", "content": "hello"}]}),
        json!({"model": "default", "input": "hello", "temperature": 0.5}),
    ] {
        let (status, answer) = call(&world, &key, "i", &same).await;
        assert_eq!((status, &answer["id"]), (200, &first["id"]), "{same}");
    }
    let stream = json!({"stream": true, "model": "demo", "input": "hello"});
    let stream =
        world.api(&key, "responses", &stream).header("idempotency-key", "i").send().await.expect("an answer");
    let events = super::streams::events(&stream.text().await.expect("a body"));
    assert_eq!(events.last().expect("events").1["response"]["id"], first["id"]);
    assert_eq!(world.agent.texts(), ["hello"]);
    assert_eq!(call(&world, &key, "another", &says("hello")).await.0, 200);
    assert_eq!(world.agent.texts(), ["hello", "hello"]);
}

#[tokio::test]
async fn a_key_that_an_older_version_kept_is_good_for_its_call() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let (_, first) = call(&world, &key, "i", &says("hello")).await;
    assert_eq!(call(&world, &key, "i", &says("other")).await.0, 422);
    world.agent.forget_stamps();
    let (status, again) = call(&world, &key, "i", &says("hello")).await;
    assert_eq!((status, &again["id"]), (200, &first["id"]));
    assert_eq!(world.agent.texts(), ["hello"]);
}
