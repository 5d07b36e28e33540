//! The API: whose key, which conversation, and what is asked.

use std::time::Duration;

use cofferdam::channels::http::Limits;
use cofferdam::channels::http::book::Key;
use cofferdam::channels::{NotTaken, Taken};
use cofferdam::clock::now_ms;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::agent::{Act, Agent, gate};
use super::world::{World, told};

/// A completion of one message.
fn says(text: &str) -> Value {
    json!({"model": "demo", "messages": [{"role": "user", "content": text}]})
}

#[tokio::test]
async fn a_key_opens_its_own_model_and_only_while_it_is_good() {
    let world = World::start().await;
    let key = world.agent.key("good");
    let put =
        |name: &str, expires_at, revoked| world.agent.put_key(Key { expires_at, revoked, ..Agent::a_key(name) });
    let (over, back, later) = (
        put("over", Some(now_ms() - 1), false),
        put("back", None, true),
        put("later", Some(now_ms() + 60_000), false),
    );
    let get = |path: &str| world.client.get(format!("{}/v1/{path}", world.url));
    let mut wrong = key.clone();
    wrong.replace_range(10..11, if &key[10..11] == "a" { "b" } else { "a" });
    let cases = [
        ("key no-key", get("models")),
        ("key no-key", get("models").header("authorization", "Basic dTpw")),
        ("key wrong-key", get("models").bearer_auth("sk-other")),
        ("key wrong-key", get("models/demo").bearer_auth(&wrong)),
        ("key/over expired-key", get("models").bearer_auth(&over)),
        ("key/back revoked-key", get("responses/resp_a_b").bearer_auth(&back)),
        ("key wrong-key", world.api(&wrong, "responses", &json!({}))),
        ("key wrong-key", world.api(&wrong, "chat/completions", &json!({}))),
    ];
    for (counted, call) in cases {
        let (status, error) = told(call).await;
        assert_eq!((status, &error["error"]["code"]), (401, &json!("invalid_api_key")), "{counted}");
        assert!(error["error"]["message"].is_string() && error["error"]["param"].is_null());
        assert_eq!(world.agent.refused().pop().as_deref(), Some(counted));
    }
    assert!(world.agent.used().is_empty());
    let (_, models) = told(get("models").bearer_auth(&later)).await;
    assert_eq!(
        (models["data"][0]["id"].as_str(), models["data"].as_array().map(Vec::len)),
        (Some("demo"), Some(1))
    );
    let (_, model) = told(get("models/demo").bearer_auth(&key)).await;
    assert_eq!(model["object"], "model");
    let (status, error) = told(get("models/a/b").bearer_auth(&key)).await;
    assert_eq!((status, &error["error"]["code"]), (404, &json!("model_not_found")));
    assert_eq!(world.agent.used(), ["later", "good", "good"]);
}

#[tokio::test]
async fn a_message_is_the_keys_and_its_answer_is_the_agents() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let (status, answer) = world.ask(&key, "chat/completions", says("hello")).await;
    assert_eq!((status, &answer["object"]), (200, &json!("chat.completion")));
    assert_eq!(answer["choices"][0]["message"]["content"], "You said: hello");
    assert_eq!((&answer["model"], &answer["choices"][0]["finish_reason"]), (&json!("demo"), &json!("stop")));
    assert_eq!((&answer["usage"]["prompt_tokens"], &answer["usage"]["total_tokens"]), (&json!(1200), &json!(1234)));
    let arrival = world.agent.messages().remove(0).arrival;
    assert_eq!((arrival.chat.chat_id.as_str(), arrival.sender.id.as_str()), ("key/k", "key:k"));
    let (_, answer) = world.ask(&key, "responses", json!({"model": "default", "input": "again"})).await;
    assert_eq!(answer["output"][0]["content"][0]["text"], "You said: again");
    assert_eq!((&answer["status"], &answer["model"]), (&json!("completed"), &json!("demo")));
    let ids = world.agent.threads();
    assert_ne!(ids[0], ids[1], "without a history each is a conversation of its own");
}

