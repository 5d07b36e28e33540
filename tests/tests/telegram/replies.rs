//! Replies as people see them, and what comes of those that Telegram does not take.

use cofferdam::channels::{Channel as _, Piece, Receipt, SendError};
use cofferdam::model::action::{Action, Asked, Closed};
use cofferdam::model::reply::{Outbound, ReplyKind};
use cofferdam_protocol::ids::{MessageId, QuestionId, ReplyId};
use cofferdam_tests::telegram::{Fault, Telegram};

use super::bot::{Bot, channel, doing, hand, logged, nothing_has_the_token, reply, send};
use super::desk::Desk;

fn id(receipt: &Receipt) -> &str {
    receipt.id.as_deref().expect("an id")
}

fn text(markup: &str, plain: &str) -> Piece {
    Piece::Text { markup: markup.to_owned(), plain: plain.to_owned() }
}

#[tokio::test]
async fn the_agents_words_have_their_markup_and_ours_are_plain() {
    let telegram = Telegram::start().await;
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    send(&channel, &reply(ada, "**bold** & `1 < 2`"), None).await.expect("sent");
    let notice = Outbound { kind: ReplyKind::Notice, ..reply(ada, "**not** <b>bold</b>") };
    send(&channel, &notice, None).await.expect("sent");
    let shown = telegram.from_bot(ada);
    assert_eq!(shown[0].text, "bold & 1 < 2");
    assert!(shown[0].has("bold") && shown[0].has("code"));
    assert_eq!((shown[1].text.as_str(), shown[1].entities.len()), ("**not** <b>bold</b>", 0));
}

#[tokio::test]
async fn a_long_reply_is_several_messages_and_a_topic_gets_its_own() {
    let telegram = Telegram::start().await;
    let (channel, group) = (channel(&telegram), telegram.supergroup("Team", &[7]));
    let words: Vec<String> = (0..2000).map(|number| format!("word{number}")).collect();
    let mut long = reply(group, &words.join(" "));
    long.chat.thread_id = Some("7".to_owned());
    let receipts = send(&channel, &long, None).await.expect("sent");
    let shown = telegram.from_bot(group);
    assert!(shown.len() > 2 && shown.len() == receipts.len());
    assert!(shown.iter().all(|message| message.thread == Some(7)));
    let all: Vec<String> =
        shown.iter().flat_map(|message| message.text.split_whitespace().map(str::to_owned)).collect();
    assert_eq!(all, words);
    assert_eq!(channel.pieces(&long), channel.pieces(&long), "the same at every try");
}

#[tokio::test]
async fn many_long_links_arrive_in_as_many_messages_as_telegram_reads_them_in() {
    let telegram = Telegram::start().await;
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    let address = |number: usize| format!("https://s3.example.org/{number}?X-Sign={}", "a&".repeat(700));
    let links: Vec<String> = (0..25).map(|number| format!("- [file {number}]({})", address(number))).collect();
    send(&channel, &reply(ada, &links.join("\n")), None).await.expect("sent");
    let shown = telegram.from_bot(ada);
    let linked: Vec<String> = shown
        .iter()
        .flat_map(|message| message.entities.iter().filter_map(|entity| entity.detail.clone()))
        .collect();
    assert_eq!(linked, (0..25).map(address).collect::<Vec<_>>());
    // What Telegram would make no link of, it says in words.
    send(&channel, &reply(ada, "[open it](http://localhost:5173)"), None).await.expect("sent");
    let last = telegram.from_bot(ada).pop().expect("a message");
    assert_eq!((last.text.as_str(), last.entities.len()), ("open it (http://localhost:5173)", 0));
}

#[tokio::test]
async fn markup_that_is_refused_goes_as_plain_text_also_in_a_change() {
    let telegram = Telegram::start().await;
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    let receipt = hand(&channel, &reply(ada, ""), &text("<h1>x", "x & y"), None).await.expect("sent");
    assert_eq!(telegram.from_bot(ada)[0].text, "x & y");
    hand(&channel, &reply(ada, ""), &text("<b>z", "z <"), Some(id(&receipt))).await.expect("changed");
    let shown = telegram.from_bot(ada);
    assert_eq!((shown.len(), shown[0].text.as_str(), shown[0].edits), (1, "z <", 1));
    assert!(logged().contains("the markup was refused"));
}

