//! What is held for an approval: nothing of it is lost, or overtaken, or in anybody's way; and who is asked, and how often.

use super::*;
use crate::desk::floods::{BURST, EVERY};
use crate::desk::questions::Place;
use crate::model::delivery::{Miss, Next};
use crate::store::people::NewUser;

const AT_ONCE: usize = BURST as usize;

impl Fixture {
    /// One look at what is due, and at all that waits to be taken in.
    pub(super) async fn looks(&self) {
        self.desk.look().await.unwrap();
        for line in self.stores.central().late_lines().await.unwrap() {
            self.desk.catch_up_with(&line).await;
        }
    }

    /// In the chat `-5` both groups listen, and ask about strangers.
    async fn with_two_that_ask() -> Self {
        let f = Self::owned().await;
        for folder in ["demo", "ops"] {
            f.wire(group("-5"), folder, Some(UnknownPolicy::Ask)).await;
        }
        f
    }

    async fn approves(&self, what: &str) {
        let said = self.says(OWNER, direct(OWNER), &format!("/approve {what}")).await;
        assert!(matches!(&said, Taken::Done(words) if words.contains(": ")), "{said:?}");
    }

    async fn known(&self, id: &str, at: Option<&str>, may: Option<(Role, Option<Folder>)>) -> i64 {
        let user =
            NewUser { channel: "tg".into(), user_id: id.into(), name: id.into(), direct: at.map(Into::into) };
        self.stores.central().put_user(user, may, "me").await.unwrap()
    }

    /// The platform refuses what is next for a chat, for good.
    async fn is_refused_in(&self, id: &str) {
        let central = self.stores.central();
        let NextReply::Leased(post) = central.lease_post(&chat(id)).await.unwrap() else {
            panic!("nothing for {id}")
        };
        assert_eq!(central.post_missed(post.id, Miss::Refused, "blocked".into()).await.unwrap(), Next::Dead);
    }
}

