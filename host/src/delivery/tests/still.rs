//! A chat whose rows get another id: nothing is being handed over meanwhile, so nothing looks like a lease that a crash lost.

use super::*;

#[tokio::test]
async fn who_holds_a_chat_still_waits_for_what_is_handed_over_and_nothing_begins_before_they_let_go() {
    let f = Fixture::new(false).await;
    f.script("slow", &[Answer::TakesAndHangs]);
    f.say("a", &["slow"]).await;
    f.sent(1).await;
    let still = f.delivery.still(&chat("a")).await;
    let kept = f.db.kept(&chat("a")).await;
    assert_eq!((kept[0].state.as_str(), kept[0].doubt), ("pending", 1), "what came of it is written down");
    f.db.reply_time_passes().await;
    f.delivery.look_again();
    f.nudge("a");
    // Others go on; by then the chat that is held still would have gone too.
    f.say("b", &["one", "two", "three"]).await;
    f.all_delivered("b").await;
    assert_eq!(f.db.kept(&chat("a")).await[0].state, "pending", "nothing is leased there");
    drop(still);
    let kept = f.all_delivered("a").await;
    assert_eq!(kept[0].doubt, 1, "and no lease was taken for lost");
}
