//! What people do arrives as it was done, once, and nothing else does.

use cofferdam::channels::{Channel as _, Content, NotTaken, State};
use cofferdam::model::chat::ChatKind;
use cofferdam_tests::telegram::{Fault, Person, Post, Press, Telegram, at_bot};
use serde_json::{Value, json};

use super::bot::{Bot, logged, reply, send};
use super::desk::{Desk, written};

#[tokio::test]
async fn what_a_person_writes_arrives_and_telegram_may_forget_it_only_then() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    let first = telegram.write(ada, "hello");
    let bot = Bot::start(&telegram, &desk);
    let arrival = desk.takes(1).await.remove(0);
    assert_eq!(arrival.chat.to_string(), "tg:1001");
    assert_eq!((arrival.kind, arrival.title.as_deref()), (ChatKind::Direct, Some("Ada")));
    assert_eq!((arrival.platform_id, arrival.sender.id.as_str()), (first.to_string(), "1001"));
    let Content::Message(message) = arrival.content else { panic!("a message") };
    assert_eq!((message.text.as_str(), message.addressed), ("hello", true));
    telegram.until("it is confirmed", |telegram| telegram.unconfirmed().is_empty().then_some(())).await;
    assert!(desk.cursor().is_some(), "after the cursor was kept");
    assert_eq!(bot.channel.state(), State::Connected);
    assert_eq!(
        telegram.commands(),
        ["help", "status", "stop", "clear", "compact", "model", "effort", "account", "approve", "deny"]
    );
    let poll = telegram.calls("getUpdates").pop().expect("a poll").params;
    assert_eq!(poll["timeout"], 50);
    assert_eq!(poll["allowed_updates"], json!(["message", "edited_message", "callback_query", "my_chat_member"]));
    bot.stop().await;
}

#[tokio::test]
async fn in_a_group_only_what_names_or_answers_the_bot_speaks_to_it() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let group = telegram.supergroup("Team", &[7]);
    let bot = Bot::start(&telegram, &desk);
    let ours = send(&bot.channel, &reply(group, "from the bot"), None).await.expect("sent");
    let ours: i64 = ours[0].id.as_ref().expect("an id").parse().expect("a number");
    let (bert, name) = (Person::new(1002, "Bert"), at_bot());
    let theirs = telegram.write(group, Post::text("what I say").from(&bert));
    let cases = [
        (Post::text(format!("{name} look")), "look", true),
        (Post::text(format!("so 😀 {name}")), &format!("so 😀 {name}"), true),
        (Post::text(format!("/stop{name}")), "/stop", true),
        (Post::text("/stop@another_bot"), "/stop@another_bot", false),
        (Post::text("yes").reply_to(ours), "yes", true),
        (Post::text("no").reply_to(theirs), "no", false),
        (Post::text("in a topic").topic(7), "in a topic", false),
    ];
    for (post, ..) in &cases {
        telegram.write(group, post.clone());
    }
    let taken = desk.takes(cases.len() + 1).await;
    let bert = taken.iter().find(|arrival| written(arrival).text == "what I say").expect("Bert's");
    assert_eq!(bert.sender.name, "Bert");
    let texts: Vec<_> = desk.texts(group);
    let expected: Vec<_> = cases.iter().map(|(_, text, _)| (*text).to_owned()).collect();
    // Topics are chats of their own, in no order with the others.
    for (text, (_, _, addressed)) in expected.iter().zip(&cases) {
        let arrival = taken.iter().find(|arrival| written(arrival).text == *text);
        let arrival = arrival.unwrap_or_else(|| panic!("{text:?} is not in {texts:?}"));
        assert_eq!((written(arrival).addressed, arrival.kind), (*addressed, ChatKind::Group), "{text}");
        let thread = arrival.chat.thread_id.as_deref();
        assert_eq!(thread, (text == "in a topic").then_some("7"));
        assert_eq!(
            written(arrival).quote.as_deref(),
            (text == "no").then_some("what I say"),
            "apart from the text"
        );
    }
    bot.stop().await;
}

#[tokio::test]
async fn a_press_arrives_with_what_is_behind_the_button_and_is_answered() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    let person = Person::new(1001, "Ada");
    desk.answers(&"long ".repeat(100));
    let bot = Bot::start(&telegram, &desk);
    let old = telegram.press_data(ada, 1, "gone", &person);
    telegram.press_ages(&old);
    let press = telegram.press_data(ada, 1, "q:1:2", &person);
    let taken = desk.takes(2).await;
    assert_eq!((&taken[1].platform_id, &taken[1].content), (&press, &Content::Press("q:1:2".to_owned())));
    let text = telegram.until("it is answered", |telegram| match telegram.pressed(&press) {
        Press::Answered(text) => Some(text),
        _ => None,
    });
    let text = text.await.expect("a text");
    assert!(text.chars().count() <= 200 && text.starts_with("long long"), "{text}");
    assert_eq!(telegram.pressed(&old), Press::TooOld, "which stops nothing");
    bot.stop().await;
}

