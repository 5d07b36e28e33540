//! With `--json` every verb says what it did in one JSON value.

use cofferdam_tests::eventually;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::telegram::{Person, Telegram};
use serde_json::{Value, json};

struct Stage {
    telegram: Telegram,
    home: TestHome,
}

impl Stage {
    /// A daemon with the group `demo`, a bot as `tg`, and `http`.
    async fn new() -> Self {
        let telegram = Telegram::start().await;
        let mut home = TestHome::new();
        home.up().await;
        home.group("demo", &json!({"provider": "mock"})).await;
        let stage = Self { telegram, home };
        let settings = format!("api_url={}", stage.telegram.url());
        let words = ["channel", "add", "tg", "telegram", "--secret-file", "-", "--set", &settings, "--json"];
        let added = stage.home.cli_given(&words, &stage.telegram.token()).await;
        assert!(added.code == 0 && added.json()["words"].is_string(), "{added:?}");
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
        stage.says(&["channel", "add", "http", "http", "--set", &format!("listen={free}")]).await;
        stage
    }

    /// What a verb says, all of it one JSON value.
    async fn says(&self, words: &[&str]) -> Value {
        let ended = self.home.cli(&[words, &["--json"]].concat()).await;
        assert_eq!(ended.code, 0, "{words:?}: {ended:?}");
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}: {ended:?}"))
    }

    /// Somebody nobody knows writes, and an approval of this number waits.
    async fn waits(&self, person: i64, number: i64) {
        let chat = self.telegram.person(person, "Somebody");
        self.telegram.write(chat, "hello");
        eventually("it waits", || async {
            let waiting = self.says(&["approval", "list"]).await;
            waiting.as_array()?.iter().any(|approval| approval["id"] == json!(number)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn whatever_changes_wirings_and_people_is_said_as_json() {
    let stage = Stage::new().await;
    let ada = Person::new(1001, "Ada");
    assert_eq!(stage.says(&["wire", "tg:-5", "demo"]).await["chat_id"], "-5");
    assert_eq!(stage.says(&["wiring", "set", "tg:-5", "--engage", "always"]).await["engage"], "always");
    let unwired = json!({"unwired": {"channel": "tg", "chat_id": "-5", "group": null}});
    assert_eq!(stage.says(&["unwire", "tg:-5"]).await, unwired);
    stage.says(&["wire", "tg:-5", "demo"]).await;
    let unwired = json!({"unwired": {"channel": "tg", "chat_id": "-5", "group": "demo"}});
    assert_eq!(stage.says(&["unwire", "tg:-5", "demo"]).await, unwired);

    assert!(stage.says(&["pair"]).await["code"].is_string());
    for user in [ada.id, 1002] {
        stage.says(&["user", "add", &format!("tg:{user}")]).await;
    }
    assert_eq!(stage.says(&["role", "set", "1", "admin"]).await["roles"][0]["role"], "admin");
    assert_eq!(stage.says(&["role", "remove", "1"]).await["id"], 1);
    assert_eq!(stage.says(&["user", "link", "1", "2"]).await["users"].as_array().map(Vec::len), Some(2));
    assert_eq!(stage.says(&["user", "remove", "1"]).await, json!({"removed": 1}));
    assert_eq!(stage.says(&["user", "list"]).await, json!([]));
}

#[tokio::test]
async fn whatever_is_decided_or_taken_away_is_said_as_json() {
    let stage = Stage::new().await;
    for folder in ["g1", "g2", "g3", "g4", "g5", "seventh"] {
        stage.home.group(folder, &json!({"provider": "mock"})).await;
    }
    stage.waits(2001, 1).await;
    stage.waits(2002, 2).await;
    let others = &stage.says(&["approval", "list"]).await[0]["others"];
    assert_eq!(others, &json!(["seventh"]), "it has no button");
    let approved = stage.says(&["approval", "approve", "1", "seventh"]).await;
    assert_eq!((&approved["state"], &approved["choice"]), (&json!("approved"), &json!("seventh")));
    assert!(approved["others"].is_null(), "it takes nothing any more: {approved}");
    assert_eq!(stage.says(&["approval", "deny", "2"]).await["state"], "denied");
    assert_eq!(stage.says(&["dropped"]).await[0]["reason"], "denied");

    assert!(stage.says(&["hook", "add", "ci", "demo"]).await["secret"].is_string());
    assert_eq!(stage.says(&["hook", "remove", "ci"]).await, json!({"removed": "ci"}));
    assert!(stage.says(&["key", "add", "editor", "demo"]).await["key"].is_string());
    assert_eq!(stage.says(&["key", "revoke", "editor"]).await, json!({"revoked": "editor"}));
    assert_eq!(stage.says(&["key", "remove", "editor"]).await, json!({"removed": "editor"}));
    for list in ["hook", "key"] {
        assert_eq!(stage.says(&[list, "list"]).await, json!([]));
    }
    assert_eq!(stage.says(&["channel", "show", "tg"]).await["name"], "tg");
    assert!(stage.says(&["channel", "test", "tg"]).await["words"].is_string());
    for channel in ["tg", "http"] {
        assert_eq!(stage.says(&["channel", "remove", channel, "--yes"]).await, json!({"removed": channel}));
    }
    assert_eq!(stage.says(&["channel", "list"]).await, json!([]));
    assert!(stage.says(&["group", "set", "g1", "model", "m"]).await.is_object());
    assert_eq!(stage.says(&["group", "remove", "g1", "--yes"]).await, json!({"removed": "g1"}));
}
