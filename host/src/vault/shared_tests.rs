use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use super::*;

fn tokens(n: u32) -> Tokens {
    Tokens {
        id_token: "i".into(),
        access_token: format!("a{n}").into(),
        refresh_token: format!("r{n}").into(),
        account_id: Some("acc-1".to_owned()),
        last_refresh: jiff::Timestamp::UNIX_EPOCH,
    }
}

fn account() -> AccountName {
    "work".parse().unwrap()
}

/// Polls it once.
async fn waits<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = std::future::ready(()) => true,
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    shared: Shared,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        let old = json!({"tokens": {"login_owner_id": "x"}, "novel": [1]}).to_string();
        fs::write(&path, tokens(1).to_auth_json(Some(&old)).expose_secret()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Self { shared: Shared::new(path, Some("acc-1".to_owned())), dir }
    }

    fn file(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.dir.path().join("auth.json")).unwrap()).unwrap()
    }
}

#[tokio::test]
async fn what_is_saved_is_read_and_all_else_of_the_file_stays() {
    let f = Fixture::new();
    let old = f.shared.load(&account()).await.unwrap();
    f.shared.save(&account(), &old, &tokens(2)).await.unwrap();
    assert!(f.shared.load(&account()).await.unwrap().has_access(&"a2".into()));
    let file = f.file();
    assert_eq!((&file["novel"], &file["tokens"]["login_owner_id"]), (&json!([1]), &json!("x")));
    let mode = fs::metadata(f.dir.path().join("auth.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let names: Vec<_> = fs::read_dir(f.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with(".auth-")), "{names:?}");
}

#[tokio::test]
async fn what_somebody_else_wrote_is_not_written_over() {
    let f = Fixture::new();
    let old = f.shared.load(&account()).await.unwrap();
    f.shared.save(&account(), &old, &tokens(2)).await.unwrap();
    let late = f.shared.save(&account(), &old, &tokens(3)).await;
    assert!(matches!(late, Err(KeepError::Changed)), "{late:?}");
    assert!(f.shared.load(&account()).await.unwrap().has_access(&"a2".into()));
}

#[tokio::test]
async fn codex_waits_for_us_and_we_for_codex() {
    let f = Fixture::new();
    let old = f.shared.load(&account()).await.unwrap();
    let lock = File::create(f.dir.path().join("auth.lock")).unwrap();
    lock.lock().unwrap();
    let (account, new) = (account(), tokens(2));
    let mut save = f.shared.save(&account, &old, &new);
    assert!(waits(&mut save).await);
    // As Codex does: it writes while it has the lock.
    let theirs = tokens(9).to_auth_json(None);
    replace_as_ourselves(&f, &theirs).unwrap();
    lock.unlock().unwrap();
    assert!(matches!(save.await, Err(KeepError::Changed)));
    assert_eq!(f.file()["tokens"]["refresh_token"], "r9");
}

fn replace_as_ourselves(f: &Fixture, text: &SecretString) -> Result<(), KeepError> {
    let meta = fs::metadata(f.dir.path()).unwrap();
    replace(&f.dir.path().join("auth.json"), text, (meta.uid(), meta.gid()))
}

#[tokio::test]
async fn a_login_of_another_account_is_not_taken_for_this_one() {
    let f = Fixture::new();
    let other = Tokens { account_id: Some("acc-2".to_owned()), ..tokens(5) };
    replace_as_ourselves(&f, &other.to_auth_json(None)).unwrap();
    assert!(matches!(f.shared.load(&account()).await, Err(KeepError::OtherAccount)));
}

#[tokio::test]
async fn a_file_that_is_half_written_is_read_when_it_is_whole() {
    let f = Fixture::new();
    let path = f.dir.path().join("auth.json");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let account = account();
    let mut load = f.shared.load(&account);
    assert!(waits(&mut load).await);
    // Older versions of Codex write in place.
    fs::write(&path, &whole).unwrap();
    load.await.unwrap();
    fs::write(&path, "{").unwrap();
    assert!(matches!(f.shared.load(&account).await, Err(KeepError::Failed(_))));
    fs::remove_file(&path).unwrap();
    assert!(matches!(f.shared.load(&account).await, Err(KeepError::Missing)));
}

#[tokio::test]
async fn a_link_of_ones_own_is_followed_and_one_of_another_is_not() {
    let f = Fixture::new();
    let (real, link) = (f.dir.path().join("auth.json"), f.dir.path().join("elsewhere.json"));
    symlink(&real, &link).unwrap();
    let linked = Shared::new(link.clone(), None);
    let old = linked.load(&account()).await.unwrap();
    linked.save(&account(), &old, &tokens(2)).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "the link stays");
    assert_eq!(f.file()["tokens"]["refresh_token"], "r2");
    if std::os::unix::fs::lchown(&link, Some(65_534), None).is_ok() {
        let refused = linked.load(&account()).await;
        assert!(matches!(&refused, Err(KeepError::Failed(what)) if what.contains("somebody else")), "{refused:?}");
    }
}

#[tokio::test]
async fn what_is_made_for_another_user_is_theirs() {
    let f = Fixture::new();
    let path = f.dir.path().join("auth.json");
    // Only root can play this.
    if std::os::unix::fs::chown(&path, Some(65_534), Some(65_534)).is_err() {
        return;
    }
    let old = f.shared.load(&account()).await.unwrap();
    f.shared.save(&account(), &old, &tokens(2)).await.unwrap();
    for name in ["auth.json", "auth.lock", "auth.json.lock", OURS] {
        let meta = fs::metadata(f.dir.path().join(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (65_534, 65_534), "{name}");
        assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn what_is_no_file_is_not_read() {
    let f = Fixture::new();
    let path = f.dir.path().join("auth.json");
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    assert!(matches!(f.shared.load(&account()).await, Err(KeepError::Failed(_))));
}
