//! The host's tools, files in both directions, and questions: through real containers.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, ChatRequest};
use cofferdam_protocol::ids::{Attempt, ReplyId};
use cofferdam_tests::admin::{Answer, Chat, message};
use cofferdam_tests::engine;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::vendor::Vendor;
use rustix::fs::{FileType, Mode};
use serde_json::{Value, json};

/// A PNG of one pixel.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82";

async fn mock() -> TestHome {
    TestHome::with_demo(&json!({"provider": "mock"})).await
}

fn call(tool: &str, arguments: &Value) -> String {
    format!("!tool {tool} {arguments}")
}

fn with_files(mut request: ChatRequest, ids: Vec<cofferdam_protocol::ids::FileId>) -> ChatRequest {
    request.files = ids;
    request
}

fn is_question(event: &ChatEvent) -> bool {
    matches!(event, ChatEvent::Question { .. })
}

fn replies(events: &[ChatEvent]) -> Vec<(ReplyId, String)> {
    let told = events.iter().filter_map(|event| match event {
        ChatEvent::Reply { reply, text, .. } => Some((*reply, text.clone())),
        _ => None,
    });
    told.collect()
}

fn files(answer: &Answer) -> Vec<(String, PathBuf, u64)> {
    let sent = answer.events.iter().filter_map(|event| match event {
        ChatEvent::File { name, path, bytes, .. } => Some((name.clone(), PathBuf::from(path), *bytes)),
        _ => None,
    });
    sent.collect()
}

/// The agent's last words, in which the mock repeats what its calls were answered.
fn last(answer: &Answer) -> &str {
    answer.replies().last().copied().unwrap_or_else(|| panic!("no reply: {:#?}", answer.events))
}

#[tokio::test]
async fn a_reply_reaches_the_chat_while_the_turn_goes_on() {
    let home = mock().await;
    let text = format!("{}\n!wait 600", call("chat_reply", &json!({"text": "I am looking."})));
    let mut chat = home.admin().send_text("demo", &text).await;
    let wanted = |event: &ChatEvent| matches!(event, ChatEvent::Reply { text, .. } if text == "I am looking.");
    chat.until("the early reply", wanted).await;
    home.admin().stop(&chat.session()).await;
    assert_eq!(chat.end().await.finished.outcome, ChatOutcome::Interrupted);
}

