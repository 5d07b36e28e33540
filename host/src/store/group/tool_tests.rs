//! Tool calls, questions and files on a real database.

use cofferdam_protocol::ids::{Attempt, MessageId, ReplyId, Seq, SessionId, TurnId};
use cofferdam_protocol::runner::{Finish, Outcome, ProviderKind, ToolAnswer};

use super::claim::{Claim, Claimed};
use super::models::Inherited;
use super::outbox::NextReply;
use super::questions::{NewQuestion, Waiting};
use super::tools::{CallKey, CallLimits, Called, Deed, Known, NewCall};
use super::*;
use crate::model::action::{Action, SentFile};
use crate::model::chat::{Attachment, Inbound};
use crate::model::message::MessageState;
use crate::model::reply::{Outbound, ReplyKind};
use crate::model::said::By;
use jiff::tz::TimeZone;

mod answered;
mod retried;
mod stand;

struct Fixture {
    _dir: tempfile::TempDir,
    db: GroupDb,
    session: SessionId,
    attempt: Attempt,
    turn: TurnId,
}

fn chat() -> ChatRef {
    ChatRef { channel: "terminal".into(), chat_id: "demo".into(), thread_id: None }
}

fn message(id: &str, text: &str) -> Inbound {
    Inbound {
        chat: chat(),
        platform_id: id.into(),
        sender: "Ann".into(),
        sender_id: None,
        text: text.into(),
        quote: None,
        output_schema: None,
        files: Vec::new(),
    }
}

fn done(text: &str) -> ToolAnswer {
    ToolAnswer::Done { success: true, text: text.into() }
}

fn failed(text: &str) -> ToolAnswer {
    ToolAnswer::Done { success: false, text: text.into() }
}

fn reply(text: &str) -> Deed {
    Deed::Post { text: text.into(), action: None }
}

fn question(text: &str) -> Deed {
    let options = vec!["Red".to_owned(), "Blue".to_owned()];
    Deed::Ask(NewQuestion { text: text.into(), options, timeout_secs: 600 })
}

impl Fixture {
    /// A session whose first turn runs.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = GroupDb::open("demo".parse().unwrap(), &dir.path().join("state.db")).unwrap();
        let session = db.accept(message("1", "hello"), "key".into(), None).await.unwrap().session;
        let mut this = Self { _dir: dir, db, session, attempt: Attempt(0), turn: TurnId(0) };
        this.next_turn().await;
        this
    }

    /// A new attempt that claims what waits.
    async fn next_turn(&mut self) -> Vec<String> {
        self.attempt = self.db.begin_attempt(&self.session, ProviderKind::Mock, "hash".into()).await.unwrap();
        let claimed = self.claimed().await;
        self.turn = claimed.turn;
        claimed.messages.into_iter().map(|message| message.text).collect()
    }

    async fn claimed(&self) -> Claimed {
        match self.db.claim(&self.session, self.attempt, Inherited::default()).await.unwrap() {
            Claim::Turn(claimed) => *claimed,
            other => panic!("no turn: {other:?}"),
        }
    }

    fn key(&self, call_id: &str) -> CallKey {
        let (session, attempt, turn) = (self.session.clone(), self.attempt, self.turn);
        CallKey { session, attempt, turn, call_id: call_id.into() }
    }

    async fn call(&self, call_id: &str, tool: &str, deed: Deed) -> Called {
        let limits = CallLimits { calls: 5, posts: 3 };
        let call = NewCall { key: self.key(call_id), tool: tool.into(), summary: "s".into(), limits };
        self.db.call(call, deed).await.unwrap()
    }

    async fn finish(&self, replies: &[&str]) -> super::closing::Finished {
        let replies = replies.iter().map(|text| (*text).to_owned()).collect();
        let finish = Finish { replies, ..Finish::new(Outcome::Completed) };
        self.db
            .finish(&self.session, self.attempt, Seq(1), self.turn, finish, TimeZone::UTC)
            .await
            .unwrap()
            .unwrap()
    }

    async fn container_dies(&self) {
        self.db
            .end_attempt(&self.session, self.attempt, crate::model::outage::GoneBy::Itself, "gone".into())
            .await
            .unwrap();
    }

    async fn says(&self, id: &str, text: &str) -> MessageId {
        self.db.accept(message(id, text), "key".into(), None).await.unwrap().message
    }

    async fn state_of(&self, message: MessageId) -> (MessageState, Option<TurnId>) {
        let view = self.db.message(message).await.unwrap().unwrap();
        (view.state, view.turn.map(|turn| turn.id))
    }

    /// What the chat is told; how messages of questions change is left out.
    async fn outbox(&self) -> Vec<Outbound> {
        let mut all = Vec::new();
        while let NextReply::Leased(reply) = self.db.lease(&chat(), false).await.unwrap() {
            self.db.delivered(reply.id).await.unwrap();
            all.push(*reply);
        }
        all.retain(|reply| !matches!(reply.action, Some(Action::Close(_))));
        all
    }
}

