//! ChatGPT logins: how they are had, and that they serve model calls and stay fresh.

use std::time::Duration;

use cofferdam_tests::home::TestHome;
use cofferdam_tests::issuer::{Issuer, Person, SECRET};
use cofferdam_tests::vendor::Vendor;
use secrecy::ExposeSecret;
use serde_json::json;

/// A home whose ChatGPT logins are of a fake issuer, and serve at a fake backend that takes what that issuer granted.
async fn home() -> (TestHome, Issuer, Vendor) {
    let (mut home, issuer, vendor) = (TestHome::new(), Issuer::start().await, Vendor::start().await);
    home.env("COFFERDAM_TEST_ISSUER", &issuer.port().to_string());
    vendor.serve_chatgpt(&mut home);
    let granted = issuer.clone();
    vendor.take_if(move |token| granted.accepts(token));
    (home, issuer, vendor)
}

async fn take_over(home: &TestHome, issuer: &Issuer) {
    let file = home.root().join("auth.json");
    std::fs::write(&file, issuer.login().to_auth_json(None).expose_secret()).expect("a login");
    let ended = home.cli(&["account", "import", file.to_str().expect("UTF-8"), "--take-over"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!file.exists(), "nobody else has it any more");
}

#[tokio::test]
async fn a_login_with_a_device_code_serves_a_session() {
    let (mut home, issuer, vendor) = home().await;
    home.up().await;
    // The person types the code after it was shown.
    let approves = async {
        cofferdam_tests::eventually("it asks", || async { (issuer.polls() > 0).then_some(()) }).await;
        issuer.person(Person::Approves);
    };
    let login = ["account", "login", "--kind", "chatgpt", "--device"];
    let (ended, ()) = tokio::join!(home.cli(&login), approves);
    assert_eq!(ended.code, 0, "{ended:?}");
    let shown = home.cli(&["account", "show", "chatgpt", "--json"]).await.json();
    assert_eq!((&shown["default"], shown["trouble"].is_null()), (&json!(true), true), "{shown}");
    assert!(shown["email"].is_string() && shown["plan"].is_string() && shown["expires_at"].is_string(), "{shown}");
    assert_eq!(home.cli(&["account", "test", "chatgpt"]).await.code, 0);
    home.group("demo", &json!({})).await;
    let answer = home.admin().chat("demo", "hello").await;
    assert!(answer.text().contains("vendor answer"), "{}", answer.text());
    assert_eq!(vendor.calls()[0].headers["chatgpt-account-id"], "acc-test");
    for text in [&ended.stdout, &ended.stderr, &home.log(), &shown.to_string()] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn a_refused_access_token_is_replaced_within_the_call() {
    let (mut home, issuer, vendor) = home().await;
    take_over(&home, &issuer).await;
    home.up().await;
    home.group("demo", &json!({})).await;
    home.admin().chat("demo", "one").await.text();
    let first = vendor.calls()[0].headers["authorization"].to_str().expect("text").to_owned();
    let (granted, stale) = (issuer.clone(), first.clone());
    vendor.take_if(move |token| granted.accepts(token) && !stale.ends_with(token));
    home.admin().chat("demo", "two").await.text();
    let refreshes = issuer.refreshes();
    assert_eq!(refreshes.len(), 1, "{refreshes:?}");
    assert_eq!((refreshes[0].reason.as_str(), refreshes[0].granted), ("unauthorized_recovery", true));
    assert_ne!(vendor.calls()[1].headers["authorization"], first);
    home.stop().await;
    assert_eq!(home.cli(&["account", "test", "chatgpt"]).await.code, 0, "the new tokens were kept");
    assert_eq!(issuer.refreshes().len(), 1);
}

#[tokio::test]
async fn a_token_that_ended_is_renewed_before_the_call_and_a_dead_login_says_so() {
    let (mut home, issuer, _vendor) = home().await;
    issuer.tokens_live(Duration::from_secs(1));
    take_over(&home, &issuer).await;
    home.up().await;
    issuer.tokens_live(Duration::from_secs(3600));
    cofferdam_tests::eventually("the token is due", || async {
        assert_eq!(home.cli(&["account", "test", "chatgpt"]).await.code, 0);
        (!issuer.refreshes().is_empty()).then_some(())
    })
    .await;
    assert_eq!(issuer.refreshes()[0].reason, "proactive_expiry");
    issuer.revoke_all();
    let refused = issuer.clone();
    _vendor.take_if(move |token| !refused.accepts(token));
    let test = home.cli(&["account", "test", "chatgpt"]).await;
    assert_eq!(test.code, 15, "{test:?}");
    assert!(test.stderr.contains("logged in again"), "{test:?}");
    assert_eq!(home.cli(&["account", "logout", "chatgpt"]).await.code, 0);
}

#[tokio::test]
async fn a_login_is_one_accounts_only_and_an_import_says_how() {
    let (home, issuer, _vendor) = home().await;
    take_over(&home, &issuer).await;
    let file = home.root().join("auth.json");
    std::fs::write(&file, issuer.login().to_auth_json(None).expose_secret()).expect("a login");
    let path = file.to_str().expect("UTF-8");
    let how = home.cli(&["account", "import", path, "--name", "second"]).await;
    assert!(how.code == 2 && how.stderr.contains("--shared") && how.stderr.contains("--take-over"), "{how:?}");
    let same = home.cli(&["account", "import", path, "--name", "second", "--shared"]).await;
    assert!(same.code == 5 && same.stderr.contains("'chatgpt'"), "{same:?}");
    assert!(file.exists());
    assert_eq!(home.cli(&["account", "remove", "chatgpt", "--yes"]).await.code, 0);
    let shared = home.cli(&["account", "import", path, "--name", "second", "--shared"]).await;
    assert_eq!(shared.code, 0, "{shared:?}");
    assert_eq!(home.cli(&["account", "test", "second"]).await.code, 0);
    assert!(file.exists(), "it stays the host's own Codex's");
}
