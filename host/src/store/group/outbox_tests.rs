//! The outbox on a real database; and its rows, for the tests of delivery.

use super::outbox::{NextReply, Sent, insert_reply};
use super::*;
use crate::model::chat::Inbound;
use crate::model::dead_letter::Cause;
use crate::model::delivery::{Miss, Next};
use crate::model::reply::{Outbound, ReplyKind};
use crate::store::db::Durability;
use crate::store::now_ms;
use cofferdam_protocol::ids::ReplyId;

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) text: String,
    pub(crate) state: String,
    pub(crate) tries: i64,
    pub(crate) doubt: i64,
    pub(crate) next_try_at: i64,
    pub(crate) last_error: Option<String>,
    /// The open dead letter's words, if it has one.
    pub(crate) letter: Option<String>,
}

impl GroupDb {
    /// The channel took all of a reply, and gave no id.
    pub(crate) async fn delivered(&self, reply: ReplyId) -> Result<(), StoreError> {
        self.sent(reply, Sent { place: 0, id: None, shown: false }, true).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Savepoint<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.db.write(Durability::Relaxed, work).await.unwrap()
    }

    /// Puts a reply of the chat's session into the outbox.
    pub(crate) async fn put_reply(&self, chat: &ChatRef, text: &str) -> ReplyId {
        let first = Inbound {
            chat: chat.clone(),
            platform_id: "1".into(),
            sender: "me".into(),
            sender_id: None,
            text: "hello".into(),
            quote: None,
            output_schema: None,
            files: Vec::new(),
        };
        let session = self.accept(first, format!("{chat}"), None).await.unwrap().session;
        let (chat, text) = (chat.clone(), text.to_owned());
        self.run(move |tx| insert_reply(tx, &session, None, &chat, ReplyKind::Reply, &text)).await
    }

    /// Puts the change of a question's message into the outbox, which the platform knows as `sent`.
    pub(crate) async fn put_close(&self, chat: &ChatRef, text: &str, sent: &str) -> ReplyId {
        let question = self.put_reply(chat, "Which?").await;
        let close = self.put_reply(chat, text).await;
        let asked = crate::model::action::Asked {
            id: cofferdam_protocol::ids::QuestionId(1),
            question: "Which?".into(),
            options: vec!["Red".into()],
            expires_at: 0,
        };
        let closed = crate::model::action::Closed { reply: question, asked };
        let action = serde_json::to_string(&crate::model::action::Action::Close(closed)).unwrap();
        let sent = serde_json::to_string(&[sent]).unwrap();
        self.run(move |tx| {
            tx.execute("UPDATE outbox SET action = ?1 WHERE id = ?2", rusqlite::params![action, close.0])?;
            super::states::step_reply(tx, question, crate::model::reply::ReplyEvent::Lease)?;
            super::states::step_reply(tx, question, crate::model::reply::ReplyEvent::Delivered)?;
            Ok(tx.execute("UPDATE outbox SET sent = ?1 WHERE id = ?2", rusqlite::params![sent, question.0])?)
        })
        .await;
        close
    }

