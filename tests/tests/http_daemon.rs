//! The HTTP channel from one end to the other: real sockets, a daemon, a real engine, a real Codex, OpenAI's own client.

use cofferdam::channels::http::signature;
use cofferdam::clock::now_ms;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::openai::run_script;
use cofferdam_tests::{LIMIT, eventually};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

struct Stage {
    home: TestHome,
    url: String,
    client: Client,
}

impl Stage {
    /// A daemon with the channel `http`, and the group `demo`.
    async fn new(provider: &str) -> Self {
        let mut home = TestHome::new();
        home.up().await;
        home.group("demo", &json!({"provider": provider})).await;
        // A port that is free now, and the same after a restart.
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
        let listen = format!("listen={port}");
        let added = home.cli(&["channel", "add", "http", "http", "--set", &listen, "--json"]).await;
        assert_eq!(added.code, 0, "{added:?}");
        assert_eq!(added.json()["words"], json!(format!("listens on http://{port}")));
        let client = Client::builder().no_proxy().timeout(LIMIT).build().expect("a client");
        Self { home, url: format!("http://{port}"), client }
    }

    async fn json(&self, words: &[&str]) -> Value {
        let ended = self.home.cli(&[words, &["--json"]].concat()).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.json()
    }

    /// Waits until the channel takes calls.
    async fn listens(&self) {
        eventually("the channel listens", || async {
            let channels = self.json(&["channel", "list"]).await;
            (channels[0]["state"] == "connected").then_some(())
        })
        .await;
    }

    async fn key(&self, name: &str) -> String {
        let made = self.json(&["key", "add", name, "demo"]).await;
        assert_eq!(made["shown"]["url"], json!(format!("{}/v1", self.url)));
        made["key"].as_str().expect("a key").to_owned()
    }

    async fn hook(&self, name: &str, more: &[&str]) -> String {
        let made = self.json(&[&["hook", "add", name, "demo"], more].concat()).await;
        made["secret"].as_str().expect("a secret").to_owned()
    }

    fn signed(&self, path: &str, secret: &str, body: &Value) -> RequestBuilder {
        let body = body.to_string();
        let signature = signature::sign(&secret.into(), now_ms() / 1000, body.as_bytes());
        let call = self.client.post(format!("{}/hooks/{path}", self.url));
        call.header("content-type", "application/json").header(signature::HEADER, signature).body(body)
    }

    fn chat(&self, key: &str, text: &str) -> RequestBuilder {
        let body = json!({"model": "default", "messages": [{"role": "user", "content": text}]});
        self.client.post(format!("{}/v1/chat/completions", self.url)).bearer_auth(key).json(&body)
    }

