//! What people ask of Cofferdam itself in a chat.

use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, SessionState};
use cofferdam_protocol::ids::Attempt;
use cofferdam_tests::admin::{Admin, Answer, message};
use cofferdam_tests::home::TestHome;
use serde_json::json;

async fn mock(settings: serde_json::Value) -> TestHome {
    let mut settings = settings;
    settings["provider"] = json!("mock");
    TestHome::with_demo(&settings).await
}

/// Sends a command; it ends in one notice and no reply.
async fn command(admin: &Admin, text: &str) -> (String, Answer) {
    let answer = admin.chat("demo", text).await;
    assert!(answer.replies().is_empty(), "{:?}", answer.replies());
    let notices = answer.notices();
    assert_eq!((notices.len(), &answer.finished.outcome), (1, &ChatOutcome::Replied), "{text}: {notices:?}");
    (notices[0].to_owned(), answer)
}

#[tokio::test]
async fn a_stop_ends_the_running_turn_with_one_notice_and_what_waited_goes_on() {
    let home = mock(json!({})).await;
    let admin = home.admin();
    let mut running = admin.send_text("demo", "!silent").await;
    let container = running.started().await;
    let waiting = admin.send_text("demo", "and then?").await;
    let stop = admin.send_text("demo", "/stop").await;
    let (running, stop) = tokio::join!(running.end(), stop.end());
    assert_eq!(
        (&running.finished.outcome, &stop.finished.outcome),
        (&ChatOutcome::Interrupted, &ChatOutcome::Replied)
    );
    for answer in [&running, &stop] {
        let notices = answer.notices();
        assert!(notices.len() == 1 && notices[0].contains("was stopped"), "{notices:?}");
    }
    assert_eq!(running.finished.turn, stop.finished.turn, "its end is the answer to both");
    let waiting = waiting.end().await;
    assert_eq!(waiting.text(), "mock reply to: and then?\n(turn 2)");
    assert_eq!(waiting.container(), container, "the container went on");
}

#[tokio::test]
async fn a_stop_without_a_turn_says_so_and_starts_no_container() {
    let home = mock(json!({})).await;
    let (notice, answer) = command(&home.admin(), " /STOP ").await;
    assert_eq!(notice, "Nothing is running.");
    let session = home.admin().session(&answer.finished.session).await;
    assert_eq!((session.state, session.attempt, session.waiting), (SessionState::Stopped, Attempt(0), 0));
}

#[tokio::test]
async fn a_stop_reaches_a_turn_whose_daemon_died_meanwhile() {
    let mut home = mock(json!({})).await;
    let request = message("demo", "!silent");
    let mut running = home.admin().request(&request).await.expect("accepted");
    let container = running.started().await;
    home.crash().await;
    running.drain().await;
    home.up().await;
    let (_, stop) = command(&home.admin(), "/stop").await;
    let running = home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!(running.finished.outcome, ChatOutcome::Interrupted, "{:#?}", running.events);
    assert_eq!(running.finished.turn, stop.finished.turn);
    assert_eq!(home.admin().chat("demo", "again").await.container(), container);
}

#[tokio::test]
async fn a_cleared_conversation_begins_anew_in_the_same_container() {
    let home = mock(json!({})).await;
    let admin = home.admin();
    let first = admin.chat("demo", "one").await;
    assert_eq!(admin.chat("demo", "two").await.text(), "mock reply to: two\n(turn 2)");
    let (notice, _) = command(&admin, "/clear").await;
    assert!(notice.contains("cleared"), "{notice}");
    let fresh = admin.chat("demo", "three").await;
    assert_eq!(fresh.text(), "mock reply to: three\n(turn 1)");
    assert_eq!(fresh.container(), first.container());
    admin.stop(&fresh.finished.session).await;
    command(&admin, "/clear").await;
    assert_eq!(
        admin.chat("demo", "four").await.text(),
        "mock reply to: four\n(turn 1)",
        "also while it is stopped"
    );
}

#[tokio::test]
async fn a_command_behind_a_running_turn_keeps_its_place_also_over_a_crash() {
    let mut home = mock(json!({})).await;
    let admin = home.admin();
    let mut held = admin.send_text("demo", "one\n!wait 2").await;
    held.started().await;
    let (clear, last) = (message("demo", "/clear"), message("demo", "two"));
    let waiting = [admin.request(&clear).await.expect("accepted"), admin.request(&last).await.expect("accepted")];
    home.crash().await;
    for chat in waiting.into_iter().chain([held]) {
        chat.drain().await;
    }
    home.up().await;
    let clear = admin.request(&clear).await.expect("accepted");
    let last = admin.request(&last).await.expect("accepted");
    let (clear, last) = tokio::join!(clear.end(), last.end());
    assert!(clear.notices().iter().any(|notice| notice.contains("cleared")), "{:?}", clear.notices());
    assert!(last.replies().contains(&"mock reply to: two\n(turn 1)"), "{:?}", last.replies());
}

#[tokio::test]
async fn a_model_and_an_effort_are_chosen_in_the_chat_and_last() {
    let mut home = mock(json!({"effort": "high"})).await;
    let admin = home.admin();
    let (notice, _) = command(&admin, "/model").await;
    assert!(
        notice.contains("provider's default") && notice.contains("known once the agent has started"),
        "{notice}"
    );
    let options = async || admin.chat("demo", "!options").await.text();
    assert!(options().await.contains("model - effort high"));
    let (notice, _) = command(&admin, "/model").await;
    assert!(notice.contains("mock-large (the provider's default)") && notice.contains("• mock-small"), "{notice}");
    let (notice, _) = command(&admin, "/model mock-smal").await;
    assert!(notice.contains("Did you mean mock-small? Known are: mock-large, mock-small."), "{notice}");
    command(&admin, "/model mock-small").await;
    assert!(options().await.contains("model mock-small effort -"), "it does not take the group's effort");
    home.stop().await;
    home.up().await;
    assert!(options().await.contains("model mock-small effort -"));
    let (notice, _) = command(&admin, "/model default").await;
    assert!(notice.contains("mock-large again"), "{notice}");
    command(&admin, "/effort low").await;
    assert!(options().await.contains("model - effort low"));
    command(&admin, "/effort default").await;
    assert!(options().await.contains("model - effort high"));
}

