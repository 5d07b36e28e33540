//! Questions of turns whose messages are tried again.

use super::*;
use crate::store::group::attempts::EndedTurn;
use crate::store::group::commands::Due;

#[tokio::test]
async fn an_answer_that_was_fetched_ends_with_the_messages_of_its_turn_and_is_no_turn_of_its_own() {
    let mut f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    let answer = f.says("2", "red").await;
    f.db.waiting(&f.key("c1")).await.unwrap();
    f.container_dies().await;
    assert_eq!(f.next_turn().await, ["hello"]);
    assert_eq!(f.state_of(answer).await, (MessageState::Claimed, Some(f.turn)));
    let again = f.claimed().await.messages;
    assert_eq!(again.iter().map(|message| message.text.as_str()).collect::<Vec<_>>(), ["hello"]);
    // The provider knew the answer: it does not ask again.
    assert!(f.finish(&["Red."]).await.messages.contains(&answer));
    assert!(matches!(f.db.due(&f.session).await.unwrap(), Due::Later(None)));
}

#[tokio::test]
async fn an_answer_that_was_fetched_ends_when_its_turn_is_given_up() {
    let mut f = Fixture::new().await;
    f.container_dies().await;
    f.next_turn().await;
    f.call("c1", "ask_user", question("Which?")).await;
    let answer = f.says("2", "red").await;
    f.db.waiting(&f.key("c1")).await.unwrap();
    let ended = f.db.end_attempt(&f.session, f.attempt, false, "gone".into()).await.unwrap();
    let EndedTurn::GaveUp(_, messages, ..) = ended else { panic!("tried again: {ended:?}") };
    assert_eq!(messages, [MessageId(1), answer]);
    assert_eq!(f.state_of(answer).await.0, MessageState::Done);
}
