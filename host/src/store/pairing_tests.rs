//! Pairing on a real database: what a code gives, what it never takes, and that it is one step.

use super::*;
use crate::model::approval::{ApprovalEvent, ApprovalKind};
use crate::store::approvals::{Asked, Effect, NewApproval};
use crate::store::ground::Ground;
use crate::store::group::outbox::NextReply;
use crate::store::people::{Pairing, RoleRow};

const CODE: [u8; 32] = [7; 32];

async fn central() -> (tempfile::TempDir, Central) {
    let dir = tempfile::tempdir().unwrap();
    let central = Central::open(&dir.path().join("central.db"), &Ground::default()).unwrap();
    central.put_group(&demo(), "{}".into(), String::new()).await.unwrap();
    (dir, central)
}

fn demo() -> Folder {
    "demo".parse().unwrap()
}

fn user(channel: &str) -> NewUser {
    NewUser { channel: channel.into(), user_id: "5".into(), name: "Ada".into(), direct: None }
}

fn chat(channel: &str) -> ChatRef {
    ChatRef { channel: channel.into(), chat_id: "5".into(), thread_id: None }
}

async fn code(central: &Central, role: Option<Role>, folder: Option<Folder>, person: Option<i64>) {
    code_of(central, CODE, role, folder, person).await;
}

async fn code_of(
    central: &Central,
    code: [u8; 32],
    role: Option<Role>,
    folder: Option<Folder>,
    person: Option<i64>,
) {
    let expires_at = now_ms() + 60_000;
    central.put_pairing(Pairing { code, role, folder, person, expires_at }).await.unwrap();
}

/// The user of the channel shows the code, in another message each time.
async fn shows(central: &Central, channel: &str) -> Result<Option<Paired>, StoreError> {
    let platform_id = uuid::Uuid::new_v4().to_string();
    Ok(match shows_in(central, channel, &platform_id).await? {
        Some(Shown::Opened(paired)) => Some(paired),
        _ => None,
    })
}

async fn shows_in(central: &Central, channel: &str, platform_id: &str) -> Result<Option<Shown>, StoreError> {
    shows_code(central, CODE, channel.to_owned(), platform_id).await
}

async fn shows_code(
    central: &Central,
    code: [u8; 32],
    channel: String,
    platform_id: &str,
) -> Result<Option<Shown>, StoreError> {
    let showing = Showing {
        code,
        user: user(&channel),
        chat: chat(&channel),
        kind: ChatKind::Direct,
        title: None,
        platform_id: platform_id.into(),
    };
    let shown = central.pair(showing, |shown| format!("{shown:?}")).await?;
    Ok(shown.map(|(shown, _)| shown))
}

async fn roles(central: &Central, person: i64) -> Vec<RoleRow> {
    central.person(person).await.unwrap().unwrap().roles
}

#[tokio::test]
async fn a_code_raises_a_role_and_never_lowers_one() {
    let (_dir, central) = central().await;
    let admin = RoleRow { folder: Some(demo()), role: Role::Admin };
    let person = central.put_user(user("tg"), Some((Role::Member, Some(demo()))), "me").await.unwrap();
    code(&central, Some(Role::Admin), Some(demo()), None).await;
    let paired = shows(&central, "tg").await.unwrap().unwrap();
    assert_eq!(paired, Paired { person, role: Some(Role::Admin), wired: Some(demo()) });
    assert_eq!(roles(&central, person).await, std::slice::from_ref(&admin));
    code(&central, Some(Role::Guest), Some(demo()), None).await;
    let paired = shows(&central, "tg").await.unwrap().unwrap();
    assert_eq!(paired.role, Some(Role::Admin), "and the greeting says so");
    assert_eq!(roles(&central, person).await, [admin]);
}

#[tokio::test]
async fn an_approval_of_a_sender_never_lowers_a_role() {
    let (_dir, central) = central().await;
    let new = NewApproval {
        kind: ApprovalKind::Sender,
        asker: "5".into(),
        chat: chat("tg"),
        user_id: Some("5".into()),
        folder: Some(demo()),
        words: "may they?".into(),
        choices: Vec::new(),
        told: None,
        bare: false,
    };
    let Asked::New(id, _) = central.ask(new, "1".into(), "{}".into()).await.unwrap() else { panic!("it is new") };
    // Meanwhile somebody made them known.
    let person = central.put_user(user("tg"), Some((Role::Admin, Some(demo()))), "me").await.unwrap();
    let effect = Effect { user: Some((user("tg"), Role::Member, Some(demo()))), ..Effect::default() };
    central.decide(id, ApprovalEvent::Approve, ("member".into(), "me".into()), effect, None).await.unwrap();
    assert_eq!(roles(&central, person).await, [RoleRow { folder: Some(demo()), role: Role::Admin }]);
}

