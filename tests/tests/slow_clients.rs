//! Containers that read slowly or not at all, or send what never ends: bounded, and nobody else waits for them.

use std::time::Duration;

use cofferdam_protocol::admin::CallOutcome;
use cofferdam_tests::door::{Doorway, begin, call, of_group};
use cofferdam_tests::eventually;
use cofferdam_tests::upstream::{COMPLETED, DELTA, END, EVENTS, Upstream, chunked, limits};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const MIB: u64 = 1024 * 1024;
const ENDLESS: usize = usize::MAX;

/// Reads an answer of one of the door's own to its end.
async fn answer(mut stream: UnixStream) -> String {
    let mut text = Vec::new();
    let _ = tokio::time::timeout(cofferdam_tests::LIMIT, stream.read_to_end(&mut text)).await.expect("it closes");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_take_an_answer_holds_no_vendor_and_no_memory_for_ever() {
    let mut vendor = Upstream::start().await;
    let patience = Duration::from_secs(8);
    let doorway = Doorway::before(vendor.base_url(), &limits(&[("untaken", patience)])).await;
    doorway.home.group("quiet", &json!({"provider": "mock"})).await;
    let quiet = of_group(&doorway.home, "quiet").await;
    let before = doorway.open_files();
    doorway.peak();
    let peak = doorway.peak();
    let events = chunked(&DELTA.repeat(1000));

    // Ten that take nothing at all, and one that takes a byte now and then.
    let mut slow = Vec::new();
    let mut floods = Vec::new();
    for _ in 0..11 {
        slow.push(begin(&doorway.door, Some(call().len()), &call()).await);
        let (mut taken, events) = (vendor.next().await, events.clone());
        taken.say(EVENTS).await;
        floods.push(tokio::spawn(async move { taken.flood(events.as_bytes(), ENDLESS).await }));
    }
    let mut sipping = slow.pop().expect("one");
    let sips = tokio::spawn(async move {
        let mut sips = 0;
        while sipping.read_u8().await.is_ok() {
            sips += 1;
            if sips < 1000 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    // Meanwhile others are served: at the same door, and at another's.
    for door in [&doorway.door, &quiet] {
        let asked = begin(door, Some(call().len()), &call()).await;
        vendor.next().await.say(EVENTS).await.chunk(COMPLETED).await.say(END).await;
        let mut asked = asked;
        let mut text = String::new();
        while !text.contains("response.completed") {
            text.push(char::from(asked.read_u8().await.expect("an answer")));
        }
    }
    assert!(floods.iter().all(|flood| !flood.is_finished()), "the vendors speak still");
    for flood in floods {
        let said = flood.await.expect("no panic") as u64;
        assert!(said < 16 * MIB, "{said} bytes were taken for somebody who takes nothing");
    }
    let grown = doorway.peak().saturating_sub(peak) / MIB;
    println!("{grown} MiB more at the most, for 11 answers that nobody takes");
    assert!(grown < 64, "{grown} MiB");
    let told = doorway.told(12).await;
    let why = told.why.expect("why");
    assert!(told.outcome == CallOutcome::GivenUp && why.contains("nothing of the answer was taken for"), "{why}");
    sips.abort();
    drop(slow);
    eventually("all connections are closed", || async { (doorway.open_files() <= before).then_some(()) }).await;
}

#[tokio::test]
async fn a_call_that_never_ends_is_refused_in_time_and_a_vendor_hears_nothing_of_it() {
    let mut vendor = Upstream::start().await;
    let body = Duration::from_secs(10);
    let patience = limits(&[("body_stall", Duration::from_secs(4)), ("body", body)]);
    let doorway = Doorway::before(vendor.base_url(), &patience).await;
    for (length, sent) in [(None, "5\r\n{\"inp\r\n"), (Some(1000), "{\"input\":")] {
        let stalled = begin(&doorway.door, length, sent.as_bytes()).await;
        let told = answer(stalled).await;
        assert!(told.starts_with("HTTP/1.1 408") && told.contains("request_stalled"), "{told}");
    }
    let (read, mut write) = begin(&doorway.door, Some(1000), b"{").await.into_split();
    let trickle = tokio::spawn(async move {
        while write.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut read = tokio::io::BufReader::new(read);
    let mut told = String::new();
    let _ = tokio::time::timeout(cofferdam_tests::LIMIT, read.read_to_string(&mut told)).await.expect("it closes");
    trickle.await.expect("no panic");
    assert!(told.starts_with("HTTP/1.1 408") && told.contains("request_timeout"), "{told}");
    // A body that breaks off: nobody is there to be told, and nothing is left.
    drop(begin(&doorway.door, Some(1000), b"{\"input\":").await);
    let call = doorway.call();
    vendor.next().await.say(EVENTS).await.chunk(COMPLETED).await.say(END).await;
    assert!(call.await.expect("no panic").whole, "the next one is served");
    assert!(vendor.is_left_alone());
}

#[tokio::test]
async fn a_door_speaks_no_http_2_which_has_many_calls_in_one_connection() {
    let vendor = Upstream::start().await;
    let doorway = Doorway::before(vendor.base_url(), "").await;
    let mut stream = UnixStream::connect(&doorway.door).await.expect("the door is open");
    // The preface of HTTP/2 and its first, empty frame of settings.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    stream.write_all(preface).await.expect("written");
    let told = answer(stream).await;
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 4"), "{told:?}");
}
