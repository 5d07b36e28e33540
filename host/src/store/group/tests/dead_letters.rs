//! Last tries: what becomes of messages, and what a person does about it.

use cofferdam_protocol::runner::ToolAnswer;

use super::*;
use crate::model::backoff::Backoff;
use crate::model::dead_letter::{Cause, DeadLetterEvent, DeadLetterState, Letter};
use crate::model::delivery::Miss;
use crate::store::group::closing::End;
use crate::store::group::commands::Due;
use crate::store::group::dead_letters::{LetterRow, Settled, Woken};
use crate::store::group::questions::NewQuestion;
use crate::store::group::starts::StartEnd;
use crate::store::group::tools::{CallKey, CallLimits, Deed, NewCall};
use crate::store::now_ms;

const STARTS: Backoff = Backoff { first: 1_000, longest: 9_000, tries: 3 };

fn failed(kind: FailureKind) -> Finish {
    finish(Outcome::Failed(Failure::new(kind, "it burns")), &[])
}

impl Fixture {
    async fn letters(&self) -> Vec<LetterRow> {
        self.db.dead_letters(true).await.unwrap()
    }

    async fn settle(&self, number: i64, decision: DeadLetterEvent) -> Settled {
        self.db.settle_dead_letter(number, decision).await.unwrap()
    }

    /// A start that begins when it is due, and fails.
    async fn start_fails(&self, session: &SessionId) -> StartEnd {
        let due = self.db.failed_starts(session).await.unwrap().again_at;
        self.db.start_failed(session, due.max(now_ms()), STARTS, "no image".into()).await.unwrap()
    }

    /// Claims a turn and loses its container; answers the turn's texts.
    async fn lose(&self, session: &SessionId) -> Vec<String> {
        let attempt = self.begin(session).await;
        let (_, texts) = self.claim(session, attempt).await.expect("a turn");
        self.end(session, attempt, false).await;
        texts
    }
}

#[tokio::test]
async fn a_start_is_tried_for_the_last_time_and_each_message_is_a_dead_letter_with_one_notice_per_chat() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.accept("2").await;
    f.say(Inbound { chat: chat(Some("x")), ..message("3") }).await;
    for count in [1, 2] {
        let StartEnd::Again(failed) = f.start_fails(&session).await else { panic!("too early") };
        assert_eq!((failed.count, failed.error.as_str()), (count, "no image"));
        assert!(failed.again_at > now_ms());
        assert!(f.letters().await.is_empty());
    }
    let StartEnd::GaveUp(ended) = f.start_fails(&session).await else { panic!("too late") };
    assert_eq!(ended.iter().map(|answered| answered.messages.len()).collect::<Vec<_>>(), [2, 1]);
    let told = f.all_told().await;
    assert!(told.len() == 1 && told[0].contains("no image") && told[0].contains("demo/1 to demo/2"), "{told:?}");
    assert!(told[0].contains("dead-letter retry --all demo"), "{told:?}");
    let letters = f.letters().await;
    assert_eq!(
        letters.iter().map(|row| row.text.as_str()).collect::<Vec<_>>(),
        ["text of 1", "text of 2", "text of 3"]
    );
    assert!(letters.iter().all(|row| row.fate.cause == Cause::Start && row.fate.tries == 3));
    assert_eq!(f.db.due(&session).await.unwrap(), Due::Later(None));
    assert_eq!(f.db.failed_starts(&session).await.unwrap().count, 0, "the next message has all its tries");
}

#[tokio::test]
async fn a_start_before_its_time_costs_no_try_unless_the_clock_jumped() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.start_fails(&session).await;
    let before = f.db.failed_starts(&session).await.unwrap();
    let early = f.db.start_failed(&session, now_ms(), STARTS, "still".into()).await.unwrap();
    assert!(matches!(&early, StartEnd::Again(failed) if failed.count == 1 && failed.again_at == before.again_at));
    let jumped = f.db.start_failed(&session, now_ms() - 86_400_000, STARTS, "still".into()).await.unwrap();
    assert!(matches!(jumped, StartEnd::Again(failed) if failed.count == 2));
}

