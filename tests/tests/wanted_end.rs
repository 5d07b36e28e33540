//! A container's end that somebody wanted, and a daemon that dies over it: no outage, and no second turn.

use std::os::unix::process::ExitStatusExt;

use cofferdam::hooks::OF_END;
use cofferdam_protocol::admin::{ChatOutcome, ChatRequest, SessionState};
use cofferdam_protocol::ids::Attempt;
use cofferdam_tests::admin::message;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::{engine, eventually, rows};
use rustix::process::Signal;
use serde_json::json;

/// A daemon that dies at that point of an end, and a turn under way.
async fn busy(point: &str) -> (TestHome, ChatRequest, String) {
    let mut home = TestHome::new();
    home.env("COFFERDAM_CRASH_AT", point);
    home.up().await;
    home.group("demo", &json!({"provider": "mock"})).await;
    let request = message("demo", "slowly\n!wait 600");
    let mut chat = home.admin().request(&request).await.expect("accepted");
    let container = chat.started().await;
    tokio::spawn(chat.drain());
    (home, request, container)
}

/// The daemon is dead; the next one comes.
async fn next_daemon(home: &mut TestHome, point: &str) {
    let status = home.ended().await;
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{point}: {status}; {}", home.log());
    home.unset("COFFERDAM_CRASH_AT");
    home.up().await;
}

fn outages(home: &TestHome) -> i64 {
    rows::select(&rows::of_group(home.root(), "demo"), "SELECT sum(outages) FROM inbox", |row| row.get(0))[0]
}

#[tokio::test]
async fn a_turn_that_a_person_ended_does_not_run_again() {
    for point in OF_END {
        let (mut home, request, container) = busy(point).await;
        let session = home.admin().sessions(None).await.remove(0).id;
        let stop = home.cli(&["session", "stop", session.as_str()]).await;
        assert_ne!(stop.code, 0, "{point}: its daemon died over it: {stop:?}");
        next_daemon(&mut home, point).await;
        let answer = home.admin().request(&request).await.expect("accepted").end().await;
        assert_eq!(answer.finished.outcome, ChatOutcome::Interrupted, "{point}");
        assert_eq!(answer.notices(), ["The turn was stopped before it was finished."], "{point}");
        engine::gone(&container).await;
        let turns: Vec<String> =
            rows::select(&rows::of_group(home.root(), "demo"), "SELECT state FROM turns", |row| row.get(0));
        assert_eq!(turns, ["interrupted"], "{point}");
        let next = home.admin().chat("demo", "and now").await;
        assert!(next.text().starts_with("mock reply to: and now"), "{point}: {next:?}");
        assert_eq!(outages(&home), 0, "{point}");
    }
}

#[tokio::test]
async fn a_turn_that_the_daemons_own_end_cut_off_had_no_outage() {
    for point in OF_END {
        let (mut home, _, container) = busy(point).await;
        home.signal(Signal::TERM);
        let ends = || async { home.admin().status().await.ends_within_secs };
        eventually("it took the first signal", ends).await;
        home.signal(Signal::TERM);
        next_daemon(&mut home, point).await;
        let stays = *point == "end.noted";
        // Who was not told to end goes on.
        let attempt = Attempt(if stays { 1 } else { 2 });
        eventually("its turn runs", || async {
            let session = home.admin().sessions(None).await.remove(0);
            (session.state == SessionState::Busy && session.attempt == attempt).then_some(())
        })
        .await;
        if !stays {
            engine::gone(&container).await;
        }
        assert_eq!(outages(&home), 0, "{point}");
        let noted = || async {
            let group = rows::of_group(home.root(), "demo");
            let marks: Vec<Option<String>> =
                rows::select(&group, "SELECT wanted_end FROM turns WHERE state = 'running'", |row| row.get(0));
            (marks == [None]).then_some(())
        };
        eventually("nobody wants its end any more", noted).await;
        home.crash().await;
    }
}
