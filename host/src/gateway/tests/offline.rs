use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::*;

fn ask(message: &str, stream: bool) -> Request<Body> {
    let input = json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": message}]}]);
    let request = json!({
        "model": "gpt-5.5", "stream": stream, "input": input,
        "tools": [{"type": "function", "name": "exec_command"}],
    });
    post("/v1/responses", request.to_string())
}

async fn events(response: Response<Body>) -> Vec<Value> {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = text(response).await;
    let event = |block: &str| -> Value {
        let (name, data) = block.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name);
        data
    };
    text.split_terminator("\n\n").map(event).collect()
}

#[tokio::test]
async fn a_message_streams_in_the_vendors_order() {
    let events = events(offline().handle(&caller(), ask("!say hello\n!usage 42", true)).await).await;
    let names: Vec<_> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names, expected);
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], at);
    }
    let response = &events[8]["response"];
    assert_eq!(response["status"], "completed");
    assert_eq!(response["usage"]["input_tokens"], 42);
    assert_eq!(response["output"][0], events[7]["item"]);
    assert_eq!(response["output"][0]["content"][0]["text"], "[offline model] hello");
}

#[tokio::test]
async fn a_tool_call_streams_its_arguments() {
    let events = events(offline().handle(&caller(), ask("!run ls", true)).await).await;
    let delta = events.iter().find(|e| e["type"] == "response.function_call_arguments.delta").unwrap();
    let done = events.iter().find(|e| e["type"] == "response.output_item.done").unwrap();
    assert_eq!(delta["delta"], done["item"]["arguments"]);
    assert_eq!(done["item"]["name"], "exec_command");
}

#[tokio::test]
async fn without_streaming_the_response_object_comes_whole() {
    let answer = text(offline().handle(&caller(), ask("hi", false)).await).await;
    let response: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&response["object"], &response["status"]), (&json!("response"), &json!("completed")));
    assert!(response["output"][0]["content"][0]["text"].as_str().unwrap().starts_with("[offline model] "));
}

#[tokio::test]
async fn the_list_of_models_has_the_offline_one() {
    let get = Request::get("/v1/models?client_version=1").body(Body::empty()).unwrap();
    let list: Value = serde_json::from_str(&text(offline().handle(&caller(), get).await).await).unwrap();
    assert_eq!(list["data"][0]["id"], "offline");
}