#[tokio::test]
async fn another_configuration_and_a_turn_begin_the_count_anew_and_a_reopened_database_does_not() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.begin(&session).await;
    f.start_fails(&session).await;
    f.begin(&session).await;
    let Fixture { dir, db } = f;
    drop(db);
    let db = GroupDb::open("demo".parse().unwrap(), &dir.path().join("state.db")).unwrap();
    let f = Fixture { dir, db };
    assert_eq!(f.db.failed_starts(&session).await.unwrap().count, 1, "the same configuration, after a restart");
    f.db.begin_attempt(&session, ProviderKind::Mock, "other".into()).await.unwrap();
    assert_eq!(f.db.failed_starts(&session).await.unwrap().count, 0);
    f.start_fails(&session).await;
    let attempt = f.begin(&session).await;
    f.claim(&session, attempt).await.unwrap();
    assert_eq!(f.db.failed_starts(&session).await.unwrap().count, 0);
}

#[tokio::test]
async fn chats_are_told_once_that_their_messages_wait() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.say(Inbound { chat: chat(Some("x")), ..message("2") }).await;
    assert_eq!(f.db.tell_waiting(&session, "wait".into()).await.unwrap().len(), 2);
    assert!(f.db.tell_waiting(&session, "wait".into()).await.unwrap().is_empty());
    let attempt = f.begin(&session).await;
    f.claim(&session, attempt).await.unwrap();
    f.end(&session, attempt, true).await;
    assert_eq!(f.db.tell_waiting(&session, "wait".into()).await.unwrap().len(), 2, "another trouble");
}

#[tokio::test]
async fn a_message_whose_start_was_given_up_is_answered_by_its_notice_also_when_it_was_in_a_turn() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.lose(&session).await;
    f.db.give_up_waiting(&session, "mend it".into(), "bad".into()).await.unwrap();
    let Letter::Message(message) = f.letters().await[0].letter else { panic!("a message") };
    let answers = f.db.answers_to(message).await.unwrap();
    assert!(answers.len() == 1 && answers[0].text.starts_with("mend it The message is kept"), "{answers:?}");
    f.settle(1, DeadLetterEvent::Retry).await;
    let attempt = f.begin(&session).await;
    assert!(f.claimed(&session, attempt).await.unwrap().retried, "the provider may have it");
}

#[tokio::test]
async fn of_several_only_the_one_that_ends_containers_becomes_a_dead_letter() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.accept("poison").await;
    f.accept("3").await;
    assert_eq!(f.lose(&session).await.len(), 3);
    assert_eq!(f.lose(&session).await.len(), 3, "exactly as they were");
    assert!(f.letters().await.is_empty());
    f.accept("4").await;
    let mut answered = Vec::new();
    for seq in 1..20 {
        let attempt = f.begin(&session).await;
        let Some(claimed) = f.claimed(&session, attempt).await else { break };
        assert_eq!(claimed.messages.len(), 1);
        let text = claimed.messages[0].text.clone();
        assert_eq!(claimed.apart, text != "text of 4", "{text}");
        if text == "text of poison" {
            f.end(&session, attempt, false).await;
        } else {
            f.finish(&session, attempt, seq, claimed.turn, finish(Outcome::Completed, &["a"])).await.unwrap();
            answered.push(text);
        }
    }
    assert_eq!(answered, ["text of 1", "text of 3", "text of 4"], "in their order");
    let letters = f.letters().await;
    assert_eq!((letters.len(), letters[0].text.as_str()), (1, "text of poison"));
    assert_eq!((letters[0].fate.cause, letters[0].fate.tries), (Cause::Container, 2));
}

