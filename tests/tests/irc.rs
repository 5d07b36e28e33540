//! The IRC example as a channel, on a real server.

use std::time::Instant;

use cofferdam::channels::exec::Exec;
use cofferdam::channels::{Channel, Content, SendError, State};
use cofferdam::model::chat::{ChatKind, ChatRef};
use cofferdam_tests::irc::{PACE, Person, Server, program};
use cofferdam_tests::recorder::{Recorder, Running, reply};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The example's channel, with a home of its own.
struct Bot {
    running: Running<Exec>,
    _home: TempDir,
}

impl Bot {
    async fn comes(server: &Server) -> Self {
        let bot = Self::starts(json!({"port": server.port(), "tls": false}), None);
        bot.is_connected().await;
        bot
    }

    fn starts(more: Value, secret: Option<&str>) -> Self {
        let home = tempfile::Builder::new().prefix("cofferdam-irc-bot-").tempdir().expect("a directory");
        let mut settings = json!({"server": "127.0.0.1", "nick": "coffer", "channels": ["#Lab"]});
        for (key, value) in more.as_object().expect("an object") {
            settings[key] = value.clone();
        }
        let settings = json!({"command": ["python3", "-B", program()], "settings": settings});
        let secret = secret.map(|secret| SecretString::from(secret.to_owned()));
        let channel = Exec::new("irc", settings, secret, home.path().join("state")).expect("settings");
        Self { running: Running::start(channel, Recorder::new(None)), _home: home }
    }

    /// Waits for its answer, which it has when it is on the server and in its channel.
    async fn is_connected(&self) {
        self.running.stands("it is connected", |state| *state == State::Connected).await;
        let who =
            cofferdam_tests::eventually("it knows who it is", || async { self.running.channel.test().await.ok() });
        assert!(who.await.ends_with("on 127.0.0.1, in #Lab"));
    }

    async fn sends(&self, to: &str, text: &str) -> Result<(), SendError> {
        let reply = reply(&chat(to), text);
        for piece in self.running.channel.pieces(&reply).iter().enumerate() {
            self.running.channel.send(&reply, piece, None).await?;
        }
        Ok(())
    }
}

fn chat(id: &str) -> ChatRef {
    ChatRef { channel: "irc".into(), chat_id: id.into(), thread_id: None }
}

#[tokio::test]
async fn messages_come_in_as_people_wrote_them() {
    let server = Server::start(None, None).await;
    let bot = Bot::comes(&server).await;
    let mut ann = Person::comes(&server, "Ann", "#lab").await;
    ann.says("PRIVMSG #lab :nobody in particular").await;
    ann.says("PRIVMSG #LAB :Coffer: what is \u{3}04this\u{3}?").await;
    ann.says("NOTICE #lab :coffer: I am a bot too").await;
    ann.says("PRIVMSG coffer :\u{1}VERSION\u{1}").await;
    ann.says("PRIVMSG coffer :between us").await;
    ann.says("PRIVMSG #lab :\u{1}ACTION thanks coffer\u{1}").await;
    let book = bot.running.intake.until("all four", |book| book.arrivals.len() >= 4).await;

    let mut seen: Vec<_> = book
        .arrivals
        .iter()
        .map(|arrival| {
            let Content::Message(written) = &arrival.content else { panic!("{arrival:?}") };
            (arrival.chat.chat_id.as_str(), arrival.kind, written.text.as_str(), written.addressed)
        })
        .collect();
    // Each chat's in their order; of several chats none is the first.
    seen.sort_by_key(|(chat, ..)| *chat == "ann");
    // A server that slows Ann down hands her lines on in their order all the same.
    assert_eq!(
        seen,
        [
            ("#lab", ChatKind::Group, "nobody in particular", false),
            ("#lab", ChatKind::Group, "what is this?", true),
            ("#lab", ChatKind::Group, "thanks coffer", true),
            ("ann", ChatKind::Direct, "between us", true),
        ]
    );
    for arrival in &book.arrivals {
        assert_eq!(arrival.sender.name, "Ann");
        assert!(arrival.sender.id.starts_with("Ann!") && arrival.sender.id.ends_with("@127.0.0.1"), "{arrival:?}");
    }
    let mut ids: Vec<_> = book.arrivals.iter().map(|arrival| &arrival.platform_id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 4, "each has an id of its own");
    bot.running.close().await;
}