#[tokio::test]
async fn a_conversation_goes_on_in_its_thread_with_the_new_message_alone() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let mut messages =
        vec![json!({"role": "system", "content": "Be brief."}), json!({"role": "user", "content": "one"})];
    for next in ["two", "three"] {
        let answer = world.chat(&key, json!(messages)).await;
        messages.push(json!({"role": "assistant", "content": answer}));
        messages.push(json!({"role": "user", "content": next}));
    }
    world.chat(&key, json!(messages)).await;
    let (threads, texts) = (world.agent.threads(), world.agent.texts());
    assert!(threads.iter().all(|thread| *thread == threads[0]), "{threads:?}");
    assert_eq!(texts[0], "[Instructions of the calling program]\nBe brief.\n\n[The message]\none");
    assert_eq!(texts[1..], ["two", "three"]);
}

#[tokio::test]
async fn an_unknown_history_and_one_that_was_gone_back_in_begin_a_fresh_thread() {
    let world = World::start().await;
    let (key, other) = (world.agent.key("k"), world.agent.key("other"));
    let first = json!([{"role": "user", "content": "one"}]);
    let answer = world.chat(&key, first).await;
    let next = |text: &str| {
        json!([{"role": "user", "content": "one"}, {"role": "assistant", "content": &answer},
            {"role": "user", "content": text}])
    };
    world.chat(&key, next("two")).await;
    world.chat(&key, next("another two")).await;
    world.chat(&other, next("whose")).await;
    let (threads, texts) = (world.agent.threads(), world.agent.texts());
    assert_eq!(threads[0], threads[1]);
    assert!(threads[2] != threads[0] && threads[3] != threads[0], "{threads:?}");
    for (text, message) in texts[2..].iter().zip(["another two", "whose"]) {
        let wanted = format!(
            "[Earlier in this conversation, as the calling program tells it]\nUser: one\n\nYou: {answer}\n\n[The \
             message]\n{message}"
        );
        assert_eq!(*text, wanted);
    }
}

#[tokio::test]
async fn a_failed_message_can_come_again_in_its_thread() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let answer = world.chat(&key, json!([{"role": "user", "content": "one"}])).await;
    let gate = gate();
    world.agent.script("two", [Act::Until(gate.clone()), Act::Fail("The turn failed.")]);
    let next = json!({"model": "demo", "messages": [{"role": "user", "content": "one"},
        {"role": "assistant", "content": answer}, {"role": "user", "content": "two"}]});
    gate.add_permits(2);
    for _ in 0..2 {
        let (status, error) = world.ask(&key, "chat/completions", next.clone()).await;
        assert_eq!((status, &error["error"]["type"]), (502, &json!("agent_error")));
        assert_eq!(error["error"]["message"], "The turn failed.");
    }
    let threads = world.agent.threads();
    assert!(threads.len() == 3 && threads.iter().all(|thread| *thread == threads[0]), "{threads:?}");
}

#[tokio::test]
async fn a_named_thread_is_the_callers_and_is_told_its_instructions_once() {
    let world = World::start().await;
    let key = world.agent.key("k");
    for text in ["one", "two"] {
        let input =
            json!({"model": "demo", "input": text, "instructions": "Be brief.", "metadata": {"thread": "mine"}});
        world.ask(&key, "responses", input).await;
    }
    let header = world.api(&key, "chat/completions", &says("three")).header("x-cofferdam-thread", "mine");
    assert_eq!(told(header).await.0, 200);
    assert_eq!(world.agent.threads(), ["mine"; 3]);
    assert!(world.agent.texts()[0].contains("Be brief."));
    assert_eq!(world.agent.texts()[1..], ["two", "three"]);
    let (status, error) =
        world.ask(&key, "responses", json!({"model": "demo", "input": "x", "metadata": {"thread": "../x"}})).await;
    assert_eq!((status, &error["error"]["param"]), (400, &json!("metadata.thread")));
}