    /// Whether the database of what spans groups has this text in it, wherever.
    fn has_in_central(&self, text: &str) -> bool {
        ["data/central.db", "data/central.db-wal"].iter().any(|file| {
            let bytes = std::fs::read(self.home.root().join(file)).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }

    /// How often each reason was counted for a chat of the channel.
    async fn dropped(&self) -> Vec<(String, String)> {
        let drops = self.json(&["dropped"]).await;
        let word = |drop: &Value, name: &str| drop[name].as_str().unwrap_or_default().to_owned();
        let drops = drops.as_array().expect("a list").iter();
        let mut drops: Vec<_> = drops
            .map(|drop| (format!("{}:{}", word(drop, "channel"), word(drop, "chat_id")), word(drop, "reason")))
            .collect();
        drops.sort();
        drops
    }
}

async fn told(call: RequestBuilder) -> (u16, Value) {
    let answer = call.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} {error}: {text}")))
}

#[tokio::test]
async fn the_official_client_talks_with_a_real_agent() {
    let stage = Stage::new("codex").await;
    let key = stage.key("laptop").await;
    let told = run_script("daemon.py", &[format!("{}/v1", stage.url), key.clone()]).await;
    for (case, wanted) in [
        ("model", "demo"),
        ("first", "[offline model] **First** answer."),
        ("second", "[offline model] Second answer."),
        ("streamed", "[offline model] These words come one after the other, so that a stream has many of them."),
        ("one", "[offline model] One."),
        ("two", "[offline model] Two."),
        ("again", "[offline model] One."),
    ] {
        assert_eq!(told[case], json!(wanted), "{case}: {told}");
    }
    assert_eq!(told["used"], json!([1234, 1234]), "what its turn took");
    assert!(told["pieces"].as_u64().is_some_and(|pieces| pieces > 2), "it came while it was written: {told}");
    let sessions = stage.json(&["session", "list"]).await;
    let turns: Vec<_> = sessions.as_array().expect("a list").iter().map(|one| one["turns"].clone()).collect();
    assert_eq!(turns.len(), 3, "a session for each conversation: {sessions}");
    assert_eq!(turns.iter().filter_map(Value::as_u64).sum::<u64>(), 5, "{sessions}");
    let shown = stage.json(&["key", "list"]).await;
    assert!(!shown.to_string().contains(&key) && !stage.home.log().contains(&key), "the key is nowhere");
    assert_eq!(shown[0]["groups"], json!(["demo"]));
    assert!(shown[0]["used_at"].is_string() && shown[0]["expires_at"].is_string(), "{shown}");
}

#[tokio::test]
async fn a_signed_call_wakes_an_agent_and_has_its_answer_also_at_its_callback() {
    let stage = Stage::new("mock").await;
    let (told_to, mut came) = tokio::sync::mpsc::unbounded_channel();
    let app = axum::Router::new().fallback(move |body: String| {
        let _ = told_to.send(body);
        async { "" }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let callback = format!("http://{}/back?token=hush", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let secret = stage.hook("ci", &["--callback", &callback]).await;
    let call = || {
        let body = json!({"text": "The build broke.", "thread": "build-7"});
        stage.signed("ci?wait=60", &secret, &body).header("idempotency-key", "one")
    };
    let (status, answer) = told(call()).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer["reply"].as_str().is_some_and(|reply| reply.contains("The build broke.")), "{answer}");
    assert_eq!(told(call()).await, (200, answer.clone()), "the same call has the same answer");
    let posted = tokio::time::timeout(LIMIT, came.recv()).await.expect("in time").expect("a callback");
    let posted: Value = serde_json::from_str(&posted).expect("JSON");
    assert_eq!((&posted["reply"], &posted["thread"]), (&answer["reply"], &json!("build-7")));
    let sessions = stage.json(&["session", "list"]).await;
    assert_eq!((sessions.as_array().map(Vec::len), &sessions[0]["turns"]), (Some(1), &json!(1)));
    let list = stage.home.cli(&["hook", "list"]).await;
    assert!(list.stdout.contains("http:hook/ci") && !list.stdout.contains("hush"), "{list:?}");
    assert!(!stage.home.log().contains(&secret) && !stage.home.log().contains("hush"));
    assert!(!stage.has_in_central("hush"), "its address is sealed");
}

#[tokio::test]
async fn a_callback_of_before_they_were_sealed_is_sealed_and_one_that_is_lost_is_asked_for() {
    let mut stage = Stage::new("mock").await;
    let (told_to, mut came) = tokio::sync::mpsc::unbounded_channel();
    let app = axum::Router::new().fallback(move |uri: axum::http::Uri| {
        let _ = told_to.send(uri.to_string());
        async { "" }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let callback = format!("http://{}/back?token=hush", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let secret = stage.hook("ci", &["--callback", &callback]).await;
    assert!(stage.home.stop().await.success());
    let central = rusqlite::Connection::open(cofferdam_tests::rows::central(stage.home.root())).expect("it opens");
    let changed = central.execute("UPDATE hooks SET callback = ?1", [&callback]).expect("changed");
    let deleted = central.execute("DELETE FROM secrets WHERE purpose = 'callback'", []).expect("deleted");
    assert_eq!((changed, deleted), (1, 1));
    central.close().expect("closed");
    assert!(stage.has_in_central("hush"));
    stage.home.up().await;
    stage.listens().await;
    let central =
        cofferdam_tests::rows::snapshot(&cofferdam_tests::rows::central(stage.home.root())).expect("a copy");
    let shown: String = central
        .query_row("SELECT callback FROM hooks", [], |row| row.get(0))
        .expect("sealed before calls are taken");
    assert!(callback.starts_with(shown.trim_end_matches('…')) && !shown.contains("hush"), "{shown}");
    assert_eq!(told(stage.signed("ci", &secret, &json!({"text": "hello"}))).await.0, 202);
    let posted = tokio::time::timeout(LIMIT, came.recv()).await.expect("in time").expect("a callback");
    assert_eq!(posted, "/back?token=hush");
    // The journal goes into the file at the end.
    assert!(stage.home.stop().await.success());
    assert!(!stage.has_in_central("hush"), "nothing of it is left");
    // As after a restore: no backup has an address.
    let central = rusqlite::Connection::open(cofferdam_tests::rows::central(stage.home.root())).expect("it opens");
    central.execute("DELETE FROM secrets", []).expect("deleted");
    central.close().expect("closed");
    stage.home.up().await;
    let lacks = stage.home.cli(&["hook", "add", "ci", "demo"]).await;
    assert!(lacks.code == 2 && lacks.stderr.contains("--no-callback"), "{lacks:?}");
    let secret = stage.hook("ci", &["--no-callback"]).await;
    stage.listens().await;
    assert_eq!(told(stage.signed("ci", &secret, &json!({"text": "hello again"}))).await.0, 202);
}

#[tokio::test]
async fn a_key_that_is_made_again_under_its_name_has_nothing_of_the_one_before() {
    let stage = Stage::new("mock").await;
    let first = stage.key("laptop").await;
    let admin = stage.home.cli(&["user", "add", "http:key:laptop", "--name", "Ada", "--role", "admin"]).await;
    assert_eq!(admin.code, 0, "{admin:?}");
    let ask = |key: &str, text: &str| {
        let body = json!({"model": "default", "input": text, "metadata": {"thread": "main"}});
        let call = stage.client.post(format!("{}/v1/responses", stage.url)).bearer_auth(key).json(&body);
        call.header("idempotency-key", "one")
    };
    let (status, answer) = told(ask(&first, "mine alone")).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(stage.home.cli(&["key", "remove", "laptop"]).await.code, 0);
    let second = stage.key("laptop").await;
    let listed = stage.home.cli(&["key", "list"]).await;
    assert!(listed.stdout.contains("http:key/laptop/2"), "{listed:?}");
    let id = answer["id"].as_str().expect("an id");
    let read = stage.client.get(format!("{}/v1/responses/{id}", stage.url)).bearer_auth(&second);
    assert_eq!(told(read).await.0, 404, "another's answer");
    let (status, other) = told(ask(&second, "something else")).await;
    assert!(status == 200 && other.to_string().contains("something else"), "{other}");
    assert!(!other.to_string().contains("mine alone"), "{other}");
    let sessions = stage.json(&["session", "list"]).await;
    assert_eq!(sessions.as_array().map(Vec::len), Some(2), "{sessions}");
    assert_eq!(told(stage.chat(&second, "/model gpt-9")).await.0, 403, "the one before was an admin");
    let people = stage.json(&["user", "list"]).await;
    assert_eq!(people, json!([]));
}

#[tokio::test]
async fn a_call_whose_daemon_is_killed_is_answered_once_when_it_is_repeated() {
    let mut stage = Stage::new("mock").await;
    let key = stage.key("laptop").await;
    let slow = "!wait 8\nthe answer";
    let cut = tokio::spawn(stage.chat(&key, slow).header("idempotency-key", "one").send());
    let accepted = async {
        while stage.json(&["session", "list"]).await.as_array().is_none_or(Vec::is_empty) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, accepted).await.expect("it is taken");
    stage.home.crash().await;
    assert!(cut.await.expect("a task").is_err(), "its connection went with the daemon");
    stage.home.up().await;
    stage.listens().await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        let (status, answer) = told(stage.chat(&key, slow).header("idempotency-key", "one")).await;
        assert_eq!(status, 200, "{answer}");
        answers.push(answer["choices"][0]["message"]["content"].clone());
    }
    assert!(answers[0].as_str().is_some_and(|answer| answer.contains("the answer")), "{answers:?}");
    assert_eq!(answers[0], answers[1]);
    let sessions = stage.json(&["session", "list"]).await;
    assert_eq!(sessions.as_array().map(Vec::len), Some(1), "{sessions}");
    assert_eq!(sessions[0]["waiting"], json!(0));
}

#[tokio::test]
async fn an_intruder_gets_nowhere_and_each_attempt_is_counted() {
    let stage = Stage::new("mock").await;
    let (key, other, gone) = (stage.key("one").await, stage.key("two").await, stage.key("gone").await);
    let secret = stage.hook("ci", &[]).await;
    assert_eq!(stage.home.cli(&["key", "revoke", "gone"]).await.code, 0);
    let mut wrong = key.clone();
    wrong.replace_range(10..11, if &key[10..11] == "A" { "B" } else { "A" });
    for bad in [wrong.as_str(), gone.as_str(), "cfd_", ""] {
        assert_eq!(told(stage.chat(bad, "let me in")).await.0, 401, "{bad}");
    }
    let body = json!({"text": "let me in"});
    for (path, secret) in [("ci", "not the secret, but as long"), ("nobody", secret.as_str())] {
        assert_eq!(told(stage.signed(path, secret, &body)).await.0, 401, "{path}");
    }
    assert_eq!(told(stage.chat(&key, "/model gpt-9")).await.0, 403, "a key is no admin");
    let respond = |key: &str| {
        stage
            .client
            .post(format!("{}/v1/responses", stage.url))
            .bearer_auth(key)
            .json(&json!({"model": "default", "input": "mine alone"}))
    };
    let (status, mine) = told(respond(&key)).await;
    assert_eq!(status, 200, "{mine}");
    let id = mine["id"].as_str().expect("an id");
    let retrieve = |key: &str| stage.client.get(format!("{}/v1/responses/{id}", stage.url)).bearer_auth(key);
    assert_eq!(told(retrieve(&other)).await.0, 404, "another key's answer");
    assert_eq!(told(retrieve(&key)).await.0, 200);
    let other_model = json!({"model": "another-group", "input": "let me in"});
    let model = stage.client.post(format!("{}/v1/responses", stage.url)).bearer_auth(&key).json(&other_model);
    assert_eq!(told(model).await.0, 404, "another group");
    // Its group is taken from it: it reaches nobody.
    assert_eq!(stage.home.cli(&["unwire", "http:key/two"]).await.code, 0);
    assert_eq!(told(stage.chat(&other, "let me in")).await.0, 403);
    let dropped = stage.dropped().await;
    for (chat, reason) in [
        ("http:key", "wrong-key"),
        ("http:key", "no-key"),
        ("http:key/gone", "revoked-key"),
        ("http:key/one", "above-role"),
        ("http:key/two", "unwired"),
        ("http:key/two", "wrong-response"),
        ("http:key/one", "wrong-model"),
        ("http:hook", "unknown-hook"),
        ("http:hook/ci", "bad-signature"),
    ] {
        let is = (chat.to_owned(), reason.to_owned());
        assert!(dropped.contains(&is), "{chat} {reason}: {dropped:?}");
    }
    assert_eq!(stage.home.cli(&["hook", "remove", "ci"]).await.code, 0);
    assert_eq!(told(stage.signed("ci", &secret, &body)).await.0, 401, "it is gone");
    let again = stage.home.cli(&["key", "add", "one", "demo"]).await;
    assert_eq!(again.code, 5, "{again:?}");
}
