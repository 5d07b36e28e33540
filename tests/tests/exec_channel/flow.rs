//! What a program hands in, and whom it holds up.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use cofferdam::channels::exec::Exec;
use cofferdam::channels::{
    Arrival, Channel as _, Content, Intake, NotTaken, Offered, SendError, State, Taken, Written,
};
use cofferdam::model::chat::ChatRef;
use cofferdam_tests::recorder::{Recorder, reply};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Bench, chat, send, there};

#[tokio::test]
async fn a_message_comes_in_and_a_reply_goes_out() {
    let bench = Bench::new(
        r##"
hello()
message(1, "one", title="The lab", addressed=True, cursor="c1", thread=None, unknown=[1], files=[{"name": "a", "bytes": 3, "reference": "r"}])
line = hear()
note("taken", json.dumps(line))
line = hear()
note("sent", json.dumps(line))
say(type="done", call=line["call"], id="m1")
answer_all()
note("ended", 1)
"##,
    );
    let running = bench.run();
    let book = running.intake.until("a message", |book| book.arrivals.len() == 1 && book.cursors == ["c1"]).await;
    let arrival = &book.arrivals[0];
    assert_eq!((&arrival.chat, arrival.title.as_deref()), (&chat("#c"), Some("The lab")));
    assert_eq!((arrival.sender.id.as_str(), arrival.sender.name.as_str()), ("u", "U"));
    let Content::Message(written) = &arrival.content else { panic!("{arrival:?}") };
    assert!(written.addressed);
    assert_eq!(written.files, [Offered { name: "a".into(), bytes: Some(3), reference: "r".into() }]);
    let taken: Value = serde_json::from_str(&bench.notes("taken").await).unwrap();
    assert_eq!(taken, json!({"type": "taken", "id": "1", "chat": "#c", "text": null}));

    assert_eq!(send(&running.channel, "**two**").await.unwrap().as_deref(), Some("m1"));
    let sent: Value = serde_json::from_str(&bench.notes("sent").await).unwrap();
    assert_eq!(
        sent,
        json!({
            "type": "send", "call": 1, "chat": "#c", "thread": null, "key": format!("{}/0", reply(&chat("#c"), "").key),
            "kind": "reply", "text": "two", "plain": null, "onto": null, "reply_to": null, "gone": false, "buttons": null,
            "file": null, "react": null,
        })
    );
    assert_eq!(running.channel.state(), State::Connected);
    running.close().await;
    assert_eq!(bench.noted("ended").as_deref(), Some("1"), "it was told to stop, and ended by itself");
}

#[tokio::test]
async fn a_flood_is_held_up_and_nothing_of_it_is_lost_or_doubled() {
    let bench = Bench::new(
        r##"
hello()
for n in range(3000): message(n, "%d %s" % (n, "x" * 2000)); note("wrote", n)
answer_all()
"##,
    );
    let intake = Recorder::new(None);
    intake.refuse("#c", Some(NotTaken::Failed("the disk is full".into())));
    let running = bench.run_with(intake.clone());
    intake.until("it was refused", |book| book.refused > 0).await;
    let refused = intake.book().refused;
    intake.until("it was refused again", |book| book.refused > refused).await;
    let wrote: usize = bench.notes("wrote").await.parse().unwrap();
    assert!(wrote < 1100, "no more than waits here and in the pipe: {wrote}");
    // Nobody reads its answer meanwhile; it is awaited all the same.
    let reply = reply(&chat("#other"), "x");
    let pieces = running.channel.pieces(&reply);
    let sending = running.channel.send(&reply, (0, &pieces[0]), None);
    let (sent, ()) = tokio::join!(sending, async { intake.refuse("#c", None) });
    assert!(sent.is_ok(), "{sent:?}");
    let book = intake.until("all of it", |book| book.arrivals.len() == 3000).await;
    let ids: Vec<_> = book.arrivals.iter().map(|arrival| arrival.platform_id.clone()).collect();
    assert!(ids.iter().enumerate().all(|(at, id)| *id == at.to_string()), "in their order");
    running.close().await;
}

#[tokio::test]
async fn a_full_chat_holds_up_no_other_chat_and_no_reply() {
    let bench = Bench::new(
        r##"
hello()
for n in range(99): message(n, "x", chat="#full")
for n in range(99): message(n, str(n), cursor=str(n))
answer_all()
"##,
    );
    let intake = Recorder::new(Some("kept"));
    intake.refuse("#full", Some(NotTaken::Full(100)));
    let running = bench.run_with(intake.clone());
    let book = intake.until("the other chat's", |book| book.texts("#c").len() == 99).await;
    assert!(book.texts("#c").iter().enumerate().all(|(at, text)| *text == at.to_string()));
    assert!(book.texts("#full").is_empty() && book.cursors.is_empty(), "the cursor waits for what came before");
    assert!(send(&running.channel, "x").await.is_ok());
    intake.refuse("#full", None);
    let book = intake.until("the cursor", |book| book.cursors.last().is_some_and(|cursor| cursor == "98")).await;
    assert_eq!(book.texts("#full").len(), 99);
    running.close().await;
}

