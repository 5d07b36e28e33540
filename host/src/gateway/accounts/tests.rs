//! Which account serves which call, over a fake endpoint that notes the credentials it is shown.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use http_body_util::BodyExt;
use tokio::net::TcpListener;

use super::*;
use crate::config::home::Home;
use crate::config::pool::Serving;
use crate::config::vault_key::VaultKey;
use crate::gateway::{Caller, Gateway, ProbeError};
use crate::store::ground::Ground;
use crate::vault::issuer::{Address, Issuer};

/// Notes each call's credential; takes all but `wrong`.
#[derive(Clone)]
struct Endpoint {
    base: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let notes = seen.clone();
        let answer = move |request: Request| async move {
            let credential = request.headers().get("authorization").map_or("", |value| value.to_str().unwrap());
            notes.lock().unwrap().push(credential.to_owned());
            let used = |percent: &'static str| [("x-codex-primary-used-percent", percent), ("retry-after", "30")];
            match credential {
                "Bearer wrong-key" => (StatusCode::UNAUTHORIZED, used("0"), "you sent wrong-key"),
                "Bearer limited-key" => (StatusCode::TOO_MANY_REQUESTS, used("100"), r#"{"error": {}}"#),
                "Bearer failing-key" => (StatusCode::SERVICE_UNAVAILABLE, used("0"), "overloaded"),
                "Bearer half-key" => (StatusCode::OK, used("50"), "{}"),
                _ => (StatusCode::OK, used("80"), r#"{"data": [{"id": "a"}, {"id": "b"}]}"#),
            }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Self { base, seen }
    }

    fn last(&self) -> String {
        self.seen.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    endpoint: Endpoint,
    accounts: Accounts,
    gateway: Gateway,
}

fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

fn caller(session: u8, serving: Serving) -> Caller {
    Caller { group: "demo".parse().unwrap(), session: format!("{session:032x}").parse().unwrap(), serving }
}

impl Fixture {
    async fn new() -> Self {
        Self::with(None, None).await
    }

    async fn with(environment: Option<&str>, named: Option<&str>) -> Self {
        Self::at(tempfile::tempdir().unwrap(), Endpoint::start().await, environment, named).await
    }

    async fn at(
        dir: tempfile::TempDir,
        endpoint: Endpoint,
        environment: Option<&str>,
        named: Option<&str>,
    ) -> Self {
        let home = Home::new(dir.path()).unwrap();
        let accounts = Accounts::new(Sources {
            central: Central::open(&home.central_db(), &Ground::default()).unwrap(),
            vault: Vault::new(&home, "install", &VaultKey::default()),
            refresher: Refresher::new(
                Issuer::new(Address::on_loopback(1), &Trust::MACHINE).unwrap(),
                home.logins(),
            )
            .unwrap(),
            environment: environment.map(|key| Account::open_ai(&endpoint.base, key.into()).unwrap()),
            named: named.map(name),
            trust: Trust::MACHINE,
        })
        .unwrap();
        accounts.load().await.unwrap();
        let gateway = Gateway::with_accounts(accounts.clone());
        Self { dir, endpoint, accounts, gateway }
    }

    async fn again(self) -> Self {
        let Self { dir, endpoint, accounts, gateway } = self;
        accounts.inner.central.close().await;
        drop((accounts, gateway));
        Self::at(dir, endpoint, None, None).await
    }

    async fn login(&self, account: &str, key: &str) {
        self.accounts.login(&name(account), self.with_key(key)).await.unwrap();
    }

    fn with_key(&self, key: &str) -> Login {
        Login {
            kind: AccountKind::Compatible,
            given: Given::Key(key.into()),
            base_url: Some(self.endpoint.base.clone()),
            model: None,
        }
    }

    /// The status and the body of a call by a group that names `account`.
    async fn call(&self, account: Option<&str>) -> (u16, String) {
        self.call_of(1, Serving { account: account.map(name), ..Serving::default() }).await
    }

    async fn call_of(&self, session: u8, serving: Serving) -> (u16, String) {
        let caller = caller(session, serving);
        let request = http::Request::post("/v1/responses").body(r#"{"input": "x"}"#.into()).unwrap();
        let answer = self.gateway.handle(&caller, request).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// The credential that a call has.
    async fn credential(&self, account: Option<&str>) -> String {
        let (status, body) = self.call(account).await;
        assert_eq!(status, 200, "{body}");
        self.endpoint.last()
    }
}

mod pools;

#[tokio::test]
async fn the_group_names_the_account_or_else_the_default_serves_it() {
    let f = Fixture::new().await;
    assert_eq!(f.call(None).await.0, 200, "the offline model");
    assert_eq!(f.accounts.default_name(), AccountName::offline());
    f.login("work", "work-key").await;
    f.login("home", "home-key").await;
    assert_eq!(f.credential(None).await, "Bearer work-key", "the first one is the default");
    assert_eq!(f.credential(Some("home")).await, "Bearer home-key");
    assert_eq!(f.accounts.choose_default(&name("home")).await.unwrap(), None);
    assert_eq!(f.credential(None).await, "Bearer home-key", "from the next call on");
    assert_eq!(f.credential(Some("work")).await, "Bearer work-key");
    let seen = f.endpoint.seen.lock().unwrap().len();
    assert_eq!((f.call(Some("offline")).await.0, f.endpoint.seen.lock().unwrap().len()), (200, seen));
}

#[tokio::test]
async fn a_new_key_serves_from_the_next_call_on_and_after_a_restart() {
    let f = Fixture::new().await;
    f.login("work", "first-key").await;
    assert_eq!(f.credential(None).await, "Bearer first-key");
    f.login("work", " second-key\n").await;
    assert_eq!(f.credential(None).await, "Bearer second-key");
    let f = f.again().await;
    assert_eq!(f.credential(None).await, "Bearer second-key");
}

#[tokio::test]
async fn what_the_configuration_says_wins_and_it_is_told() {
    let f = Fixture::with(Some("env-key"), None).await;
    f.login("work", "work-key").await;
    assert_eq!(f.credential(None).await, "Bearer env-key");
    let note = f.accounts.choose_default(&name("work")).await.unwrap().unwrap();
    assert!(note.contains("OPENAI_API_KEY") && note.contains("'environment'"), "{note}");
    assert_eq!(f.credential(Some("work")).await, "Bearer work-key");
    let f = Fixture::with(Some("env-key"), Some("work")).await;
    assert_eq!(f.accounts.missing(), Some(name("work")));
    f.login("work", "work-key").await;
    assert_eq!((f.accounts.missing(), f.credential(None).await), (None, "Bearer work-key".to_owned()));
    let note = f.accounts.choose_default(&AccountName::offline()).await.unwrap().unwrap();
    assert!(note.contains("COFFERDAM_ACCOUNT"), "{note}");
    assert!(matches!(f.accounts.remove(&name("work")).await, Err(AccountError::Named(_))));
}

#[tokio::test]
async fn an_account_that_cannot_be_used_serves_nobody_and_says_why() {
    let f = Fixture::new().await;
    f.login("work", "work-key").await;
    f.accounts.logout(&name("work")).await.unwrap();
    let (status, body) = f.call(None).await;
    assert_eq!(status, 401);
    assert!(body.contains("logged out") && body.contains("cofferdam account login work"), "{body}");
    assert!(f.endpoint.seen.lock().unwrap().is_empty(), "nor does another one for it");
    let (status, body) = f.call(Some("nobody")).await;
    assert!(status == 401 && body.contains("'nobody'") && body.contains("'demo'"), "{body}");
    let (status, body) = f.call(Some("environment")).await;
    assert!(status == 401 && body.contains("OPENAI_API_KEY"), "{body}");
    f.login("work", "work-key").await;
    assert_eq!(f.credential(None).await, "Bearer work-key");
    f.accounts.remove(&name("work")).await.unwrap();
    assert_eq!(f.accounts.default_name(), AccountName::offline());
}

#[tokio::test]
async fn a_key_that_is_refused_is_told_with_its_account_and_without_itself() {
    let f = Fixture::new().await;
    f.login("work", "wrong-key").await;
    let (status, body) = f.call(None).await;
    assert_eq!(status, 401);
    assert!(body.contains("'work'") && body.contains("cofferdam account login work"), "{body}");
    assert!(!body.contains("wrong-key"), "{body}");
    let error = f.accounts.test(&name("work")).await.unwrap_err();
    assert!(matches!(error, AccountError::Probe { error: ProbeError::Refused(_), .. }), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("wrong-key"));
    f.login("work", "right-key").await;
    assert_eq!(f.accounts.test(&name("work")).await.unwrap().models, Some(2));
}

#[tokio::test]
async fn logins_that_cannot_be_right_change_nothing() {
    let f = Fixture::new().await;
    let work = name("work");
    let login = f.with_key("key");
    let refused = async |account: &AccountName, login: Login| f.accounts.login(account, login).await.unwrap_err();
    assert!(matches!(refused(&AccountName::offline(), login.clone()).await, AccountError::BuiltIn(_)));
    let nowhere = Login { base_url: None, ..login.clone() };
    assert!(matches!(refused(&work, nowhere).await, AccountError::NoBaseUrl));
    let odd = Login { base_url: Some("https://me:hunter2@x/v1".into()), ..login.clone() };
    let error = refused(&work, odd).await;
    assert!(matches!(error, AccountError::Gateway(_)) && !format!("{error:?}").contains("hunter2"), "{error:?}");
    assert!(matches!(refused(&work, f.with_key("a\nb")).await, AccountError::Gateway(GatewayError::Key)));
    let none = Login { kind: AccountKind::OpenAi, ..f.with_key("") };
    assert!(matches!(refused(&work, none).await, AccountError::NoKey));
    assert_eq!(f.accounts.list().await.len(), 1, "the offline model");
    f.login("work", "key").await;
    let other = Login { kind: AccountKind::OpenAi, ..login };
    assert!(matches!(refused(&work, other).await, AccountError::OtherKind { .. }));
    assert_eq!(f.credential(None).await, "Bearer key");
}

#[tokio::test]
async fn a_rotation_changes_the_key_and_nobody_notices() {
    let f = Fixture::new().await;
    f.login("work", "work-key").await;
    f.login("home", "home-key").await;
    assert_eq!(f.credential(None).await, "Bearer work-key");
    let before = std::fs::read_to_string(f.dir.path().join("vault.key")).unwrap();
    let rotated = f.accounts.rotate().await.unwrap();
    assert_eq!((rotated.sealed, rotated.left), (2, Vec::new()));
    assert_ne!(std::fs::read_to_string(f.dir.path().join("vault.key")).unwrap(), before);
    assert_eq!(f.credential(Some("home")).await, "Bearer home-key", "opened for the first time after it");
    let f = f.again().await;
    assert_eq!(f.credential(None).await, "Bearer work-key");
    assert_eq!(f.credential(Some("home")).await, "Bearer home-key");
}

#[tokio::test]
async fn a_key_file_that_is_open_to_others_stops_the_calls_until_it_is_mended() {
    use std::os::unix::fs::PermissionsExt;
    let f = Fixture::new().await;
    f.login("work", "work-key").await;
    let f = f.again().await;
    let mode = |mode| {
        let path = f.dir.path().join("vault.key");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    let (status, body) = f.call(None).await;
    assert!(status == 401 && body.contains("open to others") && body.contains("chmod 600"), "{body}");
    assert!(f.accounts.list().await.into_iter().any(|shown| shown.trouble.is_some()));
    assert!(matches!(f.accounts.rotate().await, Err(AccountError::Vault(VaultError::Exposed { .. }))));
    mode(0o600);
    assert_eq!(f.credential(None).await, "Bearer work-key");
}

#[tokio::test]
async fn the_accounts_model_is_that_of_groups_that_name_none() {
    let f = Fixture::new().await;
    let login = Login { model: Some("big".into()), ..f.with_key("k") };
    f.accounts.login(&name("work"), login).await.unwrap();
    assert_eq!(f.gateway.model_of(None).as_deref(), Some("big"));
    assert_eq!(f.gateway.model_of(Some(&AccountName::offline())), None);
}
