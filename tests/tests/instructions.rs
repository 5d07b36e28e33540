//! What the agent is told besides the messages: instructions and skills, as the model sees them.

use cofferdam_protocol::admin::ChatOutcome;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::vendor::{Say, Vendor};
use serde_json::{Value, json};

/// A home with what all groups share, and a group `demo` without settings but the model.
async fn home_with(shared: &str) -> (TestHome, Vendor) {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.serve(&mut home);
    std::fs::create_dir_all(home.folder("global")).expect("the shared folder");
    std::fs::write(home.folder("global").join("AGENTS.md"), shared).expect("shared instructions");
    home.up().await;
    home.group("demo", &json!({"model": "gpt-5.4-mini"})).await;
    (home, vendor)
}

fn skill(home: &TestHome, group: &str, name: &str, description: &str) {
    let folder = home.folder(group).join("skills").join(name);
    std::fs::create_dir_all(&folder).expect("a skill's folder");
    let text = format!("---\nname: {name}\ndescription: {description}\n---\nThe body of {description}.\n");
    std::fs::write(folder.join("SKILL.md"), text).expect("a skill");
}

/// The items of a model call before the first message of a person.
fn prefix(call: &Value) -> Vec<Value> {
    let items = call["input"].as_array().expect("an input").iter().cloned();
    items.take_while(|item| !item.to_string().contains("the first question")).collect()
}

