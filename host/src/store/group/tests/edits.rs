//! A message changes while nobody has read it, and never after.

use cofferdam_protocol::runner::ControlRequest;

use super::*;

fn from(sender: &str, id: &str) -> Inbound {
    Inbound { sender_id: Some(sender.into()), ..message(id) }
}

async fn edit(f: &Fixture, sender: &str, id: &str, text: &str) -> bool {
    f.db.edit(&chat(None), id, sender, text).await.unwrap()
}

#[tokio::test]
async fn a_message_that_waits_has_its_senders_last_words() {
    let f = Fixture::new();
    let session = f.say(from("u", "1")).await.session;
    f.say(from("u", "2")).await;
    assert!(!edit(&f, "other", "1", "not theirs").await);
    assert!(edit(&f, "u", "1", "better").await && edit(&f, "u", "1", "best").await);
    assert!(!edit(&f, "u", "3", "there is none").await);
    let attempt = f.begin(&session).await;
    let claimed = f.claimed(&session, attempt).await.unwrap();
    let texts: Vec<_> = claimed.messages.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, ["best", "text of 2"]);
    assert!(!edit(&f, "u", "1", "too late").await);
    let again = f.claimed(&session, attempt).await.unwrap();
    assert_eq!(again.messages[0].text, "best", "a runner that asks again reads the same");
    let outcome = Outcome::Completed;
    f.finish(&session, attempt, 1, claimed.turn, finish(outcome, &[])).await;
    assert!(!edit(&f, "u", "2", "far too late").await);
}

#[tokio::test]
async fn what_a_turn_was_offered_or_gave_back_does_not_change() {
    let f = Fixture::new();
    let session = f.say(from("u", "1")).await.session;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.say(from("u", "2")).await;
    let request = ControlRequest { attempt, turn, interrupted: false, offered: Vec::new() };
    assert_eq!(f.db.orders(&session, request, true).await.unwrap().steer.len(), 1);
    assert!(!edit(&f, "u", "2", "the provider may have it").await);
    f.end(&session, attempt, true).await;
    assert!(!edit(&f, "u", "1", "so may it have this").await, "its container is gone, and it waits again");
}

#[tokio::test]
async fn a_command_stays_what_it_is_and_notes_about_files_stay() {
    let f = Fixture::new();
    f.say(Inbound { text: "/clear".into(), ..from("u", "1") }).await;
    assert!(!edit(&f, "u", "1", "hello").await);
    let note = "\n[the file a.zip could not be taken: it has over 1 bytes]";
    let session = f.say(Inbound { text: format!("look{note}"), ..from("u", "2") }).await.session;
    assert!(edit(&f, "u", "2", "look here").await);
    let attempt = f.begin(&session).await;
    let claimed = f.claimed(&session, attempt).await.unwrap();
    assert_eq!(claimed.messages[0].text, format!("look here{note}"));
}
