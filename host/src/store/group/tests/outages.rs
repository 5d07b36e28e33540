//! Ends that are nobody's fault: they cost no try, and come to an end all the same.

use super::*;
use crate::model::dead_letter::{DeadLetterEvent, Letter};
use crate::model::notice;
use crate::model::outage::WantedBy;
use crate::store::group::dead_letters::{LetterRow, Settled, Woken};

impl Fixture {
    /// A turn that an outage ends, after whatever pause. Answers what it was over, and what became of it.
    async fn cut_off(&self, session: &SessionId) -> (Vec<String>, EndedTurn) {
        self.time_passes().await;
        let attempt = self.begin(session).await;
        let (_, texts) = self.claim(session, attempt).await.expect("something waits");
        (texts, self.ends(session, attempt, GoneBy::Outage).await)
    }

    async fn open_letters(&self) -> Vec<LetterRow> {
        self.db.dead_letters(true).await.unwrap()
    }
}

#[tokio::test]
async fn a_message_that_takes_the_engine_down_each_time_ends_with_the_tenth() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    for end in 1..=outage::MOST {
        let (_, ended) = f.cut_off(&session).await;
        match end {
            1..=3 => assert!(matches!(ended, EndedTurn::Requeued(_)), "{end}: {ended:?}"),
            4..=9 => assert!(
                matches!(&ended, EndedTurn::Paused(_, waiting, ..) if waiting.len() == 1),
                "{end}: {ended:?}"
            ),
            _ => assert!(matches!(ended, EndedTurn::GaveUp(..)), "{end}: {ended:?}"),
        }
    }
    let told = f.all_told().await;
    assert_eq!(told.len(), 7, "one for each pause, and the last words: {told:?}");
    assert!(told[0].contains("for the 4th time") && told[6].contains("ended in it 10 times"), "{told:?}");
    assert!(told[6].contains("dead-letter retry demo/1"), "{told:?}");
    assert_eq!(f.open_letters().await[0].fate.tries, 10);
    // From its first again.
    f.db.settle_dead_letter(1, DeadLetterEvent::Retry).await.unwrap();
    assert!(matches!(f.cut_off(&session).await.1, EndedTurn::Requeued(_)));
}

#[tokio::test]
async fn what_waits_after_an_outage_waits_on_the_disk_and_holds_up_its_own_chat_only() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    for _ in 0..4 {
        f.cut_off(&session).await;
    }
    f.accept("2").await;
    f.say(Inbound { chat: chat(Some("x")), ..message("3") }).await;
    let attempt = f.begin(&session).await;
    assert_eq!(f.claim(&session, attempt).await.unwrap().1, ["text of 3"]);
}

#[tokio::test]
async fn of_several_only_the_one_that_takes_the_engine_down_is_given_up() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.accept("2").await;
    f.accept("3").await;
    let mut ends = 0;
    for _ in 0..4 {
        assert_eq!(f.cut_off(&session).await.0.len(), 3);
        ends += 1;
    }
    let mut answered = Vec::new();
    for _ in 0..20 {
        f.time_passes().await;
        let attempt = f.begin(&session).await;
        let Some((turn, texts)) = f.claim(&session, attempt).await else { break };
        if texts == ["text of 2"] {
            f.ends(&session, attempt, GoneBy::Outage).await;
            ends += 1;
        } else {
            f.finish(&session, attempt, 1, turn, finish(Outcome::Completed, &["a"])).await;
            answered.extend(texts);
        }
    }
    assert_eq!(answered, ["text of 1", "text of 3"]);
    assert_eq!(ends, outage::MOST);
    let letters = f.open_letters().await;
    assert!(letters.len() == 1 && letters[0].text == "text of 2", "{letters:?}");
}

