//! The gate in paused time.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::gate::Gate;
use super::meters::REMEMBERED;
use crate::channels::{Pace, Rate, SendError, Showing};
use crate::model::chat::ChatRef;

fn chat(id: &str) -> ChatRef {
    ChatRef { channel: "faulty".into(), chat_id: id.into(), thread_id: None }
}

fn pace(chat: Rate, all: Rate) -> Pace {
    Pace { chat, all, at_once: 2 }
}

const SECOND: Duration = Duration::from_secs(1);

impl Gate {
    async fn pass(&self, chat: &ChatRef) -> Option<SemaphorePermit<'_>> {
        self.pass_at(chat, self.pace().chat).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_chat_of_another_kind_has_its_own_rate() {
    let gate = Gate::new(pace(Rate::each(SECOND), Rate::UNLIMITED));
    let start = Instant::now();
    for _ in 0..3 {
        drop(gate.pass_at(&chat("slow"), Rate::each(SECOND * 3)).await);
    }
    assert_eq!(start.elapsed(), SECOND * 6);
    let start = Instant::now();
    for _ in 0..3 {
        drop(gate.pass(&chat("quick")).await);
    }
    assert_eq!(start.elapsed(), SECOND * 2);
}

#[tokio::test(start_paused = true)]
async fn a_burst_goes_at_once_and_then_one_each_so_often() {
    let gate = Gate::new(pace(Rate { burst: 3, every: SECOND }, Rate::UNLIMITED));
    let start = Instant::now();
    let mut went = Vec::new();
    for _ in 0..6 {
        drop(gate.pass(&chat("a")).await);
        went.push(start.elapsed().as_secs());
    }
    assert_eq!(went, [0, 0, 0, 1, 2, 3]);
    tokio::time::sleep(SECOND * 10).await;
    let start = Instant::now();
    for _ in 0..3 {
        drop(gate.pass(&chat("a")).await);
    }
    assert!(start.elapsed().is_zero(), "saved up again, and not more than a burst");
    drop(gate.pass(&chat("a")).await);
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_chat_at_its_limit_holds_up_no_other() {
    let gate = Gate::new(pace(Rate::each(SECOND * 60), Rate::UNLIMITED));
    drop(gate.pass(&chat("a")).await);
    let start = Instant::now();
    let (a, b) = (chat("a"), chat("b"));
    let slow = gate.pass(&a);
    tokio::pin!(slow);
    tokio::select! {
        _ = &mut slow => panic!("its minute is not over"),
        slot = gate.pass(&b) => assert!(slot.is_some()),
    }
    assert!(start.elapsed().is_zero());
    drop(slow.await);
    assert_eq!(start.elapsed(), SECOND * 60);
}

#[tokio::test(start_paused = true)]
async fn two_of_one_chat_wake_together_and_the_second_holds_up_no_other_chat() {
    let gate = Gate::new(pace(Rate::each(SECOND * 10), Rate::UNLIMITED));
    let thread = |id: &str| ChatRef { thread_id: Some(id.to_owned()), ..chat("a") };
    drop(gate.pass(&chat("a")).await);
    let start = Instant::now();
    let went = Mutex::new(Vec::new());
    let pass = async |chat: ChatRef, name: &str, after: Duration| {
        tokio::time::sleep(after).await;
        drop(gate.pass(&chat).await);
        went.lock().unwrap().push((name.to_owned(), start.elapsed().as_secs()));
    };
    tokio::join!(
        pass(thread("1"), "first", Duration::ZERO),
        pass(thread("2"), "second", Duration::ZERO),
        pass(chat("b"), "other", SECOND * 11),
    );
    let expected = [("first", 10), ("other", 11), ("second", 20)].map(|(name, at)| (name.to_owned(), at));
    assert_eq!(*went.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_a_chat_holds_all_its_threads_and_no_other_chat() {
    let gate = Gate::new(pace(Rate::UNLIMITED, Rate::UNLIMITED));
    let thread = |id: &str| ChatRef { thread_id: Some(id.to_owned()), ..chat("a") };
    gate.pause_chat(&thread("1"), SECOND * 5);
    assert_eq!(gate.rest_of_pause(&thread("2")), Some(SECOND * 5));
    assert_eq!(gate.rest_of_pause(&chat("b")), None);
    let start = Instant::now();
    drop(gate.pass(&chat("b")).await);
    assert!(start.elapsed().is_zero());
    drop(gate.pass(&thread("2")).await);
    assert_eq!(start.elapsed(), SECOND * 5);
    // One that comes while somebody is at the gate already.
    let b = thread("3");
    gate.pause(SECOND);
    let late = gate.pass(&b);
    tokio::pin!(late);
    tokio::select! {
        biased;
        _ = &mut late => panic!("everything pauses"),
        () = std::future::ready(()) => gate.pause_chat(&thread("1"), SECOND * 3),
    }
    drop(late.await);
    assert_eq!(start.elapsed(), SECOND * 8);
}

#[tokio::test(start_paused = true)]
async fn all_chats_share_the_platforms_limit_in_the_order_of_arrival() {
    let gate = Gate::new(pace(Rate::UNLIMITED, Rate::each(SECOND)));
    let start = Instant::now();
    let went = Mutex::new(Vec::new());
    let pass = async |id: &str| {
        drop(gate.pass(&chat(id)).await);
        went.lock().unwrap().push((id.to_owned(), start.elapsed().as_secs()));
    };
    tokio::join!(pass("a"), pass("b"), pass("c"));
    let expected = [("a", 0), ("b", 1), ("c", 2)].map(|(id, at)| (id.to_owned(), at));
    assert_eq!(*went.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_the_platform_stops_every_chat_and_only_so_many_go_at_once() {
    let gate = Gate::new(pace(Rate::UNLIMITED, Rate::UNLIMITED));
    gate.pause(SECOND * 5);
    gate.pause(SECOND);
    let start = Instant::now();
    let first = gate.pass(&chat("a")).await;
    assert_eq!(start.elapsed(), SECOND * 5, "the longer one holds");
    let _second = gate.pass(&chat("b")).await;
    let c = chat("c");
    let third = gate.pass(&c);
    tokio::pin!(third);
    tokio::select! {
        biased;
        _ = &mut third => panic!("two are going"),
        () = tokio::time::sleep(SECOND) => {}
    }
    drop(first);
    assert!(third.await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_pause_without_end_is_the_longest_that_is_obeyed() {
    let gate = Gate::new(pace(Rate::UNLIMITED, Rate::UNLIMITED));
    gate.pause(Duration::MAX);
    let start = Instant::now();
    drop(gate.pass(&chat("a")).await);
    assert_eq!(start.elapsed(), SECOND * 3600);
}

#[tokio::test(start_paused = true)]
async fn chats_at_rest_are_forgotten() {
    let gate = Gate::new(pace(Rate::each(Duration::from_millis(1)), Rate::UNLIMITED));
    for at in 0..REMEMBERED * 3 {
        drop(gate.pass(&chat(&at.to_string())).await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(gate.remembered() <= REMEMBERED);
}

fn thread(id: &str) -> ChatRef {
    ChatRef { thread_id: Some(id.to_owned()), ..chat("a") }
}

fn three_and_one_a_second() -> Rate {
    Rate { burst: 3, every: SECOND }
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_at_the_chats_own_beat_is_never_turned_away_and_leaves_room_for_a_reply() {
    let rate = three_and_one_a_second();
    let gate = Gate::new(pace(rate, Rate { burst: 3, every: SECOND / 20 }));
    let a = chat("a");
    for beat in 0..20u32 {
        // A little early and a little late by turns, as real calls are.
        tokio::time::sleep(if beat % 2 == 0 { SECOND * 9 / 10 } else { SECOND * 11 / 10 }).await;
        assert!(gate.shows(&a, rate, Showing::Mark), "the mark of beat {beat}");
        assert!(gate.shows(&a, rate, Showing::Message), "beat {beat}");
    }
    let start = Instant::now();
    drop(gate.pass(&a).await);
    assert!(start.elapsed().is_zero(), "the reply found a place");
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_counts_in_its_chat_and_in_all_and_a_mark_in_all_only() {
    let gate = Gate::new(pace(Rate::each(SECOND), Rate::each(SECOND)));
    let (a, b) = (chat("a"), chat("b"));
    let start = Instant::now();
    assert!(gate.shows(&a, Rate::each(SECOND), Showing::Message));
    assert!(!gate.shows(&b, Rate::each(SECOND), Showing::Mark), "all had one");
    drop(gate.pass(&b).await);
    assert_eq!(start.elapsed(), SECOND);

    let gate = Gate::new(pace(Rate::each(SECOND), Rate::UNLIMITED));
    let start = Instant::now();
    assert!(gate.shows(&a, Rate::each(SECOND), Showing::Message));
    for _ in 0..9 {
        assert!(gate.shows(&a, Rate::each(SECOND), Showing::Mark), "no message");
        assert!(!gate.shows(&a, Rate::each(SECOND), Showing::Message), "one a second");
    }
    drop(gate.pass(&a).await);
    assert_eq!(start.elapsed(), SECOND, "and for a reply too");
}

#[tokio::test(start_paused = true)]
async fn however_much_is_shown_a_chat_has_a_place_for_a_reply() {
    let rate = three_and_one_a_second();
    let gate = Gate::new(pace(rate, Rate::UNLIMITED));
    let mut shown = 0;
    for _ in 0..300 {
        shown += u32::from(gate.shows(&thread("1"), rate, Showing::Message));
        tokio::time::sleep(SECOND / 10).await;
    }
    assert!((30..=32).contains(&shown), "as many as the rate allows: {shown}");
    let start = Instant::now();
    drop(gate.pass(&thread("2")).await);
    assert!(start.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_shown_in_a_chat_where_a_reply_waits_nor_anywhere_while_one_waits_for_all() {
    let minute = Rate::each(SECOND * 60);
    let gate = Gate::new(pace(minute, Rate::UNLIMITED));
    let (one, other) = (thread("1"), chat("b"));
    drop(gate.pass(&one).await);
    let waits = gate.pass(&one);
    tokio::pin!(waits);
    tokio::select! {
        biased;
        _ = &mut waits => panic!("its minute is not over"),
        () = tokio::time::sleep(SECOND * 59) => {}
    }
    assert!(!gate.shows(&thread("2"), Rate::UNLIMITED, Showing::Message), "it is the reply's");
    assert!(gate.shows(&thread("2"), minute, Showing::Mark), "a mark takes nothing of the chat's");
    assert!(gate.shows(&other, minute, Showing::Message), "another chat's is not");
    drop(waits.await);

    let gate = Gate::new(pace(Rate::UNLIMITED, Rate::each(SECOND)));
    drop(gate.pass(&one).await);
    {
        let waits = gate.pass(&one);
        tokio::pin!(waits);
        tokio::select! {
            biased;
            _ = &mut waits => panic!("its second is not over"),
            () = tokio::time::sleep(SECOND * 9 / 10) => {}
        }
        for what in [Showing::Message, Showing::Mark] {
            assert!(!gate.shows(&other, Rate::UNLIMITED, what), "a reply waits for the same: {what:?}");
        }
        // It gives up.
    }
    assert!(gate.shows(&other, Rate::UNLIMITED, Showing::Message));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_shown_while_the_platform_wants_a_pause_whoever_was_told_of_it() {
    let gate = Gate::new(pace(Rate::UNLIMITED, Rate::UNLIMITED));
    let shows = |id: &str| {
        let [message, mark] =
            [Showing::Message, Showing::Mark].map(|what| gate.shows(&chat(id), Rate::UNLIMITED, what));
        assert_eq!(message, mark);
        message
    };
    gate.heed(&thread("1"), &SendError::later("too many", Some(SECOND * 5)));
    assert!(!shows("a") && shows("b"), "the chat's pause is its own");
    assert_eq!((gate.rests(&thread("2")), gate.rests(&chat("b"))), (Some(SECOND * 5), None));
    let start = Instant::now();
    drop(gate.pass(&chat("a")).await);
    assert_eq!(start.elapsed(), SECOND * 5, "replies keep to it too");
    assert!(shows("a"));

    let all = SendError::Later { why: "too many".into(), after: Some(SECOND * 2), whole_channel: true };
    gate.heed(&chat("a"), &all);
    assert!(!shows("a") && !shows("b"));
    assert_eq!(gate.rests(&chat("b")), Some(SECOND * 2));
    tokio::time::sleep(SECOND * 2).await;
    gate.heed(&chat("a"), &SendError::later("broken", None));
    gate.heed(&chat("a"), &SendError::Refused { why: "no".into() });
    assert!(shows("a") && shows("b"), "no pause was asked for");
}