#[tokio::test]
async fn a_response_is_followed_and_read_by_its_own_key_alone() {
    let world = World::start().await;
    let (key, other) = (world.agent.key("k"), world.agent.key("other"));
    let (_, first) = world.ask(&key, "responses", json!({"model": "demo", "input": "one"})).await;
    let id = first["id"].as_str().expect("an id").to_owned();
    let follow = json!({"model": "demo", "input": "two", "previous_response_id": id});
    let (status, second) = world.ask(&key, "responses", follow.clone()).await;
    assert_eq!((status, &second["previous_response_id"]), (200, &json!(id)));
    assert_eq!(world.agent.threads()[0], world.agent.threads()[1]);
    assert_eq!(world.agent.texts()[1], "two");
    let get = |key: &str, id: &str| world.client.get(format!("{}/v1/responses/{id}", world.url)).bearer_auth(key);
    let (status, read) = told(get(&key, &id)).await;
    assert_eq!((status, &read["output"], &read["id"]), (200, &first["output"], &first["id"]));
    assert_eq!(read["created_at"], first["created_at"]);
    for (key, id) in [(&other, id.as_str()), (&key, "resp_x_0"), (&key, &format!("{}0", &id[..id.len() - 1]))] {
        // The last digit may be a 0 already.
        if *id != *first["id"].as_str().expect("an id") || key == &other {
            assert_eq!(told(get(key, id)).await.0, 404, "{id}");
        }
    }
    for (key, id) in [(&other, id.as_str()), (&key, "resp_nobodys_0"), (&key, "nonsense")] {
        let follow = json!({"model": "demo", "input": "two", "previous_response_id": id});
        let (status, error) = world.ask(key, "responses", follow).await;
        assert_eq!((status, &error["error"]["code"]), (400, &json!("previous_response_not_found")), "{id}");
    }
    assert_eq!(world.agent.messages().len(), 2, "nothing of another's reached the agent");
}

#[tokio::test]
async fn a_repeated_call_joins_the_running_turn_or_gets_the_same_answer() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let gate = gate();
    world.agent.script("slow", [Act::Until(gate.clone()), Act::Say(vec!["once"])]);
    let call = || {
        world.api(&key, "responses", &json!({"model": "demo", "input": "slow"})).header("idempotency-key", "i 1")
    };
    let (one, two, ()) = tokio::join!(told(call()), told(call()), async {
        world.agent.has_taken(1).await;
        gate.add_permits(1);
    });
    let three = told(call()).await;
    assert_eq!((one.0, &one.1["id"]), (200, &two.1["id"]));
    assert_eq!((&three.1["id"], &three.1["output"]), (&one.1["id"], &one.1["output"]));
    assert_eq!(world.agent.messages().len(), 1);
    // As OpenAI's clients repeat a call: without a key, and saying so.
    let retry = |count: &str| {
        let call = world.api(&key, "responses", &json!({"model": "demo", "input": "quick"}));
        call.header("x-stainless-retry-count", count.to_owned())
    };
    let (first, second, fresh) = (told(retry("0")).await, told(retry("1")).await, told(retry("0")).await);
    assert_eq!(first.1["id"], second.1["id"]);
    assert_ne!(first.1["id"], fresh.1["id"], "the same words again are another message");
    assert_eq!(world.agent.messages().len(), 3);
}

