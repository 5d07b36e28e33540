//! A keyring that has not what this home knows: an entry that is gone, another's, or one of two.

use cofferdam_tests::home::TestHome;
use cofferdam_tests::keyring::{Session, doctor, file, kept_in, keys, login, place, serves, try_login};

#[tokio::test]
async fn an_entry_that_is_gone_is_said_and_not_made_anew() {
    let session = Session::start().await;
    let (home, vendor) = kept_in(&session).await;
    session.forget().await;
    for ended in [home.cli(&["account", "test", "work"]).await, try_login(&home, "another", &vendor).await] {
        assert!(ended.code == 15 && ended.stderr.contains("has no entry cofferdam/"), "{ended:?}");
    }
    assert!(session.entries().await.is_empty());
    // What a person does who gives it up.
    std::fs::remove_file(home.root().join("vault.key")).expect("removed");
    login(&home, "work", &vendor).await;
    serves(&home, "work").await;
    assert_eq!(session.entries().await.len(), 1);
}

#[tokio::test]
async fn a_key_that_only_the_daemon_still_has_is_saved_into_the_file() {
    let session = Session::start().await;
    let (mut home, vendor) = kept_in(&session).await;
    let key = keys(&session.text().await);
    home.up().await;
    login(&home, "another", &vendor).await;
    session.forget().await;
    let (outcome, said) = doctor(&home).await;
    assert!(outcome == "failed" && said.contains("cofferdam account key move --to file"), "{said}");
    let moved = home.cli(&["account", "key", "move", "--to", "file"]).await;
    assert_eq!(moved.code, 0, "{moved:?}");
    home.crash().await;
    assert_eq!((keys(&file(&home)), place(&file(&home))), (key, None));
    serves(&home, "work").await;
}

#[tokio::test]
async fn an_entry_with_another_key_than_an_older_file_is_not_touched() {
    let session = Session::start().await;
    let (home, _vendor) = kept_in(&session).await;
    let path = home.root().join("vault.key");
    let moved = async |to: &str| home.cli(&["account", "key", "move", "--to", to]).await;
    assert_eq!(moved("file").await.code, 0);
    let older = file(&home);
    assert_eq!(moved("keyring").await.code, 0);
    assert_eq!(home.cli(&["account", "key", "rotate"]).await.code, 0);
    let (newer, had) = (file(&home), session.entries().await);
    let noted = format!("{older}cofferdam-vault-keyring-1:{}\n", place(&newer).expect("a place"));
    for put_back in [&older, &noted] {
        std::fs::write(&path, put_back).expect("an older file");
        let refused = moved("keyring").await;
        let says = "which this home does not know";
        assert!(
            refused.code == 15 && refused.stderr.contains(says) && refused.stderr.contains("hint:"),
            "{refused:?}"
        );
        assert_eq!(home.cli(&["account", "list"]).await.code, 0, "a start");
        assert_eq!((&file(&home), session.entries().await), (put_back, had.clone()));
    }
    let told = moved("file").await;
    assert!(told.code == 0 && told.stderr.contains("let ") && told.stderr.contains("vault-keyring-1:"), "{told:?}");
    // As the hint says.
    let line = format!("cofferdam-vault-keyring-1:{}\n", place(&newer).expect("a place"));
    std::fs::write(&path, line).expect("the line");
    serves(&home, "work").await;
}

#[tokio::test]
async fn a_copied_home_that_took_the_entry_keeps_it_and_the_running_one_saves_its_key() {
    let session = Session::start().await;
    let (mut home, vendor) = kept_in(&session).await;
    let mut copy = TestHome::new();
    session.enter(&mut copy);
    let script = r#"cp -a "$0/vault.key" "$1" && cp -a "$0"/data/central.db* "$1/data""#;
    let copied = std::process::Command::new("sh").args(["-c", script]).args([home.root(), copy.root()]).status();
    assert!(copied.expect("sh").success());
    home.up().await;
    login(&home, "another", &vendor).await;
    let key = keys(&session.text().await);
    assert_eq!(copy.cli(&["account", "key", "rotate"]).await.code, 0);
    let had = session.entries().await;
    let was = file(&home);
    let refused = home.cli(&["account", "key", "rotate"]).await;
    assert!(refused.code == 15 && refused.stderr.contains("which this home does not know"), "{refused:?}");
    assert_eq!((file(&home), session.entries().await), (was, had.clone()));
    let (outcome, said) = doctor(&home).await;
    assert!(outcome == "failed" && said.contains("cofferdam account key move --to file"), "{said}");
    assert_eq!(home.cli(&["account", "key", "move", "--to", "file"]).await.code, 0);
    home.crash().await;
    assert_eq!((keys(&file(&home)), place(&file(&home)), session.entries().await), (key, None, had));
    serves(&home, "work").await;
    serves(&copy, "work").await;
}

#[tokio::test]
async fn a_lost_file_beside_a_locked_keyring_makes_no_second_key() {
    let mut session = Session::start().await;
    let (home, vendor) = kept_in(&session).await;
    let had = session.entries().await;
    let path = home.root().join("vault.key");
    std::fs::remove_file(&path).expect("removed");
    session.locked().await;
    let refused = try_login(&home, "another", &vendor).await;
    assert!(refused.code == 15 && refused.stderr.contains("the keyring is locked"), "{refused:?}");
    assert!(!path.exists());
    session.unlocked().await;
    login(&home, "another", &vendor).await;
    serves(&home, "work").await;
    assert_eq!(session.entries().await, had);
}

#[tokio::test]
async fn two_entries_of_one_name_are_an_error_and_both_stay() {
    let session = Session::start().await;
    let (home, _vendor) = kept_in(&session).await;
    session.doubled("of somebody else").await;
    for words in [&["account", "test", "work"][..], &["account", "key", "move", "--to", "file"]] {
        let ended = home.cli(words).await;
        assert!(ended.code == 15 && ended.stderr.contains("more than one such entry"), "{ended:?}");
    }
    assert_eq!(session.remove_those_with("of somebody else").await, 1);
    serves(&home, "work").await;
}

#[tokio::test]
async fn a_pool_whose_keys_cannot_be_read_is_refused() {
    let mut session = Session::start().await;
    let (home, vendor) = kept_in(&session).await;
    login(&home, "another", &vendor).await;
    let pool = async || home.cli(&["account", "pool", "set", "work", "another"]).await;
    session.locked().await;
    let refused = pool().await;
    assert!(refused.code == 15 && refused.stderr.contains("the keyring is locked"), "{refused:?}");
    session.unlocked().await;
    let refused = pool().await;
    assert!(refused.code != 0 && !refused.stderr.contains("locked"), "the same key twice: {refused:?}");
}