#[tokio::test]
async fn a_message_is_changed_in_its_place_or_made_anew() {
    let telegram = Telegram::start().await;
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    let first = send(&channel, &reply(ada, "first"), None).await.expect("sent").remove(0);
    let edit = Outbound { action: Some(Action::Edit { reply: ReplyId(1) }), ..reply(ada, "second") };
    let again = send(&channel, &edit, Some(id(&first))).await.expect("changed").remove(0);
    assert_eq!(again, first);
    send(&channel, &edit, Some(id(&first))).await.expect("not modified is as good");
    assert_eq!((telegram.from_bot(ada)[0].text.as_str(), telegram.from_bot(ada)[0].edits), ("second", 1));

    hand(&channel, &edit, &Piece::Gone, Some(id(&first))).await.expect("gone");
    hand(&channel, &edit, &Piece::Gone, Some(id(&first))).await.expect("gone is gone");
    assert_eq!(telegram.deleted(ada).len(), 1);
    let new = send(&channel, &edit, Some(id(&first))).await.expect("sent anew").remove(0);
    assert_ne!(new, first);
    telegram.ages(ada, id(&new).parse().expect("a number"));
    let newer = send(&channel, &reply(ada, "third"), Some(id(&new))).await.expect("sent anew").remove(0);
    assert_ne!(newer, new);
    hand(&channel, &edit, &Piece::Gone, Some(id(&new))).await.expect("what cannot go stays");
    assert_eq!(telegram.from_bot(ada).len(), 2);
}

fn question(options: &[&str]) -> Action {
    let options = options.iter().map(|option| (*option).to_owned()).collect();
    Action::Question(Asked { id: QuestionId(4), question: "Which **one**?".into(), options, expires_at: 0 })
}

#[tokio::test]
async fn a_question_has_a_button_for_each_option_and_an_edit_takes_them_away() {
    let telegram = Telegram::start().await;
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    let asked = send(&channel, &doing(ada, question(&["Red", "Dark blue"])), None).await.expect("asked");
    let shown = telegram.from_bot(ada).remove(0);
    assert_eq!(shown.text, "Which one?");
    let buttons: Vec<_> = shown.all_buttons().into_iter().map(|button| (&*button.label, &*button.data)).collect();
    assert_eq!(buttons, [("Red", "q:demo0000:4:0"), ("Dark blue", "q:demo0000:4:1")]);
    let press = telegram.press(ada, shown.id, "Red", &cofferdam_tests::telegram::Person::new(1001, "Ada"));
    assert!(!press.is_empty());
    let edit = Outbound { action: Some(Action::Edit { reply: ReplyId(1) }), ..reply(ada, "Which one? Red") };
    send(&channel, &edit, Some(id(&asked[0]))).await.expect("changed");
    assert!(telegram.from_bot(ada)[0].buttons.is_empty());

    let long = "an option that says very much about itself, more than fits".to_owned();
    send(&channel, &doing(ada, question(&["Red", &long])), None).await.expect("asked");
    let shown = telegram.from_bot(ada).pop().expect("it");
    assert!(shown.text.contains(&long) && shown.all_buttons()[1].label.ends_with('…'), "{shown:?}");
    send(&channel, &doing(ada, question(&[])), None).await.expect("asked");
    assert!(telegram.from_bot(ada).pop().expect("it").buttons.is_empty(), "a free answer");
}

#[tokio::test]
async fn a_reaction_is_put_on_its_message_or_refused_in_words() {
    let telegram = Telegram::start().await;
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    let message = telegram.write(ada, "nice");
    let react = |platform_id: String, emoji: &str| {
        doing(ada, Action::React { message: MessageId(1), platform_id, emoji: emoji.to_owned() })
    };
    send(&channel, &react(message.to_string(), "👍"), None).await.expect("done");
    assert_eq!(telegram.shows(ada)[0].reactions, ["👍"]);
    let error = send(&channel, &react(message.to_string(), "🦀"), None).await.expect_err("not in the list");
    assert!(matches!(&error, SendError::Refused { why } if why.contains("REACTION_INVALID")), "{error:?}");
    let press = "9".repeat(30);
    assert!(matches!(send(&channel, &react(press, "👍"), None).await, Err(SendError::Refused { .. })));
}

