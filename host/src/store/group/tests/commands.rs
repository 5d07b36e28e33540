//! Commands of the chat.

use cofferdam_protocol::runner::{Model, Work};

use super::*;
use crate::model::setting::Origin;
use crate::store::group::commands::Due;

fn models() -> Vec<Model> {
    let model = |name: &str, efforts: &[&str], default| Model {
        name: name.into(),
        efforts: efforts.iter().map(|&effort| effort.into()).collect(),
        default_effort: Some("low".into()),
        default,
    };
    vec![model("sol", &["low", "high", "ultra"], true), model("luna", &["low", "high"], false)]
}

impl Fixture {
    async fn know_models(&self, session: &SessionId, attempt: Attempt) {
        let ready = Ready { generation: 0, continuation: "thread-1".into(), models: models() };
        self.db.ready(session, attempt, Seq(1), ready).await.unwrap();
    }

    /// Gives a command that waits for nothing; answers its notice.
    async fn ask(&self, text: &str, inherited: Inherited) -> String {
        let session = self.command(text).await.session;
        let done = self.db.do_commands(&session, inherited).await.unwrap();
        assert_eq!(done.len(), 1, "{text}");
        assert_eq!(self.state(done[0].messages[0]).await, MessageState::Done);
        self.told().await
    }

    /// A session with an attempt that knows its models, and nothing waiting.
    async fn with_models(&self) -> (SessionId, Attempt) {
        let session = self.accept("1").await;
        let attempt = self.begin(&session).await;
        self.know_models(&session, attempt).await;
        let (turn, _) = self.claim(&session, attempt).await.unwrap();
        self.finish(&session, attempt, 2, turn, finish(Outcome::Completed, &["hi"])).await;
        self.told().await;
        (session, attempt)
    }
}

#[tokio::test]
async fn a_stop_joins_the_running_turn_and_its_end_is_the_answer() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    let waits = f.say(message("2")).await.message;
    let stop = f.command("/stop").await;
    assert!(stop.answered.is_none() && f.leased().await.is_none(), "the turn answers it");
    assert!(f.db.stop_requested(&session).await.unwrap());
    let finished = f.finish(&session, attempt, 1, turn, finish(Outcome::Interrupted, &[])).await.unwrap();
    assert!(finished.messages.contains(&stop.message) && !finished.messages.contains(&waits));
    let told = f.all_told().await;
    assert!(told.len() == 1 && told[0].contains("background commands"), "{told:?}");
    assert_eq!(f.claim(&session, attempt).await.unwrap().1, ["text of 2"], "what waited behind goes on");
}

#[tokio::test]
async fn a_stop_that_comes_too_late_is_answered_beside_the_reply() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.command("/stop").await;
    f.finish(&session, attempt, 1, turn, finish(Outcome::Completed, &["done"])).await;
    let told = f.all_told().await;
    assert!(told.len() == 2 && told[0] == "done" && told[1].contains("had ended"), "{told:?}");
}

#[tokio::test]
async fn a_stopped_turn_is_not_tried_again_whatever_ended_it() {
    for container_dies in [true, false] {
        let f = Fixture::new();
        let session = f.accept("1").await;
        let attempt = f.begin(&session).await;
        let (turn, _) = f.claim(&session, attempt).await.unwrap();
        f.command("/stop").await;
        if container_dies {
            let ended = f.end(&session, attempt, true).await;
            assert!(
                matches!(ended, EndedTurn::Stopped(t, answered, _) if t == turn && answered.messages.len() == 2)
            );
        } else {
            let failed = Outcome::Failed(Failure::new(FailureKind::Upstream, "cut"));
            f.finish(&session, attempt, 1, turn, finish(failed, &[])).await;
        }
        let told = f.all_told().await;
        assert!(told.len() == 1 && told[0].contains("was stopped"), "{told:?}");
        assert_eq!(f.db.due(&session).await.unwrap(), Due::Later(None));
    }
}

#[tokio::test]
async fn a_stop_from_another_thread_is_answered_there() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    let stop = f.say(Inbound { chat: chat(Some("x")), text: "/stop".into(), ..message("2") }).await;
    let finished = f.finish(&session, attempt, 1, turn, finish(Outcome::Interrupted, &[])).await.unwrap();
    assert!(!finished.messages.contains(&stop.message) && finished.replies.len() == 1);
    assert_eq!((finished.elsewhere.len(), &finished.elsewhere[0].chat), (1, &chat(Some("x"))));
    assert_eq!(finished.elsewhere[0].messages, [stop.message]);
    let answers = f.db.answers_to(stop.message).await.unwrap();
    assert!(answers.len() == 1 && answers[0].chat == chat(Some("x")), "only its own chat's");
}

