//! The reporter with a channel that notes what it is shown.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use cofferdam_protocol::admin::{ChatOutcome, Timings};
use cofferdam_protocol::ids::Attempt;
use cofferdam_protocol::runner::ActivityKind;
use tokio::time::Instant;

use super::screen::RENEW;
use super::*;
use crate::channels::{Abilities, Channel, Pace, Piece, Progress, Rate, Receipt, Room, SendError, Showing, Status};
use crate::config::home::Home;
use crate::live::Ended;
use crate::model::chat::ChatRef;
use crate::model::reply::Outbound;

type Shown = Vec<(Instant, String, Status)>;

/// Notes what it is shown; the chat `stuck` takes nothing.
#[derive(Default)]
struct Noting {
    shown: Mutex<Shown>,
    /// The next showing is answered with this.
    error: Mutex<Option<SendError>>,
    news: tokio::sync::Notify,
}

/// Of a chat: three at once, then one each four seconds.
const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(4) };

#[async_trait]
impl Channel for Noting {
    fn name(&self) -> &str {
        "terminal"
    }

    async fn send(&self, _: &Outbound, _: (usize, &Piece), _: Option<&str>) -> Result<Receipt, SendError> {
        Ok(Receipt::NONE)
    }

    fn abilities(&self) -> Abilities {
        Abilities { progress: true, ..Abilities::default() }
    }

    fn pace(&self) -> Pace {
        Pace { chat: RATE, ..Pace::UNLIMITED }
    }

    /// Only in `b`: elsewhere no more than the tests see.
    fn chat_rate(&self, chat: &ChatRef) -> Rate {
        if chat.chat_id == "b" { RATE } else { Rate::UNLIMITED }
    }

    async fn progress(
        &self,
        chat: &ChatRef,
        progress: &Progress,
        _: Option<&str>,
        room: &dyn Room,
    ) -> Result<Option<String>, SendError> {
        if chat.chat_id == "stuck" {
            std::future::pending::<()>().await;
        }
        if progress.status != Status::Ended && !room.has(Showing::Message) {
            return Ok(None);
        }
        if let Some(error) = self.error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        let entry = (Instant::now(), chat.chat_id.clone(), progress.status.clone());
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        self.news.notify_one();
        Ok(None)
    }
}

struct Fixture {
    _dir: tempfile::TempDir,
    hub: Hub,
    stores: Stores,
    channel: Arc<Noting>,
    gates: Gates,
    _reporter: Reporter,
}

impl Fixture {
    /// Groups `a`, `b` and `stuck` with their terminal chats.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let stores = Stores::open(Home::new(dir.path()).unwrap()).unwrap();
        for group in ["a", "b", "stuck"] {
            stores.central().put_group(&group.parse().unwrap(), "{}".into(), "h".into()).await.unwrap();
        }
        let (hub, channel, gates) = (Hub::default(), Arc::new(Noting::default()), Gates::default());
        let channels = Channels::default();
        channels.add(channel.clone());
        let reporter = Reporter::start(&hub, &stores, channels, (crate::channels::Shown::default(), gates.clone()));
        Self { _dir: dir, hub, stores, channel, gates, _reporter: reporter }
    }

    fn started(&self, chat: &str) {
        let chat_ref = ChatRef { channel: "terminal".into(), chat_id: chat.into(), thread_id: None };
        let due = Due { folder: chat.parse().unwrap(), chat: chat_ref };
        self.hub.tell(&id(chat), Live::Working { turn: TurnId(1), due });
    }

    fn does(&self, chat: &str, text: &str) {
        self.hub.tell(&id(chat), Live::Activity(ActivityKind::CommandStarted, text.into()));
    }

    fn ended(&self, chat: &str) {
        let ended = Ended {
            turn: Some(TurnId(1)),
            attempt: Attempt(1),
            container: None,
            messages: vec![],
            replies: vec![],
            outcome: ChatOutcome::Replied,
            usage: None,
            timings: Timings::default(),
        };
        self.hub.tell(&id(chat), Live::Ended(ended));
    }

    /// Waits until a chat was shown what is wanted; answers all that it was shown.
    async fn shown(&self, chat: &str, wanted: impl Fn(&Status) -> bool) -> Shown {
        loop {
            let of_chat = self.of(chat);
            if of_chat.iter().any(|(_, _, status)| wanted(status)) {
                return of_chat;
            }
            self.channel.news.notified().await;
        }
    }

    fn of(&self, chat: &str) -> Shown {
        let shown = self.channel.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.iter().filter(|(_, of, _)| of == chat).cloned().collect()
    }
}

/// A session for each chat.
fn id(chat: &str) -> SessionId {
    let hex: String = chat.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex:0<32}").parse().unwrap()
}

