//! Telegram away, in trouble, or saying no: the channel says so and comes back by itself, when that can be.

use std::sync::Arc;

use cofferdam::channels::telegram::Telegram as Channel;
use cofferdam::channels::{Channel as _, SendError, State};
use cofferdam::trust::Trust;
use cofferdam_tests::telegram::{Fault, SECRET, Telegram};
use serde_json::json;
use tokio::sync::Notify;

use super::bot::{Bot, channel, logged};
use super::desk::Desk;

#[tokio::test]
async fn a_token_that_telegram_does_not_know_needs_a_person() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let mut bot = Bot::start(&telegram, &desk);
    bot.connects().await;
    telegram.called("getUpdates", 2).await;
    telegram.revoke_token();
    telegram.person(1001, "Ada");
    telegram.write(1001, "wakes the poll");
    bot.ended().await;
    let State::Stopped { why } = bot.channel.state() else { panic!("{:?}", bot.channel.state()) };
    assert!(why.contains("@BotFather") && why.contains("cofferdam channel add tg telegram"), "{why}");

    let old = format!("424242:{SECRET}");
    let channel =
        Channel::new("tg", json!({"api_url": telegram.url()}), old.into(), &Trust::MACHINE).expect("good");
    let error = channel.test().await.expect_err("a bad token");
    assert!(
        matches!(&error, SendError::Later { whole_channel: true, why, .. } if why.contains("token")),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_test_names_the_bot_and_what_it_may_read() {
    let telegram = Telegram::start().await;
    let channel = channel(&telegram);
    let says = channel.test().await.expect("well");
    assert_eq!(says, "@cofferdam_test_bot, cannot read all group messages");
    telegram.reads_groups();
    assert!(channel.test().await.expect("well").contains(" can read"));
}

#[tokio::test]
async fn another_program_with_the_same_token_is_named_and_outlived() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    let bot = Bot::start(&telegram, &desk);
    telegram.called("getUpdates", 2).await;
    let url = format!("{}/bot{}/getUpdates?timeout=0", telegram.url(), telegram.token());
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let rival = client.get(url).send().await.expect("an answer");
    assert!(rival.status().is_success());
    bot.waits("another program polls with this token").await;
    telegram.write(ada, "still here?");
    desk.takes(1).await;
    bot.connects().await;
    bot.stop().await;
}

#[tokio::test]
async fn a_webhook_that_somebody_left_is_taken_away() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    telegram.has_stray_webhook();
    telegram.write(ada, "hello");
    let bot = Bot::start(&telegram, &desk);
    desk.takes(1).await;
    assert_eq!(telegram.calls("deleteWebhook").len(), 1);
    telegram.has_stray_webhook();
    telegram.write(ada, "again");
    desk.takes(2).await;
    bot.stop().await;
}

#[tokio::test]
async fn every_trouble_on_the_way_is_outlived() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    telegram.fail("getMe", [Fault::Closed, Fault::Page(502)]);
    telegram.fail("setMyCommands", [Fault::No(400, "Bad Request: BOT_COMMAND_INVALID")]);
    telegram.fail("getWebhookInfo", [Fault::Closed]);
    telegram.fail(
        "getUpdates",
        [Fault::Page(500), Fault::Malformed, Fault::Cut, Fault::DoneAndClosed, Fault::TooMany(1)],
    );
    telegram.write(ada, "one");
    let bot = Bot::start(&telegram, &desk);
    desk.takes(1).await;
    bot.connects().await;
    assert!(telegram.calls("getUpdates").len() >= 6);
    assert_eq!(desk.texts(ada), ["one"]);
    assert!(logged().contains("the bot's menu was not set"));
    bot.stop().await;
}

#[tokio::test]
async fn it_says_that_telegram_is_away_and_ends_at_once_when_told() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let (held, url) = (Arc::new(Notify::new()), telegram.url().to_owned());
    telegram.fail("getMe", [Fault::Held(held)]);
    let bot = Bot::start(&telegram, &desk);
    telegram.called("getMe", 1).await;
    assert_eq!(bot.channel.state(), State::Connecting);
    bot.stop().await;
    let settings = json!({"api_url": url});
    let channel = Channel::new("tg", settings.clone(), telegram.token().into(), &Trust::MACHINE).expect("good");
    let away = Telegram::start().await;
    drop(telegram);
    let bot = Bot::start_with(&away, &desk, settings);
    bot.waits("cannot be reached").await;
    assert!(matches!(channel.test().await, Err(SendError::Later { .. })), "nobody was told anything");
    bot.stop().await;
}

#[test]
fn a_token_or_settings_that_cannot_be_right_are_refused_without_being_shown() {
    let new = |settings, token: &str| Channel::new("tg", settings, token.to_owned().into(), &Trust::MACHINE).err();
    let error = new(json!({}), "hush").expect("refused").to_string();
    assert!(error.contains("@BotFather") && !error.contains("hush"), "{error}");
    let error = new(json!({"tokn": 1}), &format!("1:{SECRET}")).expect("refused").to_string();
    assert!(error.contains("tokn") && !error.contains(SECRET), "{error}");
}
