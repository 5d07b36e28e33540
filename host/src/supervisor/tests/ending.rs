//! Groups whose sessions are ended for whoever wants their files.

use super::*;

/// No actor looks after the container: its group's database cannot be read, or the actor broke.
async fn with_a_container_of_nobodys(set_aside: bool) -> Fixture {
    let it = Fixture::new().await;
    let attempt = it.leave_a_container().await;
    if set_aside {
        it.stores.central().set_aside(&it.folder, Some("a test".into())).await.unwrap();
    }
    *lock(&it.engine.has) = Some(vec![it.found(attempt)]);
    it
}

#[tokio::test]
async fn nobody_gets_a_groups_files_before_a_container_that_nobody_looks_after_is_gone() {
    for (set_aside, why) in [(true, GroupEnd::Restore), (false, GroupEnd::Removal)] {
        let it = with_a_container_of_nobodys(set_aside).await;
        it.supervisor.end_group(&it.folder, why).await.expect("the engine answers");
        assert_eq!(*lock(&it.engine.removed), [ContainerId(ID.into())], "{why:?}");
    }
}

#[tokio::test]
async fn nobody_gets_a_groups_files_while_the_engine_cannot_tell_of_its_containers() {
    let it = with_a_container_of_nobodys(true).await;
    *lock(&it.engine.has) = None;
    tokio::time::pause();
    let ended = it.supervisor.end_group(&it.folder, GroupEnd::Restore).await;
    assert!(matches!(ended, Err(NotEnded::Engine(_))));
}

#[tokio::test]
async fn the_container_of_a_group_that_is_set_aside_is_removed_at_the_start() {
    let it = with_a_container_of_nobodys(true).await;
    it.supervisor.recover();
    while !it.supervisor.inner.recovery.is_listed() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(*lock(&it.engine.removed), [ContainerId(ID.into())]);
}

#[tokio::test]
async fn a_stop_is_answered_also_when_a_container_does_not_end_though_the_engine_is_well() {
    let it = Fixture::new().await;
    let attempt = it.leave_a_container().await;
    *lock(&it.engine.has) = Some(vec![it.found(attempt)]);
    it.supervisor.recover();
    it.until("adopted", |view| view.container.is_some() && view.note.is_none()).await;
    tokio::time::pause();
    let stopped = it.supervisor.stop(&it.session).await;
    assert!(matches!(stopped, Err(NotEnded::Lingers(session)) if session == it.session));
}
