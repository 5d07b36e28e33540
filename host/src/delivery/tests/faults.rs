//! What each fault of a channel comes to.

use super::Answer::*;
use super::*;
use crate::store::Errand;

#[tokio::test]
async fn a_failed_try_holds_back_what_is_behind_it() {
    let f = Fixture::new(false).await;
    f.script("1", &[Later(None), Later(None)]);
    f.say("a", &["1", "2", "3"]).await;
    f.pause_passes("a", 1).await;
    f.pause_passes("a", 2).await;
    assert_eq!(texts(&f.shown(3).await), ["1", "2", "3"]);
    assert_eq!(f.sent(5).await, ["1", "1", "1", "2", "3"]);
    let kept = f.all_delivered("a").await;
    assert_eq!(kept.iter().map(|reply| (reply.tries, reply.doubt)).collect::<Vec<_>>(), [(2, 0), (0, 0), (0, 0)]);
}

#[tokio::test]
async fn a_channel_that_never_answers_leaves_a_doubt_and_is_asked_again() {
    let f = Fixture::new(false).await;
    f.script("1", &[TakesAndHangs]);
    f.say("a", &["1", "2"]).await;
    f.pause_passes("a", 1).await;
    assert_eq!(texts(&f.shown(3).await), ["1", "1", "2"], "seen twice, not never");
    let kept = f.all_delivered("a").await;
    assert_eq!((kept[0].tries, kept[0].doubt, kept[1].doubt), (1, 1, 0));
    assert!(kept[0].last_error.as_ref().unwrap().contains("no answer within"));
}

#[tokio::test]
async fn a_platform_that_knows_keys_shows_what_it_took_before_the_connection_broke_once() {
    let f = Fixture::new(true).await;
    f.script("1", &[TakesAndBreaks, TakesAndHangs]);
    f.say("a", &["1", "2"]).await;
    f.pause_passes("a", 1).await;
    f.pause_passes("a", 2).await;
    let kept = f.all_delivered("a").await;
    assert_eq!((kept[0].tries, kept[0].doubt), (2, 2), "the doubt is kept all the same");
    assert_eq!(texts(&f.shown(2).await), ["1", "2"]);
    assert_eq!(f.sent(4).await, ["1", "1", "1", "2"]);
}

#[tokio::test]
async fn a_channel_that_takes_a_reply_twice_takes_no_other_for_it() {
    let f = Fixture::new(false).await;
    f.script("1", &[TakesTwice]);
    f.say("a", &["1", "2"]).await;
    assert_eq!(texts(&f.shown(3).await), ["1", "1", "2"]);
    f.all_delivered("a").await;
}

#[tokio::test]
async fn the_pause_of_a_rate_limit_is_kept_and_is_this_chats_alone() {
    let f = Fixture::new(false).await;
    f.script("1", &[Later(Some(Duration::from_secs(600)))]);
    let before = now_ms();
    f.say("a", &["1", "2"]).await;
    let kept = f.until("a", |kept| kept[0].tries == 1).await;
    assert!(kept[0].next_try_at >= before + 600_000, "{kept:?}");
    f.say("b", &["other"]).await;
    assert_eq!(texts(&f.shown(1).await), ["other"]);
    f.delivery.look_again();
    f.say("a", &["3"]).await;
    f.say("b", &["more"]).await;
    assert_eq!(texts(&f.shown(2).await), ["other", "more"], "no nudge shortens the pause");
}

#[tokio::test]
async fn the_pause_of_a_rate_limit_is_its_chats_in_all_threads() {
    const PAUSE: Duration = Duration::from_millis(400);
    let f = Fixture::new(false).await;
    f.script("1", &[Later(Some(PAUSE))]);
    let start = Instant::now();
    f.say("a", &["1"]).await;
    f.until("a", |kept| kept[0].tries == 1).await;
    let thread = ChatRef { thread_id: Some("t".into()), ..chat("a") };
    f.db.put_reply(&thread, "in a thread").await;
    f.delivery.nudge(Due { folder: f.db.folder().clone(), chat: thread });
    f.say("b", &["other"]).await;
    let shown = f.shown(2).await;
    assert_eq!(texts(&shown), ["other", "in a thread"]);
    assert!(start.elapsed() >= PAUSE, "{:?}", start.elapsed());
    f.pause_passes("a", 1).await;
    assert_eq!(texts(&f.shown(3).await)[2..], ["1"]);
}

