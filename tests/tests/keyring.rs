//! The vault's key in a real keyring, over the life of both.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use cofferdam::hooks::{OF_KEY_IN, OF_KEY_OUT, OF_ROTATION};
use cofferdam_tests::home::TestHome;
use cofferdam_tests::keyring::{Session, doctor, file, kept_in, keys, login, place, serves, try_login};
use cofferdam_tests::vendor::Vendor;

/// Files of a home that have a text.
fn having(dir: &Path, text: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if kind.is_dir() {
            found.extend(having(&path, text));
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            found.extend(bytes.windows(text.len()).any(|window| window == text.as_bytes()).then_some(path));
        }
    }
    found
}

#[tokio::test]
async fn the_first_key_goes_to_an_unlocked_keyring_and_no_file_has_it() {
    let session = Session::start().await;
    let (mut home, vendor) = kept_in(&session).await;
    let key = keys(&session.text().await).remove(0);
    let key = key.rsplit(':').next().expect("the key itself");
    let meta = std::fs::metadata(home.root().join("vault.key")).expect("there");
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    let entry = session.entries().await.into_keys().next().expect("an entry");
    assert_eq!(place(&file(&home)), Some(format!("cofferdam/{entry}").as_str()));
    home.env("COFFERDAM_LOG", "trace");
    for _ in 0..2 {
        home.up().await;
        serves(&home, "work").await;
        login(&home, "another", &vendor).await;
        serves(&home, "another").await;
        home.stop().await;
    }
    assert_eq!(session.entries().await.len(), 1, "one key for all");
    let (outcome, said) = doctor(&home).await;
    assert!(outcome == "ok" && said.contains(&entry) && said.contains("keyring"), "{said}");
    let logged = home.log().contains("zbus");
    assert!(logged && having(home.root(), key).is_empty(), "{:?}", having(home.root(), key));
}

#[tokio::test]
async fn without_the_keyring_the_error_is_clear_nothing_is_made_anew_and_with_it_all_serve() {
    let mut session = Session::start().await;
    let (mut home, vendor) = kept_in(&session).await;
    let (was, had) = (file(&home), session.entries().await);
    let fails = async |home: &TestHome, says: &str| {
        let begun = Instant::now();
        for words in [
            &["account", "test", "work"][..],
            &["account", "key", "rotate"],
            &["account", "key", "move", "--to", "file"],
        ] {
            let ended = home.cli(words).await;
            assert_eq!(ended.code, 15, "{words:?}: {ended:?}");
            assert!(ended.stderr.contains(says), "{words:?}: {ended:?}");
        }
        let ended = try_login(home, "another", &vendor).await;
        assert!(ended.code == 15 && ended.stderr.contains(says) && ended.stderr.contains("hint:"), "{ended:?}");
        let list = home.cli(&["account", "list", "--json"]).await;
        assert!(list.code == 0 && list.stdout.contains(says), "{list:?}");
        let (outcome, said) = doctor(home).await;
        assert!(outcome == "failed" && said.contains(says), "{said}");
        assert_eq!(file(home), was);
        // Each of them would wait for 25 s, were it D-Bus that gave up.
        assert!(begun.elapsed() < Duration::from_secs(100), "{:?}", begun.elapsed());
    };
    home.unset("DBUS_SESSION_BUS_ADDRESS");
    fails(&home, "DBUS_SESSION_BUS_ADDRESS").await;
    session.enter(&mut home);
    session.keyring_ends().await;
    fails(&home, "no keyring is on the session bus").await;
    session.bus_ends().await;
    fails(&home, "cannot be reached").await;
    session.bus_begins().await;
    session.locked().await;
    fails(&home, "the keyring is locked").await;
    session.unlocked().await;
    serves(&home, "work").await;
    assert_eq!(session.entries().await, had);
}

#[tokio::test]
async fn a_keyring_that_never_answers_is_waited_for_a_few_seconds() {
    let session = Session::start().await;
    let (mut home, vendor) = kept_in(&session).await;
    let deaf = session.root().join("deaf");
    let listener = UnixListener::bind(&deaf).expect("a socket");
    listener.set_nonblocking(true).expect("set");
    let asked = || std::iter::from_fn(|| listener.accept().ok()).count();
    let address = format!("unix:path={}", deaf.display());
    home.env("DBUS_SESSION_BUS_ADDRESS", &address);
    let begun = Instant::now();
    let test = home.cli(&["account", "test", "work"]).await;
    assert!(test.code == 15 && test.stderr.contains("did not answer"), "{test:?}");
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    assert_eq!(asked(), 1);
    assert_eq!(home.cli(&["account", "list"]).await.code, 0);
    assert_eq!(asked(), 1, "once for all that is listed");
    home.up().await;
    assert_eq!(asked(), 0, "a start does not ask the keyring");
    let mut fresh = TestHome::new();
    fresh.env("DBUS_SESSION_BUS_ADDRESS", &address);
    login(&fresh, "work", &vendor).await;
    assert_eq!(keys(&file(&fresh)).len(), 1, "such a keyring is none");
}

