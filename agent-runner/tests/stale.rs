//! Threads that cannot be resumed, with the real app-server: which are given up, and what the next one is told.

mod common;

use std::path::Path;

use cofferdam_protocol::runner::*;
use common::codex::{Deed, NO_THREAD, shim};
use common::model::{Asked, Step, command};
use common::setup::{Setup, failure, thread_of};
use rustix::process::Signal;
use serde_json::json;

const DIGEST_TEXT: &str = "History of the chat: Ann said that the number is 4711.";

/// A thread with one turn, of a container that has ended.
async fn with_past(change: impl FnOnce(&mut Settings)) -> (Setup, String) {
    let setup = Setup::with(change).await;
    let runner = setup.runner();
    let first = setup.say("remember 4711").await;
    setup.end(runner).await;
    (setup, thread_of(&first))
}

/// The next container, whose host knows what was said.
fn next_attempt(setup: &mut Setup, thread: &str) {
    let meter = ContextMeter { since_compaction: 100, last_total: Some(100) };
    setup.new_attempt_on(Thread { generation: 0, continuation: Some(thread.to_owned()), meter });
    setup.door.keep_digest(DIGEST_TEXT);
}

/// The message was answered on a fresh thread that knows the digest, and nobody is told twice.
async fn goes_on_fresh(setup: &Setup, gone: &str, why: &str) {
    let finish = setup.say("still here?").await;
    assert_eq!(finish.outcome, Outcome::Completed);
    assert_eq!(finish.replies.len(), 1);
    assert_ne!(thread_of(&finish), gone);
    let lost = finish.lost_thread.clone().unwrap_or_default();
    assert!(lost.contains(why), "{lost}");
    let call = setup.model.calls().pop().unwrap();
    let told = |item: &&serde_json::Value| item.to_string().contains(DIGEST_TEXT);
    let digest: Vec<_> = call["input"].as_array().unwrap().iter().filter(told).collect();
    assert_eq!(digest.len(), 1, "{:#}", call["input"]);
    assert_ne!(digest[0]["role"], "developer", "it is data, not ours");
    setup.model.assert_told_once("still here?");
    assert_eq!(finish.thread.as_ref().unwrap().meter.since_compaction, 100, "counted from the new thread's begin");
    let next = setup.say("and now?").await;
    assert_eq!((next.lost_thread.clone(), thread_of(&next)), (None, thread_of(&finish)));
    assert_eq!(setup.door.digests(), 1);
}

fn only_rollout(setup: &Setup) -> std::path::PathBuf {
    let rollouts = setup.rollouts();
    assert_eq!(rollouts.len(), 1, "{rollouts:?}");
    rollouts.into_iter().next().unwrap()
}

#[tokio::test]
async fn every_form_of_a_lost_thread_is_replaced_for_the_same_message() {
    type Loss = fn(&Setup);
    let forms: [(&str, Loss, &str); 5] = [
        ("deleted", |setup| std::fs::remove_file(only_rollout(setup)).unwrap(), "no rollout found"),
        (
            "corrupt",
            |setup| std::fs::write(only_rollout(setup), "{\"broken\"\nnot json\n").unwrap(),
            "failed to read",
        ),
        ("empty", |setup| std::fs::write(only_rollout(setup), "").unwrap(), "failed to read"),
        ("wiped", |setup| wipe(&setup.home()), "no rollout found"),
        ("in a damaged database", |setup| damage(&setup.home(), "thread_history"), "(code: 26)"),
    ];
    for (form, lose, why) in forms {
        let (mut setup, thread) = with_past(|_| {}).await;
        lose(&setup);
        next_attempt(&mut setup, &thread);
        let _runner = setup.runner();
        println!("a rollout that is {form}");
        goes_on_fresh(&setup, &thread, why).await;
    }
}

/// Puts something else in the place of a database of codex.
fn damage(home: &Path, name: &str) {
    let entries = std::fs::read_dir(home).unwrap().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(name));
    let written = ours.map(|entry| std::fs::write(entry.path(), "this is no database; ".repeat(500)).unwrap());
    assert!(written.count() > 0, "no {name} in {home:?}");
}