#[tokio::test]
async fn a_stop_without_a_turn_ends_what_waits_in_its_chat() {
    let f = Fixture::new();
    let waits = f.say(message("1")).await;
    let elsewhere = f.say(Inbound { chat: chat(Some("x")), ..message("2") }).await.message;
    let stop = f.command("/stop").await;
    let answered = stop.answered.expect("at once");
    assert_eq!(answered.messages, [waits.message, stop.message]);
    assert!(f.told().await.contains("is not answered"));
    assert_eq!(f.state(elsewhere).await, MessageState::Pending);
    let again = f.command("/stop").await.answered.unwrap();
    assert_eq!((f.told().await.as_str(), again.messages.len()), ("Nothing is running.", 1));
}

#[tokio::test]
async fn a_repeated_command_is_done_once_and_has_its_notice_for_whoever_asks() {
    let f = Fixture::new();
    let clear = || Inbound { text: "/clear".into(), ..message("c") };
    let first = f.say(clear()).await;
    f.db.do_commands(&first.session, Inherited::default()).await.unwrap();
    let again = f.say(clear()).await;
    assert!(again.duplicate && again.message == first.message);
    assert!(f.db.do_commands(&first.session, Inherited::default()).await.unwrap().is_empty());
    assert_eq!(f.db.answers_to(first.message).await.unwrap().len(), 1);
    assert_eq!(f.db.detail(&first.session, Inherited::default()).await.unwrap().generation, 1);
}

#[tokio::test]
async fn a_cleared_conversation_begins_anew_and_late_words_of_the_old_one_change_nothing() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    let attempt = f.begin(&session).await;
    f.ready(&session, attempt, 1).await;
    let (turn, _) = f.claim(&session, attempt).await.unwrap();
    f.command("/clear").await;
    assert!(f.db.do_commands(&session, Inherited::default()).await.unwrap().is_empty(), "the turn runs");
    f.accept("2").await;
    f.finish(&session, attempt, 2, turn, finish(Outcome::Completed, &["a"])).await;
    let claimed = f.claimed(&session, attempt).await.unwrap();
    assert_eq!(
        (claimed.generation, claimed.messages.len()),
        (1, 1),
        "what came after it is of the new conversation"
    );
    assert_eq!(f.db.session(&session).await.unwrap().continuation, None);
    f.ready(&session, attempt, 3).await;
    assert_eq!(f.db.session(&session).await.unwrap().continuation, None, "a thread of the old one");
    let old = finish(Outcome::Completed, &["b"]);
    f.finish(&session, attempt, 4, claimed.turn, old).await;
    assert_eq!(f.db.session(&session).await.unwrap().continuation, None);
}

#[tokio::test]
async fn commands_and_messages_keep_their_order() {
    let f = Fixture::new();
    let (session, attempt) = f.with_models().await;
    f.accept("a").await;
    f.command("/model luna").await;
    f.accept("b").await;
    let first = f.claimed(&session, attempt).await.unwrap();
    assert_eq!((first.messages.len(), first.options.model), (1, None));
    f.finish(&session, attempt, 3, first.turn, finish(Outcome::Completed, &["x"])).await;
    let second = f.claimed(&session, attempt).await.unwrap();
    assert_eq!((second.messages.len(), second.options.model.as_deref()), (1, Some("luna")));
    assert_eq!(f.all_told().await, ["x", "From the next turn on the model is luna."]);
}

#[tokio::test]
async fn a_model_is_chosen_from_the_list_kept_and_taken_back() {
    let f = Fixture::new();
    let (session, _) = f.with_models().await;
    let group = Inherited { model: Some(("luna".into(), Origin::Group)), ..Inherited::default() };
    let told = f.ask("/model", group.clone()).await;
    assert!(told.contains("luna (from the group's container.json)") && told.contains("• luna ← now"), "{told}");
    let told = f.ask("/model soll", group.clone()).await;
    assert_eq!(told, "There is no model soll. Did you mean sol? Known are: sol, luna.");
    f.ask("/model SOL", group.clone()).await;
    let attempt = f.begin(&session).await;
    f.accept("2").await;
    let Claim::Turn(claimed) = f.db.claim(&session, attempt, group.clone()).await.unwrap() else {
        panic!("a turn")
    };
    assert_eq!(claimed.options.model.as_deref(), Some("sol"), "also after a restart");
    f.end(&session, attempt, true).await;
    f.time_passes().await;
    f.command("/stop").await;
    f.told().await;
    assert_eq!(f.ask("/model default", group.clone()).await, "From the next turn on the model is luna again.");
    let told = f.ask("/model", Inherited::default()).await;
    assert!(told.contains("sol (the provider's default)"), "{told}");
}