#[tokio::test]
async fn a_message_that_was_offered_to_the_turn_may_be_what_ends_it() {
    use cofferdam_protocol::runner::ControlRequest;
    let f = Fixture::new();
    let session = f.accept("1").await;
    for _ in 0..2 {
        let attempt = f.begin(&session).await;
        let claimed = f.claimed(&session, attempt).await.unwrap();
        f.accept("offered").await;
        let request = ControlRequest { attempt, turn: claimed.turn, interrupted: false, offered: Vec::new() };
        f.db.orders(&session, request, true).await.unwrap();
        f.end(&session, attempt, false).await;
    }
    assert!(f.letters().await.is_empty());
    let attempt = f.begin(&session).await;
    let claimed = f.claimed(&session, attempt).await.unwrap();
    assert!(claimed.apart && claimed.messages[0].text == "text of 1");
    let request = ControlRequest { attempt, turn: claimed.turn, interrupted: false, offered: Vec::new() };
    assert!(f.db.orders(&session, request, true).await.unwrap().is_empty(), "nothing goes into a turn of one");
}

#[tokio::test]
async fn several_that_kill_the_provider_or_are_refused_are_tried_one_by_one() {
    for kind in [FailureKind::Refused, FailureKind::ContextWindow] {
        let f = Fixture::new();
        let session = f.accept("1").await;
        f.accept("2").await;
        let attempt = f.begin(&session).await;
        let (turn, _) = f.claim(&session, attempt).await.unwrap();
        let finished = f.finish(&session, attempt, 1, turn, failed(kind)).await.unwrap();
        assert!(matches!(finished.end, End::Again(_)));
        assert!(f.told().await.contains("one by one"));
        let (turn, texts) = f.claim(&session, attempt).await.unwrap();
        assert_eq!(texts, ["text of 1"]);
        let finished = f.finish(&session, attempt, 2, turn, failed(kind)).await.unwrap();
        assert!(matches!(finished.end, End::Done(_)));
        assert_eq!(f.claim(&session, attempt).await.unwrap().1, ["text of 2"]);
        // What a vendor refuses for its content it refuses again.
        assert_eq!(f.letters().await.len(), usize::from(kind != FailureKind::Refused), "{kind:?}");
    }
}

#[tokio::test]
async fn a_retried_message_begins_anew_and_what_fails_again_is_another_dead_letter() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    for seq in [1, 2] {
        let (turn, texts) = f.claim(&session, attempt).await.unwrap();
        assert_eq!(texts, ["text of 1"]);
        f.finish(&session, attempt, seq, turn, failed(FailureKind::UsageLimit)).await.unwrap();
        let told = f.told().await;
        assert!(told.contains(&format!("cofferdam dead-letter retry demo/{seq}`")), "{told}");
        if seq == 1 {
            assert_eq!(f.settle(1, DeadLetterEvent::Retry).await, Settled::Done(Woken::Session(session.clone())));
            assert_eq!(f.db.due(&session).await.unwrap(), Due::Turn);
        }
    }
    assert_eq!(f.settle(1, DeadLetterEvent::Retry).await, Settled::Already(DeadLetterState::Retried));
    assert_eq!(f.letters().await.iter().map(|row| row.number).collect::<Vec<_>>(), [2]);
    assert_eq!(f.settle(2, DeadLetterEvent::Drop).await, Settled::Done(Woken::Nobody));
    assert_eq!(f.settle(2, DeadLetterEvent::Retry).await, Settled::Already(DeadLetterState::Dropped));
    assert_eq!(f.settle(3, DeadLetterEvent::Retry).await, Settled::Unknown);
    assert_eq!(f.db.due(&session).await.unwrap(), Due::Later(None));
    assert!(!f.db.has_due().await.unwrap(), "nothing keeps the group busy");
    let all = f.db.dead_letters(false).await.unwrap();
    assert!(all.iter().all(|row| row.fate.settled_at.is_some()) && all.len() == 2);
}

#[tokio::test]
async fn all_of_a_group_are_settled_at_once_and_open_ones_keep_it_busy() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.accept("2").await;
    f.db.give_up_waiting(&session, "mend it".into(), "bad".into()).await.unwrap();
    f.all_told().await;
    assert!(f.db.has_due().await.unwrap());
    assert_eq!(f.db.open_dead_letters().await.unwrap(), 2);
    let done = f.db.settle_dead_letters(DeadLetterEvent::Retry).await.unwrap();
    assert_eq!(done.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
    assert!(f.db.settle_dead_letters(DeadLetterEvent::Retry).await.unwrap().is_empty());
    let attempt = f.begin(&session).await;
    assert_eq!(
        f.claim(&session, attempt).await.unwrap().1,
        ["text of 1", "text of 2"],
        "never given: as they waited"
    );
}

