//! Fifty sessions with the real Codex, whose one login ends under all of them at once.

use cofferdam_protocol::admin::{ChatOutcome, ChatRequest};
use cofferdam_tests::admin::{Answer, message};
use cofferdam_tests::home::TestHome;
use cofferdam_tests::issuer::Issuer;
use cofferdam_tests::vendor::Vendor;
use futures_util::future::join_all;
use futures_util::stream::{StreamExt, iter};
use secrecy::ExposeSecret;
use serde_json::json;

const SESSIONS: usize = 50;
/// Containers that start beside each other.
const AT_ONCE: usize = 4;

fn say(session: usize, text: &str) -> ChatRequest {
    ChatRequest { thread: Some(format!("t{session}")), ..message("demo", text) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_sessions_that_are_refused_at_once_make_one_refresh_and_all_go_on() {
    let (mut home, issuer, vendor) = (TestHome::new(), Issuer::start().await, Vendor::start().await);
    home.configure(&format!("max_sessions = {SESSIONS}"));
    home.env("COFFERDAM_TEST_ISSUER", &issuer.port().to_string());
    vendor.serve_chatgpt(&mut home);
    let granted = issuer.clone();
    vendor.take_if(move |token| granted.accepts(token));
    let file = home.root().join("auth.json");
    std::fs::write(&file, issuer.login().to_auth_json(None).expose_secret()).expect("a login");
    home.up().await;
    let ended = home.cli(&["account", "import", file.to_str().expect("UTF-8"), "--take-over"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    home.group("demo", &json!({"limits": {"memory_mb": 512}})).await;
    let admin = home.admin();
    let turn = async |session: usize, text: &'static str| -> Answer {
        admin.request(&say(session, text)).await.expect("accepted").end().await
    };
    let warm: Vec<Answer> =
        iter(0..SESSIONS).map(|session| turn(session, "one")).buffer_unordered(AT_ONCE).collect().await;
    assert!(warm.iter().all(|answer| answer.finished.outcome == ChatOutcome::Replied));
    assert_eq!((vendor.calls().len(), issuer.refreshes().len()), (SESSIONS, 0));

    let first = vendor.calls()[0].headers["authorization"].to_str().expect("text").to_owned();
    let (granted, stale) = (issuer.clone(), first.clone());
    vendor.take_if(move |token| granted.accepts(token) && !stale.ends_with(token));
    let answers = join_all((0..SESSIONS).map(|session| turn(session, "two"))).await;
    for answer in &answers {
        assert_eq!(answer.finished.outcome, ChatOutcome::Replied, "{:?}", answer.notices());
    }
    let refreshes = issuer.refreshes();
    assert_eq!(refreshes.len(), 1, "{refreshes:?}");
    assert_eq!((refreshes[0].reason.as_str(), refreshes[0].granted), ("unauthorized_recovery", true));
    let fresh = vendor.calls().iter().skip(SESSIONS).filter(|call| call.headers["authorization"] != first).count();
    assert_eq!(fresh, SESSIONS, "each call went on with the new token");
}