/// The text of the items that have `word` in them.
fn with(items: &[Value], word: &str) -> Vec<String> {
    let text = |item: &Value| item["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    items.iter().map(text).filter(|text| text.contains(word)).collect()
}

#[tokio::test]
async fn instructions_compose_in_their_order_and_are_identical_after_the_container_was_replaced() {
    let (home, vendor) = home_with("SHARED-RULES for everybody\n").await;
    std::fs::write(home.folder("demo").join("AGENTS.md"), "GROUP-RULES for demo\n").expect("AGENTS.md");
    skill(&home, "demo", "draw", "OWN-SKILL");
    let first = home.admin().chat("demo", "the first question").await;
    home.admin().stop(&first.finished.session).await;
    let second = home.admin().chat("demo", "another question").await;
    assert_ne!(first.container(), second.container());
    let calls = vendor.calls();
    let (before, after) = (prefix(&calls[0].body), prefix(&calls[1].body));
    assert!(before.len() >= 3, "{before:?}");
    assert_eq!(before, after);
    assert_eq!(calls[0].body["instructions"], calls[1].body["instructions"]);
    // Once each, in the second call as a whole too.
    let all = calls[1].body["input"].as_array().expect("an input");
    let ours = with(all, "through Cofferdam, the program that runs you");
    assert_eq!(ours.len(), 1, "{ours:?}");
    let people = with(all, "SHARED-RULES");
    assert_eq!(people.len(), 1, "{people:?}");
    let at = |word: &str| people[0].find(word).unwrap_or_else(|| panic!("{word} is not in {}", people[0]));
    assert!(at("SHARED-RULES") < at("GROUP-RULES"), "{}", people[0]);
    let role =
        |word: &str| all.iter().find(|item| item.to_string().contains(word)).map(|item| item["role"].clone());
    assert_eq!(role("through Cofferdam, the program"), Some("developer".into()));
}

#[tokio::test]
async fn instructions_up_to_the_limit_reach_the_model_whole_and_larger_ones_are_refused_by_name() {
    let long = |word: &str| format!("{word}-BEGIN {} {word}-END", "x".repeat(63 * 1024));
    let (home, vendor) = home_with(&long("SHARED")).await;
    std::fs::write(home.folder("demo").join("AGENTS.md"), long("GROUP")).expect("AGENTS.md");
    std::fs::create_dir_all(home.folder("demo").join("workspace")).expect("a workspace");
    std::fs::write(home.folder("demo").join("workspace/AGENTS.md"), "WORKSPACE-NOTE").expect("AGENTS.md");
    let first = home.admin().chat("demo", "the first question").await;
    first.text();
    let input = vendor.calls()[0].input();
    for word in ["SHARED-BEGIN", "SHARED-END", "GROUP-BEGIN", "GROUP-END", "WORKSPACE-NOTE"] {
        assert!(input.contains(word), "{word}");
    }
    home.admin().stop(&first.finished.session).await;
    for group in ["demo", "global"] {
        let path = home.folder(group).join("AGENTS.md");
        let before = std::fs::read(&path).expect("AGENTS.md");
        std::fs::write(&path, vec![b'x'; 70_000]).expect("AGENTS.md");
        let answer = home.admin().chat("demo", "more").await;
        assert!(matches!(answer.finished.outcome, ChatOutcome::Failed { .. }), "{answer:?}");
        let notice = answer.notices().join("\n");
        assert!(notice.contains(&path.display().to_string()) && notice.contains("70000"), "{notice}");
        std::fs::write(&path, before).expect("AGENTS.md");
    }
    home.admin().chat("demo", "again").await.text();
}

#[tokio::test]
async fn the_agent_cannot_change_what_it_is_told_or_its_skills() {
    let (home, vendor) = home_with("SHARED-RULES\n").await;
    skill(&home, "demo", "draw", "OWN-SKILL");
    home.write_script(
        "demo",
        r#"
        cd /home/agent
        for file in .codex/AGENTS.md .codex/AGENTS.override.md .agents/skills/draw/SKILL.md; do
            (echo evil >> $file) 2>/dev/null && echo "wrote=$file"
            rm -f $file 2>/dev/null && echo "removed=$file"
            mv $file /tmp/gone 2>/dev/null && echo "moved=$file"
            ln -sf /tmp/evil $file 2>/dev/null && echo "linked=$file"
        done
        touch .agents/skills/draw/new 2>/dev/null && echo "made=a file"
        mkdir .agents/skills/evil 2>/dev/null && echo "made=a skill"
        cat .codex/AGENTS.md .agents/skills/draw/SKILL.md
        "#,
    );
    vendor.script([Say::Run("sh ./script.sh 2>&1".into()), Say::Text("done".into())]);
    home.admin().chat("demo", "the first question").await.text();
    let output = vendor.calls()[1].input();
    for word in ["wrote=", "removed=", "moved=", "linked=", "made="] {
        assert!(!output.contains(word), "{word}: {output}");
    }
    assert!(output.contains("The body of OWN-SKILL."), "it can read them: {output}");
    let kept = std::fs::read_to_string(home.folder("global").join("AGENTS.md")).expect("AGENTS.md");
    assert_eq!(kept, "SHARED-RULES\n");
}

#[tokio::test]
async fn skills_of_the_group_and_of_all_groups_are_offered_and_the_groups_own_wins() {
    let (home, vendor) = home_with("").await;
    skill(&home, "global", "both", "SHARED-LOSES");
    skill(&home, "global", "common", "SHARED-SKILL");
    skill(&home, "demo", "both", "OWN-WINS");
    // What lies elsewhere on the host is not shown by way of a link.
    let elsewhere = home.root().join("elsewhere");
    std::fs::create_dir_all(&elsewhere).expect("a folder");
    std::fs::write(elsewhere.join("SKILL.md"), "---\nname: linked\ndescription: LINKED\n---\n").expect("a file");
    std::os::unix::fs::symlink(&elsewhere, home.folder("demo").join("skills/linked")).expect("a link");
    let first = home.admin().chat("demo", "the first question").await;
    first.text();
    let offered = vendor.calls()[0].input();
    for word in ["OWN-WINS", "SHARED-SKILL", "both/SKILL.md", "common/SKILL.md"] {
        assert!(offered.contains(word), "{word}: {offered}");
    }
    assert!(!offered.contains("SHARED-LOSES") && !offered.contains("LINKED"), "{offered}");
}

#[tokio::test]
async fn the_folder_that_all_groups_share_cannot_be_registered() {
    let (home, _vendor) = home_with("SHARED-RULES\n").await;
    let added = home.cli(&["group", "add", "global"]).await;
    assert_eq!(added.code, 3, "{added:?}");
    assert!(added.stderr.contains("all groups share") && added.stderr.contains("another name"), "{added:?}");
    assert!(!home.folder("global").join("container.json").exists(), "nothing was made");
    home.write_group("global", &json!({}));
    let error = home.admin().put_group("global").await.expect_err("refused");
    assert!(error.message.contains("all groups share"), "{error:?}");
}
