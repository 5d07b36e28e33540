//! Whatever comes in whatever order: every message has exactly one outcome, and the chat hears of it.

use std::collections::BTreeSet;

use cofferdam_protocol::runner::ControlRequest;
use proptest::prelude::*;

use super::*;
use crate::model::backoff::Backoff;
use crate::model::dead_letter::{DeadLetterEvent, Letter};
use crate::store::group::commands::Due;
use crate::store::group::questions::NewQuestion;
use crate::store::group::starts::StartEnd;
use crate::store::group::tools::{CallKey, CallLimits, Deed, NewCall};

/// Longer than any pause of these histories.
const HOUR: i64 = 3_600_000;
const STARTS: Backoff = Backoff { first: 1, longest: 1, tries: 2 };

#[derive(Debug, Clone)]
enum Step {
    Say(Option<&'static str>),
    Command(&'static str),
    Claim,
    Offer,
    Take,
    Early,
    Ask(bool),
    Fetch,
    Finish(usize),
    ContainerDies(GoneBy),
    Lease,
    Deliver,
    TimePasses,
    ClockGoesBack,
    Revive,
    StartFails,
    Drop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![Just(None), Just(Some("x"))].prop_map(Step::Say),
        2 => prop::sample::select(vec!["/stop", "/clear", "/compact", "/model luna", "/effort"]).prop_map(Step::Command),
        4 => Just(Step::Claim),
        2 => Just(Step::Offer),
        2 => Just(Step::Take),
        1 => Just(Step::Early),
        2 => any::<bool>().prop_map(Step::Ask),
        2 => Just(Step::Fetch),
        3 => (0usize..6).prop_map(Step::Finish),
        3 => gone_by().prop_map(Step::ContainerDies),
        2 => Just(Step::Lease),
        1 => Just(Step::Deliver),
        1 => Just(Step::TimePasses),
        1 => Just(Step::ClockGoesBack),
        1 => Just(Step::Revive),
        1 => Just(Step::StartFails),
        1 => Just(Step::Drop),
    ]
}

fn gone_by() -> impl Strategy<Value = GoneBy> {
    prop::sample::select(vec![GoneBy::Itself, GoneBy::Outage, GoneBy::Plan])
}

fn outcome(which: usize) -> Outcome {
    match which {
        0 => Outcome::Completed,
        1 => Outcome::Interrupted,
        2 => Outcome::Failed(Failure::new(FailureKind::Upstream, "x")),
        3 => Outcome::Failed(Failure::new(FailureKind::Refused, "x")),
        4 => Outcome::Failed(Failure::new(FailureKind::Silence, "x")),
        _ => Outcome::Failed(Failure::new(FailureKind::Other, "x")),
    }
}

/// How a turn comes to nothing.
#[derive(Debug, Clone, Copy)]
enum BadEnd {
    Gone(GoneBy),
    Failed(usize),
}

fn bad_end() -> impl Strategy<Value = BadEnd> {
    prop_oneof![
        prop::sample::select(vec![GoneBy::Itself, GoneBy::Outage]).prop_map(BadEnd::Gone),
        (2usize..6).prop_map(BadEnd::Failed),
    ]
}

/// The most turns of a message before it ends, whatever ends them: as one of several and by itself twice for its container
/// and four times for what can pass, and ten outages in all, of which one more when it is parted late.
const MOST_TURNS: usize = 2 * (2 + 4) + 11;

/// A session that plays a history.
struct Play {
    f: Fixture,
    session: SessionId,
    attempt: Attempt,
    turn: Option<TurnId>,
    offered: Vec<MessageId>,
    /// The newest question of the running turn.
    asked: Option<CallKey>,
    said: Vec<MessageId>,
    seq: i64,
}

impl Play {
    async fn new() -> Self {
        let f = Fixture::new();
        let first = f.say(message("0")).await;
        let attempt = f.begin(&first.session).await;
        Self {
            f,
            session: first.session,
            attempt,
            turn: None,
            offered: Vec::new(),
            asked: None,
            said: vec![first.message],
            seq: 0,
        }
    }

