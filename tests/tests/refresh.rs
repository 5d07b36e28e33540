//! The one refresh of a login, against an issuer whose refresh tokens are good for one use.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cofferdam::trust::Trust;
use cofferdam::vault::issuer::{Issuer, Refusal};
use cofferdam::vault::refresh::Why;
use cofferdam::vault::{Keep, KeepError, RefreshError, Refresher, Secret, Tokens};
use cofferdam_protocol::ids::AccountName;
use cofferdam_tests::LIMIT;
use cofferdam_tests::issuer::{Issuer as Fake, SECRET, Say};
use rustix::process::Signal;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::sync::Notify;

/// Keeps a login in a file, whole or not at all; fails as often as it is told.
struct FileKeep {
    path: PathBuf,
    fails: AtomicUsize,
}

#[async_trait]
impl Keep for FileKeep {
    async fn load(&self, _account: &AccountName) -> Result<Tokens, KeepError> {
        let bytes = std::fs::read(&self.path).map_err(|_| KeepError::Missing)?;
        match Secret::from_bytes(&bytes) {
            Ok(Secret::Tokens(tokens)) => Ok(tokens),
            _ => Err(KeepError::Missing),
        }
    }

    async fn save(&self, account: &AccountName, old: &Tokens, new: &Tokens) -> Result<(), KeepError> {
        if self.fails.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok() {
            return Err(KeepError::failed("no space left"));
        }
        let now = self.load(account).await?;
        if now.refresh_token.expose_secret() != old.refresh_token.expose_secret() {
            return Err(KeepError::Changed);
        }
        write(&self.path, new);
        Ok(())
    }
}

fn write(path: &Path, tokens: &Tokens) {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, Secret::Tokens(tokens.clone()).to_bytes().expose_secret()).expect("written");
    std::fs::rename(fresh, path).expect("renamed");
}

/// An issuer, and a login of its in a directory.
struct Fixture {
    dir: tempfile::TempDir,
    fake: Fake,
    file: Arc<FileKeep>,
    refresher: Refresher,
    first: Tokens,
}

fn account() -> AccountName {
    "work".parse().expect("a name")
}

fn refresher(fake: &Fake, dir: &Path) -> Refresher {
    let issuer = Issuer::new(fake.address(), &Trust::MACHINE).expect("an issuer");
    Refresher::new(issuer, dir.join("vault")).expect("a directory")
}

impl Fixture {
    async fn new() -> Self {
        let (dir, fake) = (tempfile::tempdir().expect("a directory"), Fake::start().await);
        let file = Arc::new(FileKeep { path: dir.path().join("login"), fails: AtomicUsize::new(0) });
        let first = fake.login();
        write(&file.path, &first);
        let refresher = refresher(&fake, dir.path());
        Self { dir, fake, file, refresher, first }
    }

    fn keep(&self) -> Arc<dyn Keep> {
        self.file.clone()
    }

    /// The vendor refused this access token.
    async fn refused(&self, access: &SecretString) -> Result<Tokens, RefreshError> {
        self.refresher.after_refusal(&account(), &self.keep(), access).await
    }

    async fn kept(&self) -> Tokens {
        self.file.load(&account()).await.expect("a login")
    }

    /// As a new process has it.
    fn restarted(self) -> Self {
        let refresher = refresher(&self.fake, self.dir.path());
        Self { refresher, ..self }
    }

    /// A process that refreshes this login.
    fn child(&self, crash_at: &str) -> Child {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "a_process_of_its_own", "--nocapture"]);
        command.env("REFRESH_IN", self.dir.path()).env("REFRESH_AT", self.fake.port().to_string());
        command.env("REFRESH_REFUSED", self.first.access_token.expose_secret());
        if !crash_at.is_empty() {
            command.env("COFFERDAM_CRASH_AT", crash_at);
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("a process")
    }

    fn granted(&self) -> usize {
        self.fake.refreshes().iter().filter(|refresh| refresh.granted).count()
    }
}

/// Not a test, but what [`Fixture::child`] starts.
#[tokio::test]
async fn a_process_of_its_own() {
    let Some(dir) = std::env::var_os("REFRESH_IN").map(PathBuf::from) else { return };
    let port = std::env::var("REFRESH_AT").expect("a port").parse().expect("a port");
    let address = cofferdam::vault::issuer::Address::on_loopback(port);
    let refresher = Refresher::new(Issuer::new(address, &Trust::MACHINE).expect("an issuer"), dir.join("vault"))
        .expect("a directory");
    let keep: Arc<dyn Keep> = Arc::new(FileKeep { path: dir.join("login"), fails: AtomicUsize::new(0) });
    let refused = std::env::var("REFRESH_REFUSED").expect("a token").into();
    refresher.after_refusal(&account(), &keep, &refused).await.expect("fresh tokens");
}