#[tokio::test]
async fn a_compact_is_a_turn_that_ends_in_a_notice() {
    let home = mock(json!({})).await;
    let admin = home.admin();
    let (notice, _) = command(&admin, "/compact").await;
    assert!(notice.contains("nothing to compact"), "{notice}");
    admin.chat("demo", "one").await;
    let (notice, answer) = command(&admin, "/compact").await;
    assert!(notice.contains("was compacted") && answer.finished.turn.is_some(), "{notice}");
}

#[tokio::test]
async fn cofferdams_own_commands_are_answered_in_the_terminal_and_wake_no_container() {
    let mut home = mock(json!({})).await;
    let admin = home.admin();
    let (help, answer) = command(&admin, "/help").await;
    assert!(help.contains("/stop") && help.contains("/model") && help.contains("/approve"), "{help}");
    let (status, _) = command(&admin, "/Status").await;
    assert!(status.starts_with("demo: is idle"), "{status}");
    assert_eq!(command(&admin, "/approve").await.0, "Nothing waits for an approval.");
    assert!(command(&admin, "/deny demo/7").await.0.contains("There is no question demo/7"));
    let session = admin.session(&answer.finished.session).await;
    assert_eq!((session.state, session.attempt, session.waiting), (SessionState::Stopped, Attempt(0), 0));
    // Once, also over a crash.
    let request = message("demo", "/status");
    let first = admin.request(&request).await.expect("accepted").end().await;
    home.crash().await;
    home.up().await;
    let again = home.admin().request(&request).await.expect("accepted").end().await;
    assert_eq!((again.notices(), again.finished.turn), (first.notices(), None));
    home.stop().await;
    let alone = home.cli(&["chat", "demo", "/status"]).await;
    assert!(alone.code == 0 && format!("{}{}", alone.stdout, alone.stderr).contains("demo: is idle"), "{alone:?}");
    let json = home.cli(&["chat", "demo", "/help", "--json"]).await.json();
    assert!(json["notices"][0].as_str().is_some_and(|help| help.contains("/compact")), "{json}");
    assert_eq!((&json["outcome"], &json["replies"]), (&json!("replied"), &json!([])));
}

#[tokio::test]
async fn a_question_is_answered_by_a_command_in_the_terminals_chat_and_in_another_one() {
    let home = mock(json!({})).await;
    let admin = home.admin();
    let ask = r#"!tool ask_user {"question": "Go on?", "options": ["Yes", "No"]}"#;
    let is_question = |event: &ChatEvent| matches!(event, ChatEvent::Question { .. });
    let mut asking = admin.send_text("demo", ask).await;
    asking.until("the question", is_question).await;
    assert!(command(&admin, "/status").await.0.contains("waits for your answer"));
    assert_eq!(command(&admin, "/deny").await.0, "Question demo/1: No");
    assert!(asking.end().await.text().contains("No"));
    let mut asking = admin.send_text("demo", ask).await;
    asking.until("the question", is_question).await;
    let mut elsewhere = message("demo", "/approve demo/2 do as you like");
    elsewhere.thread = Some("other".to_owned());
    let said = admin.request(&elsewhere).await.expect("accepted").end().await;
    assert_eq!(said.notices(), ["Question demo/2: do as you like"]);
    let answer = asking.end().await;
    assert!(answer.text().contains("do as you like"), "{}", answer.text());
    assert!(
        answer.notices().iter().any(|notice| notice.contains("from elsewhere by the host")),
        "{:?}",
        answer.notices()
    );
}

#[tokio::test]
async fn what_is_not_a_command_is_the_agents() {
    let home = mock(json!({})).await;
    let text = home.admin().chat("demo", "/review this").await.text();
    assert!(text.contains("/review this"), "{text}");
}

#[tokio::test]
async fn early_words_come_before_the_answer_and_are_not_repeated() {
    let home = mock(json!({})).await;
    let answer = home.admin().chat("demo", "!early I begin\nhello").await;
    assert_eq!(answer.replies(), ["I begin", "mock reply to: hello\n(turn 1)"]);
}

/// Over the real provider: the command that runs is ended with the turn, and the conversation goes on.
#[tokio::test]
async fn a_stop_ends_what_codex_runs_and_its_conversation_goes_on() {
    let home = TestHome::with_demo(&json!({})).await;
    let admin = home.admin();
    let mut running = admin.send_text("demo", "!run echo my first words; sleep 600").await;
    let container = running.started().await;
    running.until("the command runs", |event| matches!(event, ChatEvent::Activity { .. })).await;
    let stop = admin.send_text("demo", "/stop").await;
    let (running, stop) = tokio::join!(running.end(), stop.end());
    assert_eq!(running.finished.outcome, ChatOutcome::Interrupted, "{:#?}", running.events);
    assert!(stop.notices()[0].contains("background commands"), "{:?}", stop.notices());
    let next = admin.chat("demo", "!run pgrep sleep || echo none").await;
    assert_eq!(next.container(), container);
    assert!(next.text().contains("none"), "{}", next.text());
}
