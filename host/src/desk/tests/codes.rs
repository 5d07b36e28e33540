//! Pairing codes: what they open, once, and for whom nobody listens.

use super::*;

#[tokio::test]
async fn an_owners_code_may_name_a_group_and_wires_the_chat_to_it() {
    let f = Fixture::new().await;
    let folder = Some("ops".parse().unwrap());
    let new = NewCode { role: Some(Role::Owner), folder, person: None, lasts: Duration::from_secs(60) };
    let code = f.desk.new_code(new).await.unwrap();
    assert!(matches!(f.says(OWNER, direct(OWNER), &format!("/pair {code}")).await, Taken::Done(_)));
    assert_eq!(f.says(OWNER, direct(OWNER), "hello").await, Taken::Accepted);
    assert_eq!(f.accepted(), ["ops"]);
    let known = f.stores.central().look(&chat(OWNER), OWNER).await.unwrap().sender;
    assert_eq!(known.everywhere(), Some(Role::Owner));
}

#[tokio::test]
async fn a_code_opens_once_and_a_message_is_answered_once() {
    let f = Fixture::new().await;
    let folder = Some("demo".parse().unwrap());
    let new = NewCode { role: Some(Role::Member), folder, person: None, lasts: Duration::from_secs(60) };
    let code = f.desk.new_code(new).await.unwrap();
    assert!(matches!(f.says("2", direct("2"), &format!("/start {code}")).await, Taken::Done(_)));
    assert_eq!(f.says("3", direct("3"), &format!("/pair {code}")).await, Taken::Dropped("bad-code"));
    assert_eq!(f.says("2", direct("2"), "hello").await, Taken::Accepted, "their chat is wired");
    assert_eq!(f.accepted(), ["demo"]);
    let written = Written { text: "/help".into(), addressed: true, ..Written::default() };
    let help = f.arrival("2", direct("2"), Content::Message(written));
    for _ in 0..3 {
        f.counter.take(help.clone()).await.unwrap();
    }
    assert_eq!(f.posts(direct("2")).await.len(), 2, "the welcome, and one help");
}

#[tokio::test]
async fn a_message_guesses_one_code_and_five_wrong_ones_are_all_that_a_sender_has() {
    let f = Fixture::owned().await;
    let code = async || {
        let new = NewCode { role: Some(Role::Member), folder: None, person: None, lasts: Duration::from_secs(60) };
        f.desk.new_code(new).await.unwrap()
    };
    let shows = |text: String| {
        let written = Written { text: format!("/pair {text}"), addressed: true, ..Written::default() };
        f.arrival("2", direct("2"), Content::Message(written))
    };
    let first = shows("AAAA-AAAA".into());
    assert_eq!(f.counter.take(first.clone()).await, Ok(Taken::Dropped("bad-code")));
    for _ in 0..9 {
        let again = Arrival { platform_id: first.platform_id.clone(), ..shows(code().await) };
        assert_eq!(f.counter.take(again).await, Ok(Taken::Known), "the same message tries no other");
    }
    assert!(matches!(f.counter.take(shows(code().await)).await, Ok(Taken::Done(_))), "a new one does");
    for _ in 1..5 {
        f.counter.take(shows("AAAA-AAAA".into())).await.unwrap();
    }
    assert_eq!(f.counter.take(shows(code().await)).await, Ok(Taken::Dropped("bad-code")), "nobody listens");
}