#[tokio::test]
async fn a_reply_keeps_its_order_and_the_pace() {
    let server = Server::start(None, None).await;
    let bot = Bot::comes(&server).await;
    let mut ann = Person::comes(&server, "ann", "#lab").await;
    let lines: Vec<String> = (0..PACE.0 + 4).map(|n| format!("- line {n}")).collect();
    let started = Instant::now();
    let text = lines.join("\n");
    let reads = async {
        let mut heard = Vec::new();
        for _ in &lines {
            heard.push(ann.hears().await);
        }
        heard
    };
    let (sent, heard) = tokio::join!(bot.sends("#lab", &text), reads);
    assert_eq!(sent, Ok(()));
    assert!(heard.iter().all(|heard| heard.from == "coffer" && heard.to == "#Lab"), "{heard:?}");
    for (at, heard) in heard.iter().enumerate() {
        assert!(heard.text.ends_with(&format!("line {at}")), "{heard:?}");
    }
    // Four beyond the burst; timers may be a little early.
    assert!(started.elapsed() >= PACE.1 * 4 - PACE.1 / 2, "{:?}", started.elapsed());
    assert_eq!(bot.sends("ann", "between us").await, Ok(()));
    let heard = ann.hears().await;
    assert_eq!((heard.to.as_str(), heard.text.as_str()), ("ann", "between us"));
    bot.running.close().await;
}

#[tokio::test]
async fn long_code_comes_in_whole_lines() {
    let server = Server::start(None, None).await;
    let bot = Bot::comes(&server).await;
    let mut ann = Person::comes(&server, "ann", "#lab").await;
    let code: Vec<String> = (0..6).map(|n| format!("    let x{n} = \"{}\";", "é".repeat(60))).collect();
    let text = format!("Like **this**:\n\n```rust\n{}\n```\n\nand {}", code.join("\n"), "word ".repeat(150));
    let mut heard = Vec::new();
    let reads = async {
        while heard.iter().map(|line: &String| line.matches("word").count()).sum::<usize>() < 150 {
            heard.push(ann.hears().await.text);
        }
    };
    let (sent, ()) = tokio::join!(bot.sends("#lab", &text), reads);
    assert_eq!(sent, Ok(()));
    assert_eq!(heard[0], "Like this:");
    assert!(code.iter().all(|line| heard.contains(line)), "{heard:#?}");
    assert!(heard.iter().all(|line| line.len() <= 400));
    bot.running.close().await;
}

#[tokio::test]
async fn a_server_that_is_started_again_finds_the_bot_and_nothing_doubled() {
    let mut server = Server::start(None, None).await;
    let bot = Bot::comes(&server).await;
    let mut ann = Person::comes(&server, "ann", "#lab").await;
    ann.says("PRIVMSG #lab :before").await;
    bot.running.intake.until("the first", |book| book.texts("#lab") == ["before"]).await;
    assert_eq!(bot.sends("#lab", "first").await, Ok(()));
    assert_eq!(ann.hears().await.text, "first");

    server.ends().await;
    let state = bot.running.stands("it waits", |state| matches!(state, State::Waiting { .. })).await;
    let State::Waiting { why, .. } = state else { panic!("{state:?}") };
    assert!(why.starts_with("127.0.0.1: "), "{why}");
    assert_eq!(bot.sends("#lab", "while it is away").await, Err(SendError::Absent));
    assert!(bot.running.intake.book().present.is_empty());

    server.begins().await;
    bot.running.intake.until("the chat can be reached", |book| book.present == [chat("#lab")]).await;
    bot.is_connected().await;
    let mut ann = Person::comes(&server, "ann", "#lab").await;
    ann.sees("coffer").await;
    assert_eq!(bot.sends("#lab", "while it is away").await, Ok(()));
    assert_eq!(ann.hears().await.text, "while it is away");
    assert!(ann.hears_no_more().await);
    ann.says("PRIVMSG #lab :before").await;
    let book = bot.running.intake.until("the second", |book| book.arrivals.len() == 2).await;
    assert_eq!(book.texts("#lab"), ["before", "before"], "the same words again are another message");
    bot.running.close().await;
}

