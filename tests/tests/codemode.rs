//! Newer models call every tool from JavaScript, through Codex's code-mode host: it must work in the container.

use cofferdam_protocol::admin::{ChatEvent, ChatOutcome};
use cofferdam_protocol::runner::ActivityKind;
use cofferdam_tests::home::TestHome;
use serde_json::json;

/// Models of Codex's catalogue that have one tool, which runs JavaScript.
const CODE_MODE: [&str; 3] = ["gpt-6.1-sol", "gpt-6-luna", "gpt-5.6-sol"];
/// A model of the catalogue that has a tool for commands.
const DIRECT: [&str; 1] = ["gpt-5.5"];
/// Calls the tool of code mode with a text that only JavaScript makes a number of.
const JAVASCRIPT: &str = "!tool exec \"text([6, 7].reduce((a, b) => a * b))\"";

#[tokio::test]
async fn commands_run_with_models_of_both_kinds() {
    for model in CODE_MODE.into_iter().chain(DIRECT) {
        let home = TestHome::with_demo(&json!({ "model": model })).await;
        let answer = home.admin().chat("demo", "!run echo $((6 * 7)) > made.txt; cat made.txt; pwd; exit 3").await;
        let text = answer.text();
        assert_eq!(answer.finished.outcome, ChatOutcome::Replied, "{model}: {text}");
        for part in ["42", "/group/workspace", "(exit code 3)"] {
            assert!(text.contains(part), "{model}: {text}");
        }
        let made = home.folder("demo").join("workspace/made.txt");
        assert_eq!(std::fs::read_to_string(made).expect("the file is on the host"), "42\n");
        for wanted in [ActivityKind::CommandStarted, ActivityKind::CommandFinished] {
            let shown = |event: &ChatEvent| matches!(event, ChatEvent::Activity { kind, .. } if *kind == wanted);
            assert!(answer.events.iter().any(shown), "{model}: {:#?}", answer.events);
        }
    }
}

#[tokio::test]
async fn only_the_newer_models_run_javascript() {
    for model in CODE_MODE {
        let home = TestHome::with_demo(&json!({ "model": model })).await;
        let text = home.admin().chat("demo", JAVASCRIPT).await.text();
        assert!(text.contains("exec answered:") && text.contains("42"), "{model}: {text}");
    }
    for model in DIRECT {
        let home = TestHome::with_demo(&json!({ "model": model })).await;
        let text = home.admin().chat("demo", JAVASCRIPT).await.text();
        assert!(text.contains("exec answered:") && !text.contains("42"), "{model}: {text}");
    }
}

#[tokio::test]
async fn a_script_of_code_mode_that_fails_is_told_to_the_model_and_the_next_one_works() {
    let home = TestHome::with_demo(&json!({ "model": CODE_MODE[0] })).await;
    let failed = home.admin().chat("demo", "!tool exec \"throw new Error('no such luck')\"").await;
    assert!(failed.text().contains("no such luck"), "{}", failed.text());
    let next = home.admin().chat("demo", "!run cat /etc/hostname >/dev/null && echo works").await;
    assert!(next.text().contains("works"), "{}", next.text());
    assert_eq!(failed.container(), next.container());
}

#[tokio::test]
async fn a_tool_that_is_not_there_is_an_answer_and_no_end() {
    for model in [CODE_MODE[0], DIRECT[0]] {
        let home = TestHome::with_demo(&json!({ "model": model })).await;
        let answer = home.admin().chat("demo", "!tool frobnicate {\"a\": 1}\n!say still here").await;
        assert_eq!(answer.finished.outcome, ChatOutcome::Replied, "{model}: {:#?}", answer.events);
        assert!(answer.text().contains("still here"), "{model}: {}", answer.text());
    }
}