#[tokio::test]
async fn files_reach_the_agent_and_addresses_are_not_called() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let png = "data:image/png;base64,iVBORw0KGgo=";
    let content = json!([{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": png}},
        {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGk="}}]);
    world.chat(&key, json!([{"role": "user", "content": content}])).await;
    let message = world.agent.messages().remove(0);
    assert_eq!(message.text, "What is it?");
    assert_eq!(
        message.files,
        [("image-1.png".into(), b"\x89PNG\r\n\x1a\n".to_vec()), ("a.txt".into(), b"hi".to_vec())]
    );
    let input = json!([{"role": "user", "content": [{"type": "input_image", "image_url": "http://127.0.0.1:1/"}]}]);
    let (status, error) = world.ask(&key, "responses", json!({"model": "demo", "input": input})).await;
    assert_eq!((status, &error["error"]["param"]), (400, &json!("input[0].content[0]")));
    assert_eq!(world.agent.messages().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_its_name() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let with = |more: Value| {
        let mut body = says("x");
        more.as_object().expect("more").iter().for_each(|(key, value)| body[key] = value.clone());
        body
    };
    for (more, param) in [
        (json!({"n": 2}), "n"),
        (json!({"tools": [{"type": "function", "function": {"name": "f"}}]}), "tools"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"response_format": {"type": "json_object"}}), "response_format"),
        (json!({"messages": "x"}), "messages"),
        (json!({"model": null}), "model"),
    ] {
        let (status, error) = world.ask(&key, "chat/completions", with(more)).await;
        assert_eq!((status, &error["error"]["param"]), (400, &json!(param)), "{error}");
    }
    let (status, error) = world.ask(&key, "chat/completions", with(json!({"model": "gpt-5"}))).await;
    assert_eq!((status, &error["error"]["code"]), (404, &json!("model_not_found")));
    let (status, error) = world.ask(&key, "embeddings", says("x")).await;
    assert_eq!((status, &error["error"]["code"]), (404, &json!("unknown_url")));
    let (status, _) = told(world.client.get(format!("{}/v1/chat/completions", world.url)).bearer_auth(&key)).await;
    assert_eq!(status, 405);
    let (status, error) =
        told(world.client.post(format!("{}/v1/responses", world.url)).bearer_auth(&key).body("{")).await;
    assert_eq!((status, &error["error"]["type"]), (400, &json!("invalid_request_error")));
    assert!(world.agent.messages().is_empty());
}

#[tokio::test]
async fn a_schema_goes_with_the_message() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let mut body = says("x");
    body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
    assert_eq!(world.ask(&key, "chat/completions", body).await.0, 200);
    let text = json!({"format": {"type": "json_schema", "name": "n", "schema": schema}});
    assert_eq!(world.ask(&key, "responses", json!({"model": "demo", "input": "x", "text": text})).await.0, 200);
    for message in world.agent.messages() {
        assert_eq!(
            message.schema.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            Some(schema.clone())
        );
    }
}

#[tokio::test]
async fn what_the_intake_says_is_told() {
    let world = World::start().await;
    let key = world.agent.key("k");
    world.agent.answers("drop", Ok(Taken::Dropped("no-wiring")));
    world.agent.answers("full", Err(NotTaken::Full(9)));
    world.agent.answers("/status", Ok(Taken::Done("All is well.".into())));
    let (status, error) = world.ask(&key, "chat/completions", says("drop")).await;
    assert_eq!((status, &error["error"]["code"]), (403, &json!("no-wiring")));
    let answer = world.api(&key, "chat/completions", &says("full")).send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
    assert_eq!(world.chat(&key, says("/status")["messages"].clone()).await, "All is well.");
}

#[tokio::test]
async fn a_notice_that_is_no_end_is_waited_out_and_a_question_is_an_answer() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let acts = [Act::Notice("An MCP server failed."), Act::Again, Act::Post("Half."), Act::Say(vec!["Whole."])];
    world.agent.script("again", acts);
    world.agent.script("ask", [Act::Post("Hm."), Act::Ask("Which one?\n1. a\n2. b"), Act::Until(gate())]);
    world.agent.script("posts", [Act::Post("All is said."), Act::End]);
    for (text, answer) in
        [("again", "Half.\n\nWhole."), ("ask", "Hm.\n\nWhich one?\n1. a\n2. b"), ("posts", "All is said.")]
    {
        assert_eq!(world.chat(&key, says(text)["messages"].clone()).await, answer);
    }
}

#[tokio::test]
async fn a_turn_longer_than_a_call_may_wait_goes_on() {
    let world = World::with(super::bounds::limits(), json!({"max_wait_secs": 1})).await;
    let key = world.agent.key("k");
    let gate = gate();
    world.agent.script("slow", [Act::Until(gate.clone()), Act::Say(vec!["late"])]);
    let call = || -> RequestBuilder {
        world.api(&key, "responses", &json!({"model": "demo", "input": "slow"})).header("idempotency-key", "k")
    };
    let (status, error) = told(call()).await;
    assert_eq!((status, &error["error"]["code"]), (504, &json!("timeout")));
    gate.add_permits(1);
    world.agent.has_ended(1).await;
    let (status, answer) = told(call()).await;
    assert_eq!((status, &answer["output"][0]["content"][0]["text"]), (200, &json!("late")));
}

#[tokio::test]
async fn an_end_that_nobody_tells_of_is_found_by_looking() {
    let limits = Limits { look: Duration::from_millis(50), ..Limits::default() };
    let world = World::with(limits, json!({})).await;
    let key = world.agent.key("k");
    world.agent.script("posts", [Act::Post("All is said."), Act::EndUnheard]);
    assert_eq!(world.chat(&key, says("posts")["messages"].clone()).await, "All is said.");
}
