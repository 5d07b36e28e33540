//! The desk on a real store.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

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
mod codes;
mod edits;
mod kept;
mod late;
mod moved;
mod questions;
mod quotes;
mod strangers;
mod stuck;
mod wirings;

/// Says nothing; it may have files, but not the one that is gone, the slow one never comes, the one for later is had by nobody yet,
/// for another the disk is full, and one meets a bug.
#[derive(Clone, Default)]
struct Mute {
    has_files: bool,
    /// Programs write there.
    of_programs: bool,
    /// So often the bug is met.
    breaks: Arc<AtomicU32>,
}

impl Mute {
    fn with_files() -> Self {
        Self { has_files: true, ..Self::default() }
    }
}

#[async_trait]
impl Channel for Mute {
    fn name(&self) -> &str {
        "tg"
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn writers(&self) -> Writers {
        if self.of_programs { Writers::Programs } else { Writers::People }
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
        if file.reference == "full disk" {
            return Err(SendError::Disk { why: "no space".to_owned() });
        }
        if file.reference == "bug" {
            let left = self.breaks.load(Ordering::Relaxed);
            self.breaks.store(left.saturating_sub(1), Ordering::Relaxed);
            assert!(left == 0, "a bug");
        }
        // As channels do.
        let later = |error: std::io::Error| SendError::later(error.to_string(), None);
        into.write_all(b"content").await.map_err(later)?;
        into.flush().await.map_err(later)?;
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
        let desk = desk(home, &stores, &accepted, &count, Mute::default());
        let counter = desk.intake("tg", Writers::People);
        Self { _dir: dir, stores, desk, counter, accepted, count, next: Mutex::new(0) }
    }

    /// The daemon starts anew on the same home, with this channel: what was only in memory is gone.
    fn starts_anew(&mut self, channel: Mute) {
        let (home, writers) = (self.desk.inner.home.clone(), channel.writers());
        self.desk = desk(home, &self.stores, &self.accepted, &self.count, channel);
        self.counter = self.desk.intake("tg", writers);
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
