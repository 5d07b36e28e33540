//! Questions of agents: by a button, by a command, on the host.

use cofferdam_protocol::ids::QuestionId;
use cofferdam_protocol::runner::ProviderKind;

use super::*;
use crate::model::chat::Inbound;
use crate::model::own_command::Asks;
use crate::store::group::answers::QuestionRow;
use crate::store::group::claim::Claim;
use crate::store::group::models::Inherited;
use crate::store::group::questions::NewQuestion;
use crate::store::group::tools::{CallKey, CallLimits, Deed, NewCall};

impl Fixture {
    /// The group's agent asks in a chat, in a turn over a message of its own.
    pub(super) async fn asks(&self, folder: &str, (chat, _): (ChatRef, ChatKind), options: &[&str]) -> QuestionId {
        let wiring = self.stores.central().wirings_of(&chat.channel, &chat.chat_id).await.unwrap().remove(0);
        let key = wiring.terms.session_mode.session_key(&chat);
        let store = self.stores.group(&folder.parse().unwrap()).await.unwrap();
        let number = {
            let mut next = self.next.lock().unwrap();
            *next += 1;
            *next
        };
        let message = Inbound {
            chat,
            platform_id: format!("start {number}"),
            sender: "Ann".into(),
            sender_id: None,
            text: "hello".into(),
            quote: None,
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
        let question = NewQuestion { text: format!("Which? ({number})"), options, timeout_secs: 600 };
        let key = CallKey { session, attempt, turn: claimed.turn, call_id: format!("c{number}") };
        let limits = CallLimits { calls: 9, posts: 9 };
        let call = NewCall { key, tool: "ask_user".into(), summary: String::new(), limits };
        store.call(call, Deed::Ask(question)).await.unwrap();
        store.questions(true, 1).await.unwrap()[0].id
    }

    pub(super) async fn question(&self, folder: &str, id: QuestionId) -> QuestionRow {
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
        role: Some(Role::Admin),
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
        let Asks::Own(command) = Asks::parse(text) else { panic!("{text}") };
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
