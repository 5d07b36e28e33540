//! The desk on a real store: strangers, owners, codes, approvals, presses.

use std::sync::Mutex;

use async_trait::async_trait;

use cofferdam_protocol::runner::ProviderKind;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::*;
use crate::channels::{Abilities, Channel, Offered, Piece, Receipt, SendError, Sender, Writers, Written};
use crate::model::chat::ChatKind;
use crate::model::people::{Role, UnknownPolicy};
use crate::model::reply::Outbound;
use crate::store::group::claim::Claim;
use crate::store::group::models::Inherited;
use crate::store::group::outbox::NextReply;
use crate::store::wirings::{ChatRow, Terms, Wiring};

mod approvals;
mod edits;
mod late;
mod questions;
mod quotes;
mod stuck;

/// Says nothing; it may have files, but not the one that is gone, the slow one never comes, and the one for later is had by nobody yet.
struct Mute {
    has_files: bool,
}

#[async_trait]
impl Channel for Mute {
    fn name(&self) -> &str {
        "tg"
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    async fn send(&self, _: &Outbound, _: (usize, &Piece), _: Option<&str>) -> Result<Receipt, SendError> {
        Ok(Receipt::NONE)
    }

    async fn fetch(
        &self,
        file: &Offered,
        into: &mut (dyn AsyncWrite + Send + Unpin),
        _: u64,
    ) -> Result<u64, SendError> {
        if !self.has_files || file.reference == "gone" {
            return Err(SendError::Refused { why: "it is gone".to_owned() });
        }
        if file.reference == "later" {
            return Err(SendError::later("not now", None));
        }
        if file.reference == "slow" {
            std::future::pending::<()>().await;
        }
        into.write_all(b"content").await.unwrap();
        Ok(7)
    }
}

struct Fixture {
    _dir: tempfile::TempDir,
    stores: Stores,
    desk: Desk,
    counter: Arc<dyn Intake>,
    accepted: Arc<Mutex<Vec<String>>>,
    /// How many were accepted until now.
    count: Arc<watch::Sender<usize>>,
    next: Mutex<u32>,
}

/// A chat to which something is being handed over for ever.
const BUSY: &str = "-13";
const OWNER: &str = "1";
const STRANGER: &str = "666";

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let home = Home::new(dir.path()).unwrap();
        let stores = Stores::open(home.clone()).unwrap();
        for group in ["demo", "ops"] {
            stores.central().put_group(&group.parse().unwrap(), "{}".into(), String::new()).await.unwrap();
        }
        let (accepted, count) = (Arc::default(), Arc::new(watch::Sender::new(0)));
        let desk = desk(home, &stores, &accepted, &count, Mute { has_files: false });
        let counter = desk.intake("tg", Writers::People);
        Self { _dir: dir, stores, desk, counter, accepted, count, next: Mutex::new(0) }
    }

    /// The daemon starts anew on the same home, with this channel: what was only in memory is gone.
    fn starts_anew(&mut self, channel: Mute) {
        let home = self.desk.inner.home.clone();
        self.desk = desk(home, &self.stores, &self.accepted, &self.count, channel);
        self.counter = self.desk.intake("tg", Writers::People);
    }

    /// With an owner who is known, in the direct chat `1`.
    async fn owned() -> Self {
        let f = Self::new().await;
        let new = NewCode { role: Some(Role::Owner), folder: None, person: None, lasts: Duration::from_secs(60) };
        let code = f.desk.new_code(new).await.unwrap();
        assert!(matches!(f.says(OWNER, direct(OWNER), &format!("/pair {code}")).await, Taken::Done(_)));
        f.posts(direct(OWNER)).await;
        f
    }

    fn arrival(&self, sender: &str, (chat, kind): (ChatRef, ChatKind), content: Content) -> Arrival {
        let mut next = self.next.lock().unwrap();
        *next += 1;
        Arrival {
            chat,
            kind,
            title: None,
            platform_id: next.to_string(),
            sender: Sender { id: sender.into(), name: format!("name of {sender}") },
            content,
        }
    }

    async fn says(&self, sender: &str, chat: (ChatRef, ChatKind), text: &str) -> Taken {
        let written = Written { text: text.into(), addressed: true, ..Written::default() };
        self.counter.take(self.arrival(sender, chat, Content::Message(written))).await.unwrap()
    }

    async fn presses(&self, sender: &str, chat: (ChatRef, ChatKind), data: &str) -> Taken {
        self.counter.take(self.arrival(sender, chat, Content::Press(data.into()))).await.unwrap()
    }

    /// Takes what is posted to a chat.
    async fn posts(&self, (chat, _): (ChatRef, ChatKind)) -> Vec<Outbound> {
        let mut posts = Vec::new();
        while let NextReply::Leased(post) = self.stores.central().lease_post(&chat).await.unwrap() {
            let sent = crate::store::group::outbox::Sent { place: 0, id: Some("9".into()), shown: false };
            self.stores.central().post_sent(post.id, sent, true).await.unwrap();
            posts.push(*post);
        }
        posts
    }

    async fn wire(&self, (chat, kind): (ChatRef, ChatKind), group: &str, unknown: Option<UnknownPolicy>) {
        let central = self.stores.central();
        let row = ChatRow { kind, title: None, unknown };
        central.put_chat(&chat.channel, &chat.chat_id, row).await.unwrap();
        let terms = Terms::of(kind);
        let (channel, chat_id) = (chat.channel, chat.chat_id);
        assert!(central.wire(Wiring { channel, chat_id, folder: group.parse().unwrap(), terms }).await.unwrap());
    }

    async fn drops(&self) -> Vec<(String, String, u64)> {
        let rows = self.stores.central().drops(99).await.unwrap();
        rows.into_iter().map(|row| (row.sender, row.reason, row.count)).collect()
    }

    fn accepted(&self) -> Vec<String> {
        std::mem::take(&mut *self.accepted.lock().unwrap())
    }

    /// What a turn over all that waits in a group's first session would have, in order.
    async fn texts(&self, group: &str) -> Vec<String> {
        let store = self.stores.group(&group.parse().unwrap()).await.unwrap();
        let session = store.due_sessions().await.unwrap().remove(0);
        let attempt = store.begin_attempt(&session, ProviderKind::Mock, "hash".into()).await.unwrap();
        match store.claim(&session, attempt, Inherited::default()).await.unwrap() {
            Claim::Turn(claimed) => claimed.messages.into_iter().map(|message| message.text).collect(),
            _ => Vec::new(),
        }
    }
}