async fn killed(child: &mut Child, point: &str) {
    let status = tokio::time::timeout(LIMIT, child.wait()).await.expect("in time").expect("an end");
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{point}: {status}");
}

fn why(outcome: Result<Tokens, RefreshError>) -> Why {
    match outcome {
        Err(error @ RefreshError::LoginNeeded { .. }) => {
            assert!(error.to_string().contains("logged in again"), "{error}");
            let RefreshError::LoginNeeded { why, .. } = error else { unreachable!() };
            why
        }
        other => panic!("not that a login is needed: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_callers_that_are_refused_at_once_make_one_refresh() {
    let f = Fixture::new().await;
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let (refresher, keep, refused) = (f.refresher.clone(), f.keep(), f.first.access_token.clone());
            tokio::spawn(async move { refresher.after_refusal(&account(), &keep, &refused).await })
        })
        .collect();
    for caller in callers {
        let tokens = caller.await.expect("no panic").expect("fresh tokens");
        assert!(f.fake.accepts(tokens.access_token.expose_secret()) && !tokens.has_access(&f.first.access_token));
    }
    let seen = f.fake.refreshes();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].reason, "unauthorized_recovery");
    assert!(f.refused(&f.first.access_token).await.is_ok(), "one who comes later reads it");
    assert_eq!(f.fake.refreshes().len(), 1);
}

#[tokio::test]
async fn two_processes_make_one_refresh() {
    let f = Fixture::new().await;
    let go = Arc::new(Notify::new());
    f.fake.script([Say::Held(go.clone())]);
    let (mut first, mut second) = (f.child(""), f.child(""));
    f.fake.has_seen(1).await;
    let ours = f.refused(&f.first.access_token);
    go.notify_one();
    let (first, second, ours) = tokio::join!(first.wait(), second.wait(), ours);
    assert!(first.expect("an end").success() && second.expect("an end").success());
    assert!(ours.expect("fresh tokens").has_access(&f.kept().await.access_token));
    assert_eq!(f.fake.refreshes().len(), 1);
}

#[tokio::test]
async fn a_kill_before_the_issuer_has_the_request_costs_nothing() {
    let f = Fixture::new().await;
    killed(&mut f.child("refresh.intent"), "refresh.intent").await;
    assert_eq!(f.fake.refreshes().len(), 0);
    let f = f.restarted();
    f.refused(&f.first.access_token).await.expect("the login works");

    let f = Fixture::new().await;
    f.fake.script([Say::Held(Arc::default())]);
    let mut child = f.child("");
    f.fake.has_seen(1).await;
    child.start_kill().expect("killed");
    killed(&mut child, "sent").await;
    let f = f.restarted();
    f.refused(&f.first.access_token).await.expect("the login works");
    assert_eq!(f.granted(), 1);
}

#[tokio::test]
async fn a_kill_after_the_issuer_took_the_token_is_said_at_once_and_the_token_is_not_tried_for_ever() {
    for point in ["", "refresh.answered"] {
        let f = Fixture::new().await;
        if point.is_empty() {
            f.fake.script([Say::SpentThenHeld(Arc::default())]);
        }
        let mut child = f.child(point);
        f.fake.has_seen(1).await;
        if point.is_empty() {
            child.start_kill().expect("killed");
        }
        killed(&mut child, point).await;
        let f = f.restarted();
        assert_eq!(why(f.refused(&f.first.access_token).await), Why::Lost, "{point}");
        let asked = f.fake.refreshes().len();
        assert_eq!(asked, 2, "it is asked once more, since the request might not have arrived");
        assert_eq!(why(f.refused(&f.first.access_token).await), Why::Lost, "{point}");
        let f = f.restarted();
        assert_eq!(why(f.refused(&f.first.access_token).await), Why::Lost, "{point}, after another start");
        assert_eq!(f.fake.refreshes().len(), asked, "never again");
        let new = f.fake.login();
        write(&f.file.path, &new);
        f.refused(&new.access_token).await.expect("a new login works");
    }
}

#[tokio::test]
async fn a_kill_after_the_tokens_were_kept_costs_nothing() {
    let f = Fixture::new().await;
    killed(&mut f.child("refresh.saved"), "refresh.saved").await;
    let f = f.restarted();
    let tokens = f.refused(&f.first.access_token).await.expect("the login works");
    assert_eq!(f.fake.refreshes().len(), 1, "nobody asked again");
    f.refused(&tokens.access_token).await.expect("and the next refresh too");
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let f = Fixture::new().await;
    f.fake.script([
        Say::Status(503, json!({"error": "server_error"}), None),
        Say::Status(429, json!({"error": {"code": "rate_limit_exceeded"}}), Some(1)),
        Say::Garbage("<html>a portal</html>"),
    ]);
    let begun = std::time::Instant::now();
    f.refused(&f.first.access_token).await.expect("fresh tokens");
    assert!(begun.elapsed() > Duration::from_millis(500 + 1_500), "with pauses");
    assert_eq!((f.fake.refreshes().len(), f.granted()), (4, 1));
    assert!(f.refresher.trouble(&account()).is_none());
}

