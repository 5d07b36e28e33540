//! Nothing is lost and nothing is taken twice, whatever ends; and who cannot be served holds up nobody else.

use cofferdam::channels::{Channel as _, NotTaken, State};
use cofferdam_tests::telegram::Telegram;

use super::bot::Bot;
use super::desk::{Death, Desk};

#[tokio::test]
async fn a_stuck_chat_holds_up_no_other_and_keeps_its_order() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let (ada, bert) = (telegram.person(1001, "Ada"), telegram.person(1002, "Bert"));
    desk.stick(ada, NotTaken::Full(200));
    let bot = Bot::start(&telegram, &desk);
    let stuck = telegram.write(ada, "a0");
    // More than Telegram gives at once beyond the one that is stuck.
    for number in 0..150 {
        telegram.write(bert, format!("b{number}").as_str());
        if number % 50 == 0 {
            telegram.write(ada, format!("a{}", number / 50 + 1).as_str());
        }
    }
    desk.takes(150).await;
    assert_eq!(desk.texts(bert), (0..150).map(|number| format!("b{number}")).collect::<Vec<_>>());
    assert!(desk.texts(ada).is_empty() && desk.handed(ada, stuck) >= 1);
    telegram.until("Telegram was told", |telegram| telegram.unconfirmed().is_empty().then_some(())).await;
    assert!(desk.cursor().expect("a cursor").contains("\"a0\""), "what waits is kept with the cursor");
    assert_eq!(bot.channel.state(), State::Connected);

    // Killed, it goes on where it stood, though Telegram has forgotten them.
    bot.kill();
    desk.unstick();
    let bot = Bot::start(&telegram, &desk);
    desk.takes(154).await;
    assert_eq!(desk.texts(ada), ["a0", "a1", "a2", "a3"]);
    telegram.write(bert, "last");
    desk.until("no more is kept than the place", |desk| {
        desk.cursor().filter(|cursor| !cursor.contains("held")).map(drop)
    })
    .await;
    bot.stop().await;
}

#[tokio::test]
async fn a_stuck_chat_never_stops_the_channel() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let (ada, bert) = (telegram.person(1001, "Ada"), telegram.person(1002, "Bert"));
    desk.stick(ada, NotTaken::Full(10_000));
    let bot = Bot::start(&telegram, &desk);
    let first = telegram.write(ada, "0");
    desk.until("it is held", |desk| (desk.handed(ada, first) > 0).then_some(())).await;
    for number in 1..1250 {
        telegram.write(ada, number.to_string().as_str());
    }
    telegram.write(bert, "hello");
    desk.until("the other one's", |desk| (desk.texts(bert) == ["hello"]).then_some(())).await;
    let over = desk.overflowed();
    let dropped: Vec<&str> = over.iter().map(|(text, _)| text.as_str()).collect();
    let expected: Vec<String> = (500..1250).map(|number| number.to_string()).collect();
    assert_eq!(dropped, expected, "the oldest wait, the rest is dropped in its order");
    assert_eq!(over.iter().filter(|(_, first)| *first).count(), 1, "the chat is told once");
    desk.unstick();
    desk.takes(501).await;
    assert_eq!(desk.texts(ada), (0..500).map(|number| number.to_string()).collect::<Vec<_>>());
    bot.stop().await;
}

#[tokio::test]
async fn no_more_is_read_than_can_be_kept_or_counted() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    desk.stick(ada, NotTaken::Failed("the disk is full".to_owned()));
    for number in 0..1250 {
        telegram.write(ada, number.to_string().as_str());
    }
    let bot = Bot::start(&telegram, &desk);
    bot.waits("the disk is full").await;
    assert!(telegram.unconfirmed().len() >= 600, "the rest is Telegram's still");
    desk.unstick();
    desk.takes(1250).await;
    assert_eq!(desk.texts(ada), (0..1250).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(desk.overflowed().is_empty());
    bot.connects().await;
    bot.stop().await;
}

#[tokio::test]
async fn telegram_forgets_nothing_while_the_place_cannot_be_kept() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    desk.keeps_cursor(false);
    let message = telegram.write(ada, "one");
    let bot = Bot::start(&telegram, &desk);
    bot.waits("the disk is full").await;
    assert_eq!((desk.texts(ada).len(), telegram.unconfirmed().len()), (1, 1));
    bot.kill();
    desk.keeps_cursor(true);
    let bot = Bot::start(&telegram, &desk);
    telegram.until("it is confirmed", |telegram| telegram.unconfirmed().is_empty().then_some(())).await;
    assert_eq!((desk.texts(ada).len(), desk.handed(ada, message)), (1, 2), "handed in again under the same id");
    bot.stop().await;
}

