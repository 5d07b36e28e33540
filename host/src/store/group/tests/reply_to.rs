//! Which message a reply answers.

use super::*;
use crate::model::action::{Action, Asked};
use crate::store::db::Durability;
use crate::store::group::outbox::{insert_action, insert_reply};
use crate::store::group::reply_to::OF_TURN;

impl Fixture {
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Savepoint<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.db.db.write(Durability::Relaxed, work).await.unwrap()
    }

    /// What the next reply answers.
    async fn answers(&self) -> Option<String> {
        let reply = self.leased().await.expect("something in the outbox");
        self.db.delivered(reply.id).await.unwrap();
        reply.reply_to
    }
}

#[tokio::test]
async fn a_turns_words_answer_the_newest_of_its_messages_also_after_a_restart() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.accept("2").await;
    let attempt = f.begin(&session).await;
    f.ready(&session, attempt, 1).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.accept("3").await;
    f.say(Inbound { chat: chat(Some("x")), ..message("elsewhere") }).await;
    assert_eq!(f.db.reply_to(turn, &chat(None)).await.unwrap().as_deref(), Some("2"), "the third waits behind it");
    assert_eq!(f.db.reply_to(turn, &chat(Some("x"))).await.unwrap(), None, "nothing of it came from there");
    f.finish(&session, attempt, 2, turn, finish(Outcome::Completed, &["so", "and so"])).await;
    let (next, _) = f.claim(&session, attempt).await.unwrap();
    assert_eq!(f.db.reply_to(next, &chat(None)).await.unwrap().as_deref(), Some("3"));
    let Fixture { dir, db } = f;
    drop(db);
    let db = GroupDb::open("demo".parse().unwrap(), &dir.path().join("state.db")).unwrap();
    let f = Fixture { dir, db };
    assert_eq!(f.answers().await.as_deref(), Some("2"));
    assert_eq!(f.answers().await.as_deref(), Some("2"), "each reply");
}

#[tokio::test]
async fn a_commands_notice_answers_it_and_a_notice_of_nobodys_answers_nobody() {
    let f = Fixture::new();
    let session = f.command("/model").await.session;
    assert!(f.claimed(&session, f.begin(&session).await).await.is_none(), "a command makes no turn");
    assert!(f.answers().await.is_some_and(|answered| answered.starts_with("/model ")));
    let of = session.clone();
    f.run(move |tx| insert_reply(tx, &of, None, &chat(None), ReplyKind::Notice, "by the way")).await;
    assert_eq!(f.answers().await, None);
    f.accept("1").await;
    f.accept("2").await;
    f.db.refuse_waiting(&session, "mend it".into()).await.unwrap();
    assert_eq!(f.answers().await.as_deref(), Some("2"));
}

#[tokio::test]
async fn what_changes_a_message_answers_none_and_an_answer_to_a_question_is_not_what_is_answered() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    // A press, which joined the turn that asked.
    let press = f.say(message("4711")).await.message;
    let of = session.clone();
    f.run(move |tx| {
        tx.execute("UPDATE inbox SET turn = ?1, state = 'claimed' WHERE id = ?2", [turn.0, press.0])?;
        tx.execute(
            "INSERT INTO questions (session, turn, call_id, channel, chat_id, text, options, state, message, asked_at, expires_at)
             VALUES (?1, ?2, 'call', 'terminal', 'demo', '?', '[]', 'answered', ?3, 0, 0)",
            rusqlite::params![of.as_str(), turn.0, press.0],
        )?;
        let asked = Asked { id: cofferdam_protocol::ids::QuestionId(1), question: "?".into(), options: vec![], expires_at: 0 };
        let first = insert_action(tx, &of, turn, &chat(None), &Action::Question(asked), "?")?;
        insert_action(tx, &of, turn, &chat(None), &Action::Edit { reply: first }, "changed")
    })
    .await;
    assert_eq!(f.answers().await.as_deref(), Some("1"));
    assert_eq!(f.answers().await, None, "a change");
}

#[tokio::test]
async fn it_is_looked_for_among_the_turns_messages_and_not_among_all_of_its_chat() {
    let f = Fixture::new();
    let plan = |tx: &Savepoint<'_>| {
        let mut statement = tx.prepare(&format!("EXPLAIN QUERY PLAN {OF_TURN}"))?;
        let of = rusqlite::params![1, "terminal", "demo", None::<String>];
        let rows = statement.query_map(of, |row| row.get::<_, String>(3))?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?.join("; "))
    };
    let plan = f.db.db.read(plan).await.unwrap();
    assert!(plan.contains("SEARCH inbox USING INDEX inbox_turn (turn=?)"), "{plan}");
}
