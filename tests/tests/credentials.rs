//! What containers have of a ChatGPT login: sealed, nothing; in copy, the short-lived part, renewed at the token sink.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cofferdam::config::home::Home;
use cofferdam::config::pool::Serving;
use cofferdam::config::vault_key::VaultKey;
use cofferdam::door::{Door, DoorSpec, Refused, RunnerApi, TOKEN_SINK};
use cofferdam::gateway::accounts::{Given, Login, Sources};
use cofferdam::gateway::{Accounts, Caller, Gateway};
use cofferdam::sandbox::mounts::container_user;
use cofferdam::sandbox::mounts::credentials::{Copied, Credentials, Handle};
use cofferdam::store::Central;
use cofferdam::store::ground::Ground;
use cofferdam::trust::Trust;
use cofferdam::vault::issuer::Issuer as OfVendor;
use cofferdam::vault::{Refresher, Tokens, Vault};
use cofferdam_agent_runner::forward::Forwarder;
use cofferdam_protocol::admin::AccountKind;
use cofferdam_protocol::ids::{AccountName, Attempt, Seq, SessionId};
use cofferdam_protocol::runner::{
    Control, ControlRequest, Digest, Event, FORWARD_PORT, Next, Settings, Thread, ToolAnswer, ToolCall,
};
use cofferdam_tests::codex_cli::CodexCli;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::issuer::{CLIENT_ID, Issuer, SECRET, Say as Answer};
use cofferdam_tests::vendor::{KEY, Say, Vendor};
use cofferdam_tests::{engine, eventually};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// A daemon whose default account is a ChatGPT login of a fake issuer, which serves at a fake backend, and which has another
/// account with a key.
async fn daemon() -> (TestHome, Issuer, Vendor) {
    let (mut home, issuer, vendor) = (TestHome::new(), Issuer::start().await, Vendor::start().await);
    home.env("COFFERDAM_TEST_ISSUER", &issuer.port().to_string());
    vendor.serve_chatgpt(&mut home);
    let file = home.root().join("auth.json");
    std::fs::write(&file, issuer.login().to_auth_json(None).expose_secret()).expect("a login");
    home.up().await;
    let ended = home.cli(&["account", "import", file.to_str().expect("UTF-8"), "--take-over"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let spare = ["account", "login", "spare", "--kind", "openai", "--key-file", "-"];
    assert_eq!(home.cli_given(&spare, KEY).await.code, 0);
    (home, issuer, vendor)
}

/// Has the agent run a script that goes on behind its turn, and answers what it wrote to `result`.
async fn run(home: &TestHome, vendor: &Vendor, script: &str) -> (String, String, SessionId) {
    home.write_script("demo", &format!("{script}\nmv result.part result\n"));
    vendor.script([Say::Run("setsid -f sh ./script.sh > result.part 2>&1".into())]);
    let answer = home.admin().chat("demo", "look").await;
    answer.text();
    let result = home.folder("demo").join("workspace/result");
    let text = eventually("the script ends", || async { std::fs::read_to_string(&result).ok() }).await;
    (text, answer.container().to_owned(), answer.finished.session)
}

/// A pattern for `grep -E` that does not match itself: the claims of a JWT, or the whole of another text.
fn pattern(secret: &str) -> String {
    let part = secret.split('.').nth(1).unwrap_or(secret);
    format!("[{}]{}", &part[..1], &part[1..])
}

#[tokio::test]
async fn a_sealed_container_can_read_no_token_and_no_key_whatever_it_looks_at() {
    const CANARY: &str = "canary-51f0c2d89e";
    let (home, issuer, vendor) = daemon().await;
    home.group("demo", &json!({"environment": {"SEEN": CANARY}})).await;
    home.admin().chat("demo", "one").await.text();
    // Tokens that come while it runs are as good as those before.
    let first = vendor.calls()[0].headers["authorization"].to_str().expect("text").to_owned();
    vendor.take_if(move |token| !first.ends_with(token));
    home.admin().chat("demo", "two").await.text();
    let mut secrets = issuer.granted();
    assert_eq!((secrets.len(), issuer.refreshes().len()), (6, 1), "two of each kind");
    secrets.push(KEY.to_owned());
    let session = home.admin().sessions(Some("demo")).await.remove(0).id;
    let codex = home.root().join(format!("data/groups/demo/sessions/{session}/codex/canary"));
    for path in [codex, home.folder("demo").join("workspace/.hidden/deep/canary")] {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(&path, format!("x{CANARY}y")).expect("written");
    }
    let patterns: Vec<String> = secrets.iter().map(|secret| pattern(secret)).collect();
    let script = format!(
        r#"
        secret='{secrets}'
        canary='{canary}'
        handle=$(sed 's/.*:"\(.*\)".*/\1/' ~/.codex/auth.json)
        form='{{"client_id": "{client}", "grant_type": "refresh_token", "refresh_reason": "unauthorized_recovery", "refresh_token": "'$handle'"}}'
        base=http://127.0.0.1:{FORWARD_PORT}
        curl -s -m 20 -H 'content-type: application/json' -d "$form" $base{TOKEN_SINK} > /tmp/of-the-sink
        curl -s -i -m 20 $base/v1/models > /tmp/of-the-gateway
        for what in secret canary; do
            eval "pattern=\$$what"
            for file in /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/self/mountinfo; do
                grep -qaE "$pattern" $file 2>/dev/null && echo $what=$file
            done
            env | grep -qE "$pattern" && echo $what=env
            grep -ralsE --exclude=result.part "$pattern" / --exclude-dir=proc --exclude-dir=sys | sed "s/^/$what=/"
        done
        sed 's/.*"refresh_token":"\([^"]*\)".*/sink=\1/' /tmp/of-the-sink
        echo
        grep -c model-a /tmp/of-the-gateway | sed 's/^/models=/'
        echo; cat ~/.codex/auth.json
        "#,
        secrets = patterns.join("|"),
        canary = pattern(CANARY),
        client = CLIENT_ID,
    );
    let (seen, container, _) = run(&home, &vendor, &script).await;
    let found = |what: &str| -> Vec<&str> { seen.lines().filter_map(|line| line.strip_prefix(what)).collect() };
    assert_eq!(found("secret="), Vec::<&str>::new(), "{seen}");
    let canaries = found("canary=");
    for place in
        ["/home/agent/.codex/canary", "/group/workspace/.hidden/deep/canary", "/group/container.json", "env"]
    {
        assert!(canaries.contains(&place), "the scan sees {place}: {seen}");
    }
    assert!(canaries.iter().any(|place| place.ends_with("/environ")), "{seen}");
    assert!(found("sink=")[0].starts_with(&format!("cofferdam-session-{session}-")), "{seen}");
    assert_eq!(found("models="), ["1"], "the gateway answered with the login: {seen}");
    assert!(seen.contains(r#"{"OPENAI_API_KEY":"cofferdam-session-"#), "{seen}");
    assert_eq!(issuer.refreshes().len(), 1, "a sealed session's refresh leads nowhere");

    let inspected = engine::inspect(&container).await.expect("it runs");
    let image = engine::image(inspected.image.as_deref().expect("its image")).await;
    let log = home.admin().logs(&session, None).await.expect("a log");
    let inspected = format!("{inspected:?}");
    assert!(inspected.contains(CANARY), "the engine shows the environment");
    for (place, text) in [("inspect", inspected), ("image", image), ("log", log), ("daemon", home.log())] {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} is in {place}");
        }
    }
}

/// A JWT that ended in 2001.
fn ended() -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let auth = json!({"chatgpt_account_id": "cofferdam", "chatgpt_plan_type": "pro"});
    let claims = json!({"iat": 999_990_000, "exp": 1_000_000_000, "https://api.openai.com/auth": auth});
    format!("{}.{}.{}", part(json!({"alg": "none"})), part(claims), URL_SAFE_NO_PAD.encode("nobody"))
}

#[tokio::test]
async fn the_codex_in_a_container_refreshes_at_the_sink_of_its_door() {
    let (home, issuer, vendor) = daemon().await;
    home.group("demo", &json!({})).await;
    let script = format!(
        r#"
        export CODEX_HOME=/tmp/codex
        url=$(cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | sed -n 's/^CODEX_REFRESH_TOKEN_URL_OVERRIDE=//p' | head -1)
        export CODEX_REFRESH_TOKEN_URL_OVERRIDE=$url
        handle=$(sed 's/.*:"\(.*\)".*/\1/' ~/.codex/auth.json)
        mkdir $CODEX_HOME
        cp ~/.codex/config.toml $CODEX_HOME/
        cat > $CODEX_HOME/auth.json <<END
        {{"auth_mode": "chatgpt", "OPENAI_API_KEY": null, "tokens": {{"id_token": "{ended}", "access_token": "{ended}",
          "refresh_token": "$handle", "account_id": "cofferdam"}}, "last_refresh": "2001-01-01T00:00:00Z"}}
END
        codex exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox "hello" </dev/null 2>&1 | sed 's/^/said=/'
        echo url=$url
        echo handle=$handle
        tr -d '\n' < $CODEX_HOME/auth.json | sed 's/^/auth=/'
        echo
        "#,
        ended = ended(),
    );
    let (seen, _, _) = run(&home, &vendor, &script).await;
    let line =
        |what: &str| seen.lines().find_map(|line| line.strip_prefix(what)).unwrap_or_else(|| panic!("{seen}"));
    assert_eq!(line("url="), format!("http://127.0.0.1:{FORWARD_PORT}{TOKEN_SINK}"));
    let auth: Value = serde_json::from_str(line("auth=")).unwrap_or_else(|error| panic!("{error}: {seen}"));
    assert_eq!(auth["tokens"]["refresh_token"], line("handle="), "{seen}");
    let claims = auth["tokens"]["access_token"].as_str().and_then(|token| token.split('.').nth(1)).expect("a JWT");
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("claims");
    assert_eq!(claims["iss"], "cofferdam", "it took the placeholder for a token: {seen}");
    assert!(seen.contains("vendor answer"), "and its model call was served: {seen}");
    assert!(issuer.refreshes().is_empty(), "nobody outside heard of it");
    let last = vendor.calls().pop().expect("a call");
    assert_eq!(last.headers["chatgpt-account-id"], "acc-test", "the host's, not the container's");
}

/// A session of a runner that never comes.
struct Nobody;

#[async_trait]
impl RunnerApi for Nobody {
    async fn hello(&self, _: Attempt, _: Vec<u8>) -> Result<(Thread, Settings), Refused> {
        Err(Refused::Stale)
    }

    fn next(&self, _: Attempt) -> Result<oneshot::Receiver<Next>, Refused> {
        Err(Refused::Stale)
    }

    async fn events(&self, _: Attempt, _: Vec<Event>) -> Result<Seq, Refused> {
        Err(Refused::Stale)
    }

    fn control(&self, _: ControlRequest) -> Result<oneshot::Receiver<Control>, Refused> {
        Err(Refused::Stale)
    }

    async fn tool(&self, _: ToolCall) -> Result<ToolAnswer, Refused> {
        Err(Refused::Stale)
    }

    async fn digest(&self, _: Attempt) -> Result<Digest, Refused> {
        Err(Refused::Stale)
    }
}

fn name() -> AccountName {
    "work".parse().expect("a name")
}

async fn accounts(home: &Home, issuer: &Issuer, tokens: Tokens) -> Accounts {
    let of_vendor = OfVendor::new(issuer.address(), &Trust::MACHINE).expect("an issuer");
    let accounts = Accounts::new(Sources {
        central: Central::open(&home.central_db(), &Ground::default()).expect("a database"),
        vault: Vault::new(home, "install", &VaultKey::default()),
        refresher: Refresher::new(of_vendor, home.logins()).expect("a directory"),
        environment: None,
        named: None,
        trust: Trust::MACHINE,
    });
    let accounts = accounts.expect("accounts");
    let login = Login { kind: AccountKind::ChatGpt, given: Given::Tokens(tokens), base_url: None, model: None };
    accounts.login(&name(), login).await.expect("a login");
    accounts
}

/// A session in copy mode as far as there is one without a container with a network: its login and `auth.json`, its door,
/// the runner's forwarder before it, and the real Codex on this side of it.
struct InCopy {
    accounts: Accounts,
    codex: CodexCli,
    handle: String,
    sink: String,
    _door: Door,
    _dir: tempfile::TempDir,
}

impl InCopy {
    async fn new(issuer: &Issuer, tokens: Tokens) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::new(dir.path()).expect("a home");
        let accounts = accounts(&home, issuer, tokens).await;
        let gateway = Gateway::with_accounts(accounts.clone());
        let session: SessionId = "0123456789abcdef0123456789abcdef".parse().expect("an id");
        let caller = Caller {
            group: "demo".parse().expect("a name"),
            session: session.clone(),
            serving: Serving { account: Some(name()), ..Serving::default() },
        };
        let login = gateway.login_of(&caller, false).await.expect("a login");
        let handle = Handle::new(&session);
        let text = handle.text().expose_secret().to_owned();
        let auth_json = login.auth_json(handle.text());
        let copy = Copied { account: login.account, auth_json: auth_json.clone(), base_url: login.base_url };
        let credentials = Credentials { handle, copy: Some(copy) };
        let spec = DoorSpec {
            dir: dir.path(),
            user: container_user(),
            caller,
            attempt: Attempt(1),
            token_hash: None,
            issued: Some(credentials.issued()),
            servers: Vec::new(),
            trust: Trust::MACHINE,
        };
        let door = Door::open(spec, Arc::new(Nobody), Arc::new(gateway)).expect("a door");
        let forwarder = Forwarder::listen(0, dir.path().join("door.sock")).await.expect("a port");
        let sink = format!("http://{}{TOKEN_SINK}", forwarder.address().expect("an address"));
        tokio::spawn(forwarder.serve());
        let codex = CodexCli::new(issuer).refreshing_at(sink.clone());
        std::fs::write(codex.auth_json(), auth_json.expose_secret()).expect("auth.json");
        Self { accounts, codex, handle: text, sink, _door: door, _dir: dir }
    }

    /// What the sink answers to Codex's form.
    async fn refresh(&self, reason: &str) -> (u16, Value) {
        let form = json!({"client_id": CLIENT_ID, "grant_type": "refresh_token", "refresh_token": self.handle,
            "refresh_reason": reason});
        let answer = reqwest::Client::new().post(&self.sink).json(&form).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    fn tokens(&self) -> Value {
        let text = std::fs::read_to_string(self.codex.auth_json()).expect("auth.json");
        assert!(!text.contains(SECRET), "no refresh token of the issuer's: {text}");
        serde_json::from_str::<Value>(&text).expect("JSON")["tokens"].take()
    }
}

#[tokio::test]
async fn a_codex_with_a_copy_gets_fresh_access_tokens_at_the_sink_and_never_a_refresh_token() {
    let issuer = Issuer::start().await;
    let login = issuer.login();
    let session = InCopy::new(&issuer, login.clone()).await;
    let mut codex = session.codex.app_server().await;
    assert!(codex.uses(&login.access_token).await, "the account's own");
    assert_eq!(session.tokens()["refresh_token"], session.handle);
    drop(codex);

    // The container's has ended, and the host has another.
    issuer.tokens_live(Duration::ZERO);
    let ended = Tokens { refresh_token: session.handle.clone().into(), ..issuer.login() };
    std::fs::write(session.codex.auth_json(), ended.to_auth_json(None).expose_secret()).expect("auth.json");
    let mut codex = session.codex.app_server().await;
    assert!(codex.access_token(true).await.is_some_and(|token| login.has_access(&token)));
    let kept = session.tokens();
    assert_eq!(kept["access_token"], login.access_token.expose_secret());
    assert_eq!(kept["refresh_token"], session.handle, "the same handle again");
    assert!(issuer.refreshes().is_empty(), "what has only just come is not renewed because a container says so");
    drop(codex);

    // What is logged out is not handed out any more.
    session.accounts.logout(&name()).await.expect("logged out");
    let (status, answer) = session.refresh("proactive_expiry").await;
    assert_eq!((status, &answer["error"]["code"]), (401, &json!("refresh_token_invalidated")));
    assert!(session.codex.app_server().await.access_token(true).await.is_none_or(|token| login.has_access(&token)));
    assert_eq!(session.tokens()["access_token"], kept["access_token"]);
}

#[tokio::test]
async fn a_refused_copy_is_replaced_by_the_hosts_one_refresh_and_not_in_a_loop() {
    let issuer = Issuer::start().await;
    let an_hour_ago = Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let login = Tokens { last_refresh: an_hour_ago, ..issuer.login() };
    let session = InCopy::new(&issuer, login.clone()).await;
    let (status, same) = session.refresh("proactive_expiry").await;
    assert_eq!((status, &same["access_token"]), (200, &json!(login.access_token.expose_secret())));
    let (first, second) =
        tokio::join!(session.refresh("unauthorized_recovery"), session.refresh("unauthorized_recovery"));
    assert_eq!(first, second, "both have the one refresh");
    let (status, tokens) = first;
    let access = tokens["access_token"].as_str().expect("a token");
    assert!(status == 200 && issuer.accepts(access) && access != login.access_token.expose_secret());
    assert_eq!(tokens["refresh_token"], session.handle);
    assert_eq!(session.refresh("unauthorized_recovery").await, second, "it has only just come");
    let refreshes = issuer.refreshes();
    assert_eq!((refreshes.len(), refreshes[0].reason.as_str()), (1, "unauthorized_recovery"));

    issuer.script([Answer::Status(503, json!({}), Some(3600))]);
    let later = InCopy::new(&issuer, login).await;
    assert_eq!(later.refresh("unauthorized_recovery").await.0, 503, "nothing is said to be over");
}

/// Makes a session look like one in copy mode: its files are as a start writes them. No group can have that yet.
fn plant_copy(home: &TestHome, session: &SessionId, access: &str) -> PathBuf {
    let dir = home.root().join("data/groups/demo/sessions").join(session.as_str());
    std::fs::write(dir.join("credentials"), json!({"handle": [1, 2], "copy_of": "chatgpt"}).to_string())
        .expect("kept");
    let file = dir.join("codex/auth.json");
    std::fs::write(&file, json!({"tokens": {"access_token": access}}).to_string()).expect("auth.json");
    file
}

fn is_sealed(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).expect("auth.json");
    text.starts_with(r#"{"OPENAI_API_KEY":"cofferdam-session-"#)
}

#[tokio::test]
async fn a_copy_is_wiped_and_its_container_ended_before_the_command_that_ends_it_answers() {
    let (home, issuer, _vendor) = daemon().await;
    home.group("demo", &json!({})).await;
    let commands: [&[&str]; 3] =
        [&["group", "add", "demo"], &["account", "logout", "chatgpt"], &["account", "remove", "chatgpt", "--yes"]];
    for command in commands {
        let answer = home.admin().chat("demo", "hello").await;
        let file = plant_copy(&home, &answer.finished.session, "access-secret");
        assert!(!is_sealed(&file));
        let ended = home.cli(command).await;
        assert!(is_sealed(&file), "{command:?}: {ended:?}");
        // The engine may still be removing it.
        let running = engine::inspect(answer.container()).await.and_then(|seen| seen.state?.running);
        assert_ne!(running, Some(true), "{command:?}: {ended:?}");
        assert!(!home.log().contains("access-secret"));
        assert!(!ended.stderr.contains("may still have"), "{ended:?}");
        if command[1] == "logout" {
            log_in_again(&home, &issuer).await;
        }
    }
    // A container that ends by itself leaves none either.
    log_in_again(&home, &issuer).await;
    let answer = home.admin().chat("demo", "hello").await;
    let file = plant_copy(&home, &answer.finished.session, "access-secret");
    engine::kill(answer.container()).await;
    eventually("it is wiped", || async { is_sealed(&file).then_some(()) }).await;
}

async fn log_in_again(home: &TestHome, issuer: &Issuer) {
    let file = home.root().join("auth.json");
    std::fs::write(&file, issuer.login().to_auth_json(None).expose_secret()).expect("a login");
    let ended = home.cli(&["account", "import", file.to_str().expect("UTF-8"), "--take-over"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
}