fn desk(
    home: Home,
    stores: &Stores,
    accepted: &Arc<Mutex<Vec<String>>>,
    count: &Arc<watch::Sender<usize>>,
    channel: Mute,
) -> Desk {
    let (notes, count) = (accepted.clone(), count.clone());
    let tells = Tells {
        accepted: Box::new(move |folder, _| {
            notes.lock().unwrap().push(folder.to_string());
            count.send_modify(|count| *count += 1);
        }),
        deliver: Box::new(|_| {}),
        post: Box::new(|_| {}),
        still: Box::new(|chat: ChatRef| {
            Box::pin(async move {
                if chat.chat_id == BUSY {
                    std::future::pending::<()>().await;
                }
                Box::new(()) as Stillness
            })
        }),
    };
    let channels = Channels::default();
    channels.add(Arc::new(channel));
    Desk::new(home, stores.clone(), channels, tells)
}

fn chat(id: &str) -> ChatRef {
    ChatRef { channel: "tg".into(), chat_id: id.into(), thread_id: None }
}

fn direct(id: &str) -> (ChatRef, ChatKind) {
    (chat(id), ChatKind::Direct)
}

fn group(id: &str) -> (ChatRef, ChatKind) {
    (chat(id), ChatKind::Group)
}

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
async fn a_flood_of_those_who_are_turned_away_is_one_count() {
    let f = Fixture::owned().await;
    for _ in 0..40 {
        f.counter.refused("-5", "bot").await;
    }
    f.counter.refused("updates", "unreadable").await;
    let mut drops = f.drops().await;
    drops.sort_unstable();
    assert_eq!(drops, [(String::new(), "bot".to_owned(), 40), (String::new(), "unreadable".to_owned(), 1)]);
}

