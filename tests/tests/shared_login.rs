//! One `auth.json` that the host's own Codex CLI, the real one, and we use at the same time.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use cofferdam::trust::Trust;
use cofferdam::vault::issuer::Issuer;
use cofferdam::vault::{Keep, RefreshError, Refresher, Shared, Tokens};
use cofferdam_protocol::ids::AccountName;
use cofferdam_tests::codex_cli::CodexCli;
use cofferdam_tests::eventually;
use cofferdam_tests::issuer::{Issuer as Fake, Person, SECRET, Say};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Notify;

struct Ours {
    refresher: Refresher,
    keep: Arc<dyn Keep>,
    _dir: tempfile::TempDir,
}

fn account() -> AccountName {
    "shared".parse().expect("a name")
}

impl Ours {
    fn new(fake: &Fake, cli: &CodexCli) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let issuer = Issuer::new(fake.address(), &Trust::MACHINE).expect("an issuer");
        let refresher = Refresher::new(issuer, dir.path().join("vault")).expect("a directory");
        let keep = Arc::new(Shared::new(cli.auth_json(), Some("acc-test".to_owned())));
        Self { refresher, keep, _dir: dir }
    }

    async fn refused(&self, access: &SecretString) -> Result<Tokens, RefreshError> {
        self.refresher.after_refusal(&account(), &self.keep, access).await
    }

    async fn now(&self) -> Tokens {
        self.keep.load(&account()).await.expect("a login")
    }
}

/// The real CLI logs in at the issuer that the tests play.
async fn log_in(fake: &Fake, cli: &CodexCli) {
    let login = tokio::spawn(cli.login());
    let polls = fake.polls();
    eventually("codex polls", async || (fake.polls() > polls).then_some(())).await;
    fake.person(Person::Approves);
    let output = login.await.expect("no panic");
    assert!(output.status.success(), "{output:?}");
}

fn file(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("auth.json")).expect("JSON")
}

#[tokio::test]
async fn the_real_codex_logs_in_and_refreshes_at_the_issuer_that_tests_play() {
    let fake = Fake::start().await;
    let cli = CodexCli::new(&fake);
    log_in(&fake, &cli).await;
    let tokens = Ours::new(&fake, &cli).now().await;
    assert!(fake.accepts(tokens.access_token.expose_secret()));
    let mut codex = cli.app_server().await;
    let fresh = codex.access_token(true).await.expect("a token");
    assert!(fake.accepts(fresh.expose_secret()) && !tokens.has_access(&fresh));
    assert!(fake.refreshes().iter().all(|refresh| refresh.granted), "{:#?}", fake.refreshes());
}

#[tokio::test]
async fn codex_and_we_share_one_login_through_twenty_rotations() {
    let fake = Fake::start().await;
    let cli = CodexCli::new(&fake);
    rotate(&fake, &cli, 20).await;
}

#[tokio::test]
async fn an_older_codex_and_we_share_one_login() {
    let fake = Fake::start().await;
    // `make test` fetches it.
    let Some(cli) = CodexCli::older(&fake) else { return };
    rotate(&fake, &cli, 6).await;
}