#[tokio::test]
async fn a_code_for_a_person_without_a_role_makes_them_known_elsewhere_and_changes_no_role() {
    let (_dir, central) = central().await;
    let person = central.put_user(user("tg"), Some((Role::Owner, None)), "me").await.unwrap();
    code(&central, None, Some(demo()), Some(person)).await;
    let paired = shows(&central, "irc").await.unwrap().unwrap();
    assert_eq!(paired, Paired { person, role: Some(Role::Owner), wired: Some(demo()) });
    let known = central.person(person).await.unwrap().unwrap();
    assert_eq!(known.users.len(), 2);
    assert_eq!(known.roles, [RoleRow { folder: None, role: Role::Owner }]);
    // Also while there is no owner: nobody becomes one by that.
    central.set_role(person, None, None, "me").await.unwrap();
    code(&central, None, None, Some(person)).await;
    assert_eq!(shows(&central, "irc").await.unwrap().unwrap().role, None);
    assert!(roles(&central, person).await.is_empty());
}

#[tokio::test]
async fn a_pairing_is_one_step_so_a_code_that_did_not_do_all_is_still_good() {
    let (_dir, central) = central().await;
    code(&central, Some(Role::Owner), Some(demo()), None).await;
    let run = async |sql: &'static str| {
        central.db.write(Durability::Relaxed, move |tx| Ok(tx.execute_batch(sql)?)).await.unwrap();
    };
    run("CREATE TRIGGER broken BEFORE INSERT ON posts BEGIN SELECT RAISE(ABORT, 'as told'); END").await;
    assert!(shows_in(&central, "tg", "1").await.is_err());
    assert!(central.people().await.unwrap().is_empty(), "nobody is known");
    assert!(
        central.wirings_of("tg", "5").await.unwrap().is_empty() && central.chat("tg", "5").await.unwrap().is_none()
    );
    run("DROP TRIGGER broken").await;
    let shown = shows_in(&central, "tg", "1").await.unwrap();
    assert!(matches!(shown, Some(Shown::Opened(_))), "the same message, again");
    assert_eq!(central.wirings_of("tg", "5").await.unwrap().len(), 1);
    assert!(central.chat("tg", "5").await.unwrap().is_some());
    assert!(!central.answer(&chat("tg"), "1", None).await.unwrap(), "it is answered");
    assert!(matches!(central.next_post(&chat("tg")).await.unwrap(), NextReply::Due));
    assert!(shows(&central, "tg").await.unwrap().is_none(), "once");
}

#[tokio::test]
async fn a_message_shows_one_code_and_one_that_was_answered_tries_no_other() {
    let (_dir, central) = central().await;
    assert_eq!(shows_in(&central, "tg", "1").await.unwrap(), Some(Shown::Wrong));
    code(&central, Some(Role::Owner), None, None).await;
    assert_eq!(shows_in(&central, "tg", "1").await.unwrap(), None, "also not a right one");
    assert!(matches!(shows_in(&central, "tg", "2").await.unwrap(), Some(Shown::Opened(_))));
}

#[tokio::test]
async fn a_code_for_one_person_takes_no_role_of_another_who_shows_it_and_gives_none_away() {
    let (_dir, central) = central().await;
    let owner = central.put_user(user("tg"), Some((Role::Owner, None)), "me").await.unwrap();
    let other = central.put_user(user("irc"), Some((Role::Member, Some(demo()))), "me").await.unwrap();
    code(&central, None, None, Some(other)).await;
    assert_eq!(shows_in(&central, "tg", "1").await.unwrap(), Some(Shown::Another));
    assert_eq!(roles(&central, owner).await, [RoleRow { folder: None, role: Role::Owner }]);
    assert_eq!(roles(&central, other).await, [RoleRow { folder: Some(demo()), role: Role::Member }]);
    // Nor the other way round.
    code_of(&central, [8; 32], None, None, Some(owner)).await;
    let showing = |channel: &str| shows_code(&central, [8; 32], channel.to_owned(), "2");
    assert_eq!(showing("irc").await.unwrap(), Some(Shown::Another));
    assert_eq!(central.people().await.unwrap().len(), 2);
    // Both codes are good; who has nothing to lose may show one.
    central.set_role(other, Some(demo()), None, "me").await.unwrap();
    let person = match shows_code(&central, [8; 32], "irc".into(), "3").await.unwrap() {
        Some(Shown::Opened(paired)) => paired.person,
        shown => panic!("{shown:?}"),
    };
    assert_eq!(person, owner);
    assert!(central.person(other).await.unwrap().is_none(), "nobody is left of them");
}