#[tokio::test]
async fn a_long_answer_is_kept_while_its_turn_runs_and_then_its_beginning() {
    let f = Fixture::new().await;
    let answer = "ü".repeat(4000);
    f.call("c1", "chat_history", Deed::Answer(answer.clone())).await;
    assert_eq!(f.db.known_call(&f.key("c1")).await.unwrap(), Known::Done(done(&answer)));
    f.finish(&["hi"]).await;
    let kept =
        |tx: &Savepoint<'_>| Ok(tx.query_row("SELECT answer FROM tool_calls", [], |row| row.get::<_, String>(0))?);
    assert_eq!(f.db.db.read(kept).await.unwrap(), "ü".repeat(300));
}

#[tokio::test]
async fn a_repeated_call_is_done_once_and_gets_the_first_answer() {
    let f = Fixture::new().await;
    assert_eq!(f.db.known_call(&f.key("c1")).await.unwrap(), Known::New(chat()));
    let first = f.call("c1", "chat_reply", reply("hi")).await;
    let again = f.call("c1", "chat_reply", reply("something else")).await;
    assert!(first.posted.is_some() && again.posted.is_none());
    assert_eq!(first.answer, again.answer);
    assert_eq!(f.db.known_call(&f.key("c1")).await.unwrap(), Known::Done(first.answer));
    let outbox = f.outbox().await;
    assert_eq!(outbox.iter().map(|reply| reply.text.as_str()).collect::<Vec<_>>(), ["hi"]);
    assert_eq!(outbox[0].turn, Some(f.turn));
}

#[tokio::test]
async fn only_the_newest_attempts_running_turn_may_call() {
    let mut f = Fixture::new().await;
    let stale = f.key("c1");
    f.container_dies().await;
    f.next_turn().await;
    assert!(matches!(f.db.known_call(&stale).await, Err(StoreError::Stale { .. })));
    let other_turn = CallKey { turn: stale.turn, ..f.key("c1") };
    assert_eq!(f.db.known_call(&other_turn).await.unwrap(), Known::Done(failed("this turn is over")));
    f.finish(&["done"]).await;
    let late = f.call("c2", "chat_reply", reply("late")).await;
    assert_eq!((late.answer, late.posted), (failed("this turn is over"), None));
    assert_eq!(f.outbox().await.len(), 1, "only the answer");
}

#[tokio::test]
async fn a_turn_has_its_limits() {
    let f = Fixture::new().await;
    for call in ["c1", "c2", "c3"] {
        assert!(f.call(call, "chat_reply", reply("hi")).await.posted.is_some());
    }
    let fourth = f.call("c4", "chat_reply", reply("hi")).await;
    assert!(matches!(&fourth.answer, ToolAnswer::Done { success: false, text } if text.contains("3 messages")));
    assert_eq!(f.call("c5", "chat_history", Deed::Answer("x".into())).await.answer, done("x"), "no message");
    let sixth = f.call("c6", "chat_history", Deed::Answer("x".into())).await;
    assert!(matches!(&sixth.answer, ToolAnswer::Done { success: false, text } if text.contains("5 times")));
    assert_eq!(f.call("c1", "chat_reply", reply("hi")).await.answer, done("Sent as reply 1."), "known ones answer");
    assert_eq!(f.outbox().await.len(), 3);
}

#[tokio::test]
async fn a_turn_that_spoke_through_its_tools_may_end_without_another_word() {
    let f = Fixture::new().await;
    let (_, sent) = f.call("c1", "chat_reply", reply("hi")).await.posted.unwrap();
    let finished = f.finish(&[]).await;
    assert_eq!(finished.replies, [sent], "whoever waits for the end has to see it");
    assert_eq!(f.outbox().await.len(), 1);
}