#[tokio::test]
async fn a_command_above_a_role_is_refused_in_words_once_and_counted() {
    let f = Fixture::owned().await;
    f.wire(direct("2"), "demo", Some(UnknownPolicy::Public)).await;
    assert_eq!(f.says("2", direct("2"), "/model gpt").await, Taken::Dropped("above-role"));
    let words = f.posts(direct("2")).await.remove(0).text;
    assert!(words.contains("the role admin"), "{words}");
    assert_eq!(f.says("2", direct("2"), "hello").await, Taken::Accepted);
    assert_eq!(f.says("2", direct("2"), "/nonsense x").await, Taken::Accepted, "the agent's");
    assert_eq!(f.accepted(), ["demo", "demo"]);
}

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
async fn what_is_said_to_others_is_kept_for_the_next_turn_and_wakes_nobody() {
    let f = Fixture::owned().await;
    f.wire(group("-5"), "demo", Some(UnknownPolicy::Public)).await;
    let mut wiring = f.stores.central().wirings_of("tg", "-5").await.unwrap().remove(0);
    wiring.terms.others = crate::model::engage::Others::Context;
    f.stores.central().wire(wiring).await.unwrap();
    let besides = |text: &str| Content::Message(Written { text: text.into(), ..Written::default() });
    let arrival = f.arrival("2", group("-5"), besides("lunch?"));
    f.counter.take(arrival).await.unwrap();
    assert!(f.accepted().is_empty());
    let store = f.stores.group(&"demo".parse().unwrap()).await.unwrap();
    assert!(!store.has_due().await.unwrap());
    f.says("3", group("-5"), "bot, order").await;
    assert_eq!(f.accepted(), ["demo"]);
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

#[tokio::test]
async fn what_comes_under_an_old_id_is_of_the_chat_that_it_is_now() {
    let f = Fixture::owned().await;
    f.wire(group("-5"), "demo", Some(UnknownPolicy::Public)).await;
    f.says("2", group("-5"), "before").await;
    let written = Written { text: "twice".into(), addressed: true, ..Written::default() };
    let twice = f.arrival("2", group("-5"), Content::Message(written));
    f.counter.take(twice.clone()).await.unwrap();
    f.counter.moved("-5", "-1005").await.unwrap();
    f.counter.moved("-5", "-1005").await.unwrap();
    assert_eq!(f.counter.take(twice).await.unwrap(), Taken::Known, "what was read before is known");
    assert_eq!(f.says("2", group("-5"), "late").await, Taken::Accepted);
    assert_eq!(f.says("2", group("-1005"), "after").await, Taken::Accepted);
    let store = f.stores.group(&"demo".parse().unwrap()).await.unwrap();
    let sessions = store.due_sessions().await.unwrap();
    assert_eq!(sessions.len(), 1, "one conversation");
    assert!(f.stores.central().pending_moves().await.unwrap().is_empty());
    assert_eq!(f.stores.central().wirings_of("tg", "-1005").await.unwrap().len(), 1);
    assert_eq!(f.texts("demo").await, ["before", "twice", "late", "after"]);
}

#[tokio::test]
async fn a_chat_that_cannot_move_yet_holds_up_no_other_and_nothing_else_that_is_due() {
    let f = Fixture::owned().await;
    for id in [BUSY, "-5"] {
        f.wire(group(id), "demo", Some(UnknownPolicy::Public)).await;
    }
    f.counter.moved(BUSY, "-1013").await.unwrap();
    let moving = tokio::spawn({
        let desk = f.desk.clone();
        async move { desk.move_all().await }
    });
    // It has the chat's lock when nobody else gets it.
    let goal = ("tg".to_owned(), "-1013".to_owned());
    while f.desk.inner.moving.to(&goal).try_lock().is_ok() {
        tokio::task::yield_now().await;
    }
    f.counter.moved("-5", "-1005").await.unwrap();
    let others = async {
        assert_eq!(f.says("2", group("-5"), "late").await, Taken::Accepted);
        f.says(STRANGER, direct(STRANGER), "hello").await;
        f.desk.look().await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(60), others).await.expect("nobody waits for the other chat");
    assert_eq!(f.stores.central().wirings_of("tg", "-1005").await.unwrap().len(), 1);
    moving.abort();
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