/// Everything in the home but its configuration and credential.
fn wipe(home: &Path) {
    for entry in std::fs::read_dir(home).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else if !["config.toml", "auth.json"].contains(&entry.file_name().to_str().unwrap()) {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[tokio::test]
async fn ids_that_codex_never_gave_are_replaced() {
    for (id, why) in [(NO_THREAD, "no rollout found"), ("not-a-uuid", "invalid session id")] {
        let mut setup = Setup::new().await;
        next_attempt(&mut setup, id);
        let _runner = setup.runner();
        goes_on_fresh(&setup, id, why).await;
    }
}

#[tokio::test]
async fn a_thread_that_never_had_a_turn_is_replaced_without_a_word() {
    let mut setup = Setup::new().await;
    let runner = setup.runner();
    let thread = setup.door.ready().await;
    setup.end(runner).await;
    setup.new_attempt(&thread);
    let _runner = setup.runner();
    let finish = setup.say("hello").await;
    assert_eq!((finish.outcome, finish.lost_thread), (Outcome::Completed, None));
    assert_eq!(setup.door.digests(), 1, "the host says that nothing was said before");
}

#[tokio::test]
async fn a_lost_thread_is_told_by_the_first_turn_although_its_model_call_fails() {
    let mut setup = Setup::new().await;
    next_attempt(&mut setup, NO_THREAD);
    let _runner = setup.runner();
    setup.model.script((0..20).map(|_| Step::Status(500, json!({"error": {"message": "broken"}}))));
    let failed = setup.say("one").await;
    assert_eq!(failure(&failed).kind, FailureKind::Upstream);
    assert!(failed.lost_thread.is_some());
    setup.model.script([]);
    let next = setup.say("two").await;
    assert_eq!((next.outcome, next.lost_thread), (Outcome::Completed, None));
    assert!(setup.model.last_input().contains(DIGEST_TEXT), "codex keeps what the failed turn was told");
}

/// A session whose codex can be made to forget its thread.
async fn forgetful(threshold_tokens: u64) -> Setup {
    let compaction = CompactionSettings { threshold_tokens, timeout_secs: 60 };
    let mut setup = Setup::with(|settings| settings.compaction = compaction).await;
    setup.codex = shim(setup.directory.path(), Deed::Kill, "no such words", 0);
    setup.door.keep_digest(DIGEST_TEXT);
    setup
}

#[tokio::test]
async fn a_thread_that_is_not_found_by_a_turn_is_replaced_for_the_same_message() {
    let setup = forgetful(0).await;
    let _runner = setup.runner();
    let first = setup.say("remember 4711").await;
    // It knows another id only, in whatever it is asked: the thread is gone for good.
    std::fs::write(setup.directory.path().join("swap"), thread_of(&first)).unwrap();
    goes_on_fresh(&setup, &thread_of(&first), "no rollout found").await;
}

#[tokio::test]
async fn a_thread_that_is_not_found_by_its_first_turn_is_replaced_without_a_word() {
    let setup = forgetful(0).await;
    let _runner = setup.runner();
    let thread = setup.door.ready().await;
    std::fs::write(setup.directory.path().join("swap"), &thread).unwrap();
    let finish = setup.say("hello").await;
    assert_eq!((finish.outcome.clone(), finish.lost_thread.clone()), (Outcome::Completed, None));
    assert_ne!(thread_of(&finish), thread);
}

#[tokio::test]
async fn a_thread_that_is_not_found_by_a_compaction_is_replaced_for_the_next_message() {
    let setup = forgetful(150).await;
    let _runner = setup.runner();
    let first = thread_of(&setup.say("remember 4711").await);
    // From the end of the next turn on.
    let swap = setup.directory.path().join("swap");
    let forget = format!("printf {first} > {}", swap.display());
    setup.model.script([Step::Items(vec![command(&forget)])]);
    assert_eq!(thread_of(&setup.say("two").await), first);
    goes_on_fresh(&setup, &first, "no rollout found").await;
    assert!(setup.model.asked(Asked::Summary).is_empty() && setup.door.compactions().is_empty());
}

#[tokio::test]
async fn a_thread_that_is_not_found_by_hand_leaves_nothing_to_compact() {
    let setup = forgetful(0).await;
    let _runner = setup.runner();
    let first = thread_of(&setup.say("remember 4711").await);
    std::fs::write(setup.directory.path().join("swap"), &first).unwrap();
    let finish = setup.door.finish(setup.door.put(&["/compact"], |batch| batch.work = Work::Compact)).await;
    assert_eq!((finish.outcome.clone(), finish.lost_thread.clone()), (Outcome::Completed, None));
    assert_eq!(finish.replies, ["There is nothing to compact yet."]);
    assert_ne!(thread_of(&finish), first);
    goes_on_fresh(&setup, &first, "no rollout found").await;
}

#[tokio::test]
async fn a_thread_that_another_process_holds_is_waited_for() {
    let mut setup = Setup::new().await;
    let mut holder = setup.runner();
    let thread = thread_of(&setup.say("remember 4711").await);
    next_attempt(&mut setup, &thread);
    let _runner = setup.runner();
    let turn = setup.door.say("still here?");
    setup.door.handed(turn).await;
    holder.signal(Signal::TERM);
    holder.ended().await;
    let finish = setup.door.finish(turn).await;
    assert_eq!((finish.outcome.clone(), finish.lost_thread.clone()), (Outcome::Completed, None));
    assert_eq!(thread_of(&finish), thread);
    assert!(setup.model.last_input().contains("remember 4711"));
}

#[tokio::test]
async fn a_thread_that_another_process_keeps_is_reported_and_kept() {
    let mut setup = Setup::new().await;
    let mut holder = setup.runner();
    let thread = thread_of(&setup.say("remember 4711").await);
    next_attempt(&mut setup, &thread);
    let _runner = setup.runner();
    let busy = setup.say("x").await;
    assert_eq!(failure(&busy).kind, FailureKind::ThreadBusy);
    assert!(failure(&busy).message.contains("active writer"), "{busy:?}");
    assert_eq!((busy.thread.clone(), busy.lost_thread.clone()), (None, None), "the host keeps what it knows");
    holder.signal(Signal::TERM);
    holder.ended().await;
    let finish = setup.say("y").await;
    assert_eq!((finish.outcome.clone(), thread_of(&finish)), (Outcome::Completed, thread));
    assert!(setup.model.last_input().contains("remember 4711"));
}

#[tokio::test]
async fn other_troubles_never_give_the_thread_up() {
    let (mut setup, thread) = with_past(|_| {}).await;
    let config = setup.home().join("config.toml");
    let good = std::fs::read_to_string(&config).unwrap();
    // A server that must start and does not; a configuration that cannot be read.
    let required = format!("{good}[mcp_servers.gone]\ncommand = \"/no/such/program\"\nrequired = true\n");
    for bad in [required.as_str(), "model = [broken"] {
        std::fs::write(&config, bad).unwrap();
        next_attempt(&mut setup, &thread);
        let runner = setup.runner();
        assert_eq!(failure(&setup.say("x").await).kind, FailureKind::ProviderStart);
        setup.end(runner).await;
    }
    std::fs::write(&config, good).unwrap();
    next_attempt(&mut setup, &thread);
    let _runner = setup.runner();
    for status in [401, 403, 429, 500] {
        setup.model.script((0..20).map(|_| Step::Status(status, json!({"error": {"message": "no"}}))));
        let finish = setup.say("x").await;
        assert_eq!((thread_of(&finish), finish.lost_thread.clone()), (thread.clone(), None));
        failure(&finish);
    }
    setup.model.script([]);
    assert_eq!(setup.say("y").await.outcome, Outcome::Completed);
    assert!(setup.model.last_input().contains("remember 4711"));
    assert_eq!(setup.door.digests(), 0);
}

#[tokio::test]
async fn a_newer_conversation_begins_with_a_fresh_thread_in_the_same_process() {
    let setup = Setup::new().await;
    let runner = setup.runner();
    let first = setup.say("remember 4711").await;
    let children = runner.children();
    let turn = setup.door.put(&["who are you?"], |batch| batch.generation = 3);
    let finish = setup.door.finish(turn).await;
    assert_eq!((finish.outcome.clone(), finish.lost_thread.clone()), (Outcome::Completed, None));
    assert_ne!(thread_of(&finish), thread_of(&first));
    let thread = finish.thread.unwrap();
    assert_eq!((thread.generation, thread.meter.since_compaction), (3, 100));
    // The whole words: the ids of the input are random and may hold any four digits.
    assert!(!setup.model.last_input().contains("remember 4711"));
    assert_eq!((runner.children(), setup.door.digests()), (children, 0));
    // Before the turn had begun, the host knew the thread.
    let announced = |event: &Event| match &event.body {
        EventBody::Ready { generation: 3, continuation, .. } => Some(continuation.clone()),
        _ => None,
    };
    assert_eq!(setup.door.events().iter().find_map(announced), thread.continuation);
    // The one before is ended, and its history kept.
    setup.until_written(&setup.home().join("archived_sessions"), "remember 4711").await;
}
