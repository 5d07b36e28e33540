//! Whom nobody knows: who is asked about them, what was held then, and who gets nowhere.

use super::*;

#[tokio::test]
async fn an_unknown_chat_waits_for_the_owner_and_what_it_said_is_taken_in_after_a_yes() {
    let f = Fixture::owned().await;
    assert_eq!(f.says(STRANGER, direct(STRANGER), "hello").await, Taken::Accepted);
    assert_eq!(f.says(STRANGER, direct(STRANGER), "are you there?").await, Taken::Accepted);
    assert!(f.accepted().is_empty(), "it waits");
    let told = f.posts(direct(STRANGER)).await;
    assert_eq!(told.len(), 1, "the stranger is told once");
    let asked = f.posts(direct(OWNER)).await.remove(0);
    let labels: Vec<_> = asked.buttons.iter().map(|button| button.label.as_str()).collect();
    assert_eq!(labels, ["demo", "ops", "No"]);
    assert_eq!(f.presses(OWNER, direct(OWNER), &asked.buttons[1].data).await, Taken::Done("ops".into()));
    f.looks().await;
    assert_eq!(f.accepted(), ["ops", "ops"], "both messages, in order");
    let end = f.posts(direct(OWNER)).await.remove(0);
    assert!(end.text.contains("approved by name of 1") && end.buttons.is_empty() && end.onto == ["9"]);
    assert_eq!(f.says(STRANGER, direct(STRANGER), "more").await, Taken::Accepted);
    assert_eq!(f.accepted(), ["ops"], "they are a member now");
    f.looks().await;
    assert!(f.accepted().is_empty(), "nothing is taken twice");
}

#[tokio::test]
async fn a_no_is_for_good_and_counted() {
    let f = Fixture::owned().await;
    f.says(STRANGER, direct(STRANGER), "hello").await;
    assert!(matches!(f.says(OWNER, direct(OWNER), "/deny").await, Taken::Done(_)));
    assert_eq!(f.says(STRANGER, direct(STRANGER), "please").await, Taken::Dropped("denied"));
    f.looks().await;
    assert!(f.accepted().is_empty());
    assert_eq!(f.drops().await, [(STRANGER.to_owned(), "denied".to_owned(), 2)]);
    assert_eq!(f.stores.central().first_held(1).await.unwrap(), None);
}

#[tokio::test]
async fn an_intruder_gets_nowhere_and_each_attempt_is_counted() {
    let f = Fixture::owned().await;
    f.wire(group("-5"), "demo", None).await;
    let attempts = [
        (f.says(STRANGER, group("-5"), "hello").await, "unknown-sender"),
        (f.says(STRANGER, group("-5"), "/approve 1").await, "unknown-sender"),
        (f.says(STRANGER, direct(STRANGER), "/pair AAAA-AAAA").await, "bad-code"),
        (f.presses(STRANGER, group("-5"), "a:1:0").await, "bad-press"),
        (f.presses(STRANGER, group("-5"), "q:00000000:1:0").await, "bad-press"),
        (f.presses(STRANGER, group("-5"), "nonsense").await, "bad-press"),
    ];
    for (taken, reason) in attempts {
        assert_eq!(taken, Taken::Dropped(reason));
    }
    f.says(STRANGER, direct(STRANGER), "hello").await;
    let asked = f.posts(direct(OWNER)).await.remove(0);
    let forged = f.presses(STRANGER, direct(STRANGER), &asked.buttons[0].data).await;
    assert_eq!(forged, Taken::Dropped("above-role"), "nobody lets themselves in");
    let counted: u64 = f.drops().await.iter().filter(|(sender, ..)| sender == STRANGER).map(|row| row.2).sum();
    assert_eq!(counted, 7);
    assert!(f.accepted().is_empty());
}

#[tokio::test]
async fn who_becomes_known_is_asked_what_waits_and_only_what_they_may_decide() {
    let f = Fixture::new().await;
    f.wire(direct("9"), "demo", Some(UnknownPolicy::Ask)).await;
    f.says("9", direct("9"), "may I?").await;
    f.says(STRANGER, direct(STRANGER), "hello").await;
    let central = f.stores.central();
    assert_eq!((central.unasked_approvals().await.unwrap(), f.posts(direct(OWNER)).await.len()), (2, 0));
    // An admin of one group, who was made known on the host, and writes for the first time.
    let user = crate::store::people::NewUser {
        channel: "tg".into(),
        user_id: "5".into(),
        name: "Bea".into(),
        direct: None,
    };
    central.put_user(user, Some((Role::Admin, Some("demo".parse().unwrap()))), "me").await.unwrap();
    f.looks().await;
    assert_eq!(central.unasked_approvals().await.unwrap(), 2, "nobody can be reached yet");
    f.says("5", direct("5"), "/status").await;
    f.posts(direct("5")).await;
    f.looks().await;
    let asked = f.posts(direct("5")).await;
    assert_eq!(asked.len(), 1, "the sender's, and not the unwired chat's: {asked:?}");
    assert!(asked[0].text.contains("may I?") && asked[0].buttons.len() == 3);
    assert_eq!(central.unasked_approvals().await.unwrap(), 1);
    // An owner pairs, and is asked both; one press decides.
    let new = NewCode { role: Some(Role::Owner), folder: None, person: None, lasts: Duration::from_secs(60) };
    let code = f.desk.new_code(new).await.unwrap();
    f.says(OWNER, direct(OWNER), &format!("/pair {code}")).await;
    f.looks().await;
    f.looks().await;
    let told = f.posts(direct(OWNER)).await;
    assert_eq!(told.len(), 3, "the greeting, and each once: {told:?}");
    assert!(told[0].text.contains("You are an owner"));
    assert_eq!(central.unasked_approvals().await.unwrap(), 0);
    let wiring = told.iter().find(|post| post.text.contains("hello")).unwrap();
    assert_eq!(f.presses(OWNER, direct(OWNER), &wiring.buttons[0].data).await, Taken::Done("demo".into()));
    f.looks().await;
    assert_eq!(f.accepted(), ["demo"], "what was held is taken in");
}

