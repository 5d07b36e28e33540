//! Which group an unwired chat is for.

use super::*;

impl Fixture {
    /// With these groups besides `demo` and `ops`.
    async fn with_groups(more: &[&str]) -> Self {
        let f = Self::owned().await;
        for folder in more {
            f.stores.central().put_group(&folder.parse().unwrap(), "{}".into(), String::new()).await.unwrap();
        }
        f
    }

    /// What the owner's command is answered with.
    async fn obeys(&self, text: &str) -> String {
        match self.says(OWNER, direct(OWNER), text).await {
            Taken::Done(words) => words,
            other => panic!("{other:?}"),
        }
    }
}

const MORE: [&str; 6] = ["g3", "g4", "g5", "g6", "seventh", "the-eighth"];

#[tokio::test]
async fn a_chat_may_be_for_any_group_and_those_without_a_button_are_named() {
    let f = Fixture::with_groups(&MORE).await;
    f.says(STRANGER, direct(STRANGER), "hello").await;
    let asked = f.posts(direct(OWNER)).await.remove(0);
    let labels: Vec<_> = asked.buttons.iter().map(|button| button.label.as_str()).collect();
    assert_eq!(labels, ["demo", "g3", "g4", "g5", "g6", "ops", "No"]);
    assert!(asked.text.ends_with("· others: /approve 1 GROUP (seventh, the-eighth)"), "{}", asked.text);
    for none in ["nobody", "seventh:all", "../x"] {
        let words = f.obeys(&format!("/approve 1 {none}")).await;
        assert!(words.contains("does not take") && words.contains("any other group"), "{words}");
    }
    assert_eq!(f.obeys("/approve 1 Seventh").await, "Approval 1: seventh");
    f.looks().await;
    assert_eq!(f.accepted(), ["seventh"]);
    let row = f.stores.central().approval(1).await.unwrap().unwrap();
    assert_eq!(row.choice.as_deref(), Some("seventh"));
}

#[tokio::test]
async fn a_chat_with_others_may_be_for_any_group_with_everybody_in_it() {
    let f = Fixture::with_groups(&MORE).await;
    f.says(STRANGER, group("-5"), "hello").await;
    let asked = f.posts(direct(OWNER)).await.remove(0);
    assert!(asked.text.contains("others: /approve 1 GROUP or GROUP:all (seventh, the-eighth)"), "{}", asked.text);
    assert_eq!(f.obeys("/approve 1 seventh:all").await, "Approval 1: seventh: everybody there");
    f.looks().await;
    assert_eq!(f.accepted(), ["seventh"]);
    let chat = f.stores.central().chat("tg", "-5").await.unwrap().unwrap();
    assert_eq!(chat.unknown, Some(UnknownPolicy::Public));
}

#[tokio::test]
async fn only_a_wiring_takes_a_group_and_where_all_have_a_button_none_is_named() {
    let f = Fixture::owned().await;
    f.says(STRANGER, direct(STRANGER), "hello").await;
    assert!(!f.posts(direct(OWNER)).await[0].text.contains("others"));
    // One that is made while it waits is taken too, also on the host.
    f.stores.central().put_group(&"late".parse().unwrap(), "{}".into(), String::new()).await.unwrap();
    let (_, made) = f.desk.decide(&Decider::Host, 1, Some("late")).await.unwrap();
    assert_eq!(made.word, "late");
    f.wire(direct("9"), "demo", Some(UnknownPolicy::Ask)).await;
    f.says("9", direct("9"), "may I?").await;
    let error = f.desk.decide(&Decider::Host, 2, Some("ops")).await.unwrap_err();
    assert!(matches!(&error, DecideError::Word { takes, .. } if takes == &["member", "guest", "deny"]), "{error}");
}

#[tokio::test]
async fn whoever_may_not_decide_on_a_wiring_does_not_by_naming_their_own_group() {
    let f = Fixture::with_groups(&MORE).await;
    let user = crate::store::people::NewUser {
        channel: "tg".into(),
        user_id: "5".into(),
        name: "Bea".into(),
        direct: Some("5".into()),
    };
    let admin = Some((Role::Admin, Some("seventh".parse().unwrap())));
    f.stores.central().put_user(user, admin, "me").await.unwrap();
    f.says(STRANGER, direct(STRANGER), "hello").await;
    f.says("5", direct("5"), "/approve 1 seventh").await;
    let told = f.posts(direct("5")).await;
    assert!(told.iter().any(|post| post.text.contains("takes the role admin")), "{told:?}");
    assert_eq!(f.stores.central().open_approvals().await.unwrap(), 1);
}
