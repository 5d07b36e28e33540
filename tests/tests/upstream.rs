//! Vendors that stop, break off or say too much, seen from a session's door: what is waited for is bounded, and reported as what
//! it was.

use std::time::Duration;

use cofferdam_protocol::admin::{CallOutcome, Missed};
use cofferdam_tests::door::{Doorway, came, of_group, post, post_again};
use cofferdam_tests::home::TestHome;
use cofferdam_tests::upstream::{COMPLETED, DELTA, END, EVENTS, Upstream, chunked, limits};
use cofferdam_tests::{door, eventually};
use serde_json::json;

/// The shortest patience that a busy machine keeps.
const SOON: Duration = Duration::from_secs(3);
const MIB: u64 = 1024 * 1024;

/// A pool of `work`, which is the default, and `spare`; the door of a session.
async fn pool(work: &Upstream, spare: &Upstream, limits: &str) -> Doorway {
    let mut home = TestHome::new();
    home.env("COFFERDAM_TEST_LIMITS", limits);
    home.up().await;
    for (name, vendor) in [("work", work), ("spare", spare)] {
        let words =
            ["account", "login", name, "--kind", "compatible", "--base-url", vendor.base_url(), "--key-file", "-"];
        let ended = home.cli_given(&words, &format!("sk-test-of-{name}-0123456789\n")).await;
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    let ended = home.cli(&["account", "pool", "set", "work", "spare"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    home.group("demo", &json!({"provider": "mock"})).await;
    let door = of_group(&home, "demo").await;
    Doorway { home, door }
}

#[tokio::test]
async fn a_vendor_that_takes_a_call_and_says_nothing_is_left_and_nobody_else_gets_that_call() {
    let (mut work, mut spare) = (Upstream::start().await, Upstream::start().await);
    let doorway = pool(&work, &spare, &limits(&[("headers", SOON)])).await;
    let call = doorway.call();
    let mut taken = work.next().await;
    taken.left().await;
    let came = call.await.expect("no panic");
    assert_eq!((came.status, came.code().as_str()), (504, "upstream_timeout"));
    assert!(spare.is_left_alone(), "the vendor may be at it still");
    let told = doorway.told(1).await;
    assert_eq!((told.outcome, told.why.as_deref()), (CallOutcome::Failed, Some("504 upstream_timeout")));
    let silent = Missed { account: "work".parse().unwrap(), why: "the vendor did not answer".to_owned() };
    assert_eq!((told.account, told.missed), (None, vec![silent]));
    // The next call goes to whoever is likely to answer.
    let call = doorway.call();
    spare.next().await.say(EVENTS).await.chunk(COMPLETED).await.say(END).await;
    assert!(call.await.expect("no panic").whole);
    assert!(work.is_left_alone());
}

#[tokio::test]
async fn a_stream_that_stalls_is_cut_and_gives_back_what_it_held() {
    let mut vendor = Upstream::start().await;
    let doorway = Doorway::before(vendor.base_url(), &limits(&[("stall", SOON)])).await;
    let before = doorway.open_files();
    for number in 1..=6 {
        let call = doorway.call();
        let mut taken = vendor.next().await;
        taken.say(EVENTS).await.chunk(DELTA).await.left().await;
        let came = call.await.expect("no panic");
        assert_eq!((came.status, came.text, came.whole), (200, DELTA.as_bytes().to_vec(), false));
        let told = doorway.told(number).await;
        let why = told.why.expect("why");
        assert!(told.outcome == CallOutcome::Cut && why.contains("nothing came for"), "{why}");
    }
    eventually("all connections are closed", || async { (doorway.open_files() <= before).then_some(()) }).await;
}

#[tokio::test]
async fn whichever_way_an_answer_breaks_off_nobody_takes_it_for_a_whole_one() {
    let mut vendor = Upstream::start().await;
    let doorway = Doorway::before(vendor.base_url(), "").await;
    let whole = chunked(DELTA);
    let long =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"id\":".to_owned();
    let ways = [
        (format!("{EVENTS}{whole}"), true, "a reset"),
        (format!("{EVENTS}{whole}"), false, "chunks without an end"),
        (format!("{EVENTS}{}", &whole[..whole.len() / 2]), false, "half a chunk"),
        (format!("{EVENTS}{whole}what is no chunk\r\n"), false, "no chunk"),
        (long, false, "a body shorter than was said"),
    ];
    for (number, (text, reset, way)) in (1..).zip(ways) {
        let speaks = async {
            let mut taken = vendor.next().await;
            taken.say(text).await;
            taken
        };
        // A reset takes with it what was not read yet: the answer has to have begun.
        let (answer, taken) = tokio::join!(post(&doorway.door, door::call()), speaks);
        if reset {
            taken.reset()
        } else {
            drop(taken)
        }
        let came = came(answer).await;
        assert!(!came.whole, "{way}: {came:?}");
        let told = doorway.told(number).await;
        assert_eq!((told.outcome, told.tokens), (CallOutcome::Cut, None), "{way}: {told:?}");
    }
    // A stream that ends in order, but says nothing of its response's end.
    let call = doorway.call();
    vendor.next().await.say(EVENTS).await.chunk(DELTA).await.say(END).await;
    assert!(call.await.expect("no panic").whole);
    let told = doorway.told(6).await;
    assert_eq!(told.outcome, CallOutcome::Cut, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_any_size_pass_and_take_no_memory() {
    const HUGE: usize = 128 * 1024 * 1024;
    let mut vendor = Upstream::start().await;
    let doorway = Doorway::before(vendor.base_url(), "").await;
    let block = 64 * 1024;
    let events = chunked(&DELTA.repeat(block / DELTA.len()));
    let line = chunked(&"x".repeat(block));
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let ways = [
        ("events without an end", EVENTS, String::new(), events, format!("\n\n{COMPLETED}")),
        ("one line", EVENTS, "data: {\"type\":\"".to_owned(), line.clone(), format!("\"}}\n\n{COMPLETED}")),
        (
            "one object",
            json,
            "{\"output\":[\"".to_owned(),
            line,
            "\"],\"model\":\"sol\",\"usage\":{\"input_tokens\":120,\"output_tokens\":30}}".to_owned(),
        ),
    ];
    for (number, (way, head, begin, middle, end)) in (1..).zip(ways) {
        doorway.peak();
        let before = doorway.peak();
        let call = doorway.call();
        let mut taken = vendor.next().await;
        taken.say(head).await;
        if !begin.is_empty() {
            taken.chunk(&begin).await;
        }
        assert!(taken.flood(middle.as_bytes(), HUGE).await >= HUGE, "{way}");
        taken.chunk(&end).await.say(END).await;
        let came = call.await.expect("no panic");
        assert!(came.whole && came.length > HUGE / 100 * 99, "{way}: {}", came.length);
        let told = doorway.told(number).await;
        let tokens = told.tokens.expect("counted to its end");
        assert_eq!((tokens.input_tokens, tokens.output_tokens), (120, 30), "{way}");
        let grown = doorway.peak().saturating_sub(before) / MIB;
        println!("{way}: {grown} MiB more at the most, of {} MiB that passed", came.length as u64 / MIB);
        assert!(grown < 32, "{way}: {grown} MiB");
    }
}

#[tokio::test]
async fn what_is_no_answer_of_a_vendor_is_reported_and_no_credential_follows_a_redirect() {
    let (mut vendor, mut other) = (Upstream::start().await, Upstream::start().await);
    let doorway = Doorway::before(vendor.base_url(), "").await;
    let redirect =
        format!("HTTP/1.1 307 Elsewhere\r\nlocation: {}/responses\r\ncontent-length: 0\r\n\r\n", other.base_url());
    let huge = format!("HTTP/1.1 200 OK\r\nx-huge: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let many: String = (0..1000).map(|number| format!("x-{number}: y\r\n")).collect();
    let ways = [
        (redirect, "upstream_redirect"),
        (huge, "upstream_unreachable"),
        (format!("HTTP/1.1 200 OK\r\n{many}\r\n"), "upstream_unreachable"),
        ("220 mail.example.com ready\r\n".to_owned(), "upstream_unreachable"),
        ("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n".to_owned(), "upstream_unreachable"),
        // The connection closes.
        ("\r\n".to_owned(), "upstream_unreachable"),
    ];
    for (number, (text, code)) in (1..).zip(ways) {
        let call = doorway.call();
        let mut taken = vendor.next().await;
        assert!(taken.head.contains("authorization: bearer"));
        taken.flood(text.as_bytes(), 1).await;
        drop(taken);
        let came = call.await.expect("no panic");
        assert_eq!((came.status, came.code().as_str()), (502, code), "{text:.60}");
        let told = doorway.told(number).await;
        assert_eq!((told.outcome, told.why), (CallOutcome::Failed, Some(format!("502 {code}"))), "{text:.60}");
    }
    assert!(other.is_left_alone(), "the redirect was followed");
}

#[tokio::test]
async fn what_is_odd_in_an_answer_passes_as_it_is() {
    let mut vendor = Upstream::start().await;
    let doorway = Doorway::before(vendor.base_url(), "").await;
    let odd = "data: {\"type\": \n\nevent\n: \u{0}\n\ndata: [[[[\n\nretry: x\r\r\n";
    let call = doorway.call();
    vendor.next().await.say(EVENTS).await.chunk(odd).await.say(END).await;
    let came = call.await.expect("no panic");
    assert_eq!((came.text, came.whole), (odd.as_bytes().to_vec(), true));
    assert_eq!(doorway.told(1).await.outcome, CallOutcome::Cut, "no end of a response was in it");

    // Nobody asked for it: the container is told what it is, and it is not counted.
    let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n";
    let call = doorway.call();
    vendor.next().await.say(head).await.say([0x1f, 0x8b, 8, 0]).await;
    let came = call.await.expect("no panic");
    assert_eq!((came.headers["content-encoding"].as_bytes(), came.text.len(), came.whole), (&b"gzip"[..], 4, true));
    let told = doorway.told(2).await;
    assert_eq!((told.outcome, told.tokens), (CallOutcome::Completed, None));
}

#[tokio::test]
async fn a_call_that_is_too_large_is_refused_in_the_vendors_form_and_goes_nowhere() {
    let mut vendor = Upstream::start().await;
    let doorway = Doorway::before(vendor.base_url(), "").await;
    let text = "x".repeat(65 * 1024 * 1024);
    let body = json!({"model": "m", "input": text}).to_string();
    let came = came(post_again(&doorway.door, body.into()).await).await;
    assert_eq!((came.status, came.code().as_str()), (413, "request_too_large"));
    assert!(vendor.is_left_alone());
    let call = doorway.call();
    vendor.next().await.say(EVENTS).await.chunk(COMPLETED).await.say(END).await;
    assert!(call.await.expect("no panic").whole, "the next one is served");
}