/// What comes of one send into a chat.
async fn outcome(telegram: &Telegram, chat: i64, fault: Option<Fault>) -> SendError {
    telegram.fail("sendMessage", fault);
    let sent = send(&channel(telegram), &reply(chat, "x"), None).await;
    sent.expect_err("it goes wrong")
}

#[tokio::test]
async fn what_may_pass_is_for_later_what_cannot_is_refused_and_a_break_is_a_doubt() {
    let telegram = Telegram::start().await;
    let (ada, group) = (telegram.person(1001, "Ada"), telegram.supergroup("Team", &[7]));
    match outcome(&telegram, ada, Some(Fault::TooMany(86_400))).await {
        SendError::Later { after: Some(after), whole_channel: false, .. } => assert_eq!(after.as_secs(), 86_400),
        other => panic!("{other:?}"),
    }
    for fault in [Fault::Page(503), Fault::Page(403)] {
        let error = outcome(&telegram, ada, Some(fault.clone())).await;
        assert!(matches!(error, SendError::Later { after: None, .. }), "{fault:?}: {error:?}");
    }
    let failed_over_it = [Fault::Page(502), Fault::Page(504), Fault::No(500, "Internal Server Error")];
    for fault in
        [Fault::Closed, Fault::DoneAndClosed, Fault::Cut, Fault::Malformed].into_iter().chain(failed_over_it)
    {
        let error = outcome(&telegram, ada, Some(fault.clone())).await;
        assert!(matches!(error, SendError::Doubt { .. }), "{fault:?}: {error:?}");
    }
    let refused = |error: SendError, words: &str| {
        assert!(matches!(&error, SendError::Refused { why } if why.contains(words)), "{error:?}");
    };
    refused(outcome(&telegram, 99, None).await, "there is no such chat");
    telegram.blocks(ada, true);
    refused(outcome(&telegram, ada, None).await, "blocked the bot");
    let mut topic = reply(group, "x");
    topic.chat.thread_id = Some("8".to_owned());
    refused(send(&channel(&telegram), &topic, None).await.expect_err("no such topic"), "the topic is gone");
    topic.chat.chat_id = "@team".to_owned();
    refused(send(&channel(&telegram), &topic, None).await.expect_err("no number"), "no chat of Telegram's");
    nothing_has_the_token();
}

#[tokio::test]
async fn an_answer_that_never_comes_is_a_doubt_in_our_own_words() {
    let telegram = Telegram::start().await;
    let ada = telegram.person(1001, "Ada");
    let error = outcome(&telegram, ada, Some(Fault::Unanswered)).await;
    assert!(matches!(&error, SendError::Doubt { why } if why.contains("no answer in time")), "{error:?}");
}

#[tokio::test]
async fn an_outage_makes_one_doubt_and_no_copies() {
    let telegram = Telegram::start().await;
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    let doubted = Outbound { doubts: 1, ..reply(ada, "hello") };
    for fault in [Fault::Page(502), Fault::Closed, Fault::No(500, "Internal Server Error")] {
        telegram.fail("getMe", [fault]);
        let error = send(&channel, &doubted, None).await.expect_err("it is not tried");
        assert!(matches!(error, SendError::Later { .. }), "{error:?}");
    }
    assert!(telegram.calls("sendMessage").is_empty());
    send(&channel, &doubted, None).await.expect("Telegram is back");
    assert_eq!(telegram.from_bot(ada).len(), 1);
}

#[tokio::test]
async fn a_change_that_broke_off_is_made_again_without_a_doubt() {
    let telegram = Telegram::start().await;
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    let first = send(&channel, &reply(ada, "first"), None).await.expect("sent").remove(0);
    for fault in [Fault::DoneAndClosed, Fault::Page(502), Fault::No(500, "Internal Server Error")] {
        telegram.fail("editMessageText", [fault]);
        let error = send(&channel, &reply(ada, "second"), Some(id(&first))).await.expect_err("broken");
        assert!(matches!(error, SendError::Later { .. }), "{error:?}");
    }
    send(&channel, &reply(ada, "second"), Some(id(&first))).await.expect("it is there");
    assert_eq!(telegram.from_bot(ada).len(), 1);
}