#[tokio::test]
async fn a_daemon_that_has_read_the_key_goes_on_when_the_keyring_is_locked() {
    let mut session = Session::start().await;
    let (mut home, vendor) = kept_in(&session).await;
    home.up().await;
    serves(&home, "work").await;
    session.locked().await;
    login(&home, "another", &vendor).await;
    serves(&home, "another").await;
    let (outcome, said) = doctor(&home).await;
    assert!(outcome == "failed" && said.contains("locked"), "what is said is how it is: {said}");
    session.unlocked().await;
    home.crash().await;
    home.up().await;
    serves(&home, "another").await;
}

#[tokio::test]
async fn auto_takes_the_file_where_no_keyring_can_be_had_and_stays_there() {
    let mut session = Session::without_keyring().await;
    let vendor = Vendor::start().await;
    let mut homes = vec![TestHome::new(), TestHome::new(), TestHome::new()];
    login(&homes[0], "work", &vendor).await;
    session.enter(&mut homes[1]);
    login(&homes[1], "work", &vendor).await;
    session.unlocked().await;
    session.locked().await;
    session.enter(&mut homes[2]);
    login(&homes[2], "work", &vendor).await;
    session.unlocked().await;
    for home in &mut homes {
        session.enter(home);
        login(home, "another", &vendor).await;
        serves(home, "work").await;
        assert_eq!((keys(&file(home)).len(), place(&file(home))), (1, None));
        let (outcome, said) = doctor(home).await;
        assert!(outcome == "ok" && said.contains("vault.key"), "{said}");
    }
    assert!(session.entries().await.is_empty());
}

#[tokio::test]
async fn what_the_configuration_wants_is_done_or_said() {
    let mut session = Session::start().await;
    let vendor = Vendor::start().await;
    let mut home = TestHome::new();
    session.locked().await;
    session.enter(&mut home);
    home.env("COFFERDAM_VAULT_KEY", "keyring");
    let refused = try_login(&home, "work", &vendor).await;
    assert!(refused.code == 15 && refused.stderr.contains("the keyring is locked"), "{refused:?}");
    assert!(!home.root().join("vault.key").exists(), "no file in its place");
    session.unlocked().await;
    login(&home, "work", &vendor).await;
    assert_eq!(session.entries().await.len(), 1);
    home.env("COFFERDAM_VAULT_KEY", "file");
    serves(&home, "work").await;
    let (outcome, said) = doctor(&home).await;
    assert!(outcome == "warning" && said.contains("cofferdam account key move --to file"), "{said}");
    let list = home.cli(&["account", "list"]).await;
    assert!(list.code == 0 && list.stderr.contains("cofferdam account key move --to file"), "{list:?}");
    assert_eq!(home.cli(&["account", "key", "move", "--to", "file"]).await.code, 0);
    assert_eq!(doctor(&home).await.0, "ok");
    home.env("COFFERDAM_VAULT_KEY", "key-ring");
    let odd = home.cli(&["account", "list"]).await;
    assert!(odd.code == 3 && odd.stderr.contains("did you mean `keyring`?"), "{odd:?}");
    let mut filed = TestHome::new();
    session.enter(&mut filed);
    filed.env("COFFERDAM_VAULT_KEY", "file");
    login(&filed, "work", &vendor).await;
    assert_eq!((keys(&file(&filed)).len(), session.entries().await.len()), (1, 0));
}

#[tokio::test]
async fn a_first_key_that_is_cut_off_is_taken_by_the_next_login() {
    let session = Session::start().await;
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    session.enter(&mut home);
    home.env("COFFERDAM_CRASH_AT", "first_key.in_keyring");
    assert_eq!(try_login(&home, "work", &vendor).await.code, -1);
    home.unset("COFFERDAM_CRASH_AT");
    let made = session.text().await;
    assert!(!home.root().join("vault.key").exists());
    login(&home, "work", &vendor).await;
    serves(&home, "work").await;
    assert_eq!(session.text().await, made);
}

