//! What breaks off inside, by a bug of ours, goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use cofferdam::channels::{Arrival, Channel as _, Intake, NotTaken, Offered, SendError, Taken};
use cofferdam::model::chat::ChatRef;
use cofferdam_tests::recorder::Recorder;
use tokio_util::sync::CancellationToken;

use super::{Bench, there};

/// An intake that breaks off at its first cursor, or at its first message.
struct Breaks {
    at_cursor: AtomicBool,
    at_message: AtomicBool,
    records: Arc<Recorder>,
}

impl Breaks {
    fn new(at_cursor: bool, at_message: bool) -> Arc<Self> {
        let records = Recorder::new(None);
        Arc::new(Self { at_cursor: at_cursor.into(), at_message: at_message.into(), records })
    }
}

#[async_trait]
impl Intake for Breaks {
    async fn take(&self, arrival: Arrival) -> Result<Taken, NotTaken> {
        assert!(!self.at_message.swap(false, Ordering::Relaxed), "a bug");
        self.records.take(arrival).await
    }

    async fn overflow(&self, arrival: Arrival, first: bool) -> Result<(), NotTaken> {
        self.records.overflow(arrival, first).await
    }

    async fn present(&self, chat: ChatRef) {
        self.records.present(chat).await;
    }

    async fn cursor(&self) -> Result<Option<String>, NotTaken> {
        assert!(!self.at_cursor.swap(false, Ordering::Relaxed), "a bug");
        self.records.cursor().await
    }

    async fn keep_cursor(&self, cursor: String) -> Result<(), NotTaken> {
        self.records.keep_cursor(cursor).await
    }
}

const SAYS_ONE: &str = r#"
hello()
message(1, "one")
message(2, "two")
answer_all()
"#;

#[tokio::test]
async fn a_supervisor_that_breaks_off_breaks_its_run_off_and_the_next_run_is_well() {
    let bench = Bench::new(SAYS_ONE);
    let (channel, stop) = (Arc::new(bench.channel()), CancellationToken::new());
    let intake = Breaks::new(true, false);
    let run = |channel: Arc<cofferdam::channels::exec::Exec>| {
        let (intake, stop) = (intake.clone(), stop.clone());
        tokio::spawn(async move { channel.run(intake, stop).await })
    };
    let broke = run(channel.clone()).await.expect_err("who runs channels is told of it");
    assert!(broke.is_panic());
    let second = run(channel.clone());
    intake.records.until("both messages", |book| book.texts("#c") == ["one", "two"]).await;
    stop.cancel();
    second.await.expect("an end");
    channel.close().await;
}

#[tokio::test]
async fn a_chat_whose_messages_are_handed_in_by_nobody_after_a_bug_goes_on() {
    let bench = Bench::new(SAYS_ONE);
    let (channel, stop) = (Arc::new(bench.channel()), CancellationToken::new());
    let intake = Breaks::new(false, true);
    let run = tokio::spawn({
        let (channel, intake, stop) = (channel.clone(), intake.clone(), stop.clone());
        async move { channel.run(intake, stop).await }
    });
    intake.records.until("both messages", |book| book.texts("#c") == ["one", "two"]).await;
    stop.cancel();
    run.await.expect("an end");
    channel.close().await;
}

#[tokio::test]
async fn a_place_for_a_file_that_cannot_be_made_is_our_own_disks_trouble() {
    let bench = Bench::new("hello(files=True)\nanswer_all()\n");
    let running = bench.run();
    there(&running).await;
    let files = bench.dir.path().join("state/files");
    std::fs::remove_dir_all(&files).expect("a directory");
    std::fs::write(&files, "in the way").expect("written");
    let file = Offered { name: "a".into(), bytes: None, reference: "a".into() };
    let error = running.channel.fetch(&file, &mut Vec::new(), 100).await.expect_err("no place");
    assert!(matches!(error, SendError::Disk { .. }), "{error:?}");
    running.close().await;
}
