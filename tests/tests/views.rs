//! What people see of a session: in depth, as it goes on, and what its turns changed.

use std::process::Stdio;

use cofferdam_protocol::admin::{
    ChatEvent, ChatOutcome, ErrorKind, FollowEvent, SessionDetail, SessionState, SettingSource,
};
use cofferdam_protocol::ids::{Attempt, SessionId, TurnId};
use cofferdam_protocol::runner::FailureKind;
use cofferdam_tests::LIMIT;
use cofferdam_tests::admin::message;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::vendor::{Say, Vendor};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::test]
async fn a_session_is_shown_with_its_settings_their_sources_and_what_failed() {
    let mut home = TestHome::new();
    home.configure("[openai]\nmodel = \"of-host\"\n");
    home.up().await;
    home.group("demo", &json!({"provider": "mock", "effort": "high", "compaction": {"threshold_tokens": 1000}}))
        .await;
    let admin = home.admin();
    admin.chat("demo", "hello").await.text();
    let failed = admin.chat("demo", "!fail").await.finished;
    let detail = admin.detail(&failed.session).await;
    assert_eq!((detail.session.turns, detail.session.state), (2, SessionState::Idle));
    let conversation = &detail.conversation;
    let said = |text: &str| Some(text.to_owned());
    assert_eq!((&conversation.model.value, conversation.model.from), (&said("of-host"), SettingSource::Account));
    assert_eq!((&conversation.effort.value, conversation.effort.from), (&said("high"), SettingSource::Group));
    assert_eq!((conversation.generation, conversation.during_turn.as_deref()), (0, Some("queue")));
    assert_eq!(conversation.context.threshold, Some(1000));
    let [failure] = &detail.failures[..] else { panic!("{detail:?}") };
    assert_eq!((Some(failure.turn), failure.kind), (failed.turn, FailureKind::Other));
    assert_eq!(failure.message, "mock failure");

    let id = failed.session.as_str();
    let shown = home.cli(&["session", "show", &id[..12]]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    for words in ["of-host (the account's default)", "high (container.json)", "1,000 input tokens", "mock failure"]
    {
        assert!(shown.stdout.contains(words), "{words}: {}", shown.stdout);
    }
    let json = home.cli(&["session", "show", id, "--json"]).await.json();
    let printed: SessionDetail = serde_json::from_value(json).expect("the protocol's own type");
    assert_eq!((printed.session.id, printed.failures), (failed.session, detail.failures));
}

#[tokio::test]
async fn what_was_chosen_in_the_chat_is_shown_as_chosen_there() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let admin = home.admin();
    let session = admin.chat("demo", "hello").await.finished.session;
    let model = admin.detail(&session).await.conversation.model;
    assert_eq!((model.value.as_deref(), model.from), (Some("mock-large"), SettingSource::Provider));
    for command in ["/model mock-small", "/clear"] {
        admin.chat("demo", command).await;
    }
    let conversation = admin.detail(&session).await.conversation;
    assert_eq!(
        (conversation.model.value.as_deref(), conversation.model.from),
        (Some("mock-small"), SettingSource::Chat)
    );
    assert_eq!(conversation.generation, 1);
    let shown = home.cli(&["session", "show", session.as_str()]).await.stdout;
    assert!(shown.contains("mock-small (chosen in the chat)") && shown.contains("cleared once"), "{shown}");
}

#[tokio::test]
async fn a_session_that_waits_for_another_try_says_when() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let mut chat = home.admin().send_text("demo", "!fail rate_limited").await;
    let session = chat.session();
    let mut follow = home.admin().follow(&session, "?attempt=1").await;
    follow.until("another try", |event| matches!(event, FollowEvent::Retrying { .. })).await;
    chat.until("another try", |event| matches!(event, ChatEvent::Retrying { .. })).await;
    let [waiting] = &home.admin().status().await.sessions[..] else { panic!("one session") };
    assert!(waiting.id == session && waiting.retry_at.is_some(), "{waiting:?}");
    let status = home.cli(&["status"]).await;
    assert!(status.stdout.contains("tries again in"), "{status:?}");
    home.stop().await;
    chat.drain().await;
    let status = home.cli(&["status"]).await;
    assert!(status.stdout.contains("tries again"), "also when nobody looks after it: {status:?}");
    let shown = home.cli(&["session", "show", session.as_str()]).await;
    assert!(shown.stdout.contains("tries again"), "{shown:?}");
}

