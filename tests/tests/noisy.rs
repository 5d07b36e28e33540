//! A group that takes all it may, and others that go on meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cofferdam_protocol::admin::{ChatOutcome, ChatRequest, ErrorBody, ErrorKind};
use cofferdam_tests::admin::{Admin, message};
use cofferdam_tests::home::TestHome;
use cofferdam_tests::upstream::limits;
use cofferdam_tests::{LIMIT, eventually};
use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// What the senders of one group may be at once: its own places, and what it may have of those of all.
const OF_A_GROUP: u64 = 4 + 256;
/// How long a sender waits for a place before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than there are places for all groups.
const FLOOD: usize = 1100;

async fn waiting(admin: &Admin, group: &str) -> u64 {
    admin.sessions(Some(group)).await.iter().map(|session| session.waiting).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_with_more_senders_than_places_and_a_long_turn_keeps_no_other_out() {
    let home = TestHome::running().await;
    let admin = home.admin();
    for group in ["noisy", "quiet"] {
        home.group(group, &json!({"provider": "mock"})).await;
    }
    let mut busy = admin.send_text("noisy", "!silent").await;
    busy.started().await;
    // Those that were told to come again.
    let refused = Arc::new(AtomicUsize::new(0));
    let flood: Vec<_> = (0..FLOOD)
        .map(|number| {
            let (admin, request) = (admin.clone(), message("noisy", &format!("m{number}")));
            let refused = refused.clone();
            tokio::spawn(async move {
                let begun = Instant::now();
                let taken = admin.request(&request).await.inspect_err(|_| {
                    assert!(begun.elapsed() >= PATIENCE, "it did not wait in its sender");
                    refused.fetch_add(1, Ordering::Relaxed);
                })?;
                Ok(taken.end().await)
            })
        })
        .collect();
    // One is in the turn.
    let all = OF_A_GROUP - 1;
    eventually("the noisy group has all its places", || async {
        (waiting(&admin, "noisy").await == all).then_some(())
    })
    .await;
    assert_eq!(admin.chat("quiet", "hello").await.text(), "mock reply to: hello\n(turn 1)");
    assert_eq!(waiting(&admin, "noisy").await, all, "as full as before");
    // On a slow machine some have waited for too long by now.
    let finished = flood.iter().filter(|sender| sender.is_finished()).count();
    assert!(finished <= refused.load(Ordering::Relaxed), "the others wait in their senders");
    admin.stop(&busy.session()).await;
    let mut answered = 0;
    for sender in join_all(flood).await {
        match sender.expect("no panic") {
            Ok(answer) => {
                assert_eq!(answer.finished.outcome, ChatOutcome::Replied, "{:#?}", answer.events);
                answered += 1;
            }
            // It waited for too long, on a slow machine.
            Err(ErrorBody { kind, hint, .. }) => {
                assert_eq!(kind, ErrorKind::Daemon);
                assert!(hint.expect("what to do").contains("nothing was accepted"));
            }
        }
    }
    println!("{answered} of {FLOOD} were answered before they were told to come again");
    assert!(answered >= all, "{answered}");
}

/// Begins a model call of unknown length at a session's door; answers when the gateway reads it. A byte of it comes each
/// second, until `stop`, and never its end. The task answers the answer's status line.
async fn slow_call(door: PathBuf, stop: Arc<AtomicBool>) -> JoinHandle<String> {
    let mut stream = UnixStream::connect(&door).await.expect("the door is open");
    let head =
        "POST /v1/responses HTTP/1.1\r\nhost: door\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("written");
    let first = line(&mut stream).await;
    assert!(first.starts_with("HTTP/1.1 100"), "{first}");
    assert_eq!(line(&mut stream).await, "\r\n");
    tokio::spawn(async move {
        let (mut read, mut write) = stream.into_split();
        let trickle = async {
            while !stop.load(Ordering::Relaxed) && write.write_all(b"1\r\n \r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::join!(line(&mut read), trickle).0
    })
}

async fn line(from: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let byte = tokio::time::timeout(LIMIT, from.read_u8()).await.expect("in time");
        line.push(byte.expect("the connection is there"));
    }
    String::from_utf8(line).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_hold_all_the_room_for_model_calls_hold_up_nobody_elses() {
    let mut home = TestHome::new();
    home.configure("max_sessions = 8\n");
    // A byte now and then holds its room for as long as others take on a busy machine.
    home.env("COFFERDAM_TEST_LIMITS", &limits(&[("body", Duration::from_secs(300))]));
    home.up().await;
    let admin = home.admin();
    let hostile = ["hostile-1", "hostile-2", "hostile-3", "hostile-4"];
    let mut calls = Vec::new();
    for group in hostile {
        let provider = if group == hostile[0] { json!({}) } else { json!({"provider": "mock"}) };
        home.group(group, &provider).await;
        let session = admin.chat(group, "hello").await.finished.session;
        calls.push(home.root().join("run/doors").join(session.as_str()).join("door.sock"));
    }
    home.group("quiet", &json!({})).await;
    // All four are being read: there is no room left but what each session has of its own.
    let stop = Arc::new(AtomicBool::new(false));
    let calls = join_all(calls.into_iter().map(|door| slow_call(door, stop.clone()))).await;
    let quiet = admin.chat("quiet", "hello").await;
    assert!(quiet.text().contains("hello"), "{:?}", quiet.replies());
    let neighbour = ChatRequest { thread: Some("other".to_owned()), ..message(hostile[0], "hello") };
    let neighbour = admin.request(&neighbour).await.expect("accepted").end().await;
    assert!(neighbour.text().contains("hello"), "{:?}", neighbour.replies());
    assert!(calls.iter().all(|call| !call.is_finished()), "they hold it still");
    stop.store(true, Ordering::Relaxed);
    for call in calls {
        let answer = call.await.expect("no panic");
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}
