//! Whom a reply answers, as people see it.

use cofferdam::channels::telegram::Telegram as Channel;
use cofferdam::channels::{Channel as _, Progress, Showing, Status};
use cofferdam::model::action::{Action, Asked, SentFile};
use cofferdam::model::reply::Outbound;
use cofferdam_protocol::ids::{QuestionId, ReplyId, TurnId};
use cofferdam_tests::telegram::{Fault, Message, Telegram};

use super::bot::{Bot, channel, doing, reply, send};
use super::desk::Desk;

/// The same in answer to a message.
fn answering(reply: Outbound, message: i64) -> Outbound {
    Outbound { reply_to: Some(message.to_string()), ..reply }
}

/// What the bot's messages answer.
fn answered(telegram: &Telegram, chat: i64) -> Vec<Option<i64>> {
    telegram.from_bot(chat).iter().map(|message| message.reply_to).collect()
}

#[tokio::test]
async fn a_reply_in_a_group_points_to_its_question_and_one_to_a_person_does_not() {
    let telegram = Telegram::start().await;
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    let (small, group) = (telegram.group("Few"), telegram.supergroup("Team", &[7]));
    let asked = telegram.write(ada, "how?");
    send(&channel, &answering(reply(ada, "so"), asked), None).await.expect("sent");
    assert_eq!(answered(&telegram, ada), [None]);
    let asked = telegram.write(small, "how?");
    send(&channel, &answering(reply(small, "so"), asked), None).await.expect("sent");
    assert_eq!(answered(&telegram, small), [Some(asked)]);
    let asked = telegram.write(group, "how?");
    let mut long = answering(reply(group, &"word ".repeat(2000)), asked);
    long.chat.thread_id = Some("7".to_owned());
    send(&channel, &long, None).await.expect("sent");
    assert_eq!(answered(&telegram, group), [Some(asked), None, None], "the first of its messages");
    let params = telegram.calls("sendMessage")[2].params["reply_parameters"].clone();
    assert_eq!(params, serde_json::json!({"message_id": asked, "allow_sending_without_reply": true}));
}

#[tokio::test]
async fn a_message_that_is_gone_or_never_was_one_holds_up_no_reply() {
    let telegram = Telegram::start().await;
    let (channel, group) = (channel(&telegram), telegram.supergroup("Team", &[]));
    let asked = telegram.write(group, "how?");
    telegram.takes_away(group, asked);
    send(&channel, &answering(reply(group, "so"), asked), None).await.expect("sent all the same");
    for odd in ["4700000000000000009", "-5/12", "host/1", "0", "-3", ""] {
        let odd = Outbound { reply_to: Some(odd.to_owned()), ..reply(group, "so") };
        send(&channel, &odd, None).await.expect("sent all the same");
    }
    assert_eq!(answered(&telegram, group), [None; 7]);
    let told: Vec<_> = telegram.calls("sendMessage").into_iter().map(|call| call.params).collect();
    assert!(told[1..].iter().all(|params| params.get("reply_parameters").is_none()), "{told:?}");
}

#[tokio::test]
async fn files_questions_and_plain_words_instead_of_refused_markup_point_there_too() {
    let (telegram, dir) = (Telegram::start().await, tempfile::tempdir().expect("a directory"));
    let (channel, group) = (channel(&telegram), telegram.supergroup("Team", &[]));
    let asked = telegram.write(group, "how?");
    let path = dir.path().join("a.png");
    std::fs::write(&path, "no image").expect("written");
    let caption = Some("word ".repeat(300));
    let file = SentFile { name: "a.png".into(), path: path.display().to_string(), bytes: 8, caption };
    send(&channel, &answering(doing(group, Action::File(file)), asked), None).await.expect("sent");
    assert_eq!(answered(&telegram, group), [Some(asked), None], "not the caption that follows");
    assert_eq!(telegram.calls("sendPhoto").len(), 1, "it was refused, and then a document");
    let code = format!("```rust\n{}```", "let x = 1;\n".repeat(2000));
    send(&channel, &answering(reply(group, &code), asked), None).await.expect("sent");
    assert_eq!(answered(&telegram, group)[2], Some(asked));
    let options = vec!["Red".to_owned(), "Blue".to_owned()];
    let question = Asked { id: QuestionId(4), question: "Which?".into(), options, expires_at: 0 };
    let before = telegram.from_bot(group).len();
    send(&channel, &answering(doing(group, Action::Question(question)), asked), None).await.expect("sent");
    telegram.fail("sendMessage", [Fault::No(400, "Bad Request: can't parse entities: x")]);
    send(&channel, &answering(reply(group, "**so**"), asked), None).await.expect("sent");
    assert_eq!(answered(&telegram, group)[before..], [Some(asked), Some(asked)]);
}

async fn shows(channel: &Channel, chat: i64, draft: &str, shown: Option<&str>, asked: i64) -> Option<String> {
    let status = Status::Working { status: String::new(), draft: draft.to_owned() };
    let progress = Progress { turn: TurnId(1), status, reply_to: Some(asked.to_string()) };
    channel.progress(&reply(chat, "").chat, &progress, shown, &|_: Showing| true).await.expect("it is shown")
}

#[tokio::test]
async fn the_message_that_grows_points_there_and_a_change_says_nothing_of_it() {
    let telegram = Telegram::start().await;
    let (channel, group) = (channel(&telegram), telegram.supergroup("Team", &[]));
    let (first, second) = (telegram.write(group, "how?"), telegram.write(group, "and why?"));
    let shown = shows(&channel, group, "It", None, first).await.expect("a message");
    shows(&channel, group, "It is", Some(&shown), second).await.expect("the same");
    let done = answering(reply(group, "It is so."), second);
    send(&channel, &done, Some(&shown)).await.expect("in its place");
    let told: Vec<Message> = telegram.from_bot(group);
    assert_eq!((told.len(), told[0].reply_to, told[0].edits), (1, Some(first), 2));
    let changes = telegram.calls("editMessageText");
    assert!(changes.iter().all(|call| call.params.get("reply_parameters").is_none()), "{changes:?}");
    // Somebody took it away: the reply is a message of its own.
    telegram.takes_away(group, told[0].id);
    send(&channel, &done, Some(&shown)).await.expect("as a new one");
    assert_eq!(answered(&telegram, group), [Some(second)]);
    // In a chat with one person nothing is pointed to.
    let ada = telegram.person(1001, "Ada");
    let asked = telegram.write(ada, "how?");
    shows(&channel, ada, "It", None, asked).await.expect("a message");
    assert_eq!(answered(&telegram, ada), [None]);
}

#[tokio::test]
async fn what_follows_a_group_to_its_new_id_points_to_no_message_there() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let group = telegram.group("Team");
    let asked = telegram.write(group, "how?");
    let to = telegram.migrates_unseen(group);
    telegram.write(to, "something else, by the same number");
    let bot = Bot::start(&telegram, &desk);
    bot.connects().await;
    let action = Some(Action::Edit { reply: ReplyId(1) });
    for out in [reply(group, "one"), Outbound { action, ..reply(group, "two") }] {
        send(&bot.channel, &answering(out, asked), None).await.expect("sent");
    }
    assert_eq!(answered(&telegram, to), [None, None]);
    bot.stop().await;
}
