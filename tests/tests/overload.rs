//! More than there is room for: places are shared, order is kept, and what waits takes no memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bollard::models::ContainerSummaryStateEnum;
use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, ChatRequest};
use cofferdam_protocol::ids::{MessageId, ReplyId};
use cofferdam_tests::admin::{Admin, Answer, message};
use cofferdam_tests::engine;
use cofferdam_tests::home::TestHome;
use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinHandle;

/// A home whose groups answer by themselves.
async fn home(max_sessions: usize, groups: &[String]) -> TestHome {
    let mut home = TestHome::new();
    home.configure(&format!("max_sessions = {max_sessions}\n"));
    home.up().await;
    for group in groups {
        home.group(group, &json!({"provider": "mock"})).await;
    }
    home
}

/// The daemon's resident memory, in bytes.
fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.map(|kib: u64| kib * 1024).expect("VmRSS")
}

/// Looks at the engine until it is told to stop; answers the most containers that ran at once.
fn watch(install: String) -> (Arc<AtomicBool>, JoinHandle<usize>) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let most = tokio::spawn(async move {
        let mut most = 0;
        while !stopped.load(Ordering::Relaxed) {
            let containers = engine::owned(&install).await;
            let running = containers.iter().filter(|c| c.state == Some(ContainerSummaryStateEnum::RUNNING)).count();
            most = most.max(running);
        }
        most
    });
    (stop, most)
}

/// One message, and what its sender heard.
struct Heard {
    message: MessageId,
    text: String,
    answer: Answer,
}

async fn send(admin: Admin, group: String, text: String) -> Heard {
    let chat = admin.send_text(&group, &text).await;
    let (message, _, duplicate) = chat.accepted();
    assert!(!duplicate);
    Heard { message, text, answer: chat.end().await }
}

