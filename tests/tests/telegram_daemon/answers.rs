//! What a person asks is answered, whatever happens to the daemon meanwhile.

use cofferdam_tests::telegram::{Post, Telegram};
use serde_json::json;

use super::Stage;

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