/// A photo of an album.
fn photo(album: &str, caption: &str) -> Post {
    Post::text(caption).file("photo", None, "x").field("media_group_id", album.into())
}

#[tokio::test]
async fn whom_an_albums_caption_speaks_to_its_other_files_speak_to_also_over_a_restart() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let group = telegram.supergroup("Team", &[]);
    let bot = Bot::start(&telegram, &desk);
    telegram.write(group, photo("13", "for nobody"));
    telegram.write(group, photo("13", ""));
    telegram.write(group, photo("14", &format!("{} look at these", at_bot())));
    telegram.write(group, photo("14", ""));
    desk.takes(4).await;
    desk.until("the place is kept", |desk| desk.cursor().filter(|cursor| cursor.contains("\"14\""))).await;
    bot.kill();
    let bot = Bot::start(&telegram, &desk);
    telegram.write(group, photo("14", ""));
    telegram.write(group, Post::text("").file("photo", None, "x"));
    let taken = desk.takes(6).await;
    let addressed: Vec<bool> = taken.iter().map(|arrival| written(arrival).addressed).collect();
    assert_eq!(addressed, [false, false, true, true, true, false]);
    assert!(taken.iter().all(|arrival| written(arrival).files.len() == 1), "one message for each file");
    bot.stop().await;
}

#[tokio::test]
async fn a_change_comes_in_behind_its_message_with_the_same_id() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    let bot = Bot::start(&telegram, &desk);
    let message = telegram.write(ada, "one");
    telegram.change(ada, message, "changed");
    telegram.write(ada, "two");
    let taken = desk.takes(3).await;
    assert_eq!(desk.texts(ada), ["one", "changed", "two"]);
    assert!(matches!(taken[1].content, Content::Edit(_)), "{taken:?}");
    assert_eq!((&taken[1].platform_id, &taken[1].sender), (&message.to_string(), &taken[0].sender));
    bot.stop().await;
}

#[tokio::test]
async fn bots_and_posts_are_counted_as_drops_services_are_nothing_and_a_block_is_only_noted() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let (ada, group) = (telegram.person(1001, "Ada"), telegram.group("Team"));
    let bot = Bot::start(&telegram, &desk);
    telegram.write(ada, "one");
    desk.takes(1).await;
    telegram.write(group, Post::text("x").field("from", json!({"id": 5, "is_bot": true, "first_name": "B"})));
    telegram.write(group, Post::default().field("new_chat_title", "Other".into()));
    let post = json!({"id": group, "type": "channel", "title": "News"});
    telegram.write(group, Post::text("news").field("chat", post));
    telegram.blocks(ada, true);
    let to = telegram.migrates(group);
    telegram.write(to, "here");
    let taken = desk.takes(2).await;
    assert_eq!((written(&taken[1]).text.as_str(), taken[1].chat.chat_id.clone()), ("here", to.to_string()));
    telegram.until("all are confirmed", |telegram| telegram.unconfirmed().is_empty().then_some(())).await;
    assert_eq!(desk.taken().len(), 2);
    assert_eq!(desk.refused(), [format!("{group} bot"), format!("{group} channel-post")], "each drop is counted");
    assert!(logged().contains("the person blocked the bot"));
    let moved = (group.to_string(), to.to_string());
    assert_eq!(desk.moves(), [moved.clone(), moved], "told in both chats");
    bot.stop().await;
}

#[tokio::test]
async fn what_is_said_in_a_new_supergroup_comes_behind_what_waits_in_its_group() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let group = telegram.group("Team");
    desk.stick(group, NotTaken::Full(1));
    let bot = Bot::start(&telegram, &desk);
    let first = telegram.write(group, "one");
    let to = telegram.migrates(group);
    telegram.write(to, "two");
    desk.until("the first is offered", |desk| (desk.handed(group, first) >= 2).then_some(())).await;
    telegram.until("all are read", |telegram| telegram.unconfirmed().is_empty().then_some(())).await;
    assert!(desk.taken().is_empty() && desk.moves().is_empty(), "nothing overtakes it");
    desk.unstick();
    let taken = desk.takes(2).await;
    let texts: Vec<_> = taken.iter().map(|arrival| written(arrival).text.as_str()).collect();
    assert_eq!(texts, ["one", "two"]);
    assert_eq!(desk.moves().len(), 2);
    telegram.write(to, "three");
    desk.takes(3).await;
    bot.stop().await;
}

