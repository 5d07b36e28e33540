//! The real runner with the mock provider against a door in the test: what holds for every provider.

mod common;

use std::time::Instant;

use cofferdam_protocol::runner::*;
use common::door::{Door, finishes, settings};
use common::runner::{Extra, Runner};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn mock_door(continuation: Option<&str>) -> std::sync::Arc<Door> {
    Door::open(settings(ProviderKind::Mock, std::path::Path::new("/")), continuation)
}

#[tokio::test]
async fn messages_are_answered_one_turn_after_another_and_a_stop_ends_with_zero() {
    let door = mock_door(None);
    let mut runner = Runner::start(&door);
    let first = door.finish(door.say("hello")).await;
    assert_eq!(first.replies, ["mock reply to: hello\n(turn 1)"]);
    assert_eq!(first.outcome, Outcome::Completed);
    let turn = door.say_all(&["a", "b"]);
    assert_eq!(door.finish(turn).await.replies, ["mock reply to: a\nb\n(turn 2)"]);
    assert_eq!(door.deltas(turn), "mock reply to: a\nb\n(turn 2)");
    door.stop();
    assert_eq!(runner.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_tool_of_the_host_is_called_with_the_same_id_until_it_is_answered() {
    let door = mock_door(None);
    let _runner = Runner::start(&door);
    door.orders.pend_tools(1);
    let turn = door.say("a\n!tool chat_reply {\"text\": \"hi there\"}");
    let reply = "mock reply to: a\nchat_reply did {\"text\":\"hi there\"}\n(turn 1)";
    assert_eq!(door.finish(turn).await.replies, [reply]);
    let calls = door.orders.tool_calls();
    assert_eq!(calls.iter().map(|call| call.call_id.as_str()).collect::<Vec<_>>(), ["mock-1", "mock-1"]);
}

#[tokio::test]
async fn a_stop_interrupts_and_a_message_steers_the_turn() {
    let door = mock_door(None);
    let _runner = Runner::start(&door);
    let turn = door.say("one\n!take");
    let ids = door.orders.steer(turn, &["two"]);
    assert_eq!(door.finish(turn).await.replies, ["mock reply to: one\ntwo\n(turn 1)"]);
    assert_eq!(door.steered(turn), ids);
    let turn = door.say("!silent");
    door.orders.interrupt(turn);
    assert_eq!(door.finish(turn).await.outcome, Outcome::Interrupted);
}

#[tokio::test]
async fn a_continuation_is_resumed() {
    let door = mock_door(Some("mock:5"));
    let _runner = Runner::start(&door);
    assert_eq!(door.ready().await, "mock:5");
    let finish = door.finish(door.say("x")).await;
    assert_eq!(finish.replies, ["mock reply to: x\n(turn 6)"]);
    assert_eq!(finish.thread.unwrap().continuation.as_deref(), Some("mock:6"));
}

#[tokio::test]
async fn a_failed_turn_says_so_and_the_next_one_works() {
    let door = mock_door(None);
    let _runner = Runner::start(&door);
    let failed = door.finish(door.say("!fail")).await;
    assert!(matches!(failed.outcome, Outcome::Failed(failure) if failure.kind == FailureKind::Other));
    assert_eq!(door.finish(door.say("x")).await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn sigterm_interrupts_the_turn_reports_it_and_exits_zero_soon() {
    let door = mock_door(None);
    let mut runner = Runner::start(&door);
    let turn = door.say("!silent");
    door.handed(turn).await;
    door.ready().await;
    let begun = Instant::now();
    runner.signal(Signal::TERM);
    assert_eq!(runner.ended().await.code(), Some(0));
    // Two seconds on an idle machine; the turn itself never ends.
    assert!(begun.elapsed().as_secs_f64() < 20.0, "{:?}", begun.elapsed());
    // A turn that was not begun is left for the next attempt; one that was has its end.
    for finish in finishes(&door.events(), turn) {
        assert_eq!(finish.outcome, Outcome::Interrupted);
    }
}

#[tokio::test]
async fn sigint_while_idle_exits_zero() {
    let door = mock_door(None);
    let mut runner = Runner::start(&door);
    door.asked(1).await;
    runner.signal(Signal::INT);
    assert_eq!(runner.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_crash_is_the_runners_exit() {
    let door = mock_door(None);
    let mut runner = Runner::start(&door);
    door.say("!exit 42");
    assert_eq!(runner.ended().await.code(), Some(42));
}

#[tokio::test]
async fn a_restarted_daemon_loses_nothing() {
    let door = mock_door(None);
    let _runner = Runner::start(&door);
    door.finish(door.say("one")).await;
    door.asked(2).await;
    door.unbind().await;
    let waiting = door.say("two");
    door.bind();
    assert_eq!(door.finish(waiting).await.replies, ["mock reply to: two\n(turn 2)"]);

    let long = door.say("!wait 0.3\nthree");
    door.handed(long).await;
    door.unbind().await;
    door.bind();
    assert_eq!(door.finish(long).await.replies, ["mock reply to: three\n(turn 3)"]);
    assert_eq!(finishes(&door.events(), long).len(), 1);
    assert_eq!(door.hellos(), 1);
}

#[tokio::test]
async fn an_acknowledgement_that_was_lost_does_not_double_the_turn() {
    let door = mock_door(None);
    let _runner = Runner::start(&door);
    door.ready().await;
    door.lose_acks(3);
    let turn = door.say("x");
    door.finish(turn).await;
    door.finish(door.say("y")).await;
    assert_eq!(finishes(&door.events(), turn).len(), 1);
}

#[tokio::test]
async fn a_turn_handed_out_again_after_its_end_gets_the_same_end() {
    let door = mock_door(None);
    let _runner = Runner::start(&door);
    let turn = door.say("x");
    door.finish(turn).await;
    door.asked(2).await;
    door.hand_out_again(turn);
    let ends = door.wait("second end", |events| Some(finishes(events, turn)).filter(|all| all.len() == 2)).await;
    assert_eq!(ends[0].replies, ends[1].replies);
    assert_eq!(door.finish(door.say("y")).await.replies, ["mock reply to: y\n(turn 2)"]);
}

#[tokio::test]
async fn a_stale_runner_ends_itself_with_code_four() {
    for status in [401, 409, 426] {
        let door = mock_door(None);
        let mut runner = Runner::start(&door);
        door.asked(1).await;
        door.refuse(status);
        assert_eq!(runner.ended().await.code(), Some(4), "{status}");
    }
    let door = mock_door(None);
    let _first = Runner::start(&door);
    door.asked(1).await;
    assert_eq!(Runner::start(&door).ended().await.code(), Some(4), "a second hello");
}

#[tokio::test]
async fn the_forwarder_splices_loopback_connections_to_the_door() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let door = mock_door(None);
    let _runner = Runner::start_with(&door, &Extra { forward_port: port, ..Extra::default() });
    door.asked(1).await;
    let large = "x".repeat(300_000);
    for _ in 0..3 {
        let mut client = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let head = format!(
            "POST /v1/responses HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            large.len()
        );
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(large.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("gateway saw 300000 bytes"), "{answer}");
    }
    assert_eq!(door.gateway.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn the_agent_cannot_read_the_runners_memory() {
    let door = mock_door(None);
    let runner = Runner::start(&door);
    door.asked(1).await;
    // A process that is not dumpable has its /proc entries owned by root, whoever runs it.
    let owner =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{}/mem", runner.pid())).unwrap());
    assert_eq!(owner, 0);
    if !rustix::process::getuid().is_root() {
        assert!(std::fs::File::open(format!("/proc/{}/environ", runner.pid())).is_err());
    }
}
