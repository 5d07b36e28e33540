//! Pools of accounts, with the real Codex: another account serves the same call.

use cofferdam_protocol::admin::{Account, ChatEvent, ChatOutcome};
use cofferdam_tests::home::{Ended, TestHome};
use cofferdam_tests::vendor::{KEY, Say, Vendor};
use serde_json::json;

/// The other vendor's key.
const OTHER_KEY: &str = "sk-test-5d10b7e2f86c4a93";

/// Two accounts at vendors of their own: `work`, which is the default, and `spare`.
async fn two() -> (TestHome, Vendor, Vendor) {
    let (home, work, spare) = (TestHome::running().await, Vendor::start().await, Vendor::start().await);
    for (name, vendor, key) in [("work", &work, KEY), ("spare", &spare, OTHER_KEY)] {
        vendor.take_only(key);
        let words =
            ["account", "login", name, "--kind", "compatible", "--base-url", vendor.base_url(), "--key-file", "-"];
        good(home.cli_given(&words, &format!("{key}\n")).await);
    }
    home.group("demo", &json!({})).await;
    (home, work, spare)
}

fn good(ended: Ended) -> String {
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.stdout
}

fn at_its_limit(secs: i64) -> Say {
    let resets_at = jiff::Timestamp::now().as_second() + secs;
    let error = json!({"type": "usage_limit_reached", "message": "The usage limit has been reached", "resets_at": resets_at});
    Say::Status(429, json!({ "error": error }))
}

async fn shown(home: &TestHome, name: &str) -> Account {
    serde_json::from_value(home.cli(&["account", "show", name, "--json"]).await.json()).expect("an account")
}

#[tokio::test]
async fn at_its_limit_an_account_is_stood_in_for_within_the_call_and_until_the_reset() {
    let (home, work, spare) = two().await;
    let set = good(home.cli(&["account", "pool", "set", "work", "spare"]).await);
    assert!(set.contains("primary_first with spare"), "{set}");
    work.script([at_its_limit(3600)]);
    let answer = home.admin().chat("demo", "hello").await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Replied);
    assert_eq!((work.calls().len(), spare.calls().len()), (1, 1), "the same call, and Codex saw nothing of it");
    assert_eq!(work.calls()[0].body, spare.calls()[0].body);
    home.admin().chat("demo", "again").await;
    assert_eq!((work.calls().len(), spare.calls().len()), (1, 2));
    let told = home.cli(&["account", "activity", "demo", "--json"]).await.json();
    let skipped = told[0]["missed"].as_array().expect("accounts");
    assert_eq!((skipped.len(), &skipped[0]["account"]), (1, &json!("work")), "{told}");
    assert!(skipped[0]["why"].as_str().expect("why").starts_with("not asked: its limit is reached"), "{told}");
    let over = shown(&home, "work").await.passed_over.expect("it is passed over");
    let left =
        over.until.parse::<jiff::Timestamp>().expect("a time").as_second() - jiff::Timestamp::now().as_second();
    assert!((3500..=3600).contains(&left) && over.why.contains("429"), "{over:?}");
    assert!(good(home.cli(&["account", "show", "work"]).await).contains("passed over: its limit is reached"));
}

#[tokio::test]
async fn a_limit_of_all_that_passes_soon_is_waited_for() {
    let (home, work, spare) = two().await;
    good(home.cli(&["account", "pool", "set", "work", "spare"]).await);
    // The container is there, so that the call comes before the reset.
    home.admin().chat("demo", "first").await.text();
    let resets_at = jiff::Timestamp::now().as_second() + 6;
    let error =
        json!({"type": "requests", "code": "rate_limit_exceeded", "message": "slow down", "resets_at": resets_at});
    for vendor in [&work, &spare] {
        vendor.script([Say::Status(429, json!({ "error": error }))]);
    }
    let answer = home.admin().chat("demo", "hello").await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Replied, "{:?}", answer.notices());
    assert_eq!(work.calls().len() + spare.calls().len(), 1 + 3, "nobody was asked before the reset");
    let letters = good(home.cli(&["dead-letter", "list", "--json"]).await);
    assert_eq!(letters.trim(), "[]");
}

#[tokio::test]
async fn a_long_limit_of_a_single_account_is_told_at_once_and_waited_for_on_the_disk() {
    let (home, work, _spare) = two().await;
    work.script([Say::TooMany(600), Say::TooMany(600), Say::TooMany(600)]);
    let mut chat = home.admin().send_text("demo", "hello").await;
    let told = chat.until("it is told", |event| matches!(event, ChatEvent::Retrying { .. })).await;
    let ChatEvent::Retrying { at, .. } = told else { unreachable!() };
    let left = at.parse::<jiff::Timestamp>().expect("a time").as_second() - jiff::Timestamp::now().as_second();
    assert!((540..=700).contains(&left), "{left}");
    let status = good(home.cli(&["status"]).await);
    assert!(status.contains("account work: its limit is reached (429)"), "{status}");
}

#[tokio::test]
async fn a_chat_chooses_among_the_accounts_of_its_group_and_a_restart_keeps_that() {
    let (mut home, work, spare) = two().await;
    let told = home.admin().chat("demo", "/account spare").await;
    assert!(told.notices()[0].contains("spare does not serve this group"), "{:?}", told.notices());
    // The group's own pool, and not the account's.
    home.write_group("demo", &json!({"pool": {"mode": "custom", "strategy": "round_robin", "members": ["spare"]}}));
    let told = home.admin().chat("demo", "/account spare").await;
    assert_eq!(told.notices(), ["From the next turn on the account spare serves this conversation, and no other."]);
    home.admin().chat("demo", "one").await;
    assert_eq!((work.calls().len(), spare.calls().len()), (0, 1));
    home.crash().await;
    home.up().await;
    home.admin().chat("demo", "two").await;
    assert_eq!((work.calls().len(), spare.calls().len()), (0, 2), "also of a container that was adopted");
    spare.script([at_its_limit(3600)]);
    let failed = home.admin().chat("demo", "three").await;
    assert!(matches!(failed.finished.outcome, ChatOutcome::Failed { .. }), "nobody stands in: {failed:?}");
    home.admin().chat("demo", "/account default").await;
    home.admin().chat("demo", "four").await;
    assert_eq!(work.calls().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_a_pool_is_refused_with_what_to_do() {
    let (home, _work, _spare) = two().await;
    good(home.cli(&["account", "pool", "set", "work", "spare", "--strategy", "quota_aware"]).await);
    for (words, code, says) in [
        (&["set", "spare", "work"][..], 5, "account pool clear work"),
        (&["set", "work", "nobody"], 4, "no account 'nobody'"),
        (&["set", "work", "offline"], 2, "built in"),
        (&["set", "work"], 2, "MEMBER"),
        (&["set", "work", "spare", "--strategy", "best"], 2, "quota_aware"),
        (&["clear", "spare"], 4, "account pool set spare"),
    ] {
        let all: Vec<&str> = ["account", "pool"].iter().chain(words).copied().collect();
        let ended = home.cli(&all).await;
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.stderr.contains(says), "{ended:?}");
    }
    let pool = shown(&home, "work").await.pool.expect("it is as it was");
    assert_eq!(serde_json::to_value(pool).unwrap(), json!({"strategy": "quota_aware", "members": ["spare"]}));
    home.write_group("demo", &json!({"pool": {"members": ["spare"]}}));
    let refused = home.cli(&["group", "show", "demo"]).await;
    assert!((refused.stdout + &refused.stderr).contains("mode"), "the file says what is wrong with it");
}