#[tokio::test]
async fn what_is_not_there_is_said_with_a_way_on() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let session = home.admin().chat("demo", "hello").await.finished.session;
    let nobody = "0123456789abcdef0123456789abcdef";
    for words in [
        ["session", "show", nobody, "--json"],
        ["session", "diff", nobody, "--json"],
        ["session", "logs", nobody, "--follow"],
    ] {
        let ended = home.cli(&words).await;
        assert_eq!(ended.code, 4, "{words:?}: {ended:?}");
        assert!((ended.stdout + &ended.stderr).contains("session list"), "{words:?}");
    }
    let unknown = home.cli(&["session", "diff", session.as_str(), "--turn", "99"]).await;
    assert_eq!(unknown.code, 4, "{unknown:?}");
    assert!(unknown.stderr.contains("no turn 99"), "{unknown:?}");
    let none = home.cli(&["session", "diff", session.as_str()]).await;
    assert_eq!((none.code, none.stdout.as_str()), (0, ""), "{none:?}");
    assert!(none.stderr.contains("no turn of this session changed files"), "{none:?}");
    let unchanged = home.cli(&["session", "diff", session.as_str(), "--turn", "1"]).await;
    assert_eq!((unchanged.code, unchanged.stdout.as_str()), (0, ""), "{unchanged:?}");
    assert!(unchanged.stderr.contains("turn 1 changed no files"), "{unchanged:?}");
}

#[tokio::test]
async fn a_followed_session_tells_its_log_and_its_agent_over_attempts() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let admin = home.admin();
    let session = admin.chat("demo", "first").await.finished.session;
    let mut follow = admin.follow(&session, "").await;
    follow.until_logged("turn ends").await;
    assert_eq!(follow.events[0], FollowEvent::Attempt { attempt: Attempt(1) });
    follow.until("its state", |event| matches!(event, FollowEvent::State { state: SessionState::Idle, .. })).await;
    let (answer, ()) = tokio::join!(admin.chat("demo", "one\ntwo"), async {
        follow.until("its start", |event| matches!(event, FollowEvent::Started { attempt: Attempt(1), .. })).await;
        for line in ["mock reply to: one", "two", "(turn 2)"] {
            let text = follow.until(line, |event| matches!(event, FollowEvent::Text { .. })).await;
            assert_eq!(text, FollowEvent::Text { line: line.to_owned() });
        }
    });
    let turn = answer.finished.turn;
    let end = FollowEvent::Ended { turn, outcome: ChatOutcome::Replied, usage: None };
    assert_eq!(follow.until_ended().await, end);
    let logged = follow.until_logged("turn ends").await;

    admin.stop(&session).await;
    admin.chat("demo", "three").await.text();
    follow.until("another attempt", |event| *event == FollowEvent::Attempt { attempt: Attempt(2) }).await;
    let later = follow.until_logged("turn begins").await;
    assert!(matches!(later, FollowEvent::Log { attempt: Attempt(2), .. }), "{later:?}");

    // Another follower goes on where this one was, and reads nothing twice.
    let FollowEvent::Log { offset, .. } = logged else { panic!("{logged:?}") };
    let mut again = admin.follow(&session, &format!("?attempt=1&offset={offset}")).await;
    again.until("the second attempt", |event| *event == FollowEvent::Attempt { attempt: Attempt(2) }).await;
    let repeated =
        again.events.iter().any(|e| matches!(e, FollowEvent::Log { line, .. } if line.contains("turn ends")));
    assert!(!repeated, "{:#?}", again.events);
    again.until_logged("turn begins").await;
}

#[tokio::test]
async fn following_on_the_command_line_goes_on_over_a_restart_until_ctrl_c() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let session = home.admin().chat("demo", "first").await.finished.session;
    let mut command = home.command();
    command.args(["session", "logs", session.as_str(), "--follow", "--json"]).stdout(Stdio::piped());
    let mut following = command.spawn().expect("it runs");
    let mut lines = BufReader::new(following.stdout.take().expect("its output")).lines();
    let mut until = async |wanted: &dyn Fn(&FollowEvent) -> bool| loop {
        let line = tokio::time::timeout(LIMIT, lines.next_line()).await.expect("another line").expect("text");
        let event: FollowEvent = serde_json::from_str(&line.expect("it goes on")).expect("an event");
        if wanted(&event) {
            return event;
        }
    };
    until(&|event| matches!(event, FollowEvent::State { .. })).await;
    home.stop().await;
    home.up().await;
    // The first state after the restart says that it is connected again.
    until(&|event| matches!(event, FollowEvent::State { state: SessionState::Stopped, .. })).await;
    home.admin().chat("demo", "second").await.text();
    until(&|event| *event == FollowEvent::Attempt { attempt: Attempt(2) }).await;
    until(&|event| matches!(event, FollowEvent::Log { line, .. } if line.contains("turn ends"))).await;
    let pid = following.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("a process");
    kill_process(pid, Signal::INT).expect("interrupted");
    let ended = tokio::time::timeout(LIMIT, following.wait()).await.expect("it ends").expect("a status");
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn without_a_daemon_what_there_is_is_shown_and_why_there_is_no_more() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let session = home.admin().chat("demo", "first").await.finished.session;
    home.stop().await;
    let ended = home.cli(&["session", "logs", session.as_str(), "--follow"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("turn ends") && ended.stderr.contains("no daemon runs"), "{ended:?}");
}