#[tokio::test]
async fn a_planned_end_is_counted_nowhere() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    for _ in 0..25 {
        let attempt = f.begin(&session).await;
        assert!(f.claim(&session, attempt).await.is_some());
        assert!(matches!(f.ends(&session, attempt, GoneBy::Plan).await, EndedTurn::Requeued(_)));
    }
}

#[tokio::test]
async fn an_end_that_was_noted_as_wanted_is_no_outage() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    for _ in 0..25 {
        let attempt = f.begin(&session).await;
        assert!(f.claim(&session, attempt).await.is_some());
        f.db.want_end(&session, attempt, Some(WantedBy::Daemon)).await.unwrap();
        assert!(matches!(f.ends(&session, attempt, GoneBy::Outage).await, EndedTurn::Requeued(_)));
    }
    let attempt = f.begin(&session).await;
    f.claim(&session, attempt).await.unwrap();
    f.db.want_end(&session, attempt, Some(WantedBy::Person)).await.unwrap();
    assert!(matches!(f.ends(&session, attempt, GoneBy::Outage).await, EndedTurn::Stopped(..)));
    assert_eq!(f.told().await, notice::interrupted());
    let next = f.begin(&session).await;
    assert!(f.db.want_end(&session, attempt, None).await.is_err(), "only the current one's");
    assert!(f.claim(&session, next).await.is_none());
}

#[tokio::test]
async fn a_wish_for_an_end_goes_with_its_turn() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.db.want_end(&session, attempt, Some(WantedBy::Person)).await.unwrap();
    // Its runner was quicker, and nobody told the container.
    f.finish(&session, attempt, 1, turn, Finish::new(Outcome::Completed)).await.unwrap();
    f.all_told().await;
    f.accept("2").await;
    assert!(f.claim(&session, attempt).await.is_some());
    assert!(matches!(f.ends(&session, attempt, GoneBy::Outage).await, EndedTurn::Requeued(_)), "another turn");
}

#[tokio::test]
async fn a_turn_that_a_person_ended_does_not_run_again_though_its_end_could_not_be_kept() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    assert!(f.claim(&session, attempt).await.is_some());
    f.db.want_end(&session, attempt, Some(WantedBy::Person)).await.unwrap();
    // The disk was full when the container was gone: no end of the attempt is in the rows.
    let next = f.begin(&session).await;
    assert_eq!(f.told().await, notice::interrupted());
    assert!(f.claim(&session, next).await.is_none());
}

#[tokio::test]
async fn a_reply_that_takes_the_daemon_down_each_time_waits_longer_and_is_a_dead_letter_in_the_end() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.finish(&session, attempt, 1, turn, finish(Outcome::Completed, &["poison", "behind it"])).await;
    // Each lease but the last is lost.
    let (mut handed_over, mut pauses) = (0, 0);
    let behind = loop {
        match f.db.lease(&chat(None), false).await.unwrap() {
            NextReply::Leased(reply) if reply.text == "poison" => handed_over += 1,
            NextReply::Leased(reply) => break reply,
            NextReply::At(_) => {
                pauses += 1;
                f.replies_are_due().await;
            }
            other => panic!("{other:?}"),
        }
        assert!(handed_over < 30);
    };
    assert_eq!((behind.text.as_str(), behind.doubts), ("behind it", 0));
    assert_eq!((handed_over, pauses), (10, 6));
    let letters = f.open_letters().await;
    assert!(letters.len() == 1 && matches!(letters[0].letter, Letter::Reply(_)), "{letters:?}");
    assert!(letters[0].fate.error.contains("ended 10 times") && letters[0].fate.tries == 10, "{letters:?}");
    f.db.delivered(behind.id).await.unwrap();
    let settled = f.db.settle_dead_letter(1, DeadLetterEvent::Retry).await.unwrap();
    assert_eq!(settled, Settled::Done(Woken::Chat(chat(None))));
    assert_eq!(f.leased().await.unwrap().doubts, 10, "from its first again, and the doubts stay");
    assert!(f.leased().await.is_some(), "handed over at once");
}
