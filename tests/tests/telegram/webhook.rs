//! Updates that Telegram posts.

use std::net::TcpListener;

use cofferdam::channels::{Channel as _, NotTaken, State};
use cofferdam_tests::telegram::Telegram;
use serde_json::{Value, json};

use super::bot::Bot;
use super::desk::Desk;

/// Settings with a webhook at a port that is free, and its address.
fn settings(telegram: &Telegram) -> (Value, String) {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let url = format!("http://{free}/hook/tg");
    (json!({"api_url": telegram.url(), "webhook": {"url": url, "listen": free}}), url)
}

#[tokio::test]
async fn what_telegram_posts_is_taken_before_it_is_answered() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    desk.stick(ada, NotTaken::Full(9));
    let message = telegram.write(ada, "one");
    let (settings, _) = settings(&telegram);
    let bot = Bot::start_with(&telegram, &desk, settings);
    desk.until("it is posted again", |desk| (desk.handed(ada, message) >= 3).then_some(())).await;
    assert_eq!((desk.taken().len(), telegram.unconfirmed().len()), (0, 1));
    desk.unstick();
    desk.takes(1).await;
    telegram.until("it is confirmed", |telegram| telegram.unconfirmed().is_empty().then_some(())).await;
    for text in ["two", "three", "four"] {
        telegram.write(ada, text);
    }
    desk.takes(4).await;
    assert_eq!(desk.texts(ada), ["one", "two", "three", "four"]);
    assert_eq!(bot.channel.state(), State::Connected);
    assert!(telegram.calls("getUpdates").is_empty());
    bot.stop().await;
}

#[tokio::test]
async fn nobody_else_is_heard_and_nothing_that_cannot_be_read_holds_up_the_rest() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    let (settings, url) = settings(&telegram);
    let bot = Bot::start_with(&telegram, &desk, settings);
    telegram.called("setWebhook", 1).await;
    bot.connects().await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let update = json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": 1001, "type": "private"}, "from": {"id": 1001}, "text": "x"}});
    for secret in [None, Some(""), Some("wrong"), Some(&*"x".repeat(64))] {
        let post = client.post(&url).json(&update);
        let post = match secret {
            Some(secret) => post.header("X-Telegram-Bot-Api-Secret-Token", secret),
            None => post,
        };
        assert_eq!(post.send().await.expect("an answer").status(), 401, "{secret:?}");
    }
    assert_eq!(desk.refused(), ["webhook wrong-secret"; 4], "each is counted");
    let elsewhere = client.post(url.replace("/hook/tg", "/other")).json(&update).send().await.expect("an answer");
    assert_eq!(elsewhere.status(), 404);
    telegram.deliver(json!({"message": {"message_id": 7, "text": "x".repeat(300_000)}}));
    telegram.deliver(json!({"message": "nonsense"}));
    telegram.deliver(json!({"message": {
        "message_id": 8, "chat": {"id": -5, "type": "group"}, "from": {"id": 5, "is_bot": true}, "text": "x",
    }}));
    telegram.write(ada, "good");
    desk.takes(1).await;
    assert_eq!(desk.texts(ada), ["good"]);
    assert_eq!(desk.refused()[4..], ["updates too-large", "updates unreadable", "-5 bot"], "so is each of these");
    bot.stop().await;
}

#[tokio::test]
async fn what_waited_when_it_was_still_polled_for_is_taken() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    desk.stick(ada, NotTaken::Full(9));
    let bot = Bot::start(&telegram, &desk);
    telegram.write(ada, "waits");
    telegram.until("Telegram was told", |telegram| telegram.unconfirmed().is_empty().then_some(())).await;
    bot.kill();
    desk.unstick();
    let (settings, _) = settings(&telegram);
    let bot = Bot::start_with(&telegram, &desk, settings);
    desk.takes(1).await;
    assert_eq!(desk.texts(ada), ["waits"]);
    bot.stop().await;
    assert!(!desk.cursor().expect("a cursor").contains("waits"));
}

#[tokio::test]
async fn a_webhook_that_another_program_takes_away_is_set_again_and_shown() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    let (settings, _) = settings(&telegram);
    let bot = Bot::start_with(&telegram, &desk, settings);
    telegram.called("getWebhookInfo", 1).await;
    bot.connects().await;
    telegram.loses_webhook();
    telegram.write(ada, "meanwhile");
    bot.waits("another program took the bot's webhook away").await;
    telegram.called("setWebhook", 2).await;
    desk.takes(1).await;
    bot.connects().await;
    telegram.has_stray_webhook();
    bot.waits("a webhook of its own").await;
    telegram.called("setWebhook", 3).await;
    bot.connects().await;
    bot.stop().await;
}

#[tokio::test]
async fn that_telegram_cannot_post_is_shown_in_its_words_until_it_can() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    let (mut settings, _) = settings(&telegram);
    // What is between Telegram and us is not there yet.
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = proxy.local_addr().expect("an address");
    drop(proxy);
    let here = settings["webhook"]["listen"].as_str().expect("an address").to_owned();
    settings["webhook"]["url"] = format!("http://{address}/hook/tg").into();
    telegram.write(ada, "hello");
    let bot = Bot::start_with(&telegram, &desk, settings);
    bot.waits("Telegram cannot post to webhook.url: Connection refused").await;
    let words = bot.channel.test().await.expect("it answers us");
    assert!(words.contains("; but Telegram cannot post to webhook.url: Connection refused"), "{words}");
    let proxy = tokio::net::TcpListener::bind(address).await.expect("the port");
    let passing = tokio::spawn(async move {
        loop {
            let (mut from, _) = proxy.accept().await.expect("a connection");
            let mut to = tokio::net::TcpStream::connect(&here).await.expect("the daemon");
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut to).await });
        }
    });
    desk.takes(1).await;
    bot.connects().await;
    bot.stop().await;
    passing.abort();
}

#[tokio::test]
async fn any_path_is_one_and_only_posts_to_it_are_heard() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    let (mut settings, url) = settings(&telegram);
    let url = url.replace("/hook/tg", "/:x/*y/{z}/%7Ba");
    settings["webhook"]["url"] = url.clone().into();
    let bot = Bot::start_with(&telegram, &desk, settings);
    telegram.write(ada, "hello");
    desk.takes(1).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for (address, status) in [(url.clone(), 405), (url.replace(":x", "x"), 404), (url + "/b", 404)] {
        let answer = client.get(&address).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{address}");
    }
    assert!(desk.refused().is_empty());
    bot.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_waited_for() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    let (settings, _) = settings(&telegram);
    let listen = settings["webhook"]["listen"].as_str().expect("an address").to_owned();
    let taken = TcpListener::bind(&listen).expect("the port");
    let bot = Bot::start_with(&telegram, &desk, settings);
    bot.waits("cannot listen at").await;
    drop(taken);
    telegram.write(ada, "hello");
    desk.takes(1).await;
    bot.stop().await;
}
