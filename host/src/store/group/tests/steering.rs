//! Messages that come while a turn runs, and go into it.

use cofferdam_protocol::runner::ControlRequest;

use super::*;
use crate::store::group::closing::End;
use crate::store::group::steering::Orders;

struct Turn {
    f: Fixture,
    session: SessionId,
    attempt: Attempt,
    turn: TurnId,
}

impl Turn {
    async fn running() -> Self {
        let f = Fixture::new();
        let session = f.accept("1").await;
        let attempt = f.begin(&session).await;
        let (turn, _) = f.claim(&session, attempt).await.unwrap();
        Self { f, session, attempt, turn }
    }

    async fn orders(&self, offered: &[MessageId], interrupted: bool, steer: bool) -> Orders {
        let request =
            ControlRequest { attempt: self.attempt, turn: self.turn, interrupted, offered: offered.to_vec() };
        self.f.db.orders(&self.session, request, steer).await.unwrap()
    }

    async fn offered(&self, known: &[MessageId]) -> Vec<MessageId> {
        self.orders(known, false, true).await.steer.into_iter().map(|message| message.id).collect()
    }

    async fn steered(&self, seq: i64, messages: &[MessageId]) -> Vec<MessageId> {
        self.f.db.steered(&self.session, self.attempt, Seq(seq), self.turn, messages.to_vec()).await.unwrap()
    }

    async fn ends(&self, seq: i64, outcome: Outcome) -> Finished {
        self.f.finish(&self.session, self.attempt, seq, self.turn, finish(outcome, &[])).await.unwrap()
    }
}

#[tokio::test]
async fn a_message_is_offered_until_it_is_known_and_is_the_turns_when_it_is_taken() {
    let t = Turn::running().await;
    let second = t.f.say(message("2")).await.message;
    assert_eq!(t.offered(&[]).await, [second]);
    assert_eq!(t.offered(&[]).await, [second], "the answer was lost");
    let third = t.f.say(message("3")).await.message;
    assert_eq!(t.offered(&[second]).await, [third]);
    assert_eq!(t.f.state(second).await, MessageState::Pending, "until the provider has it");
    let answers = async || t.f.db.reply_to(t.turn, &chat(None)).await.unwrap();
    assert_eq!(answers().await.as_deref(), Some("1"), "what is only offered is not answered");
    assert_eq!(t.steered(1, &[second]).await, [second]);
    assert_eq!(answers().await.as_deref(), Some("2"));
    assert!(t.steered(1, &[second]).await.is_empty(), "the same event");
    assert!(t.steered(2, &[second]).await.is_empty(), "another one with the same message");
    let finished = t.ends(3, Outcome::Completed).await;
    assert_eq!(finished.messages.len(), 2);
    assert!(finished.messages.contains(&second) && !finished.messages.contains(&third));
    let next = t.f.claimed(&t.session, t.attempt).await.unwrap();
    assert!(
        next.messages.len() == 1 && next.messages[0].id == third && next.retried,
        "looked for before it is sent"
    );
}

#[tokio::test]
async fn without_steering_messages_wait_for_their_own_turn() {
    let t = Turn::running().await;
    t.f.say(message("2")).await;
    assert!(t.orders(&[], false, false).await.is_empty());
    t.ends(1, Outcome::Completed).await;
    let next = t.f.claimed(&t.session, t.attempt).await.unwrap();
    assert_eq!((next.messages.len(), next.retried), (1, false));
}

#[tokio::test]
async fn only_messages_of_the_turns_chat_up_to_the_first_command_are_offered() {
    let t = Turn::running().await;
    t.f.say(Inbound { chat: chat(Some("x")), ..message("2") }).await;
    let third = t.f.say(message("3")).await.message;
    t.f.command("/model luna").await;
    t.f.say(message("4")).await;
    assert_eq!(t.offered(&[]).await, [third]);
}

#[tokio::test]
async fn a_message_with_a_schema_is_not_steered_and_neither_is_its_turn() {
    let t = Turn::running().await;
    let schema = || Some(r#"{"type":"object"}"#.to_owned());
    t.f.say(Inbound { output_schema: schema(), ..message("2") }).await;
    t.f.say(message("3")).await;
    assert!(t.offered(&[]).await.is_empty());
    t.ends(1, Outcome::Completed).await;
    let (turn, _) = t.f.claim(&t.session, t.attempt).await.unwrap();
    assert!(Turn { turn, ..t }.offered(&[]).await.is_empty());
}

#[tokio::test]
async fn a_stop_is_told_until_it_was_obeyed_and_nothing_is_steered_behind_it() {
    let t = Turn::running().await;
    t.f.command("/stop").await;
    t.f.say(message("2")).await;
    let orders = t.orders(&[], false, true).await;
    assert!(orders.interrupt && orders.steer.is_empty());
    assert!(t.orders(&[], true, true).await.is_empty());
}

#[tokio::test]
async fn a_runner_takes_no_message_that_it_was_not_offered() {
    let t = Turn::running().await;
    let elsewhere = t.f.say(Inbound { chat: chat(Some("x")), ..message("2") }).await.message;
    let unseen = t.f.say(message("3")).await.message;
    assert!(t.steered(1, &[elsewhere, unseen, MessageId(99)]).await.is_empty());
    assert_eq!(t.f.state(elsewhere).await, MessageState::Pending);
    let stale = t.f.begin(&t.session).await;
    assert_ne!(stale, t.attempt);
    let late = t.f.db.steered(&t.session, t.attempt, Seq(2), t.turn, vec![unseen]).await;
    assert!(matches!(late, Err(StoreError::Stale { .. })));
}

/// In the moment when a turn ends, however it ends, a message is in it or waits for the next.
#[tokio::test]
async fn nothing_is_lost_when_the_turn_ends_with_messages_taken_offered_and_unseen() {
    let passing = Outcome::Failed(Failure::new(FailureKind::Upstream, "x"));
    let lasting = Outcome::Failed(Failure::new(FailureKind::Other, "x"));
    for outcome in [Some(Outcome::Completed), Some(Outcome::Interrupted), Some(lasting), Some(passing), None] {
        let t = Turn::running().await;
        let taken = t.f.say(message("2")).await.message;
        let offered = t.f.say(message("3")).await.message;
        assert_eq!(t.offered(&[]).await, [taken, offered]);
        let unseen = t.f.say(message("4")).await.message;
        t.steered(1, &[taken]).await;
        let (mut attempt, mut again) = (t.attempt, vec![MessageId(1), taken, offered]);
        match outcome.clone() {
            Some(outcome) => {
                let finished = t.ends(2, outcome).await;
                if let End::Done(_) = finished.end {
                    assert_eq!(t.f.state(taken).await, MessageState::Done);
                    again = vec![offered];
                }
            }
            None => {
                assert_eq!(t.f.end(&t.session, attempt, false).await, EndedTurn::Requeued(t.turn));
                attempt = t.f.begin(&t.session).await;
            }
        }
        t.f.time_passes().await;
        let ids = |claimed: &Claimed| claimed.messages.iter().map(|message| message.id).collect::<Vec<_>>();
        let next = t.f.claimed(&t.session, attempt).await.unwrap();
        assert_eq!((ids(&next), next.retried), (again, true), "{outcome:?}: the provider may have these");
        t.f.finish(&t.session, attempt, 3, next.turn, finish(Outcome::Completed, &["x"])).await;
        let last = t.f.claimed(&t.session, attempt).await.unwrap();
        assert_eq!((ids(&last), last.retried), (vec![unseen], false), "{outcome:?}");
    }
}
