//! What goes wrong inside a container, through the real Codex: compaction that fails, processes that die or stop,
//! conversations that are lost, models that say nothing.

use std::path::{Path, PathBuf};

use bollard::query_parameters::TopOptions;
use cofferdam_protocol::admin::{ChatEvent, ChatOutcome, CompactionRecord, SessionDetail};
use cofferdam_protocol::ids::SessionId;
use cofferdam_protocol::runner::{ActivityKind, CompactionCause, CompactionOutcome, FailureKind};
use cofferdam_tests::admin::{Admin, Answer, Chat};
use cofferdam_tests::home::TestHome;
use cofferdam_tests::vendor::{Say, Vendor};
use cofferdam_tests::{engine, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A command that runs until the test lets it go.
const UNTIL_GO: &str = "until [ -e go ]; do sleep 0.05; done; echo gone$((6 * 7))";

/// A home whose group `demo` speaks to a vendor that notes its calls.
async fn home_of(vendor: &Vendor, settings: &Value) -> TestHome {
    let mut home = TestHome::new();
    vendor.serve(&mut home);
    home.up().await;
    home.group("demo", settings).await;
    home
}

async fn until_activity(chat: &mut Chat, wanted: ActivityKind) {
    let is = |event: &ChatEvent| matches!(event, ChatEvent::Activity { kind, .. } if *kind == wanted);
    chat.until("the agent's command", is).await;
}

fn let_go(home: &TestHome) {
    std::fs::write(home.folder("demo").join("workspace/go"), "").expect("the sign to go on");
}

/// Sends a container's app-server a signal.
async fn signal_codex(container: &str, signal: Signal) {
    let top = engine::engine().await.top_processes(container, None::<TopOptions>).await.expect("its processes");
    let titles = top.titles.expect("titles");
    let column = titles.iter().position(|title| title == "PID").expect("a column of ids");
    let processes = top.processes.unwrap_or_default();
    let codex = processes.iter().find(|line| line.iter().any(|field| field.contains("codex app-server")));
    let codex = codex.unwrap_or_else(|| panic!("no app-server: {processes:?}"));
    let pid = codex[column].parse().ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("signalled");
}

/// Waits until so many compactions ended; the newest is first.
async fn compactions(admin: &Admin, session: &SessionId, count: usize) -> Vec<CompactionRecord> {
    let detail: SessionDetail = eventually("a compaction ends", || async {
        Some(admin.detail(session).await).filter(|detail| detail.compactions.len() >= count)
    })
    .await;
    assert_eq!(detail.compactions.len(), count, "{:?}", detail.compactions);
    detail.compactions
}

fn assert_failed(record: &CompactionRecord) {
    assert_eq!(record.cause, CompactionCause::Threshold);
    assert!(matches!(record.outcome, CompactionOutcome::Failed { .. }), "{record:?}");
}

async fn used(admin: &Admin, session: &SessionId) -> u64 {
    admin.detail(session).await.conversation.context.since_compaction
}

#[tokio::test]
async fn a_full_conversation_is_compacted_by_itself_and_counted_over_a_stop() {
    let home = TestHome::with_demo(&json!({"compaction": {"threshold_tokens": 1000}})).await;
    let admin = home.admin();
    let first = admin.chat("demo", "!usage 600\n!say The colour is teal.").await;
    let session = first.finished.session;
    assert_eq!(used(&admin, &session).await, 600);
    admin.stop(&session).await;
    let second = admin.chat("demo", "!usage 500\n!say And round.").await;
    assert!(second.text().contains("And round."), "{}", second.text());
    let [record] = &compactions(&admin, &session, 1).await[..] else { unreachable!("counted") };
    assert_eq!((record.cause, &record.outcome), (CompactionCause::Threshold, &CompactionOutcome::Completed));
    assert_eq!(record.before, 1100, "what was used before the stop counts");
    assert_eq!(used(&admin, &session).await, 0);
    let shown = home.cli(&["session", "show", session.as_str()]).await;
    assert!(shown.stdout.contains("1,100"), "{shown:?}");
    // The model tells the first message of the conversation that it is shown.
    let third = admin.chat("demo", "!usage 10\nWhich colour?").await;
    assert_eq!(third.container(), second.container());
    let fourth = admin.chat("demo", "!usage 10\n!say Still here.").await;
    assert!(fourth.text().contains("Still here."), "{}", fourth.text());
    assert!(third.text().contains("teal"), "{}", third.text());
    assert_eq!(admin.detail(&session).await.compactions.len(), 1, "it begins from nothing again");
}

#[tokio::test]
async fn what_was_said_before_a_compaction_is_in_the_call_after_it() {
    let vendor = Vendor::start().await;
    let home = home_of(&vendor, &json!({"compaction": {"threshold_tokens": 100}})).await;
    let admin = home.admin();
    vendor.script([Say::Text("Noted.".into()), Say::Text("SUMMARY: it is about a colour.".into())]);
    let session = admin.chat("demo", "The colour is teal.").await.finished.session;
    compactions(&admin, &session, 1).await;
    admin.chat("demo", "Which colour?").await.text();
    let call = vendor.calls()[2].input();
    for words in ["The colour is teal.", "SUMMARY: it is about a colour.", "Which colour?"] {
        assert!(call.contains(words), "{words}: {call}");
    }
    assert!(!call.contains("Noted."), "it was compacted: {call}");
}

#[tokio::test]
async fn a_compaction_that_fails_costs_no_message_and_is_tried_after_the_next_turn() {
    let home = TestHome::with_demo(&json!({"compaction": {"threshold_tokens": 1000}})).await;
    let admin = home.admin();
    let first = admin.chat("demo", "!usage 5000\n!compaction fail 400\n!say one").await;
    let session = first.finished.session;
    assert_failed(&compactions(&admin, &session, 1).await[0]);
    assert_eq!(used(&admin, &session).await, 5000, "it counts on");
    let second = admin.chat("demo", "!usage 10\n!compaction fail 500\n!say two").await;
    assert!(second.text().contains("two") && second.notices().is_empty(), "{:#?}", second.events);
    assert_failed(&compactions(&admin, &session, 2).await[0]);
    let third = admin.chat("demo", "!usage 10\n!compaction ok\n!say three").await;
    assert!(third.text().contains("three"), "{}", third.text());
    let records = compactions(&admin, &session, 3).await;
    assert_eq!((&records[0].outcome, records[0].before), (&CompactionOutcome::Completed, 5020));
    assert_eq!(third.container(), first.events.iter().find_map(container_of).expect("a container"));
}

fn container_of(event: &ChatEvent) -> Option<&str> {
    match event {
        ChatEvent::Started { container, .. } => container.as_deref(),
        _ => None,
    }
}

#[tokio::test]
async fn a_compaction_that_hangs_is_given_up_and_the_session_goes_on() {
    let settings = json!({"compaction": {"threshold_tokens": 1000, "timeout_secs": 1}});
    let home = TestHome::with_demo(&settings).await;
    let admin = home.admin();
    let first = admin.chat("demo", "!usage 5000\n!compaction hang\n!say one").await;
    // It does not wait for the compaction's end to be sent.
    let second = admin.chat("demo", "!usage 10\n!say two").await;
    assert!(second.text().contains("two"), "{}", second.text());
    let records = compactions(&admin, &first.finished.session, 2).await;
    records.iter().for_each(assert_failed);
}

/// What a killed or wedged app-server's turn must end in: the answer, once, in the same container.
fn assert_went_on(answer: &Answer, container: &str, vendor: &Vendor) {
    assert_eq!(answer.text(), "done", "{:#?}", answer.events);
    assert!(answer.notices().is_empty(), "{:?}", answer.notices());
    assert_eq!(answer.container(), container);
    let calls = vendor.calls();
    assert_eq!(calls.len(), 2, "what was answered is not asked again");
    let input = calls[1].input();
    assert_eq!(input.matches("Run it.").count(), 1, "the model has the message once: {input}");
    assert!(input.contains("restarted"), "and is told what happened: {input}");
}

#[tokio::test]
async fn a_turn_goes_on_when_codex_is_killed_while_a_command_runs() {
    let vendor = Vendor::start().await;
    let home = home_of(&vendor, &json!({})).await;
    vendor.script([Say::Run(UNTIL_GO.into()), Say::Text("done".into())]);
    let mut chat = home.admin().send_text("demo", "Run it.").await;
    let container = chat.started().await;
    until_activity(&mut chat, ActivityKind::CommandStarted).await;
    signal_codex(&container, Signal::KILL).await;
    let answer = chat.end().await;
    assert_went_on(&answer, &container, &vendor);
    let session = home.admin().session(&answer.finished.session).await;
    assert_eq!((session.turns, session.waiting), (1, 0));
    assert_eq!(home.admin().chat("demo", "again").await.text(), "vendor answer 3");
}

#[tokio::test]
async fn a_turn_goes_on_when_codex_is_killed_while_the_model_is_silent() {
    let home = TestHome::with_demo(&json!({})).await;
    let mut chat = home.admin().send_text("demo", "!run echo begun >> begun\n!wait 10\n!say There.").await;
    let container = chat.started().await;
    until_activity(&mut chat, ActivityKind::CommandFinished).await;
    signal_codex(&container, Signal::KILL).await;
    let answer = chat.end().await;
    assert!(answer.text().contains("There."), "{:#?}", answer.events);
    assert_eq!((answer.container(), answer.replies().len()), (container.as_str(), 1));
    let log = home.admin().logs(&answer.finished.session, None).await.expect("a log");
    assert_eq!(log.matches("codex is started again").count(), 1, "{log}");
    let begun = std::fs::read_to_string(home.folder("demo").join("workspace/begun")).expect("it ran");
    assert_eq!(begun, "begun\n", "what was done is not done again");
}

#[tokio::test]
async fn a_message_is_answered_once_when_codex_is_killed_as_its_turn_begins() {
    let vendor = Vendor::start().await;
    let home = home_of(&vendor, &json!({})).await;
    let admin = home.admin();
    let container = admin.chat("demo", "first").await.container().to_owned();
    let mut chat = admin.send_text("demo", "Run it.").await;
    chat.started().await;
    signal_codex(&container, Signal::KILL).await;
    let answer = chat.end().await;
    assert_eq!(answer.replies().len(), 1, "{:#?}", answer.events);
    assert!(answer.text().contains("vendor answer") && answer.container() == container, "{:#?}", answer.events);
    let input = vendor.calls().last().expect("a call").input();
    assert_eq!(input.matches("Run it.").count(), 1, "{input}");
}

#[tokio::test]
async fn a_turn_goes_on_in_another_container_when_its_own_is_killed() {
    let vendor = Vendor::start().await;
    let home = home_of(&vendor, &json!({})).await;
    vendor.script([Say::Run(UNTIL_GO.into()), Say::Text("done".into())]);
    let mut chat = home.admin().send_text("demo", "Run it.").await;
    let first = chat.started().await;
    until_activity(&mut chat, ActivityKind::CommandStarted).await;
    engine::kill(&first).await;
    let second = chat.started().await;
    assert_ne!(first, second);
    assert_went_on(&chat.end().await, &second, &vendor);
}

#[tokio::test]
async fn a_turn_whose_codex_dies_twice_is_tried_again_later() {
    let vendor = Vendor::start().await;
    let home = home_of(&vendor, &json!({})).await;
    vendor.script([Say::Run(UNTIL_GO.into()), Say::Run(UNTIL_GO.into()), Say::Text("done".into())]);
    let mut chat = home.admin().send_text("demo", "Run it.").await;
    let container = chat.started().await;
    for _ in 0..2 {
        until_activity(&mut chat, ActivityKind::CommandStarted).await;
        signal_codex(&container, Signal::KILL).await;
    }
    chat.until("another try is announced", |event| matches!(event, ChatEvent::Retrying { .. })).await;
    let answer = chat.end().await;
    assert_eq!(answer.text(), "done");
    let notices = answer.notices();
    assert!(
        notices.len() == 1 && notices[0].contains("process ended") && notices[0].contains("(2 of 4)"),
        "{notices:?}"
    );
    let calls = vendor.calls();
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[2].input().matches("Run it.").count(), 1, "the model has the message once");
}

