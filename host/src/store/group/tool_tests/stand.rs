//! How a message stands, for whoever waits for its answer.

use cofferdam_protocol::runner::{Failure, FailureKind, Usage};

use super::*;
use crate::model::command::Command;
use crate::model::stand::{Answer, Stand};
use crate::store::db::Durability;

fn answer(texts: &[&str]) -> Answer {
    texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().into()
}

fn said(texts: &[&str]) -> Stand {
    Stand::Said(answer(texts))
}

impl Fixture {
    async fn stand(&self, id: &str) -> Stand {
        self.db.stand(&chat(), id).await.unwrap()
    }

    async fn fails(&self, kind: FailureKind) {
        self.ends(Finish::new(Outcome::Failed(Failure::new(kind, "no such thing")))).await;
    }

    async fn ends(&self, finish: Finish) {
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
    assert_eq!(f.stand("1").await, Stand::Asks(answer(&["Well.", "Which?\n1. Red\n2. Blue"])));
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
    assert!(
        matches!(f.stand("1").await, Stand::Said(Answer { texts, .. }) if texts.len() == 1 && !texts[0].is_empty())
    );
    f.db.accept(message("2", "/stop"), "key".into(), Some(Command::Stop)).await.unwrap();
    assert!(
        matches!(f.stand("2").await, Stand::Said(Answer { texts, .. }) if texts.len() == 1),
        "{:?}",
        f.stand("2").await
    );
}

#[tokio::test]
async fn an_answer_has_what_its_turn_took_with_the_tries_before_it_and_no_other() {
    let mut f = Fixture::new().await;
    let used = |input| Usage { input, cached_input: 10, output: 5, reasoning: 2 };
    let finish = |usage, outcome| Finish { usage, replies: vec!["Done.".into()], ..Finish::new(outcome) };
    f.ends(finish(Some(used(100)), Outcome::Completed)).await;
    assert!(matches!(f.stand("1").await, Stand::Said(answer) if answer.usage == used(100)));
    f.says("2", "more").await;
    f.next_turn().await;
    let broke = Outcome::Failed(Failure::new(FailureKind::Upstream, "broke"));
    f.ends(Finish { replies: Vec::new(), ..finish(Some(used(30)), broke) }).await;
    f.db.db.write(Durability::Relaxed, |tx| Ok(tx.execute("UPDATE inbox SET due_at = 0", [])?)).await.unwrap();
    f.next_turn().await;
    f.ends(finish(Some(used(40)), Outcome::Completed)).await;
    let both = Usage { input: 70, cached_input: 20, output: 10, reasoning: 4 };
    let stand = f.stand("2").await;
    assert!(matches!(&stand, Stand::Said(answer) if answer.usage == both), "{stand:?}");
    f.says("3", "and").await;
    f.next_turn().await;
    f.ends(finish(None, Outcome::Completed)).await;
    assert!(matches!(f.stand("3").await, Stand::Said(answer) if answer.usage == Usage::default()));
}
