//! What somebody answers is shown to the agent, and nothing is decided by it.

use super::*;
use crate::desk::floods::BURST;
use crate::model::engage::EngageMode;

const ADAS: &str = "deploy is on Friday";

fn answering(quote: &str, text: &str, addressed: bool) -> Written {
    Written { text: text.into(), quote: Some(quote.into()), addressed, ..Written::default() }
}

impl Fixture {
    async fn hands_in(&self, sender: &str, of: (ChatRef, ChatKind), written: Written) -> (Arrival, Taken) {
        let arrival = self.arrival(sender, of, Content::Message(written));
        let taken = self.counter.take(arrival.clone()).await.unwrap();
        (arrival, taken)
    }
}

#[tokio::test]
async fn a_pattern_does_not_fit_what_somebody_else_said() {
    let f = Fixture::open_chat().await;
    let terms =
        Terms { engage: EngageMode::Pattern, pattern: Some("(?i)deploy".into()), ..Terms::of(ChatKind::Group) };
    let wiring = Wiring { channel: "tg".into(), chat_id: "-5".into(), folder: "demo".parse().unwrap(), terms };
    assert!(f.stores.central().wire(wiring).await.unwrap());
    let (_, taken) = f.hands_in("2", group("-5"), answering(ADAS, "lol", false)).await;
    assert_eq!(taken, Taken::Dropped("not-engaged"));
    let (_, taken) = f.hands_in("2", group("-5"), answering("lol", "so we deploy", false)).await;
    assert_eq!(taken, Taken::Accepted);
    assert_eq!(f.texts("demo").await, ["> lol\nso we deploy"], "the agent reads both");
}

#[tokio::test]
async fn an_answer_that_is_given_as_one_to_somebody_else_is_an_option_all_the_same() {
    let f = Fixture::owned().await;
    f.wire(group("-5"), "ops", Some(UnknownPolicy::Public)).await;
    let question = f.asks("ops", group("-5"), &["Yes", "No"]).await;
    let (_, taken) = f.hands_in("2", group("-5"), answering("shall we?", "yes", true)).await;
    assert_eq!(taken, Taken::Accepted);
    assert_eq!(f.question("ops", question).await.answer.as_deref(), Some("Yes"));
}

#[tokio::test]
async fn a_change_leaves_what_is_answered_where_it_is() {
    let f = Fixture::open_chat().await;
    let (arrival, _) = f.hands_in("2", group("-5"), answering(ADAS, "no", true)).await;
    let changed = Arrival { content: Content::Edit(answering(ADAS, "yes", false)), ..arrival };
    assert_eq!(f.counter.take(changed).await, Ok(Taken::Accepted));
    assert_eq!(f.texts("demo").await, [format!("> {ADAS}\nyes")]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_pace_has_it_too_also_changed_and_when_it_is_of_before_it_was_apart() {
    let f = Fixture::open_chat().await;
    let most = usize::try_from(BURST).unwrap();
    for number in 0..most {
        f.says("2", group("-5"), &number.to_string()).await;
    }
    f.hands_in("2", group("-5"), answering(ADAS, "late", true)).await;
    let (arrival, _) = f.hands_in("2", group("-5"), answering(ADAS, "later", true)).await;
    let changed = Arrival { content: Content::Edit(answering(ADAS, "changed", false)), ..arrival };
    assert_eq!(f.counter.take(changed).await, Ok(Taken::Accepted));
    f.attends_until(most + 2).await;
    let before = f.arrival("2", group("-5"), Content::Message(Written { addressed: true, ..Written::default() }));
    let mut row = serde_json::to_value(&before).unwrap();
    row["content"]["Message"] = serde_json::json!({
        "text": format!("> {ADAS}\nof before"), "addressed": true, "files": [], "output_schema": null,
    });
    f.desk.take_again(&serde_json::from_value(row).unwrap(), Vec::new(), None).await.unwrap();
    let texts = f.texts("demo").await;
    let expected = ["late", "changed", "of before"].map(|text| format!("> {ADAS}\n{text}"));
    assert_eq!(texts[most..], expected);
}

#[tokio::test]
async fn what_is_held_for_an_approval_has_it_too() {
    let f = Fixture::owned().await;
    f.hands_in(STRANGER, direct(STRANGER), answering(ADAS, "may I?", true)).await;
    assert!(matches!(f.says(OWNER, direct(OWNER), "/approve").await, Taken::Done(_)));
    f.looks().await;
    assert_eq!(f.texts("demo").await, [format!("> {ADAS}\nmay I?")]);
}
