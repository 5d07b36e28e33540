//! Nothing of what chats need is lost: when a group gets another id, when a home comes back from a backup, and when nobody takes
//! Cofferdam's own words. The fake Bot API on a real socket, daemons, a real engine.

use cofferdam::hooks::OF_MOVE;
use cofferdam_tests::eventually;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::telegram::{Fault, Message, Person, Post, Telegram};
use serde_json::{Value, json};

struct Stage {
    telegram: Telegram,
    home: TestHome,
    ada: Person,
    chat: i64,
}

async fn add_channel(home: &TestHome, telegram: &Telegram) {
    let settings = format!("api_url={}", telegram.url());
    let words = ["channel", "add", "tg", "telegram", "--secret-file", "-", "--set", &settings];
    let added = home.cli_given(&words, &telegram.token()).await;
    assert_eq!(added.code, 0, "{added:?}");
}

async fn json_of(home: &TestHome, words: &[&str]) -> Value {
    let ended = home.cli(&[words, &["--json"]].concat()).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.json()
}

impl Stage {
    /// A daemon with the channel `tg` and an owner, Ada, whose direct chat is wired to `demo`.
    async fn new() -> Self {
        let telegram = Telegram::start().await;
        let mut home = TestHome::new();
        home.up().await;
        home.group("demo", &json!({"provider": "mock"})).await;
        add_channel(&home, &telegram).await;
        let ada = Person::new(1001, "Ada");
        let chat = telegram.person(ada.id, &ada.name);
        let code = json_of(&home, &["pair", "--group", "demo"]).await["code"].as_str().expect("a code").to_owned();
        telegram.write(chat, format!("/pair {code}").as_str());
        let stage = Self { telegram, home, ada, chat };
        stage.says(chat, "Hello! You are an owner").await;
        stage
    }

    /// A group in which everything wakes `demo`.
    async fn team(&self) -> i64 {
        let group = self.telegram.group("Team");
        self.telegram.reads_groups();
        let chat = format!("tg:{group}");
        let wired = self.home.cli(&["wire", &chat, "demo", "--engage", "always", "--unknown", "public"]).await;
        assert_eq!(wired.code, 0, "{wired:?}");
        group
    }

    async fn says(&self, chat: i64, words: &str) -> Message {
        let has =
            |telegram: &Telegram| telegram.from_bot(chat).into_iter().find(|message| message.text.contains(words));
        self.telegram.until(words, has).await
    }

    /// How often the bot said these words in any of the chats.
    fn said(&self, chats: &[i64], words: &str) -> usize {
        let all = chats.iter().flat_map(|chat| self.telegram.from_bot(*chat));
        all.filter(|message| message.text.contains(words)).count()
    }

    /// The session of a chat; it is the only one of `demo` besides Ada's.
    async fn session(&self, chat: i64) -> Value {
        let sessions = json_of(&self.home, &["session", "list"]).await;
        let sessions = sessions.as_array().expect("a list").clone();
        let of = |chat: i64| {
            sessions.iter().filter(|session| session["chat"] == format!("tg:{chat}")).cloned().collect::<Vec<_>>()
        };
        assert_eq!(of(chat).len(), 1, "{sessions:?}");
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        of(chat).remove(0)
    }
}

#[tokio::test]
async fn a_group_that_becomes_a_supergroup_goes_on_wherever_the_daemon_dies() {
    let points = OF_MOVE.iter().map(|point| Some(*point)).chain([None]);
    for point in points {
        let mut stage = Stage::new().await;
        let group = stage.team().await;
        stage.telegram.write(group, "before");
        stage.says(group, "before\n(turn 1)").await;
        if let Some(point) = point {
            stage.home.stop().await;
            stage.home.env("COFFERDAM_CRASH_AT", point);
            stage.home.up().await;
        }
        stage.telegram.write(group, "just then");
        let to = stage.telegram.migrates(group);
        stage.telegram.write(to, "after");
        if let Some(point) = point {
            assert!(!stage.home.ended().await.success(), "{point}: reached");
            stage.home.unset("COFFERDAM_CRASH_AT");
            stage.home.up().await;
        }
        stage.says(to, "after").await;
        stage.telegram.write(to, "at last");
        stage.says(to, "at last").await;
        for words in ["before", "just then", "after", "at last"] {
            assert_eq!(stage.said(&[group, to], words), 1, "{point:?}: {words}");
        }
        let session = stage.session(to).await;
        assert!(session["turns"].as_u64().is_some_and(|turns| turns >= 3), "{point:?}: {session}");
        let wirings = json_of(&stage.home, &["wiring", "list"]).await.to_string();
        assert!(wirings.contains(&to.to_string()) && !wirings.contains(&group.to_string()), "{point:?}: {wirings}");
    }
}

#[tokio::test]
async fn a_refused_message_is_enough_to_follow_a_group() {
    let stage = Stage::new().await;
    let group = stage.team().await;
    stage.telegram.write(group, "!wait 6\nslowly");
    stage.telegram.until("it works", |telegram| (!telegram.typing(group).is_empty()).then_some(())).await;
    let to = stage.telegram.migrates_unseen(group);
    stage.says(to, "slowly").await;
    stage.telegram.write(to, "and now");
    stage.says(to, "and now").await;
    assert_eq!(stage.said(&[group, to], "slowly"), 1);
    stage.session(to).await;
}

