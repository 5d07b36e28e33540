//! Conversations: messages in, replies out, with the real engine and the real Codex.

use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, SessionState};
use cofferdam_protocol::ids::Attempt;
use cofferdam_protocol::runner::{ActivityKind, FailureKind};
use cofferdam_tests::admin::{Answer, message};
use cofferdam_tests::engine;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::vendor::{Say, Vendor};
use futures_util::future::join_all;
use serde_json::json;

#[tokio::test]
async fn the_first_message_is_answered_by_codex_from_a_container() {
    let home = TestHome::with_demo(&json!({})).await;
    let mut chat = home.admin().send_text("demo", "Is anybody there?").await;
    let container = chat.started().await;
    assert!(engine::inspect(&container).await.is_some(), "the turn runs in a container that exists");
    let answer = chat.end().await;
    let text = answer.text();
    assert!(text.contains("[offline model]") && text.contains("Is anybody there?"), "{text}");
    assert_eq!((answer.container(), answer.finished.attempt), (container.as_str(), Attempt(1)));
    let timings = answer.finished.timings_ms;
    let parts = [timings.queued, timings.container_start, timings.provider_ready, timings.provider];
    assert!(parts.iter().all(|part| part.is_some_and(|ms| ms >= 0.0 && ms < timings.total)), "{timings:?}");
    assert!(answer.finished.usage.is_some_and(|usage| usage.input > 0));
    let session = home.admin().session(&answer.finished.session).await;
    assert_eq!((session.turns, session.waiting, session.state), (1, 0, SessionState::Idle));
}

#[tokio::test]
async fn the_second_message_shows_the_model_the_first_and_its_answer() {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.serve(&mut home);
    home.up().await;
    home.group("demo", &json!({})).await;
    let first = home.admin().chat("demo", "My name is Ottilie.").await;
    assert_eq!(first.text(), "vendor answer 1");
    let second = home.admin().chat("demo", "What is my name?").await;
    assert_eq!(second.text(), "vendor answer 2");
    let calls = vendor.calls();
    assert_eq!(calls.len(), 2, "one model call a turn");
    let sent = calls[1].input();
    for said in ["My name is Ottilie.", "vendor answer 1", "What is my name?"] {
        assert!(sent.contains(said), "{said:?} is missing in {sent}");
    }
    assert!(!calls[0].input().contains("What is my name?"));
    assert!(calls[0].body.to_string().contains("You are demo."), "AGENTS.md is the agent's instructions");
    assert_eq!(first.container(), second.container(), "one container serves both");
}

#[tokio::test]
async fn a_session_goes_on_with_its_thread_after_its_container_is_gone() {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.serve(&mut home);
    home.up().await;
    home.group("demo", &json!({})).await;
    let first = home.admin().chat("demo", "My name is Ottilie.").await;
    let session = first.finished.session.clone();
    let thread = home.admin().session(&session).await.continuation;
    home.admin().stop(&session).await;
    engine::gone(first.container()).await;
    let second = home.admin().chat("demo", "What is my name?").await;
    assert_eq!(second.finished.session, session);
    assert_ne!(second.container(), first.container());
    assert_eq!(second.finished.attempt, Attempt(2));
    let after = home.admin().session(&session).await.continuation;
    assert!(thread.is_some() && after == thread, "the same provider thread");
    let sent = vendor.calls().last().expect("a call").input();
    assert!(sent.contains("My name is Ottilie.") && sent.contains("vendor answer 1"), "{sent}");
}

#[tokio::test]
async fn a_command_runs_in_the_container_and_its_output_comes_back() {
    let home = TestHome::with_demo(&json!({})).await;
    let answer = home.admin().chat("demo", "!run echo $((6 * 7)) > made.txt; cat made.txt; pwd; exit 3").await;
    let text = answer.text();
    assert!(text.contains("42") && text.contains("/group/workspace") && text.contains('3'), "{text}");
    let made = home.folder("demo").join("workspace/made.txt");
    assert_eq!(std::fs::read_to_string(made).expect("the file is on the host"), "42\n");
    let shown =
        |wanted| answer.events.iter().any(|e| matches!(e, ChatEvent::Activity { kind, .. } if *kind == wanted));
    assert!(shown(ActivityKind::CommandStarted) && shown(ActivityKind::CommandFinished), "{:#?}", answer.events);
}

