//! Wirings, people and roles through the CLI, as a chat on a real socket feels them.

use cofferdam_tests::home::{Ended, TestHome};
use cofferdam_tests::telegram::{Person, Post, Telegram, at_bot};
use serde_json::{Value, json};

struct Stage {
    telegram: Telegram,
    home: TestHome,
}

impl Stage {
    /// A daemon with the channel `tg` and the group `demo`, which repeats what it is told. Nobody is known.
    async fn new() -> Self {
        let telegram = Telegram::start().await;
        let mut home = TestHome::new();
        home.up().await;
        home.group("demo", &json!({"provider": "mock"})).await;
        let settings = format!("api_url={}", telegram.url());
        let words = ["channel", "add", "tg", "telegram", "--secret-file", "-", "--set", &settings];
        let added = home.cli_given(&words, &telegram.token()).await;
        assert_eq!(added.code, 0, "{added:?}");
        telegram.reads_groups();
        Self { telegram, home }
    }

    async fn done(&self, words: &[&str]) -> Ended {
        let ended = self.home.cli(words).await;
        assert_eq!(ended.code, 0, "{words:?}: {ended:?}");
        ended
    }

    async fn json(&self, words: &[&str]) -> Value {
        self.done(&[words, &["--json"]].concat()).await.json()
    }

    /// Waits for an answer with these words, in this topic.
    async fn answered(&self, chat: i64, thread: Option<i64>, words: &str) {
        let has = |telegram: &Telegram| {
            let told = telegram.from_bot(chat);
            told.into_iter().find(|message| message.thread == thread && message.text.contains(words))
        };
        self.telegram.until(words, has).await;
    }

    /// Waits until so many messages were dropped for this reason.
    async fn dropped(&self, reason: &str, count: u64) {
        cofferdam_tests::eventually(&format!("{count} are dropped as {reason}"), || async {
            let all = self.json(&["dropped"]).await;
            let of = |row: &&Value| row["reason"] == reason;
            let counts = all.as_array().expect("a list").iter().filter(of).map(|row| row["count"].as_u64());
            (counts.flatten().sum::<u64>() == count).then_some(())
        })
        .await;
    }

    async fn sessions(&self) -> usize {
        self.json(&["session", "list"]).await.as_array().expect("a list").len()
    }

    /// The names of the people with their roles.
    async fn people(&self) -> Vec<(String, Vec<String>)> {
        let people = self.json(&["user", "list"]).await;
        let roles = |person: &Value| {
            let roles = person["roles"].as_array().expect("roles").iter();
            roles
                .map(|role| {
                    format!("{} {}", role["role"].as_str().unwrap_or("?"), role["group"].as_str().unwrap_or("*"))
                })
                .collect()
        };
        let people = people.as_array().expect("a list").iter();
        people.map(|person| (person["name"].as_str().unwrap_or("?").to_owned(), roles(person))).collect()
    }
}

#[tokio::test]
async fn topics_are_threads_with_their_sessions_and_a_sticky_one_goes_on() {
    let stage = Stage::new().await;
    let (ada, bot) = (Person::new(1001, "Ada"), at_bot());
    let team = stage.telegram.supergroup("Team", &[7, 8]);
    let chat = format!("tg:{team}");
    let says = |topic: i64, text: &str| stage.telegram.write(team, Post::text(text).from(&ada).topic(topic));
    let terms = ["--engage", "mention", "--sticky", "on", "--sessions", "per-thread", "--unknown", "public"];
    stage.done(&[&["wire", &chat, "demo"][..], &terms[..]].concat()).await;

    says(7, "nothing for the bot");
    stage.dropped("not-engaged", 1).await;
    says(7, &format!("{bot} one"));
    stage.answered(team, Some(7), "one").await;
    says(7, "two, without a name");
    stage.answered(team, Some(7), "two, without a name").await;
    says(8, "three, in another topic");
    stage.dropped("not-engaged", 2).await;
    says(8, &format!("{bot} four"));
    stage.answered(team, Some(8), "four").await;
    assert_eq!(stage.sessions().await, 2, "one for each topic");

    stage.done(&["wiring", "set", &chat, "--sticky", "off"]).await;
    says(7, "five, which nobody hears");
    stage.dropped("not-engaged", 3).await;
    stage.done(&["wiring", "set", &chat, "--sessions", "shared"]).await;
    for (topic, word) in [(7, "six"), (8, "seven")] {
        says(topic, &format!("{bot} {word}"));
        stage.answered(team, Some(topic), word).await;
    }
    assert_eq!(stage.sessions().await, 3, "one more, for both topics");

    stage.done(&["wiring", "set", &chat, "--pattern", "(?i)deploy"]).await;
    says(8, "eight: please DEPLOY");
    stage.answered(team, Some(8), "eight: please DEPLOY").await;
    says(8, "nine: do not");
    stage.dropped("not-engaged", 4).await;
    let both = stage.home.cli(&["wiring", "set", &chat, "--engage", "always", "--pattern", "x"]).await;
    assert_eq!(both.code, 2, "{both:?}");

    stage.done(&["unwire", &chat, "demo"]).await;
    says(8, "ten: deploy");
    stage.dropped("unwired", 1).await;
    let left = stage.json(&["wiring", "list"]).await;
    assert!(left.as_array().expect("a list").iter().all(|wiring| wiring["channel"] == "terminal"), "{left}");
}

