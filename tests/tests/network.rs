//! A group whose containers have a network: what they reach, what they do not, and a Codex that talks to its vendor by itself.

use std::path::{Path, PathBuf};

use cofferdam_protocol::admin::UsageReport;
use cofferdam_protocol::ids::SessionId;
use cofferdam_protocol::runner::FORWARD_PORT;
use cofferdam_tests::admin::Answer;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::issuer::{Issuer, SECRET};
use cofferdam_tests::vendor::{Say, Vendor};
use cofferdam_tests::{engine, eventually};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Runs a shell script as the agent of the offline model does, and answers its output.
async fn run(home: &TestHome, group: &str, script: &str) -> (String, String) {
    home.write_script(group, script);
    let answer = home.admin().chat(group, "!run sh ./script.sh 2>&1").await;
    let container = answer.container().to_owned();
    (answer.text(), container)
}

#[tokio::test]
async fn an_open_container_reaches_the_host_and_no_other_container_and_leaves_no_network_behind() {
    let mut home = TestHome::running().await;
    for group in ["one", "two"] {
        home.group(group, &json!({"network": "open"})).await;
    }
    home.group("sealed", &json!({})).await;
    let install = home.admin().status().await.install;
    assert!(engine::networks(&install).await.is_empty(), "none is made before a container wants one");
    let serve = "setsid -f python3 -m http.server 8000 >/dev/null 2>&1; ls /sys/class/net; \
                 until curl -s -o /dev/null 127.0.0.1:8000; do sleep 0.1; done";
    let (interfaces, served) = run(&home, "one", serve).await;
    assert!(interfaces.contains("eth0"), "{interfaces}");
    let [network] = engine::networks(&install).await.try_into().expect("one network");
    let seen = engine::inspect(&served).await.expect("it runs");
    let on = seen.network_settings.and_then(|settings| settings.networks).expect("its networks");
    let ip = on[&network].ip_address.clone().expect("an address");

    // The host reaches what the container serves to all, and not its way to the door.
    let get = async |port: u16| reqwest::get(format!("http://{ip}:{port}/")).await;
    assert!(get(8000).await.expect("an answer").status().is_success());
    assert!(get(FORWARD_PORT).await.is_err(), "the runner's port is its own");

    let listener = TcpListener::bind((engine::host_address().await, 0)).await.expect("a port");
    let host = listener.local_addr().expect("an address");
    let accepting = tokio::spawn(async move { listener.accept().await.map(drop) });
    let look = format!(
        "timeout 5 bash -c 'exec 3<>/dev/tcp/{}/{}' && echo host=reached || echo host=out of reach\n\
         curl -s -m 3 -o /dev/null {ip}:8000 && echo other=reached || echo other=out of reach\n",
        host.ip(),
        host.port()
    );
    let (reached, second) = run(&home, "two", &look).await;
    assert!(reached.contains("host=reached") && reached.contains("other=out of reach"), "{reached}");
    accepting.await.expect("a task").expect("a connection");
    let (reached, _) = run(&home, "sealed", &look).await;
    assert!(reached.contains("host=out of reach") && reached.contains("other=out of reach"), "{reached}");
    assert_eq!(engine::networks(&install).await, std::slice::from_ref(&network), "both are on the one");

    // Somebody prunes the engine's networks while no container is on ours.
    for container in [&served, &second] {
        engine::kill(container).await;
    }
    eventually("it is free", || async { engine::try_remove_network(&network).await.then_some(()) }).await;
    assert!(run(&home, "one", "ls /sys/class/net").await.0.contains("eth0"));
    assert!(home.stop().await.success());
    assert!(engine::networks(&install).await.is_empty(), "it goes with the daemon");
}

