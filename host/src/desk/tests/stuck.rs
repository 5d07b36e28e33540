//! One chat's trouble, one group's, or one file's, is nobody else's.

use super::*;
use crate::desk::files::prefix;
use crate::desk::floods::{BURST, EVERY};
use crate::model::engage::EngageMode;
use crate::store::{Errand, Hold};

impl Fixture {
    /// From here on the group takes nothing, until the answer is dropped.
    pub(super) async fn takes_nothing(&self, folder: &str) -> Hold {
        let hold = self.stores.hold(&folder.parse().unwrap(), Errand::Restore).await.unwrap();
        hold.close().await;
        hold
    }

    /// In the chat `-5` both groups listen, and everybody may write.
    pub(super) async fn with_two() -> Self {
        let f = Self::owned().await;
        for folder in ["demo", "ops"] {
            f.wire(group("-5"), folder, Some(UnknownPolicy::Public)).await;
        }
        f
    }

    pub(super) fn with_file(&self, chat: &str, reference: &str) -> Arrival {
        let files = vec![Offered { name: "a.txt".into(), bytes: None, reference: reference.into() }];
        let written = Written { text: "look".into(), addressed: true, files, ..Written::default() };
        self.arrival("2", group(chat), Content::Message(written))
    }

    pub(super) fn attends(&self) -> (CancellationToken, tokio::task::JoinHandle<()>) {
        let (desk, stop) = (self.desk.clone(), CancellationToken::new());
        let attending = tokio::spawn({
            let stop = stop.clone();
            async move { desk.attend(stop).await }
        });
        (stop, attending)
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_of_a_sender_in_a_stuck_chat_holds_up_nothing_that_they_write_in_another() {
    let f = Fixture::open_chat().await;
    f.wire(group("-6"), "ops", Some(UnknownPolicy::Public)).await;
    for _ in 0..BURST {
        f.says("2", group("-5"), "x").await;
    }
    let hold = f.takes_nothing("ops").await;
    assert_eq!(f.says("2", group("-6"), "waits").await, Taken::Accepted);
    let (stop, attending) = f.attends();
    tokio::time::sleep(EVERY * (BURST + 2)).await;
    f.accepted();
    // The pace is paid, and what waits in the other chat is tried again and again.
    assert_eq!(f.says("2", group("-5"), "at once").await, Taken::Accepted);
    assert_eq!(f.accepted(), ["demo"], "it is not behind it");
    assert_eq!(f.says("2", group("-6"), "behind").await, Taken::Accepted);
    assert!(f.accepted().is_empty(), "in its own chat it is");
    let before = *f.count.borrow();
    drop(hold);
    f.count.subscribe().wait_for(|count| *count == before + 2).await.unwrap();
    stop.cancel();
    attending.await.unwrap();
    assert_eq!(f.texts("ops").await, ["waits", "behind"]);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_takes_nothing_keeps_a_message_from_no_other_and_has_it_later_in_its_order() {
    let f = Fixture::with_two().await;
    let hold = f.takes_nothing("demo").await;
    let first = f.wrote("2", group("-5"), "one").await;
    f.wrote("2", group("-5"), "two").await;
    assert_eq!(f.accepted(), ["ops", "ops"]);
    assert_eq!(f.counter.take(first.clone()).await, Ok(Taken::Known), "both have it, each in its way");
    assert_eq!(f.changes("2", &first, "one, changed").await, Taken::Accepted);
    f.accepted();
    drop(hold);
    assert_eq!(f.says("2", group("-5"), "three").await, Taken::Accepted);
    assert_eq!(f.accepted(), ["ops"], "in the other it stays behind what waits");
    f.attends_until(7).await;
    assert_eq!(f.texts("demo").await, ["one, changed", "two", "three"]);
    assert_eq!(f.texts("ops").await, ["one, changed", "two", "three"]);
    assert_eq!(f.says("2", group("-5"), "four").await, Taken::Accepted);
    f.accepted();
    assert!(f.drops().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_group_is_one_line_whoever_wrote_it() {
    let f = Fixture::with_two().await;
    let hold = f.takes_nothing("demo").await;
    f.says("2", group("-5"), "deploy A?").await;
    drop(hold);
    // The group is back, and the first is not tried again yet.
    f.says("3", group("-5"), "no, not A").await;
    assert_eq!(f.accepted(), ["ops", "ops"]);
    f.attends_until(4).await;
    assert_eq!(f.texts("demo").await, ["deploy A?", "no, not A"]);
}

#[tokio::test(start_paused = true)]
async fn a_thread_goes_on_behind_a_mention_that_waits() {
    let f = Fixture::with_two().await;
    let terms = Terms { engage: EngageMode::Mention, sticky: true, ..Terms::of(ChatKind::Group) };
    let (channel, chat_id, folder) = ("tg".to_owned(), "-5".to_owned(), "demo".parse().unwrap());
    assert!(f.stores.central().wire(Wiring { channel, chat_id, folder, terms }).await.unwrap());
    let thread = (ChatRef { thread_id: Some("3".into()), ..chat("-5") }, ChatKind::Group);
    let hold = f.takes_nothing("demo").await;
    f.says("2", thread.clone(), "look at this").await;
    let more = Written { text: "and the second one".into(), ..Written::default() };
    f.counter.take(f.arrival("2", thread, Content::Message(more))).await.unwrap();
    drop(hold);
    f.attends_until(3).await;
    assert_eq!(f.texts("demo").await, ["look at this", "and the second one"]);
    let of_ops = ("2".to_owned(), "not-engaged".to_owned(), 1);
    assert_eq!(f.drops().await, [of_ops], "there no thread goes on");
}

#[tokio::test]
async fn what_waits_for_a_group_that_listens_no_more_is_dropped_and_asks_nobody() {
    let f = Fixture::with_two().await;
    let hold = f.takes_nothing("demo").await;
    f.says("2", group("-5"), "hello").await;
    f.stores.central().unwire("tg", "-5", Some(&"demo".parse().unwrap())).await.unwrap();
    drop(hold);
    f.looks().await;
    assert_eq!(f.drops().await, [("2".to_owned(), "unwired".to_owned(), 1)]);
    assert!(f.stores.central().late_lines().await.unwrap().is_empty());
    assert!(f.stores.central().approvals(true, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_group_that_takes_nothing_is_told_of_and_holds_up_no_command() {
    let f = Fixture::with_two().await;
    f.says("2", group("-5"), "hello").await;
    let _hold = f.takes_nothing("demo").await;
    for (text, words) in [
        ("/status", "demo: takes nothing just now"),
        ("/approve demo/1 x", "that group takes nothing"),
        ("/approve", "Nothing waits"),
    ] {
        let Taken::Done(said) = f.says(OWNER, group("-5"), text).await else { panic!("{text}") };
        assert!(said.contains(words), "{text}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_had_for_minutes_is_a_note_and_its_message_goes_on() {
    let mut f = Fixture::open_chat().await;
    f.starts_anew(Mute::with_files());
    for reference in ["later", "slow"] {
        let arrival = f.with_file("-5", reference);
        let mut tries = 0;
        let begun = tokio::time::Instant::now();
        while f.counter.take(arrival.clone()).await.is_err() {
            tries += 1;
            assert!(tries < 60, "{reference} is tried for ever");
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        let minutes = begun.elapsed().as_secs() / 60;
        assert!(tries > 0 && (5..30).contains(&minutes), "{reference}: {tries} tries, {minutes} min");
        assert_eq!(f.accepted(), ["demo"]);
    }
    let [first, second] = &f.texts("demo").await[..] else { panic!() };
    assert!(first.starts_with("look\n[the file a.txt could not be taken: ") && second == first, "{first} {second}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_our_own_disk_does_not_take_is_waited_for() {
    let mut f = Fixture::open_chat().await;
    f.starts_anew(Mute::with_files());
    let arrival = f.with_file("-5", "full disk");
    for _ in 0..60 {
        assert!(matches!(f.counter.take(arrival.clone()).await, Err(NotTaken::Failed(_))));
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    // Whatever a channel makes of it.
    let full = tokio::fs::File::options().write(true).open("/dev/full").await.unwrap();
    let file = Offered { name: "a.txt".into(), bytes: None, reference: "there".into() };
    let error = crate::desk::fetching::fetch(&Mute::with_files(), &file, full).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

#[tokio::test]
async fn what_an_agent_puts_in_a_files_way_is_a_note_at_once() {
    let mut f = Fixture::open_chat().await;
    f.starts_anew(Mute::with_files());
    let arrival = f.with_file("-5", "there");
    let name = format!("{}-a.txt", prefix(&arrival.chat, &arrival.platform_id, 0));
    let workspace = f.desk.inner.home.workspace(&"demo".parse().unwrap());
    std::fs::create_dir_all(workspace.join("inbox").join(name).join("x")).unwrap();
    assert_eq!(f.counter.take(arrival).await, Ok(Taken::Accepted));
    let text = f.texts("demo").await.remove(0);
    assert!(text.contains("[the file a.txt could not be taken: the workspace's inbox does not take it"), "{text}");
    let home = f.desk.inner.home.root().display().to_string();
    assert!(!text.contains(&home), "{text}");
}
