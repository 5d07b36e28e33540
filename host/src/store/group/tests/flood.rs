use super::*;
use crate::store::group::inbox::MOST_WAITING;

impl Fixture {
    /// Puts waiting messages into the session's inbox, in this thread.
    async fn flood(&self, session: &SessionId, thread: &'static str, count: u64) {
        let session = session.clone();
        let flood = move |tx: &Savepoint<'_>| {
            Ok(tx.execute(
                "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1)
                 INSERT INTO inbox (session, channel, chat_id, thread_id, platform_id, sender, text, state, accepted_at)
                 SELECT ?2, 'terminal', 'demo', ?3, ?3 || n, 'me', n, 'pending', 0 FROM number",
                rusqlite::params![count, session.as_str(), thread],
            )?)
        };
        self.db.db.write(crate::store::db::Durability::Relaxed, flood).await.unwrap();
    }
}

#[tokio::test]
async fn a_flood_is_held_back_at_a_bound_but_a_stop_and_other_sessions_are_not() {
    let it = Fixture::new();
    let session = it.accept("first").await;
    it.flood(&session, "x", MOST_WAITING - 2).await;
    it.accept("last").await;
    let refused = it.db.accept(message("one too many"), "key".into(), None).await;
    assert!(matches!(refused, Err(StoreError::Full(MOST_WAITING))), "{refused:?}");
    assert!(it.db.accept(message("another session's"), "other".into(), None).await.is_ok());
    // A repeat of what was accepted is no new message.
    assert!(it.db.accept(message("last"), "key".into(), None).await.unwrap().duplicate);
    let attempt = it.begin(&session).await;
    it.ready(&session, attempt, 1).await;
    let (turn, texts) = it.claim(&session, attempt).await.unwrap();
    assert_eq!(texts, ["text of first"], "of its chat alone, however many wait in others");
    assert!(it.db.accept(message("now there is room"), "key".into(), None).await.is_ok());
    it.command("/stop").await;
    it.finish(&session, attempt, 2, turn, finish(Outcome::Interrupted, &[])).await;
    let told = it.told().await;
    assert!(told.starts_with("The turn was stopped"), "{told}");
}

#[tokio::test]
async fn a_turn_takes_what_fits_and_no_more_of_ten_thousand_in_order() {
    let it = Fixture::new();
    let session = it.accept("first").await;
    it.flood(&session, "x", MOST_WAITING - 1).await;
    let attempt = it.begin(&session).await;
    it.ready(&session, attempt, 1).await;
    let (turn, _) = it.claim(&session, attempt).await.unwrap();
    it.finish(&session, attempt, 2, turn, finish(Outcome::Completed, &["ok"])).await;
    let (_, texts) = it.claim(&session, attempt).await.unwrap();
    let expected: Vec<String> = (1..=super::super::claim::BATCH_MESSAGES).map(|n| n.to_string()).collect();
    assert_eq!(texts, expected);
}
