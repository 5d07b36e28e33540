//! What an agent asks is answered once, from wherever.

use cofferdam_tests::telegram::{Fault, Message, Post, Telegram, at_bot};
use serde_json::json;

use super::Stage;

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
