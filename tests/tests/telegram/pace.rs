//! Delivery and progress as a daemon has them, over real sockets, with a Telegram that refuses whatever breaks its limits. Only a
//! group's minute is shorter here, on both sides.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cofferdam::channels::telegram::Telegram as Bot;
use cofferdam::channels::{
    Abilities, Channel, Channels, Pace, Piece, Progress, Rate, Receipt, Room, SendError, Shown,
};
use cofferdam::config::home::Home;
use cofferdam::delivery::Delivery;
use cofferdam::live::{Hub, Live};
use cofferdam::model::chat::{ChatKind, ChatRef, Due, Inbound};
use cofferdam::model::reply::Outbound;
use cofferdam::pace::Gates;
use cofferdam::progress::Reporter;
use cofferdam::store::group::claim::Claim;
use cofferdam::store::group::models::Inherited;
use cofferdam::store::wirings::{Terms, Wiring};
use cofferdam::store::{GroupDb, Stores};
use cofferdam_protocol::admin::SessionState;
use cofferdam_protocol::ids::{Attempt, Folder, Seq, SessionId, TurnId};
use cofferdam_protocol::runner::{Finish, Outcome, ProviderKind};
use cofferdam_tests::telegram::{Fault, Telegram};
use futures_util::future::join_all;
use jiff::tz::TimeZone;

use super::bot::{channel, reply};

/// A minute of groups lasts the fourth part of one: 25 messages take 22 s.
const SHORTER: u32 = 4;
/// How often an agent says another word.
const WORD: Duration = Duration::from_millis(300);
const ANSWER: &str = "The answer.";

/// The channel with that minute.
struct Quicker(Bot);

impl Quicker {
    fn part(&self, chat: &ChatRef) -> u32 {
        if chat.chat_id.starts_with('-') { SHORTER } else { 1 }
    }
}

#[async_trait]
impl Channel for Quicker {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    fn pace(&self) -> Pace {
        self.0.pace()
    }

    fn chat_rate(&self, chat: &ChatRef) -> Rate {
        let rate = self.0.chat_rate(chat);
        Rate { every: rate.every / self.part(chat), ..rate }
    }

    fn pieces(&self, reply: &Outbound) -> Vec<Piece> {
        self.0.pieces(reply)
    }

    async fn send(
        &self,
        reply: &Outbound,
        piece: (usize, &Piece),
        onto: Option<&str>,
    ) -> Result<Receipt, SendError> {
        self.0.send(reply, piece, onto).await
    }

    async fn progress(
        &self,
        chat: &ChatRef,
        progress: &Progress,
        shown: Option<&str>,
        room: &dyn Room,
    ) -> Result<Option<String>, SendError> {
        self.0.progress(chat, progress, shown, room).await
    }

    fn progress_pace(&self, chat: &ChatRef) -> Duration {
        self.0.progress_pace(chat) / self.part(chat)
    }
}

struct Stage {
    _dir: tempfile::TempDir,
    telegram: Telegram,
    stores: Stores,
    db: Arc<GroupDb>,
    hub: Hub,
    delivery: Delivery,
    _reporter: Reporter,
    /// Who says a word now and then.
    talking: Arc<Mutex<Vec<SessionId>>>,
}

/// A turn that runs, whose answer grows.
struct Turn {
    session: SessionId,
    attempt: Attempt,
    id: TurnId,
    chat: ChatRef,
}

fn demo() -> Folder {
    "demo".parse().expect("a folder")
}