#[tokio::test]
async fn a_codex_that_stops_in_a_turn_is_replaced_and_the_turn_goes_on() {
    let vendor = Vendor::start().await;
    let home = home_of(&vendor, &json!({"timeouts": {"silence_secs": 8}})).await;
    vendor.script([Say::Run(UNTIL_GO.into()), Say::Text("done".into())]);
    let mut chat = home.admin().send_text("demo", "Run it.").await;
    let container = chat.started().await;
    until_activity(&mut chat, ActivityKind::CommandStarted).await;
    signal_codex(&container, Signal::STOP).await;
    let answer = chat.end().await;
    assert_went_on(&answer, &container, &vendor);
    assert_eq!(home.admin().chat("demo", "again").await.text(), "vendor answer 3");
}

#[tokio::test]
async fn a_model_that_says_nothing_is_asked_once_more_and_then_told() {
    let home = TestHome::with_demo(&json!({"timeouts": {"silence_secs": 8}})).await;
    let answer = home.admin().chat("demo", "!hang\n!say Better now.").await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Replied);
    assert!(answer.text().contains("Better now."), "{}", answer.text());
    let answer = home.admin().chat("demo", "!hang\n!run true\n!hang").await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Failed { kind: FailureKind::Silence });
    let notices = answer.notices();
    assert!(notices.len() == 1 && notices[0].contains("timeouts.silence_secs"), "{notices:?}");
    let next = home.admin().chat("demo", "!say Here I am.").await;
    assert!(next.text().contains("Here I am."), "{}", next.text());
    assert_ne!(next.container(), answer.container(), "whatever hung is gone with its container");
}

