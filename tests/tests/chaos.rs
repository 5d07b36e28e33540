//! A short run of `make chaos`: everything is killed under a load of messages, and none of them is lost or doubled.
//! Needs root and `dockerd`, for an engine and a disk of its own.

use std::time::Duration;

use cofferdam_tests::chaos;
use cofferdam_tests::chaos::plan::{Agent, Settings};
use cofferdam_tests::chaos::report::Report;

/// What a failure is found again with.
async fn run(settings: Settings) -> Report {
    println!("seed {}", settings.seed);
    let report = chaos::run(settings, |_| {}).await;
    println!("{}\n{}", report.timelines(), report.text());
    assert!(report.is_clean(), "{}", report.text());
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_lost_or_doubled_while_everything_is_killed() {
    let (messages, kills) = (150, 15);
    let pace = Duration::from_millis(2500);
    let settings = Settings { seed: 20, messages, kills, groups: 3, chats: 2, agent: Agent::Mock, pace };
    let report = run(settings).await;
    assert_eq!((report.ended(), report.kills()), (messages, kills));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_of_codex_is_lost_or_doubled_while_everything_is_killed() {
    let (messages, kills) = (8, 3);
    let pace = Duration::from_secs(6);
    let settings = Settings { seed: 21, messages, kills, groups: 1, chats: 2, agent: Agent::Codex, pace };
    let report = run(settings).await;
    assert_eq!((report.ended(), report.kills()), (messages, kills));
}
