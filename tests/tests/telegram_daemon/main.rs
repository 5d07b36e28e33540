//! Telegram from one end to the other: the fake Bot API on a real socket, a daemon, a real engine, a real Codex.

mod answers;
mod people;
mod questions;
mod replies;

use cofferdam_tests::home::TestHome;
use cofferdam_tests::telegram::{Message, Person, Press, Telegram};
use serde_json::{Value, json};

struct Stage {
    telegram: Telegram,
    home: TestHome,
    ada: Person,
    chat: i64,
}

impl Stage {
    /// A daemon with the channel `tg` and an owner, Ada, whose direct chat is wired to `demo`.
    async fn new(provider: &str) -> Self {
        Self::with(provider, &[]).await
    }

    /// The same, with these variables in the daemon's environment.
    async fn with(provider: &str, env: &[(&str, &str)]) -> Self {
        let telegram = Telegram::start().await;
        let mut home = TestHome::new();
        for (name, value) in env {
            home.env(name, value);
        }
        home.up().await;
        home.group("demo", &json!({"provider": provider})).await;
        let settings = format!("api_url={}", telegram.url());
        let words = ["channel", "add", "tg", "telegram", "--secret-file", "-", "--set", &settings];
        let added = home.cli_given(&words, &telegram.token()).await;
        assert_eq!(added.code, 0, "{added:?}");
        let ada = Person::new(1001, "Ada");
        let chat = telegram.person(ada.id, &ada.name);
        let code = home.cli(&["pair", "--group", "demo", "--json"]).await;
        assert_eq!(code.code, 0, "{code:?}");
        let code = code.json()["code"].as_str().expect("a code").to_owned();
        telegram.write(chat, format!("/pair {code}").as_str());
        let stage = Self { telegram, home, ada, chat };
        stage.says("Hello! You are an owner").await;
        stage
    }

    /// Waits until the bot's messages in Ada's chat have one with these words.
    async fn says(&self, words: &str) -> Message {
        self.says_in(self.chat, words).await
    }

    async fn says_in(&self, chat: i64, words: &str) -> Message {
        let has =
            |telegram: &Telegram| telegram.from_bot(chat).into_iter().find(|message| message.text.contains(words));
        self.telegram.until(words, has).await
    }

    /// A group in which everybody wakes `demo`.
    async fn open_group(&self) -> i64 {
        let group = self.telegram.supergroup("Team", &[]);
        let chat = format!("tg:{group}");
        let wired = self.home.cli(&["wire", &chat, "demo", "--engage", "always", "--unknown", "public"]).await;
        assert_eq!(wired.code, 0, "{wired:?}");
        self.telegram.reads_groups();
        group
    }

    /// Waits until a message has no buttons, and these words.
    async fn closed(&self, message: i64, words: &str) {
        self.closed_in(self.chat, message, words).await;
    }

    async fn closed_in(&self, chat: i64, message: i64, words: &str) {
        let closed = |telegram: &Telegram| {
            let shown = telegram.from_bot(chat).into_iter().find(|shown| shown.id == message)?;
            (shown.all_buttons().is_empty() && shown.text.contains(words)).then_some(())
        };
        self.telegram.until(words, closed).await;
    }

    /// Waits until a press is answered.
    async fn answered(&self, press: &str) {
        let answered = |telegram: &Telegram| (telegram.pressed(press) != Press::Waits).then_some(());
        self.telegram.until("that the press is answered", answered).await;
    }

    /// How many of a sender's were dropped for this reason.
    async fn dropped(&self, sender: &str, reason: &str) -> u64 {
        let dropped = self.json(&["dropped"]).await;
        let is_it = |row: &&Value| row["sender"] == sender && row["reason"] == reason;
        dropped.as_array().into_iter().flatten().filter(is_it).filter_map(|row| row["count"].as_u64()).sum()
    }

    async fn json(&self, words: &[&str]) -> Value {
        let ended = self.home.cli(&[words, &["--json"]].concat()).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.json()
    }
}