#[tokio::test]
async fn what_the_model_said_is_told_to_it_again_with_the_commands_output() {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.serve(&mut home);
    vendor.script([Say::Run("echo from-$(id -u)-inside".into()), Say::Text("done".into())]);
    home.up().await;
    home.group("demo", &json!({})).await;
    assert_eq!(home.admin().chat("demo", "go").await.text(), "done");
    let sent = vendor.calls()[1].input();
    assert!(
        sent.lines().any(|line| line.contains("-inside") && line.contains("from-") && !line.contains("$(")),
        "{sent}"
    );
}

#[tokio::test]
async fn several_messages_of_the_model_are_several_replies_in_order() {
    let home = TestHome::with_demo(&json!({})).await;
    let answer = home.admin().chat("demo", "!say First.\n!run true\n!say Second.").await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Replied);
    let replies = answer.replies();
    assert_eq!(replies.len(), 2, "{replies:?}");
    assert!(replies[0].contains("First.") && replies[1].contains("Second."), "{replies:?}");
}

#[tokio::test]
async fn an_answer_streams_while_it_is_written() {
    let home = TestHome::with_demo(&json!({})).await;
    let answer =
        home.admin().chat("demo", "!stream 20\n!say A sentence that takes its time to be written down.").await;
    let is_delta = |event: &ChatEvent| matches!(event, ChatEvent::Delta { .. });
    let deltas = answer.events.iter().filter(|event| is_delta(event)).count();
    assert!(deltas > 3, "{deltas} pieces: {:#?}", answer.events);
    let first_delta = answer.events.iter().position(is_delta);
    let reply = answer.events.iter().position(|event| matches!(event, ChatEvent::Reply { .. }));
    assert!(first_delta < reply, "{:#?}", answer.events);
}

fn assert_failed(answer: &Answer, kind: FailureKind, advice: &str) {
    assert_eq!(answer.finished.outcome, ChatOutcome::Failed { kind }, "{:#?}", answer.events);
    let notices = answer.notices();
    assert_eq!(notices.len(), 1, "one notice: {notices:?}");
    assert!(notices[0].contains("The turn failed") && notices[0].contains(advice), "{notices:?}");
}

#[tokio::test]
async fn a_failed_turn_ends_in_a_notice_that_says_what_to_do_and_the_next_one_works() {
    let home = TestHome::with_demo(&json!({})).await;
    for (directive, kind, advice) in [
        ("!fail 400", FailureKind::Other, "session logs"),
        ("!fail 404", FailureKind::ModelNotFound, "'model'"),
        ("!fail 429 usage_limit_reached", FailureKind::UsageLimit, "limit is used up"),
        ("!fail 429 insufficient_quota", FailureKind::UsageLimit, "limit is used up"),
    ] {
        let answer = home.admin().chat("demo", directive).await;
        assert_failed(&answer, kind, advice);
        assert!(answer.replies().is_empty(), "{directive}: {:?}", answer.replies());
    }
    let text = home.admin().chat("demo", "And now?").await.text();
    assert!(text.contains("And now?"), "{text}");
}

#[tokio::test]
async fn a_refused_credential_ends_in_a_notice_after_codex_tried_again() {
    let home = TestHome::with_demo(&json!({})).await;
    assert_failed(
        &home.admin().chat("demo", "!fail 401").await,
        FailureKind::Unauthorized,
        "log the account in again",
    );
}

#[tokio::test]
async fn failures_that_can_pass_are_announced_with_their_next_try() {
    let home = TestHome::with_demo(&json!({})).await;
    let admin = home.admin();
    for (directive, says) in [
        ("!fail 503", "vendor has a problem"),
        ("!fail 429", "limits the rate"),
        ("!fail 500", "vendor has a problem"),
        ("!cut", "connection to the model was lost"),
    ] {
        let mut chat = admin.send_text("demo", directive).await;
        chat.until("another try", |event| matches!(event, ChatEvent::Retrying { .. })).await;
        admin.chat("demo", "/stop").await;
        let answer = chat.end().await;
        assert_eq!(answer.finished.outcome, ChatOutcome::Interrupted, "{:#?}", answer.events);
        let notices = answer.notices();
        assert!(notices[0].contains(says) && notices[0].contains("(2 of 4)"), "{directive}: {notices:?}");
    }
    let text = admin.chat("demo", "And now?").await.text();
    assert!(text.contains("And now?"), "{text}");
}

