//! Accounts over their life, and where their credentials are not.

use std::path::{Path, PathBuf};

use cofferdam::hooks::OF_ROTATION;
use cofferdam_protocol::admin::{Account, ChatOutcome};
use cofferdam_protocol::runner::FailureKind;
use cofferdam_tests::engine;
use cofferdam_tests::home::{Ended, TestHome};
use cofferdam_tests::vendor::{KEY, Say, Vendor};
use serde_json::{Value, json};

/// Another key that looks like nothing else.
const OTHER_KEY: &str = "sk-test-c40e8d12a97f4b65";

async fn login(home: &TestHome, name: &str, vendor: &Vendor, key: &str) -> Ended {
    let words =
        ["account", "login", name, "--kind", "compatible", "--base-url", vendor.base_url(), "--key-file", "-"];
    let ended = home.cli_given(&words, &format!("{key}\n")).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    ended
}

async fn accounts(home: &TestHome) -> Vec<Account> {
    serde_json::from_value(home.cli(&["account", "list", "--json"]).await.json()).expect("accounts")
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

/// The files below a directory that have a text in them; links are not followed.
fn having(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(dir, &mut found);
    let has = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    found.retain(has);
    found
}

/// The processes of this machine whose arguments or environment have a text in them.
fn processes_having(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("processes").flatten();
    let names = entries.map(|entry| entry.path()).flat_map(|path| [path.join("cmdline"), path.join("environ")]);
    let has = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    names.filter(has).map(|path| path.display().to_string()).collect()
}

#[tokio::test]
async fn a_key_of_the_vault_reaches_its_endpoint_and_lies_open_nowhere() {
    // Nobody else's: tests beside this one have theirs in the environment of their daemons.
    const KEY: &str = "sk-test-93ae51c07d2f4b86";
    let (home, vendor) = (TestHome::running().await, Vendor::start().await);
    vendor.take_only(KEY);
    home.group("demo", &json!({})).await;
    let mut said = login(&home, "work", &vendor, KEY).await.stdout;
    for words in [["account", "list"], ["account", "test"], ["account", "show"], ["account", "use"]] {
        let all: Vec<&str> = words.into_iter().chain((words[1] != "list").then_some("work")).collect();
        let ended = home.cli(&all).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        said += &(ended.stdout + &ended.stderr);
    }
    // A pattern that does not match itself, so that the search does not find its own words.
    let pattern = format!("[{}]{}", &KEY[..1], &KEY[1..]);
    home.write_script(
        "demo",
        &format!(
            r#"
            grep -la '{pattern}' /proc/*/environ /proc/*/cmdline 2>/dev/null | sed 's/^/leak=/'
            grep -raI -l '{pattern}' /home /tmp /run /group /etc /usr/local 2>/dev/null | sed 's/^/leak=/'
            echo end
            "#
        ),
    );
    vendor.script([Say::Run("sh ./script.sh 2>&1".into())]);
    let answer = home.admin().chat("demo", "look").await;
    let seen = vendor.calls()[1].input();
    assert!(seen.contains("end") && !seen.contains("leak="), "{seen}");
    let inspected = engine::inspect(answer.container()).await.expect("it runs");
    let log = home.admin().logs(&answer.finished.session, None).await.expect("a log");
    for (what, text) in [("engine", format!("{inspected:?}")), ("container's log", log), ("commands", said)] {
        assert!(!text.contains(KEY), "{what}");
    }
    assert!(!home.log().contains(KEY), "the daemon's log");
    assert_eq!(processes_having(KEY), Vec::<String>::new());
    assert_eq!(having(home.root(), KEY), Vec::<PathBuf>::new(), "a file of the home");
}

#[tokio::test]
async fn a_wrong_key_is_a_clear_error_and_a_new_one_needs_no_restart() {
    let (home, vendor) = (TestHome::running().await, Vendor::start().await);
    vendor.take_only(KEY);
    home.group("demo", &json!({})).await;
    login(&home, "work", &vendor, OTHER_KEY).await;
    let test = home.cli(&["account", "test", "work"]).await;
    assert_eq!(test.code, 15, "{test:?}");
    assert!(test.stderr.contains("refused") && test.stderr.contains("cofferdam account login work"), "{test:?}");
    let answer = home.admin().chat("demo", "hello").await;
    assert_eq!(answer.finished.outcome, ChatOutcome::Failed { kind: FailureKind::Unauthorized });
    let notice = answer.notices().join("\n");
    assert!(notice.contains("'work'") && notice.contains("cofferdam account login work"), "{notice}");
    for text in [&notice, &test.stderr, &home.log()] {
        assert!(!text.contains(OTHER_KEY), "{text}");
    }
    for words in [&["account", "list"][..], &["doctor"]] {
        let told = home.cli(words).await;
        assert!(told.stdout.contains("its credential was refused"), "{told:?}");
    }
    login(&home, "work", &vendor, KEY).await;
    assert_eq!(home.cli(&["account", "test", "work"]).await.code, 0);
    assert!(home.cli(&["account", "list"]).await.stdout.contains("ready"));
    let retried = home.admin().chat("demo", "again").await;
    assert_eq!(retried.container(), answer.container(), "the same container");
    assert!(retried.text().contains("vendor answer"), "{}", retried.text());
}

#[tokio::test]
async fn the_account_is_changed_while_a_session_lives() {
    let (home, first, second) = (TestHome::running().await, Vendor::start().await, Vendor::start().await);
    home.group("demo", &json!({})).await;
    home.group("own", &json!({"account": "first"})).await;
    login(&home, "first", &first, KEY).await;
    login(&home, "second", &second, OTHER_KEY).await;
    let before = home.admin().chat("demo", "one").await;
    assert_eq!((first.calls().len(), second.calls().len()), (1, 0));
    assert_eq!(home.cli(&["account", "use", "second"]).await.code, 0);
    let after = home.admin().chat("demo", "two").await;
    assert_eq!(after.container(), before.container(), "nothing was restarted");
    assert_eq!((first.calls().len(), second.calls().len()), (1, 1));
    assert_eq!(second.calls()[0].headers["authorization"], format!("Bearer {OTHER_KEY}"));
    home.admin().chat("own", "three").await.text();
    assert_eq!((first.calls().len(), second.calls().len()), (2, 1), "a group has its own account");
    let status = home.admin().status().await.account;
    assert!(status.starts_with("second (compatible at http://127.0.0.1:"), "{status}");
    let groups: Vec<_> = accounts(&home).await.into_iter().map(|account| (account.name, account.groups)).collect();
    assert_eq!(groups[1], ("first".parse().expect("a name"), vec!["own".parse().expect("a folder")]));
}

#[tokio::test]
async fn a_rotation_that_is_cut_off_anywhere_leaves_accounts_that_work() {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.take_only(KEY);
    login(&home, "work", &vendor, KEY).await;
    let lines = |home: &TestHome| {
        let text = std::fs::read_to_string(home.root().join("vault.key")).expect("a key");
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    for point in OF_ROTATION {
        let before = lines(&home);
        home.env("COFFERDAM_CRASH_AT", point);
        assert_eq!(home.cli(&["account", "key", "rotate"]).await.code, -1, "{point}: it is killed");
        home.unset("COFFERDAM_CRASH_AT");
        let test = home.cli(&["account", "test", "work"]).await;
        assert_eq!(test.code, 0, "{point}: {test:?}");
        let after = lines(&home);
        assert_eq!(after.len(), 1, "{point}: what was begun is ended");
        assert_eq!(after != before, *point != "rotate.before_both", "{point}");
    }
    let rotated = home.cli(&["account", "key", "rotate", "--json"]).await.json();
    assert_eq!((&rotated["sealed"], &rotated["left"]), (&json!(1), &json!([])));
}

#[tokio::test]
async fn a_backup_has_neither_the_key_nor_an_account() {
    let (home, vendor) = (TestHome::running().await, Vendor::start().await);
    home.group("demo", &json!({"provider": "mock"})).await;
    login(&home, "work-of-mine", &vendor, KEY).await;
    home.admin().chat("demo", "hello").await;
    let place = tempfile::tempdir().expect("a directory");
    for (name, only) in [("all", None), ("one", Some("demo"))] {
        let to = place.path().join(name);
        let to = to.to_str().expect("UTF-8");
        let words: Vec<&str> =
            ["backup", to].into_iter().chain(only.into_iter().flat_map(|g| ["--group", g])).collect();
        assert_eq!(home.cli(&words).await.code, 0);
    }
    let key = std::fs::read_to_string(home.root().join("vault.key")).expect("a key");
    let key = key.lines().last().expect("a line").rsplit(':').next().expect("the key itself");
    for text in [key, KEY, "work-of-mine"] {
        assert_eq!(having(place.path(), text), Vec::<PathBuf>::new(), "{text}");
    }
}

#[tokio::test]
async fn accounts_are_managed_with_a_daemon_and_without_and_errors_have_their_codes() {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    for with_daemon in [false, true] {
        if with_daemon {
            home.up().await;
        }
        assert_eq!(accounts(&home).await.len(), 1, "the offline model");
        let made = login(&home, "work", &vendor, KEY).await;
        assert!(made.stdout.contains("it serves the groups that name no account"), "{made:?}");
        let shown = home.cli(&["account", "show", "work", "--json"]).await.json();
        assert_eq!(
            (&shown["kind"], &shown["default"], &shown["trouble"]),
            (&json!("compatible"), &json!(true), &Value::Null)
        );
        for (words, code, says) in [
            (&["account", "show", "nobody"][..], 4, "account list"),
            (&["account", "use", "nobody"], 4, "account list"),
            (&["account", "login", "new", "--key-file", "-"], 2, "--kind"),
            (&["account", "login", "new", "--kind", "compatible", "--key-file", "-"], 2, "--base-url"),
            (&["account", "login", "offline", "--kind", "openai", "--key-file", "-"], 2, "built in"),
            (
                &["account", "login", "work", "--kind", "openai", "--key-file", "/proc/version"],
                5,
                "of kind compatible",
            ),
            (&["account", "login", "work"], 2, "--key-file -"),
            (&["account", "login", "work", "--key-file", "/nonexistent"], 4, "/nonexistent"),
            (&["account", "remove", "work"], 2, "--yes"),
            (&["account", "logout", "offline"], 2, "built in"),
            (&["account", "import", "/proc/version"], 3, "auth.json"),
        ] {
            let ended = home.cli(words).await;
            assert_eq!(ended.code, code, "{words:?}: {ended:?}");
            assert!(ended.stderr.contains(says), "{words:?}: {ended:?}");
        }
        assert_eq!(home.cli(&["account", "logout", "work"]).await.code, 0);
        assert_eq!(home.cli(&["account", "test", "work"]).await.code, 15);
        assert_eq!(home.cli(&["account", "remove", "work", "--yes"]).await.code, 0);
    }
}

#[tokio::test]
async fn codexs_key_is_imported() {
    let home = TestHome::new();
    let file = home.root().join("auth.json");
    std::fs::write(&file, json!({"auth_mode": "apikey", "OPENAI_API_KEY": KEY}).to_string()).expect("a file");
    let ended = home.cli(&["account", "import", file.to_str().expect("UTF-8"), "--name", "mine"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let all = accounts(&home).await;
    assert_eq!((all[1].name.as_str(), all[1].kind.as_str(), all[1].default), ("mine", "openai", true));
}

#[tokio::test]
async fn a_named_account_that_is_missing_stops_a_start_but_not_its_making() {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    home.env("COFFERDAM_ACCOUNT", "work");
    let up = home.cli(&["up"]).await;
    assert_eq!(up.code, 3, "{up:?}");
    assert!(up.stderr.contains("'work'") && up.stderr.contains("cofferdam account login work"), "{up:?}");
    assert_eq!(home.cli(&["doctor"]).await.code, 12);
    login(&home, "work", &vendor, KEY).await;
    home.up().await;
    let status = home.admin().status().await.account;
    assert!(status.starts_with("work (compatible"), "{status}");
    let removed = home.cli(&["account", "remove", "work", "--yes"]).await;
    assert_eq!(removed.code, 5, "{removed:?}");
}

#[tokio::test]
async fn the_key_of_the_configuration_is_an_account_and_wins() {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.serve(&mut home);
    let own = Vendor::start().await;
    login(&home, "work", &own, OTHER_KEY).await;
    home.up().await;
    let chosen = home.cli(&["account", "use", "work"]).await;
    assert!(chosen.code == 0 && chosen.stdout.contains("OPENAI_API_KEY"), "{chosen:?}");
    let default: Vec<String> = accounts(&home)
        .await
        .into_iter()
        .filter(|account| account.default)
        .map(|account| account.name.to_string())
        .collect();
    assert_eq!(default, ["environment"]);
    home.group("demo", &json!({})).await;
    home.admin().chat("demo", "hello").await.text();
    assert_eq!((vendor.calls().len(), own.calls().len()), (1, 0));
}
