//! The desk on a real store: strangers, owners, codes, approvals, presses.

use std::sync::Mutex;

use async_trait::async_trait;

use cofferdam_protocol::ids::QuestionId;
use cofferdam_protocol::runner::ProviderKind;

use super::*;
use crate::channels::{Abilities, Channel, Piece, Receipt, SendError, Sender, Written};
use crate::model::chat::ChatKind;
use crate::model::people::{Role, UnknownPolicy};
use crate::model::reply::Outbound;
use crate::store::group::outbox::NextReply;
use crate::store::wirings::{ChatRow, Terms, Wiring};

struct Mute;

#[async_trait]
impl Channel for Mute {
    fn name(&self) -> &str {
        "tg"
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    async fn send(&self, _: &Outbound, _: &Piece, _: Option<&str>) -> Result<Receipt, SendError> {
        Ok(Receipt::NONE)
    }
}

struct Fixture {
    _dir: tempfile::TempDir,
    stores: Stores,
    desk: Desk,
    counter: Arc<dyn Intake>,
    accepted: Arc<Mutex<Vec<String>>>,
    next: Mutex<u32>,
}

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
        let accepted: Arc<Mutex<Vec<String>>> = Arc::default();
        let notes = accepted.clone();
        let tells = Tells {
            accepted: Box::new(move |folder, _| notes.lock().unwrap().push(folder.to_string())),
            deliver: Box::new(|_| {}),
            post: Box::new(|_| {}),
        };
        let channels = Channels::default();
        channels.add(Arc::new(Mute));
        let desk = Desk::new(home, stores.clone(), channels, tells);
        let counter = desk.intake("tg");
        Self { _dir: dir, stores, desk, counter, accepted, next: Mutex::new(0) }
    }

    /// With an owner who is known, in the direct chat `1`.
    async fn owned() -> Self {
        let f = Self::new().await;
        let new = NewCode { role: Role::Owner, folder: None, person: None, lasts: Duration::from_secs(60) };
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
    f.desk.look().await.unwrap();
    assert_eq!(f.accepted(), ["ops", "ops"], "both messages, in order");
    let end = f.posts(direct(OWNER)).await.remove(0);
    assert!(end.text.contains("approved by name of 1") && end.buttons.is_empty() && end.onto == ["9"]);
    assert_eq!(f.says(STRANGER, direct(STRANGER), "more").await, Taken::Accepted);
    assert_eq!(f.accepted(), ["ops"], "they are a member now");
    f.desk.look().await.unwrap();
    assert!(f.accepted().is_empty(), "nothing is taken twice");
}

#[tokio::test]
async fn a_no_is_for_good_and_counted() {
    let f = Fixture::owned().await;
    f.says(STRANGER, direct(STRANGER), "hello").await;
    assert!(matches!(f.says(OWNER, direct(OWNER), "/deny").await, Taken::Done(_)));
    assert_eq!(f.says(STRANGER, direct(STRANGER), "please").await, Taken::Dropped("denied"));
    f.desk.look().await.unwrap();
    assert!(f.accepted().is_empty());
    assert_eq!(f.drops().await, [(STRANGER.to_owned(), "denied".to_owned(), 1)]);
    assert!(f.stores.central().held().await.unwrap().is_empty());
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
    let new = NewCode { role: Role::Owner, folder, person: None, lasts: Duration::from_secs(60) };
    let code = f.desk.new_code(new).await.unwrap();
    assert!(matches!(f.says(OWNER, direct(OWNER), &format!("/pair {code}")).await, Taken::Done(_)));
    assert_eq!(f.says(OWNER, direct(OWNER), "hello").await, Taken::Accepted);
    assert_eq!(f.accepted(), ["ops"]);
    let known = f.stores.central().known("tg", OWNER).await.unwrap();
    assert_eq!(known.everywhere(), Some(Role::Owner));
}