/// Updates that no Telegram should make.
fn hostile() -> Vec<Value> {
    let chat = json!({"id": 1001, "type": "private"});
    let from = json!({"id": 1001, "first_name": "A"});
    vec![
        json!({"message": "a text"}),
        json!({"message": {"text": "no id"}}),
        json!({"message": {"message_id": "x", "chat": chat, "from": from, "text": "wrong type"}}),
        json!({"message": {"message_id": 1, "chat": {"id": "x"}, "from": from, "text": "wrong chat"}}),
        json!({"message": {"message_id": 2, "chat": chat, "from": from, "text": 7}}),
        json!({"message": {"message_id": 3, "chat": chat, "from": from, "text": "x".repeat(300_000)}}),
        json!({"message": {"message_id": 4, "chat": chat, "from": from, "text": "x", "entities": [{"type": "mention", "offset": -1, "length": 1}]}}),
        json!({"message": {"message_id": 5, "chat": chat}}),
        json!({"callback_query": {"id": "1"}}),
        json!({"callback_query": {"id": "x".repeat(5000), "from": from, "data": "d", "message": {"message_id": 1, "chat": chat}}}),
        json!({"my_chat_member": []}),
        json!({"something_new": {"a": [1, 2, 3]}}),
        json!({}),
    ]
}

#[tokio::test]
async fn hostile_updates_are_passed_over_and_stop_nothing() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    for update in hostile() {
        telegram.deliver(update);
    }
    let good = telegram.write(ada, "good");
    let bot = Bot::start(&telegram, &desk);
    desk.until("the good one", |desk| (desk.handed(ada, good) == 1).then_some(())).await;
    telegram.until("all are confirmed", |telegram| telegram.unconfirmed().is_empty().then_some(())).await;
    assert_eq!(desk.texts(ada), ["good"]);
    let refused = desk.refused();
    let counted = |row: &str| refused.iter().filter(|refused| *refused == row).count();
    let all = ["updates unreadable", "1001 unreadable", "1001 too-large"].map(counted);
    assert_eq!((all, refused.len()), ([5, 3, 2], 10), "{refused:?}");
    assert!(logged().contains("cannot be read is passed over") && logged().contains("too large is passed over"));
    bot.stop().await;
}

#[tokio::test]
async fn answers_that_are_no_updates_or_far_too_large_stop_nothing() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    let huge = || Fault::Body(format!("{{\"ok\":true,\"result\":[\"{}\"]}}", "x".repeat(17 * 1024 * 1024)));
    let faults = [
        Fault::Result(json!({"not": "a list"})),
        Fault::Result(json!([1, "two", null, {"update_id": "three"}, {"update_id": -4}])),
        Fault::Body("{\"ok\":true}".to_owned()),
        Fault::Body("[".repeat(1000)),
        Fault::Result(json!([])),
        huge(),
    ];
    telegram.fail("getUpdates", faults);
    let bot = Bot::start(&telegram, &desk);
    telegram.write(ada, "after all that");
    desk.takes(1).await;
    assert_eq!(telegram.calls("getUpdates")[6].params["limit"], 1, "large ones are read one by one");
    assert_eq!(desk.texts(ada), ["after all that"]);
    assert!(!desk.refused().is_empty() && desk.refused().iter().all(|row| row == "updates unreadable"));
    bot.stop().await;
}

#[tokio::test]
async fn repeated_late_and_disordered_updates_are_taken_once() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    for text in ["a", "b", "c"] {
        telegram.write(ada, text);
    }
    let all = telegram.unconfirmed();
    let (a, b, c) = (&all[0], &all[1], &all[2]);
    telegram.fail(
        "getUpdates",
        [Fault::Result(json!([b, b])), Fault::Result(json!([c, a])), Fault::Result(json!([a, b]))],
    );
    let bot = Bot::start(&telegram, &desk);
    desk.takes(3).await;
    telegram.until("all are confirmed", |telegram| telegram.unconfirmed().is_empty().then_some(())).await;
    assert_eq!(desk.texts(ada), ["b", "c", "a"], "as they came, each once");
    telegram.write(ada, "d");
    desk.takes(4).await;
    bot.stop().await;
}