#[tokio::test(start_paused = true)]
async fn waiting_and_pace_take_the_time_that_was_asked_for() {
    let start = Instant::now();
    let response = offline().handle(&caller(), ask("!wait 90\n!say x", true)).await;
    assert_eq!(start.elapsed().as_secs(), 90);
    text(response).await;
    let start = Instant::now();
    text(offline().handle(&caller(), ask("!stream 10\n!say 0123456789", true)).await).await;
    // "[offline model] " and ten more: 26 characters.
    assert_eq!(start.elapsed().as_millis() / 10, 260);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_ends_the_wait() {
    let gateway = offline();
    let caller = caller();
    let waiting = gateway.handle(&caller, ask("!wait 3600", true));
    assert!(tokio::time::timeout(Duration::from_secs(5), waiting).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_model_that_hangs_says_nothing_until_its_client_goes() {
    let hours = Duration::from_secs(9 * 3600);
    for stream in [true, false] {
        let waiting = offline();
        let silent = tokio::time::timeout(hours, waiting.handle(&caller(), ask("!wait 1\n!hang", stream))).await;
        assert!(silent.is_err(), "not even headers");
    }
    let begun = offline().handle(&caller(), ask("!say hello\n!hang\n!say never", true)).await;
    let mut body = begun.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("[offline model] hello"));
    assert!(tokio::time::timeout(hours, body.frame()).await.is_err());
}

#[tokio::test]
async fn commentary_has_its_phase_from_the_first_event_on() {
    let events = events(offline().handle(&caller(), ask("!commentary looking\n!say done", true)).await).await;
    let phases = |name: &str| -> Vec<Value> {
        events.iter().filter(|e| e["type"] == name).map(|e| e["item"]["phase"].clone()).collect()
    };
    let expected = [json!("commentary"), json!("final_answer")];
    assert_eq!(phases("response.output_item.added"), expected);
    assert_eq!(phases("response.output_item.done"), expected);
}

#[tokio::test(start_paused = true)]
async fn a_compaction_call_of_its_own_is_answered_as_the_messages_say() {
    let compact = |words: &str| {
        let input = json!([{"type": "message", "role": "user", "content": words}]);
        post("/v1/responses/compact", json!({"model": "gpt-5.5", "input": input}).to_string())
    };
    assert_eq!(offline().handle(&caller(), compact("!compaction fail 429")).await.status(), 429);
    assert_eq!(offline().handle(&caller(), compact("!compaction ok")).await.status(), 200);
    let gateway = offline();
    let caller = caller();
    let hanging = gateway.handle(&caller, compact("!compaction hang"));
    assert!(tokio::time::timeout(Duration::from_secs(9 * 3600), hanging).await.is_err());
}

#[tokio::test]
async fn failures_come_as_the_vendor_says_them() {
    for (message, status, code) in [
        ("!fail 400", 400, "invalid_request"),
        ("!fail 401", 401, "invalid_api_key"),
        ("!fail 403", 403, "permission_denied"),
        ("!fail 404", 404, "model_not_found"),
        ("!fail 429", 429, "rate_limit_exceeded"),
        ("!fail 429 usage_limit_reached", 429, "usage_limit_reached"),
        ("!fail 500", 500, "server_error"),
        ("!fail 503", 503, "server_is_overloaded"),
    ] {
        let response = offline().handle(&caller(), ask(message, true)).await;
        assert_eq!(response.status(), status, "{message}");
        assert_eq!(response.headers().contains_key("retry-after"), message == "!fail 429", "{message}");
        assert_eq!(error_of(response).await["code"], code, "{message}");
    }
    for code in ["context_length_exceeded", "insufficient_quota"] {
        let events = events(offline().handle(&caller(), ask(&format!("!fail 429 {code}"), true)).await).await;
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.failed");
        assert_eq!(last["response"]["error"]["code"], code);
    }
}

#[tokio::test]
async fn a_failure_after_a_message_comes_in_the_stream() {
    let events = events(offline().handle(&caller(), ask("!say a\n!fail 500", true)).await).await;
    assert_eq!(events.last().unwrap()["response"]["error"]["code"], "server_error");
}

#[tokio::test]
async fn a_cut_breaks_the_connection_in_the_middle_of_a_message() {
    let response = offline().handle(&caller(), ask("!cut", true)).await;
    let mut body = response.into_body();
    let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let piece = String::from_utf8(piece.to_vec()).unwrap();
    assert!(piece.contains("response.output_text.delta") && !piece.contains("output_text.done"));
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test]
async fn requests_that_are_not_responses_calls_are_400() {
    for (body, code) in [("not json", "invalid_json"), ("{}", "missing_required_parameter")] {
        let response = offline().handle(&caller(), post("/v1/responses", body)).await;
        assert_eq!(response.status(), 400);
        assert_eq!(error_of(response).await["code"], code);
    }
}

#[tokio::test]
async fn a_compacted_conversation_is_remembered() {
    let body = json!({"model": "m", "input": [
        {"role": "user", "content": "my name is Ada"}, {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "and now?"},
    ]});
    let compacted = text(offline().handle(&caller(), post("/v1/responses/compact", body.to_string())).await).await;
    let compacted: Value = serde_json::from_str(&compacted).unwrap();
    assert_eq!(compacted["object"], "response.compaction");
    let mut input = compacted["output"].as_array().unwrap().clone();
    input.push(json!({"role": "user", "content": "who am I?"}));
    let body = json!({ "input": input }).to_string();
    let answer = text(offline().handle(&caller(), post("/v1/responses", body)).await).await;
    assert!(answer.contains("message 3 of this conversation; the first was: my name is Ada"), "{answer}");
}
