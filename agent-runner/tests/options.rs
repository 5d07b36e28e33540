//! What a turn is run with: model, effort, schema, context and files, on the real codex.

mod common;

use cofferdam_protocol::runner::*;
use common::model::Step;
use common::setup::{PNG, Setup};
use serde_json::{Value, json};

fn options(model: Option<&str>, effort: Option<&str>) -> TurnOptions {
    TurnOptions { model: model.map(str::to_owned), effort: effort.map(str::to_owned), output_schema: None }
}

/// The model and effort of the call that a turn with these options makes.
async fn runs(setup: &Setup, options: TurnOptions) -> (Value, Value) {
    setup.door.with_options(options);
    assert_eq!(setup.say("x").await.outcome, Outcome::Completed);
    let call = setup.model.calls().pop().unwrap();
    (call["model"].clone(), call["reasoning"]["effort"].clone())
}

async fn models(setup: &Setup) -> Vec<Model> {
    setup
        .door
        .wait("models", |events| {
            events.iter().find_map(|event| match &event.body {
                EventBody::Ready { models, .. } => Some(models.clone()),
                _ => None,
            })
        })
        .await
}

#[tokio::test]
async fn the_host_is_told_the_models_best_first_with_their_efforts() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let models = models(&setup).await;
    assert_eq!(models[0].name, "gpt-6.1-sol");
    assert!(models[0].default && models[1..].iter().all(|model| !model.default));
    assert_eq!(models[0].efforts, ["low", "medium", "high", "xhigh", "max", "ultra"]);
    assert_eq!(models[0].default_effort.as_deref(), Some("low"));
    assert!(models.iter().any(|model| model.name == "gpt-5.5"));
    assert!(models.iter().all(|model| !model.name.contains("daybreak")), "hidden ones: {models:?}");
}

#[tokio::test]
async fn model_and_effort_are_of_the_turn_and_none_is_the_default_again() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let default = runs(&setup, options(None, None)).await;
    assert_eq!(default.0, "gpt-5.5");
    assert_eq!(
        runs(&setup, options(Some("gpt-6.1-sol"), Some("high"))).await,
        (json!("gpt-6.1-sol"), json!("high"))
    );
    assert_eq!(runs(&setup, options(Some("gpt-6.1-sol"), None)).await, (json!("gpt-6.1-sol"), json!("low")));
    assert_eq!(runs(&setup, options(None, Some("xhigh"))).await, (json!("gpt-5.5"), json!("xhigh")));
    assert_eq!(runs(&setup, options(None, None)).await, default);
}

#[tokio::test]
async fn none_is_the_default_also_after_a_restart() {
    let mut setup = Setup::new().await;
    let mut runner = setup.runner();
    let default = runs(&setup, options(None, None)).await;
    runs(&setup, options(Some("gpt-6.1-sol"), Some("max"))).await;
    let thread = setup.say("x").await.thread.unwrap().continuation.unwrap();
    setup.door.stop();
    runner.ended().await;
    setup.new_attempt(&thread);
    let _runner = setup.runner();
    assert_eq!(runs(&setup, options(None, None)).await, default);
}

#[tokio::test]
async fn a_schema_is_of_its_turn_only() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"],
        "additionalProperties": false});
    setup.door.with_options(TurnOptions { output_schema: Some(schema.clone()), ..TurnOptions::default() });
    setup.model.script([Step::Text("{\"a\":\"1\"}")]);
    assert_eq!(setup.say("x").await.replies, ["{\"a\":\"1\"}"]);
    assert_eq!(setup.model.calls()[0]["text"]["format"]["schema"], schema);
    setup.door.with_options(TurnOptions::default());
    setup.say("y").await;
    assert!(setup.model.calls()[1]["text"].get("format").is_none());
}

#[tokio::test]
async fn messages_stand_in_tags_and_images_and_files_come_with_them() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let inbox = setup.workspace().join("inbox");
    std::fs::create_dir(&inbox).unwrap();
    std::fs::write(inbox.join("dot.png"), PNG).unwrap();
    let file = |name: &str, image| InboundFile {
        path: inbox.join(name).to_str().unwrap().into(),
        bytes: PNG.len() as u64,
        image,
    };
    let turn = setup.door.say_as("look </message>", |batch| {
        batch.messages[0].files = vec![file("dot.png", true), file("notes.txt", false)];
    });
    setup.door.finish(turn).await;
    let input = setup.model.last_input();
    assert!(input.contains("<message from=\\\"ann\\\" time=\\\"2026-11-21 14:03 Europe/Berlin\\\" id=\\\"10\\\">"));
    assert!(input.contains("look &lt;/message>\\n[image: inbox/dot.png, "), "{input}");
    assert!(input.contains("[file: inbox/notes.txt, "), "{input}");
    assert!(input.contains("data:image/png;base64,"), "{input}");
}

#[tokio::test]
async fn an_image_that_is_gone_does_not_cost_the_message() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let gone = InboundFile { path: "/no/such/image.png".into(), bytes: 10, image: true };
    let turn = setup.door.say_as("look", |batch| batch.messages[0].files = vec![gone]);
    assert_eq!(setup.door.finish(turn).await.outcome, Outcome::Completed);
    assert!(setup.model.last_input().contains("could not read the local image"));
}

#[tokio::test]
async fn the_turns_context_is_the_developers_and_said_again_when_it_changes() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let say = async |context: &str| {
        let turn = setup.door.say_as("x", |batch| batch.context = context.into());
        setup.door.finish(turn).await;
        setup.model.last_input()
    };
    let first = say("The chat is the first.").await;
    assert!(first.contains("<chat_0>The chat is the first.</chat_0>"), "{first}");
    let call = setup.model.calls().pop().unwrap();
    let by_us = |item: &&Value| item.to_string().contains("The chat is the first.");
    assert_eq!(call["input"].as_array().unwrap().iter().find(by_us).unwrap()["role"], "developer");
    assert_eq!(say("The chat is the first.").await.matches("The chat is the first.").count(), 1);
    assert!(say("The chat is the second.").await.contains("The chat is the second."));
    // Codex cuts by bytes.
    let long: Vec<_> = (0..900).map(|line| format!("line {line} äöü語.")).collect();
    let input = say(&long.join("\n")).await;
    assert!(long.iter().all(|line| input.contains(line)), "nothing is cut: {input}");
}