    async fn play(&mut self, step: Step) {
        self.seq += 1;
        let seq = Seq(self.seq);
        match (step, self.turn) {
            (Step::Say(thread), _) => {
                let id = self.seq.to_string();
                let said = self.f.say(Inbound { chat: chat(thread), ..message(&id) }).await;
                self.said.push(said.message);
            }
            (Step::Command(text), _) => self.said.push(self.f.command(text).await.message),
            (Step::Claim, _) => {
                self.turn = self.f.claimed(&self.session, self.attempt).await.map(|claimed| claimed.turn);
            }
            (Step::Offer, Some(turn)) => {
                let offered = self.offered.clone();
                let request = ControlRequest { attempt: self.attempt, turn, interrupted: false, offered };
                let orders = self.f.db.orders(&self.session, request, true).await.unwrap();
                self.offered.extend(orders.steer.iter().map(|message| message.id));
            }
            (Step::Take, Some(turn)) => {
                let taken: Vec<_> = self.offered.iter().copied().step_by(2).collect();
                self.f.db.steered(&self.session, self.attempt, seq, turn, taken).await.unwrap();
            }
            (Step::Early, Some(turn)) => {
                self.f.db.reply(&self.session, self.attempt, seq, turn, "early".into()).await.unwrap();
            }
            (Step::Ask(same), Some(turn)) => {
                let text = if same { "Which?".to_owned() } else { format!("Which, {}?", self.seq) };
                let question = NewQuestion { text, options: Vec::new(), timeout_secs: 600 };
                let key = self.key(turn);
                self.asked = Some(key.clone());
                let limits = CallLimits { calls: 1000, posts: 1000 };
                let call = NewCall { key, tool: "ask_user".into(), summary: "s".into(), limits };
                self.f.db.call(call, Deed::Ask(question)).await.unwrap();
            }
            (Step::Fetch, Some(_)) => {
                if let Some(key) = &self.asked {
                    self.f.db.waiting(key).await.unwrap();
                }
            }
            (Step::Finish(which), Some(turn)) => {
                // What was said at once is in the thread too.
                let end = Finish { found: 1, ..finish(outcome(which), &["early"]) };
                let end = if which % 2 == 0 { end } else { finish(outcome(which), &[]) };
                self.f.finish(&self.session, self.attempt, seq.0, turn, end).await.unwrap();
                self.over();
            }
            (Step::ContainerDies(by), _) => {
                self.f.ends(&self.session, self.attempt, by).await;
                self.attempt = self.f.begin(&self.session).await;
                self.over();
            }
            // A lease that is found was lost.
            (Step::Lease, _) => drop(self.f.leased().await),
            (Step::Deliver, _) => {
                if let Some(reply) = self.f.leased().await {
                    self.f.db.delivered(reply.id).await.unwrap();
                }
            }
            (Step::TimePasses, _) => {
                self.f.time_passes().await;
                self.f.replies_are_due().await;
            }
            (Step::ClockGoesBack, _) => {
                self.f.clock_goes_back(HOUR).await;
                self.f.db.clock_set_back(HOUR).await.unwrap();
                assert!(self.f.longest_wait().await <= HOUR, "nothing waits for the clock");
            }
            (Step::Revive, _) => {
                self.f.db.settle_dead_letters(DeadLetterEvent::Retry).await.unwrap();
            }
            // Also with a turn that nobody knows to be over.
            (Step::StartFails, _) => {
                let begun = self.f.db.failed_starts(&self.session).await.unwrap().again_at;
                let end = self.f.db.start_failed(&self.session, begun, STARTS, "x".into()).await.unwrap();
                if matches!(end, StartEnd::GaveUp(_)) {
                    self.over();
                }
            }
            (Step::Drop, _) => {
                self.f.db.settle_dead_letter(1, DeadLetterEvent::Drop).await.unwrap();
            }
            (Step::Offer | Step::Take | Step::Early | Step::Ask(_) | Step::Fetch | Step::Finish(_), None) => {}
        }
    }