#[tokio::test]
async fn a_question_alone_is_no_answer() {
    let f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.finish(&[]).await;
    let outbox = f.outbox().await;
    assert_eq!(outbox.last().map(|reply| reply.kind), Some(ReplyKind::Notice), "{outbox:?}");
}

#[tokio::test]
async fn only_own_replies_of_the_same_chat_are_changed() {
    let f = Fixture::new().await;
    let (_, sent) = f.call("c1", "chat_reply", reply("hi")).await.posted.unwrap();
    let edit = |reply| Deed::Edit { reply, text: "better".into() };
    assert!(f.call("c2", "chat_edit", edit(sent)).await.posted.is_some());
    assert!(f.call("c3", "chat_edit", edit(ReplyId(99))).await.posted.is_none());
    assert!(f.call("c4", "chat_edit", edit(ReplyId(sent.0 + 1))).await.posted.is_none(), "an edit is no reply");
    let outbox = f.outbox().await;
    assert_eq!(outbox[1].action, Some(Action::Edit { reply: sent }));
    assert_eq!(outbox[1].text, "better");
    let said = f.db.said(&f.session, None, 10).await.unwrap();
    assert_eq!(said.iter().map(|said| said.text.as_str()).collect::<Vec<_>>(), ["hello", "better"]);
}

#[tokio::test]
async fn a_reaction_goes_to_a_message_of_the_chat() {
    let f = Fixture::new().await;
    let react = |message| Deed::React { message, emoji: "👍".into() };
    assert!(f.call("c1", "chat_react", react(None)).await.posted.is_some());
    assert!(f.call("c2", "chat_react", react(Some(MessageId(77)))).await.posted.is_none());
    let Some(Action::React { message, platform_id, .. }) = f.outbox().await.remove(0).action else {
        panic!("not a reaction")
    };
    assert_eq!((message, platform_id.as_str()), (MessageId(1), "1"));
}

#[tokio::test]
async fn a_sent_files_path_is_below_the_groups_data_wherever_that_is() {
    let f = Fixture::new().await;
    let file = SentFile { name: "a".into(), path: "sessions/x/sent/1/a".into(), bytes: 1, caption: None };
    f.call("c1", "chat_send_file", Deed::Post { text: file.words(), action: Some(Action::File(file)) }).await;
    f.call("c2", "chat_reply", reply("that was it")).await;
    assert_eq!(f.db.files_on_their_way(&f.session).await.unwrap(), ["sessions/x/sent/1/a"]);
    let Some(Action::File(file)) = f.outbox().await.remove(0).action else { panic!("not a file") };
    assert_eq!(Path::new(&file.path), f._dir.path().join("sessions/x/sent/1/a"));
    assert!(f.db.files_on_their_way(&f.session).await.unwrap().is_empty(), "handed over");
}

#[tokio::test]
async fn the_chats_next_message_answers_and_ends_with_the_turn_that_asked() {
    let f = Fixture::new().await;
    assert_eq!(f.call("c1", "ask_user", question("Which?")).await.answer, ToolAnswer::Pending);
    assert_eq!(f.call("c1", "ask_user", question("Which?")).await.answer, ToolAnswer::Pending, "asked once");
    assert!(matches!(f.db.waiting(&f.key("c1")).await.unwrap(), Waiting::Until(_)));
    let answer = f.says("2", "blue").await;
    assert_eq!(f.state_of(answer).await, (MessageState::Claimed, Some(f.turn)));
    let next = f.says("3", "and more").await;
    assert_eq!(f.state_of(next).await, (MessageState::Pending, None), "only one message is the answer");
    assert_eq!(f.db.waiting(&f.key("c1")).await.unwrap(), Waiting::Over(done("Blue"), None));
    assert_eq!(f.db.waiting(&f.key("c1")).await.unwrap(), Waiting::Over(done("Blue"), None), "and again");
    let finished = f.finish(&["Blue it is."]).await;
    assert!(finished.messages.contains(&answer) && !finished.messages.contains(&next));
    let outbox = f.outbox().await;
    assert_eq!(outbox[0].text, "Which?\n1. Red\n2. Blue");
    assert!(matches!(&outbox[0].action, Some(Action::Question(asked)) if asked.options.len() == 2));
    assert_eq!(outbox.len(), 2, "one question, one answer: {outbox:?}");
}