#[tokio::test]
async fn the_pause_of_a_whole_channel_holds_every_chat() {
    const PAUSE: Duration = Duration::from_millis(400);
    let f = Fixture::new(false).await;
    f.script("1", &[PauseAll(PAUSE)]);
    let start = Instant::now();
    f.say("a", &["1"]).await;
    f.until("a", |kept| kept[0].tries == 1).await;
    f.say("b", &["other"]).await;
    f.shown(1).await;
    assert!(start.elapsed() >= PAUSE, "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_a_channel_refuses_is_dead_with_a_letter_and_the_next_goes_on() {
    let f = Fixture::new(false).await;
    f.script("1", &[Refuses]);
    f.say("a", &["1", "2"]).await;
    assert_eq!(texts(&f.shown(1).await), ["2"]);
    let kept = f.until("a", |kept| kept[1].state == "delivered").await;
    assert_eq!((kept[0].state.as_str(), kept[0].letter.as_deref()), ("dead", Some("as told")));
    assert_eq!(kept[1].letter, None);
}

#[tokio::test]
async fn a_chat_of_a_channel_that_is_gone_ends_in_a_dead_letter() {
    let f = Fixture::new(false).await;
    let gone = ChatRef { channel: "gone".into(), ..chat("a") };
    f.db.put_reply(&gone, "1").await;
    f.delivery.nudge(Due { folder: f.db.folder().clone(), chat: gone.clone() });
    let letter = loop {
        if let Some(letter) = f.db.kept(&gone).await.remove(0).letter {
            break letter;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(letter.contains("'gone'"), "{letter}");
}

#[tokio::test]
async fn a_command_that_hosts_itself_leaves_other_channels_replies_to_the_daemon() {
    let f = Fixture::new(false).await;
    f.db.put_reply(&chat("a"), "1").await;
    let hosted = Delivery::new(f.stores.clone(), Channels::default(), Default::default(), false);
    hosted.look(f.due("a"));
    hosted.shutdown(Duration::from_secs(60)).await;
    let kept = f.db.kept(&chat("a")).await.remove(0);
    assert_eq!((kept.state.as_str(), kept.letter), ("pending", None));
}

#[tokio::test]
async fn the_last_try_is_followed_by_a_dead_letter_and_the_next_reply() {
    let f = Fixture::new(false).await;
    let reply = f.db.put_reply(&chat("a"), "1").await;
    f.db.failed_before(reply, i64::from(crate::model::delivery::LATER.tries) - 1).await;
    f.script("1", &[Later(None)]);
    f.say("a", &["2"]).await;
    assert_eq!(texts(&f.shown(1).await), ["2"]);
    let kept = f.until("a", |kept| kept[1].state == "delivered").await;
    assert_eq!((kept[0].state.as_str(), kept[0].tries, kept[0].letter.as_deref()), ("dead", 150, Some("as told")));
}

#[tokio::test]
async fn what_shows_each_time_and_is_never_answered_is_not_repeated_without_end() {
    let f = Fixture::new(false).await;
    f.script("1", &[TakesAndBreaks; 9]);
    f.say("a", &["1", "2"]).await;
    for tries in 1..6 {
        f.pause_passes("a", tries).await;
    }
    assert_eq!(texts(&f.shown(7).await), ["1", "1", "1", "1", "1", "1", "2"]);
    let kept = f.until("a", |kept| kept[1].state == "delivered").await;
    assert_eq!((kept[0].state.as_str(), kept[0].doubt), ("dead", 6));
    assert!(kept[0].letter.is_some());
}

#[tokio::test]
async fn a_slow_chat_holds_up_no_other() {
    let f = Fixture::new(false).await;
    f.script("slow", &[Hangs; 9]);
    f.say("a", &["slow"]).await;
    f.sent(1).await;
    for at in 0..20 {
        f.say(&format!("b{at}"), &["fast", "too"]).await;
    }
    let shown = f.shown(40).await;
    assert!(texts(&shown).iter().all(|text| *text != "slow"));
}

#[tokio::test]
async fn only_so_many_are_on_their_way_at_once() {
    let pace = Pace { at_once: 1, ..Pace::UNLIMITED };
    let f = Fixture::at_pace(false, pace).await;
    f.script("slow", &[Hangs]);
    f.say("a", &["slow"]).await;
    f.sent(1).await;
    f.say("b", &["behind"]).await;
    // It goes once the first was given up, and its doubt was written down.
    f.shown(1).await;
    assert_eq!(f.db.kept(&chat("a")).await[0].doubt, 1);
}

#[tokio::test]
async fn replies_into_a_chat_keep_its_pace() {
    const EVERY: Duration = Duration::from_millis(50);
    let f = Fixture::at_pace(false, Pace { chat: Rate::each(EVERY), ..Pace::UNLIMITED }).await;
    let start = Instant::now();
    f.say("a", &["1", "2", "3", "4"]).await;
    assert_eq!(texts(&f.shown(4).await), ["1", "2", "3", "4"]);
    assert!(start.elapsed() >= EVERY * 3, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_crash_between_lease_and_delivered_is_a_doubt() {
    for (idempotent, copies) in [(false, 2), (true, 1)] {
        let f = Fixture::new(idempotent).await;
        f.db.put_reply(&chat("a"), "1").await;
        // The lane that crashed: it leased, its channel took it, and nothing was written down.
        let NextReply::Leased(reply) = f.db.lease(&chat("a"), true).await.unwrap() else { panic!("leased") };
        f.channel.send(&reply, (0, &Piece::Whole), None).await.unwrap();
        let delivery = Fixture::delivery(&f.stores, &f.channel);
        delivery.nudge(f.due("a"));
        let kept = f.all_delivered("a").await;
        assert_eq!((kept[0].doubt, kept[0].tries), (1, 0));
        assert_eq!(f.shown(copies).await.len(), copies);
    }
}

#[tokio::test]
async fn a_channel_that_breaks_inside_holds_up_no_chat_for_ever() {
    let f = Fixture::new(false).await;
    f.script("1", &[Panics]);
    f.say("a", &["1", "2"]).await;
    f.pause_passes("a", 1).await;
    assert_eq!(texts(&f.shown(2).await), ["1", "2"]);
}

#[tokio::test]
async fn a_lane_that_breaks_is_begun_anew_by_the_next_look() {
    let f = Fixture::new(false).await;
    f.script("1", &[PanicsEarly]);
    f.say("a", &["1", "2"]).await;
    while !f.delivery.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    f.delivery.look(f.due("a"));
    let kept = f.all_delivered("a").await;
    assert_eq!((texts(&f.shown(2).await), kept[0].doubt), (vec!["1", "2"], 1));
}

#[tokio::test]
async fn nobody_there_costs_no_try_and_a_nudge_brings_it() {
    let f = Fixture::new(false).await;
    f.script("1", &[Absent, Absent]);
    f.say("a", &["1"]).await;
    for sent in 1..3 {
        f.sent(sent).await;
        f.until("a", |kept| kept[0].state == "pending").await;
        f.nudge("a");
    }
    f.shown(1).await;
    let kept = f.all_delivered("a").await;
    assert_eq!((kept[0].tries, kept[0].doubt), (0, 0));
}

#[tokio::test]
async fn what_arrived_is_not_sent_again_because_the_disk_was_full() {
    let f = Fixture::new(false).await;
    f.db.put_reply(&chat("a"), "1").await;
    f.db.no_room_for_delivered().await;
    f.say("a", &["2"]).await;
    f.shown(1).await;
    // Refused at least once while the reply is out.
    assert!(f.db.delivered(cofferdam_protocol::ids::ReplyId(1)).await.unwrap_err().is_disk());
    f.db.room_again().await;
    let kept = f.all_delivered("a").await;
    assert_eq!(texts(&f.shown(2).await), ["1", "2"]);
    assert_eq!((kept[0].doubt, kept[0].tries), (0, 0));
}

#[tokio::test]
async fn an_end_waits_for_what_is_handed_over_and_leaves_the_rest_pending() {
    let pace = Pace { chat: Rate::each(Duration::from_secs(3600)), ..Pace::UNLIMITED };
    let f = Fixture::at_pace(false, pace).await;
    f.say("a", &["1", "2"]).await;
    f.shown(1).await;
    let start = Instant::now();
    f.delivery.shutdown(Duration::from_secs(60)).await;
    assert!(start.elapsed() < Duration::from_secs(30), "its hour is not waited for");
    let kept = f.db.kept(&chat("a")).await;
    assert_eq!((kept[0].state.as_str(), kept[1].state.as_str()), ("delivered", "pending"));
}

#[tokio::test]
async fn a_lane_whose_group_was_removed_ends_and_makes_nothing_of_it_again() {
    let f = Fixture::new(false).await;
    f.script("1", &[Later(Some(Duration::from_secs(600)))]);
    f.say("a", &["1"]).await;
    f.until("a", |kept| kept[0].tries == 1).await;
    let folder = f.db.folder().clone();
    let hold = f.stores.hold(&folder, Errand::Removal).await.unwrap();
    hold.forget().await.unwrap();
    let data = f._dir.path().join("data/groups/demo");
    std::fs::remove_dir_all(&data).unwrap();
    drop(hold);
    f.delivery.look_again();
    f.delivery.done_with(&folder, Duration::from_secs(60)).await;
    assert!(lock(&f.delivery.inner.lanes).is_empty() && !data.exists());
}

#[tokio::test]
async fn a_question_that_is_over_is_changed_only_where_there_are_edits_and_nobody_misses_it() {
    let f = Fixture::new(false).await;
    f.db.put_close(&chat("a"), "quiet", "m1").await;
    f.nudge("a");
    f.all_delivered("a").await;
    assert!(f.channel.sent.borrow().is_empty(), "no edits, no words");
    f.channel.edits.store(true, std::sync::atomic::Ordering::Relaxed);
    f.script("refused", &[Refuses]);
    f.db.put_close(&chat("a"), "refused", "m2").await;
    f.script("later", &[Later(Some(Duration::from_secs(600)))]);
    f.db.put_close(&chat("a"), "later", "m3").await;
    f.say("a", &["reply"]).await;
    assert_eq!(f.sent(3).await, ["refused", "later", "reply"], "nothing waits for a change");
    let kept = f.until("a", |kept| kept.iter().filter(|row| row.state != "delivered").count() == 1).await;
    assert!(kept.iter().all(|row| row.letter.is_none()), "{kept:?}");
    f.pause_passes("a", 1).await;
    assert_eq!(f.sent(4).await[3], "later", "and it is not forgotten");
    f.all_delivered("a").await;
}
