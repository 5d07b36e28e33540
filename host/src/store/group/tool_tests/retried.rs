//! Questions of turns whose messages are tried again.

use cofferdam_protocol::runner::{ControlRequest, Failure, FailureKind};

use super::*;
use crate::store::db::Durability;
use crate::store::group::attempts::EndedTurn;
use crate::store::group::closing::{End, Finished};
use crate::store::group::commands::Due;

impl Fixture {
    pub(super) async fn offered(&self) -> Vec<MessageId> {
        let request =
            ControlRequest { attempt: self.attempt, turn: self.turn, interrupted: false, offered: Vec::new() };
        let orders = self.db.orders(&self.session, request, true).await.unwrap();
        orders.steer.into_iter().map(|message| message.id).collect()
    }

    /// The running turn fails in a way that can pass.
    async fn fail(&self) -> Finished {
        let finish = Finish::new(Outcome::Failed(Failure::new(FailureKind::Upstream, "503")));
        self.db
            .finish(&self.session, self.attempt, Seq(1), self.turn, finish, TimeZone::UTC)
            .await
            .unwrap()
            .unwrap()
    }
}

#[tokio::test]
async fn an_answer_that_was_fetched_before_the_container_died_is_given_again() {
    let mut f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    let answer = f.says("2", "red").await;
    assert_eq!(f.db.waiting(&f.key("c1")).await.unwrap(), Waiting::Over(done("Red"), None));
    f.container_dies().await;
    assert_eq!(f.next_turn().await, ["hello"]);
    assert_eq!(f.call("c1", "ask_user", question("Which?")).await.answer, done("Red"));
    assert_eq!(f.state_of(answer).await, (MessageState::Claimed, Some(f.turn)));
}

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
    let ended =
        f.db.end_attempt(&f.session, f.attempt, crate::model::outage::GoneBy::Itself, "gone".into()).await.unwrap();
    let EndedTurn::GaveUp(_, messages, ..) = ended else { panic!("tried again: {ended:?}") };
    assert_eq!(messages, [MessageId(1), answer]);
    assert_eq!(f.state_of(answer).await.0, MessageState::Done);
}

#[tokio::test]
async fn an_answer_that_waits_to_be_taken_over_is_not_steered_and_nothing_goes_before_it() {
    let mut f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.container_dies().await;
    let answer = f.says("2", "red").await;
    let after = f.says("3", "and quickly").await;
    assert_eq!(f.next_turn().await, ["hello"]);
    assert!(f.offered().await.is_empty());
    assert_eq!(f.call("c9", "ask_user", question("Which?")).await.answer, done("Red"));
    assert_eq!(f.offered().await, [after]);
    assert_eq!(f.state_of(answer).await, (MessageState::Claimed, Some(f.turn)));
}

#[tokio::test]
async fn a_turn_with_a_question_that_it_took_over_is_not_tried_again() {
    let mut f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.container_dies().await;
    f.next_turn().await;
    f.call("c9", "ask_user", question("Which?")).await;
    let answer = f.says("2", "red").await;
    f.db.waiting(&f.key("c9")).await.unwrap();
    let finished = f.fail().await;
    assert!(matches!(finished.end, End::Done(_)), "{:?}", finished.end);
    assert!(finished.messages.contains(&answer));
}

#[tokio::test]
async fn a_turn_that_failed_before_it_asked_again_leaves_the_question_to_its_next_try() {
    let mut f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    let answer = f.says("2", "red").await;
    f.db.waiting(&f.key("c1")).await.unwrap();
    f.call("c2", "ask_user", question("How many?")).await;
    f.container_dies().await;
    f.next_turn().await;
    assert!(matches!(f.fail().await.end, End::Again(_)));
    f.db.db.write(Durability::Relaxed, |tx| Ok(tx.execute("UPDATE inbox SET due_at = 0", [])?)).await.unwrap();
    assert_eq!(f.next_turn().await, ["hello"]);
    assert_eq!(f.state_of(answer).await, (MessageState::Claimed, Some(f.turn)));
    assert_eq!(f.call("c8", "ask_user", question("Which?")).await.answer, done("Red"));
    assert_eq!(f.call("c9", "ask_user", question("How many?")).await.answer, ToolAnswer::Pending);
    let outbox = f.outbox().await;
    assert_eq!(outbox.iter().filter(|reply| reply.action.is_some()).count(), 2, "each asked once: {outbox:?}");
}

#[tokio::test]
async fn a_turn_is_told_the_question_that_its_message_answered() {
    let mut f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.says("2", "red").await;
    f.finish(&["I went on."]).await;
    assert_eq!(f.next_turn().await, ["red"]);
    assert_eq!(f.claimed().await.question.as_deref(), Some("Which?\n1. Red\n2. Blue"));
}

#[tokio::test]
async fn a_turn_is_not_told_an_answer_that_its_own_call_waits_for() {
    let f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.says("2", "red").await;
    assert_eq!(f.claimed().await.question, None);
}

#[tokio::test]
async fn a_question_is_told_in_its_own_chat_only() {
    let mut f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.finish(&["I went on."]).await;
    let elsewhere = ChatRef { thread_id: Some("x".into()), ..chat() };
    f.db.accept(Inbound { chat: elsewhere, ..message("2", "hi") }, "key".into(), None).await.unwrap();
    assert_eq!(f.next_turn().await, ["hi"]);
    assert_eq!(f.claimed().await.question, None);
}

#[tokio::test]
async fn a_turn_that_goes_on_under_a_newer_attempt_may_call() {
    let mut f = Fixture::new().await;
    let turn = f.turn;
    assert_eq!(f.next_turn().await, ["hello"]);
    assert_eq!(f.turn, turn, "handed out again");
    assert!(f.call("c1", "chat_reply", reply("hi")).await.posted.is_some());
}