/// Each message was answered exactly once, in the order in which they were accepted.
fn check_order(group: &str, mut heard: Vec<Heard>) {
    heard.sort_by_key(|heard| heard.message);
    let sent: Vec<&str> = heard.iter().map(|heard| heard.text.as_str()).collect();
    let mut replies = BTreeMap::<ReplyId, &str>::new();
    for heard in &heard {
        assert_eq!(heard.answer.finished.outcome, ChatOutcome::Replied, "{group}");
        assert_eq!(heard.answer.notices(), Vec::<&str>::new(), "{group}");
        let texts = heard.answer.events.iter().filter_map(|event| match event {
            ChatEvent::Reply { reply, text, .. } => Some((*reply, text.as_str())),
            _ => None,
        });
        replies.extend(texts);
    }
    let mut answered = Vec::new();
    for (turn, reply) in (1..).zip(replies.values()) {
        let of_turn =
            reply.strip_prefix("mock reply to: ").and_then(|text| text.strip_suffix(&format!("\n(turn {turn})")));
        answered.extend(of_turn.unwrap_or_else(|| panic!("{group}, turn {turn}: {reply}")).lines());
    }
    assert_eq!(answered, sent, "{group}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_messages_over_fifty_groups_are_answered_once_and_in_order_in_eight_places() {
    /// What fifty open databases (0.5 MiB each) and a thousand clients that wait (45 KiB each) take, and half as much more.
    const GROWTH: u64 = 108 * 1024 * 1024;
    /// What the same again may add to that: nothing is kept of a message that was answered.
    const MORE: u64 = 24 * 1024 * 1024;
    let groups: Vec<String> = (0..50).map(|number| format!("g{number}")).collect();
    let home = home(8, &groups).await;
    let (admin, pid) = (home.admin(), home.pid());
    let (stop, most) = watch(admin.status().await.install);
    let before = memory_of(pid);
    let mut heard = BTreeMap::new();
    let first = burst(&admin, pid, &groups, 0..20, &mut heard).await;
    let second = burst(&admin, pid, &groups, 20..40, &mut heard).await;
    for (group, heard) in heard {
        assert_eq!(heard.len(), 40);
        check_order(&group, heard);
    }
    stop.store(true, Ordering::Relaxed);
    let most = most.await.expect("the engine answers");
    let kib = [before, first, second].map(|bytes| bytes / 1024);
    println!("most containers at once: {most}; memory before, and the peaks of both bursts: {kib:?} KiB");
    assert!((1..=8).contains(&most), "{most} containers at once");
    assert!(first.saturating_sub(before) < GROWTH, "{kib:?} KiB");
    assert!(second.saturating_sub(first) < MORE, "{kib:?} KiB");
}

/// Sends these to each group, all at once; answers the daemon's most memory until all were answered.
async fn burst(
    admin: &Admin,
    pid: u32,
    groups: &[String],
    numbers: Range<usize>,
    heard: &mut BTreeMap<String, Vec<Heard>>,
) -> u64 {
    let mut sent = Vec::new();
    for number in numbers {
        for group in groups {
            let (admin, group, text) = (admin.clone(), group.clone(), format!("{group}-{number}"));
            sent.push(tokio::spawn(async move { (group.clone(), send(admin, group, text).await) }));
        }
    }
    let all = join_all(sent);
    tokio::pin!(all);
    let mut peak = 0;
    let all = loop {
        tokio::select! {
            all = &mut all => break all,
            () = tokio::time::sleep(std::time::Duration::from_millis(20)) => peak = peak.max(memory_of(pid)),
        }
    };
    for one in all {
        let (group, one) = one.expect("no panic");
        heard.entry(group).or_default().push(one);
    }
    peak
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_takes_no_memory() {
    const MESSAGES: usize = 500;
    const BYTES: usize = 128 * 1024;
    /// Half of what waits.
    const GROWTH: u64 = (MESSAGES * BYTES / 2) as u64;
    let home = home(1, &["demo".to_owned()]).await;
    let (admin, pid) = (home.admin(), home.pid());
    let mut busy = admin.send_text("demo", "!silent").await;
    busy.started().await;
    // What reading and writing messages of this size takes once.
    flood(&admin, 50, BYTES).await;
    let before = memory_of(pid);
    flood(&admin, MESSAGES, BYTES).await;
    let after = memory_of(pid);
    println!(
        "{MESSAGES} messages of {} KiB wait: {} KiB before, {} KiB after",
        BYTES / 1024,
        before / 1024,
        after / 1024
    );
    assert!(after.saturating_sub(before) < GROWTH, "{} KiB before, {} KiB after", before / 1024, after / 1024);
    let waiting: u64 = admin.sessions(Some("demo")).await.iter().map(|session| session.waiting).sum();
    assert_eq!(waiting, 50 + MESSAGES as u64);
    let stopped = admin.chat("demo", "/stop").await;
    assert_eq!(stopped.finished.outcome, ChatOutcome::Replied);
}

/// Puts messages into demo's inbox, eight at a time; nobody waits for their answers.
async fn flood(admin: &Admin, messages: usize, bytes: usize) {
    let text = "x".repeat(bytes);
    let sent = futures_util::stream::iter(0..messages).for_each_concurrent(8, |_| async {
        admin.send_text("demo", &text).await;
    });
    sent.await;
}

/// A thread of a group that always has messages, each of which is a turn of its own.
fn endless(admin: &Admin, group: &str, thread: String, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<Answer>> {
    let (admin, group, stop) = (admin.clone(), group.to_owned(), stop.clone());
    tokio::spawn(async move {
        let next = |number: usize| ChatRequest {
            thread: Some(thread.clone()),
            // A turn whose answer follows a schema is about one message alone.
            schema: Some(json!({"type": "object"})),
            ..message(&group, &format!("{thread}-{number}\n!wait 0.1"))
        };
        let (mut answers, mut number) = (Vec::new(), 1);
        let mut first = admin.request(&next(0)).await.expect("accepted");
        while !stop.load(Ordering::Relaxed) {
            // One waits whenever another ends.
            let second = admin.request(&next(number)).await.expect("accepted");
            answers.push(std::mem::replace(&mut first, second).end().await);
            number += 1;
        }
        answers.push(first.end().await);
        answers
    })
}

/// Nothing of a thread was lost, doubled or told out of order, however often its container had to make room.
fn check_endless(thread: &str, answers: &[Answer]) {
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.finished.outcome, ChatOutcome::Replied, "{:#?}", answer.events);
        let reply = format!("mock reply to: {thread}-{number}\n(turn {})", number + 1);
        assert!(answer.replies().contains(&reply.as_str()), "{reply}: {:?}", answer.replies());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_noisy_group_with_many_endless_sessions_does_not_starve_quiet_ones() {
    let groups: Vec<String> = ["noisy", "quiet-1", "quiet-2", "quiet-3"].map(str::to_owned).to_vec();
    let home = home(2, &groups).await;
    let admin = home.admin();
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<String> = (0..6).map(|number| format!("t{number}")).collect();
    let noise: Vec<_> = threads.iter().map(|thread| endless(&admin, "noisy", thread.clone(), &stop)).collect();
    cofferdam_tests::eventually("the noisy group has all places, and more sessions that wait", || async {
        let status = admin.status().await;
        (status.places.running == 2 && status.places.queued == 4).then_some(())
    })
    .await;
    // The noise never ends by itself: that these are answered at all is the point.
    let quiet = join_all(groups[1..].iter().map(|group| admin.chat(group, "hello"))).await;
    for answer in quiet {
        assert_eq!(answer.text(), "mock reply to: hello\n(turn 1)");
    }
    let waiting: u64 = admin.sessions(Some("noisy")).await.iter().map(|session| session.waiting).sum();
    assert!(waiting > 0, "the noise goes on");
    stop.store(true, Ordering::Relaxed);
    for (thread, noise) in threads.iter().zip(noise) {
        check_endless(thread, &noise.await.expect("no panic"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_never_get_idle_take_turns_in_one_place() {
    let groups = ["one".to_owned(), "two".to_owned()];
    let home = home(1, &groups).await;
    let admin = home.admin();
    let stop = Arc::new(AtomicBool::new(false));
    let one = endless(&admin, "one", "t".to_owned(), &stop);
    cofferdam_tests::eventually("the first has the place", || async {
        (admin.status().await.places.running == 1).then_some(())
    })
    .await;
    let two = admin.chat("two", "hello").await;
    assert_eq!(two.text(), "mock reply to: hello\n(turn 1)");
    // And back.
    let again = admin.sessions(Some("one")).await[0].turns;
    cofferdam_tests::eventually("the first goes on", || async {
        (admin.sessions(Some("one")).await[0].turns > again + 1).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let answers = one.await.expect("no panic");
    check_endless("t", &answers);
    let containers: BTreeSet<_> = answers.iter().filter_map(|answer| answer.finished.container.clone()).collect();
    assert!(containers.len() > 1, "its container made room in between");
}

#[tokio::test]
async fn up_waits_for_a_command_that_serves_the_home_itself() {
    let mut home = TestHome::new();
    home.write_group("demo", &json!({"provider": "mock"}));
    let added = home.cli(&["group", "add", "demo"]).await;
    assert_eq!(added.code, 0, "{added:?}");
    let chat = home.command().args(["chat", "demo", "hello\n!wait 10"]).output();
    let chat = tokio::spawn(chat);
    let admin = home.admin();
    cofferdam_tests::eventually("the command serves itself", || async {
        let served = home.root().join("run/admin.sock").exists() && admin.pid().await.is_some();
        (served && admin.status().await.sessions.iter().any(|session| session.turns > 0)).then_some(())
    })
    .await;
    home.up().await;
    let chat = chat.await.expect("no panic").expect("it ran");
    assert!(chat.status.success(), "{chat:?}");
    cofferdam_tests::eventually("the daemon serves", || async {
        (admin.pid().await.is_some() && admin.status().await.uptime_secs.is_some()).then_some(())
    })
    .await;
    assert!(home.log().contains("waits for a command"), "{}", home.log());
}
