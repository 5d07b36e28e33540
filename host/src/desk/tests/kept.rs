//! What waits for one of several groups: with its files, behind what came before, and counted once.

use super::*;
use crate::desk::floods::BURST;
use crate::model::chat::{Attachment, Inbound};
use crate::model::command::Command;
use crate::model::engage::EngageMode;
use crate::store::group::inbox::MOST_WAITING;
use crate::store::late::{MOST_LATE, NewLate};

/// What fills an inbox.
fn filler(id: u64) -> Inbound {
    Inbound {
        chat: chat("-5"),
        platform_id: format!("filler {id}"),
        sender: "ada".into(),
        sender_id: None,
        text: "x".into(),
        quote: None,
        output_schema: None,
        files: Vec::new(),
    }
}

impl Fixture {
    async fn puts_in(&self, folder: &str, message: Inbound, command: Option<Command>) {
        let store = self.stores.group(&folder.parse().unwrap()).await.unwrap();
        let key = Terms::of(ChatKind::Group).session_mode.session_key(&message.chat);
        store.accept(message, key, command).await.unwrap();
    }

    /// From here on the group takes no message of the chat `-5`.
    async fn fills(&self, folder: &str) {
        futures_util::future::join_all((0..MOST_WAITING).map(|id| self.puts_in(folder, filler(id), None))).await;
    }

    /// It takes some again.
    async fn empties(&self, folder: &str) {
        self.puts_in(folder, filler(MOST_WAITING), Some(Command::Stop)).await;
    }

    async fn files(&self, folder: &str, of: &Arrival) -> Vec<Attachment> {
        let store = self.stores.group(&folder.parse().unwrap()).await.unwrap();
        store.files_of_known(&of.chat, &of.platform_id).await.unwrap().expect("it is there")
    }
}

#[tokio::test]
async fn a_stop_waits_behind_nothing() {
    let f = Fixture::with_two().await;
    let hold = f.takes_nothing("demo").await;
    f.says("2", group("-5"), "waits").await;
    drop(hold);
    f.accepted();
    assert_eq!(f.says(OWNER, group("-5"), "/stop").await, Taken::Accepted);
    assert_eq!(f.accepted(), ["demo", "ops"]);
    let hold = f.takes_nothing("demo").await;
    assert_eq!(f.says(OWNER, group("-5"), "/stop").await, Taken::Accepted);
    assert_eq!(f.accepted(), ["ops"], "a group that takes nothing has it later");
    drop(hold);
    f.attends_until(5).await;
}