#[tokio::test]
async fn people_and_their_roles_are_what_the_cli_makes_them() {
    let stage = Stage::new().await;
    let (ada, bert) = (Person::new(1001, "Ada"), Person::new(1002, "Bert"));
    let chats = [stage.telegram.person(ada.id, "Ada"), stage.telegram.person(bert.id, "Bert")];
    stage.done(&["wire", &format!("tg:{}", chats[1]), "demo", "--unknown", "drop"]).await;

    stage.telegram.write(chats[1], "hello");
    stage.dropped("unknown-sender", 1).await;
    let code = stage.json(&["pair", "--role", "guest", "--group", "demo"]).await;
    stage.telegram.write(chats[1], format!("/pair {}", code["code"].as_str().expect("a code")).as_str());
    stage.answered(chats[1], None, "You are a guest of demo now.").await;
    assert_eq!(stage.people().await, [("Bert".to_owned(), vec!["guest demo".to_owned()])]);
    stage.telegram.write(chats[1], "I may write");
    stage.answered(chats[1], None, "I may write").await;
    stage.telegram.write(chats[1], "/clear");
    stage.answered(chats[1], None, "the role member").await;
    stage.dropped("above-role", 1).await;

    stage.done(&["role", "set", "1", "member", "--group", "demo"]).await;
    stage.telegram.write(chats[1], "/clear");
    stage.answered(chats[1], None, "The conversation was cleared").await;
    stage.done(&["user", "add", "tg:1001", "--name", "Ada", "--role", "owner"]).await;
    let again = stage.home.cli(&["user", "add", "tg:1001"]).await;
    assert!(again.code == 5 && again.stderr.contains("role set 2"), "{again:?}");
    let people = stage.people().await;
    assert_eq!(people[1], ("Ada".to_owned(), vec!["owner *".to_owned()]), "nothing was lowered");

    stage.done(&["user", "add", "tg:1003", "--name", "Ada at work", "--role", "guest"]).await;
    stage.done(&["user", "link", "2", "3"]).await;
    let people = stage.json(&["user", "list"]).await;
    let users = people[1]["users"].as_array().expect("users");
    assert_eq!((people.as_array().map(Vec::len), users.len()), (Some(2), 2), "{people}");
    assert_eq!(stage.people().await[1].1, ["owner *"], "the higher role stays");

    stage.done(&["role", "remove", "1", "--group", "demo"]).await;
    let none = stage.home.cli(&["role", "remove", "1", "--group", "demo"]).await;
    assert!(none.code != 0 && none.stderr.contains("no role in demo"), "{none:?}");
    stage.telegram.write(chats[1], "and now?");
    stage.dropped("unknown-sender", 2).await;
    stage.done(&["user", "remove", "1"]).await;
    assert_eq!(stage.people().await.len(), 1);

    assert!(stage.done(&["channel", "test", "tg"]).await.stdout.contains("tg"));
    stage.done(&["channel", "remove", "tg", "--yes"]).await;
    assert_eq!(stage.json(&["channel", "list"]).await, json!([]));
    assert_eq!(stage.json(&["user", "list"]).await, json!([]), "they were known there only");
}

#[tokio::test]
async fn the_start_button_of_a_stranger_asks_the_owner_and_says_nothing_to_the_agent() {
    let stage = Stage::new().await;
    let (ada, eve) = (Person::new(1001, "Ada"), Person::new(2002, "Eve"));
    let chats = [stage.telegram.person(ada.id, "Ada"), stage.telegram.person(eve.id, "Eve")];
    let code = stage.json(&["pair", "--group", "demo"]).await;
    stage.telegram.write(chats[0], format!("/start {}", code["code"].as_str().expect("a code")).as_str());
    stage.answered(chats[0], None, "You are an owner").await;

    stage.telegram.write(chats[1], "/start");
    stage.answered(chats[1], None, "This chat is not connected to an agent yet").await;
    let asked = |telegram: &Telegram| {
        telegram.from_bot(chats[0]).into_iter().find(|message| message.text.contains("“/start”"))
    };
    let asked = stage.telegram.until("the owner is asked", asked).await;
    stage.telegram.press(chats[0], asked.id, "demo", &ada);
    stage.answered(chats[1], None, "Write, and the agent answers.").await;
    stage.telegram.write(chats[1], "hello");
    stage.answered(chats[1], None, "mock reply to: hello").await;
    let told: Vec<_> = stage.telegram.from_bot(chats[1]).into_iter().map(|message| message.text).collect();
    assert!(told.iter().any(|text| text.contains("(turn 1)")), "it was the agent's first: {told:?}");
    assert!(!told.iter().any(|text| text.contains("/start")), "{told:?}");
}

