//! A chat that gets another id, on real files.

use super::*;
use crate::model::approval::ApprovalKind;
use crate::model::chat::{ChatKind, ChatRef, Inbound, SessionMode};
use crate::model::people::{Role, UnknownPolicy};
use crate::store::GroupDb;
use crate::store::approvals::NewApproval;
use crate::store::ground::Ground;
use crate::store::group::outbox::{NextReply, Sent};
use crate::store::people::NewUser;
use crate::store::posts::NewPost;
use crate::store::wirings::{ChatRow, Terms, Wiring};

struct Fixture {
    _dir: tempfile::TempDir,
    central: Central,
    group: GroupDb,
}

fn chat(id: &str) -> ChatRef {
    ChatRef { channel: "tg".into(), chat_id: id.into(), thread_id: None }
}

fn moving() -> Move {
    Move { channel: "tg".into(), from: "-5".into(), to: "-1005".into() }
}

fn message(id: &str, platform_id: &str) -> Inbound {
    Inbound {
        chat: chat(id),
        platform_id: platform_id.into(),
        sender: "Ada".into(),
        sender_id: Some("1".into()),
        text: "hello".into(),
        quote: None,
        output_schema: None,
        files: Vec::new(),
    }
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let central = Central::open(&dir.path().join("central.db"), &Ground::default()).unwrap();
        let folder: Folder = "demo".parse().unwrap();
        central.put_group(&folder, "{}".into(), String::new()).await.unwrap();
        let row = ChatRow { kind: ChatKind::Group, title: None, unknown: Some(UnknownPolicy::Public) };
        central.put_chat("tg", "-5", row).await.unwrap();
        let terms = Terms::of(ChatKind::Group);
        let wiring = Wiring { channel: "tg".into(), chat_id: "-5".into(), folder: folder.clone(), terms };
        central.wire(wiring).await.unwrap();
        let group = GroupDb::open(folder, &dir.path().join("state.db")).unwrap();
        Self { _dir: dir, central, group }
    }

    async fn accept(&self, id: &str, platform_id: &str) -> crate::store::group::inbox::Accepted {
        let key = SessionMode::Shared.session_key(&chat(id));
        self.group.accept(message(id, platform_id), key, None).await.unwrap()
    }

    async fn leased(&self, id: &str) -> Box<crate::model::reply::Outbound> {
        match self.group.lease(&chat(id), true).await.unwrap() {
            NextReply::Leased(reply) => reply,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn wirings_policy_and_what_was_answered_go_along_and_the_old_id_means_the_new() {
    let f = Fixture::new().await;
    f.central
        .put_user(
            NewUser { channel: "tg".into(), user_id: "1".into(), name: "Ada".into(), direct: Some("1".into()) },
            Some((Role::Owner, None)),
            "me",
        )
        .await
        .unwrap();
    let new = NewApproval {
        asker: "666".into(),
        kind: ApprovalKind::Sender,
        chat: chat("-5"),
        user_id: Some("9".into()),
        folder: Some("demo".parse().unwrap()),
        words: "may they?".into(),
        choices: vec![],
        told: None,
        bare: false,
    };
    let arrival = r#"{"chat":{"channel":"tg","chat_id":"-5"},"platform_id":"3","sender":{"id":"9"},
                      "content":{"Message":{"text":"helo"}}}"#;
    f.central.ask(new, "3".into(), arrival.into()).await.unwrap();
    assert!(f.central.answer(&chat("-5"), "3", None).await.unwrap());
    // Somebody noted the new one before, without a policy.
    let row = ChatRow { kind: ChatKind::Group, title: Some("Team".into()), unknown: None };
    f.central.put_chat("tg", "-1005", row).await.unwrap();
    for _ in 0..2 {
        assert!(f.central.chat_moved(moving()).await.unwrap());
    }
    assert!(f.central.wirings_of("tg", "-5").await.unwrap().is_empty());
    assert_eq!(f.central.wirings_of("tg", "-1005").await.unwrap().len(), 1);
    let row = f.central.chat("tg", "-1005").await.unwrap().unwrap();
    assert_eq!((row.unknown, row.title.as_deref()), (Some(UnknownPolicy::Public), Some("Team")));
    assert_eq!(f.central.approvals(false, 9).await.unwrap()[0].chat_id, "-1005");
    let gone = f.central.moves_of("tg", "-5").await.unwrap().gone.unwrap();
    assert!(!f.central.answer(&chat("-1005"), &gone.message("3"), None).await.unwrap(), "it was answered before");
    assert!(f.central.answer(&chat("-1005"), "3", None).await.unwrap(), "the new chat numbers anew");
    let changed = f.central.edit_held(&chat("-1005"), &gone.message("3"), "9", ("hello", None)).await.unwrap();
    assert!(changed, "what is held is changed by the name that a change comes with");
    let pending = f.central.moves_of("tg", "-1005").await.unwrap().pending;
    assert_eq!(pending.len(), 2, "the group's and our own: {pending:?}");
}

#[tokio::test]
async fn a_chat_that_nobody_knows_and_a_way_back_leave_no_trace() {
    let f = Fixture::new().await;
    let strange = Move { from: "-7".into(), ..moving() };
    assert_eq!(f.central.moves_of("tg", "-5").await.unwrap(), Moves::default());
    assert!(!f.central.chat_moved(strange).await.unwrap());
    assert!(f.central.chat_moved(moving()).await.unwrap());
    let back = Move { from: "-1005".into(), to: "-5".into(), ..moving() };
    assert!(!f.central.chat_moved(back).await.unwrap(), "it would never end");
    let on = Move { from: "-1005".into(), to: "-9".into(), ..moving() };
    assert!(f.central.chat_moved(on).await.unwrap());
    assert_eq!(f.central.moves_of("tg", "-5").await.unwrap().gone.unwrap().to, "-9", "the first means the last");
    assert_eq!(f.central.wirings_of("tg", "-9").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_conversation_goes_on_and_the_same_numbers_are_other_messages() {
    let f = Fixture::new().await;
    let first = f.accept("-5", "1").await;
    f.group.put_reply(&chat("-5"), "one").await;
    let reply = f.leased("-5").await;
    f.group.sent(reply.id, Sent { place: 0, id: Some("2".into()), shown: false }, true).await.unwrap();
    f.group.put_reply(&chat("-5"), "two").await;
    for _ in 0..2 {
        f.group.move_chat(moving()).await.unwrap();
    }
    let again = f.group.accept(message("-1005", &moving().message("1")), "chat/2:tg/5:-1005".into(), None);
    assert!(again.await.unwrap().duplicate, "what was taken before is known");
    let next = f.accept("-1005", "1").await;
    assert!(!next.duplicate, "the new chat's first");
    assert_eq!(next.session, first.session, "the same conversation");
    let two = f.leased("-1005").await;
    assert_eq!(two.text, "two", "what was on its way is");
    assert!(matches!(f.group.next_reply(&chat("-5")).await.unwrap(), NextReply::None));
    f.group.run_sql("UPDATE outbox SET action = '{\"edit\":{\"reply\":1}}' WHERE text = 'two'").await;
    assert!(f.leased("-1005").await.onto.is_empty(), "no message of the new chat is taken for one of the old");
}

#[tokio::test]
async fn our_own_words_go_along_but_not_the_numbers_of_what_was_sent() {
    let f = Fixture::new().await;
    f.central.post(NewPost::new(chat("-5"), "one")).await.unwrap();
    let NextReply::Leased(post) = f.central.lease_post(&chat("-5")).await.unwrap() else { panic!() };
    f.central.post_sent(post.id, Sent { place: 0, id: Some("7".into()), shown: false }, false).await.unwrap();
    f.central.chat_moved(moving()).await.unwrap();
    f.central.move_posts(moving()).await.unwrap();
    let NextReply::Leased(post) = f.central.lease_post(&chat("-1005")).await.unwrap() else { panic!() };
    assert_eq!(post.sent, [None], "a piece is there, and is no message of the new chat");
    let pending = f.central.pending_moves().await.unwrap();
    assert!(pending.iter().all(|pending| pending.folder.is_some()), "{pending:?}");
}