fn says(status: &Status, word: &str) -> bool {
    matches!(status, Status::Working { status: text, .. } if text.contains(word))
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_activity_is_shown_at_the_channels_pace_and_goes_away_with_the_turn() {
    let f = Fixture::new().await;
    f.started("a");
    f.shown("a", |status| says(status, "works")).await;
    for number in 0..200 {
        f.does("a", &format!("command {number}."));
    }
    f.shown("a", |status| says(status, "command 199.")).await;
    f.ended("a");
    let shown = f.shown("a", |status| *status == Status::Ended).await;
    let working = || shown.iter().filter(|(_, _, status)| *status != Status::Ended);
    assert!(working().count() <= 4, "coalesced: {shown:?}");
    for (one, two) in working().zip(working().skip(1)) {
        assert!(two.0 - one.0 >= Duration::from_secs(1), "{shown:?}");
    }
    assert_eq!(shown.last().map(|(_, _, status)| status), Some(&Status::Ended));
}

#[tokio::test(start_paused = true)]
async fn what_lasts_is_renewed_so_that_a_typing_mark_can_be() {
    let f = Fixture::new().await;
    f.started("a");
    f.does("a", "make");
    let long = || async {
        while f.of("a").len() < 5 {
            f.channel.news.notified().await;
        }
    };
    long().await;
    let shown = f.of("a");
    assert!(shown[4].0 - shown[1].0 >= 3 * RENEW, "and not more often than needed: {shown:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wiring_with_progress_off_is_shown_nothing() {
    let f = Fixture::new().await;
    let mut wiring = f.stores.central().wirings_of("terminal", "a").await.unwrap().remove(0);
    wiring.terms.progress = false;
    assert!(f.stores.central().wire(wiring).await.unwrap());
    f.started("a");
    f.does("a", "ls");
    f.started("b");
    f.shown("b", |status| says(status, "works")).await;
    f.ended("a");
    f.ended("b");
    f.shown("b", |status| *status == Status::Ended).await;
    assert!(f.of("a").is_empty(), "{:?}", f.of("a"));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_over_at_once_shows_nothing() {
    let f = Fixture::new().await;
    f.started("a");
    f.ended("a");
    f.started("b");
    f.shown("b", |status| says(status, "works")).await;
    assert!(f.of("a").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_hangs_in_one_chat_holds_up_no_other() {
    let f = Fixture::new().await;
    f.started("stuck");
    f.started("a");
    f.shown("a", |status| says(status, "works")).await;
    f.does("a", "ls");
    f.shown("a", |status| says(status, "$ ls")).await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_end_was_not_heard_ends_with_its_sessions_next_sign() {
    let f = Fixture::new().await;
    f.started("a");
    f.shown("a", |status| says(status, "works")).await;
    f.hub.tell(&id("a"), Live::State(SessionState::Idle, None));
    f.shown("a", |status| *status == Status::Ended).await;
}

fn terminal(chat: &str) -> ChatRef {
    ChatRef { channel: "terminal".into(), chat_id: chat.into(), thread_id: None }
}

#[tokio::test(start_paused = true)]
async fn what_there_is_no_room_for_is_skipped_and_the_newest_is_shown_once_there_is() {
    let f = Fixture::new().await;
    let gate = f.gates.of(f.channel.as_ref());
    for _ in 0..3 {
        drop(gate.pass_at(&terminal("b"), RATE).await);
    }
    // A reply stands in the chat's line: all that comes free until it went is its own.
    let at_gate = gate.clone();
    let reply = tokio::spawn(async move {
        drop(at_gate.pass_at(&terminal("b"), RATE).await);
        Instant::now()
    });
    f.started("b");
    f.started("a");
    for number in 0..20 {
        f.does("b", &format!("command {number}."));
    }
    let shown = f.shown("b", |status| says(status, "command 19.")).await;
    let replied = reply.await.unwrap();
    assert_eq!(shown.len(), 1, "nothing older was shown: {shown:?}");
    assert!(shown[0].0 >= replied, "the reply went first");
    assert!(!f.of("a").is_empty(), "no other chat was kept");
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_refuses_a_showing_has_its_pause_and_replies_keep_it_too() {
    const PAUSE: Duration = Duration::from_secs(20);
    let f = Fixture::new().await;
    *f.channel.error.lock().unwrap() = Some(SendError::later("too many", Some(PAUSE)));
    f.started("a");
    let gate = f.gates.of(f.channel.as_ref());
    while gate.rests(&terminal("a")).is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let told = Instant::now();
    f.started("b");
    f.shown("b", |status| says(status, "works")).await;
    assert!(f.of("a").is_empty(), "and no other chat has it");
    drop(gate.pass_at(&terminal("a"), Rate::UNLIMITED).await);
    assert!(told.elapsed() > PAUSE - Duration::from_secs(1), "a reply waited");
    let shown = f.shown("a", |status| says(status, "works")).await;
    assert!(shown[0].0 - told > PAUSE - Duration::from_secs(1), "{shown:?}");

    // What is shown by now goes away after a pause.
    gate.heed(&terminal("a"), &SendError::later("too many", Some(PAUSE)));
    let told = Instant::now();
    f.ended("a");
    let shown = f.shown("a", |status| *status == Status::Ended).await;
    assert!(shown.last().unwrap().0 - told >= PAUSE, "{shown:?}");
}
