//! What model calls cost and what became of them: real Codex, over the offline model and a vendor on loopback.

use cofferdam_protocol::admin::{CallOutcome, ChatEvent, ModelCall, UsageReport, UsageRow, UsageSum};
use cofferdam_tests::eventually;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::vendor::{Say, Vendor};
use serde_json::{Value, json};

async fn usage(home: &TestHome, words: &[&str]) -> UsageReport {
    let all: Vec<&str> = ["usage", "--json"].into_iter().chain(words.iter().copied()).collect();
    serde_json::from_value(home.cli(&all).await.json()).expect("the protocol's own type")
}

async fn activity(home: &TestHome, group: &str) -> Vec<ModelCall> {
    let told = home.cli(&["account", "activity", group, "--json"]).await;
    serde_json::from_value(told.json()).expect("the protocol's own type")
}

/// Calls, input, cached, output and reasoning tokens.
fn figures(sum: &UsageSum) -> [u64; 5] {
    let tokens = &sum.tokens;
    [sum.calls, tokens.input_tokens, tokens.cached_input_tokens, tokens.output_tokens, tokens.reasoning_tokens]
}

fn line(report: &UsageReport, is: impl Fn(&UsageRow) -> bool) -> &UsageSum {
    let mut found = report.rows.iter().filter(|row| is(row));
    match (found.next(), found.next()) {
        (Some(row), None) => &row.sum,
        _ => panic!("not one line: {report:?}"),
    }
}

#[tokio::test]
async fn usage_is_exact_whatever_it_is_added_up_by_and_outlives_the_daemon() {
    let vendor = Vendor::start().await;
    let mut home = TestHome::new();
    vendor.serve(&mut home);
    home.up().await;
    home.group("demo", &json!({"model": "model-a"})).await;
    home.group("own", &json!({"account": "offline", "pool": {"mode": "custom"}, "model": "model-b"})).await;
    home.group("quiet", &json!({})).await;
    assert_eq!(home.cli(&["usage"]).await.stdout, "no model calls\n");
    let admin = home.admin();
    let first = admin.chat("demo", "one").await.finished.session;
    vendor.script([Say::Run("true".into()), Say::Text("It ran.".into())]);
    admin.chat("demo", "two").await.text();
    let second = admin.chat("own", "!usage 1000\n!say hi").await.finished.session;

    let groups = usage(&home, &[]).await;
    let of_group = |name: &str| {
        let name = Some(name.parse().expect("a folder"));
        *line(&groups, |row| row.group == name)
    };
    let (demo, own) = (of_group("demo"), of_group("own"));
    assert_eq!(figures(&demo), [3, 300, 120, 30, 9]);
    assert_eq!((own.calls, own.tokens.input_tokens), (1, 1000));
    assert!(own.tokens.output_tokens > 0);
    let mut total = demo;
    total.add(&own);
    assert_eq!((groups.rows.len(), groups.total), (2, total), "a group without calls has no line");
    let sessions = usage(&home, &["--by", "session"]).await;
    assert_eq!(*line(&sessions, |row| row.session.as_ref() == Some(&first)), demo);
    assert_eq!(*line(&sessions, |row| row.session.as_ref() == Some(&second)), own);
    let accounts = usage(&home, &["--by", "account"]).await;
    let named = |name: &str| Some(name.parse().expect("a name"));
    assert_eq!(*line(&accounts, |row| row.account == named("environment")), demo);
    assert_eq!(*line(&accounts, |row| row.account == named("offline")), own);
    let models = usage(&home, &["--by", "model"]).await;
    assert_eq!(*line(&models, |row| row.model.as_deref() == Some("model-a")), demo);
    assert_eq!(*line(&models, |row| row.model.as_deref() == Some("model-b")), own);
    let days = usage(&home, &["demo"]).await;
    assert_eq!(days.total, demo);
    let today = days.rows.last().and_then(|row| row.day.clone()).expect("a day");
    // The test may run over midnight.
    assert_eq!(usage(&home, &["--days", "2"]).await.total, total);
    assert_eq!(usage(&home, &["--since", &days.rows[0].day.clone().expect("a day")]).await.total, total);
    assert_eq!(home.cli(&["usage", "--since", "2999-01-01"]).await.stdout, "no model calls since 2999-01-01\n");

    home.crash().await;
    home.up().await;
    assert_eq!(usage(&home, &[]).await, groups, "a daemon that dies loses nothing that was asked for");
    assert_eq!(home.stop().await.code(), Some(0));
    assert_eq!(usage(&home, &["--by", "account"]).await, accounts, "without a daemon");
    let table = home.cli(&["usage", "own"]).await.stdout;
    assert!(table.starts_with("DAY ") && table.contains(&today) && table.contains("1,000"), "{table}");
    let figures = home.cli(&["usage", "own", "--by", "account", "--json"]).await.json()["rows"].clone();
    let output = own.tokens.output_tokens;
    let wanted: Value = json!([{"account": "offline", "calls": 1, "input_tokens": 1000, "cached_input_tokens": 0,
        "output_tokens": output, "reasoning_tokens": 0}]);
    assert_eq!(figures, wanted);
}