/// Kills it at the first call of the intake, at the second, and so on, each before and after its effect.
#[tokio::test]
async fn killed_anywhere_it_takes_every_message_once_and_in_order() {
    for death in [Death::Before, Death::After] {
        let (telegram, desk) = (Telegram::start().await, Desk::default());
        let chats = [telegram.person(1001, "Ada"), telegram.person(1002, "Bert"), telegram.group("Team")];
        let expected: Vec<String> = (0..6).map(|number| number.to_string()).collect();
        for text in &expected[..3] {
            for chat in chats {
                telegram.write(chat, text.as_str());
            }
        }
        let mut deaths = 0;
        for call in 1..=8 {
            desk.dies_at(call, death);
            let bot = Bot::start(&telegram, &desk);
            if call == 4 {
                for text in &expected[3..] {
                    for chat in chats {
                        telegram.write(chat, text.as_str());
                    }
                }
            }
            let before = telegram.calls("getUpdates").len();
            let quiet = telegram.until("a quiet poll", |telegram| {
                (telegram.unconfirmed().is_empty() && telegram.calls("getUpdates").len() > before + 1).then_some(())
            });
            tokio::select! {
                () = desk.until("its death", |desk| desk.is_dead().then_some(())) => {}
                () = quiet => {}
            }
            deaths += usize::from(desk.is_dead());
            bot.kill();
        }
        assert!(deaths >= 4, "it died {deaths} times only");
        desk.lives();
        let bot = Bot::start(&telegram, &desk);
        desk.takes(18).await;
        telegram.until("all are confirmed", |telegram| telegram.unconfirmed().is_empty().then_some(())).await;
        for chat in chats {
            assert_eq!(desk.texts(chat), expected, "{death:?}");
        }
        bot.stop().await;
    }
}

#[tokio::test]
async fn another_bot_uses_neither_the_place_nor_what_waited_of_the_one_before() {
    let desk = Desk::default();
    let telegram = Telegram::start().await;
    let (ada, bert) = (telegram.person(1001, "Ada"), telegram.person(1002, "Bert"));
    desk.stick(ada, NotTaken::Full(200));
    let bot = Bot::start(&telegram, &desk);
    telegram.write(ada, "waits");
    for number in 0..5 {
        telegram.write(bert, number.to_string().as_str());
    }
    desk.takes(5).await;
    bot.stop().await;
    assert!(desk.cursor().expect("a cursor").contains("waits"));
    desk.unstick();
    // Its updates have numbers below those that the first confirmed.
    let other = Telegram::start_with(555_555).await;
    let carl = other.person(1003, "Carl");
    other.write(carl, "hello");
    let bot = Bot::start(&other, &desk);
    desk.takes(6).await;
    assert_eq!(desk.texts(carl), ["hello"]);
    assert!(desk.texts(ada).is_empty(), "what waited was said to another");
    bot.stop().await;
    assert!(desk.cursor().expect("a cursor").contains("555555"));
}

#[tokio::test]
async fn told_to_end_it_keeps_its_place_first() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let (ada, bert) = (telegram.person(1001, "Ada"), telegram.person(1002, "Bert"));
    desk.stick(ada, NotTaken::Full(200));
    let bot = Bot::start(&telegram, &desk);
    let (stuck, taken) = (telegram.write(ada, "stuck"), telegram.write(bert, "taken"));
    desk.takes(1).await;
    desk.until("the stuck one was tried", |desk| (desk.handed(ada, stuck) > 0).then_some(())).await;
    bot.stop().await;
    desk.unstick();
    let bot = Bot::start(&telegram, &desk);
    desk.takes(2).await;
    telegram.write(bert, "more");
    desk.takes(3).await;
    assert_eq!(desk.handed(bert, taken), 1);
    bot.stop().await;
}

#[tokio::test]
async fn a_chat_goes_on_after_a_bug() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    desk.breaks();
    let bot = Bot::start(&telegram, &desk);
    telegram.write(ada, "one");
    telegram.write(ada, "two");
    desk.takes(2).await;
    assert_eq!(desk.texts(ada), ["one", "two"]);
    bot.stop().await;
}