#[tokio::test]
async fn a_schema_that_is_none_is_refused_before_anything_is_sent() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let file = home.root().join("schema.json");
    let chat = async |text: &str| {
        std::fs::write(&file, text).expect("a schema");
        home.cli(&["chat", "demo", "hello", "--schema", file.to_str().expect("a path")]).await
    };
    for wrong in ["{", "[]", "\"text\""] {
        let ended = chat(wrong).await;
        assert_eq!(ended.code, 2, "{wrong}: {ended:?}");
        assert!(ended.stderr.contains("schema.json"), "{wrong}: {ended:?}");
    }
    let missing = home.cli(&["chat", "demo", "hello", "--schema", "/no/such/file"]).await;
    assert_eq!(missing.code, 4, "{missing:?}");
    assert!(home.admin().sessions(None).await.is_empty(), "nothing was sent");
    let mut request = message("demo", "hello");
    request.schema = Some(json!([]));
    let refused = home.admin().request(&request).await.err().expect("refused");
    assert_eq!(refused.kind, ErrorKind::Usage);
    assert_eq!(chat("{\"type\": \"object\"}").await.stdout, "mock reply to: hello\n(turn 1)\n");
}

#[tokio::test]
async fn a_schema_reaches_the_model_and_its_answer_is_printed_as_it_is() {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.serve(&mut home);
    let answer = "{\n\t\"colour\": \"green\"\n}";
    vendor.script([Say::Text(answer.into())]);
    home.up().await;
    home.group("demo", &json!({})).await;
    let schema = json!({
        "type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"],
        "additionalProperties": false,
    });
    let file = home.root().join("schema.json");
    std::fs::write(&file, schema.to_string()).expect("a schema");
    let words = ["chat", "demo", "Which colour?", "--schema", file.to_str().expect("a path")];
    assert_eq!(home.cli(&words).await.stdout, format!("{answer}\n"));
    home.admin().chat("demo", "And freely?").await.text();
    let calls = vendor.calls();
    assert_eq!(calls[0].body["text"]["format"]["schema"], schema, "{}", calls[0].body["text"]);
    let later = calls.last().expect("a call");
    assert!(calls.len() > 1 && later.body["text"]["format"].is_null(), "for one turn only: {}", later.body["text"]);
}

/// What a turn changed, as the store keeps it.
fn keep_diff(home: &TestHome, session: &SessionId, turn: TurnId, diff: &str) {
    let database = home.root().join("data/groups/demo/state.db");
    let database = rusqlite::Connection::open(database).expect("the group's database");
    let changed = database
        .execute("UPDATE turns SET diff = ?1 WHERE session = ?2 AND id = ?3", (diff, session.as_str(), turn.0))
        .expect("a row");
    assert_eq!(changed, 1);
}

#[tokio::test]
async fn a_diff_is_printed_as_it_is_so_that_it_can_be_applied() {
    let mut home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let first = home.admin().chat("demo", "one").await.finished;
    home.admin().chat("demo", "two").await.text();
    home.stop().await;
    let diff = "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-old\r\n+new\r\n";
    keep_diff(&home, &first.session, first.turn.expect("a turn"), diff);
    let id = first.session.as_str();
    let newest = home.cli(&["session", "diff", id]).await;
    assert_eq!((newest.code, newest.stdout.as_str()), (0, diff), "the newest turn that changed files");
    home.up().await;
    let turn = first.turn.expect("a turn").to_string();
    assert_eq!(home.cli(&["session", "diff", id, "--turn", &turn]).await.stdout, diff);
    let json = home.cli(&["session", "diff", id, "--json"]).await.json();
    assert_eq!((&json["turn"], &json["diff"]), (&json!(first.turn), &json!(diff)));
}
