//! The data path's commits on a real database.

use cofferdam_protocol::ids::{Attempt, MessageId, Seq, SessionId, TurnId};
use cofferdam_protocol::runner::{Failure, FailureKind, Finish, Outcome, ProviderKind, Thread};

use jiff::tz::TimeZone;

use super::attempts::EndedTurn;
use super::claim::{Claim, Claimed};
use super::closing::Finished;
use super::inbox::Accepted;
use super::models::Inherited;
use super::outbox::NextReply;
use super::turns::Ready;
use super::*;
use crate::model::chat::Inbound;
use crate::model::command::Command;
use crate::model::delivery::Miss;
use crate::model::message::MessageState;
use crate::model::outage::{self, GoneBy};
use crate::model::reply::{Outbound, ReplyKind};

mod clock;
mod commands;
mod dead_letters;
mod detail;
mod edits;
mod events;
mod flood;
mod histories;
mod outages;
mod power;
mod repeats;
mod reply_to;
mod retries;
mod steering;

struct Fixture {
    dir: tempfile::TempDir,
    db: GroupDb,
}

fn chat(thread: Option<&str>) -> ChatRef {
    ChatRef { channel: "terminal".into(), chat_id: "demo".into(), thread_id: thread.map(Into::into) }
}

fn message(id: &str) -> Inbound {
    Inbound {
        chat: chat(None),
        platform_id: id.into(),
        sender: "me".into(),
        sender_id: None,
        text: format!("text of {id}"),
        quote: None,
        output_schema: None,
        files: Vec::new(),
    }
}

fn finish(outcome: Outcome, replies: &[&str]) -> Finish {
    Finish {
        replies: replies.iter().map(|&text| text.to_owned()).collect(),
        thread: Some(Thread { continuation: Some("thread-2".into()), ..Thread::default() }),
        provider_millis: 1.0,
        ..Finish::new(outcome)
    }
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = GroupDb::open("demo".parse().unwrap(), &dir.path().join("state.db")).unwrap();
        Self { dir, db }
    }

    async fn accept(&self, id: &str) -> SessionId {
        self.say(message(id)).await.session
    }

    /// As the router does it.
    async fn say(&self, message: Inbound) -> Accepted {
        let command = Command::parse(&message.text);
        self.db.accept(message, "key".into(), command).await.unwrap()
    }

    /// A command; its text is its id up to the first blank behind it, so that one can be given twice.
    async fn command(&self, text: &str) -> Accepted {
        let id = format!("{text} {}", uuid::Uuid::new_v4());
        self.say(Inbound { text: text.into(), ..message(&id) }).await
    }

    async fn ready(&self, session: &SessionId, attempt: Attempt, seq: i64) {
        let ready = Ready { generation: 0, continuation: "thread-1".into(), models: Vec::new() };
        self.db.ready(session, attempt, Seq(seq), ready).await.unwrap();
    }

    async fn finish(
        &self,
        session: &SessionId,
        attempt: Attempt,
        seq: i64,
        turn: TurnId,
        finish: Finish,
    ) -> Option<Finished> {
        self.db.finish(session, attempt, Seq(seq), turn, finish, TimeZone::UTC).await.unwrap()
    }

    async fn state(&self, message: MessageId) -> MessageState {
        self.db.message(message).await.unwrap().unwrap().state
    }

    /// The next notice or reply, taken out of the outbox.
    async fn told(&self) -> String {
        let reply = self.leased().await.expect("something in the outbox");
        self.db.delivered(reply.id).await.unwrap();
        reply.text
    }

    /// Everything in the outbox.
    async fn all_told(&self) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(reply) = self.leased().await {
            self.db.delivered(reply.id).await.unwrap();
            told.push(reply.text);
        }
        told
    }

    /// Lets the time pass that messages wait for another try.
    async fn time_passes(&self) {
        let past = |tx: &Savepoint<'_>| Ok(tx.execute("UPDATE inbox SET due_at = 1 WHERE due_at > 0", [])?);
        self.db.db.write(crate::store::db::Durability::Relaxed, past).await.unwrap();
    }

    /// Lets the time pass that replies wait for another try.
    async fn replies_are_due(&self) {
        let past = |tx: &Savepoint<'_>| Ok(tx.execute("UPDATE outbox SET next_try_at = 1", [])?);
        self.db.db.write(crate::store::db::Durability::Relaxed, past).await.unwrap();
    }

    async fn begin(&self, session: &SessionId) -> Attempt {
        self.db.begin_attempt(session, ProviderKind::Mock, "hash".into()).await.unwrap()
    }

    async fn end(&self, session: &SessionId, attempt: Attempt, blameless: bool) -> EndedTurn {
        let by = if blameless { GoneBy::Plan } else { GoneBy::Itself };
        self.ends(session, attempt, by).await
    }

    async fn ends(&self, session: &SessionId, attempt: Attempt, by: GoneBy) -> EndedTurn {
        self.db.end_attempt(session, attempt, by, "gone".into()).await.unwrap()
    }

    async fn claim(&self, session: &SessionId, attempt: Attempt) -> Option<(TurnId, Vec<String>)> {
        let claimed = self.claimed(session, attempt).await?;
        Some((claimed.turn, claimed.messages.into_iter().map(|message| message.text).collect()))
    }

    /// A turn, after the commands before it.
    async fn claimed(&self, session: &SessionId, attempt: Attempt) -> Option<Claimed> {
        loop {
            match self.db.claim(session, attempt, Inherited::default()).await.unwrap() {
                Claim::Turn(claimed) => return Some(*claimed),
                Claim::Nothing(_) => return None,
                Claim::Commands => {
                    let done = self.db.do_commands(session, Inherited::default()).await.unwrap();
                    assert!(!done.is_empty(), "they would never be done");
                }
            }
        }
    }

    async fn leased(&self) -> Option<Outbound> {
        match self.db.lease(&chat(None), false).await.unwrap() {
            NextReply::Leased(reply) => Some(*reply),
            NextReply::None | NextReply::At(_) | NextReply::Due => None,
        }
    }
}