#[tokio::test]
async fn a_reply_follows_a_group_to_its_new_id_when_that_is_noted() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let group = telegram.group("Team");
    let to = telegram.migrates_unseen(group);
    let alone = channel(&telegram);
    let error = send(&alone, &reply(group, "one"), None).await.expect_err("nobody notes it yet");
    assert!(matches!(error, SendError::Later { .. }), "{error:?}");
    let bot = Bot::start(&telegram, &desk);
    bot.connects().await;
    send(&bot.channel, &reply(group, "one"), None).await.expect("sent");
    assert_eq!(desk.moves(), [(group.to_string(), to.to_string())]);
    send(&bot.channel, &reply(group, "two"), Some("1")).await.expect("sent");
    let texts: Vec<_> = telegram.from_bot(to).into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["one", "two"], "no message of the new chat is changed by the number of an old one");
    assert_eq!(telegram.calls("sendMessage").len(), 4, "it is told once to each channel");
    let old = Action::React { message: MessageId(1), platform_id: "1".into(), emoji: "👍".into() };
    let error = send(&bot.channel, &doing(group, old), None).await.expect_err("of before");
    assert!(matches!(&error, SendError::Refused { why } if why.contains("before the group")), "{error:?}");
    bot.stop().await;
}

#[tokio::test]
async fn the_rates_keep_to_what_telegram_publishes() {
    let telegram = Telegram::start().await;
    let channel = channel(&telegram);
    let (group, person) = (reply(-5, "x").chat, reply(5, "x").chat);
    let a_minute = |rate: cofferdam::channels::Rate| f64::from(rate.burst) + 60.0 / rate.every.as_secs_f64();
    assert!(a_minute(channel.chat_rate(&group)) < 21.0, "20 a minute into a group");
    assert_eq!(channel.chat_rate(&person).every.as_secs(), 1);
    let all = channel.pace().all;
    assert!(f64::from(all.burst) + 1.0 / all.every.as_secs_f64() <= 30.0, "30 a second in all");
    assert!(channel.progress_pace(&person) >= channel.chat_rate(&person).every, "a display keeps to its chat's");
    assert!(channel.progress_pace(&group).as_secs() >= 3);
}

fn asked(question: &str) -> Asked {
    Asked { id: QuestionId(7), question: question.to_owned(), options: vec!["Red".to_owned()], expires_at: 0 }
}

#[tokio::test]
async fn a_question_that_is_over_loses_its_buttons_and_says_how_it_ended() {
    let telegram = Telegram::start().await;
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    for question in ["**Which** one?".to_owned(), "word ".repeat(818) + "word."] {
        let sent = send(&channel, &doing(ada, Action::Question(asked(&question))), None).await.expect("sent");
        let id = id(sent.last().expect("a receipt")).to_owned();
        let shows = |telegram: &Telegram| {
            telegram.from_bot(ada).into_iter().find(|message| message.id.to_string() == id).expect("it is there")
        };
        assert_eq!(shows(&telegram).all_buttons().len(), 1);
        let close = Action::Close(Closed { reply: ReplyId(1), asked: asked(&question) });
        let close = Outbound {
            kind: ReplyKind::Notice,
            text: "answered by <b>Eve</b>: Red".to_owned(),
            ..doing(ada, close)
        };
        for _ in 0..2 {
            send(&channel, &close, Some(&id)).await.expect("changed, and not modified is as good");
        }
        let shown = shows(&telegram);
        assert!(shown.all_buttons().is_empty() && shown.edits == 1, "{shown:?}");
        if question.len() < 100 {
            assert_eq!(shown.text, "Which one?\n→ answered by <b>Eve</b>: Red");
            assert!(shown.has("bold"), "the question is as it was");
        } else {
            assert!(shown.text.starts_with("word") && !shown.text.contains("answered"), "there is no room");
        }
        // Somebody took it away, or it is too old: that is all right, and nothing new is said.
        let messages = telegram.from_bot(ada).len();
        hand(&channel, &reply(ada, ""), &Piece::Gone, Some(&id)).await.expect("gone");
        send(&channel, &close, Some(&id)).await.expect("quiet");
        send(&channel, &close, None).await.expect("quiet");
        assert_eq!(telegram.from_bot(ada).len(), messages - 1);
    }
}
