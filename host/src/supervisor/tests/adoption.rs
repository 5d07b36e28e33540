//! What an earlier daemon left and nobody can go on with.

use super::*;
use crate::model::command::Command;
use crate::store::group::models::Inherited;

#[tokio::test]
async fn the_end_of_a_turn_whose_runner_cannot_be_reached_is_told_to_who_watches() {
    let it = Fixture::new().await;
    let store = it.stores.group(&it.folder).await.unwrap();
    let attempt = store.begin_attempt(&it.session, ProviderKind::Mock, String::new()).await.unwrap();
    store.set_container(&it.session, attempt, ID.into()).await.unwrap();
    store.claim(&it.session, attempt, Inherited::default()).await.unwrap();
    let stop = Inbound { platform_id: "2".into(), text: "/stop".into(), ..hi() };
    it.stores.accept(&it.folder, stop, "key".into(), Some(Command::Stop)).await.unwrap();
    let mut live = it.supervisor.inner.parts.hub.watch(&it.session);
    it.supervisor.recover();
    let ended = async {
        loop {
            if let Live::Ended(ended) = &*live.recv().await.unwrap() {
                return ended.outcome.clone();
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(12), ended).await.expect("it is told");
    assert_eq!(ended, ChatOutcome::Interrupted);
}