/// A daemon whose default account is a ChatGPT login of an hour ago, at a backend that containers reach, and a group `demo`
/// with a copy of it.
async fn copying() -> (TestHome, Issuer, Vendor) {
    let (issuer, vendor) = (Issuer::start().await, Vendor::start_at(engine::host_address().await).await);
    let mut home = TestHome::new();
    home.env("COFFERDAM_TEST_ISSUER", &issuer.port().to_string());
    vendor.serve_chatgpt(&mut home);
    let mut login = issuer.login();
    login.last_refresh = Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let file = home.root().join("auth.json");
    std::fs::write(&file, login.to_auth_json(None).expose_secret()).expect("a login");
    home.up().await;
    let ended = home.cli(&["account", "import", file.to_str().expect("UTF-8"), "--take-over"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    home.group("demo", &json!({"network": "open", "credentials": {"mode": "copy"}})).await;
    (home, issuer, vendor)
}

fn auth_json(home: &TestHome, session: &SessionId) -> PathBuf {
    home.root().join("data/groups/demo/sessions").join(session.as_str()).join("codex/auth.json")
}

fn tokens(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).expect("auth.json");
    serde_json::from_str::<Value>(&text).expect("JSON")["tokens"].take()
}

/// What the vendor's last call came with.
fn credential(vendor: &Vendor) -> String {
    let call = vendor.calls().pop().expect("a call");
    assert_eq!(call.headers["chatgpt-account-id"], "acc-test");
    let sent = call.headers["authorization"].to_str().expect("text");
    sent.strip_prefix("Bearer ").expect("a token").to_owned()
}

async fn chat(home: &TestHome, text: &str) -> Answer {
    home.admin().chat("demo", text).await
}

#[tokio::test]
async fn a_codex_with_a_copy_talks_to_the_vendor_itself_is_renewed_at_the_door_and_has_no_refresh_token() {
    let (home, issuer, vendor) = copying().await;
    let answer = chat(&home, "one").await;
    let session = answer.finished.session.clone();
    let container = answer.container().to_owned();
    assert!(answer.text().contains("vendor answer 1"));
    let file = auth_json(&home, &session);
    let first = credential(&vendor);
    assert_eq!(tokens(&file)["access_token"], first.as_str(), "what it has is what it sends");
    assert!(issuer.accepts(&first));

    // Refused in the middle: the container's Codex is given the host's one refresh.
    let refused = first.clone();
    vendor.take_if(move |token| token != refused);
    assert!(chat(&home, "two").await.text().contains("vendor answer 2"));
    let second = credential(&vendor);
    assert!(second != first && issuer.accepts(&second));
    let refreshes = issuer.refreshes();
    assert_eq!((refreshes.len(), refreshes[0].reason.as_str()), (1, "unauthorized_recovery"));
    assert_eq!(tokens(&file)["access_token"], second.as_str());

    // Of all that was ever granted only the access tokens are anywhere in it.
    let granted = issuer.granted();
    let refresh: Vec<&String> = granted.iter().filter(|token| token.contains(SECRET)).collect();
    assert_eq!(refresh.len(), 2, "{granted:?}");
    let script = format!(
        "{{ grep -ralE '[{}]{}' / --exclude-dir=proc --exclude-dir=sys; grep -laE '[{}]{}' /proc/[0-9]*/environ \
         /proc/[0-9]*/cmdline; }} 2>/dev/null | sed 's/^/refresh=/'\n\
         python3 -c 'import json; print(json.load(open(\"/home/agent/.codex/auth.json\"))[\"tokens\"][\"access_token\"])' > /tmp/access\n\
         test -s /tmp/access && grep -ralF -f /tmp/access / --exclude=access --exclude-dir=proc --exclude-dir=sys 2>/dev/null | \
         sed 's/^/access=/'\n",
        &SECRET[..1],
        &SECRET[1..],
        &SECRET[..1],
        &SECRET[1..],
    );
    home.write_script("demo", &script);
    vendor.script([Say::Run("sh ./script.sh > result".into())]);
    chat(&home, "look").await;
    let seen = std::fs::read_to_string(home.folder("demo").join("workspace/result")).expect("a result");
    assert!(!seen.contains("refresh="), "{seen}");
    let access: Vec<&str> = seen.lines().filter_map(|line| line.strip_prefix("access=")).collect();
    assert_eq!(access, ["/home/agent/.codex/auth.json"], "there and nowhere else: {seen}");
    let inspected = format!("{:?}", engine::inspect(&container).await.expect("it runs"));
    for token in &granted {
        assert!(!inspected.contains(token.as_str()) && !home.log().contains(token.as_str()));
    }
    assert_ne!(tokens(&file)["refresh_token"], Value::Null, "the session's own placeholder");

    // The gateway saw nothing of it, and says so.
    let usage = home.cli(&["usage", "demo", "--json"]).await;
    let usage: UsageReport =
        serde_json::from_str(&usage.stdout).unwrap_or_else(|error| panic!("{error}: {usage:?}"));
    assert!(usage.rows.is_empty(), "{usage:?}");

    // What ends the container, or the group's right to it, takes the copy away.
    engine::kill(&container).await;
    let sealed =
        || std::fs::read_to_string(&file).expect("auth.json").starts_with(r#"{"OPENAI_API_KEY":"cofferdam-"#);
    eventually("it is wiped", || async { sealed().then_some(()) }).await;
    chat(&home, "three").await;
    assert!(!sealed() && credential(&vendor) == second);
    assert_eq!(home.cli(&["group", "set", "demo", "credentials.mode", "sealed"]).await.code, 0);
    eventually("it is wiped", || async { sealed().then_some(()) }).await;
    assert!(chat(&home, "four").await.text().contains("vendor answer"));
    assert_eq!(credential(&vendor), second, "the host's own call has it");
    let usage = home.cli(&["usage", "demo", "--json"]).await;
    let usage: UsageReport =
        serde_json::from_str(&usage.stdout).unwrap_or_else(|error| panic!("{error}: {usage:?}"));
    assert_eq!(usage.rows.iter().map(|row| row.sum.calls).sum::<u64>(), 1, "{usage:?}");
    // Said again, it is looked at again.
    let again = home.cli(&["group", "set", "demo", "credentials.mode", "sealed"]).await;
    assert!(again.code == 0 && again.stdout.contains("says so already"), "{again:?}");
}
