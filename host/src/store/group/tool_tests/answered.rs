//! Questions that are answered from elsewhere, and what their messages show then.

use cofferdam_protocol::ids::QuestionId;

use super::*;
use crate::model::question::QuestionState;
use crate::store::group::answers::{Answer, Given, QuestionRow};
use crate::store::group::outbox::Sent;

const FIRST: QuestionId = QuestionId(1);

fn answer(id: &str, by: &str, text: &str) -> Answer {
    let message = Inbound { sender: by.into(), ..message(id, text) };
    Answer { message, elsewhere: true }
}

impl Fixture {
    async fn gives(&self, id: &str, by: &str, text: &str) -> Given {
        self.db.answer(FIRST, answer(id, by, text)).await.unwrap()
    }

    async fn asked(&self) -> QuestionRow {
        self.db.question(FIRST).await.unwrap().unwrap()
    }

    /// The chat's channel takes what is due, each as a message with the next id.
    async fn shows(&self, first: u32) -> Vec<Outbound> {
        let mut all = Vec::new();
        while let NextReply::Leased(reply) = self.db.lease(&chat(), false).await.unwrap() {
            let id = format!("m{}", first as usize + all.len());
            self.db.sent(reply.id, Sent { place: 0, id: Some(id), shown: false }, true).await.unwrap();
            all.push(*reply);
        }
        all
    }

    async fn sql(&self, sql: &'static str) {
        let run = move |tx: &Savepoint<'_>| Ok(tx.execute(sql, [])?);
        self.db.db.write(crate::store::db::Durability::Relaxed, run).await.unwrap();
    }
}

fn closes(reply: &Outbound) -> bool {
    matches!(reply.action, Some(Action::Close(_)))
}

#[tokio::test]
async fn a_question_is_answered_once_by_its_number_and_its_chat_is_told_by_whom() {
    let f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.call("c2", "ask_user", question("And then?")).await;
    assert_eq!(f.db.open_questions().await.unwrap(), 2);
    f.shows(1).await;
    let second = f.db.answer(QuestionId(2), answer("x", "Ada", "2")).await.unwrap();
    let Given::Now(accepted) = second else { panic!("{second:?}") };
    assert_eq!(accepted.news.as_deref(), Some(&chat()));
    assert_eq!(f.state_of(accepted.message).await, (MessageState::Claimed, Some(f.turn)));
    assert_eq!(f.db.waiting(&f.key("c2")).await.unwrap(), Waiting::Over(done("Blue"), None), "that one");
    assert!(matches!(f.db.waiting(&f.key("c1")).await.unwrap(), Waiting::Until(_)), "and no other");
    let told = f.shows(3).await;
    assert_eq!(told.len(), 2, "{told:?}");
    let changed = told.iter().find(|reply| closes(reply)).unwrap();
    assert_eq!((changed.text.as_str(), &changed.onto[..]), ("answered by Ada: Blue", &["m2".to_owned()][..]));
    assert!(told.iter().any(|reply| reply.text.contains("from elsewhere by Ada: Blue (to “And then?”)")));
    let again = f.db.answer(QuestionId(2), answer("x", "Ada", "2")).await.unwrap();
    assert!(matches!(again, Given::Now(accepted) if accepted.duplicate), "the same message");
    let late = f.db.answer(QuestionId(2), answer("y", "Eve", "1")).await.unwrap();
    let Given::Over(row) = late else { panic!("{late:?}") };
    assert_eq!((row.end().as_str(), row.answered_by.as_deref()), ("answered by Ada: Blue", Some("Ada")));
    assert_eq!(f.db.answer(QuestionId(9), answer("z", "Ada", "2")).await.unwrap(), Given::Unknown);
    assert!(f.shows(9).await.is_empty() && f.db.open_questions().await.unwrap() == 1);
    assert_eq!(f.db.question_answered_by(&chat(), "x").await.unwrap(), Some(QuestionId(2)));
    assert_eq!(f.db.question_answered_by(&chat(), "1").await.unwrap(), None);
}

#[tokio::test]
async fn the_chats_own_answer_is_noted_with_who_gave_it_and_takes_the_buttons_away() {
    let f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.shows(1).await;
    f.says("2", "the green one").await;
    let row = f.asked().await;
    assert_eq!((row.answer.as_deref(), row.answered_by.as_deref()), (Some("the green one"), Some("Ann")));
    let told = f.shows(2).await;
    assert_eq!(
        told.iter().map(|reply| reply.text.as_str()).collect::<Vec<_>>(),
        ["answered by Ann: the green one"]
    );
    assert!(closes(&told[0]) && told[0].turn.is_none());
}

#[tokio::test]
async fn where_no_message_can_be_named_nothing_is_to_be_changed() {
    let f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    assert_eq!(f.outbox().await.len(), 1);
    f.says("2", "red").await;
    assert!(f.shows(1).await.is_empty());
    let free = Deed::Ask(NewQuestion { text: "Why?".into(), options: Vec::new(), timeout_secs: 600 });
    f.call("c2", "ask_user", free).await;
    f.shows(1).await;
    f.says("3", "because").await;
    assert!(f.shows(2).await.is_empty(), "it has no buttons");
}