    /// The chat's rows, in order.
    pub(crate) async fn kept(&self, chat: &ChatRef) -> Vec<Kept> {
        let chat = chat.clone();
        self.run(move |tx| {
            let mut statement = tx.prepare(
                "SELECT text, state, tries, doubt, next_try_at, last_error,
                        (SELECT error FROM dead_letters WHERE reply = outbox.id AND state = 'open')
                 FROM outbox WHERE channel = ?1 AND chat_id = ?2 ORDER BY id",
            )?;
            let rows = statement.query_map([&chat.channel, &chat.chat_id], |row| {
                Ok(Kept {
                    text: row.get(0)?,
                    state: row.get(1)?,
                    tries: row.get(2)?,
                    doubt: row.get(3)?,
                    next_try_at: row.get(4)?,
                    last_error: row.get(5)?,
                    letter: row.get(6)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Changes rows.
    pub(crate) async fn run_sql(&self, sql: &'static str) {
        self.run(move |tx| Ok(tx.execute_batch(sql)?)).await;
    }

    /// Lets the time pass that replies wait for another try.
    pub(crate) async fn reply_time_passes(&self) {
        self.run(|tx| Ok(tx.execute("UPDATE outbox SET next_try_at = 1 WHERE next_try_at > 1", [])?)).await;
    }

    /// As if so many tries had failed.
    pub(crate) async fn failed_before(&self, reply: ReplyId, tries: i64) {
        self.run(move |tx| Ok(tx.execute("UPDATE outbox SET tries = ?1 WHERE id = ?2", [tries, reply.0])?)).await;
    }

    /// From now on there is no room on the disk for a delivered reply.
    pub(crate) async fn no_room_for_delivered(&self) {
        self.run(|tx| {
            let pages: i64 = tx.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            tx.query_row(&format!("PRAGMA max_page_count = {}", pages + 20), [], |_| Ok(()))?;
            Ok(tx.execute_batch(
                "CREATE TABLE filler (x BLOB);
                 CREATE TRIGGER no_room BEFORE UPDATE OF state ON outbox WHEN new.state = 'delivered'
                 BEGIN INSERT INTO filler VALUES (zeroblob(1000000)); END;",
            )?)
        })
        .await;
    }

    /// There is room again.
    pub(crate) async fn room_again(&self) {
        self.run(|tx| Ok(tx.execute_batch("DROP TRIGGER no_room")?)).await;
    }
}

struct Outbox {
    _dir: tempfile::TempDir,
    db: GroupDb,
}

fn chat() -> ChatRef {
    ChatRef { channel: "faulty".into(), chat_id: "a".into(), thread_id: None }
}

impl Outbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = GroupDb::open("demo".parse().unwrap(), &dir.path().join("state.db")).unwrap();
        Self { _dir: dir, db }
    }

    async fn leased(&self) -> Box<Outbound> {
        match self.db.lease(&chat(), true).await.unwrap() {
            NextReply::Leased(reply) => reply,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_failed_waits_and_says_why() {
    let outbox = Outbox::new();
    outbox.db.put_reply(&chat(), "x").await;
    let reply = outbox.leased().await;
    let next = outbox.db.missed(reply.id, Miss::Later { after: None }, "busy".into()).await.unwrap();
    let Next::At(at) = next else { panic!("{next:?}") };
    assert!(at > now_ms());
    let kept = &outbox.db.kept(&chat()).await[0];
    let says = (kept.state.as_str(), kept.tries, kept.doubt, kept.last_error.as_deref());
    assert_eq!(says, ("pending", 1, 0, Some("busy")));
    outbox.db.reply_time_passes().await;
    assert_eq!(outbox.leased().await.tries, 1);
}

#[tokio::test]
async fn a_dead_reply_and_its_dead_letter_are_one_write_and_the_next_goes_on() {
    let outbox = Outbox::new();
    outbox.db.put_reply(&chat(), "x").await;
    outbox.db.put_reply(&chat(), "y").await;
    let reply = outbox.leased().await;
    let long = "no ".repeat(1000);
    assert_eq!(outbox.db.missed(reply.id, Miss::Refused, long).await.unwrap(), Next::Dead);
    let kept = outbox.db.kept(&chat()).await.remove(0);
    assert_eq!((kept.state.as_str(), kept.tries), ("dead", 1));
    assert_eq!(kept.letter.unwrap().chars().count(), 500, "not a page");
    assert_eq!(outbox.leased().await.text, "y");
    let cause: String =
        outbox.db.run(|tx| Ok(tx.query_row("SELECT cause FROM dead_letters", [], |row| row.get(0))?)).await;
    assert_eq!(Cause::parse(&cause), Some(Cause::Delivery));
    assert!(outbox.db.missed(reply.id, Miss::Refused, "again".into()).await.is_err(), "it is dead already");
    let letters: i64 =
        outbox.db.run(|tx| Ok(tx.query_row("SELECT count(*) FROM dead_letters", [], |row| row.get(0))?)).await;
    assert_eq!(letters, 1);
}

#[tokio::test]
async fn a_time_further_away_than_any_pause_was_set_before_the_clock_went_back() {
    let outbox = Outbox::new();
    let reply = outbox.db.put_reply(&chat(), "x").await;
    let at = |at: i64| {
        outbox.db.run(move |tx| Ok(tx.execute("UPDATE outbox SET next_try_at = ?1 WHERE id = ?2", [at, reply.0])?))
    };
    at(now_ms() + 60_000).await;
    assert!(matches!(outbox.db.next_reply(&chat()).await.unwrap(), NextReply::At(_)));
    at(now_ms() + 24 * 3_600_000).await;
    assert!(matches!(outbox.db.next_reply(&chat()).await.unwrap(), NextReply::Due));
}

#[tokio::test]
async fn a_key_is_a_uuid_of_one_reply_of_one_session() {
    let (a, b) = (Outbox::new(), Outbox::new());
    for outbox in [&a, &b] {
        outbox.db.put_reply(&chat(), "x").await;
    }
    let (one, other) = (a.leased().await, b.leased().await);
    assert_eq!(one.id, other.id, "the same number");
    assert_ne!(one.key, other.key, "in another installation");
    assert!(uuid::Uuid::parse_str(&one.key).is_ok(), "{}", one.key);
    assert_eq!(a.leased().await.key, one.key, "at every try");
}

mod told {
    use cofferdam_protocol::ids::SessionId;
    use cofferdam_protocol::runner::{Failure, FailureKind, Finish, Outcome, ProviderKind, Thread};
    use jiff::tz::TimeZone;

    use super::*;
    use crate::store::group::claim::{Claim, Claimed};
    use crate::store::group::models::Inherited;
    use cofferdam_protocol::ids::{Attempt, Seq};

    async fn dies(outbox: &Outbox, text: &str) -> ReplyId {
        let reply = outbox.db.put_reply(&chat(), text).await;
        let leased = outbox.leased().await;
        assert_eq!(leased.id, reply);
        outbox.db.missed(reply, Miss::Refused, format!("no {text}")).await.unwrap();
        reply
    }

    async fn say(outbox: &Outbox, id: &str) -> SessionId {
        let message = Inbound {
            chat: chat(),
            platform_id: id.into(),
            sender: "me".into(),
            sender_id: None,
            text: id.into(),
            quote: None,
            output_schema: None,
            files: Vec::new(),
        };
        outbox.db.accept(message, format!("{}", chat()), None).await.unwrap().session
    }

    async fn claim(outbox: &Outbox, session: &SessionId, attempt: Attempt) -> Claimed {
        match outbox.db.claim(session, attempt, Inherited::default()).await.unwrap() {
            Claim::Turn(claimed) => *claimed,
            other => panic!("{other:?}"),
        }
    }

    fn texts(claimed: &Claimed) -> Vec<&str> {
        claimed.undelivered.newest.iter().map(|lost| lost.text.as_str()).collect()
    }

    async fn finish(
        outbox: &Outbox,
        session: &SessionId,
        attempt: Attempt,
        seq: i64,
        turn: &Claimed,
        how: Outcome,
    ) {
        let finish = Finish { thread: Some(Thread::default()), provider_millis: 1.0, ..Finish::new(how) };
        outbox.db.finish(session, attempt, Seq(seq), turn.turn, finish, TimeZone::UTC).await.unwrap();
    }

    #[tokio::test]
    async fn a_turn_is_told_once_and_again_when_it_is_handed_out_again() {
        let outbox = Outbox::new();
        dies(&outbox, "a").await;
        let session = say(&outbox, "2").await;
        let attempt = outbox.db.begin_attempt(&session, ProviderKind::Mock, "hash".into()).await.unwrap();
        let turn = claim(&outbox, &session, attempt).await;
        assert_eq!(texts(&turn), ["a"]);
        assert_eq!(turn.undelivered.newest[0].why, "no a");
        // The answer to the first call was lost. What died meanwhile waits for the next turn.
        dies(&outbox, "b").await;
        let again = claim(&outbox, &session, attempt).await;
        assert_eq!((again.turn, texts(&again)), (turn.turn, vec!["a"]));
        finish(&outbox, &session, attempt, 1, &turn, Outcome::Completed).await;
        say(&outbox, "3").await;
        let next = claim(&outbox, &session, attempt).await;
        assert_eq!(texts(&next), ["b"]);
    }

    #[tokio::test]
    async fn a_turn_that_is_tried_again_is_told_again() {
        let outbox = Outbox::new();
        dies(&outbox, "a").await;
        let session = say(&outbox, "2").await;
        let attempt = outbox.db.begin_attempt(&session, ProviderKind::Mock, "hash".into()).await.unwrap();
        let turn = claim(&outbox, &session, attempt).await;
        let passing = Failure::new(FailureKind::Upstream, "x");
        finish(&outbox, &session, attempt, 1, &turn, Outcome::Failed(passing)).await;
        outbox.db.run(|tx| Ok(tx.execute("UPDATE inbox SET due_at = 1 WHERE due_at > 0", [])?)).await;
        let next = claim(&outbox, &session, attempt).await;
        assert_ne!(next.turn, turn.turn);
        assert_eq!(texts(&next), ["a"]);
    }

    #[tokio::test]
    async fn a_turn_is_told_the_newest_and_how_many_more() {
        let outbox = Outbox::new();
        for text in ["1", "2", "3", "4", "5", "6", "7"] {
            dies(&outbox, text).await;
        }
        let session = say(&outbox, "2").await;
        let attempt = outbox.db.begin_attempt(&session, ProviderKind::Mock, "hash".into()).await.unwrap();
        let turn = claim(&outbox, &session, attempt).await;
        assert_eq!((texts(&turn), turn.undelivered.more), (vec!["3", "4", "5", "6", "7"], 2));
    }
}