#[tokio::test]
async fn a_repeated_message_is_accepted_once() {
    let f = Fixture::new();
    let first = f.say(message("1")).await;
    let again = f.say(message("1")).await;
    assert!(!first.duplicate && again.duplicate);
    assert_eq!((first.message, first.session), (again.message, again.session));
}

#[tokio::test]
async fn waiting_messages_form_one_turn_in_order() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.accept("2").await;
    let attempt = f.begin(&session).await;
    let (_, texts) = f.claim(&session, attempt).await.unwrap();
    assert_eq!(texts, ["text of 1", "text of 2"]);
}

#[tokio::test]
async fn a_runner_that_asks_again_gets_the_same_turn() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let first = f.claim(&session, attempt).await;
    f.accept("2").await;
    assert_eq!(f.claim(&session, attempt).await, first);
}

#[tokio::test]
async fn messages_of_different_threads_never_share_a_turn() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.say(Inbound { chat: chat(Some("x")), ..message("2") }).await;
    let attempt = f.begin(&session).await;
    let claimed = f.claimed(&session, attempt).await.unwrap();
    assert_eq!((claimed.messages.len(), claimed.chat), (1, chat(None)));
}

#[tokio::test]
async fn a_write_of_a_stale_attempt_is_refused() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let stale = f.begin(&session).await;
    let (turn, _) = f.claim(&session, stale).await.unwrap();
    let current = f.begin(&session).await;
    assert!(current > stale);
    let done = finish(Outcome::Completed, &["late"]);
    assert!(matches!(f.db.claim(&session, stale, Inherited::default()).await, Err(StoreError::Stale { .. })));
    assert!(matches!(f.db.hello(&session, stale, vec![1]).await, Err(StoreError::Stale { .. })));
    let ready = Ready { generation: 0, continuation: "t".into(), models: Vec::new() };
    assert!(matches!(f.db.ready(&session, stale, Seq(1), ready).await, Err(StoreError::Stale { .. })));
    let finish = f.db.finish(&session, stale, Seq(1), turn, done, TimeZone::UTC);
    assert!(matches!(finish.await, Err(StoreError::Stale { .. })));
    assert!(matches!(
        f.db.end_attempt(&session, stale, GoneBy::Plan, String::new()).await,
        Err(StoreError::Stale { .. })
    ));
    assert!(f.leased().await.is_none(), "nothing of it reached the outbox");
}

