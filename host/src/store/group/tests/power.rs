//! A power cut: what was not synced is gone, and nothing was told of it.

use std::path::Path;

use super::*;

/// The database's files as they were at one moment.
struct Kept(Vec<(PathBuf, Vec<u8>)>);

impl Kept {
    fn of(dir: &Path) -> Self {
        let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        Self(files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect())
    }

    fn put_back(self, dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (path, bytes) in self.0 {
            std::fs::write(path, bytes).unwrap();
        }
    }
}

impl Fixture {
    /// Ends the daemon; `power` says what is on the disk afterwards, if the power went too.
    async fn again(self, power: Option<Kept>) -> Self {
        let Self { dir, db } = self;
        if power.is_some() {
            let other = |tx: &Savepoint<'_>| Ok(tx.execute("UPDATE meta SET value = 'another boot'", [])?);
            assert_eq!(db.db.write(crate::store::db::Durability::Relaxed, other).await.unwrap(), 1);
        }
        db.close().await;
        drop(db);
        if let Some(kept) = power {
            kept.put_back(dir.path());
            let conn = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
            conn.execute("UPDATE meta SET value = 'another boot'", []).unwrap();
        }
        let db = GroupDb::open("demo".parse().unwrap(), &dir.path().join("state.db")).unwrap();
        Self { dir, db }
    }
}

#[tokio::test]
async fn a_message_whose_claim_a_power_cut_took_is_looked_for_before_it_is_given_again() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.accept("2").await;
    let attempt = f.begin(&session).await;
    let kept = Kept::of(f.dir.path());
    let before = f.claimed(&session, attempt).await.unwrap();
    assert!(!before.retried && before.messages.len() == 2);
    let f = f.again(Some(kept)).await;
    assert_eq!(f.state(before.messages[0].id).await, MessageState::Pending, "the claim is gone");
    f.accept("3").await;
    let attempt = f.begin(&session).await;
    let claimed = f.claimed(&session, attempt).await.unwrap();
    let texts: Vec<_> = claimed.messages.iter().map(|message| message.text.as_str()).collect();
    assert_eq!((claimed.retried, texts), (true, vec!["text of 1", "text of 2"]), "as they went then");
    // What comes after the boot cannot have been in it, and is not mixed with what can.
    let request = cofferdam_protocol::runner::ControlRequest {
        attempt,
        turn: claimed.turn,
        interrupted: false,
        offered: Vec::new(),
    };
    assert_eq!(f.db.orders(&session, request, true).await.unwrap().steer.len(), 1);
}

#[tokio::test]
async fn what_may_have_been_offered_is_not_steered_into_a_turn() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.say(Inbound { chat: chat(Some("x")), ..message("2") }).await;
    f.say(Inbound { text: "a".repeat(600 * 1024), ..message("3") }).await;
    let kept = Kept::of(f.dir.path());
    let f = f.again(Some(kept)).await;
    let attempt = f.begin(&session).await;
    let claimed = f.claimed(&session, attempt).await.unwrap();
    let request = cofferdam_protocol::runner::ControlRequest {
        attempt,
        turn: claimed.turn,
        interrupted: false,
        offered: Vec::new(),
    };
    assert!(f.db.orders(&session, request, true).await.unwrap().steer.is_empty());
}

#[tokio::test]
async fn a_restart_alone_marks_nothing() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let f = f.again(None).await;
    let attempt = f.begin(&session).await;
    assert!(!f.claimed(&session, attempt).await.unwrap().retried);
}

#[tokio::test]
async fn of_many_that_wait_only_those_that_can_have_been_in_a_turn_are_looked_for() {
    let f = Fixture::new();
    let session = f.accept("0").await;
    for id in 1..60 {
        f.accept(&id.to_string()).await;
    }
    let kept = Kept::of(f.dir.path());
    let f = f.again(Some(kept)).await;
    let attempt = f.begin(&session).await;
    let mut turns = Vec::new();
    while let Some(claimed) = f.claimed(&session, attempt).await {
        turns.push((claimed.retried, claimed.messages.len()));
        let seq = i64::try_from(turns.len()).unwrap();
        f.finish(&session, attempt, seq, claimed.turn, finish(Outcome::Completed, &["a"])).await.unwrap();
    }
    assert_eq!(turns, [(true, 50), (false, 10)]);
}
