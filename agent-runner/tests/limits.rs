//! What a limit of the account comes to: its kind, and the time at which it ends.

mod common;

use cofferdam_protocol::runner::*;
use common::model::Step;
use common::setup::{Setup, failure};
use serde_json::json;

/// Far in the future, in seconds since 1970.
const RESETS: u64 = 4_102_444_800;

fn headers(used_percent: u32) -> Vec<(&'static str, String)> {
    vec![
        ("x-codex-primary-used-percent", used_percent.to_string()),
        ("x-codex-primary-window-minutes", "300".into()),
        ("x-codex-primary-reset-at", RESETS.to_string()),
    ]
}

#[tokio::test]
async fn a_used_up_limit_says_when_it_ends() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let limit = json!({"error": {"type": "usage_limit_reached", "message": "limit", "resets_at": RESETS}});
    setup.model.script([Step::Refused(429, limit, headers(100))]);
    let finish = setup.say("x").await;
    let failure = failure(&finish);
    assert_eq!((failure.kind, failure.resets_at), (FailureKind::UsageLimit, Some(RESETS)));
}

#[tokio::test]
async fn a_limit_of_the_rate_says_when_it_ends_only_if_a_window_is_used_up() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let slow = || Step::Status(429, json!({"error": {"message": "slow down"}}));
    setup.model.script((0..20).map(|_| slow()));
    let unknown = setup.say("x").await;
    assert_eq!((failure(&unknown).kind, failure(&unknown).resets_at), (FailureKind::RateLimited, None));
    let limit = json!({"error": {"type": "usage_limit_reached", "message": "limit"}});
    setup.model.script([Step::Refused(429, limit, headers(100))]);
    setup.say("x").await;
    setup.model.script((0..20).map(|_| slow()));
    assert_eq!(failure(&setup.say("x").await).resets_at, Some(RESETS));
}

#[tokio::test]
async fn other_failures_say_no_time() {
    let setup = Setup::new().await;
    let _runner = setup.runner();
    let broken = || Step::Refused(500, json!({"error": {"message": "broken"}}), headers(100));
    setup.model.script((0..20).map(|_| broken()));
    assert_eq!(failure(&setup.say("x").await).resets_at, None);
}