#[tokio::test]
async fn a_turn_of_a_stopped_session_is_interrupted_and_says_so() {
    let home = TestHome::with_demo(&json!({})).await;
    let mut chat = home.admin().send_text("demo", "!say Begun.\n!wait 600").await;
    let container = chat.started().await;
    chat.until("the model's first words", |event| matches!(event, ChatEvent::Delta { .. })).await;
    home.admin().stop(&chat.session()).await;
    engine::gone(&container).await;
    let answer = chat.end().await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Interrupted, "{:#?}", answer.events);
    assert_eq!(answer.notices().len(), 1, "{:?}", answer.notices());
    assert!(home.admin().chat("demo", "Again?").await.text().contains("Again?"));
}

#[tokio::test]
async fn a_session_that_is_stopped_before_its_provider_is_ready_does_not_start_again_by_itself() {
    let home = TestHome::with_demo(&json!({})).await;
    let mut chat = home.admin().send_text("demo", "!wait 600").await;
    chat.started().await;
    home.admin().stop(&chat.session()).await;
    let answer = chat.end().await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Interrupted, "{:#?}", answer.events);
    let session = home.admin().session(&answer.finished.session).await;
    assert_eq!((session.state, session.attempt, session.waiting), (SessionState::Stopped, Attempt(1), 0));
}

#[tokio::test]
async fn two_groups_at_once_stay_apart() {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.serve(&mut home);
    home.up().await;
    home.group("red", &json!({})).await;
    home.group("blue", &json!({})).await;
    let admin = home.admin();
    let (red, blue) =
        tokio::join!(admin.chat("red", "The word is crimson."), admin.chat("blue", "The word is azure."));
    assert_ne!(red.finished.session, blue.finished.session);
    assert_ne!(red.container(), blue.container());
    let mut texts = [red.text(), blue.text()];
    texts.sort();
    assert_eq!(texts, ["vendor answer 1", "vendor answer 2"], "each got its own");
    let (red, blue) = tokio::join!(admin.chat("red", "Which word, red?"), admin.chat("blue", "Which word, blue?"));
    red.text();
    blue.text();
    for call in &vendor.calls()[2..] {
        let sent = call.input();
        let (own, other) =
            if sent.contains("Which word, red?") { ("crimson", "azure") } else { ("azure", "crimson") };
        assert!(sent.contains(own) && !sent.contains(other), "{sent}");
    }
}

#[tokio::test]
async fn two_groups_see_only_their_own_files() {
    let home = TestHome::running().await;
    home.group("red", &json!({})).await;
    home.group("blue", &json!({})).await;
    let admin = home.admin();
    let (red, blue) = tokio::join!(
        admin.chat("red", "!run echo crimson > word; cat /group/AGENTS.md"),
        admin.chat("blue", "!run echo azure > word; cat /group/AGENTS.md")
    );
    assert!(red.text().contains("You are red.") && blue.text().contains("You are blue."));
    let word = |group| std::fs::read_to_string(home.folder(group).join("workspace/word")).expect("a word");
    assert_eq!((word("red").trim(), word("blue").trim()), ("crimson", "azure"));
    // In halves, so that the search does not find itself.
    let found =
        admin.chat("red", "!run cat word; word=azu; grep -rl ${word}re /group /home /tmp /run || echo none").await;
    let text = found.text();
    assert!(text.contains("crimson") && text.ends_with("none"), "{text}");
}

#[tokio::test]
async fn named_threads_are_sessions_of_their_own() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let mut named = message("demo", "in the thread");
    named.thread = Some("plans".into());
    let admin = home.admin();
    let (main, thread) = tokio::join!(admin.chat("demo", "in the main chat"), async {
        admin.request(&named).await.expect("accepted").end().await
    });
    assert_ne!(main.finished.session, thread.finished.session);
    assert_eq!(main.replies(), ["mock reply to: in the main chat\n(turn 1)"]);
    assert_eq!(thread.replies(), ["mock reply to: in the thread\n(turn 1)"]);
    named.message_id += "-2";
    let again = admin.request(&named).await.expect("accepted").end().await;
    assert_eq!(again.finished.session, thread.finished.session);
    assert_eq!(again.replies(), ["mock reply to: in the thread\n(turn 2)"]);
    assert_eq!(admin.sessions(Some("demo")).await.len(), 2);
}