#[tokio::test]
async fn a_code_opens_once_and_a_message_is_answered_once() {
    let f = Fixture::new().await;
    let folder = Some("demo".parse().unwrap());
    let new = NewCode { role: Role::Member, folder, person: None, lasts: Duration::from_secs(60) };
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

impl Fixture {
    /// The group's agent asks in a chat, in a turn over a message of its own.
    async fn asks(&self, folder: &str, (chat, _): (ChatRef, ChatKind), options: &[&str]) -> QuestionId {
        use crate::store::group::claim::Claim;
        use crate::store::group::models::Inherited;
        use crate::store::group::tools::{CallKey, CallLimits, Deed, NewCall};
        let wiring = self.stores.central().wirings_of(&chat.channel, &chat.chat_id).await.unwrap().remove(0);
        let key = wiring.terms.session_mode.session_key(&chat);
        let store = self.stores.group(&folder.parse().unwrap()).await.unwrap();
        let number = {
            let mut next = self.next.lock().unwrap();
            *next += 1;
            *next
        };
        let message = crate::model::chat::Inbound {
            chat,
            platform_id: format!("start {number}"),
            sender: "Ann".into(),
            sender_id: None,
            text: "hello".into(),
            output_schema: None,
            files: Vec::new(),
        };
        let (_, accepted) = self.stores.accept(store.folder(), message, key, None).await.unwrap();
        let session = accepted.session;
        let attempt = store.begin_attempt(&session, ProviderKind::Mock, "h".into()).await.unwrap();
        let Claim::Turn(claimed) = store.claim(&session, attempt, Inherited::default()).await.unwrap() else {
            panic!("no turn")
        };
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let question = crate::store::group::questions::NewQuestion {
            text: format!("Which? ({number})"),
            options,
            timeout_secs: 600,
        };
        let key = CallKey { session, attempt, turn: claimed.turn, call_id: format!("c{number}") };
        let limits = CallLimits { calls: 9, posts: 9 };
        let call = NewCall { key, tool: "ask_user".into(), summary: String::new(), limits };
        store.call(call, Deed::Ask(question)).await.unwrap();
        store.questions(true, 1).await.unwrap()[0].id
    }

    async fn question(&self, folder: &str, id: QuestionId) -> crate::store::group::answers::QuestionRow {
        let store = self.stores.group(&folder.parse().unwrap()).await.unwrap();
        store.question(id).await.unwrap().unwrap()
    }

    /// What the desk says to a command.
    async fn told(&self, sender: &str, chat: (ChatRef, ChatKind), text: &str) -> String {
        match self.says(sender, chat, text).await {
            Taken::Done(words) => words,
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_question_is_answered_in_its_chat_without_its_name_and_from_another_with_it() {
    let f = Fixture::owned().await;
    f.wire(direct(OWNER), "demo", None).await;
    f.wire(group("-5"), "ops", Some(UnknownPolicy::Public)).await;
    let here = f.asks("demo", direct(OWNER), &["Red", "Blue"]).await;
    let there = f.asks("ops", group("-5"), &["Red", "Blue"]).await;
    assert!(f.told(OWNER, direct(OWNER), "/approve").await.contains("takes an answer: 1. Red, 2. Blue, or words"));
    assert!(f.told(OWNER, direct(OWNER), "/deny").await.contains("takes an answer"), "no option is a no");
    assert_eq!(f.told(OWNER, direct(OWNER), "/approve blue").await, format!("Question demo/{here}: Blue"));
    let row = f.question("demo", here).await;
    assert_eq!((row.answer.as_deref(), row.answered_by.as_deref()), (Some("Blue"), Some("name of 1")));
    assert_eq!(f.accepted(), ["demo"]);
    let left = f.told(OWNER, direct(OWNER), "/approve").await;
    assert!(left.contains("Nothing waits here") && left.contains(&format!("ops/{there} Which?")), "{left}");
    let words = format!("/approve ops/{there} neither of them");
    assert_eq!(f.told(OWNER, direct(OWNER), &words).await, format!("Question ops/{there}: neither of them"));
    assert_eq!(
        f.told(OWNER, direct(OWNER), &words).await,
        format!("Question ops/{there} is over: answered by name of 1: neither of them.")
    );
    let store = f.stores.group(&"ops".parse().unwrap()).await.unwrap();
    let mut told = Vec::new();
    while let NextReply::Leased(reply) = store.lease(&chat("-5"), false).await.unwrap() {
        store.delivered(reply.id).await.unwrap();
        told.push(reply.text);
    }
    assert!(told.iter().any(|text| text.contains("from elsewhere by name of 1: neither of them")), "{told:?}");
    assert!(f.told(OWNER, direct(OWNER), "/approve demo/99 x").await.contains("There is no question demo/99"));
    assert!(f.told(OWNER, direct(OWNER), "/approve nobody/1 x").await.contains("There is no question nobody/1"));
}

#[tokio::test]
async fn only_who_may_decide_in_a_group_answers_its_questions_by_a_command() {
    let f = Fixture::owned().await;
    f.wire(direct("2"), "ops", None).await;
    f.wire(direct(OWNER), "demo", None).await;
    let of_demo = f.asks("demo", direct(OWNER), &["Yes", "No"]).await;
    let of_ops = f.asks("ops", direct("2"), &["Yes, all", "No"]).await;
    let admin = NewCode {
        role: Role::Admin,
        folder: Some("ops".parse().unwrap()),
        person: None,
        lasts: Duration::from_secs(60),
    };
    let code = f.desk.new_code(admin).await.unwrap();
    f.says("2", direct("2"), &format!("/pair {code}")).await;
    let no = f.told("2", direct("2"), &format!("/approve demo/{of_demo}")).await;
    assert!(no.contains("takes the role admin") && f.question("demo", of_demo).await.waits(), "{no}");
    assert_eq!(f.told("2", direct("2"), "/deny").await, format!("Question ops/{of_ops}: No"), "a plain no");
    let role = f.says(STRANGER, direct(STRANGER), &format!("/approve demo/{of_demo}")).await;
    assert_eq!(role, Taken::Dropped("unknown-sender"));
    assert!(f.drops().await.iter().any(|(sender, reason, _)| sender == "2" && reason == "above-role"));
}

#[tokio::test]
async fn the_host_answers_questions_and_a_command_that_comes_again_says_the_same() {
    let f = Fixture::owned().await;
    f.wire(direct(OWNER), "demo", None).await;
    let folder: Folder = "demo".parse().unwrap();
    let first = f.asks("demo", direct(OWNER), &["Yes", "No"]).await;
    let row = f.desk.answer_question(&Decider::Host, (&folder, first), None).await.unwrap();
    assert_eq!((row.answer.as_deref(), row.answered_by.as_deref()), (Some("Yes"), Some("the host")));
    let over = f.desk.answer_question(&Decider::Host, (&folder, first), Some("deny")).await.unwrap_err();
    assert_eq!(over.to_string(), format!("question demo/{first} is over: answered by the host: Yes"));
    let second = f.asks("demo", direct(OWNER), &["Yes", "No"]).await;
    let written = Written { text: "/approve".into(), addressed: true, ..Written::default() };
    let arrival = f.arrival(OWNER, direct(OWNER), Content::Message(written));
    for _ in 0..2 {
        let said = f.counter.take(arrival.clone()).await.unwrap();
        assert_eq!(said, Taken::Done(format!("Question demo/{second}: Yes")));
    }
    assert_eq!(f.posts(direct(OWNER)).await.len(), 1);
}

#[tokio::test]
async fn a_press_answers_the_question_that_it_is_below() {
    let f = Fixture::owned().await;
    f.wire(group("-5"), "demo", Some(UnknownPolicy::Public)).await;
    let first = f.asks("demo", group("-5"), &["Red", "Blue"]).await;
    let tag = crate::model::button::tag(&"demo".parse().unwrap());
    let pressed = f.presses("7", group("-5"), &format!("q:{tag}:{first}:1")).await;
    assert_eq!(pressed, Taken::Done("Blue".into()));
    let again = f.presses("8", group("-5"), &format!("q:{tag}:{first}:0")).await;
    assert_eq!(again, Taken::Done(format!("question demo/{first} is over: answered by name of 7: Blue")));
    assert_eq!(f.question("demo", first).await.answered_by.as_deref(), Some("name of 7"));
    assert_eq!(f.presses("7", group("-6"), &format!("q:{tag}:{first}:0")).await, Taken::Dropped("bad-press"));
}

#[tokio::test]
async fn the_terminals_commands_are_answered_like_all_others() {
    let f = Fixture::owned().await;
    f.wire(direct(OWNER), "demo", None).await;
    let wirings = f.stores.central().wirings_of("tg", OWNER).await.unwrap();
    let says = async |id: &str, text: &str| {
        let crate::model::own_command::Asks::Own(command) = crate::model::own_command::Asks::parse(text) else {
            panic!("{text}")
        };
        f.desk.owners_command(&chat(OWNER), id, &wirings, &command).await.unwrap()
    };
    let help = says("1", "/help").await;
    for command in ["/help", "/status", "/stop", "/clear", "/compact", "/model", "/effort", "/account", "/approve"]
    {
        assert!(help.contains(command), "{command}: {help}");
    }
    assert_eq!(says("2", "/status").await, "demo: no conversation yet");
    assert_eq!(says("3", "/approve").await, "Nothing waits for an approval.");
    assert!(says("4", "/pair AAAA-AAAA").await.contains("an owner already"));
    let question = f.asks("demo", direct(OWNER), &["Yes", "No"]).await;
    assert!(says("5", "/status").await.contains("waits for your answer"));
    assert_eq!(says("6", "/deny").await, format!("Question demo/{question}: No"));
    assert_eq!(says("6", "/deny").await, format!("Question demo/{question}: No"), "the same message");
}