#[tokio::test]
async fn a_command_is_no_dead_letter_and_those_that_need_no_container_are_done_all_the_same() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.command("/compact").await;
    f.command("/effort").await;
    f.db.give_up_waiting(&session, "mend it".into(), "bad".into()).await.unwrap();
    assert_eq!(f.letters().await.len(), 1);
    assert_eq!(f.db.due(&session).await.unwrap(), Due::Commands);
}

#[tokio::test]
async fn a_reply_that_is_retried_goes_out_again() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.finish(&session, attempt, 1, turn, finish(Outcome::Completed, &["a"])).await;
    let reply = f.leased().await.unwrap();
    f.db.missed(reply.id, Miss::Refused, "blocked by the user".into()).await.unwrap();
    let (number, letter) = (1, Letter::Reply(reply.id));
    let row = f.db.dead_letter(number).await.unwrap().unwrap();
    assert_eq!((row.letter, row.text.as_str(), row.turn, row.chat), (letter, "a", Some(turn), chat(None)));
    assert_eq!(f.settle(number, DeadLetterEvent::Retry).await, Settled::Done(Woken::Chat(chat(None))));
    assert_eq!(f.told().await, "a");
    assert_eq!(f.settle(number, DeadLetterEvent::Drop).await, Settled::Already(DeadLetterState::Retried));
}

/// Such as on a disk that was full at that moment.
#[tokio::test]
async fn a_turn_whose_containers_end_was_not_kept_ends_with_the_last_start() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    f.claim(&session, attempt).await.unwrap();
    f.accept("2").await;
    for _ in 0..2 {
        assert!(matches!(f.start_fails(&session).await, StartEnd::Again(_)));
    }
    let StartEnd::GaveUp(ended) = f.start_fails(&session).await else { panic!("too late") };
    assert_eq!(ended.iter().map(|answered| answered.messages.len()).collect::<Vec<_>>(), [2]);
    assert_eq!(f.db.due(&session).await.unwrap(), Due::Later(None), "no start without end");
    let texts: Vec<_> = f.letters().await.into_iter().map(|row| row.text).collect();
    assert_eq!(texts, ["text of 1", "text of 2"]);
}

#[tokio::test]
async fn an_answer_that_is_retried_after_its_question_was_asked_again_has_a_turn_of_its_own() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let mut attempt = f.begin(&session).await;
    let ask = async |attempt, turn, call_id: &str| {
        let key = CallKey { session: session.clone(), attempt, turn, call_id: call_id.into() };
        let limits = CallLimits { calls: 9, posts: 9 };
        let question = NewQuestion { text: "Which?".into(), options: Vec::new(), timeout_secs: 600 };
        let call = NewCall { key, tool: "ask_user".into(), summary: "?".into(), limits };
        f.db.call(call, Deed::Ask(question)).await.unwrap().answer
    };
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    ask(attempt, turn, "c1").await;
    f.end(&session, attempt, true).await;
    f.accept("answer").await;
    f.db.give_up_waiting(&session, "mend it".into(), "bad".into()).await.unwrap();
    f.settle(1, DeadLetterEvent::Retry).await;
    attempt = f.begin(&session).await;
    let (turn, texts) = f.claim(&session, attempt).await.unwrap();
    assert_eq!(texts, ["text of 1"]);
    assert!(matches!(ask(attempt, turn, "c2").await, ToolAnswer::Done { text, .. } if text == "text of answer"));
    f.finish(&session, attempt, 1, turn, finish(Outcome::Completed, &["a"])).await;
    f.settle(2, DeadLetterEvent::Retry).await;
    assert_eq!(f.claim(&session, attempt).await.expect("a turn").1, ["text of answer"]);
}