#[tokio::test]
async fn a_message_of_a_running_turn_of_codex_is_in_its_next_call() {
    let vendor = Vendor::start().await;
    let home = home_of(&vendor, &json!({"during_turn": "steer"})).await;
    vendor.script([Say::Run(UNTIL_GO.into()), Say::Text("done".into())]);
    let admin = home.admin();
    let mut first = admin.send_text("demo", "Run it.").await;
    until_activity(&mut first, ActivityKind::CommandStarted).await;
    let mut follow = admin.follow(&first.session(), "?attempt=1&offset=0").await;
    let second = admin.send_text("demo", "Mind the gap.").await;
    follow.until_logged("the running turn is steered").await;
    let_go(&home);
    let (first, second) = tokio::join!(first.end(), second.end());
    assert_eq!((first.text().as_str(), second.text().as_str()), ("done", "done"));
    assert_eq!(first.finished.turn, second.finished.turn);
    let calls = vendor.calls();
    assert_eq!(calls.len(), 2, "one turn");
    let input = calls[1].input();
    let at = |words: &str| input.find(words).unwrap_or_else(|| panic!("{words}: {input}"));
    assert!(at("Run it.") < at("gone42") && at("gone42") < at("Mind the gap."), "in their order: {input}");
    let session = admin.session(&first.finished.session).await;
    assert_eq!((session.turns, session.waiting), (1, 0));
}