#[tokio::test]
async fn the_token_is_kept_once_per_attempt() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    assert!(f.db.hello(&session, attempt, vec![1]).await.is_ok());
    assert!(matches!(f.db.hello(&session, attempt, vec![2]).await, Err(StoreError::TokenTaken)));
    let next = f.begin(&session).await;
    assert!(f.db.hello(&session, next, vec![3]).await.is_ok());
}

#[tokio::test]
async fn a_repeated_finish_changes_nothing() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    let done = || finish(Outcome::Completed, &["a", "b"]);
    let finished = f.finish(&session, attempt, 1, turn, done()).await.unwrap();
    assert_eq!(finished.replies.len(), 2);
    assert!(f.finish(&session, attempt, 1, turn, done()).await.is_none());
    assert_eq!(f.db.answers_to(finished.messages[0]).await.unwrap().len(), 2);
    assert_eq!(f.db.session(&session).await.unwrap().continuation.as_deref(), Some("thread-2"));
}

#[tokio::test]
async fn no_turn_ends_in_silence() {
    let failed = Outcome::Failed(Failure::new(FailureKind::Other, "it burns"));
    for (outcome, replies, says) in [
        (Outcome::Completed, &[][..], "without a reply"),
        (Outcome::Completed, &[" "][..], "without a reply"),
        (Outcome::Interrupted, &[][..], "stopped"),
        (failed, &[][..], "it burns"),
    ] {
        let f = Fixture::new();
        let session = f.accept("1").await;
        let attempt = f.begin(&session).await;
        let (turn, _) = f.claim(&session, attempt).await.unwrap();
        f.finish(&session, attempt, 1, turn, finish(outcome, replies)).await;
        let notice = f.leased().await.unwrap();
        assert_eq!(notice.kind, ReplyKind::Notice);
        assert!(notice.text.contains(says), "{}", notice.text);
    }
}

#[tokio::test]
async fn a_message_whose_container_dies_waits_again_and_ends_in_a_notice_the_second_time() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let first = f.begin(&session).await;
    let (turn, _) = f.claim(&session, first).await.unwrap();
    assert_eq!(f.end(&session, first, false).await, EndedTurn::Requeued(turn));
    let second = f.begin(&session).await;
    let (turn, texts) = f.claim(&session, second).await.unwrap();
    assert_eq!(texts, ["text of 1"]);
    assert!(
        matches!(f.end(&session, second, false).await, EndedTurn::GaveUp(t, m, ..) if t == turn && m.len() == 1)
    );
    let told = f.leased().await.unwrap().text;
    assert!(told.starts_with("gone The message is kept as dead letter demo/1"), "{told}");
    let third = f.begin(&session).await;
    assert!(f.claim(&session, third).await.is_none());
}

#[tokio::test]
async fn stopping_a_container_ourselves_costs_its_messages_no_try() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    for _ in 0..5 {
        let attempt = f.begin(&session).await;
        assert!(f.claim(&session, attempt).await.is_some());
        assert!(matches!(f.end(&session, attempt, true).await, EndedTurn::Requeued(_)));
    }
}