#[tokio::test]
async fn a_rotation_in_the_keyring_that_is_cut_off_anywhere_leaves_accounts_that_work() {
    let session = Session::start().await;
    let (mut home, _vendor) = kept_in(&session).await;
    for point in OF_ROTATION.iter().chain(&["rotate.marked", "rotate.put", "rotate.marked:2", "rotate.put:2"]) {
        let before = keys(&session.text().await);
        home.env("COFFERDAM_CRASH_AT", point);
        assert_eq!(home.cli(&["account", "key", "rotate"]).await.code, -1, "{point}: it is killed");
        home.unset("COFFERDAM_CRASH_AT");
        serves(&home, "work").await;
        let after = keys(&session.text().await);
        assert_eq!(after.len(), 1, "{point}: what was begun is ended");
        let nothing_begun = ["rotate.before_both", "rotate.marked"].contains(point);
        assert_eq!(after == before, nothing_begun, "{point}");
        assert!(place(&file(&home)).is_some_and(|place| !place.contains("rotating")), "{point}: {}", file(&home));
    }
    assert_eq!(home.cli(&["account", "key", "rotate"]).await.code, 0);
    serves(&home, "work").await;
}

#[tokio::test]
async fn a_move_that_is_cut_off_anywhere_leaves_one_key_in_one_place() {
    let session = Session::start().await;
    let (mut home, _vendor) = kept_in(&session).await;
    let key = keys(&session.text().await);
    let moved = async |home: &TestHome, to: &str| home.cli(&["account", "key", "move", "--to", to]).await.code;
    for point in OF_KEY_OUT {
        home.env("COFFERDAM_CRASH_AT", point);
        assert_eq!(moved(&home, "file").await, -1, "{point}: it is killed");
        assert_eq!(keys(&file(&home)), key, "{point}: it is there before it is gone elsewhere");
        home.unset("COFFERDAM_CRASH_AT");
        serves(&home, "work").await;
        assert_eq!((keys(&file(&home)), place(&file(&home))), (key.clone(), None), "{point}");
        assert!(session.entries().await.is_empty(), "{point}");
        assert_eq!(moved(&home, "keyring").await, 0);
        assert_eq!((keys(&file(&home)), keys(&session.text().await)), (vec![], key.clone()), "{point}");
        assert_eq!(moved(&home, "keyring").await, 0, "twice is once");
        serves(&home, "work").await;
    }
    assert_eq!(moved(&home, "file").await, 0);
    for point in OF_KEY_IN {
        home.env("COFFERDAM_CRASH_AT", point);
        assert_eq!(moved(&home, "keyring").await, -1, "{point}: it is killed");
        home.unset("COFFERDAM_CRASH_AT");
        serves(&home, "work").await;
        let done = *point == "key_in.done";
        let entries: Vec<_> = session.entries().await.values().flat_map(|text| keys(text)).collect();
        let (here, there) = if done { (vec![], key.clone()) } else { (key.clone(), vec![]) };
        assert_eq!((keys(&file(&home)), entries), (here, there), "{point}");
        assert_eq!(moved(&home, "file").await, 0);
        serves(&home, "work").await;
    }
}

#[tokio::test]
async fn a_move_that_cannot_be_ended_yet_serves_and_rotates_and_is_ended_later() {
    let mut session = Session::start().await;
    let (mut home, _vendor) = kept_in(&session).await;
    home.env("COFFERDAM_CRASH_AT", "key_out.noted");
    assert_eq!(home.cli(&["account", "key", "move", "--to", "file"]).await.code, -1);
    home.unset("COFFERDAM_CRASH_AT");
    session.locked().await;
    serves(&home, "work").await;
    let (outcome, said) = doctor(&home).await;
    assert!(outcome == "warning" && said.contains("cut off"), "{said}");
    assert_eq!(home.cli(&["account", "key", "rotate"]).await.code, 0);
    serves(&home, "work").await;
    session.unlocked().await;
    serves(&home, "work").await;
    assert!(session.entries().await.is_empty() && place(&file(&home)).is_none());
    assert_eq!(doctor(&home).await.0, "ok");
}

#[tokio::test]
async fn two_installations_in_one_keyring_do_not_meet() {
    let session = Session::start().await;
    let ((first, _a), (second, _b)) = (kept_in(&session).await, kept_in(&session).await);
    let before = session.entries().await;
    assert_eq!(before.len(), 2);
    assert_eq!(first.cli(&["account", "key", "rotate"]).await.code, 0);
    let after = session.entries().await;
    let same = |(name, text): &(&String, &String)| after.get(*name) == Some(text);
    assert_eq!((after.len(), before.iter().filter(same).count()), (2, 1), "the other's stays");
    assert_eq!(first.cli(&["account", "key", "move", "--to", "file"]).await.code, 0);
    assert_eq!(session.entries().await.len(), 1);
    serves(&first, "work").await;
    serves(&second, "work").await;
}
