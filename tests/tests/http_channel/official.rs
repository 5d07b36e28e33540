//! OpenAI's official client before an agent: what it sends is understood, and what it is answered too.

use cofferdam_tests::node;
use cofferdam_tests::openai::{python, run_script};
use serde_json::json;

use super::agent::{Act, gate};
use super::world::World;

#[tokio::test]
async fn the_official_client_talks_with_an_agent() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let grows = vec![Act::Draft("It "), Act::Draft("It grows"), Act::Say(vec!["It grows and ends."])];
    world.agent.script("grow", grows);
    world.agent.script("fail", [Act::Fail("The turn failed: no.")]);
    world.agent.script("json", [Act::Say(vec!["{\"city\": \"Bern\"}"])]);
    let told = run_script("agent.py", &[format!("{}/v1", world.url), key]).await;
    let of_completion = json!({"prompt_tokens": 1200, "completion_tokens": 34, "total_tokens": 1234,
        "prompt_tokens_details": {"cached_tokens": 1000}, "completion_tokens_details": {"reasoning_tokens": 20}});
    let of_response = json!({"input_tokens": 1200, "input_tokens_details": {"cached_tokens": 1000},
        "output_tokens": 34, "output_tokens_details": {"reasoning_tokens": 20}, "total_tokens": 1234});
    let error = |name: &str, status: u16, code: serde_json::Value| json!([name, status, code]);
    for (case, wanted) in [
        ("models", json!(["demo"])),
        ("model", json!("demo")),
        ("chat", json!({"text": "You said: hello", "finish": "stop", "usage": of_completion})),
        ("chat_stream", json!("It grows and ends.")),
        ("chat_stream_usage", json!(1234)),
        ("chat_helper", json!("It grows and ends.")),
        ("chat_parsed", json!("Bern")),
        ("response", json!({"text": "You said: hello", "status": "completed", "usage": of_response})),
        ("response_stream", json!({"text": "It grows and ends.", "last": "response.completed"})),
        ("response_helper", json!("It grows and ends.")),
        ("response_parsed", json!("Bern")),
        ("retrieved", json!("You said: hello")),
        ("wrong_key", error("AuthenticationError", 401, json!("invalid_api_key"))),
        ("wrong_model", error("NotFoundError", 404, json!("model_not_found"))),
        ("wrong_response", error("NotFoundError", 404, json!("response_not_found"))),
        ("tools", error("BadRequestError", 400, json!("unsupported_parameter"))),
        ("image_address", error("BadRequestError", 400, json!("invalid_image_url"))),
        ("failed", error("InternalServerError", 502, json!(null))),
        ("failed_stream", json!("The turn failed: no.")),
        ("failed_response", json!("The turn failed: no.")),
    ] {
        assert_eq!(told[case], wanted, "{case}: {told}");
    }
    let messages = world.agent.messages();
    let of = |text: &str| -> Vec<&str> {
        let of = messages.iter().filter(|message| message.text == text);
        of.map(|message| message.arrival.chat.thread_id.as_deref().expect("a thread")).collect()
    };
    for (first, next) in
        [("chat first", "chat next"), ("response first", "response next"), ("input first", "input next")]
    {
        assert_eq!((of(first).len(), of(first)), (1, of(next)), "{next} goes on in the thread of {first}");
    }
    assert_eq!(of("in my thread"), ["mine", "mine"]);
    assert_eq!(of("fail").len(), 3, "an agent's failure is not tried again by the client");
    assert_eq!(of("with an image").len(), 2);
    let files: Vec<_> =
        messages.iter().filter(|m| m.text == "with an image").flat_map(|m| m.files.clone()).collect();
    assert_eq!(files.len(), 3, "an image in a completion, an image and a file in a response");
    assert!(
        messages
            .iter()
            .filter(|m| m.text == "json")
            .all(|m| m.schema.as_deref().is_some_and(|s| s.contains("city")))
    );
}

#[tokio::test]
async fn the_clients_of_typescript_talk_with_an_agent() {
    let world = World::start().await;
    let key = world.agent.key("k");
    let grows = vec![Act::Draft("It "), Act::Draft("It grows"), Act::Say(vec!["It grows and ends."])];
    world.agent.script("grow", grows);
    world.agent.script("fail", [Act::Fail("The turn failed: no.")]);
    let told = node::run_script("agent.cjs", &[format!("{}/v1", world.url), key]).await;
    let said = |text: &str| json!({"text": text, "input": 1200, "output": 34, "cached": 1000, "reasoning": 20});
    for case in ["chat", "response"] {
        assert_eq!(told["openai"][case], said("You said: hello"), "{case}: {told}");
        assert_eq!(told["openai"][format!("{case}_stream")], said("It grows and ends."), "{case}: {told}");
        assert_eq!(told["ai"][case], said("You said: hello"), "{case}: {told}");
        assert_eq!(told["ai"][format!("{case}_stream")], said("It grows and ends."), "{case}: {told}");
        assert_eq!(told["ai"][format!("{case}_failed")], "The turn failed: no.", "{case}: {told}");
    }
    assert_eq!(told["openai"]["again"], said("You said: hello"));
    assert!(told["openai"]["wrong_key"] == 401 && told["ai"]["wrong_key"] == 401, "{told}");
}

#[tokio::test]
async fn a_call_that_the_official_client_gave_up_and_repeats_is_one_turn() {
    // Here rather than while it is waited for: to install it may take longer.
    python().await;
    let world = World::start().await;
    let key = world.agent.key("k");
    let gate = gate();
    world.agent.script("slow", [Act::Until(gate.clone()), Act::Say(vec!["There."])]);
    let arguments = [format!("{}/v1", world.url), key, "impatient".to_owned()];
    let (told, ()) = tokio::join!(run_script("agent.py", &arguments), async {
        // Its patience for one try is three seconds.
        world.agent.has_known(1).await;
        gate.add_permits(1);
    });
    assert_eq!(told, json!({"text": "There."}));
    assert_eq!(world.agent.texts(), ["slow"], "one message, one turn");
}
