//! A conversation over the real provider: begun anew, summed up, lost, and with another model.

use cofferdam_protocol::admin::ChatEvent;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::vendor::Vendor;
use serde_json::json;

async fn home_of(vendor: &Vendor) -> TestHome {
    let mut home = TestHome::new();
    vendor.serve(&mut home);
    home.up().await;
    home.group("demo", &json!({})).await;
    home
}

#[tokio::test]
async fn a_cleared_conversation_is_not_in_the_next_call() {
    let vendor = Vendor::start().await;
    let home = home_of(&vendor).await;
    let admin = home.admin();
    let first = admin.chat("demo", "The colour is teal.").await;
    admin.chat("demo", "Remember it.").await;
    assert!(vendor.calls().last().expect("a call").input().contains("teal"), "one conversation so far");
    admin.chat("demo", "/clear").await;
    let answer = admin.chat("demo", "Which colour?").await;
    let call = vendor.calls().last().expect("a call").input();
    assert!(call.contains("Which colour?") && !call.contains("teal"), "{call}");
    assert!(answer.notices().is_empty(), "nothing was lost: {:?}", answer.notices());
    assert_eq!(answer.container(), first.container());
}

#[tokio::test]
async fn a_compact_sums_the_conversation_up() {
    let vendor = Vendor::start().await;
    let home = home_of(&vendor).await;
    let admin = home.admin();
    admin.chat("demo", "The colour is teal.").await;
    let calls = vendor.calls().len();
    let answer = admin.chat("demo", "/compact").await;
    let notices = answer.notices();
    assert!(notices.len() == 1 && notices[0].to_lowercase().contains("compacted"), "{:?}", answer.events);
    assert!(answer.replies().is_empty(), "it is no answer of the agent's: {:?}", answer.replies());
    assert_eq!(vendor.calls().len(), calls + 1, "one call for the summary");
    admin.chat("demo", "And now?").await.text();
}

#[tokio::test]
async fn a_lost_conversation_is_said_and_its_last_messages_are_given_to_the_new_one() {
    let vendor = Vendor::start().await;
    let home = home_of(&vendor).await;
    let admin = home.admin();
    let first = admin.chat("demo", "The colour is teal.").await;
    let session = first.finished.session.clone();
    admin.stop(&session).await;
    let codex_home = home.root().join("data/groups/demo/sessions").join(session.as_str()).join("codex");
    std::fs::remove_dir_all(codex_home.join("sessions")).expect("its rollouts");
    let answer = admin.chat("demo", "Which colour?").await;
    let told: Vec<_> = answer
        .events
        .iter()
        .filter_map(|event| match event {
            ChatEvent::Notice { text, .. } | ChatEvent::Reply { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert!(told.len() == 2 && told[0].contains("could not be resumed"), "the line, then the answer: {told:?}");
    let call = vendor.calls().last().expect("a call").input();
    assert!(call.contains("History:") && call.contains("The colour is teal."), "{call}");
    assert_eq!(call.matches("Which colour?").count(), 1, "the message is no history: {call}");
    admin.chat("demo", "And then?").await;
    let call = vendor.calls().last().expect("a call").input();
    assert_eq!(call.matches("History:").count(), 1, "told once: {call}");
}

#[tokio::test]
async fn a_model_and_an_effort_that_are_chosen_in_the_chat_are_those_that_are_called() {
    let vendor = Vendor::start().await;
    let home = home_of(&vendor).await;
    let admin = home.admin();
    admin.chat("demo", "hello").await;
    let refused = admin.chat("demo", "/model gpt-5.6-lunar").await;
    assert!(refused.notices()[0].contains("Did you mean gpt-5.6-luna?"), "{:?}", refused.notices());
    for command in ["/model gpt-5.6-luna", "/effort high"] {
        admin.chat("demo", command).await;
    }
    admin.chat("demo", "again").await;
    let body = vendor.calls().last().expect("a call").body.clone();
    assert_eq!((&body["model"], &body["reasoning"]["effort"]), (&json!("gpt-5.6-luna"), &json!("high")));
}