#[tokio::test]
async fn a_chat_that_stays_full_never_stops_its_channel() {
    let bench = Bench::new(
        r##"
hello()
message(0, "0", chat="#full")
answer_one()
for n in range(1, 800): message(n, str(n), chat="#full")
message("last", "hello")
answer_all()
"##,
    );
    let intake = Recorder::new(None);
    intake.refuse("#full", Some(NotTaken::Full(10_000)));
    let running = bench.run_with(intake.clone());
    // A chat that was not tried yet flows, and keeps more.
    intake.until("it was refused", |book| book.refused > 0).await;
    assert!(send(&running.channel, "go on").await.is_ok());
    let book = intake.until("the other chat's", |book| book.texts("#c") == ["hello"]).await;
    assert_eq!(book.overflowed.len(), 300, "what is too much is dropped");
    assert_eq!(book.overflowed.iter().filter(|(_, first)| *first).count(), 1, "the chat is told once");
    intake.refuse("#full", None);
    let book = intake.until("what waited", |book| book.texts("#full").len() == 500).await;
    assert!(book.texts("#full").iter().enumerate().all(|(at, text)| *text == at.to_string()), "in their order");
    running.close().await;
}

/// An intake that needs a message's file before it takes the message.
struct Fetches {
    channel: OnceLock<Arc<Exec>>,
    records: Arc<Recorder>,
}

#[async_trait]
impl Intake for Fetches {
    async fn take(&self, arrival: Arrival) -> Result<Taken, NotTaken> {
        if let Content::Message(Written { files, .. }) = &arrival.content
            && let Some(file) = files.first()
        {
            let channel = self.channel.get().expect("a channel");
            let fetched = channel.fetch(file, &mut Vec::new(), 100).await;
            fetched.map_err(|error| NotTaken::Failed(error.to_string()))?;
        }
        self.records.take(arrival).await
    }

    async fn overflow(&self, arrival: Arrival, first: bool) -> Result<(), NotTaken> {
        self.records.overflow(arrival, first).await
    }

    async fn present(&self, chat: ChatRef) {
        self.records.present(chat).await;
    }

    async fn cursor(&self) -> Result<Option<String>, NotTaken> {
        self.records.cursor().await
    }

    async fn keep_cursor(&self, cursor: String) -> Result<(), NotTaken> {
        self.records.keep_cursor(cursor).await
    }
}

#[tokio::test]
async fn a_file_is_fetched_also_when_much_was_written_before_the_answer() {
    let bench = Bench::new(
        r##"
hello(files=True)
message(0, "0", files=[{"name": "a.txt", "reference": "a"}])
for n in range(1, 900): message(n, str(n), chat="#c" if n % 2 else "#d")
while (line := hear())["type"] != "fetch": pass
open(line["path"], "w").write("content")
say(type="done", call=line["call"])
answer_all()
"##,
    );
    let (channel, stop) = (Arc::new(bench.channel()), CancellationToken::new());
    let intake = Arc::new(Fetches { channel: OnceLock::from(channel.clone()), records: Recorder::new(None) });
    let run = tokio::spawn({
        let (channel, intake, stop) = (channel.clone(), intake.clone(), stop.clone());
        async move { channel.run(intake, stop).await }
    });
    let book = intake.records.until("all of them", |book| book.arrivals.len() == 900).await;
    assert!(book.texts("#c").iter().map(|text| text.parse::<usize>().unwrap()).is_sorted(), "in their order");
    stop.cancel();
    run.await.expect("an end");
    channel.close().await;
}

#[tokio::test]
async fn what_waits_is_known_when_a_program_that_was_started_again_hands_it_in() {
    let bench = Bench::new(
        r##"
hello()
for n in range(500): message(n, str(n), chat="#full", cursor=str(n))
if times("run") == 1:
    time.sleep(6)  # It is stuck for long by then.
    sys.exit(1)
message("last", "hello")
answer_all()
"##,
    );
    let intake = Recorder::new(Some("kept"));
    intake.refuse("#full", Some(NotTaken::Full(10_000)));
    let running = bench.run_with(intake.clone());
    let book = intake.until("the second run's", |book| book.texts("#c") == ["hello"]).await;
    assert!(book.overflowed.is_empty() && book.cursors.is_empty(), "{:?} {:?}", book.overflowed, book.cursors);
    intake.refuse("#full", None);
    let book = intake.until("the cursor", |book| book.cursors.last().is_some_and(|cursor| cursor == "499")).await;
    assert!(book.texts("#full").iter().enumerate().all(|(at, text)| *text == at.to_string()), "in their order");
    assert_eq!(book.texts("#full").len(), 500, "once each");
    running.close().await;
}