#[tokio::test]
async fn an_effort_is_one_of_the_models_and_goes_with_it() {
    let f = Fixture::new();
    let (session, attempt) = f.with_models().await;
    let none = Inherited::default();
    assert_eq!(
        f.ask("/effort ultr", none.clone()).await,
        "There is no effort ultr. Did you mean ultra? Known are: low, high, ultra."
    );
    f.ask("/effort ultra", none.clone()).await;
    let told = f.ask("/model luna", none.clone()).await;
    assert!(told.ends_with("It does not take the effort ultra; that is taken back."), "{told}");
    f.ask("/effort high", none.clone()).await;
    f.accept("2").await;
    let options = f.claimed(&session, attempt).await.unwrap().options;
    assert_eq!((options.model.as_deref(), options.effort.as_deref()), (Some("luna"), Some("high")));
}

#[tokio::test]
async fn a_model_is_taken_with_a_word_while_nobody_knows_the_list() {
    let f = Fixture::new();
    let told = f.ask("/model brand-new", Inherited::default()).await;
    assert!(told.contains("brand-new") && told.contains("not known yet"), "{told}");
}

#[tokio::test]
async fn a_compact_is_a_turn_of_its_own_in_its_place() {
    let f = Fixture::new();
    let (session, attempt) = f.with_models().await;
    f.accept("a").await;
    f.command("/compact").await;
    f.accept("b").await;
    let turn = f.claimed(&session, attempt).await.unwrap();
    f.finish(&session, attempt, 3, turn.turn, finish(Outcome::Completed, &["x"])).await;
    f.told().await;
    let turn = f.claimed(&session, attempt).await.unwrap();
    assert_eq!((turn.work, turn.messages.len()), (Work::Compact, 1));
    let again = f.claimed(&session, attempt).await.unwrap();
    assert_eq!((again.turn, again.work), (turn.turn, Work::Compact), "handed out again");
    f.finish(&session, attempt, 4, turn.turn, finish(Outcome::Completed, &[])).await;
    assert_eq!(f.told().await, "The conversation was compacted.");
    assert_eq!(f.claimed(&session, attempt).await.unwrap().work, Work::Answer);
}

#[tokio::test]
async fn what_a_runner_says_of_a_compaction_is_a_notice_and_it_is_not_tried_again() {
    let failed = Outcome::Failed(Failure::new(FailureKind::Upstream, "500"));
    for (outcome, replies, says) in [(Outcome::Completed, &["Compacted."][..], "Compacted."), (failed, &[], "500")]
    {
        let f = Fixture::new();
        let (session, attempt) = f.with_models().await;
        f.command("/compact").await;
        let turn = f.claimed(&session, attempt).await.unwrap().turn;
        f.finish(&session, attempt, 3, turn, finish(outcome, replies)).await;
        let notice = f.leased().await.unwrap();
        assert!(notice.kind == ReplyKind::Notice && notice.text.contains(says), "{notice:?}");
        f.db.delivered(notice.id).await.unwrap();
        assert!(f.leased().await.is_none());
        assert_eq!(f.db.due(&session).await.unwrap(), Due::Later(None));
    }
}

#[tokio::test]
async fn a_compact_before_the_first_turn_needs_no_container() {
    let f = Fixture::new();
    let session = f.command("/compact").await.session;
    assert_eq!(f.db.due(&session).await.unwrap(), Due::Commands);
    f.db.do_commands(&session, Inherited::default()).await.unwrap();
    assert!(f.told().await.contains("nothing to compact"));
}

#[tokio::test]
async fn a_message_with_a_schema_goes_alone() {
    let f = Fixture::new();
    let session = f.accept("1").await;
    f.say(Inbound { output_schema: Some(r#"{"type":"object"}"#.into()), ..message("2") }).await;
    f.accept("3").await;
    let attempt = f.begin(&session).await;
    for (seq, schema) in [(1, false), (2, true), (3, false)] {
        let claimed = f.claimed(&session, attempt).await.unwrap();
        assert_eq!((claimed.messages.len(), claimed.options.output_schema.is_some()), (1, schema), "{seq}");
        f.finish(&session, attempt, seq, claimed.turn, finish(Outcome::Completed, &["x"])).await;
    }
}

#[tokio::test]
async fn an_account_of_the_pool_is_chosen_and_comes_with_each_turn() {
    let f = Fixture::new();
    let (session, _) = f.with_models().await;
    let pool = Inherited { accounts: vec!["work".into(), "home".into()], ..Inherited::default() };
    let told = f.ask("/account boss", pool.clone()).await;
    assert!(told.starts_with("The account boss does not serve this group."), "{told}");
    let told = f.ask("/account home", pool.clone()).await;
    assert_eq!(told, "From the next turn on the account home serves this conversation, and no other.");
    f.accept("2").await;
    let attempt = f.begin(&session).await;
    let Claim::Turn(claimed) = f.db.claim(&session, attempt, pool.clone()).await.unwrap() else { panic!() };
    assert_eq!(claimed.account.as_deref(), Some("home"));
    assert_eq!(f.db.session(&session).await.unwrap().account.as_deref(), Some("home"), "and for who adopts it");
}