#[tokio::test]
async fn what_names_no_chat_of_a_platform_is_refused_whether_the_channel_runs_or_not() {
    let mut stage = Stage::new().await;
    for serves in [true, false] {
        if !serves {
            stage.home.stop().await;
        }
        for words in
            [&["wire", "tg:-1001234567890#3", "demo"][..], &["wiring", "set", "tg:-100#3", "--engage", "always"]]
        {
            let refused = stage.home.cli(words).await;
            assert!(refused.code == 2 && refused.stderr.contains("threads of their chat"), "{refused:?}");
        }
        for words in [&["wire", "tg:@team", "demo"][..], &["user", "add", "tg:@ada"]] {
            let refused = stage.home.cli(words).await;
            assert!(refused.code == 2 && refused.stderr.contains("whole numbers"), "{refused:?}");
        }
        stage.done(&["wire", "tg:-1001234567890", "demo", "--sessions", "per-thread"]).await;
        let wired = stage.json(&["wiring", "list"]).await;
        let of = |wiring: &&Value| wiring["channel"] == "tg";
        assert_eq!(wired.as_array().expect("a list").iter().filter(of).count(), 1, "{wired}");
    }
}

#[tokio::test]
async fn a_setting_is_changed_alone_and_the_others_stay() {
    let mut home = TestHome::new();
    home.up().await;
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let listen = format!("listen=127.0.0.1:{port}");
    let added = home.cli(&["channel", "add", "api", "http", "--set", &listen, "--set", "max_wait_secs=5"]).await;
    assert_eq!(added.code, 0, "{added:?}");
    let changed = home.cli(&["channel", "add", "api", "http", "--set", "max_wait_secs=6"]).await;
    assert_eq!(changed.code, 0, "{changed:?}");
    let shown = home.cli(&["channel", "show", "api", "--json"]).await.json();
    assert_eq!(shown["settings"], json!({"listen": format!("127.0.0.1:{port}"), "max_wait_secs": 6}));
    let wrong = home.cli(&["channel", "add", "api", "http", "--set", "max_wait=6"]).await;
    assert!(wrong.code != 0 && wrong.stderr.contains("max_wait_secs"), "{wrong:?}");
    let unchanged = home.cli(&["channel", "show", "api", "--json"]).await.json();
    assert_eq!(unchanged["settings"], shown["settings"]);
}

#[tokio::test]
async fn a_channel_of_a_kind_that_is_not_known_says_so_and_the_others_run() {
    let mut stage = Stage::new().await;
    stage.home.stop().await;
    let central = cofferdam_tests::rows::central(stage.home.root());
    let row = "INSERT INTO channels (name, kind, settings, created_at) VALUES ('later', 'of-tomorrow', '{}', 0)";
    cofferdam_tests::rows::execute(&central, row);
    let why = "this Cofferdam knows no channels of the kind 'of-tomorrow'";
    let states = async |stage: &Stage| {
        let channels = stage.json(&["channel", "list"]).await;
        let state = |at: usize| (channels[at]["name"].clone(), channels[at]["state"].clone());
        let says = channels[0]["why"].as_str().unwrap_or_default().to_owned();
        assert!(says.contains(why) && says.contains("`cofferdam channel remove later`"), "{channels}");
        [state(0), state(1)]
    };
    let off = [(json!("later"), json!("stopped")), (json!("tg"), json!("off"))];
    assert_eq!(states(&stage).await, off, "also when no daemon serves them");
    stage.home.up().await;
    cofferdam_tests::eventually("the other runs", || async {
        (states(&stage).await[1] == (json!("tg"), json!("connected"))).then_some(())
    })
    .await;
    assert!(stage.done(&["status"]).await.stdout.contains(&format!("later stopped: {why}")));
    let doctor = stage.home.cli(&["doctor"]).await;
    assert!(doctor.stdout.contains(&format!("later: {why}")), "{doctor:?}");
    for words in [&["channel", "test", "later"][..], &["channel", "add", "later", "of-tomorrow", "--no-secret"]] {
        let refused = stage.home.cli(words).await;
        assert!(refused.code == 2 && refused.stderr.contains("of-tomorrow"), "{refused:?}");
    }
    stage.done(&["channel", "remove", "later", "--yes"]).await;
    assert_eq!(stage.json(&["channel", "list"]).await.as_array().expect("a list").len(), 1);
}

#[tokio::test]
async fn the_kinds_of_channels_are_listed_and_the_nearest_is_offered() {
    let home = TestHome::new();
    let help = home.cli(&["channel", "add", "--help"]).await;
    assert!(help.stdout.contains("Its platform: telegram, http or exec"), "{help:?}");
    let refused = home.cli(&["channel", "add", "tg", "telegarm", "--no-secret"]).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    for words in ["no channel kind 'telegarm'", "did you mean `telegram`?", "exec (any program that speaks"] {
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    let hook = home.cli(&["hook", "add", "ci", "demo"]).await;
    assert!(hook.code == 2 && hook.stderr.contains("`cofferdam channel add http http`"), "{hook:?}");
    let none = home.cli(&["channel", "list"]).await;
    assert!(none.stdout.contains("`cofferdam channel add tg telegram` adds one"), "{none:?}");
}