#[tokio::test]
async fn a_program_goes_on_where_it_left_off() {
    let bench = Bench::new(
        r##"
hello()
at = int(start["cursor"])
for n in range(at + 1, at + 4): message(n, str(n), cursor=str(n))
for _ in range(3):
    while hear()["type"] != "taken": pass
if at < 10: sys.exit(1)
answer_all()
"##,
    );
    let running = bench.run_with(Recorder::new(Some("6")));
    let book = running.intake.until("both runs", |book| book.arrivals.len() >= 6).await;
    assert_eq!(book.texts("#c"), ["7", "8", "9", "10", "11", "12"], "{:?}", book.cursors);
    running.close().await;
}

#[tokio::test]
async fn after_the_stop_nothing_is_taken_in_but_replies_go_out() {
    let bench = Bench::new(
        r##"
hello()
message(1, "before")
while (line := hear())["type"] not in ("stop", "gone"):
    if line["type"] == "send":
        message("a%d" % line["call"], "after")
        say(type="done", call=line["call"], id="m")
"##,
    );
    let mut running = bench.run();
    running.intake.until("the first", |book| book.arrivals.len() == 1).await;
    running.stop().await;
    for _ in 0..200 {
        assert!(send(&running.channel, "x").await.is_ok());
    }
    assert_eq!(running.intake.book().texts("#c"), ["before"]);
    running.close().await;
}

#[tokio::test]
async fn a_press_has_its_short_answer() {
    let bench = Bench::new(
        r##"
hello(buttons=True)
message(1, "x")
say(type="press", id="p1", chat="#c", kind="group", sender={"id": "u"}, data="q:1:2")
while (line := hear())["type"] != "taken" or line["id"] != "p1": pass
note("answer", line["text"])
answer_all()
"##,
    );
    let intake = Recorder::new(None);
    intake.answer("p1", Taken::Done("Blue it is.".into()));
    intake.answer("1", Taken::Done("only for presses".into()));
    let running = bench.run_with(intake.clone());
    assert_eq!(bench.notes("answer").await, "Blue it is.");
    assert_eq!(intake.book().arrivals[1].content, Content::Press("q:1:2".into()));
    running.close().await;
}

#[tokio::test]
async fn a_change_comes_in_as_one_and_is_acknowledged_as_a_message_is() {
    let bench = Bench::new(
        r##"
hello()
message(1, "one", cursor="c1")
message(1, "two", edit=True, cursor="c2")
heard = []
while len(heard) < 2:
    if (line := hear())["type"] == "taken": heard.append(line["id"])
note("taken", heard)
answer_all()
"##,
    );
    let running = bench.run();
    assert_eq!(bench.notes("taken").await, "['1', '1']");
    let book =
        running.intake.until("the cursor", |book| book.cursors.last().is_some_and(|last| last == "c2")).await;
    let changed = Written { text: "two".into(), ..Written::default() };
    assert_eq!(book.arrivals[1].content, Content::Edit(changed));
    assert_eq!(book.arrivals[0].platform_id, book.arrivals[1].platform_id);
    running.close().await;
}

#[tokio::test]
async fn a_file_is_fetched_where_we_say_and_nothing_else_is_read() {
    let bench = Bench::new(
        r##"
hello(files=True)
while (line := hear())["type"] not in ("stop", "gone"):
    if line["type"] != "fetch": continue
    what, path = line["reference"], line["path"]
    if what == "fine": open(path, "w").write("content")
    if what == "long": open(path, "w").write("x" * (line["most"] + 1))
    if what == "link": os.symlink("/etc/hostname", path)
    if what == "pipe": os.mkfifo(path)
    if what == "gone": say(type="failed", call=line["call"], sort="refused", why="too old")
    else: say(type="done", call=line["call"])
"##,
    );
    let running = bench.run();
    there(&running).await;
    let fetch = async |reference: &str| {
        let file = Offered { name: "a".into(), bytes: None, reference: reference.into() };
        let mut into = Vec::new();
        let fetched = running.channel.fetch(&file, &mut into, 100).await;
        fetched.map(|bytes| (bytes, String::from_utf8(into).unwrap()))
    };
    assert_eq!(fetch("fine").await.unwrap(), (7, "content".to_owned()));
    assert_eq!(fetch("gone").await.unwrap_err(), SendError::Refused { why: "too old".into() });
    let long = fetch("long").await.unwrap_err();
    assert!(matches!(&long, SendError::Refused { why } if why.contains("100 bytes")), "{long:?}");
    for odd in ["link", "pipe", "nothing"] {
        let error = fetch(odd).await.unwrap_err();
        assert!(matches!(error, SendError::Later { .. }), "{odd}: {error:?}");
    }
    let files = bench.dir.path().join("state/files");
    assert_eq!(std::fs::read_dir(files).unwrap().count(), 0, "nothing is left");
    running.close().await;
}