impl Stage {
    async fn new() -> Self {
        let telegram = Telegram::start().await;
        telegram.keep_to_quicker_pace(SHORTER);
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("data")).expect("a directory");
        let stores = Stores::open(Home::new(dir.path()).expect("a home")).expect("stores");
        stores.central().put_group(&demo(), "{}".into(), String::new()).await.expect("a group");
        let db = stores.group(&demo()).await.expect("a store");
        let (channels, shared) = (Channels::default(), (Shown::default(), Gates::default()));
        channels.add(Arc::new(Quicker(channel(&telegram))));
        let hub = Hub::default();
        let delivery = Delivery::new(stores.clone(), channels.clone(), shared.clone(), true);
        let reporter = Reporter::start(&hub, &stores, channels, shared);
        let talking = Arc::<Mutex<Vec<SessionId>>>::default();
        let (talks, words) = (talking.clone(), hub.clone());
        tokio::spawn(async move {
            loop {
                let talking = talks.lock().expect("a lock").clone();
                talking.iter().for_each(|session| words.tell(session, Live::Delta("word ".to_owned())));
                tokio::time::sleep(WORD).await;
            }
        });
        Self { _dir: dir, telegram, stores, db, hub, delivery, _reporter: reporter, talking }
    }

    /// A forum with so many topics, and the chats that they are.
    async fn forum(&self, topics: i64) -> (i64, Vec<ChatRef>) {
        let topics: Vec<i64> = (1..=topics).collect();
        let group = self.telegram.supergroup("Team", &topics);
        self.wire(group, ChatKind::Group).await;
        let topic = |topic: &i64| ChatRef { thread_id: Some(topic.to_string()), ..reply(group, "").chat };
        (group, topics.iter().map(topic).collect())
    }

    async fn person(&self, id: i64) -> ChatRef {
        self.telegram.person(id, "somebody");
        self.wire(id, ChatKind::Direct).await;
        reply(id, "").chat
    }

    async fn wire(&self, chat: i64, kind: ChatKind) {
        let terms = Terms::of(kind);
        let wiring = Wiring { channel: "tg".into(), chat_id: chat.to_string(), folder: demo(), terms };
        assert!(self.stores.central().wire(wiring).await.expect("wired"));
    }

    /// Somebody writes, and a turn works on it.
    async fn works(&self, chat: &ChatRef) -> Turn {
        let key = chat.to_string();
        let message = Inbound {
            chat: chat.clone(),
            platform_id: format!("of {key}"),
            sender: "Ada".into(),
            sender_id: None,
            text: "well?".into(),
            quote: None,
            output_schema: None,
            files: Vec::new(),
        };
        let (db, accepted) = self.stores.accept(&demo(), message, key, None).await.expect("accepted");
        let session = accepted.session;
        let attempt = db.begin_attempt(&session, ProviderKind::Mock, "h".into()).await.expect("an attempt");
        let claim = db.claim(&session, attempt, Inherited::default()).await.expect("claimed");
        let Claim::Turn(claimed) = claim else { panic!("{claim:?}") };
        self.hub.tell(&session, Live::Working { turn: claimed.turn, due: due(chat) });
        self.talking.lock().expect("a lock").push(session.clone());
        Turn { session, attempt, id: claimed.turn, chat: chat.clone() }
    }

    async fn answers(&self, turn: &Turn) {
        let finish = Finish { replies: vec![ANSWER.to_owned()], ..Finish::new(Outcome::Completed) };
        let finished = self.db.finish(&turn.session, turn.attempt, Seq(1), turn.id, finish, TimeZone::UTC);
        assert!(finished.await.expect("finished").is_some());
        self.ends(turn);
        self.delivery.nudge(due(&turn.chat));
    }

    fn ends(&self, turn: &Turn) {
        self.talking.lock().expect("a lock").retain(|session| *session != turn.session);
        self.hub.tell(&turn.session, Live::State(SessionState::Idle, None));
    }

    /// Waits until each of the turns' chats shows its answer, once.
    async fn answered(&self, turns: &[Turn]) {
        let all = |telegram: &Telegram| {
            let shows = |turn: &Turn| {
                let topic = turn.chat.thread_id.as_deref().map(|topic| topic.parse::<i64>().expect("a number"));
                let messages = telegram.from_bot(chat_of(turn));
                messages.iter().filter(|message| message.thread == topic && message.text == ANSWER).count() == 1
            };
            turns.iter().all(shows).then_some(())
        };
        self.telegram.until("an answer in each chat", all).await;
    }

    /// The messages of the bot's, new and changed, in the order in which Telegram had them: the chat, and whether it was an
    /// answer.
    fn said(&self) -> Vec<(i64, bool)> {
        let calls = self.telegram.all_calls();
        let messages = calls.iter().filter(|call| ["sendMessage", "editMessageText"].contains(&&*call.method));
        let said = messages.map(|call| {
            let chat = &call.params["chat_id"];
            let chat = chat.as_i64().or_else(|| chat.as_str()?.parse().ok()).expect("a chat");
            (chat, call.params["text"].as_str() == Some(ANSWER))
        });
        said.collect()
    }

    fn nothing_was_broken(&self) {
        assert_eq!(self.telegram.violations(), Vec::<String>::new());
    }
}

fn due(chat: &ChatRef) -> Due {
    Due { folder: demo(), chat: chat.clone() }
}