#[tokio::test]
async fn each_group_that_asks_about_a_sender_gets_all_that_they_wrote() {
    let f = Fixture::with_two_that_ask().await;
    for text in ["hello", "again"] {
        assert_eq!(f.says(STRANGER, group("-5"), text).await, Taken::Accepted);
    }
    f.approves("1").await;
    f.looks().await;
    f.approves("2").await;
    f.looks().await;
    assert_eq!(f.texts("demo").await, ["hello", "again"]);
    assert_eq!(f.texts("ops").await, ["hello", "again"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_again_is_held_once_and_beyond_the_bound_each_is_counted() {
    let f = Fixture::with_two_that_ask().await;
    let written = Written { text: "0".into(), addressed: true, ..Written::default() };
    let first = f.arrival(STRANGER, group("-5"), Content::Message(written));
    f.counter.take(first.clone()).await.unwrap();
    let most = usize::try_from(crate::model::approval::MOST_HELD).unwrap();
    for number in 1..most {
        f.says(STRANGER, group("-5"), &number.to_string()).await;
    }
    f.looks().await;
    // Its sender's pace allows it by now.
    tokio::time::sleep(EVERY * BURST).await;
    assert_eq!(f.counter.take(first).await, Ok(Taken::Accepted), "it is held already");
    assert!(f.drops().await.is_empty());
    f.approves("2 guest").await;
    let begun = tokio::time::Instant::now();
    f.looks().await;
    assert!(begun.elapsed() < EVERY, "each was counted when it came");
    assert_eq!(f.texts("ops").await, (0..most).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_being_taken_in_when_another_approval_is_given_is_taken_in_anew() {
    let f = Fixture::with_two_that_ask().await;
    f.says(STRANGER, group("-5"), "hello").await;
    f.approves("1").await;
    let central = f.stores.central();
    let line = central.late_lines().await.unwrap().remove(0);
    let read = central.next_late(&line).await.unwrap().unwrap();
    let arrival: Arrival = serde_json::from_str(&read.arrival).unwrap();
    f.desk.take_again(&arrival, Vec::new(), None).await.unwrap();
    f.approves("2").await;
    central.let_go_late(read).await.unwrap();
    f.looks().await;
    assert_eq!((f.texts("demo").await, f.texts("ops").await), (vec!["hello".into()], vec!["hello".into()]));
}

#[tokio::test]
async fn what_comes_after_a_yes_stays_behind_what_was_held() {
    let f = Fixture::owned().await;
    for text in ["one", "two"] {
        f.says(STRANGER, direct(STRANGER), text).await;
    }
    f.approves("1 demo").await;
    assert_eq!(f.says(STRANGER, direct(STRANGER), "three").await, Taken::Accepted);
    assert!(f.accepted().is_empty(), "it does not overtake");
    f.attends_until(3).await;
    assert_eq!(f.texts("demo").await, ["one", "two", "three"]);
}

#[tokio::test]
async fn a_slow_file_that_was_held_is_in_nobody_elses_way() {
    let mut f = Fixture::owned().await;
    f.starts_anew(Mute::with_files());
    let files = vec![Offered { name: "a.txt".into(), bytes: None, reference: "slow".into() }];
    let written = Written { text: "look".into(), addressed: true, files, ..Written::default() };
    let slow = f.arrival(STRANGER, direct(STRANGER), Content::Message(written));
    f.counter.take(slow).await.unwrap();
    f.says("777", direct("777"), "hello").await;
    f.approves("1 demo").await;
    f.approves("2 ops").await;
    let stop = CancellationToken::new();
    let attending = tokio::spawn({
        let (desk, stop) = (f.desk.clone(), stop.clone());
        async move { desk.attend(stop).await }
    });
    f.count.subscribe().wait_for(|count| *count == 1).await.unwrap();
    assert_eq!(f.accepted(), ["ops"]);
    f.says("888", direct("888"), "hello").await;
    f.approves("3 ops").await;
    f.count.subscribe().wait_for(|count| *count == 2).await.unwrap();
    stop.cancel();
    attending.await.unwrap();
}

#[tokio::test]
async fn one_sender_asks_for_three_things_at_once_and_others_still_ask() {
    let f = Fixture::owned().await;
    for id in ["-1", "-2", "-3"] {
        assert_eq!(f.says(STRANGER, group(id), "hello").await, Taken::Accepted);
    }
    assert_eq!(f.says(STRANGER, group("-4"), "hello").await, Taken::Dropped("too-many-ask"));
    assert_eq!(f.drops().await, [(STRANGER.to_owned(), "too-many-ask".to_owned(), 1)]);
    assert_eq!(f.says(STRANGER, group("-1"), "please").await, Taken::Accepted, "that waits already");
    assert_eq!(f.says("777", group("-4"), "hello").await, Taken::Accepted);
    assert_eq!(f.says("777", group("-2"), "hello").await, Taken::Accepted, "what another asked for is not theirs");
    assert!(matches!(f.says(OWNER, direct(OWNER), "/deny 1").await, Taken::Done(_)));
    assert_eq!(f.says(STRANGER, group("-5"), "hello").await, Taken::Accepted, "one less waits");
}

#[tokio::test]
async fn how_a_group_stands_is_told_to_whoever_may_write_to_it_and_to_nobody_else() {
    let f = Fixture::owned().await;
    f.wire(group("-5"), "demo", None).await;
    f.known("2", None, Some((Role::Admin, Some("ops".parse().unwrap())))).await;
    assert_eq!(f.says("2", group("-5"), "/status").await, Taken::Dropped("unknown-sender"));
    f.wire(group("-5"), "ops", None).await;
    let told = f.says("2", group("-5"), "/status").await;
    assert_eq!(told, Taken::Done("ops: no conversation yet".into()));
    let told = f.says(OWNER, group("-5"), "/status").await;
    assert_eq!(told, Taken::Done("demo: no conversation yet\nops: no conversation yet".into()));
    f.wire(group("-6"), "demo", Some(UnknownPolicy::Public)).await;
    assert!(matches!(f.says(STRANGER, group("-6"), "/status").await, Taken::Done(_)), "everybody may write there");
}

#[tokio::test]
async fn an_approver_who_is_away_where_they_were_asked_is_asked_in_their_next_chat() {
    let f = Fixture::owned().await;
    let central = f.stores.central();
    let owner = central.look(&chat(OWNER), OWNER).await.unwrap().sender.person.unwrap();
    let elsewhere =
        NewUser { channel: "aa".into(), user_id: "me".into(), name: "me".into(), direct: Some("0".into()) };
    let elsewhere = central.put_user(elsewhere, None, "me").await.unwrap();
    let other = f.known("1b", Some("1b"), None).await;
    assert!(central.link(owner, elsewhere).await.unwrap() && central.link(owner, other).await.unwrap());
    f.says(STRANGER, direct(STRANGER), "hello").await;
    let on_its_way = async |channel: &str, id: &str| {
        let chat = ChatRef { channel: channel.into(), chat_id: id.into(), thread_id: None };
        central.due_posts().await.unwrap().contains(&chat)
    };
    assert!(on_its_way("tg", OWNER).await && !on_its_way("aa", "0").await, "on the channel of what is asked");
    f.desk.look().await.unwrap();
    assert!(!on_its_way("tg", "1b").await && central.unasked_approvals().await.unwrap() == 0, "it may arrive yet");
    central.posts_get_older(120_000).await;
    assert_eq!(central.unasked_approvals().await.unwrap(), 1, "nobody has read it");
    f.desk.look().await.unwrap();
    f.desk.look().await.unwrap();
    assert!(on_its_way("tg", "1b").await && !on_its_way("aa", "0").await, "one after the other");
    let asked = f.posts(direct("1b")).await.remove(0);
    assert_eq!(f.presses("1b", direct("1b"), &asked.buttons[0].data).await, Taken::Done("demo".into()));
}

#[tokio::test]
async fn an_approver_whom_the_question_does_not_reach_is_asked_where_else_they_are() {
    let f = Fixture::owned().await;
    let central = f.stores.central();
    let owner = central.look(&chat(OWNER), OWNER).await.unwrap().sender.person.unwrap();
    let other = f.known("1b", Some("1b"), None).await;
    assert!(central.link(owner, other).await.unwrap());
    f.says(STRANGER, direct(STRANGER), "hello").await;
    f.is_refused_in(OWNER).await;
    assert_eq!(central.unasked_approvals().await.unwrap(), 1, "nobody has read it");
    f.desk.look().await.unwrap();
    f.desk.look().await.unwrap();
    assert_eq!(central.unasked_approvals().await.unwrap(), 0);
    f.is_refused_in("1b").await;
    f.desk.look().await.unwrap();
    assert_eq!(central.unasked_approvals().await.unwrap(), 1);
    for id in [OWNER, "1b"] {
        assert!(f.posts(direct(id)).await.is_empty(), "nobody is asked again where it failed");
    }
    // Somebody else can be reached.
    f.known("3", Some("3"), Some((Role::Owner, None))).await;
    f.desk.look().await.unwrap();
    assert_eq!(f.posts(direct("3")).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn commands_overtake_a_flood_and_a_flood_of_commands_does_not() {
    let f = Fixture::open_chat().await;
    f.known("2", None, Some((Role::Member, None))).await;
    for number in 0..AT_ONCE + 3 {
        f.says("2", group("-5"), &number.to_string()).await;
    }
    assert_eq!(f.accepted().len(), AT_ONCE);
    assert!(matches!(f.says("2", group("-5"), "/status").await, Taken::Done(_)));
    assert_eq!(f.says("2", group("-5"), "/stop").await, Taken::Accepted);
    assert_eq!(f.accepted(), ["demo"], "it does not wait");
    f.says("2", group("-5"), "/clear").await;
    assert!(f.accepted().is_empty(), "which is of use later too, in its place");
    for _ in 2..AT_ONCE {
        assert!(matches!(f.says("2", group("-5"), "/help").await, Taken::Done(_)));
    }
    assert_eq!(f.says("2", group("-5"), "/help").await, Taken::Accepted, "it waits");
}

#[tokio::test]
async fn a_verdict_that_comes_again_decides_on_nothing_that_was_asked_since() {
    for text in ["/approve", "/deny"] {
        let f = Fixture::owned().await;
        f.says(STRANGER, direct(STRANGER), "hello").await;
        let written = Written { text: text.into(), addressed: true, ..Written::default() };
        let verdict = f.arrival(OWNER, direct(OWNER), Content::Message(written));
        let Ok(Taken::Done(said)) = f.counter.take(verdict.clone()).await else { panic!("{text}") };
        assert!(said.starts_with("Approval 1: "), "{said}");
        f.says("777", direct("777"), "hello").await;
        f.posts(direct(OWNER)).await;
        assert!(matches!(f.counter.take(verdict).await, Ok(Taken::Done(_))));
        let open = f.stores.central().approvals(false, 9).await.unwrap();
        assert_eq!(open.iter().map(|row| row.id).collect::<Vec<_>>(), [2], "{text}");
        assert!(f.posts(direct(OWNER)).await.is_empty(), "it is answered once");
    }
}

#[tokio::test]
async fn a_verdict_is_answered_with_its_decision_so_no_crash_comes_between() {
    let f = Fixture::owned().await;
    f.says(STRANGER, direct(STRANGER), "hello").await;
    f.posts(direct(OWNER)).await;
    let written = Written { text: "/approve".into(), addressed: true, ..Written::default() };
    let verdict = f.arrival(OWNER, direct(OWNER), Content::Message(written));
    let known = f.stores.central().look(&chat(OWNER), OWNER).await.unwrap().sender;
    let by = Decider::of(&verdict, known);
    let place = Place { chat: &verdict.chat, platform_id: &verdict.platform_id, sender_id: Some(OWNER) };
    // The daemon dies behind this.
    f.desk.decide_in(&by, 1, None, Some(place)).await.unwrap();
    f.says("777", direct("777"), "hello").await;
    f.counter.take(verdict.clone()).await.unwrap();
    let again = f.desk.decide_in(&by, 2, None, Some(place)).await;
    assert!(matches!(again, Err(DecideError::Said)), "{again:?}");
    assert_eq!(f.stores.central().approvals(false, 9).await.unwrap().len(), 1);
    let answers = f.posts(direct(OWNER)).await.into_iter().filter(|post| post.text == "Approval 1: demo").count();
    assert_eq!(answers, 1);
}

#[tokio::test]
async fn a_verdict_in_the_terminal_that_comes_again_decides_nothing_either() {
    let f = Fixture::owned().await;
    f.says(STRANGER, direct(STRANGER), "hello").await;
    let command = crate::model::own_command::OwnCommand::Approve(Default::default());
    let says = async || f.desk.owners_command(&chat("terminal"), "x", &[], &command).await.unwrap();
    assert_eq!(says().await, "Approval 1: demo");
    f.says("777", direct("777"), "hello").await;
    assert!(says().await.contains("answered before"));
    assert_eq!(f.stores.central().approvals(false, 9).await.unwrap().len(), 1);
    assert!(f.posts((chat("terminal"), ChatKind::Direct)).await.is_empty(), "its answer is kept elsewhere");
}

#[tokio::test]
async fn a_choice_whose_group_is_gone_is_answered_and_another_choice_may_be_made() {
    let f = Fixture::owned().await;
    f.says(STRANGER, direct(STRANGER), "hello").await;
    let asked = f.posts(direct(OWNER)).await.remove(0);
    f.stores.hold(&"ops".parse().unwrap(), crate::store::Errand::Removal).await.unwrap().forget().await.unwrap();
    let Taken::Done(pressed) = f.presses(OWNER, direct(OWNER), &asked.buttons[1].data).await else { panic!() };
    assert!(pressed.contains("'ops' is not here any more") && pressed.contains("takes demo, deny"), "{pressed}");
    let Taken::Done(said) = f.says(OWNER, direct(OWNER), "/approve 1 ops").await else { panic!() };
    assert!(said.contains("not here any more"), "{said}");
    f.approves("1 demo").await;
    f.looks().await;
    assert_eq!(f.texts("demo").await, ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_held_is_taken_in_before_what_its_sender_wrote_beyond_their_pace() {
    let f = Fixture::owned().await;
    let texts: Vec<String> = (0..AT_ONCE + 3).map(|number| number.to_string()).collect();
    for text in &texts {
        assert_eq!(f.says(STRANGER, direct(STRANGER), text).await, Taken::Accepted);
    }
    f.approves("1 demo").await;
    f.attends_until(texts.len()).await;
    assert_eq!(f.texts("demo").await, texts);
}

#[tokio::test]
async fn nobody_is_asked_about_whom_or_what_was_allowed_meanwhile() {
    let f = Fixture::owned().await;
    let written = Written { text: "hello".into(), addressed: true, ..Written::default() };
    let demo: Folder = "demo".parse().unwrap();
    // Both were looked at before the yes.
    let sender = f.arrival("2", group("-5"), Content::Message(written.clone()));
    f.known("2", None, Some((Role::Guest, Some(demo.clone())))).await;
    assert!(f.desk.ask_sender(&sender, &written, &demo).await.is_err(), "it is looked at again");
    let wiring = f.arrival("3", group("-6"), Content::Message(written.clone()));
    f.wire(group("-6"), "demo", None).await;
    assert!(f.desk.ask_wiring(&wiring, &written).await.is_err());
    assert!(f.stores.central().approvals(true, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn who_wrote_before_they_paired_is_answered_and_nobody_is_asked_any_more() {
    let f = Fixture::new().await;
    f.says(STRANGER, direct(STRANGER), "hello?").await;
    assert_eq!(f.stores.central().open_approvals().await.unwrap(), 1);
    let demo = Some("demo".parse().unwrap());
    let new = NewCode { role: Some(Role::Owner), folder: demo, person: None, lasts: EVERY * 60 };
    let code = f.desk.new_code(new).await.unwrap();
    f.says(STRANGER, direct(STRANGER), &format!("/pair {code}")).await;
    f.looks().await;
    assert_eq!(f.stores.central().open_approvals().await.unwrap(), 0);
    assert_eq!(f.texts("demo").await, ["hello?"]);
    let ended = f.stores.central().approvals(true, 1).await.unwrap().remove(0);
    assert_eq!((ended.decided_by.as_deref(), ended.choice.as_deref()), (Some("hand"), Some("demo")));
}

#[tokio::test]
async fn a_chat_that_is_wired_and_a_person_who_gets_a_role_by_hand_need_no_approval() {
    let f = Fixture::owned().await;
    f.says(STRANGER, direct(STRANGER), "one").await;
    f.wire(group("-6"), "ops", Some(UnknownPolicy::Ask)).await;
    f.says(STRANGER, group("-6"), "two").await;
    f.looks().await;
    assert_eq!(f.stores.central().open_approvals().await.unwrap(), 2, "nothing was done for either");
    f.wire(direct(STRANGER), "demo", Some(UnknownPolicy::Public)).await;
    f.looks().await;
    assert_eq!(f.texts("demo").await, ["one"]);
    f.known(STRANGER, None, Some((Role::Guest, Some("ops".parse().unwrap())))).await;
    f.looks().await;
    assert_eq!(f.texts("ops").await, ["two"]);
    assert_eq!(f.stores.central().open_approvals().await.unwrap(), 0);
}

#[tokio::test]
async fn what_was_held_for_a_no_is_counted_as_dropped() {
    let f = Fixture::owned().await;
    for text in ["one", "two"] {
        f.says(STRANGER, direct(STRANGER), text).await;
    }
    f.says(OWNER, direct(OWNER), "/deny 1").await;
    assert_eq!(f.drops().await, [(STRANGER.to_owned(), "denied".to_owned(), 2)]);
}