#[tokio::test]
async fn an_issuer_that_stays_away_is_asked_a_few_times_for_all_and_costs_no_login() {
    let f = Fixture::new().await;
    let busy = Say::Status(500, json!({}), None);
    f.fake.script(vec![busy; 4]);
    let callers = (0..20).map(|_| f.refused(&f.first.access_token));
    for outcome in futures_util::future::join_all(callers).await {
        assert!(matches!(outcome, Err(RefreshError::Issuer(_))), "{outcome:?}");
    }
    assert_eq!(f.fake.refreshes().len(), 4);
    assert!(f.refused(&f.first.access_token).await.is_err(), "who comes a moment later is told the same");
    assert_eq!(f.fake.refreshes().len(), 4, "and nobody asks for them");
    assert!(f.refresher.trouble(&account()).is_some());
    let f = f.restarted();
    f.refused(&f.first.access_token).await.expect("the login works");
}

#[tokio::test]
async fn a_wait_that_the_issuer_names_is_kept_by_all() {
    let f = Fixture::new().await;
    f.fake.script([Say::Status(429, json!({"error": "rate_limited"}), Some(600))]);
    for _ in 0..3 {
        assert!(matches!(f.refused(&f.first.access_token).await, Err(RefreshError::Issuer(_))));
    }
    assert_eq!(f.fake.refreshes().len(), 1);
}

#[tokio::test]
async fn what_cannot_pass_is_said_in_words_and_not_tried_again() {
    for (code, refusal) in [
        ("refresh_token_expired", Refusal::Expired),
        ("refresh_token_reused", Refusal::Reused),
        ("refresh_token_invalidated", Refusal::Revoked),
    ] {
        let f = Fixture::new().await;
        f.fake.script([Say::Status(401, json!({"error": {"code": code, "message": SECRET}}), None)]);
        assert_eq!(why(f.refused(&f.first.access_token).await), Why::Refused(refusal.clone()), "{code}");
        let f = f.restarted();
        assert_eq!(why(f.refused(&f.first.access_token).await), Why::Refused(refusal), "{code}");
        assert_eq!(f.fake.refreshes().len(), 1, "{code}");
    }
    let f = Fixture::new().await;
    f.fake.revoke_all();
    assert_eq!(why(f.refused(&f.first.access_token).await), Why::Refused(Refusal::Revoked));
}