#[tokio::test]
async fn a_question_that_is_over_before_it_is_shown_has_no_buttons() {
    let f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.says("2", "red").await;
    let told = f.shows(1).await;
    assert!(told[0].buttons.is_empty() && told.len() == 2);
    assert_eq!(told[1].onto, ["m1"]);
}

#[tokio::test]
async fn a_withdrawn_question_and_one_that_nobody_answered_in_time_lose_their_buttons() {
    let f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.call("c2", "ask_user", question("And then?")).await;
    f.shows(1).await;
    f.sql("UPDATE questions SET expires_at = 1 WHERE id = 1").await;
    assert!(matches!(f.db.waiting(&f.key("c1")).await.unwrap(), Waiting::Over(_, Some(_))));
    let told = f.shows(3).await;
    assert_eq!(
        told.iter().filter(|reply| closes(reply)).map(|reply| reply.text.as_str()).collect::<Vec<_>>(),
        ["nobody answered in time"]
    );
    f.finish(&["I went on."]).await;
    let told = f.shows(5).await;
    let changed: Vec<_> = told.iter().filter(|reply| closes(reply)).collect();
    assert_eq!(
        (changed.len(), changed[0].text.as_str(), &changed[0].onto[..]),
        (1, "no longer asked", &["m2".to_owned()][..])
    );
}

#[tokio::test]
async fn a_change_that_waits_holds_up_no_reply_and_is_no_dead_letter_in_the_end() {
    let f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.shows(1).await;
    f.says("2", "red").await;
    let NextReply::Leased(change) = f.db.lease(&chat(), false).await.unwrap() else { panic!("a change") };
    let later = crate::model::delivery::Miss::Later { after: Some(std::time::Duration::from_secs(600)) };
    f.db.missed(change.id, later, "busy".into()).await.unwrap();
    assert!(matches!(f.db.next_reply(&chat()).await.unwrap(), NextReply::At(_)));
    f.call("c2", "chat_reply", reply("go on")).await;
    assert_eq!(f.outbox().await.iter().map(|reply| reply.text.as_str()).collect::<Vec<_>>(), ["go on"]);
    f.sql("UPDATE outbox SET next_try_at = 0").await;
    let NextReply::Leased(again) = f.db.lease(&chat(), false).await.unwrap() else { panic!("again") };
    assert_eq!((again.id, &again.onto[..]), (change.id, &["m1".to_owned()][..]));
    f.db.missed(again.id, crate::model::delivery::Miss::Refused, "no".into()).await.unwrap();
    assert_eq!(f.db.open_dead_letters().await.unwrap(), 0);
    assert!(matches!(f.db.next_reply(&chat()).await.unwrap(), NextReply::None));
}

#[tokio::test]
async fn an_answer_from_elsewhere_while_no_turn_runs_is_given_when_it_is_asked_again() {
    let mut f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.container_dies().await;
    let Given::Now(accepted) = f.gives("x", "Ada", "red").await else { panic!("it waits") };
    assert_eq!(f.state_of(accepted.message).await.0, MessageState::Pending);
    assert_eq!(f.next_turn().await, ["hello"]);
    assert_eq!(f.call("c9", "ask_user", question("Which?")).await.answer, done("Red"));
}

#[tokio::test]
async fn a_question_of_a_turn_that_never_came_back_ends_with_its_time() {
    let f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.shows(1).await;
    f.sql("UPDATE questions SET expires_at = 1").await;
    f.db.expire_questions().await.unwrap();
    assert_eq!(f.asked().await.state, QuestionState::Open, "its turn runs, and sees to it");
    assert!(matches!(f.gives("x", "Ada", "red").await, Given::Over(row) if row.end() == "nobody answered in time"));
    f.container_dies().await;
    assert!(f.db.has_due().await.unwrap());
    f.db.expire_questions().await.unwrap();
    assert_eq!(f.asked().await.state, QuestionState::Expired);
    assert_eq!(f.shows(2).await.iter().filter(|reply| closes(reply)).count(), 1);
}

#[tokio::test]
async fn what_cofferdam_answers_itself_is_done_with_its_answer_once() {
    let f = Fixture::new().await;
    let status = || f.db.accept_answered(message("s", "/status"), "key".into(), "all is well".into());
    let first = status().await.unwrap();
    assert_eq!((f.state_of(first.message).await.0, first.duplicate), (MessageState::Done, false));
    let again = status().await.unwrap();
    assert_eq!((again.message, again.duplicate), (first.message, true));
    let answers = f.db.answers_to(first.message).await.unwrap();
    assert_eq!(answers.iter().map(|reply| reply.text.as_str()).collect::<Vec<_>>(), ["all is well"]);
    assert_eq!(f.outbox().await.len(), 1);
    assert!(f.db.said(&f.session, None, 50).await.unwrap().iter().all(|said| said.text != "/status"));
}