#[tokio::test]
async fn a_message_of_another_chat_is_no_answer() {
    let f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    let elsewhere = ChatRef { thread_id: Some("x".into()), ..chat() };
    let other = Inbound { chat: elsewhere, ..message("2", "red") };
    let other = f.db.accept(other, "key".into(), None).await.unwrap().message;
    assert_eq!(f.state_of(other).await.0, MessageState::Pending);
    assert!(matches!(f.db.waiting(&f.key("c1")).await.unwrap(), Waiting::Until(_)));
}

#[tokio::test]
async fn two_questions_are_answered_one_after_the_other() {
    let f = Fixture::new().await;
    f.call("c1", "ask_user", question("First?")).await;
    f.call("c2", "ask_user", question("Second?")).await;
    f.says("2", "1").await;
    f.says("3", "2").await;
    assert_eq!(f.db.waiting(&f.key("c1")).await.unwrap(), Waiting::Over(done("Red"), None));
    assert_eq!(f.db.waiting(&f.key("c2")).await.unwrap(), Waiting::Over(done("Blue"), None));
}

#[tokio::test]
async fn an_answer_names_the_files_that_came_with_it() {
    let f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which picture?")).await;
    let file = Attachment { name: "a.png".into(), path: "inbox/1-a.png".into(), bytes: 9, image: true };
    let answer = Inbound { files: vec![file], ..message("2", "this") };
    f.db.accept(answer, "key".into(), None).await.unwrap();
    let answered = Waiting::Over(done("this\n[file inbox/1-a.png]"), None);
    assert_eq!(f.db.waiting(&f.key("c1")).await.unwrap(), answered);
}

#[tokio::test]
async fn a_question_whose_time_is_over_fails_with_a_notice_and_takes_no_answer() {
    let f = Fixture::new().await;
    let Deed::Ask(new) = question("Which?") else { unreachable!() };
    f.call("c1", "ask_user", Deed::Ask(NewQuestion { timeout_secs: 0, ..new })).await;
    let late = f.says("2", "red").await;
    assert_eq!(f.state_of(late).await.0, MessageState::Pending);
    let Waiting::Over(answer, Some(_)) = f.db.waiting(&f.key("c1")).await.unwrap() else { panic!("a notice") };
    assert_eq!(answer, failed("no answer within 0 s"));
    assert_eq!(f.db.waiting(&f.key("c1")).await.unwrap(), Waiting::Over(answer, None), "told once");
    let outbox = f.outbox().await;
    assert_eq!((outbox.len(), outbox[1].kind), (2, ReplyKind::Notice));
}

#[tokio::test]
async fn an_answer_that_the_turn_never_fetched_is_an_ordinary_message_of_the_next() {
    let mut f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    let answer = f.says("2", "blue").await;
    let finished = f.finish(&["I went on."]).await;
    assert!(!finished.messages.contains(&answer));
    assert_eq!(f.next_turn().await, ["blue"]);
}

#[tokio::test]
async fn a_question_that_its_turn_left_open_is_told_to_the_next_turn_only() {
    let mut f = Fixture::new().await;
    assert_eq!(f.claimed().await.question, None);
    f.call("c1", "ask_user", question("Which?")).await;
    assert_eq!(f.claimed().await.question, None, "its turn still runs");
    f.finish(&["I went on."]).await;
    let late = f.says("2", "blue").await;
    assert_eq!(f.state_of(late).await.0, MessageState::Pending, "it is withdrawn");
    f.next_turn().await;
    let left = f.claimed().await.question;
    assert_eq!(left.as_deref(), Some("Which?\n1. Red\n2. Blue"));
    f.finish(&["Blue."]).await;
    f.says("3", "next").await;
    f.next_turn().await;
    assert_eq!(f.claimed().await.question, None);
}

#[tokio::test]
async fn a_question_whose_container_died_is_taken_over_and_not_asked_again() {
    let mut f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.container_dies().await;
    assert_eq!(f.next_turn().await, ["hello"]);
    assert_eq!(f.call("c9", "ask_user", question("Which?")).await.answer, ToolAnswer::Pending);
    let answer = f.says("2", "2").await;
    assert_eq!(f.state_of(answer).await, (MessageState::Claimed, Some(f.turn)));
    assert_eq!(f.db.waiting(&f.key("c9")).await.unwrap(), Waiting::Over(done("Blue"), None));
    assert_eq!(f.outbox().await.len(), 1, "one question");
}