async fn rotate(fake: &Fake, cli: &CodexCli, times: usize) {
    log_in(fake, cli).await;
    let before = file(&cli.auth_json());
    let ours = Ours::new(fake, cli);
    let mut codex = cli.app_server().await;
    for round in 0..times {
        let old = ours.now().await;
        let fresh = if round % 2 == 0 {
            // What we refreshed it takes from the file, instead of refreshing; then it is asked again.
            let found = codex.access_token(true).await.filter(|token| !old.has_access(token));
            let found = if found.is_some() { found } else { codex.access_token(true).await };
            found.unwrap_or_else(|| panic!("codex is logged out in round {round}"))
        } else {
            ours.refused(&old.access_token).await.expect("fresh tokens").access_token
        };
        assert!(!old.has_access(&fresh) && fake.accepts(fresh.expose_secret()), "round {round}");
        assert!(ours.now().await.has_access(&fresh), "round {round}: it is in the file");
        // A CLI that starts now has it.
        if round % 5 == 0 {
            assert!(cli.app_server().await.uses(&fresh).await, "round {round}");
        }
    }
    let refreshes = fake.refreshes();
    assert!(refreshes.len() >= times && refreshes.iter().all(|refresh| refresh.granted), "{refreshes:#?}");
    let after = file(&cli.auth_json());
    for key in ["auth_mode", "OPENAI_API_KEY"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    for (key, value) in before["tokens"].as_object().expect("tokens") {
        assert!(key.ends_with("_token") || after["tokens"][key] == *value, "{key} stays");
    }
    let mode = std::fs::metadata(cli.auth_json()).expect("auth.json").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn when_both_refresh_at_the_same_moment_the_login_goes_on() {
    let fake = Fake::start().await;
    let cli = CodexCli::new(&fake);
    log_in(&fake, &cli).await;
    let ours = Ours::new(&fake, &cli);
    let mut codex = cli.app_server().await;
    for round in 0..8 {
        let old = ours.now().await;
        let (theirs, us) = tokio::join!(codex.access_token(true), ours.refused(&old.access_token));
        let us = us.unwrap_or_else(|error| panic!("round {round}: {}", cofferdam::error_chain(&error)));
        assert!(fake.accepts(us.access_token.expose_secret()), "round {round}");
        // Codex may say that its own refresh came too late; it has the winner's tokens at its next look.
        drop(theirs);
        let now = ours.now().await;
        assert!(
            !now.has_access(&old.access_token) && fake.accepts(now.access_token.expose_secret()),
            "round {round}"
        );
        assert!(cli.app_server().await.uses(&now.access_token).await, "round {round}");
    }
}

#[tokio::test]
async fn who_spends_the_token_second_has_what_the_first_got() {
    let fake = Fake::start().await;
    let cli = CodexCli::new(&fake);
    log_in(&fake, &cli).await;
    let (ours, mut codex) = (Ours::new(&fake, &cli), cli.app_server().await);
    let old = ours.now().await;

    let go = Arc::new(Notify::new());
    fake.script([Say::Held(go.clone())]);
    let codex_first = async {
        fake.has_seen(1).await;
        let theirs = codex.access_token(true).await.expect("codex refreshes");
        go.notify_one();
        theirs
    };
    let (us, theirs) = tokio::join!(ours.refused(&old.access_token), codex_first);
    assert!(us.expect("theirs").has_access(&theirs) && !old.has_access(&theirs));
    let seen: Vec<_> = fake.refreshes().iter().map(|refresh| refresh.granted).collect();
    assert_eq!(seen, [false, true], "we came second");

    fake.script([Say::Held(go.clone())]);
    let we_first = async {
        fake.has_seen(3).await;
        let us = ours.refused(&theirs).await.expect("we refresh");
        go.notify_one();
        us
    };
    let (_, us) = tokio::join!(codex.access_token(true), we_first);
    let seen: Vec<_> = fake.refreshes().iter().map(|refresh| refresh.granted).collect();
    assert_eq!(seen[2..4], [false, true], "codex came second");
    assert!(ours.now().await.has_access(&us.access_token), "and did not write over ours");
    assert!(cli.app_server().await.uses(&us.access_token).await);
    let taken = codex.access_token(true).await.expect("the codex that runs is logged in");
    assert!(fake.accepts(taken.expose_secret()));
}

#[tokio::test]
async fn a_login_that_codex_renews_for_good_is_taken_up() {
    let fake = Fake::start().await;
    let cli = CodexCli::new(&fake);
    log_in(&fake, &cli).await;
    let ours = Ours::new(&fake, &cli);
    let old = ours.now().await;
    fake.revoke_all();
    let error = ours.refused(&old.access_token).await.expect_err("revoked");
    assert!(matches!(error, RefreshError::LoginNeeded { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains(SECRET));
    log_in(&fake, &cli).await;
    let new = ours.refused(&old.access_token).await.expect("the new login");
    assert!(fake.accepts(new.access_token.expose_secret()));
    ours.refused(&new.access_token).await.expect("and it is refreshed");
}