#[tokio::test]
async fn an_answer_that_is_cut_is_a_lost_login_and_said_so() {
    let f = Fixture::new().await;
    f.fake.script([Say::Cut]);
    assert_eq!(why(f.refused(&f.first.access_token).await), Why::Lost);
    assert_eq!(f.fake.refreshes().len(), 2);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_cut_the_refresh() {
    let f = Fixture::new().await;
    let go = Arc::new(Notify::new());
    f.fake.script([Say::SpentThenHeld(go.clone())]);
    let (refresher, keep, refused) = (f.refresher.clone(), f.keep(), f.first.access_token.clone());
    let caller = tokio::spawn(async move { refresher.after_refusal(&account(), &keep, &refused).await });
    f.fake.has_seen(1).await;
    caller.abort();
    assert!(caller.await.expect_err("gone").is_cancelled());
    go.notify_one();
    f.refresher.settle().await;
    assert!(!f.kept().await.has_access(&f.first.access_token), "kept for whoever comes next");
    f.refused(&f.first.access_token).await.expect("fresh tokens");
    assert_eq!(f.fake.refreshes().len(), 1);
}

#[tokio::test]
async fn a_login_that_was_made_meanwhile_is_not_written_over() {
    let f = Fixture::new().await;
    let go = Arc::new(Notify::new());
    f.fake.script([Say::SpentThenHeld(go.clone())]);
    let (refresher, keep, refused) = (f.refresher.clone(), f.keep(), f.first.access_token.clone());
    let caller = tokio::spawn(async move { refresher.after_refusal(&account(), &keep, &refused).await });
    f.fake.has_seen(1).await;
    let new = f.fake.login();
    write(&f.file.path, &new);
    go.notify_one();
    let tokens = caller.await.expect("no panic").expect("tokens");
    assert!(tokens.has_access(&new.access_token) && f.kept().await.has_access(&new.access_token));
}

#[tokio::test]
async fn new_tokens_that_cannot_be_written_are_used_by_nobody_and_written_when_it_goes_again() {
    let f = Fixture::new().await;
    f.file.fails.store(5, Ordering::Release);
    let outcome = f.refused(&f.first.access_token).await;
    assert!(matches!(outcome, Err(RefreshError::Keep(KeepError::Failed(_)))), "{outcome:?}");
    assert!(f.kept().await.has_access(&f.first.access_token));
    let tokens = f.refused(&f.first.access_token).await.expect("fresh tokens");
    assert!(f.kept().await.has_access(&tokens.access_token));
    assert_eq!(f.fake.refreshes().len(), 1, "they were bought once");
}

#[tokio::test]
async fn tokens_are_replaced_before_they_end_and_good_ones_are_left_alone() {
    let f = Fixture::new().await;
    let current = async || f.refresher.current(&account(), &f.keep()).await;
    assert!(current().await.expect("tokens").has_access(&f.first.access_token));
    assert_eq!(f.fake.refreshes().len(), 0);

    let ending = Tokens { last_refresh: ago(Duration::from_secs(10 * 24 * 3600 - 240)), ..f.first.clone() };
    write(&f.file.path, &ending);
    let tokens = current().await.expect("tokens");
    assert!(!tokens.has_access(&f.first.access_token));
    assert_eq!(f.fake.refreshes()[0].reason, "proactive_expiry");
    assert!(current().await.expect("tokens").has_access(&tokens.access_token));
    assert_eq!(f.fake.refreshes().len(), 1);

    // Short ones are not replaced at every look.
    f.fake.tokens_live(Duration::from_secs(60));
    let tokens = f.refused(&tokens.access_token).await.expect("tokens");
    assert!(current().await.expect("tokens").has_access(&tokens.access_token));
}

#[tokio::test]
async fn while_tokens_are_good_trouble_with_the_next_ones_stops_nobody() {
    let f = Fixture::new().await;
    let ending = Tokens { last_refresh: ago(Duration::from_secs(10 * 24 * 3600 - 240)), ..f.first.clone() };
    write(&f.file.path, &ending);
    f.fake.revoke_all();
    let tokens = f.refresher.current(&account(), &f.keep()).await.expect("the old ones");
    assert!(tokens.has_access(&f.first.access_token));
    assert!(matches!(f.refresher.trouble(&account()), Some(RefreshError::LoginNeeded { .. })), "it is known");
    let ended = Tokens { last_refresh: ago(Duration::from_secs(10 * 24 * 3600 + 1)), ..f.first.clone() };
    write(&f.file.path, &ended);
    assert_eq!(why(f.refresher.current(&account(), &f.keep()).await), Why::Refused(Refusal::Revoked));
    assert_eq!(f.fake.refreshes().len(), 1);
}

#[tokio::test]
async fn no_error_shows_a_secret() {
    let f = Fixture::new().await;
    let bodies = [json!({"error": format!("{SECRET} x")}), json!({"error": {"code": SECRET, "message": SECRET}})];
    let says = bodies.iter().flat_map(|body| [400, 401, 403].map(|status| Say::Status(status, body.clone(), None)));
    for say in says.chain([Say::Garbage("{\"access_token\": [\"issuer-secret\"]}")]) {
        let f = Fixture::new().await;
        f.fake.script(vec![say; 4]);
        let error = f.refused(&f.first.access_token).await.expect_err("no tokens");
        let shown = format!("{error:?} {}", cofferdam::error_chain(&error));
        // The issuer's own short word for a reason is shown; here it is the name of all secrets, and nothing else is.
        let shown = shown.replace(&format!("Some(\"{SECRET}\")"), "").replace(&format!("({SECRET})"), "");
        let shown = shown.replace(&format!(", {SECRET})"), "");
        assert!(!shown.contains(SECRET) && !shown.contains("eyJ"), "{shown}");
    }
    let notes = std::fs::read_dir(f.dir.path().join("vault")).expect("a directory");
    f.refused(&f.first.access_token).await.expect("tokens");
    for note in notes.flatten() {
        let text = std::fs::read_to_string(note.path()).expect("a text");
        assert!(!text.contains(SECRET) && !text.contains("eyJ"), "{text}");
    }
    assert!(!format!("{:?}", f.kept().await).contains(SECRET));
}

#[tokio::test]
async fn a_revoked_login_is_of_no_use() {
    let f = Fixture::new().await;
    f.refresher.revoke(&account(), &f.keep()).await.expect("revoked");
    assert_eq!(why(f.refused(&f.first.access_token).await), Why::Refused(Refusal::Revoked));
}

fn ago(time: Duration) -> jiff::Timestamp {
    jiff::Timestamp::now().checked_sub(time).expect("a time")
}
