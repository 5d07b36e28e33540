//! What a turn does while it works, as its chat is shown it.

use cofferdam_protocol::admin::{ChatEvent, ErrorKind};
use cofferdam_tests::admin::Chat;
use cofferdam_tests::home::TestHome;
use serde_json::json;

/// Reads up to progress that has these words.
async fn progress(chat: &mut Chat, words: &str) -> String {
    let shown =
        |event: &ChatEvent| matches!(event, ChatEvent::Progress { text: Some(text) } if text.contains(words));
    match chat.until(words, shown).await {
        ChatEvent::Progress { text: Some(text) } => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_running_command_is_shown_while_it_runs() {
    let home = TestHome::with_demo(&json!({})).await;
    let mut chat = home.admin().send_text("demo", "!run until [ -e go ]; do sleep 0.05; done; echo gone").await;
    let text = progress(&mut chat, "$ until [ -e go ]").await;
    assert!(text.chars().count() <= 1000, "{text}");
    std::fs::write(home.folder("demo").join("workspace/go"), "").expect("the sign to go on");
    let answer = chat.end().await;
    assert!(answer.text().contains("gone"));
}

#[tokio::test]
async fn the_plan_the_tokens_and_changed_files_are_shown_too() {
    let home = TestHome::with_demo(&json!({})).await;
    let patch = "apply_patch <<'EOF'\n*** Begin Patch\n*** Add File: f.txt\n+hello\n*** End Patch\nEOF";
    let change = json!({ "cmd": patch });
    let wait = "until [ -e go ]; do sleep 0.05; done";
    let text = format!("!usage 1234\n!plan look; change it\n!tool exec_command {change}\n!run {wait}\n!say Done.");
    let mut chat = home.admin().send_text("demo", &text).await;
    let text = progress(&mut chat, "$ until [ -e go ]").await;
    let (first, rest) = text.split_once('\n').unwrap_or_else(|| panic!("one line: {text}"));
    assert!(first.contains("0 of 2 steps done") && first.contains("1 file changed"), "{text}");
    assert!(first.contains("tokens 1,234 in"), "{text}");
    assert!(rest.starts_with("[>] look\n[ ] change it\n") && rest.contains("f.txt"), "{text}");
    std::fs::write(home.folder("demo").join("workspace/go"), "").expect("the sign to go on");
    let answer = chat.end().await;
    assert!(answer.text().contains("Done."), "{:#?}", answer.events);

    let session = &answer.finished.session;
    let diff = home.cli(&["session", "diff", session.as_str()]).await;
    assert_eq!(diff.code, 0, "{diff:?}");
    assert!(diff.stdout.contains("f.txt") && diff.stdout.contains("\n+hello\n"), "{diff:?}");
    let kept = home.admin().diff(session, answer.finished.turn).await.expect("the turn");
    assert_eq!(kept.diff.as_deref().map(str::trim_end), Some(diff.stdout.trim_end()));
}

#[tokio::test]
async fn a_chat_whose_wiring_has_progress_off_is_shown_none() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    home.group("loud", &json!({"provider": "mock"})).await;
    let admin = home.admin();
    let wired = admin.set_progress("demo", false).await.expect("a wiring");
    assert!(!wired.progress && wired.group.as_str() == "demo");
    let mut quiet = admin.send_text("demo", "!silent").await;
    quiet.started().await;
    let mut loud = admin.send_text("loud", "!silent").await;
    progress(&mut loud, "works").await;
    for chat in [&quiet, &loud] {
        admin.stop(&chat.session()).await;
    }
    let answer = quiet.end().await;
    let shown = answer.events.iter().any(|event| matches!(event, ChatEvent::Progress { .. }));
    assert!(!shown, "{:#?}", answer.events);
    loud.end().await;
}

#[tokio::test]
async fn whoever_comes_later_sees_what_the_turn_does_now() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let admin = home.admin();
    let mut first = admin.send_text("demo", "!silent").await;
    progress(&mut first, "works").await;
    let mut second = admin.send_text("demo", "and I").await;
    progress(&mut second, "works").await;
    admin.stop(&first.session()).await;
    second.end().await;
}

#[tokio::test]
async fn wirings_are_listed_and_switched_on_the_command_line() {
    let mut home = TestHome::new();
    home.write_group("demo", &json!({"provider": "mock"}));
    assert_eq!(home.cli(&["group", "add", "demo"]).await.code, 0);
    let list = home.cli(&["wiring", "list"]).await;
    assert!(
        list.code == 0 && list.stdout.contains("terminal:demo  demo   always    per-thread  drop    -          on"),
        "{list:?}"
    );
    let set = home.cli(&["wiring", "set", "terminal:demo", "--progress", "off"]).await;
    assert!(set.code == 0 && set.stdout.contains("off"), "{set:?}");
    home.up().await;
    let listed = home.cli(&["wiring", "list", "--json"]).await.json();
    let expected = json!([{
        "channel": "terminal", "chat_id": "demo", "title": null, "group": "demo", "session_mode": "per-thread",
        "engage": "always", "pattern": null, "sticky": false, "others": "drop", "unknown": "drop", "owners_only": true, "progress": false,
    }]);
    assert_eq!(listed, expected, "kept");
    assert_eq!(home.cli(&["group", "add", "demo"]).await.code, 0);
    assert!(!home.admin().wirings().await[0].progress, "registering again does not switch it on");
    let on = home.cli(&["wiring", "set", "terminal:demo", "--progress", "on", "--json"]).await.json();
    assert_eq!(on["progress"], true);
    let unknown = home.cli(&["wiring", "set", "terminal:nobody", "--progress", "on"]).await;
    assert!(unknown.code == 4 && unknown.stderr.contains("wiring list"), "{unknown:?}");
    assert_eq!(home.cli(&["wiring", "set", "demo", "--progress", "on"]).await.code, 2);
    let refused = home.admin().set_progress("nobody", true).await.expect_err("refused");
    assert_eq!(refused.kind, ErrorKind::NotFound);
}