#[tokio::test]
async fn a_home_that_comes_back_knows_its_people_and_goes_on_once_it_has_its_secret() {
    let mut stage = Stage::new().await;
    stage.telegram.write(stage.chat, "one");
    stage.says(stage.chat, "one\n(turn 1)").await;
    let eve = Person::new(2002, "Eve");
    let eves = stage.telegram.person(eve.id, &eve.name);
    stage.telegram.write(eves, "hello from Eve");
    let asked = stage.says(stage.chat, "hello from Eve").await;
    stage.says(eves, "was asked").await;
    let place = tempfile::tempdir().expect("a place");
    let dir = place.path().join("backup");
    let dir = dir.to_str().expect("a path");
    assert_eq!(stage.home.cli(&["backup", dir]).await.code, 0);
    stage.home.stop().await;

    let mut to = TestHome::new();
    let restored = to.cli(&["restore", "--from", dir]).await;
    assert_eq!(restored.code, 0, "{restored:?}");
    assert!(restored.stdout.contains("to do: channel tg: its secret is not here"), "{restored:?}");
    assert!(restored.stdout.contains("Ada (owner)"), "{restored:?}");
    to.up().await;
    let channel = json_of(&to, &["channel", "show", "tg"]).await;
    assert_eq!(channel["state"], "stopped", "{channel}");
    assert!(
        channel["why"].as_str().is_some_and(|why| why.contains("`cofferdam channel add tg telegram`")),
        "{channel}"
    );
    let status = to.cli(&["status"]).await;
    assert!(status.stdout.contains("tg stopped: its secret is not here"), "{status:?}");
    let doctor = to.cli(&["doctor"]).await;
    assert!(doctor.stdout.contains("tg: its secret is not here"), "{doctor:?}");
    // What is written meanwhile waits at Telegram, and words on their way wait here.
    stage.telegram.write(stage.chat, "two");
    assert_eq!(json_of(&to, &["dead-letter", "list"]).await, json!([]));
    let added =
        to.cli_given(&["channel", "add", "tg", "telegram", "--secret-file", "-"], &stage.telegram.token()).await;
    assert_eq!(added.code, 0, "{added:?}");
    stage.says(stage.chat, "two\n(turn 2)").await;
    stage.telegram.press(stage.chat, asked.id, "demo", &stage.ada);
    stage.says(eves, "reply to: hello from Eve").await;
    stage.says(stage.chat, "approved by Ada").await;
    assert_eq!(stage.said(&[stage.chat], "(turn 1)"), 1, "nothing is said again");
    assert_eq!(json_of(&to, &["approval", "list"]).await, json!([]));
}

#[tokio::test]
async fn one_group_in_a_living_home_brings_its_chats_and_overwrites_nothing() {
    let stage = Stage::new().await;
    let group = stage.team().await;
    stage.telegram.write(group, "one");
    stage.says(group, "one\n(turn 1)").await;
    let bob = Person::new(3003, "Bob");
    let added =
        stage.home.cli(&["user", "add", "tg:3003", "--name", "Bob", "--role", "member", "--group", "demo"]).await;
    assert_eq!(added.code, 0, "{added:?}");
    let place = tempfile::tempdir().expect("a place");
    let dir = place.path().join("backup");
    let dir = dir.to_str().expect("a path");
    assert_eq!(stage.home.cli(&["backup", dir, "--group", "demo"]).await.code, 0);
    let removed = stage.home.cli(&["group", "remove", "demo", "--yes"]).await;
    assert_eq!(removed.code, 0, "{removed:?}");
    let to = stage.telegram.migrates(group);
    let restored = stage.home.cli(&["restore", "--from", dir, "demo"]).await;
    assert_eq!(restored.code, 0, "{restored:?}");
    assert!(restored.stdout.contains("roles in it again: Bob: member"), "{restored:?}");
    // The chat moved while the group was away; it is found where it is now.
    stage.telegram.write(to, Post::text("two").from(&bob));
    stage.says(to, "two\n(turn 2)").await;
    let status = stage.home.cli(&["status"]).await;
    assert!(status.stdout.contains("tg connected"), "it was here, and goes on: {status:?}");
}

#[tokio::test]
async fn our_own_words_that_nobody_takes_are_dead_letters_with_names_that_can_be_typed() {
    let stage = Stage::new().await;
    stage.telegram.fail("sendMessage", [Fault::No(403, "Forbidden: bot was blocked by the user")]);
    stage.telegram.write(stage.chat, "/help");
    let letters = eventually("a dead letter", || async {
        let letters = json_of(&stage.home, &["dead-letter", "list"]).await;
        (letters.as_array().map(Vec::len) == Some(1)).then_some(letters)
    })
    .await;
    let letter = &letters[0];
    assert_eq!(
        (&letter["reference"], &letter["group"], &letter["cause"]),
        (&json!("@own/1"), &json!(null), &json!("delivery"))
    );
    assert!(letter["error"].as_str().is_some_and(|error| error.contains("blocked")), "{letter}");
    let status = stage.home.cli(&["status"]).await;
    assert!(status.stdout.contains("1 of Cofferdam's own words"), "{status:?}");
    let shown = stage.home.cli(&["dead-letter", "show", "@own/1"]).await;
    assert!(shown.code == 0 && shown.stdout.contains("post 2"), "{shown:?}");
    let retried = stage.home.cli(&["dead-letter", "retry", "@own/1"]).await;
    assert_eq!(retried.code, 0, "{retried:?}");
    stage.says(stage.chat, "/help · /status").await;
    let again = stage.home.cli(&["dead-letter", "drop", "@own/1"]).await;
    assert_eq!(again.code, 5, "it is decided once: {again:?}");
    let unknown = stage.home.cli(&["dead-letter", "show", "@own/7"]).await;
    assert_eq!(unknown.code, 4, "{unknown:?}");
    assert_eq!(json_of(&stage.home, &["dead-letter", "list", "@own"]).await, json!([]));
    let all = stage.home.cli(&["dead-letter", "drop", "--all", "@own"]).await;
    assert!(all.code == 0 && all.stdout.contains("no dead letters"), "{all:?}");
}
