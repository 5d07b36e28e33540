//! Whom an answer is for is seen, where several ask.

use std::sync::Arc;

use cofferdam_tests::telegram::{Fault, Message, Person, Post, Telegram};
use tokio::sync::Notify;

use super::Stage;

/// What the bot's message with these words answers.
async fn answers(stage: &Stage, chat: i64, words: &str) -> Option<i64> {
    stage.says_in(chat, words).await.reply_to
}

#[tokio::test]
async fn in_a_group_each_answer_points_to_its_question_and_in_a_direct_chat_none_does() {
    let stage = Stage::new("mock").await;
    let (group, bob) = (stage.open_group().await, Person::new(3003, "Bob"));
    let adas = stage.telegram.write(group, Post::text("how far is the sun").from(&stage.ada));
    assert_eq!(answers(&stage, group, "mock reply to: how far").await, Some(adas));
    let bobs = stage.telegram.write(group, Post::text("how old is the moon").from(&bob));
    assert_eq!(answers(&stage, group, "mock reply to: how old").await, Some(bobs));
    // A command is answered, too.
    let command = stage.telegram.write(group, Post::text("/model").from(&stage.ada));
    let notice = |telegram: &Telegram| {
        telegram.from_bot(group).into_iter().find(|message| message.reply_to == Some(command))
    };
    stage.telegram.until("the command's notice, in answer to it", notice).await;
    stage.telegram.write(stage.chat, "how deep is the sea");
    assert_eq!(answers(&stage, stage.chat, "mock reply to: how deep").await, None);
    let direct = stage.telegram.from_bot(stage.chat);
    assert!(direct.iter().all(|message| message.reply_to.is_none()), "{direct:?}");
}

#[tokio::test]
async fn the_answer_that_a_dead_daemon_left_points_there_and_a_question_that_is_gone_holds_up_nothing() {
    let mut stage = Stage::new("mock").await;
    let (group, bob) = (stage.open_group().await, Person::new(3003, "Bob"));
    let sent = |stage: &Stage| {
        let calls = stage.telegram.calls("sendMessage");
        calls.iter().filter(|call| call.params["chat_id"] == group).count()
    };
    // Nobody hears whether it was taken; nothing was.
    stage.telegram.fail("sendMessage", [Fault::Dead]);
    let asked = stage.telegram.write(group, Post::text("how far is the sun").from(&bob));
    stage.telegram.until("it is handed over", |_| (sent(&stage) == 1).then_some(())).await;
    assert!(stage.telegram.from_bot(group).is_empty());
    stage.home.crash().await;
    stage.home.up().await;
    assert_eq!(answers(&stage, group, "mock reply to: how far").await, Some(asked));
    // Taken away while its answer is on its way.
    let go = Arc::new(Notify::new());
    stage.telegram.fail("sendMessage", [Fault::Held(go.clone())]);
    let before = sent(&stage);
    let asked = stage.telegram.write(group, Post::text("how old is the moon").from(&bob));
    stage.telegram.until("it is handed over", |_| (sent(&stage) > before).then_some(())).await;
    stage.telegram.takes_away(group, asked);
    go.notify_one();
    assert_eq!(answers(&stage, group, "mock reply to: how old").await, None);
    let last = stage.telegram.calls("sendMessage").pop().expect("a call").params;
    assert_eq!(last["reply_parameters"]["message_id"], asked, "it was to point there");
}

#[tokio::test]
async fn an_answer_that_grows_in_a_group_points_to_its_question_from_its_first_word() {
    let stage = Stage::new("codex").await;
    let (group, bob) = (stage.open_group().await, Person::new(3003, "Bob"));
    let whole = "This answer is written slowly, so that it is seen while it grows.";
    let ask = format!("!stream 20\n!say {whole}");
    let asked = stage.telegram.write(group, Post::text(ask).from(&bob));
    let growing = stage.says_in(group, "This").await;
    assert_eq!(growing.reply_to, Some(asked), "{growing:?}");
    let is_whole = |message: &Message| message.text.contains(whole) && !message.text.ends_with('…');
    let done = |telegram: &Telegram| telegram.from_bot(group).into_iter().find(is_whole);
    let done = stage.telegram.until("all of it", done).await;
    assert_eq!((done.id, done.reply_to), (growing.id, Some(asked)), "in one message");
}