#[tokio::test]
async fn a_message_that_codex_had_only_in_memory_when_it_died_is_not_lost() {
    let vendor = Vendor::start().await;
    let home = home_of(&vendor, &json!({"during_turn": "steer"})).await;
    vendor.script([Say::Run(UNTIL_GO.into())]);
    let admin = home.admin();
    let mut first = admin.send_text("demo", "Run it.").await;
    let container = first.started().await;
    until_activity(&mut first, ActivityKind::CommandStarted).await;
    let mut follow = admin.follow(&first.session(), "?attempt=1&offset=0").await;
    let second = admin.send_text("demo", "Mind the gap.").await;
    follow.until_logged("the running turn is steered").await;
    signal_codex(&container, Signal::KILL).await;
    let (first, second) = tokio::join!(first.end(), second.end());
    for answer in [&first, &second] {
        assert!(answer.text().contains("vendor answer"), "{:#?}", answer.events);
    }
    let input = vendor.calls().last().expect("a call").input();
    for once in ["Run it.", "Mind the gap."] {
        assert_eq!(input.matches(once).count(), 1, "{once}: {input}");
    }
    assert_eq!(admin.session(&first.finished.session).await.waiting, 0);
}

/// A session that was told a colour and is stopped.
async fn told_a_colour(vendor: &Vendor) -> (TestHome, SessionId) {
    let home = home_of(vendor, &json!({})).await;
    let session = home.admin().chat("demo", "The colour is teal.").await.finished.session;
    home.admin().stop(&session).await;
    (home, session)
}