#[tokio::test]
async fn a_message_that_cost_a_container_goes_alone_the_next_time() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    f.claim(&session, attempt).await.unwrap();
    f.end(&session, attempt, false).await;
    f.accept("2").await;
    let attempt = f.begin(&session).await;
    let (turn, texts) = f.claim(&session, attempt).await.unwrap();
    assert_eq!(texts, ["text of 1"]);
    let done = finish(Outcome::Completed, &["a"]);
    f.finish(&session, attempt, 1, turn, done).await;
    assert_eq!(f.claim(&session, attempt).await.unwrap().1, ["text of 2"]);
}

#[tokio::test]
async fn replies_keep_their_order_and_a_lost_lease_is_taken_over() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.finish(&session, attempt, 1, turn, finish(Outcome::Completed, &["a", "b"])).await;
    let first = f.leased().await.unwrap();
    assert_eq!(first.text, "a");
    assert_eq!(first.doubts, 0);
    let again = f.leased().await.unwrap();
    assert_eq!((again.id, again.doubts), (first.id, 1), "the lease's holder died: its channel may have it");
    assert_eq!(again.key, first.key, "by which a platform knows it again");
    f.db.delivered(first.id).await.unwrap();
    assert!(f.db.delivered(first.id).await.is_err(), "delivered once");
    let second = f.leased().await.unwrap();
    assert_eq!(second.text, "b");
    assert_ne!(second.key, first.key);
    f.db.missed(second.id, Miss::Later { after: None }, "busy".into()).await.unwrap();
    assert!(matches!(f.db.next_reply(&chat(None)).await.unwrap(), NextReply::At(_)));
    assert!(matches!(f.db.lease(&chat(None), false).await.unwrap(), NextReply::At(_)));
}

#[tokio::test]
async fn another_providers_thread_is_not_resumed() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let mock = Ready { generation: 0, continuation: "mock:1".into(), models: Vec::new() };
    f.db.ready(&session, attempt, Seq(1), mock).await.unwrap();
    let attempt = f.begin(&session).await;
    assert_eq!(f.db.hello(&session, attempt, vec![1]).await.unwrap().continuation.as_deref(), Some("mock:1"));
    let attempt = f.db.begin_attempt(&session, ProviderKind::Codex, "hash".into()).await.unwrap();
    assert_eq!(f.db.hello(&session, attempt, vec![1]).await.unwrap().continuation, None);
}

#[tokio::test]
async fn refused_messages_end_in_one_notice_per_chat() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.accept("2").await;
    let notices = f.db.refuse_waiting(&session, "mend it".into()).await.unwrap();
    assert_eq!(notices.len(), 1);
    assert_eq!(f.leased().await.unwrap().text, "mend it");
}

#[tokio::test]
async fn refused_with_what_waits_is_what_a_turn_had_whose_end_was_not_kept() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    f.claim(&session, attempt).await.unwrap();
    f.accept("2").await;
    let ended = f.db.refuse_waiting(&session, "over".into()).await.unwrap();
    assert_eq!(ended.iter().map(|answered| answered.messages.len()).sum::<usize>(), 2, "{ended:?}");
    for message in ended.into_iter().flat_map(|answered| answered.messages) {
        assert_eq!(f.state(message).await, MessageState::Done);
        assert_eq!(f.db.answers_to(message).await.unwrap()[0].text, "over");
    }
    assert_eq!(f.all_told().await, ["over"]);
    assert_eq!(f.db.session(&session).await.unwrap().running, None);
}

#[tokio::test]
async fn everything_answered_is_there_after_a_reopen() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    f.claim(&session, attempt).await.unwrap();
    let Fixture { dir, db } = f;
    drop(db);
    let db = GroupDb::open("demo".parse().unwrap(), &dir.path().join("state.db")).unwrap();
    assert_eq!(db.due_sessions().await.unwrap(), std::slice::from_ref(&session));
    assert_eq!(db.session(&session).await.unwrap().attempt, attempt);
    let known = db.accept(message("1"), "key".into(), None).await.unwrap();
    let view = db.message(known.message).await.unwrap().unwrap();
    assert!(known.duplicate && view.state == MessageState::Claimed);
}
