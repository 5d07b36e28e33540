//! People change what they wrote: what nobody has read changes with it.

use super::*;
use crate::desk::floods::BURST;

const AT_ONCE: usize = BURST as usize;

impl Fixture {
    /// Writes into a chat; answers the arrival.
    pub(super) async fn wrote(&self, sender: &str, of: (ChatRef, ChatKind), text: &str) -> Arrival {
        let written = Written { text: text.into(), addressed: true, ..Written::default() };
        let arrival = self.arrival(sender, of, Content::Message(written));
        self.counter.take(arrival.clone()).await.unwrap();
        arrival
    }

    /// Somebody changes a message. It need not name the bot again.
    pub(super) async fn changes(&self, sender: &str, of: &Arrival, text: &str) -> Taken {
        let written = Written { text: text.into(), ..Written::default() };
        let sender = Sender { id: sender.into(), name: sender.into() };
        let changed = Arrival { content: Content::Edit(written), sender, ..of.clone() };
        self.counter.take(changed).await.unwrap()
    }
}

#[tokio::test]
async fn a_message_that_waits_changes_and_one_that_was_read_does_not() {
    let f = Fixture::open_chat().await;
    let first = f.wrote("2", group("-5"), "delete all").await;
    f.wrote("2", group("-5"), "and so on").await;
    f.accepted();
    assert_eq!(f.changes("2", &first, "delete nothing").await, Taken::Accepted);
    assert_eq!(f.changes("3", &first, "delete twice").await, Taken::Known, "it is not theirs");
    assert!(f.accepted().is_empty(), "nobody is woken by a change");
    assert_eq!(f.texts("demo").await, ["delete nothing", "and so on"]);
    assert_eq!(f.changes("2", &first, "too late").await, Taken::Known);
    assert!(f.drops().await.is_empty() && f.posts(group("-5")).await.is_empty(), "which is nobody's fault");
}

#[tokio::test]
async fn a_change_becomes_no_command_and_nothing_empty_and_nothing_too_long() {
    let f = Fixture::open_chat().await;
    let said = f.wrote("2", group("-5"), "hello").await;
    let huge = "x".repeat(crate::router::MAX_MESSAGE_BYTES + 1);
    for text in ["/stop", "/pair AAAA-AAAA", "/model x", " ", huge.as_str()] {
        assert_eq!(f.changes("2", &said, text).await, Taken::Known);
    }
    assert_eq!(f.texts("demo").await, ["hello"]);
}

#[tokio::test]
async fn who_may_not_write_any_more_changes_nothing_and_what_was_dropped_stays_dropped() {
    let f = Fixture::open_chat().await;
    let said = f.wrote("2", group("-5"), "hello").await;
    let besides = Content::Message(Written { text: "to others".into(), ..Written::default() });
    let besides = f.arrival("2", group("-5"), besides);
    f.counter.take(besides.clone()).await.unwrap();
    assert_eq!(f.changes("2", &besides, "@bot to you").await, Taken::Known);
    f.wire(group("-5"), "ops", Some(UnknownPolicy::Drop)).await;
    assert_eq!(f.changes("2", &said, "let me").await, Taken::Known);
    assert_eq!(f.texts("demo").await, ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_pace_or_for_an_approval_changes_too() {
    let f = Fixture::open_chat().await;
    let asked = f.wrote(STRANGER, direct(STRANGER), "let me in").await;
    assert_eq!(f.changes("2", &asked, "throw them out").await, Taken::Known);
    assert_eq!(f.changes(STRANGER, &asked, "please let me in").await, Taken::Accepted);
    f.says(OWNER, direct(OWNER), "/approve 1 ops").await;
    f.looks().await;
    assert_eq!(f.texts("ops").await, ["please let me in"]);
    for _ in 0..AT_ONCE {
        f.says("2", group("-5"), "x").await;
    }
    let late = f.wrote("2", group("-5"), "late").await;
    assert_eq!(f.changes("2", &late, "late, and changed").await, Taken::Accepted);
    f.attends_until(AT_ONCE + 2).await;
    assert_eq!(f.texts("demo").await.last().map(String::as_str), Some("late, and changed"));
}

#[tokio::test(start_paused = true)]
async fn a_change_between_the_taking_in_and_the_forgetting_is_not_lost() {
    let f = Fixture::open_chat().await;
    for _ in 0..AT_ONCE {
        f.says("2", group("-5"), "x").await;
    }
    let late = f.wrote("2", group("-5"), "before").await;
    let central = f.stores.central();
    let line = central.late_lines().await.unwrap().remove(0);
    let read = central.next_late(&line).await.unwrap().unwrap();
    // It was read there, and is in no inbox yet.
    assert_eq!(f.changes("2", &late, "after").await, Taken::Accepted);
    f.desk.take_again(&late, Vec::new(), None).await.unwrap();
    central.let_go_late(read).await.unwrap();
    f.attends_until(AT_ONCE + 2).await;
    assert_eq!(f.texts("demo").await.last().map(String::as_str), Some("after"));
}
