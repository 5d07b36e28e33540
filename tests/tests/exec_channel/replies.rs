//! What a program is told of a reply, and what its answers mean.

use std::path::Path;

use cofferdam::channels::{Channel as _, Progress, SendError, Showing, Status};
use cofferdam::model::action::{Action, Asked, SentFile};
use cofferdam::model::reply::ReplyKind;
use cofferdam_protocol::ids::{QuestionId, TurnId};
use cofferdam_tests::recorder::{buttons, reply};
use serde_json::{Value, json};

use super::{Bench, chat, send, there};

#[tokio::test]
async fn a_program_that_dies_in_a_send_leaves_a_doubt_and_comes_back() {
    let bench = Bench::new(
        r##"
runs = times("runs")
hello()
if runs == 1:
    message(1, "last words")
    while hear()["type"] != "send": pass
    message(2, "read after its death")
    os.kill(os.getpid(), 9)
answer_all()
"##,
    );
    let running = bench.run();
    running.intake.until("it is there", |book| !book.arrivals.is_empty()).await;
    let sent = send(&running.channel, "x").await;
    assert!(matches!(sent, Err(SendError::Doubt { .. })), "{sent:?}");
    // Delivery asks before it tries again.
    if !running.channel.is_there(&chat("#c")) {
        running.intake.until("the chat can be reached", |book| book.present == [chat("#c")]).await;
    }
    there(&running).await;
    assert!(send(&running.channel, "x").await.is_ok());
    assert_eq!(running.intake.book().texts("#c"), ["last words", "read after its death"]);
    running.close().await;
}

#[tokio::test]
async fn answers_have_their_meaning() {
    let bench = Bench::new(
        r##"
hello()
answers = [dict(sort="later", why="slow\ndown", after_ms=1500, whole_channel=True), dict(sort="refused", why="no"),
           dict(sort="doubt", why="who knows"), dict(sort="absent"), dict(sort="later", why="", after_ms=10**15)]
message(1, "ready")
for answer in answers:
    while (line := hear())["type"] != "send": pass
    say(type="failed", call=line["call"], **answer)
say(type="state", state="connected")
answer_all()
"##,
    );
    let running = bench.run();
    there(&running).await;
    let mut said = Vec::new();
    for _ in 0..5 {
        said.push(send(&running.channel, "x").await.unwrap_err());
    }
    let [SendError::Later { why, after: Some(after), whole_channel: true }, ..] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!((why.as_str(), after.as_millis()), ("slow down", 1500));
    assert_eq!(said[1], SendError::Refused { why: "no".into() });
    assert_eq!(said[2], SendError::Doubt { why: "who knows".into() });
    assert_eq!(said[3], SendError::Absent);
    let SendError::Later { after: Some(bounded), .. } = &said[4] else { panic!("{said:?}") };
    assert_eq!(bounded.as_secs(), 24 * 3600);
    running.intake.until("the chat that was absent", |book| book.present.contains(&chat("#c"))).await;
    running.close().await;
}

#[tokio::test]
async fn equal_messages_of_a_reply_have_keys_of_their_places() {
    let lines = told("limit=64", None, &"a".repeat(150), None).await;
    assert_eq!(lines[0]["text"], lines[1]["text"], "equal in everything but their places");
    let own = reply(&chat("#c"), "").key;
    let keys: Vec<_> = lines.iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys, (0..lines.len()).map(|place| format!("{own}/{place}")).collect::<Vec<_>>());
    assert!(keys.len() >= 3 && keys.iter().all(|key| key.len() <= 64));
}