#[tokio::test]
async fn a_turns_calls_are_counted_when_its_reply_is_there() {
    let home = TestHome::with_demo(&json!({})).await;
    for turns in 1..=5 {
        home.admin().chat("demo", "!usage 100\n!say hi").await.text();
        let total = usage(&home, &["demo"]).await.total;
        assert_eq!((total.calls, total.tokens.input_tokens), (turns, turns * 100));
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_an_activity_that_says_so() {
    let home = TestHome::with_demo(&json!({"model": "model-a"})).await;
    let _chat = home.admin().send_text("demo", "!cut").await;
    let cut = eventually("the cut call is written down", || async { activity(&home, "demo").await.pop() }).await;
    assert_eq!((cut.outcome, cut.tokens), (CallOutcome::Cut, None));
    assert_eq!(cut.account.as_ref().map(|account| account.as_str()), Some("offline"));
    assert_eq!((cut.model.as_deref(), cut.route.as_str()), (Some("model-a"), "responses"));
    let table = home.cli(&["account", "activity", "demo"]).await.stdout;
    assert!(table.contains("cut off") && table.contains("as the message asked"), "{table}");
    assert!(usage(&home, &[]).await.total.calls >= 1, "it was a call all the same");
}

#[tokio::test]
async fn a_call_whose_container_is_stopped_was_given_up() {
    let home = TestHome::with_demo(&json!({})).await;
    let admin = home.admin();
    let mut chat = admin.send_text("demo", "!say Hold on.\n!hang").await;
    chat.until("the model speaks", |event| matches!(event, ChatEvent::Delta { .. })).await;
    let session = admin.sessions(Some("demo")).await.remove(0).id;
    admin.stop(&session).await;
    let call = eventually("the call is written down", || async { activity(&home, "demo").await.pop() }).await;
    assert_eq!((call.outcome, call.session), (CallOutcome::GivenUp, session));
    assert_eq!(call.why.as_deref(), Some("while the answer came"));
}

#[tokio::test]
async fn what_nobody_could_serve_is_an_activity_and_costs_nothing() {
    let home = TestHome::with_demo(&json!({"account": "nobody", "pool": {"mode": "custom"}})).await;
    let _chat = home.admin().send_text("demo", "hello").await;
    let call = eventually("the call is written down", || async { activity(&home, "demo").await.pop() }).await;
    assert_eq!((call.outcome, call.account), (CallOutcome::Failed, None));
    assert_eq!(call.why.as_deref(), Some("401 account_unavailable"));
    assert_eq!(usage(&home, &[]).await.rows, []);
}

#[tokio::test]
async fn an_unknown_group_is_told_and_a_quiet_one_has_no_calls() {
    let home = TestHome::with_demo(&json!({})).await;
    for words in [&["usage", "nosuch"][..], &["account", "activity", "nosuch"]] {
        let ended = home.cli(words).await;
        assert_eq!(ended.code, 4, "{ended:?}");
        assert!(ended.stderr.contains("no group 'nosuch'"), "{ended:?}");
    }
    assert_eq!(home.cli(&["account", "activity", "demo"]).await.stdout, "no model calls of demo\n");
    assert_eq!(home.cli(&["account", "activity", "demo", "--json"]).await.json(), json!([]));
    let empty = json!({"by": "day", "since": null, "rows": [], "total": {"calls": 0, "input_tokens": 0,
        "cached_input_tokens": 0, "output_tokens": 0, "reasoning_tokens": 0}});
    assert_eq!(home.cli(&["usage", "demo", "--json"]).await.json(), empty);
}