#[tokio::test(start_paused = true)]
async fn a_programs_file_is_kept_for_a_group_whose_inbox_is_full_and_else_its_call_is_not_taken() {
    let mut f = Fixture::with_two().await;
    f.starts_anew(Mute { of_programs: true, ..Mute::with_files() });
    f.fills("demo").await;
    let first = f.with_file("-5", "there");
    assert_eq!(f.counter.take(first.clone()).await, Ok(Taken::Accepted));
    let behind = f.with_file("-5", "there");
    assert_eq!(f.counter.take(behind.clone()).await, Ok(Taken::Accepted));
    let hold = f.takes_nothing("demo").await;
    let lost = f.with_file("-5", "there");
    assert!(f.counter.take(lost).await.is_err(), "there is no place for its file");
    assert_eq!(f.accepted(), ["ops", "ops"], "who calls again without a key would have its work done twice");
    drop(hold);
    // The calls are over.
    f.starts_anew(Mute { of_programs: true, ..Mute::default() });
    f.empties("demo").await;
    f.attends_until(4).await;
    for arrival in [first, behind] {
        let files = f.files("demo", &arrival).await;
        assert_eq!(files.len(), 1, "{files:?}");
        let workspace = f.desk.inner.home.workspace(&"demo".parse().unwrap());
        assert_eq!(std::fs::read(workspace.join(&files[0].path)).unwrap(), b"content");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_fetched_for_its_senders_pace_is_not_lost_when_an_inbox_is_full_then() {
    let mut f = Fixture::with_two().await;
    f.starts_anew(Mute::with_files());
    f.fills("demo").await;
    for _ in 0..BURST {
        f.says("2", group("-5"), "x").await;
    }
    let arrival = f.with_file("-5", "there");
    assert_eq!(f.counter.take(arrival.clone()).await, Ok(Taken::Accepted));
    f.starts_anew(Mute::default());
    let (stop, attending) = f.attends();
    let burst = usize::try_from(BURST).unwrap();
    f.count.subscribe().wait_for(|count| *count > burst).await.unwrap();
    f.empties("demo").await;
    f.count.subscribe().wait_for(|count| *count == 2 * (burst + 1)).await.unwrap();
    stop.cancel();
    attending.await.unwrap();
    assert_eq!((f.files("ops", &arrival).await.len(), f.files("demo", &arrival).await.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_file_of_who_writes_too_fast_waits_for_a_group_in_trouble_and_for_no_other() {
    let mut f = Fixture::with_two().await;
    f.starts_anew(Mute::with_files());
    let hold = f.takes_nothing("demo").await;
    for _ in 0..BURST {
        f.says("2", group("-5"), "x").await;
    }
    let arrival = f.with_file("-5", "there");
    assert_eq!(
        f.counter.take(arrival.clone()).await,
        Ok(Taken::Accepted),
        "and not refused, which holds up the chat"
    );
    let burst = usize::try_from(BURST).unwrap();
    let (stop, attending) = f.attends();
    f.count.subscribe().wait_for(|count| *count > burst).await.unwrap();
    assert_eq!(f.files("ops", &arrival).await.len(), 1);
    drop(hold);
    f.count.subscribe().wait_for(|count| *count == 2 * (burst + 1)).await.unwrap();
    stop.cancel();
    attending.await.unwrap();
    assert_eq!(f.files("demo", &arrival).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_breaks_off_inside_when_it_is_taken_later_is_tried_again_by_who_takes_it() {
    let mut f = Fixture::with_two().await;
    let channel = Mute::with_files();
    f.starts_anew(channel.clone());
    let hold = f.takes_nothing("demo").await;
    f.counter.take(f.with_file("-5", "bug")).await.unwrap();
    assert_eq!(f.accepted(), ["ops"]);
    drop(hold);
    channel.breaks.store(3, Ordering::Relaxed);
    let line = f.stores.central().late_lines().await.unwrap().remove(0);
    let begun = tokio::time::Instant::now();
    f.desk.catch_up_with(&line).await;
    assert_eq!(f.accepted(), ["demo"]);
    assert!(begun.elapsed() >= Duration::from_millis(1700), "after pauses: {:?}", begun.elapsed());
}

#[tokio::test]
async fn nobody_is_asked_about_a_program_whose_call_waited() {
    let mut f = Fixture::with_two().await;
    f.starts_anew(Mute { of_programs: true, ..Mute::default() });
    let hold = f.takes_nothing("demo").await;
    f.says("ci", group("-5"), "hello").await;
    assert_eq!(f.accepted(), ["ops"]);
    drop(hold);
    let row = ChatRow { kind: ChatKind::Group, title: None, unknown: Some(UnknownPolicy::Ask) };
    f.stores.central().put_chat("tg", "-5", row).await.unwrap();
    // As at a start, and while it is changed.
    let channels = &f.desk.inner.channels;
    let channel = channels.get("tg").unwrap();
    channels.add(Arc::new(crate::channels::Parked::new("tg", "it does not run yet")));
    let late = f.stores.central().late_lines().await.unwrap().remove(0);
    let row = f.stores.central().next_late(&late).await.unwrap().unwrap();
    let arrival: Arrival = serde_json::from_str(&row.arrival).unwrap();
    assert!(
        f.desk.take_again(&arrival, Vec::new(), late.folder.as_ref()).await.is_err(),
        "nobody knows who writes"
    );
    channels.add(channel);
    f.desk.catch_up_with(&late).await;
    assert_eq!(f.drops().await, [("ci".to_owned(), "unknown-sender".to_owned(), 1)]);
    assert!(f.stores.central().approvals(true, 9).await.unwrap().is_empty());
    assert!(f.posts(group("-5")).await.is_empty());
}

#[tokio::test]
async fn what_one_group_drops_is_counted_once_however_often_another_does_not_take_it() {
    let f = Fixture::with_two().await;
    let terms = Terms { engage: EngageMode::Always, ..Terms::of(ChatKind::Group) };
    let (channel, chat_id, folder) = ("tg".to_owned(), "-5".to_owned(), "ops".parse().unwrap());
    assert!(f.stores.central().wire(Wiring { channel, chat_id, folder, terms }).await.unwrap());
    let _hold = f.takes_nothing("ops").await;
    // Others have all the room there is.
    let others = (0..MOST_LATE).map(|id| NewLate {
        chat: chat("-6"),
        platform_id: id.to_string(),
        user_id: "3".into(),
        folder: Some("ops".parse().unwrap()),
        arrival: "{}".into(),
        placed: "[]".into(),
        told: None,
    });
    let central = f.stores.central();
    futures_util::future::join_all(others.map(|late| central.hold_late(late, MOST_LATE))).await;
    let besides = Content::Message(Written { text: "lunch?".into(), ..Written::default() });
    let arrival = f.arrival("2", group("-5"), besides);
    for _ in 0..3 {
        assert_eq!(f.counter.take(arrival.clone()).await, Err(NotTaken::Full(MOST_LATE)));
    }
    assert!(f.drops().await.is_empty(), "it is offered again");
    let line = central.late_lines().await.unwrap().remove(0);
    let first = central.next_late(&line).await.unwrap().unwrap();
    central.let_go_late(first).await.unwrap();
    assert_eq!(f.counter.take(arrival).await, Ok(Taken::Accepted));
    assert_eq!(f.drops().await, [("2".to_owned(), "not-engaged".to_owned(), 1)]);
}