#[tokio::test]
async fn a_text_is_never_a_command() {
    let server = Server::start(None, None).await;
    let bot = Bot::comes(&server).await;
    let mut ann = Person::comes(&server, "ann", "#lab").await;
    let text = "one\r\nQUIT :gone\rPRIVMSG #lab :two\n\u{1}ACTION dances\u{1}\0\u{3}04red\u{2028}JOIN #other";
    assert_eq!(bot.sends("#lab", text).await, Ok(()));
    assert_eq!(bot.sends("#lab", "the end").await, Ok(()));
    let mut heard = vec![ann.hears().await.text];
    while heard.last().is_some_and(|line| line != "the end") {
        heard.push(ann.hears().await.text);
    }
    assert!(heard.iter().all(|line| !line.contains(|c: char| c.is_control())), "{heard:?}");
    assert!(heard.iter().any(|line| line.contains("QUIT :gone")), "{heard:?}");
    for odd in ["#lab\r\nQUIT", "#lab,ann", "#lab x", ":x", "ann\0"] {
        let sent = bot.sends(odd, "x").await;
        assert!(matches!(sent, Err(SendError::Refused { .. })), "{odd:?}: {sent:?}");
    }
    assert!(ann.hears_no_more().await);
    assert_eq!(bot.running.channel.state(), State::Connected);
    bot.running.close().await;
}

#[tokio::test]
async fn a_message_for_nobody_is_tried_again_later() {
    let server = Server::start(None, None).await;
    let bot = Bot::comes(&server).await;
    let sent = bot.sends("nobody", "x").await;
    assert!(matches!(&sent, Err(SendError::Later { after: Some(_), .. })), "{sent:?}");
    assert_eq!(bot.sends("#lab", "and the next is well").await, Ok(()));
    bot.running.close().await;
}

#[tokio::test]
async fn a_name_that_is_taken_is_not_fought_for() {
    let server = Server::start(None, None).await;
    let mut other = Person::comes(&server, "Coffer", "#lab").await;
    let bot = Bot::comes(&server).await;
    other.says("PRIVMSG #lab :coffer: for the one who has the name").await;
    let book = bot.running.intake.until("the message", |book| book.arrivals.len() == 1).await;
    let Content::Message(written) = &book.arrivals[0].content else { panic!("{book:?}") };
    assert!(!written.addressed, "it goes by another name");
    let who = bot.running.channel.test().await.unwrap();
    assert!(who.starts_with("coffer") && !who.starts_with("coffer "), "{who}");
    bot.running.close().await;
}

#[tokio::test]
async fn a_password_that_is_refused_stops_the_channel() {
    let server = Server::start(Some("sesame"), None).await;
    let settings = json!({"port": server.port(), "tls": false});
    let bot = Bot::starts(settings.clone(), Some(r#"{"password": "sesame"}"#));
    bot.is_connected().await;
    bot.running.close().await;
    let mut bot = Bot::starts(settings, Some(r#"{"password": "wrong-one"}"#));
    bot.running.ends().await;
    let state = bot.running.channel.state();
    assert!(matches!(&state, State::Stopped { why } if why.contains("password")), "{state:?}");
}

#[tokio::test]
async fn a_setting_that_is_none_is_refused_with_the_right_one() {
    for (settings, secret, words) in [
        (json!({"nik": "x"}), None, "there is no setting 'nik'; did you mean 'nick'?"),
        (json!({}), Some(r#"{"nickserve": "x"}"#), "there is no secret 'nickserve'; did you mean 'nickserv'?"),
    ] {
        let bot = Bot::starts(settings, secret);
        let state = bot.running.stands("it waits", |state| matches!(state, State::Waiting { .. })).await;
        assert!(matches!(&state, State::Waiting { why, .. } if why.contains(words)), "{state:?}");
        bot.running.close().await;
    }
}

#[tokio::test]
async fn tls_trusts_the_certificate_that_it_is_told_and_no_other() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let server = Server::start(None, Some((&certificate, &key))).await;
    let settings = json!({"port": server.tls_port(), "ca_file": server.certificate()});
    let bot = Bot::starts(settings, None);
    bot.is_connected().await;
    bot.running.close().await;
    let bot = Bot::starts(json!({"port": server.tls_port()}), None);
    let state = bot.running.stands("it waits", |state| matches!(state, State::Waiting { .. })).await;
    let State::Waiting { why, .. } = state else { panic!("{state:?}") };
    assert!(why.contains("certificate verify failed"), "{why}");
    bot.running.close().await;
}
