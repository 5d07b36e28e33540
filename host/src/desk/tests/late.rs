//! Who writes too fast is slowed, and nobody else; what waits for that is never lost.

use super::*;
use crate::desk::floods::{BURST, MOST_WAITING};
use crate::store::late::{Line, Writer};

const AT_ONCE: usize = BURST as usize;

impl Fixture {
    /// A chat in which everybody may write to `demo`.
    pub(super) async fn open_chat() -> Self {
        let f = Self::owned().await;
        f.wire(group("-5"), "demo", Some(UnknownPolicy::Public)).await;
        f
    }

    async fn waiting(&self) -> Vec<String> {
        let lines = self.stores.central().late_lines().await.unwrap();
        lines.into_iter().map(|line| line.writer.user_id).collect()
    }

    /// Attends to what waits until so many messages were accepted in all, and nothing waits.
    pub(super) async fn attends_until(&self, all: usize) {
        let stop = CancellationToken::new();
        let attending = tokio::spawn({
            let (desk, stop) = (self.desk.clone(), stop.clone());
            async move { desk.attend(stop).await }
        });
        self.count.subscribe().wait_for(|count| *count >= all).await.unwrap();
        while !self.waiting().await.is_empty() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        attending.await.unwrap();
    }
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_flooder_waits_on_the_disk_with_one_notice_and_holds_up_nobody() {
    let f = Fixture::open_chat().await;
    let flood = AT_ONCE + 10;
    for number in numbers(flood) {
        assert_eq!(f.says("2", group("-5"), &number).await, Taken::Accepted, "at once");
    }
    assert_eq!((f.accepted().len(), f.waiting().await), (AT_ONCE, vec!["2".to_owned()]));
    assert_eq!(f.says("3", group("-5"), "from another").await, Taken::Accepted);
    assert_eq!(f.accepted(), ["demo"], "which did not wait");
    let told = f.posts(group("-5")).await;
    assert!(told.len() == 1 && told[0].text.contains("faster"), "{told:?}");
    f.attends_until(flood + 1).await;
    let mut texts = numbers(flood);
    texts.insert(AT_ONCE, "from another".to_owned());
    assert_eq!(f.texts("demo").await, texts, "each in its sender's order");
    assert!(f.posts(group("-5")).await.is_empty() && f.drops().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_waits_survives_a_restart_and_what_comes_after_stays_behind_it() {
    let mut f = Fixture::open_chat().await;
    for number in numbers(AT_ONCE + 3) {
        f.says("2", group("-5"), &number).await;
    }
    f.starts_anew(Mute::default());
    let next = (AT_ONCE + 3).to_string();
    assert_eq!(f.says("2", group("-5"), &next).await, Taken::Accepted);
    assert_eq!(f.accepted().len(), AT_ONCE, "it does not overtake");
    f.attends_until(AT_ONCE + 4).await;
    assert_eq!(f.texts("demo").await, numbers(AT_ONCE + 4));
    assert_eq!(f.posts(group("-5")).await.len(), 1, "nobody is told of it again");
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_and_not_forgotten_is_taken_once_and_so_is_what_comes_again() {
    let f = Fixture::open_chat().await;
    for number in numbers(AT_ONCE) {
        f.says("2", group("-5"), &number).await;
    }
    let written = Written { text: "once".into(), addressed: true, ..Written::default() };
    let arrival = f.arrival("2", group("-5"), Content::Message(written));
    assert_eq!(f.counter.take(arrival.clone()).await, Ok(Taken::Accepted));
    assert_eq!(f.counter.take(arrival.clone()).await, Ok(Taken::Known), "it waits already");
    // As when the daemon dies between the two.
    f.desk.take_again(&arrival, Vec::new(), None).await.unwrap();
    f.attends_until(AT_ONCE + 2).await;
    f.counter.take(arrival).await.unwrap();
    f.attends_until(AT_ONCE + 3).await;
    assert_eq!(f.texts("demo").await.iter().filter(|text| *text == "once").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn beyond_a_minute_of_them_messages_are_dropped_and_counted() {
    let f = Fixture::open_chat().await;
    let most = AT_ONCE + usize::try_from(MOST_WAITING).unwrap();
    for number in numbers(most) {
        assert_eq!(f.says("2", group("-5"), &number).await, Taken::Accepted);
    }
    for _ in 0..3 {
        assert_eq!(f.says("2", group("-5"), "too much").await, Taken::Dropped("flood"));
    }
    assert_eq!(f.drops().await, [("2".to_owned(), "flood".to_owned(), 3)]);
    let writer = Writer { channel: "tg".into(), user_id: "2".into() };
    let line = Line { writer, chat_id: "-5".into(), folder: None };
    let first = f.stores.central().next_late(&line).await.unwrap().unwrap();
    assert!(first.arrival.contains(&format!("\"text\":\"{AT_ONCE}\"")), "the oldest is first");
}

#[tokio::test]
async fn what_speaks_to_nobody_counts_as_no_flood() {
    let f = Fixture::open_chat().await;
    for number in numbers(AT_ONCE * 3) {
        let besides = Content::Message(Written { text: number, ..Written::default() });
        let arrival = f.arrival("2", group("-5"), besides);
        assert_eq!(f.counter.take(arrival).await, Ok(Taken::Dropped("not-engaged")));
    }
    assert_eq!(f.says("2", group("-5"), "bot, hello").await, Taken::Accepted);
    assert_eq!(f.accepted(), ["demo"]);
    assert!(f.posts(group("-5")).await.is_empty(), "people may talk with each other as fast as they like");
}

#[tokio::test(start_paused = true)]
async fn files_of_what_waits_are_fetched_before_its_platform_may_forget_them() {
    let mut f = Fixture::open_chat().await;
    f.starts_anew(Mute::with_files());
    for number in numbers(AT_ONCE) {
        f.says("2", group("-5"), &number).await;
    }
    let file = |reference: &str| Offered { name: "a.txt".into(), bytes: None, reference: reference.into() };
    let files = vec![file("there"), file("gone")];
    let written = Written { text: "look".into(), addressed: true, files, ..Written::default() };
    let arrival = f.arrival("2", group("-5"), Content::Message(written));
    assert_eq!(f.counter.take(arrival.clone()).await, Ok(Taken::Accepted));
    assert_eq!(f.accepted().len(), AT_ONCE);
    // Nobody has files any more.
    f.starts_anew(Mute::default());
    f.attends_until(AT_ONCE + 1).await;
    let store = f.stores.group(&"demo".parse().unwrap()).await.unwrap();
    let files = store.files_of_known(&arrival.chat, &arrival.platform_id).await.unwrap().unwrap();
    let [file] = &files[..] else { panic!("{files:?}") };
    let workspace = f.desk.inner.home.workspace(&"demo".parse().unwrap());
    assert_eq!(std::fs::read(workspace.join(&file.path)).unwrap(), b"content");
    let texts = f.texts("demo").await;
    assert_eq!(texts[AT_ONCE], "look\n[the file a.txt could not be taken: it is gone]");
}

#[tokio::test(start_paused = true)]
async fn programs_have_no_pace_and_nobody_is_asked_about_them() {
    let mut f = Fixture::open_chat().await;
    f.wire(direct("7"), "demo", Some(UnknownPolicy::Ask)).await;
    f.counter = f.desk.intake("tg", Writers::Programs);
    let many = AT_ONCE * 3;
    for number in numbers(many) {
        assert_eq!(f.says("2", group("-5"), &number).await, Taken::Accepted);
    }
    assert_eq!((f.accepted().len(), f.waiting().await.len()), (many, 0));
    assert_eq!(f.says("2", group("-6"), "hello").await, Taken::Dropped("unwired"));
    assert_eq!(f.says("2", direct("7"), "hello").await, Taken::Dropped("unknown-sender"));
    assert!(f.stores.central().approvals(true, 9).await.unwrap().is_empty());
}