#[tokio::test]
async fn real_codex_calls_the_hosts_tools() {
    let home = TestHome::with_demo(&json!({})).await;
    std::fs::create_dir_all(home.folder("demo").join("workspace")).expect("the workspace");
    let script = [
        call("chat_reply", &json!({"text": "hi"})),
        "!run echo made > made.txt".to_owned(),
        call("chat_send_file", &json!({"path": "made.txt", "caption": "Here."})),
        call("chat_history", &json!({})),
    ];
    let answer = home.admin().chat("demo", &script.join("\n")).await;
    let said = answer.text();
    assert!(said.starts_with("hi\n"), "{said}");
    assert!(said.contains(r#"{"reply":1,"from":"you""#), "its history has it: {said}");
    let [(name, path, bytes)] = &files(&answer)[..] else { panic!("one file: {:#?}", answer.events) };
    assert_eq!((name.as_str(), *bytes), ("made.txt", 5));
    assert_eq!(std::fs::read_to_string(path).expect("our copy"), "made\n");
}

#[tokio::test]
async fn an_earlier_reply_is_changed_and_a_message_reacted_to() {
    let home = mock().await;
    let first = home.admin().chat("demo", &call("chat_reply", &json!({"text": "draft"}))).await;
    let (number, _) = replies(&first.events)[0];
    let script = [
        call("chat_edit", &json!({"reply": number, "text": "final"})),
        call("chat_react", &json!({"emoji": "👍"})),
        call("chat_edit", &json!({"reply": 4242, "text": "not mine"})),
        call("chat_history", &json!({"limit": 10})),
    ];
    let second = home.admin().chat("demo", &script.join("\n")).await;
    let edited = |event: &ChatEvent| matches!(event, ChatEvent::Edited { reply, text, .. } if *reply == number && text == "final");
    assert_eq!(second.events.iter().filter(|event| edited(event)).count(), 1, "{:#?}", second.events);
    let reacted = |event: &ChatEvent| matches!(event, ChatEvent::Reacted { emoji, .. } if emoji == "👍");
    assert_eq!(second.events.iter().filter(|event| reacted(event)).count(), 1, "{:#?}", second.events);
    let words = last(&second);
    assert!(words.contains("you sent no message 4242"), "{words}");
    assert!(words.contains(r#""text":"final""#) && !words.contains(r#""text":"draft""#), "{words}");
}

#[tokio::test]
async fn calls_that_do_not_fit_are_answered_in_words_and_the_turn_goes_on() {
    let home = mock().await;
    let script = [
        call("chat_reply", &json!({"text": "hi", "chat": "another"})),
        call("send_message", &json!({})),
        call("ask_user", &json!({"question": "?", "timeout_secs": 1})),
        "and then".to_owned(),
    ];
    let answer = home.admin().chat("demo", &script.join("\n")).await;
    let words = last(&answer);
    for says in ["unknown field `chat`", "no tool 'send_message'", "10 to 86400", "and then"] {
        assert!(words.contains(says), "{says}: {words}");
    }
    assert_eq!(answer.replies().len(), 1, "nothing else was said");
}

#[tokio::test]
async fn a_turn_cannot_flood_its_chat() {
    let home = mock().await;
    let script = vec![call("chat_reply", &json!({"text": "again"})); 25].join("\n");
    let answer = home.admin().chat("demo", &script).await;
    assert_eq!(answer.replies().iter().filter(|text| **text == "again").count(), 20, "{:#?}", answer.events);
    assert!(last(&answer).contains("20 messages"), "{}", last(&answer));
}

/// What an agent may leave in its workspace to make the host read something else.
fn plant(workspace: &Path) {
    std::fs::create_dir_all(workspace.join("dir")).expect("made");
    std::fs::write(workspace.join("good.txt"), "good").expect("written");
    for (to, name) in
        [("/etc/passwd", "link"), ("/etc", "etc"), ("good.txt", "inner"), ("/proc/self/environ", "env")]
    {
        symlink(to, workspace.join(name)).expect("linked");
    }
    std::fs::File::create(workspace.join("huge")).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, workspace.join("pipe"), FileType::Fifo, mode, 0).expect("a pipe");
}

#[tokio::test]
async fn no_path_of_an_agent_makes_the_host_read_what_is_not_the_workspaces() {
    let home = mock().await;
    plant(&home.folder("demo").join("workspace"));
    let hostile = [
        "link",
        "etc/passwd",
        "inner",
        "dir",
        "pipe",
        "huge",
        "env",
        "gone",
        "../AGENTS.md",
        "/etc/passwd",
        "/group/workspace/../AGENTS.md",
        "dir/../../../../../../etc/passwd",
        "/group/workspace",
        "",
    ];
    let script: Vec<String> = hostile
        .iter()
        .chain(&["/group/workspace/good.txt"])
        .map(|path| call("chat_send_file", &json!({ "path": path })))
        .collect();
    let answer = home.admin().chat("demo", &script.join("\n")).await;
    let sent = files(&answer);
    assert_eq!(
        sent.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(),
        ["good.txt"],
        "{:#?}",
        answer.events
    );
    let session = home.root().join("data/groups/demo/sessions").join(answer.finished.session.as_str());
    let copies = std::fs::read_dir(session.join("sent")).expect("our copies").count();
    assert_eq!(copies, 1, "nothing else was copied");
    for says in ["links are not followed", "not a regular file", "1099511627776 bytes", "no such file"] {
        assert!(last(&answer).contains(says), "{says}: {}", last(&answer));
    }
}

#[tokio::test]
async fn a_file_that_changes_or_goes_after_it_was_sent_is_still_as_it_was() {
    let home = mock().await;
    let path = home.folder("demo").join("workspace/a.txt");
    std::fs::create_dir_all(path.parent().expect("a workspace")).expect("made");
    std::fs::write(&path, "first").expect("written");
    let send = call("chat_send_file", &json!({"path": "a.txt"}));
    let sent = files(&home.admin().chat("demo", &send).await);
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(std::fs::read_to_string(&sent[0].1).expect("our copy"), "first");
    let again = home.admin().chat("demo", &send).await;
    assert!(files(&again).is_empty() && last(&again).contains("no such file"), "{}", last(&again));
}

#[tokio::test]
async fn a_question_waits_for_the_next_message_which_ends_with_its_turn() {
    let home = mock().await;
    let ask = call("ask_user", &json!({"question": "Which?", "options": ["Red", "Blue"]}));
    let mut asking = home.admin().send_text("demo", &ask).await;
    let ChatEvent::Question { question, options, .. } = asking.until("the question", is_question).await else {
        unreachable!("just matched")
    };
    assert_eq!((question.as_str(), options), ("Which?", vec!["Red".to_owned(), "Blue".to_owned()]));
    let answering = home.admin().chat("demo", "2").await;
    let asked = asking.end().await;
    assert!(last(&asked).contains("Blue"), "{}", last(&asked));
    assert_eq!(answering.finished.turn, asked.finished.turn, "it is the same turn");
    assert_eq!(answering.finished.outcome, ChatOutcome::Replied);
    assert_eq!(home.admin().session(&asked.finished.session).await.turns, 1);
}

/// Reads the question and lets the daemon die.
async fn crash_while_it_asks(home: &mut TestHome, mut asking: Chat) {
    asking.until("the question", is_question).await;
    home.crash().await;
    asking.drain().await;
}

#[tokio::test]
async fn a_question_survives_the_daemon() {
    let mut home = mock().await;
    let request = message("demo", &call("ask_user", &json!({"question": "Which?", "options": ["Red", "Blue"]})));
    let asking = home.admin().request(&request).await.expect("accepted");
    crash_while_it_asks(&mut home, asking).await;
    home.up().await;
    let mut again = home.admin().request(&request).await.expect("accepted");
    again.until("the question, for who comes back", is_question).await;
    let answering = home.admin().chat("demo", "red").await;
    let asked = again.end().await;
    assert!(last(&asked).contains("Red"), "{}", last(&asked));
    assert_eq!(asked.events.iter().filter(|event| is_question(event)).count(), 1, "asked once");
    assert_eq!((asked.finished.attempt, answering.finished.turn), (Attempt(1), asked.finished.turn));
}

#[tokio::test]
async fn a_question_survives_its_container() {
    let home = mock().await;
    let ask = call("ask_user", &json!({"question": "Which?", "options": ["Red", "Blue"]}));
    let mut asking = home.admin().send_text("demo", &ask).await;
    let container = asking.started().await;
    asking.until("the question", is_question).await;
    engine::kill(&container).await;
    assert_ne!(asking.started().await, container);
    let answering = home.admin().send_text("demo", "blue").await;
    let asked = asking.end().await;
    assert!(last(&asked).contains("Blue"), "{}", last(&asked));
    assert_eq!(asked.events.iter().filter(|event| is_question(event)).count(), 1, "not asked again");
    assert_eq!(answering.end().await.finished.outcome, ChatOutcome::Replied);
}

#[tokio::test]
async fn an_answer_that_came_while_daemon_and_container_were_dead_is_given_at_once() {
    let mut home = mock().await;
    let ask = message("demo", &call("ask_user", &json!({"question": "Which?"})));
    let mut asking = home.admin().request(&ask).await.expect("accepted");
    let container = asking.started().await;
    crash_while_it_asks(&mut home, asking).await;
    engine::kill(&container).await;
    home.up().await;
    let answering = home.admin().send_text("demo", "whatever you like").await;
    let asked = home.admin().request(&ask).await.expect("accepted").end().await;
    assert!(last(&asked).contains("whatever you like"), "{}", last(&asked));
    assert_eq!(answering.end().await.finished.turn, asked.finished.turn);
}

#[tokio::test]
async fn nobody_answers_and_the_turn_goes_on_with_a_notice() {
    let home = mock().await;
    let answer =
        home.admin().chat("demo", &call("ask_user", &json!({"question": "Anyone?", "timeout_secs": 10}))).await;
    assert!(last(&answer).contains("no answer within 10 s"), "{}", last(&answer));
    assert!(answer.notices()[0].contains("No answer came within 10 s"), "{:?}", answer.notices());
    let next = home.admin().chat("demo", "Here I am.").await;
    assert!(last(&next).contains("Here I am."), "an ordinary message: {}", last(&next));
}

#[tokio::test]
async fn a_call_is_done_once_though_the_daemon_died_before_its_answer() {
    let mut home = mock().await;
    // The reply is in the outbox, durably, before the call is answered; the daemon is killed when it is seen.
    let script = [
        call("chat_reply", &json!({"text": "once"})),
        call("ask_user", &json!({"question": "Go on?"})),
        call("chat_reply", &json!({"text": "twice"})),
    ];
    let request = message("demo", &script.join("\n"));
    let mut chat = home.admin().request(&request).await.expect("accepted");
    chat.until("the first reply", |event| matches!(event, ChatEvent::Reply { .. })).await;
    home.crash().await;
    chat.drain().await;
    home.up().await;
    let mut again = home.admin().request(&request).await.expect("accepted");
    again.until("the question", is_question).await;
    home.admin().chat("demo", "yes").await;
    let answer = again.end().await;
    let said: Vec<_> = replies(&answer.events).into_iter().map(|(_, text)| text).collect();
    assert_eq!(said.iter().filter(|text| *text == "once").count(), 1, "{said:?}");
    assert_eq!(said.iter().filter(|text| *text == "twice").count(), 1, "{said:?}");
    assert_eq!(answer.finished.attempt, Attempt(1));
}

#[tokio::test]
async fn a_persons_file_lies_in_the_inbox_as_the_agents_own() {
    let home = TestHome::with_demo(&json!({})).await;
    let staged =
        home.admin().upload("demo", "../notes \u{1b}[2J.txt", b"hello from Ann".to_vec()).await.expect("kept");
    assert_eq!((staged.name.as_str(), staged.bytes), ("notes [2J.txt", 14));
    let request = with_files(message("demo", "!run cat inbox/*; echo x >> inbox/*"), vec![staged.id]);
    let answer = home.admin().request(&request).await.expect("accepted").end().await;
    assert!(answer.text().contains("hello from Ann"), "{}", answer.text());
    let inbox = home.folder("demo").join("workspace/inbox");
    let entries: Vec<_> =
        std::fs::read_dir(&inbox).expect("the inbox").map(|entry| entry.expect("an entry")).collect();
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    let user = cofferdam::sandbox::mounts::container_user();
    assert_eq!(entry.metadata().expect("its owner").uid(), user.uid);
    assert!(entry.file_name().to_string_lossy().ends_with("-notes [2J.txt"), "{entry:?}");
    assert_eq!(std::fs::read_dir(home.root().join("data/groups/demo/staging")).expect("staging").count(), 0);
}

#[tokio::test]
async fn a_message_with_files_that_is_sent_again_has_them_once() {
    let home = mock().await;
    let staged = home.admin().upload("demo", "a.txt", b"a".to_vec()).await.expect("kept");
    let request = with_files(message("demo", ""), vec![staged.id]);
    let first = home.admin().request(&request).await.expect("a file needs no words").end().await;
    let again = home.admin().request(&request).await.expect("known").end().await;
    assert_eq!(first.finished.turn, again.finished.turn);
    assert_eq!(std::fs::read_dir(home.folder("demo").join("workspace/inbox")).expect("the inbox").count(), 1);
}

#[tokio::test]
async fn an_image_reaches_the_model_whatever_it_is_called() {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.serve(&mut home);
    home.up().await;
    home.group("demo", &json!({})).await;
    let image = home.admin().upload("demo", "holiday.txt", PNG.to_vec()).await.expect("kept");
    let text = home.admin().upload("demo", "fake.png", b"not an image".to_vec()).await.expect("kept");
    let request = with_files(message("demo", "What is on it?"), vec![image.id, text.id]);
    home.admin().request(&request).await.expect("accepted").end().await.text();
    let sent = vendor.calls().last().expect("a call").body.to_string();
    assert_eq!(sent.matches(r#""type":"input_image""#).count(), 1, "the one that is an image");
    assert!(sent.contains("-holiday.txt") && sent.contains("-fake.png"), "both are named");
}

#[tokio::test]
async fn an_inbox_that_the_agent_made_a_link_is_moved_aside_and_never_written_through() {
    let home = mock().await;
    let workspace = home.folder("demo").join("workspace");
    let outside = home.root().join("outside");
    for dir in [&workspace, &outside] {
        std::fs::create_dir_all(dir).expect("made");
    }
    symlink(&outside, workspace.join("inbox")).expect("planted");
    let staged = home.admin().upload("demo", "a.txt", b"a".to_vec()).await.expect("kept");
    let request = with_files(message("demo", "look"), vec![staged.id]);
    home.admin().request(&request).await.expect("accepted").end().await.text();
    assert_eq!(std::fs::read_dir(&outside).expect("it is there").count(), 0);
    assert_eq!(std::fs::read_dir(workspace.join("inbox")).expect("a real one").count(), 1);
}

#[tokio::test]
async fn a_refused_message_leaves_no_file_in_the_workspace() {
    let home = mock().await;
    let staged = home.admin().upload("demo", "a.txt", b"a".to_vec()).await.expect("kept");
    let wrong_schema = ChatRequest { schema: Some(json!([1])), ..message("demo", "look") };
    for refused in [wrong_schema, message("demo", &"x".repeat(1024 * 1024))] {
        let error = home.admin().request(&with_files(refused, vec![staged.id.clone()])).await.err();
        assert!(error.is_some_and(|error| error.message.contains("schema") || error.message.contains("over")));
    }
    let inbox = home.folder("demo").join("workspace/inbox");
    assert!(!inbox.exists());
    let taken = with_files(message("demo", "look"), vec![staged.id]);
    home.admin().request(&taken).await.expect("the file still waits").end().await.text();
    assert_eq!(std::fs::read_dir(inbox).expect("the inbox").count(), 1);
}

#[tokio::test]
async fn files_that_cannot_be_taken_are_refused_with_the_mend() {
    let home = mock().await;
    let huge = home.admin().upload("demo", "huge", vec![0; 20 * 1024 * 1024 + 1]).await.expect_err("too large");
    assert!(huge.message.contains("over 20971520 bytes") && huge.hint.is_some(), "{huge:?}");
    let nobody = home.admin().upload("nobody", "a", vec![0]).await.expect_err("no group");
    assert!(nobody.message.contains("nobody"), "{nobody:?}");
    let unknown = "019ab5c3f0007abc8def0123456789ab".parse().expect("an id");
    let request = with_files(message("demo", "look"), vec![unknown]);
    let error = home.admin().request(&request).await.err().expect("refused");
    assert!(error.message.contains("no file 019ab5c3f0007abc"), "{error:?}");
    assert_eq!(home.admin().sessions(Some("demo")).await.len(), 0, "nothing was accepted");
}

#[tokio::test]
async fn the_command_line_sends_files_and_shows_what_the_agent_does() {
    let home = mock().await;
    let path = home.root().join("note.txt");
    std::fs::write(&path, "a note").expect("written");
    let script = [
        call("chat_send_file", &json!({"path": "note-copy.txt", "caption": "Here."})),
        call("chat_react", &json!({"emoji": "👍"})),
    ];
    std::fs::create_dir_all(home.folder("demo").join("workspace")).expect("the workspace");
    std::fs::write(home.folder("demo").join("workspace/note-copy.txt"), "a copy").expect("written");
    let path = path.to_str().expect("text");
    let plain = home.cli(&["chat", "demo", &script.join("\n"), "--file", path]).await;
    assert_eq!(plain.code, 0, "{plain:?}");
    assert!(plain.stdout.contains("[file] note-copy.txt, 6 bytes") && plain.stdout.contains("👍"), "{plain:?}");
    let json = home.cli(&["chat", "demo", &script.join("\n"), "--json"]).await.json();
    assert_eq!(json["actions"][0]["event"], "file", "{json}");
    assert_eq!(json["actions"][1]["emoji"], "👍", "{json}");
    let inbox = home.folder("demo").join("workspace/inbox");
    assert_eq!(std::fs::read_dir(inbox).expect("the inbox").count(), 1);
    let alone = home.cli(&["chat", "demo", "--file", path]).await;
    assert_eq!(alone.code, 0, "{alone:?}");
    let missing = home.cli(&["chat", "demo", "hi", "--file", "/no/such/file"]).await;
    assert_eq!(missing.code, 2, "{missing:?}");
}