/// The next message must be answered on a fresh thread, with a line about it and the last messages as history, once.
async fn assert_lost_and_answered(home: &TestHome, vendor: &Vendor) {
    let answer = home.admin().chat("demo", "Which colour?").await;
    let notices = answer.notices();
    assert!(notices.len() == 1 && notices[0].contains("could not be resumed"), "{notices:?}");
    assert_eq!(answer.text(), "vendor answer 2");
    let calls = vendor.calls();
    assert_eq!(calls.len(), 2);
    let call = calls[1].input();
    assert!(call.contains("History:"), "{call}");
    for once in ["The colour is teal.", "vendor answer 1", "Which colour?"] {
        assert_eq!(call.matches(once).count(), 1, "{once}: {call}");
    }
    let next = home.admin().chat("demo", "And then?").await;
    assert!(next.notices().is_empty(), "told once: {:?}", next.notices());
    assert_eq!(vendor.calls()[2].input().matches("The colour is teal.").count(), 1);
}

fn rollouts(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("its type").is_dir() {
            rollouts(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// Gives the rollout of the session's thread another content.
fn spoil(home: &TestHome, session: &SessionId, content: &[u8]) {
    let session = home.root().join("data/groups/demo/sessions").join(session.as_str());
    let mut found = Vec::new();
    rollouts(&session.join("codex/sessions"), &mut found);
    let [rollout] = &found[..] else { panic!("one rollout: {found:?}") };
    std::fs::write(rollout, content).expect("spoiled");
}

#[tokio::test]
async fn a_conversation_whose_rollout_is_empty_is_lost_and_its_message_answered() {
    let vendor = Vendor::start().await;
    let (home, session) = told_a_colour(&vendor).await;
    spoil(&home, &session, b"");
    assert_lost_and_answered(&home, &vendor).await;
}

#[tokio::test]
async fn a_conversation_whose_rollout_is_garbage_is_lost_and_its_message_answered() {
    let vendor = Vendor::start().await;
    let (home, session) = told_a_colour(&vendor).await;
    spoil(&home, &session, b"\xff\xfe not a rollout\n{\n");
    assert_lost_and_answered(&home, &vendor).await;
}

#[tokio::test]
async fn a_conversation_of_an_impossible_name_is_lost_and_its_message_answered() {
    let vendor = Vendor::start().await;
    let (mut home, _) = told_a_colour(&vendor).await;
    home.stop().await;
    let state = rusqlite::Connection::open(home.root().join("data/groups/demo/state.db")).expect("the state");
    let changed = state.execute("UPDATE sessions SET continuation = 'no-thread'", ()).expect("written");
    assert_eq!(changed, 1);
    drop(state);
    home.up().await;
    assert_lost_and_answered(&home, &vendor).await;
}