const UNKNOWN: &str = "I do not know you yet";
const UNWIRED: &str = "This chat is not connected to an agent yet";

#[tokio::test]
async fn the_start_with_which_a_chat_begins_is_asked_about_as_a_message_and_nothing_of_it_reaches_the_agent() {
    let f = Fixture::owned().await;
    for _ in 0..3 {
        assert_eq!(f.says(STRANGER, direct(STRANGER), "/start").await, Taken::Accepted);
    }
    let told = f.posts(direct(STRANGER)).await;
    assert!(told.len() == 1 && told[0].text.starts_with(UNWIRED), "{told:?}");
    let asked = f.posts(direct(OWNER)).await;
    assert!(asked.len() == 1 && asked[0].text.contains("“/start”"), "{asked:?}");
    assert_eq!(f.presses(OWNER, direct(OWNER), &asked[0].buttons[0].data).await, Taken::Done("demo".into()));
    f.looks().await;
    assert!(f.accepted().is_empty(), "it is no prompt");
    let told = f.posts(direct(STRANGER)).await;
    assert!(told.len() == 1 && told[0].text.starts_with("Write, and the agent answers."), "once: {told:?}");
    f.says(STRANGER, direct(STRANGER), "hello").await;
    assert_eq!(f.texts("demo").await, ["hello"]);
}

#[tokio::test]
async fn a_start_in_a_wired_chat_is_as_its_policy_says_and_other_commands_of_strangers_are_dropped() {
    let f = Fixture::owned().await;
    for (id, policy) in [("2", UnknownPolicy::Ask), ("3", UnknownPolicy::Drop), ("4", UnknownPolicy::Public)] {
        f.wire(direct(id), "demo", Some(policy)).await;
    }
    assert_eq!(f.says("2", direct("2"), "/start").await, Taken::Accepted);
    let told = f.posts(direct("2")).await;
    assert!(told.len() == 1 && told[0].text.starts_with(UNKNOWN), "{told:?}");
    assert!(f.posts(direct(OWNER)).await[0].text.contains("“/start”"));
    for (id, text) in [("3", "/start"), ("2", "/help"), ("2", "/status"), (STRANGER, "/help")] {
        assert_eq!(f.says(id, direct(id), text).await, Taken::Dropped("unknown-sender"), "{text}");
        assert!(f.posts(direct(id)).await.is_empty(), "{text}");
    }
    assert!(matches!(f.says("4", direct("4"), "/start").await, Taken::Done(_)), "they are a guest");
    assert!(f.posts(direct(OWNER)).await.is_empty(), "asked once");
    f.says(OWNER, direct(OWNER), "/deny 1").await;
    assert_eq!(f.says("2", direct("2"), "/start").await, Taken::Dropped("denied"));
    f.looks().await;
    assert!(f.accepted().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_presses_start_without_end_is_slowed_as_with_messages() {
    let f = Fixture::owned().await;
    for _ in 0..crate::desk::floods::BURST {
        assert_eq!(f.says(STRANGER, direct(STRANGER), "/start").await, Taken::Accepted);
    }
    f.posts(direct(STRANGER)).await;
    f.says(STRANGER, direct(STRANGER), "/start").await;
    let told = f.posts(direct(STRANGER)).await;
    assert!(told.len() == 1 && told[0].text.starts_with("You write faster"), "{told:?}");
    assert_eq!(f.stores.central().open_approvals().await.unwrap(), 1);
}

#[tokio::test]
async fn programs_are_asked_nobody_about_whatever_they_begin_with() {
    let f = Fixture::owned().await;
    let counter = f.desk.intake("tg", Writers::Programs);
    let written = Written { text: "/start".into(), addressed: true, ..Written::default() };
    let start = f.arrival(STRANGER, direct(STRANGER), Content::Message(written));
    assert_eq!(counter.take(start).await, Ok(Taken::Dropped("unwired")));
    assert!(f.posts(direct(OWNER)).await.is_empty());
}
