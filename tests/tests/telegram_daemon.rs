//! Telegram from one end to the other: the fake Bot API on a real socket, a daemon, a real engine, a real Codex.

use cofferdam_tests::home::TestHome;
use cofferdam_tests::telegram::{Fault, Message, Person, Post, Telegram, at_bot};
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

    async fn json(&self, words: &[&str]) -> Value {
        let ended = self.home.cli(&[words, &["--json"]].concat()).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.json()
    }
}

#[tokio::test]
async fn a_message_wakes_a_real_agent_whose_answer_grows_in_one_message_and_a_file_goes_out() {
    let stage = Stage::new("codex").await;
    stage.telegram.keep_to_pace();
    let ask = "!stream 40\n!say **Looking** around the workspace for what was asked about, which takes a while to say.\n\
               !run echo hello > note.txt\n!tool chat_send_file {\"path\": \"note.txt\", \"caption\": \"as asked\"}";
    stage.telegram.write(stage.chat, ask);
    let file = stage
        .telegram
        .until("the file", |telegram| telegram.from_bot(stage.chat).into_iter().find_map(|message| message.file))
        .await;
    assert_eq!((file.name.as_deref(), stage.telegram.content(&file)), (Some("note.txt"), b"hello\n".to_vec()));
    stage
        .telegram
        .write(stage.chat, "!stream 20\n!say This answer is written slowly, so that it is seen while it grows.");
    let whole = "This answer is written slowly, so that it is seen while it grows.";
    let shown = stage
        .telegram
        .until("the answer", |telegram| {
            let told = telegram.from_bot(stage.chat);
            told.into_iter().find(|message| message.text.contains(whole) && !message.text.ends_with('…'))
        })
        .await;
    assert!(shown.edits >= 1, "it grew in place: {shown:?}");
    assert!(!stage.telegram.typing(stage.chat).is_empty(), "the typing mark was shown");
    let told = stage.telegram.from_bot(stage.chat);
    let slow = told.iter().filter(|message| message.text.contains("This answer")).count();
    assert_eq!(slow, 1, "once: {told:?}");
    assert_eq!(stage.telegram.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_forum_whose_topics_all_work_at_once_is_shown_and_told_all_of_it_at_its_pace() {
    let stage = Stage::new("mock").await;
    stage.telegram.keep_to_pace();
    stage.telegram.reads_groups();
    let topics = [1, 2, 3, 4];
    let group = stage.telegram.supergroup("Team", &topics);
    let chat = format!("tg:{group}");
    let terms = ["--engage", "always", "--unknown", "public", "--sessions", "per-thread"];
    let wired = stage.home.cli(&[&["wire", &chat, "demo"][..], &terms].concat()).await;
    assert_eq!(wired.code, 0, "{wired:?}");
    topics.iter().for_each(|topic| _ = stage.telegram.write(group, Post::text("!silent").topic(*topic)));
    let work = |telegram: &Telegram| {
        let typing = telegram.typing(group);
        let all = topics.iter().all(|topic| typing.contains(&Some(*topic)));
        (all && telegram.from_bot(group).iter().any(|message| message.text == "works")).then_some(())
    };
    stage.telegram.until("all work, and one at least shows it", work).await;
    topics.iter().for_each(|topic| _ = stage.telegram.write(group, Post::text("/stop").topic(*topic)));
    let stopped = |telegram: &Telegram| {
        let told = telegram.from_bot(group);
        let in_topic = |topic: &i64| {
            told.iter().any(|message| message.thread == Some(*topic) && message.text.contains("was stopped"))
        };
        let left = told.iter().any(|message| message.text == "works");
        (topics.iter().all(in_topic) && !left).then_some(())
    };
    stage.telegram.until("the end of each, and no display", stopped).await;
    assert_eq!(stage.telegram.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_button_answers_a_real_agents_question_once_though_the_daemon_died_after_it_was_shown() {
    let mut stage = Stage::new("codex").await;
    let ask = json!({"question": "Which colour?", "options": ["Red", "Blue"]});
    stage.telegram.write(stage.chat, format!("!tool ask_user {ask}").as_str());
    let asks = |telegram: &Telegram| {
        telegram.from_bot(stage.chat).into_iter().find(|message| !message.all_buttons().is_empty())
    };
    let question = stage.telegram.until("the question", asks).await;
    assert!(question.text.contains("Which colour?"), "{question:?}");
    let red = question.all_buttons()[0].data.clone();
    // What is behind it goes out when it is known to be there: the crash brings none of it again.
    stage.telegram.write(stage.chat, "/status");
    stage.says("demo:").await;
    stage.home.crash().await;
    // Pressed while nobody is there.
    stage.telegram.press(stage.chat, question.id, "Blue", &stage.ada);
    stage.home.up().await;
    stage.closed(question.id, "Which colour?\n→ answered by Ada: Blue").await;
    let is_answer = |message: &Message| message.text.contains("Blue") && message.id != question.id;
    let told = |telegram: &Telegram| telegram.from_bot(stage.chat).into_iter().find(is_answer);
    stage.telegram.until("the answer's use", told).await;
    let again = stage.telegram.press_data(stage.chat, question.id, &red, &stage.ada);
    let over = |telegram: &Telegram| {
        format!("{:?}", telegram.pressed(&again)).contains("is over: answered by Ada: Blue").then_some(())
    };
    stage.telegram.until("that it is over", over).await;
    stage.telegram.write(stage.chat, "!say And that is all.");
    stage.says("And that is all.").await;
    let told = stage.telegram.from_bot(stage.chat);
    assert_eq!(told.iter().filter(|message| is_answer(message)).count(), 1, "said once: {told:?}");
    let asked = told.iter().filter(|message| message.text.starts_with("Which colour?")).count();
    assert!(asked == 1 && told.iter().all(|message| message.all_buttons().is_empty()), "asked once: {told:?}");
    let all = stage.json(&["approval", "list", "--all"]).await;
    assert_eq!((all.as_array().map(Vec::len), &all[0]["choice"]), (Some(1), &json!("Blue")), "{all}");
    assert_eq!(stage.json(&["session", "list"]).await.as_array().map(Vec::len), Some(1), "of one conversation");
}

#[tokio::test]
async fn a_question_is_listed_and_answered_on_the_host_and_its_chat_shows_that_also_over_a_crash() {
    let mut stage = Stage::new("mock").await;
    let ask = json!({"question": "Which colour?", "options": ["Red", "Blue"]});
    stage.telegram.write(stage.chat, format!("!tool ask_user {ask}").as_str());
    let question = stage.says("Which colour?").await;
    let list = stage.json(&["approval", "list"]).await;
    let waits = &list[0];
    assert_eq!(
        (&waits["id"], &waits["kind"], &waits["group"]),
        (&json!("demo/1"), &json!("question"), &json!("demo"))
    );
    assert_eq!((&waits["words"], &waits["choices"]), (&json!("Which colour?"), &json!(["Red", "Blue"])));
    assert_eq!(stage.json(&["status"]).await["questions"], json!(1));
    let shown = stage.home.cli(&["approval", "list"]).await;
    assert!(
        shown.stdout.contains("demo/1 question tg:1001") && shown.stdout.contains("1. Red, 2. Blue"),
        "{shown:?}"
    );
    let unclear = stage.home.cli(&["approval", "deny", "demo/1"]).await;
    assert!(unclear.code != 0 && unclear.stderr.contains("approval approve demo/1 ANSWER"), "{unclear:?}");
    // Telegram is away for the change: it waits, and is made after a crash.
    stage.telegram.fail("editMessageText", vec![Fault::No(500, "Internal Server Error"); 2]);
    let answered = stage.json(&["approval", "approve", "demo/1", "2"]).await;
    assert_eq!((&answered["state"], &answered["choice"]), (&json!("answered"), &json!("Blue")));
    assert_eq!(answered["decided_by"], json!("the host"));
    stage.says("Answered from elsewhere by the host: Blue").await;
    stage.telegram.called("editMessageText", 1).await;
    // What is behind a word in its chat goes out when that is known to be there: the crash brings none of it again.
    let reply = |telegram: &Telegram| {
        let told = telegram.from_bot(stage.chat);
        let is = |message: &Message| message.text.contains("Blue") && !message.text.contains("elsewhere");
        told.into_iter().find(|message| is(message) && message.id != question.id)
    };
    stage.telegram.until("the turn's own words", reply).await;
    stage.home.crash().await;
    stage.home.up().await;
    stage.closed(question.id, "→ answered by the host: Blue").await;
    let again = stage.home.cli(&["approval", "approve", "demo/1", "1"]).await;
    assert!(
        again.code != 0 && again.stderr.contains("question demo/1 is over: answered by the host: Blue"),
        "{again:?}"
    );
    assert_eq!(stage.json(&["approval", "list"]).await, json!([]));
    let all = stage.json(&["approval", "list", "--all"]).await;
    assert_eq!((&all[0]["id"], &all[0]["state"]), (&json!("demo/1"), &json!("answered")));
    assert_eq!(stage.json(&["status"]).await["questions"], json!(0));
    let told = stage.telegram.from_bot(stage.chat);
    assert_eq!(told.iter().filter(|message| message.text.contains("from elsewhere")).count(), 1, "{told:?}");
}

#[tokio::test]
async fn a_command_in_another_chat_answers_a_question_and_its_own_words_do_in_its_chat() {
    let stage = Stage::new("mock").await;
    let group = stage.telegram.supergroup("Team", &[]);
    let wired = stage.home.cli(&["wire", &format!("tg:{group}"), "demo", "--unknown", "public"]).await;
    assert_eq!(wired.code, 0, "{wired:?}");
    let ask = json!({"question": "Go on?", "options": ["Yes, go on", "No"]});
    stage.telegram.write(group, Post::text(format!("{} \n!tool ask_user {ask}", at_bot())).from(&stage.ada));
    let question = stage.says_in(group, "Go on?").await;
    stage.telegram.write(stage.chat, "/approve");
    stage.says("demo/1 Go on?").await;
    stage.telegram.write(stage.chat, "/approve demo/1");
    stage.says("Question demo/1: Yes, go on").await;
    stage.says_in(group, "from elsewhere by Ada: Yes, go on").await;
    stage.closed_in(group, question.id, "→ answered by Ada: Yes, go on").await;
    let ask = json!({"question": "And now?", "options": ["Stop", "Again"]});
    stage.telegram.write(stage.chat, format!("!tool ask_user {ask}").as_str());
    let own = stage.says("And now?").await;
    stage.telegram.write(stage.chat, "rather not");
    stage.closed(own.id, "→ answered by Ada: rather not").await;
}

#[tokio::test]
async fn a_daemon_that_is_killed_loses_nothing_and_says_nothing_twice() {
    let mut stage = Stage::new("mock").await;
    for number in 0..4 {
        stage.telegram.write(stage.chat, format!("message {number}").as_str());
    }
    stage.home.crash().await;
    stage.telegram.write(stage.chat, "message 4");
    stage.home.up().await;
    let all = |telegram: &Telegram| {
        let told: String = telegram.from_bot(stage.chat).into_iter().map(|message| message.text + "\n").collect();
        (0..5).all(|number| told.contains(&format!("message {number}"))).then_some(())
    };
    stage.telegram.until("an answer to each", all).await;
    let sessions = stage.json(&["session", "list"]).await;
    assert_eq!(sessions.as_array().map(Vec::len), Some(1));
    for number in 0..5 {
        let told = stage.telegram.from_bot(stage.chat);
        let texts = told.iter().filter(|message| message.text.contains(&format!("message {number}"))).count();
        assert_eq!(texts, 1, "message {number}: {told:?}");
    }
}

#[tokio::test]
async fn a_daemon_that_is_killed_while_an_answer_grows_ends_it_in_one_message() {
    let mut stage = Stage::new("codex").await;
    let words: Vec<String> = (1..=60).map(|number| format!("word{number}")).collect();
    let said = words.join(" ");
    let whole = format!("[offline model] {said}");
    stage.telegram.write(stage.chat, format!("!stream 10\n!say {said}").as_str());
    let growing = stage.says("word3").await;
    stage.home.crash().await;
    stage.telegram.write(stage.chat, "!say And then this.");
    stage.home.up().await;
    stage.says("And then this.").await;
    let told = stage.telegram.from_bot(stage.chat);
    let of_it: Vec<_> = told.iter().filter(|message| message.text.contains("word1 ")).collect();
    assert_eq!(of_it.len(), 1, "one message of the answer: {told:?}");
    assert_eq!((of_it[0].id, of_it[0].text.as_str()), (growing.id, whole.as_str()), "the one that grew");
    assert_eq!(told.iter().filter(|message| message.text.contains("And then this.")).count(), 1, "{told:?}");
}

#[tokio::test]
async fn a_stranger_waits_for_the_owners_button_and_a_refused_one_gets_nowhere() {
    let stage = Stage::new("mock").await;
    let (eve, mallory) = (Person::new(2002, "Eve"), Person::new(6666, "Mallory"));
    let eves = stage.telegram.person(eve.id, &eve.name);
    stage.telegram.write(eves, "hello from Eve");
    stage.says_in(eves, "was asked").await;
    let asked = stage.says("hello from Eve").await;
    let forged = stage.telegram.press_data(eves, asked.id, &asked.all_buttons()[0].data, &eve);
    stage
        .telegram
        .until("that the press is answered", |telegram| {
            (!format!("{:?}", telegram.pressed(&forged)).contains("Waits")).then_some(())
        })
        .await;
    assert_eq!(stage.json(&["approval", "list"]).await.as_array().map(Vec::len), Some(1), "still open");
    stage.telegram.press(stage.chat, asked.id, "demo", &stage.ada);
    stage.says_in(eves, "hello from Eve").await;
    stage.says("approved by").await;
    let mallorys = stage.telegram.person(mallory.id, &mallory.name);
    stage.telegram.write(mallorys, "let me in");
    let asked = stage.says("let me in").await;
    stage.telegram.press(stage.chat, asked.id, "No", &stage.ada);
    stage.says("denied by").await;
    stage.telegram.write(mallorys, "please");
    stage.telegram.write(eves, "/model x");
    stage.says_in(eves, "the role admin").await;
    let group = stage.telegram.group("Team");
    stage.telegram.write(group, Post::text("/stop").from(&mallory));
    let dropped = cofferdam_tests::eventually("each attempt is counted", || async {
        let dropped = stage.json(&["dropped"]).await;
        let reasons: Vec<String> = dropped
            .as_array()?
            .iter()
            .map(|row| {
                format!(
                    "{} {}",
                    row["sender"].as_str().unwrap_or_default(),
                    row["reason"].as_str().unwrap_or_default()
                )
            })
            .collect();
        let wanted = ["2002 above-role", "6666 denied", "6666 unwired"];
        wanted.iter().all(|reason| reasons.iter().any(|row| row == reason)).then_some(reasons)
    })
    .await;
    assert!(dropped.len() >= 3, "{dropped:?}");
    assert!(!stage.home.log().contains(&stage.telegram.token()), "the token is in no log");
}

#[tokio::test]
async fn groups_wake_on_a_mention_and_hear_what_was_said_before() {
    let stage = Stage::new("mock").await;
    let group = stage.telegram.supergroup("Team", &[]);
    let chat = format!("tg:{group}");
    let terms = ["--others", "context", "--unknown", "public"];
    let wired = stage.home.cli(&[&["wire", &chat, "demo"][..], &terms].concat()).await;
    assert_eq!(wired.code, 0, "{wired:?}");
    stage.telegram.reads_groups();
    let bob = Person::new(3003, "Bob");
    stage.telegram.write(group, Post::text("lunch at noon?").from(&bob));
    stage.telegram.write(group, Post::text(format!("{} what did Bob say", at_bot())).from(&stage.ada));
    let answer = stage.says_in(group, "what did Bob say").await;
    assert!(answer.text.contains("lunch at noon?"), "{}", answer.text);
    let status = stage.home.cli(&["status"]).await;
    assert!(status.stdout.contains("tg connected"), "{status:?}");
}

#[tokio::test]
async fn a_flooder_holds_up_nobody_and_what_waits_is_neither_lost_nor_doubled_by_a_death() {
    // Dead with the last of them taken in and not forgotten.
    let mut stage = Stage::with("mock", &[("COFFERDAM_CRASH_AT", "late.taken:3")]).await;
    let (group, eve) = (stage.open_group().await, Person::new(2002, "Eve"));
    let mut lines: Vec<String> = (0..23).map(|number| format!("of Eve {number}.")).collect();
    for line in &lines {
        stage.telegram.write(group, Post::text(line).from(&eve));
    }
    stage.telegram.write(group, Post::text("of Ada.").from(&stage.ada));
    stage.home.ended().await;
    stage.home.unset("COFFERDAM_CRASH_AT");
    stage.telegram.write(group, Post::text("of Ada again.").from(&stage.ada));
    stage.home.up().await;
    lines.extend(["of Ada.".to_owned(), "of Ada again.".to_owned()]);
    let said = |telegram: &Telegram| {
        telegram.from_bot(group).into_iter().map(|message| message.text + "\n").collect::<String>()
    };
    let all =
        |telegram: &Telegram| Some(said(telegram)).filter(|said| lines.iter().all(|line| said.contains(line)));
    let said = stage.telegram.until("an answer to each", all).await;
    for line in &lines {
        assert_eq!(said.matches(line.as_str()).count(), 1, "{line}\n{said}");
    }
    let at = |line: &str| said.find(line).unwrap_or_default();
    assert!((1..23).all(|number| at(&lines[number - 1]) < at(&lines[number])), "in their order:\n{said}");
    assert!(at("of Ada.") < at(&lines[22]), "Ada did not wait for Eve:\n{said}");
    assert_eq!(said.matches("You write faster").count(), 1, "{said}");
}

#[tokio::test]
async fn a_message_that_waits_is_answered_as_it_was_changed() {
    let stage = Stage::with("mock", &[("COFFERDAM_MAX_SESSIONS", "1")]).await;
    stage.home.group("busy", &json!({"provider": "mock"})).await;
    let admin = stage.home.admin();
    // Has the only place.
    let mut busy = admin.send_text("busy", "!silent").await;
    busy.started().await;
    let message = stage.telegram.write(stage.chat, "the first form");
    stage.telegram.change(stage.chat, message, "the second form");
    // Answered at once, and so behind the change.
    stage.telegram.write(stage.chat, "/status");
    stage.says("demo:").await;
    admin.stop(&busy.session()).await;
    stage.says("mock reply to: the second form").await;
    let told = stage.telegram.from_bot(stage.chat);
    assert!(told.iter().all(|message| !message.text.contains("first form")), "{told:?}");
    stage.telegram.change(stage.chat, message, "the third form");
    stage.telegram.write(stage.chat, "and another");
    stage.says("mock reply to: and another").await;
    let told = stage.telegram.from_bot(stage.chat);
    assert!(told.iter().all(|message| !message.text.contains("third form")), "it was read: {told:?}");
}

#[tokio::test]
async fn a_channels_name_is_one_bots_as_long_as_anything_of_it_is_there() {
    let stage = Stage::new("mock").await;
    stage.telegram.write(stage.chat, "to the first bot");
    stage.says("mock reply to: to the first bot").await;
    let other = Telegram::start_with(555_555).await;
    let add = async |name: &str, telegram: &Telegram| {
        let settings = format!("api_url={}", telegram.url());
        let words = ["channel", "add", name, "telegram", "--secret-file", "-", "--set", &settings];
        stage.home.cli_given(&words, &telegram.token()).await
    };
    let refused = add("tg", &other).await;
    assert!(refused.code != 0 && refused.stderr.contains("'tg' is 424242 at its platform, and this is 555555"));
    assert!(refused.stderr.contains("give it a name of its own"), "{refused:?}");
    assert!(!format!("{refused:?}").contains(&other.token()), "{refused:?}");
    // Another token of the same bot is no other bot.
    stage.telegram.revoke_token();
    assert_eq!(add("tg", &stage.telegram).await.code, 0);
    assert_eq!(add("tg2", &other).await.code, 0, "under a name of its own");
    for name in ["tg", "tg2"] {
        assert_eq!(stage.home.cli(&["channel", "remove", name, "--yes"]).await.code, 0);
    }
    let refused = add("tg", &other).await;
    assert!(
        refused.code != 0 && refused.stderr.contains("424242"),
        "the group has its messages still: {refused:?}"
    );
    assert_eq!(add("tg2", &stage.telegram).await.code, 0, "of whose nothing ever came");
    // Telegram serves one of two that ask with the same token.
    let refused = add("tg", &stage.telegram).await;
    assert!(refused.code == 5 && refused.stderr.contains("channel 'tg2' is 424242 already"), "{refused:?}");
    assert!(!format!("{refused:?}").contains(&stage.telegram.token()), "{refused:?}");
    assert_eq!(add("tg2", &stage.telegram).await.code, 0, "it is its own");
    assert_eq!(stage.home.cli(&["channel", "remove", "tg2", "--yes"]).await.code, 0);
    assert_eq!(add("tg", &stage.telegram).await.code, 0);
}
