//! Replies that do not simply arrive, with the real daemon.

use cofferdam_protocol::admin::{DeliveryState, HardDelivery};
use cofferdam_protocol::ids::SessionId;
use cofferdam_tests::eventually;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::vendor::Vendor;
use serde_json::json;

/// Puts a reply of the session into its group's outbox, for a channel that this home does not have.
fn say_into_nothing(home: &TestHome, session: &SessionId, text: &str) {
    let open = |path: &str| rusqlite::Connection::open(home.root().join(path)).expect("a database");
    open("data/groups/demo/state.db")
        .execute(
            "INSERT INTO outbox (session, channel, chat_id, kind, text, state, next_try_at, created_at)
             VALUES (?1, 'gone', 'office', 'reply', ?2, 'pending', 0, 1767225600000)",
            (session.as_str(), text),
        )
        .expect("a reply");
    open("data/central.db")
        .execute("INSERT OR IGNORE INTO busy_groups (folder) VALUES ('demo')", ())
        .expect("a group with due work");
}

/// The session's first reply that did not simply arrive, once it is in this state.
async fn hard_delivery(home: &TestHome, session: &SessionId, state: DeliveryState) -> HardDelivery {
    eventually("a reply that did not simply arrive", || async {
        home.admin().detail(session).await.deliveries.into_iter().find(|delivery| delivery.state == state)
    })
    .await
}

#[tokio::test]
async fn a_reply_that_never_arrived_is_told_to_the_agent_on_its_next_turn_and_only_then() {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.serve(&mut home);
    home.up().await;
    home.group("demo", &json!({})).await;
    let session = home.admin().chat("demo", "Report to the office.").await.finished.session;
    home.stop().await;
    say_into_nothing(&home, &session, "All is well in the house.");
    home.up().await;
    let dead = hard_delivery(&home, &session, DeliveryState::Dead).await;
    assert!(dead.chat == "gone:office" && dead.error.is_some_and(|error| error.contains("'gone'")));
    home.admin().chat("demo", "Did they get it?").await.text();
    home.admin().chat("demo", "And now?").await.text();
    let calls = vendor.calls();
    let told = |call: usize| calls[call].input().matches("did not reach the chat").count();
    assert_eq!((calls.len(), told(0), told(1)), (3, 0, 1), "{}", calls[1].input());
    assert!(calls[1].input().contains("All is well in the house."));
    assert_eq!(told(2), 1, "in the conversation, and not stated again");
}

#[tokio::test]
async fn a_daemon_that_dies_before_it_notes_a_delivery_sends_the_reply_again_and_keeps_the_doubt() {
    let mut home = TestHome::new();
    home.env("COFFERDAM_CRASH_AT", "sent");
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    let chat = home.admin().send_text("demo", "first").await;
    let session = chat.session();
    // What the client saw of it in that moment is not ours to promise.
    drop(chat.drain().await);
    home.ended().await;
    home.env("COFFERDAM_CRASH_AT", "nowhere");
    home.up().await;
    let replies = home.admin().chat("demo", "second").await;
    assert_eq!(replies.replies(), ["mock reply to: first\n(turn 1)", "mock reply to: second\n(turn 2)"]);
    let doubted = hard_delivery(&home, &session, DeliveryState::Delivered).await;
    assert_eq!((doubted.tries, doubted.doubts, doubted.error), (0, 1, None));
    let shown = home.cli(&["session", "show", session.as_str()]).await.stdout;
    assert!(shown.contains("REPLY TO") && shown.contains("DOUBTS"), "{shown}");
}
