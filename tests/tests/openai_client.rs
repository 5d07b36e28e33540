//! OpenAI's official client on what a session's door answers: whoever speaks the Responses API understands the gateway.

use std::path::PathBuf;

use cofferdam_tests::home::TestHome;
use cofferdam_tests::openai::ask;
use cofferdam_tests::vendor::{Say, Vendor};
use serde_json::{Value, json};

/// The door of the group's session, which is open while its container lives.
async fn door(home: &TestHome, says: &str) -> PathBuf {
    let session = home.admin().chat("demo", says).await.finished.session;
    home.root().join("run/doors").join(session.as_str()).join("door.sock")
}

fn cases(cases: &[(&str, &str)]) -> Vec<String> {
    cases.iter().map(|(name, case)| format!("{name}={case}")).collect()
}

async fn total(home: &TestHome) -> Value {
    home.cli(&["usage", "--json"]).await.json()["total"].clone()
}

#[tokio::test]
async fn the_official_client_understands_the_offline_model() {
    let home = TestHome::with_demo(&json!({})).await;
    let door = door(&home, "!usage 7\n!say ready").await;
    let before = total(&home).await;
    let told = ask(
        &door,
        &cases(&[
            ("stream", "stream:!usage 1234\n!say One.\n!say Two."),
            ("whole", "whole:!usage 55\n!say Whole."),
            ("limited", "stream:!fail 429"),
            ("broken", "whole:!fail 500"),
            ("context", "stream:!fail 400 context_length_exceeded"),
            ("cut", "stream:!cut"),
            ("plain", "whole:hello"),
        ]),
    )
    .await;
    let stream = &told["stream"];
    let kinds: Vec<&str> = stream["kinds"].as_array().expect("kinds").iter().filter_map(Value::as_str).collect();
    assert_eq!(
        (kinds.first(), kinds.last()),
        (Some(&"response.created"), Some(&"response.completed")),
        "{kinds:?}"
    );
    assert!(kinds.contains(&"response.output_text.delta"), "{kinds:?}");
    assert_eq!(stream["said"], "[offline model] One.[offline model] Two.");
    assert_eq!((&stream["end"]["input"], &stream["end"]["cached"]), (&json!(1234), &json!(0)));
    assert_eq!(told["whole"]["said"], "[offline model] Whole.");
    assert_eq!((&told["whole"]["end"]["input"], &told["whole"]["model"]), (&json!(55), &json!("model-a")));
    let raised = json!({"raised": "RateLimitError", "status": 429, "code": "rate_limit_exceeded"});
    assert_eq!(told["limited"], raised);
    assert_eq!(told["broken"], json!({"raised": "InternalServerError", "status": 500, "code": "server_error"}));
    assert_eq!(told["context"]["end"], "context_length_exceeded");
    assert!(told["cut"]["raised"].is_string() && told["cut"]["status"].is_null(), "{}", told["cut"]);
    // What the client was told is what was counted.
    let after = total(&home).await;
    for (key, told_as) in [("input_tokens", "input"), ("output_tokens", "output")] {
        let counted = after[key].as_u64().expect("a number") - before[key].as_u64().expect("a number");
        let of = |case: &&str| told[case]["end"][told_as].as_u64().expect("a number");
        assert_eq!(counted, ["stream", "whole", "plain"].iter().map(of).sum::<u64>(), "{key}: {told}");
    }
}

#[tokio::test]
async fn the_official_client_understands_a_vendor_behind_the_gateway() {
    let vendor = Vendor::start().await;
    let mut home = TestHome::new();
    vendor.serve(&mut home);
    home.up().await;
    home.group("demo", &json!({})).await;
    let door = door(&home, "hello").await;
    let error =
        |kind: &str, code: &str| json!({"error": {"message": "No.", "type": kind, "code": code, "param": null}});
    vendor.script([
        Say::Text("There.".into()),
        Say::Status(429, error("rate_limit_error", "rate_limit_exceeded")),
        Say::Status(500, error("server_error", "server_error")),
    ]);
    let asked = cases(&[("stream", "stream:hi"), ("limited", "stream:hi"), ("broken", "stream:hi")]);
    let told = ask(&door, &asked).await;
    assert_eq!(told["stream"]["said"], "There.");
    assert_eq!(told["stream"]["end"], json!({"input": 100, "cached": 40, "output": 10, "reasoning": 3}));
    let raised = json!({"raised": "RateLimitError", "status": 429, "code": "rate_limit_exceeded"});
    assert_eq!(told["limited"], raised);
    assert_eq!(told["broken"], json!({"raised": "InternalServerError", "status": 500, "code": "server_error"}));
    assert_eq!(vendor.calls().len(), 4);
    let wanted = json!({"calls": 2, "input_tokens": 200, "cached_input_tokens": 80, "output_tokens": 20,
        "reasoning_tokens": 6});
    assert_eq!(total(&home).await, wanted, "what failed cost nothing");
}