#[tokio::test]
async fn an_answer_that_came_while_no_turn_ran_is_given_when_it_is_asked_again() {
    let mut f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    f.container_dies().await;
    let answer = f.says("2", "red").await;
    assert_eq!(f.state_of(answer).await.0, MessageState::Pending, "it may not be lost if nobody asks again");
    assert_eq!(f.next_turn().await, ["hello"]);
    assert_eq!(f.call("c9", "ask_user", question("Which?")).await.answer, done("Red"));
    assert_eq!(f.state_of(answer).await, (MessageState::Claimed, Some(f.turn)));
    assert!(f.finish(&["Red."]).await.messages.contains(&answer));
}

#[tokio::test]
async fn the_same_question_in_a_later_turn_is_asked_anew() {
    let mut f = Fixture::new().await;
    f.call("c1", "ask_user", question("Go on?")).await;
    f.says("2", "red").await;
    f.db.waiting(&f.key("c1")).await.unwrap();
    f.finish(&["ok"]).await;
    f.says("3", "next").await;
    f.next_turn().await;
    assert_eq!(f.call("c1", "ask_user", question("Go on?")).await.answer, ToolAnswer::Pending);
}

#[tokio::test]
async fn files_come_with_their_message_also_when_it_is_handed_out_again() {
    let f = Fixture::new().await;
    f.finish(&["done"]).await;
    let file = Attachment { name: "a.png".into(), path: "inbox/1-a.png".into(), bytes: 9, image: true };
    let sent = Inbound { files: vec![file.clone()], ..message("2", "look") };
    assert_eq!(f.db.files_of_known(&chat(), "2").await.unwrap(), None);
    f.db.accept(sent.clone(), "key".into(), None).await.unwrap();
    assert!(f.db.accept(sent, "key".into(), None).await.unwrap().duplicate);
    assert_eq!(f.db.files_of_known(&chat(), "2").await.unwrap().as_deref(), Some(std::slice::from_ref(&file)));
    for _ in 0..2 {
        let claimed = f.claimed().await;
        assert_eq!(claimed.messages[0].files, std::slice::from_ref(&file));
    }
}

#[tokio::test]
async fn history_is_what_was_said_oldest_first_and_pages() {
    let mut f = Fixture::new().await;
    f.finish(&["hello Ann"]).await;
    f.says("2", "second").await;
    f.next_turn().await;
    f.call("c1", "chat_reply", reply("a moment")).await;
    f.call("c2", "chat_react", Deed::React { message: None, emoji: "👍".into() }).await;
    let texts = |said: Vec<crate::model::said::Said>| said.into_iter().map(|said| said.text).collect::<Vec<_>>();
    let said = f.db.said(&f.session, None, 50).await.unwrap();
    assert!(matches!(&said[0].by, By::Person(MessageId(1), sender) if sender == "Ann"));
    assert_eq!(texts(said), ["hello", "hello Ann", "second", "a moment"]);
    assert_eq!(texts(f.db.said(&f.session, None, 2).await.unwrap()), ["second", "a moment"]);
    let before = f.db.said(&f.session, Some(MessageId(2)), 50).await.unwrap();
    assert!(!texts(before).contains(&"second".to_owned()));
    let third = f.says("3", "third").await;
    assert_eq!(f.offered().await, [third]);
    let said = texts(f.db.said(&f.session, None, 50).await.unwrap());
    assert!(!said.contains(&"third".to_owned()), "only offered to the turn: {said:?}");
}

#[tokio::test]
async fn an_answer_to_a_question_stays_as_it_was_given() {
    let f = Fixture::new().await;
    f.call("c1", "ask_user", question("Which?")).await;
    let answer = Inbound { sender_id: Some("u".into()), ..message("2", "Blue") };
    f.db.accept(answer, "key".into(), None).await.unwrap();
    assert!(!f.db.edit(&chat(), "2", "u", "Red").await.unwrap());
    assert_eq!(f.db.waiting(&f.key("c1")).await.unwrap(), Waiting::Over(done("Blue"), None));
}
