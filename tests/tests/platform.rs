//! Messages and replies over a chat platform that repeats itself, breaks off and forgets.

use cofferdam_tests::home::TestHome;
use cofferdam_tests::platform::{Fault, Platform};
use serde_json::json;

/// A daemon on a platform whose chats `known.*` take a repeated reply once.
async fn connected() -> (TestHome, Platform) {
    let mut home = TestHome::new();
    let platform = Platform::start(&home.root().join("platform.sock"), |chat| chat.starts_with("known"));
    home.env("COFFERDAM_TEST_PLATFORM", &platform.socket().display().to_string());
    home.up().await;
    for group in ["demo", "known"] {
        home.group(group, &json!({"provider": "mock"})).await;
    }
    (home, platform)
}

fn texts(platform: &Platform, chat: &str) -> Vec<String> {
    platform.taken().into_iter().filter(|taken| taken.chat == chat).map(|taken| taken.text).collect()
}

#[tokio::test]
async fn each_chat_of_a_group_is_a_session_of_its_own() {
    let (_home, platform) = connected().await;
    platform.post("demo", "one");
    platform.until_taken(1).await;
    platform.post("demo.1", "two");
    platform.until_taken(2).await;
    assert_eq!(texts(&platform, "demo"), ["mock reply to: one\n(turn 1)"]);
    assert_eq!(texts(&platform, "demo.1"), ["mock reply to: two\n(turn 1)"]);
    assert_eq!(platform.unacknowledged(), 0);
}

#[tokio::test]
async fn a_message_that_comes_again_is_answered_once() {
    let (mut home, platform) = connected().await;
    // The daemon may die before it knows that the platform has the reply.
    let first = platform.post("known", "first");
    platform.until_taken(1).await;
    platform.tell("known", &first, "first");
    home.crash().await;
    platform.tell("known", &first, "first");
    home.up().await;
    platform.post("known", "second");
    platform.until_taken(2).await;
    assert!(home.stop().await.success());
    assert_eq!(texts(&platform, "known"), ["mock reply to: first\n(turn 1)", "mock reply to: second\n(turn 2)"]);
    assert_eq!(platform.unacknowledged(), 0);
}

#[tokio::test]
async fn a_reply_that_was_not_taken_comes_when_the_platform_is_back() {
    let (_home, platform) = connected().await;
    platform.fail_next([Fault::Cut, Fault::Later(50), Fault::AnsweredTwice]);
    platform.post("known", "one");
    platform.until_taken(1).await;
    platform.post("known", "two");
    platform.until_taken(2).await;
    assert_eq!(texts(&platform, "known"), ["mock reply to: one\n(turn 1)", "mock reply to: two\n(turn 2)"]);
    assert_eq!(platform.repeats(), 0);
}

#[tokio::test]
async fn a_reply_in_doubt_is_known_by_its_key_and_repeated_without_one() {
    let (_home, platform) = connected().await;
    platform.fail_next([Fault::TakenCut]);
    platform.post("known", "one");
    cofferdam_tests::eventually("it is sent again", || async { (platform.repeats() == 1).then_some(()) }).await;
    assert_eq!(platform.taken().len(), 1);
    platform.fail_next([Fault::TakenCut]);
    platform.post("demo", "one");
    let taken = platform.until_taken(3).await;
    assert_eq!(taken[1].key, taken[2].key);
}