#[tokio::test]
async fn a_burst_of_messages_is_answered_in_order_and_each_exactly_once() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let admin = home.admin();
    // The first turn holds the others up, so that they come as batches.
    let first = admin.send_text("demo", "number 0\n!wait 0.3").await;
    let mut chats = vec![first];
    for number in 1..=25 {
        chats.push(admin.send_text("demo", &format!("number {number}")).await);
    }
    let answers = join_all(chats.into_iter().map(|chat| chat.end())).await;
    // What every watcher of a chat sees, told once per turn.
    let mut turns = Vec::new();
    for answer in &answers {
        assert_eq!(answer.finished.outcome, ChatOutcome::Replied);
        turns.push(answer.finished.turn.expect("a turn").0);
    }
    assert!(turns.is_sorted(), "{turns:?}");
    let mut replies: Vec<(i64, String)> = Vec::new();
    for event in answers.iter().flat_map(|answer| &answer.events) {
        if let ChatEvent::Reply { turn: Some(turn), text, .. } = event {
            turns_of(&mut replies, turn.0, text);
        }
    }
    replies.sort();
    let said: Vec<String> = replies.iter().flat_map(|(_, text)| text.lines().map(str::to_owned)).collect();
    let numbers: Vec<usize> = said
        .iter()
        .filter_map(|line| line.trim_start_matches("mock reply to: ").strip_prefix("number ")?.parse().ok())
        .collect();
    assert_eq!(numbers, (0..=25).collect::<Vec<_>>(), "{replies:?}");
    assert!(replies.len() < 26, "they came in batches: {} turns", replies.len());
}

/// Notes a turn's reply; every watcher must have been told the same.
fn turns_of(replies: &mut Vec<(i64, String)>, turn: i64, text: &str) {
    match replies.iter().find(|(known, _)| *known == turn) {
        Some((_, known)) => assert_eq!(known, text, "turn {turn} has one reply"),
        None => replies.push((turn, text.to_owned())),
    }
}

#[tokio::test]
async fn a_message_that_is_sent_again_is_answered_once() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let admin = home.admin();
    let request = message("demo", "only once\n!wait 0.2");
    let (first, second) =
        (admin.request(&request).await.expect("accepted"), admin.request(&request).await.expect("accepted"));
    assert_eq!((first.accepted().0, first.accepted().2, second.accepted().2), (second.accepted().0, false, true));
    let (first, second) = tokio::join!(first.end(), second.end());
    let third = admin.request(&request).await.expect("accepted").end().await;
    for answer in [&first, &second, &third] {
        assert_eq!(answer.replies(), ["mock reply to: only once\n(turn 1)"]);
        assert_eq!(answer.finished.turn, first.finished.turn);
    }
    assert_eq!(admin.session(&first.finished.session).await.turns, 1, "no second run");
}

#[tokio::test]
async fn a_reply_that_nobody_waited_for_is_handed_to_the_next_who_comes() {
    let home = TestHome::with_demo(&json!({"provider": "mock"})).await;
    let admin = home.admin();
    let mut left = admin.send_text("demo", "first\n!wait 4").await;
    left.started().await;
    drop(left);
    let answer = admin.chat("demo", "second").await;
    let replies = answer.replies();
    assert_eq!(replies, ["mock reply to: first\n(turn 1)", "mock reply to: second\n(turn 2)"]);
}

#[tokio::test]
async fn a_message_to_nobody_is_refused_and_the_drop_is_recorded() {
    let home = TestHome::running().await;
    let error = home.admin().request(&message("nobody", "hello")).await.err().expect("refused");
    assert!(error.message.contains("nobody") && error.hint.is_some(), "{error:?}");
    let dropped = home.admin().status().await.dropped;
    assert!(dropped.iter().any(|drop| drop.reason == "unwired" && drop.count == 1), "{dropped:?}");
}
