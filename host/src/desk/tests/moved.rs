//! Chats that got another id.

use super::*;

#[tokio::test]
async fn what_comes_under_an_old_id_is_of_the_chat_that_it_is_now() {
    let f = Fixture::owned().await;
    f.wire(group("-5"), "demo", Some(UnknownPolicy::Public)).await;
    f.says("2", group("-5"), "before").await;
    let written = Written { text: "twice".into(), addressed: true, ..Written::default() };
    let twice = f.arrival("2", group("-5"), Content::Message(written));
    f.counter.take(twice.clone()).await.unwrap();
    f.counter.moved("-5", "-1005").await.unwrap();
    f.counter.moved("-5", "-1005").await.unwrap();
    assert_eq!(f.counter.take(twice).await.unwrap(), Taken::Known, "what was read before is known");
    assert_eq!(f.says("2", group("-5"), "late").await, Taken::Accepted);
    assert_eq!(f.says("2", group("-1005"), "after").await, Taken::Accepted);
    let store = f.stores.group(&"demo".parse().unwrap()).await.unwrap();
    let sessions = store.due_sessions().await.unwrap();
    assert_eq!(sessions.len(), 1, "one conversation");
    assert!(f.stores.central().pending_moves().await.unwrap().is_empty());
    assert_eq!(f.stores.central().wirings_of("tg", "-1005").await.unwrap().len(), 1);
    assert_eq!(f.texts("demo").await, ["before", "twice", "late", "after"]);
}

#[tokio::test]
async fn a_chat_that_cannot_move_yet_holds_up_no_other_and_nothing_else_that_is_due() {
    let f = Fixture::owned().await;
    for id in [BUSY, "-5"] {
        f.wire(group(id), "demo", Some(UnknownPolicy::Public)).await;
    }
    f.counter.moved(BUSY, "-1013").await.unwrap();
    let moving = tokio::spawn({
        let desk = f.desk.clone();
        async move { desk.move_all().await }
    });
    // It has the chat's lock when nobody else gets it.
    let goal = ("tg".to_owned(), "-1013".to_owned());
    while f.desk.inner.moving.to(&goal).try_lock().is_ok() {
        tokio::task::yield_now().await;
    }
    f.counter.moved("-5", "-1005").await.unwrap();
    let others = async {
        assert_eq!(f.says("2", group("-5"), "late").await, Taken::Accepted);
        f.says(STRANGER, direct(STRANGER), "hello").await;
        f.desk.look().await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(60), others).await.expect("nobody waits for the other chat");
    assert_eq!(f.stores.central().wirings_of("tg", "-1005").await.unwrap().len(), 1);
    moving.abort();
}
