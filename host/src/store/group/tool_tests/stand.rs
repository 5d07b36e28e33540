//! How a message stands, for whoever waits for its answer.

use cofferdam_protocol::runner::{Failure, FailureKind};

use super::*;
use crate::model::command::Command;
use crate::model::stand::Stand;

fn said(texts: &[&str]) -> Stand {
    Stand::Said(texts.iter().map(|text| (*text).to_owned()).collect())
}

impl Fixture {
    async fn stand(&self, id: &str) -> Stand {
        self.db.stand(&chat(), id).await.unwrap()
    }

    async fn fails(&self, kind: FailureKind) {
        let finish = Finish::new(Outcome::Failed(Failure::new(kind, "no such thing")));
        let ended = self.db.finish(&self.session, self.attempt, Seq(1), self.turn, finish, TimeZone::UTC);
        ended.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_message_waits_runs_and_was_answered_before_anything_is_delivered() {
    let mut f = Fixture::new().await;
    assert_eq!(f.stand("1").await, Stand::Running(f.turn));
    f.says("2", "more").await;
    assert_eq!(f.stand("2").await, Stand::Waiting);
    f.call("c1", "chat_send", reply("On it.")).await;
    f.finish(&["Done."]).await;
    assert_eq!(f.stand("1").await, said(&["On it.", "Done."]));
    f.outbox().await;
    assert_eq!(f.stand("1").await, said(&["On it.", "Done."]), "delivered, it is the same");
    f.next_turn().await;
    assert_eq!(f.stand("2").await, Stand::Running(f.turn));
    f.finish(&["More."]).await;
    assert_eq!((f.stand("1").await, f.stand("2").await), (said(&["On it.", "Done."]), said(&["More."])));
}

#[tokio::test]
async fn another_chat_or_thread_does_not_know_it() {
    let f = Fixture::new().await;
    f.finish(&["Done."]).await;
    let thread = ChatRef { thread_id: Some("t".into()), ..chat() };
    let other = ChatRef { chat_id: "other".into(), ..chat() };
    for place in [thread, other] {
        assert_eq!(f.db.stand(&place, "1").await.unwrap(), Stand::Unknown);
    }
    assert_eq!(f.stand("2").await, Stand::Unknown);
}

#[tokio::test]
async fn a_question_is_how_it_stands_until_it_is_answered() {
    let f = Fixture::new().await;
    f.call("c1", "chat_send", reply("Well.")).await;
    f.call("c2", "ask_user", question("Which?")).await;
    let asked = "Which?\n1. Red\n2. Blue".to_owned();
    assert_eq!(f.stand("1").await, Stand::Asks(vec!["Well.".into(), asked]));
    f.says("2", "red").await;
    assert_eq!(f.stand("1").await, Stand::Running(f.turn));
}

#[tokio::test]
async fn a_try_that_is_made_again_is_waited_for_and_one_for_good_fails() {
    let f = Fixture::new().await;
    f.fails(FailureKind::Upstream).await;
    assert_eq!(f.stand("1").await, Stand::Waiting, "it is tried again");
    let f = Fixture::new().await;
    f.call("c1", "chat_send", reply("Well.")).await;
    f.fails(FailureKind::Refused).await;
    assert!(matches!(f.stand("1").await, Stand::Failed(notice) if notice.contains("no such thing")));
}

#[tokio::test]
async fn a_turn_without_words_is_answered_with_ours_and_a_command_with_what_it_did() {
    let f = Fixture::new().await;
    f.finish(&[]).await;
    assert!(matches!(f.stand("1").await, Stand::Said(texts) if texts.len() == 1 && !texts[0].is_empty()));
    f.db.accept(message("2", "/stop"), "key".into(), Some(Command::Stop)).await.unwrap();
    assert!(matches!(f.stand("2").await, Stand::Said(texts) if texts.len() == 1), "{:?}", f.stand("2").await);
}