fn chat_of(turn: &Turn) -> i64 {
    turn.chat.chat_id.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_replies_into_a_group_and_forty_chats_at_once_break_no_limit_whatever_is_shown_meanwhile() {
    let stage = Stage::new().await;
    let (group, mut chats) = stage.forum(30).await;
    chats.extend(join_all((1..=45).map(|person| stage.person(person))).await);
    let mut answering = join_all(chats.iter().map(|chat| stage.works(chat))).await;
    // Five topics and five people go on, and see what their turns do.
    let mut going_on = answering.split_off(70);
    going_on.extend(answering.drain(..5));
    let shown = |telegram: &Telegram| {
        let people = (1..=45).filter(|person| !telegram.from_bot(*person).is_empty()).count();
        (people >= 20 && !telegram.from_bot(group).is_empty()).then_some(())
    };
    stage.telegram.until("displays", shown).await;
    join_all(answering.iter().map(|turn| stage.answers(turn))).await;
    stage.answered(&answering).await;
    stage.nothing_was_broken();

    let said = stage.said();
    let in_group: Vec<bool> = said.iter().filter(|(chat, _)| *chat == group).map(|(_, answer)| *answer).collect();
    let answers: Vec<usize> = (0..in_group.len()).filter(|at| in_group[*at]).collect();
    assert_eq!(answers.len(), 25, "each once");
    // By the fourth all that was saved up is used, and replies stand in a line; a display may have been on its way.
    let between = answers[24] - answers[3] - 21;
    assert!(between <= 2, "{between} displays went before replies that waited: {in_group:?}");
    assert!(said.iter().any(|(chat, answer)| *chat > 0 && !answer), "displays were shown");

    going_on.iter().for_each(|turn| stage.ends(turn));
    let only_answers = |telegram: &Telegram| {
        let is_left = |chat: i64| telegram.from_bot(chat).iter().any(|message| message.text != ANSWER);
        (!is_left(group) && !(1..=45).any(is_left)).then_some(())
    };
    stage.telegram.until("no display is left", only_answers).await;
    stage.nothing_was_broken();
}

/// Ada's display was changed: by then what was on its way when the pause began is there.
fn grows(telegram: &Telegram) -> Option<()> {
    telegram.from_bot(1001).iter().any(|message| message.edits > 0).then_some(())
}

/// Where in the order the chat had its answer.
fn answered_at(said: &[(i64, bool)], chat: i64) -> usize {
    said.iter().rposition(|said| *said == (chat, true)).expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_pauses_for_a_reply_shows_nothing_and_holds_up_no_other_chat() {
    let stage = Stage::new().await;
    let (group, topics) = stage.forum(2).await;
    let ada = stage.person(1001).await;
    stage.telegram.fail("sendMessage", [Fault::TooMany(15)]);
    let first = stage.works(&topics[0]).await;
    stage.answers(&first).await;
    stage.telegram.called("sendMessage", 1).await;
    // Its display would like to be shown in the pause.
    let second = stage.works(&topics[1]).await;
    let adas = stage.works(&ada).await;
    stage.telegram.until("a display that grows", grows).await;
    stage.answers(&adas).await;
    stage.answered(&[adas]).await;
    stage.answered(&[first]).await;
    let said = stage.said();
    assert!(answered_at(&said, 1001) < answered_at(&said, group), "Ada did not wait: {said:?}");
    stage.answers(&second).await;
    stage.answered(&[second]).await;
    stage.nothing_was_broken();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_a_display_was_asked_for_is_kept_by_its_chats_replies_and_no_other_chats() {
    let stage = Stage::new().await;
    let (group, topics) = stage.forum(2).await;
    let ada = stage.person(1001).await;
    stage.telegram.fail("sendChatAction", [Fault::TooMany(15)]);
    let shown = stage.works(&topics[0]).await;
    stage.telegram.called("sendChatAction", 1).await;
    let (other, adas) = (stage.works(&topics[1]).await, stage.works(&ada).await);
    stage.telegram.until("a display that grows", grows).await;
    let turns = [shown, other, adas];
    join_all(turns.iter().map(|turn| stage.answers(turn))).await;
    stage.answered(&turns).await;
    let said = stage.said();
    assert!(answered_at(&said, 1001) < answered_at(&said, group), "Ada did not wait: {said:?}");
    stage.nothing_was_broken();
}