/// What a program that can all is told of a reply's pieces: it answers with the lines themselves.
async fn told(hello: &str, action: Option<Action>, text: &str, onto: Option<&str>) -> Vec<Value> {
    let bench = Bench::new(&format!(
        r##"
hello({hello})
while (line := hear())["type"] not in ("stop", "gone"):
    if "call" not in line: continue
    if line.get("file"): line["content"] = open(line["file"]["path"]).read()
    note("line%d" % line["call"], json.dumps(line))
    say(type="done", call=line["call"])
"##
    ));
    let running = bench.run();
    there(&running).await;
    let mut out = reply(&chat("#c"), text);
    out.buttons = action.as_ref().map(buttons).unwrap_or_default();
    out.action = action;
    out.reply_to = Some("asked".to_owned());
    let mut lines = Vec::new();
    for piece in running.channel.pieces(&out).iter().enumerate() {
        running.channel.send(&out, piece, onto).await.unwrap();
        let line: Value = serde_json::from_str(&bench.noted(&format!("line{}", lines.len() + 1)).unwrap()).unwrap();
        if let Some(path) = line["file"]["path"].as_str().filter(|path| path.contains("/state/files/")) {
            assert!(!Path::new(path).exists(), "it is gone after the call");
        }
        lines.push(line);
    }
    running.close().await;
    lines
}

fn question(red: &str) -> Option<Action> {
    let options = vec![red.to_owned(), "Blue".to_owned()];
    let (id, question) = (QuestionId(5), "Which?".to_owned());
    Some(Action::Question(Asked { id, question, options, expires_at: 0 }))
}