    /// Of a call in its own right.
    fn key(&self, turn: TurnId) -> CallKey {
        CallKey { session: self.session.clone(), attempt: self.attempt, turn, call_id: format!("c{}", self.seq) }
    }

    /// A dead letter is the outcome of one message of a person, which has no other that is open.
    async fn letters_are_outcomes(&self) {
        let letters = self.f.db.dead_letters(true).await.unwrap();
        let messages: BTreeSet<_> = letters.iter().map(|row| format!("{:?}", row.letter)).collect();
        assert_eq!(messages.len(), letters.len(), "{letters:?}");
        for row in &letters {
            let Letter::Message(message) = row.letter else { continue };
            let answers = self.f.db.answers_to(message).await.unwrap();
            let named = |answer: &Outbound| answer.kind == ReplyKind::Notice && answer.text.contains("dead letter");
            assert!(answers.iter().any(named), "{row:?}: {answers:?}");
        }
    }

    fn over(&mut self) {
        self.asked = None;
        self.turn = None;
        self.offered.clear();
    }

    /// Goes on with what ends every turn badly, one way after the other, until nothing waits. Answers how many turns it took.
    async fn spoil(&mut self, ends: &[BadEnd], most: usize) -> usize {
        for turns in 0..=most {
            self.f.time_passes().await;
            self.play(Step::Claim).await;
            if self.turn.is_none() {
                assert_eq!(self.f.db.due(&self.session).await.unwrap(), Due::Later(None));
                return turns;
            }
            let step = match ends[turns % ends.len()] {
                BadEnd::Gone(by) => Step::ContainerDies(by),
                BadEnd::Failed(which) => Step::Finish(which),
            };
            self.play(step).await;
        }
        panic!("more than {most} turns");
    }

    /// Loses every lease until nothing waits for delivery. Answers how many there were.
    async fn lose_leases(&self, most: usize) -> usize {
        for leases in 0..=most {
            self.f.replies_are_due().await;
            if self.f.leased().await.is_none() {
                self.f.replies_are_due().await;
                if matches!(self.f.db.next_reply(&chat(None)).await.unwrap(), NextReply::None) {
                    return leases;
                }
            }
        }
        panic!("more than {most} leases");
    }

    /// Goes on with runners that do their work, until nothing waits.
    async fn drain(&mut self) {
        for _ in 0..400 {
            self.f.time_passes().await;
            self.play(Step::Claim).await;
            if self.turn.is_none() {
                break;
            }
            self.play(Step::Finish(0)).await;
        }
        assert_eq!(self.f.db.due(&self.session).await.unwrap(), Due::Later(None));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_message_ends_and_is_told(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut play = Play::new().await;
            for step in steps {
                play.play(step).await;
            }
            play.drain().await;
            for message in &play.said {
                assert_eq!(play.f.state(*message).await, MessageState::Done, "{message}");
                let answers = play.f.db.answers_to(*message).await.unwrap();
                assert!(!answers.is_empty(), "{message} ended in silence");
            }
            play.letters_are_outcomes().await;
        });
    }

    /// Nothing holds up what is behind it for ever: whatever ends the turns, again and again.
    #[test]
    fn what_ends_badly_each_time_ends_for_good(
        messages in 1usize..6, ends in prop::collection::vec(bad_end(), 1..8), revived in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut play = Play::new().await;
            for _ in 1..messages {
                play.play(Step::Say(None)).await;
            }
            for _ in 0..=usize::from(revived) {
                play.spoil(&ends, messages * MOST_TURNS).await;
                for message in &play.said {
                    assert_eq!(play.f.state(*message).await, MessageState::Done, "{message}");
                    assert!(!play.f.db.answers_to(*message).await.unwrap().is_empty(), "{message} ended in silence");
                }
                play.letters_are_outcomes().await;
                play.play(Step::Revive).await;
            }
            play.drain().await;
            play.lose_leases(10_000).await;
        });
    }
}
