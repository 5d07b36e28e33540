//! Files, both ways.

use cofferdam::channels::telegram::Telegram as Channel;
use cofferdam::channels::{Channel as _, Offered, Piece, SendError};
use cofferdam::model::action::{Action, SentFile};
use cofferdam::model::reply::Outbound;
use cofferdam_tests::telegram::{Fault, Post, SECRET, Telegram};
use tempfile::TempDir;

use super::bot::{Bot, channel, doing, hand, reply, send};
use super::desk::{Desk, written};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";

async fn fetched(channel: &Channel, file: &Offered, most: u64) -> Result<Vec<u8>, SendError> {
    let mut bytes = Vec::new();
    let count = channel.fetch(file, &mut bytes, most).await;
    if let Err(error) = &count {
        assert!(!format!("{error:?} {error}").contains(SECRET), "{error:?}");
    }
    assert_eq!(count?, bytes.len() as u64);
    Ok(bytes)
}

#[tokio::test]
async fn files_of_people_arrive_with_a_name_and_can_be_fetched() {
    let (telegram, desk) = (Telegram::start().await, Desk::default());
    let ada = telegram.person(1001, "Ada");
    let bot = Bot::start(&telegram, &desk);
    telegram.write(ada, Post::text("look").file("photo", None, PNG));
    telegram.write(ada, Post::default().file("voice", None, "sound"));
    telegram.write(ada, Post::default().file("document", Some("a ä.txt"), vec![7; 300_000]));
    telegram.write(ada, Post::default().large_file("film.mkv", 30 * 1024 * 1024));
    let taken = desk.takes(4).await;
    let file = |at: usize| written(&taken[at]).files[0].clone();
    assert_eq!(written(&taken[0]).text, "look");
    let names: Vec<_> = (0..4).map(|at| file(at).name).collect();
    assert_eq!(names, ["photo.jpg", "voice.ogg", "a ä.txt", "film.mkv"]);
    assert_eq!(fetched(&bot.channel, &file(0), 1000).await.expect("there"), PNG, "the largest of its sizes");
    assert_eq!(fetched(&bot.channel, &file(2), 300_000).await.expect("there"), vec![7; 300_000]);
    let error = fetched(&bot.channel, &file(2), 299_999).await.expect_err("too large here");
    assert!(matches!(&error, SendError::Refused { why } if why.contains("a ä.txt")), "{error:?}");
    let error = fetched(&bot.channel, &file(3), u64::MAX).await.expect_err("too large for bots");
    assert!(matches!(&error, SendError::Refused { why } if why.contains("20 MB")), "{error:?}");
    bot.stop().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_says_why_and_never_the_token() {
    let telegram = Telegram::start().await;
    let channel = channel(&telegram);
    let file = Offered { name: "x".into(), bytes: None, reference: "unknown".into() };
    assert!(matches!(fetched(&channel, &file, 9).await, Err(SendError::Refused { .. })));
    let at = |path: &str| Fault::Result(serde_json::json!({"file_id": "x", "file_path": path}));
    telegram.fail("getFile", [at("/etc/passwd"), at("../../secret"), at("documents/none.txt"), Fault::Closed]);
    for _ in 0..3 {
        let error = fetched(&channel, &file, 9).await.expect_err("no such file");
        assert!(matches!(error, SendError::Refused { .. }), "{error:?}");
    }
    let error = fetched(&channel, &file, 9).await.expect_err("broken");
    assert!(matches!(error, SendError::Later { .. }), "reading again does no harm: {error:?}");
}

fn file(dir: &TempDir, name: &str, content: &[u8], caption: Option<&str>) -> SentFile {
    let path = dir.path().join(name);
    std::fs::write(&path, content).expect("a file");
    SentFile {
        name: name.to_owned(),
        path: path.display().to_string(),
        bytes: content.len() as u64,
        caption: caption.map(str::to_owned),
    }
}

async fn sends(channel: &Channel, chat: i64, file: SentFile) -> Result<(), SendError> {
    send(channel, &doing(chat, Action::File(file)), None).await.map(drop)
}

#[tokio::test]
async fn a_file_goes_as_it_is_an_image_as_a_photo_where_telegram_takes_it() {
    let (telegram, dir) = (Telegram::start().await, tempfile::tempdir().expect("a directory"));
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    sends(&channel, ada, file(&dir, "a \"b\".txt", b"text", Some("<see> *this*"))).await.expect("sent");
    sends(&channel, ada, file(&dir, "a.png", PNG, None)).await.expect("sent");
    sends(&channel, ada, file(&dir, "no.png", b"no image", None)).await.expect("sent");
    let shown = telegram.from_bot(ada);
    let kinds: Vec<_> = shown.iter().map(|message| message.file.as_ref().expect("a file").kind.as_str()).collect();
    assert_eq!(kinds, ["document", "photo", "document"]);
    let document = shown[0].file.as_ref().expect("a file");
    assert_eq!((document.name.as_deref(), shown[0].text.as_str()), (Some("a \"b\".txt"), "<see> *this*"));
    assert_eq!(telegram.content(document), b"text");
    telegram.fail("sendPhoto", [Fault::DoneAndClosed]);
    let error = sends(&channel, ada, file(&dir, "a.png", PNG, None)).await.expect_err("broken");
    assert!(matches!(error, SendError::Doubt { .. }), "it is not sent in another form: {error:?}");
}

/// The first page of an OGG file with this packet.
fn ogg(packet: &[u8]) -> Vec<u8> {
    [&b"OggS\0\x02"[..], &[0; 20], &[1, 19], packet].concat()
}

#[tokio::test]
async fn a_voice_music_and_a_film_can_be_played_and_what_is_none_is_a_document() {
    let (telegram, dir) = (Telegram::start().await, tempfile::tempdir().expect("a directory"));
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    let (opus, mp4) = (ogg(b"OpusHead\x01\x01"), b"\0\0\0\x20ftypisom and a film");
    let files: [(&str, &[u8], &str); 8] = [
        ("said.ogg", &opus, "voice"),
        ("song.mp3", b"ID3\x04 and a song", "audio"),
        ("song.m4a", mp4, "audio"),
        ("film.MP4", mp4, "video"),
        ("song.ogg", &ogg(b"\x01vorbis"), "document"),
        ("no.mp3", b"no song", "document"),
        ("no.mp4", b"no film", "document"),
        ("said.txt", &opus, "document"),
    ];
    for (name, content, _) in files {
        sends(&channel, ada, file(&dir, name, content, Some("as asked"))).await.expect("sent");
    }
    let shown = telegram.from_bot(ada);
    for ((name, content, kind), message) in files.iter().zip(&shown) {
        let file = message.file.as_ref().expect("a file");
        assert_eq!((file.kind.as_str(), file.name.as_deref()), (*kind, Some(*name)));
        assert_eq!((telegram.content(file).as_slice(), message.text.as_str()), (*content, "as asked"));
    }
    let calls = |method: &str| telegram.calls(method).len();
    let called = ["sendVoice", "sendAudio", "sendVideo", "sendDocument"].map(calls);
    assert_eq!(called, [1, 2, 1, 4], "each is sent once, in its form");
}

#[tokio::test]
async fn a_chat_that_takes_no_voices_or_films_gets_documents_and_a_break_is_a_doubt() {
    let (telegram, dir) = (Telegram::start().await, tempfile::tempdir().expect("a directory"));
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    let (opus, mp4) = (ogg(b"OpusHead\x01\x01"), b"\0\0\0\x20ftypisom");
    let refusals: [(&str, &str, &[u8], &str); 4] = [
        ("sendVoice", "said.ogg", &opus, "Bad Request: VOICE_MESSAGES_FORBIDDEN"),
        ("sendVoice", "said.ogg", &opus, "Bad Request: not enough rights to send voice notes to the chat"),
        ("sendAudio", "song.mp3", b"ID3", "Bad Request: type of file mismatch"),
        ("sendVideo", "film.mp4", mp4, "Bad Request: not enough rights to send videos to the chat"),
    ];
    for (method, name, content, words) in refusals {
        telegram.fail(method, [Fault::No(400, words)]);
        sends(&channel, ada, file(&dir, name, content, None)).await.expect("sent");
        let last = telegram.from_bot(ada).pop().and_then(|message| message.file).expect("a file");
        assert_eq!((last.kind.as_str(), last.name.as_deref()), ("document", Some(name)), "{words}");
    }
    let sent = telegram.from_bot(ada).len();
    telegram.fail("sendVoice", [Fault::DoneAndClosed]);
    let error = sends(&channel, ada, file(&dir, "said.ogg", &opus, None)).await.expect_err("broken");
    assert!(matches!(error, SendError::Doubt { .. }), "it is not sent in another form: {error:?}");
    telegram.fail("sendVideo", [Fault::TooMany(7)]);
    let error = sends(&channel, ada, file(&dir, "film.mp4", mp4, None)).await.expect_err("too many");
    assert!(matches!(error, SendError::Later { .. }), "{error:?}");
    assert_eq!(telegram.from_bot(ada).len(), sent + 1);
}

#[tokio::test]
async fn a_caption_that_does_not_fit_follows_and_what_is_too_large_or_lost_is_refused() {
    let (telegram, dir) = (Telegram::start().await, tempfile::tempdir().expect("a directory"));
    let (channel, ada) = (channel(&telegram), telegram.person(1001, "Ada"));
    let caption = "word ".repeat(300);
    sends(&channel, ada, file(&dir, "a.txt", b"text", Some(&caption))).await.expect("sent");
    let shown = telegram.from_bot(ada);
    assert_eq!((shown[0].text.as_str(), shown[1].text.as_str()), ("", caption.trim()));
    let mut large = file(&dir, "large.bin", b"", None);
    std::fs::File::options().write(true).open(&large.path).expect("it").set_len(51 * 1024 * 1024).expect("a size");
    large.bytes = 51 * 1024 * 1024;
    let error = sends(&channel, ada, large).await.expect_err("too large");
    assert!(matches!(&error, SendError::Refused { why } if why.contains("large.bin")), "{error:?}");
    let mut lost = file(&dir, "lost.txt", b"x", None);
    std::fs::remove_file(&lost.path).expect("it was there");
    lost.bytes = 1;
    assert!(matches!(sends(&channel, ada, lost).await, Err(SendError::Refused { .. })));
}

#[tokio::test]
async fn a_long_code_block_is_a_file_in_the_place_of_what_was_shown() {
    let telegram = Telegram::start().await;
    let (channel, group) = (channel(&telegram), telegram.supergroup("Team", &[7]));
    let mut shown = reply(group, "working");
    shown.chat.thread_id = Some("7".to_owned());
    let before = send(&channel, &shown, None).await.expect("sent").remove(0);
    let code = "let x = 1;\n".repeat(2000);
    let long = Outbound { text: format!("```rust\n{code}```"), ..shown };
    let pieces = channel.pieces(&long);
    let Some(piece @ Piece::File { .. }) = pieces.iter().find(|piece| matches!(piece, Piece::File { .. })) else {
        panic!("{} pieces without a file", pieces.len())
    };
    hand(&channel, &long, piece, before.id.as_deref()).await.expect("sent");
    let now = telegram.from_bot(group);
    assert_eq!((now.len(), now[0].thread), (1, Some(7)));
    let file = now[0].file.as_ref().expect("a file");
    assert!(file.name.as_deref().is_some_and(|name| name.ends_with(".rs")), "{file:?}");
    assert_eq!(String::from_utf8_lossy(&telegram.content(file)).trim(), code.trim());
}