#[tokio::test]
async fn a_question_has_buttons_or_else_a_list() {
    let list = "Which?\n1. Red\n2. Blue";
    let lines = told("buttons=True", question("Red"), list, None).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["text"], "Which?");
    let buttons = json!([{"label": "Red", "data": "q:demo0000:5:0"}, {"label": "Blue", "data": "q:demo0000:5:1"}]);
    assert_eq!(lines[0]["buttons"], buttons);
    let lines = told("", question("Red"), list, None).await;
    assert_eq!(
        (lines[0]["text"].as_str(), &lines[0]["buttons"]),
        (Some("Which?\n\n1. Red\n2. Blue"), &Value::Null)
    );
    let long = "r".repeat(50);
    let lines = told("buttons=True", question(&long), &format!("Which?\n1. {long}\n2. Blue"), None).await;
    assert!(lines[0]["text"].as_str().unwrap().contains(&long), "no button shows it in full");
    assert_eq!(lines[0]["buttons"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_notice_is_no_markdown() {
    let bench = Bench::new(
        "hello()\nline = hear()\nnote('sent', json.dumps(line))\nsay(type='done', call=line['call'])\nanswer_all()",
    );
    let running = bench.run();
    there(&running).await;
    let mut out = reply(&chat("#c"), "*Not* `marked` up_here_");
    out.kind = ReplyKind::Notice;
    running.deliver(&out).await;
    let sent: Value = serde_json::from_str(&bench.notes("sent").await).unwrap();
    assert_eq!((&sent["kind"], &sent["text"]), (&json!("notice"), &json!("*Not* `marked` up_here_")));
    running.close().await;
}

#[tokio::test]
async fn long_code_is_a_file_or_else_text_that_fits() {
    let code: String = (0..200).map(|n| format!("let x{n} = {n};\n")).collect();
    let text = format!("Look:\n\n```rust\n{code}```\n");
    let lines = told("files=True", None, &text, None).await;
    let file = lines.iter().find(|line| !line["file"].is_null()).expect("a file");
    assert_eq!((file["content"].as_str().unwrap().trim_end(), &file["text"]), (code.trim_end(), &json!("")));
    let name = file["file"]["name"].as_str().unwrap();
    assert!(name.ends_with(".rs") && file["file"]["path"].as_str().unwrap().ends_with(name), "{name}");
    let keys: Vec<_> = lines.iter().map(|line| line["key"].clone()).collect();
    assert!(keys[0] != keys[1], "each message has a key of its own");

    for markup in ["plain", "markdown"] {
        let lines = told(&format!("markup={markup:?}"), None, &text, None).await;
        assert!(lines.iter().all(|line| line["file"].is_null() && line["text"].as_str().unwrap().len() <= 400));
        let all: Vec<_> = lines.iter().flat_map(|line| line["text"].as_str().unwrap().lines()).collect();
        assert!(code.lines().all(|line| all.contains(&line)), "each line is whole: {all:?}");
    }
}

#[tokio::test]
async fn a_sent_file_is_where_it_lies_and_words_where_no_files_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy").to_string_lossy().into_owned();
    std::fs::write(&path, "content").unwrap();
    let file = SentFile { name: "plan.txt".into(), path: path.clone(), bytes: 7, caption: Some("the plan".into()) };
    let lines = told("files=True", Some(Action::File(file.clone())), "", None).await;
    let wanted = json!({"name": "plan.txt", "path": path, "bytes": 7, "caption": "the plan"});
    assert_eq!((&lines[0]["file"], &lines[0]["content"]), (&wanted, &json!("content")));
    let lines = told("", Some(Action::File(file)), "", None).await;
    assert_eq!((&lines[0]["file"], &lines[0]["text"]), (&Value::Null, &json!("[file plan.txt] the plan")));
}

#[tokio::test]
async fn only_a_program_that_can_change_messages_is_told_which() {
    assert_eq!(told("edit=True", None, "x", Some("m7")).await[0]["onto"], "m7");
    assert_eq!(told("", None, "x", Some("m7")).await[0]["onto"], Value::Null);
    let react = Action::React {
        message: cofferdam_protocol::ids::MessageId(1),
        platform_id: "m1".into(),
        emoji: "👍".into(),
    };
    let lines = told("react=True", Some(react), "👍", None).await;
    assert_eq!((&lines[0]["react"], &lines[0]["text"]), (&json!({"message": "m1", "emoji": "👍"}), &json!("")));
}

#[tokio::test]
async fn a_program_that_marks_answers_is_told_which_message_the_first_piece_answers() {
    let long = "a ".repeat(100);
    let lines = told("replies=True, limit=64", None, &long, None).await;
    assert_eq!((&lines[0]["reply_to"], &lines[1]["reply_to"]), (&json!("asked"), &Value::Null));
    assert_eq!(told("limit=64", None, &long, None).await[0]["reply_to"], Value::Null, "it has no such mark");
}

#[tokio::test]
async fn progress_is_one_message_that_fits() {
    let bench = Bench::new(
        r##"
hello(progress=True, edit=True, replies=True)
while (line := hear())["type"] not in ("stop", "gone"):
    if line["type"] == "progress":
        note("progress%d" % line["call"], json.dumps(line))
        say(type="done", call=line["call"], id="shown")
"##,
    );
    let running = bench.run();
    there(&running).await;
    let working = Status::Working { status: "reads a.txt".into(), draft: "long words ".repeat(400) };
    let working = Progress { turn: TurnId(3), status: working, reply_to: Some("m1".into()) };
    let shown = running.channel.progress(&chat("#c"), &working, None, &|_: Showing| true).await.unwrap();
    assert_eq!(shown.as_deref(), Some("shown"));
    // It changes messages, so a showing counts as one.
    let skipped =
        running.channel.progress(&chat("#c"), &working, Some("shown"), &|what| what == Showing::Mark).await;
    assert_eq!(skipped.unwrap().as_deref(), Some("shown"), "it was not asked, and goes on as it is");
    let ended = Progress { turn: TurnId(3), status: Status::Ended, reply_to: None };
    running.channel.progress(&chat("#c"), &ended, shown.as_deref(), &|_: Showing| false).await.unwrap();
    let line: Value = serde_json::from_str(&bench.notes("progress1").await).unwrap();
    assert!((300..=400).contains(&line["draft"].as_str().unwrap().len()), "{line}");
    assert_eq!((&line["status"], &line["turn"], &line["shown"]), (&json!("reads a.txt"), &json!(3), &Value::Null));
    assert_eq!(line["reply_to"], "m1");
    let line: Value = serde_json::from_str(&bench.notes("progress2").await).unwrap();
    assert_eq!((&line["ended"], &line["shown"]), (&json!(true), &json!("shown")));
    running.close().await;
}
