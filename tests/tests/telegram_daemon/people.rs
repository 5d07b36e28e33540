//! Who is let in, who is not, and whom the bot belongs to.

use cofferdam_tests::telegram::{Person, Post, Telegram, at_bot};
use serde_json::json;

use super::Stage;

#[tokio::test]
async fn a_stranger_waits_for_the_owners_button_and_a_refused_one_gets_nowhere() {
    let stage = Stage::new("mock").await;
    let (eve, mallory) = (Person::new(2002, "Eve"), Person::new(6666, "Mallory"));
    let eves = stage.telegram.person(eve.id, &eve.name);
    stage.telegram.write(eves, "hello from Eve");
    stage.says_in(eves, "was asked").await;
    let asked = stage.says("hello from Eve").await;
    let forged = stage.telegram.press_data(eves, asked.id, &asked.all_buttons()[0].data, &eve);
    stage.answered(&forged).await;
    assert_eq!(stage.json(&["approval", "list"]).await.as_array().map(Vec::len), Some(1), "still open");
    assert_eq!(stage.dropped("2002", "above-role").await, 1, "the forged press");
    stage.telegram.press(stage.chat, asked.id, "demo", &stage.ada);
    stage.says_in(eves, "hello from Eve").await;
    stage.says("approved by").await;
    // Of the same group, and asked in another chat.
    let ask = json!({"question": "Which colour?", "options": ["Red", "Blue"]});
    stage.telegram.write(stage.chat, format!("!tool ask_user {ask}").as_str());
    let question = stage.says("Which colour?").await;
    let strange = stage.telegram.press_data(eves, question.id, &question.all_buttons()[0].data, &eve);
    stage.answered(&strange).await;
    assert_eq!(stage.dropped("2002", "bad-press").await, 1);
    assert_eq!(stage.json(&["approval", "list"]).await[0]["state"], json!("open"), "nobody answered it");
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
    let robot = json!({"id": 7007, "is_bot": true, "first_name": "Robot"});
    stage.telegram.write(group, Post::text("/stop").field("from", robot));
    let wanted = [
        ("2002", "above-role", 2),
        ("2002", "bad-press", 1),
        ("6666", "denied", 2),
        ("6666", "unwired", 1),
        ("", "bot", 1),
    ];
    cofferdam_tests::eventually("each attempt is counted", || async {
        let mut all = true;
        for (sender, reason, count) in wanted {
            all &= stage.dropped(sender, reason).await == count;
        }
        all.then_some(())
    })
    .await;
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
