//! What the command line takes, and what it says of itself.

use clap::CommandFactory;
use cofferdam_protocol::admin::ErrorKind;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn help_documents_every_exit_code() {
    let kinds = [
        ErrorKind::Internal,
        ErrorKind::Usage,
        ErrorKind::Config,
        ErrorKind::NotFound,
        ErrorKind::Conflict,
        ErrorKind::Engine,
        ErrorKind::Image,
        ErrorKind::Daemon,
        ErrorKind::Disk,
        ErrorKind::TurnFailed,
        ErrorKind::TurnInterrupted,
        ErrorKind::Unhealthy,
        ErrorKind::Database,
        ErrorKind::Incomplete,
        ErrorKind::Account,
    ];
    let docs = include_str!("../../../../docs/cli.md");
    for kind in kinds {
        let code = kind.exit_code();
        assert!(EXIT_CODES.contains(&format!("\n  {code:<4} ")), "{kind:?}");
        assert!(docs.contains(&format!("\n| {code} |")), "{kind:?} in docs/cli.md");
    }
}

#[test]
fn global_options_go_anywhere() {
    let cli = Cli::try_parse_from(["cofferdam", "chat", "demo", "hi", "--json", "--home", "/x"]).unwrap();
    assert!(cli.json);
    assert_eq!(cli.home.unwrap(), PathBuf::from("/x"));
}

#[test]
fn words_that_could_escape_are_refused() {
    for words in [["group", "add", "../x"], ["session", "show", "../../etc"]] {
        assert!(Cli::try_parse_from(std::iter::once("cofferdam").chain(words)).is_err(), "{words:?}");
    }
}

#[test]
fn a_chat_may_have_colons_and_a_switch_is_on_or_off() {
    let set = |chat: &str, word: &str| {
        Cli::try_parse_from(["cofferdam", "wiring", "set", chat, "--progress", word]).map(|cli| match cli.verb {
            Verb::Wiring(WiringVerb::Set { chat, terms, .. }) => {
                (chat.channel, chat.chat_id, terms.progress == Some(true))
            }
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(set("matrix:!a:b", "off").unwrap(), ("matrix".into(), "!a:b".into(), false));
    assert!(set("terminal:demo", "on").unwrap().2);
    assert!(set("demo", "on").is_err() && set(":demo", "on").is_err() && set("terminal:demo", "yes").is_err());
}

#[test]
fn one_attempt_ends_so_it_is_not_followed() {
    let logs =
        |words: &[&str]| Cli::try_parse_from(["cofferdam", "session", "logs", "ab"].iter().chain(words)).is_ok();
    assert!(logs(&["--follow"]) && logs(&["-f", "--json"]) && logs(&["--attempt", "1"]));
    assert!(!logs(&["--follow", "--attempt", "1"]));
}

#[test]
fn letters_are_named_one_by_one_or_all_of_a_group() {
    let retry =
        |words: &[&str]| Cli::try_parse_from(["cofferdam", "dead-letter", "retry"].iter().chain(words)).is_ok();
    assert!(retry(&["demo/3"]) && retry(&["demo/3", "ops/1"]) && retry(&["--all", "demo"]));
    assert!(!retry(&[]) && !retry(&["--all", "demo", "demo/3"]) && !retry(&["demo"]) && !retry(&["demo/0"]));
}

#[test]
fn usage_is_of_so_many_days_or_since_one() {
    let usage = |words: &[&str]| Cli::try_parse_from(["cofferdam", "usage"].iter().chain(words)).is_ok();
    assert!(usage(&[]) && usage(&["demo", "--days", "7", "--by", "model"]) && usage(&["--since", "2026-11-21"]));
    assert!(!usage(&["--days", "7", "--since", "2026-11-21"]) && !usage(&["--days", "0"]));
    assert!(!usage(&["--since", "today"]) && !usage(&["--by", "hour"]));
}

#[test]
fn a_value_or_unset_is_needed_and_not_both() {
    let set = |words: &[&str]| {
        let start = ["cofferdam", "group", "set", "demo", "limits.cpus"];
        Cli::try_parse_from(start.iter().chain(words)).is_ok()
    };
    assert!(set(&["1"]) && set(&["--unset"]) && set(&["-1"]));
    assert!(!set(&[]) && !set(&["1", "--unset"]));
}
