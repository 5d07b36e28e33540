//! An agent that does what its script says, with its intake, and a book in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use async_trait::async_trait;
use cofferdam::channels::http::book::{Answer, Book, Came, Hook, HookFormat, Key, MOST_KEPT, Stand};
use cofferdam::channels::http::{Http, keys};
use cofferdam::channels::{Arrival, Channel, Content, Intake, NotTaken, Piece, Progress, Showing, Status, Taken};
use cofferdam::model::action::{Action, Asked};
use cofferdam::model::chat::ChatRef;
use cofferdam::model::reply::{Outbound, ReplyKind};
use cofferdam_protocol::ids::{QuestionId, ReplyId, TurnId};
use cofferdam_protocol::runner::Usage;
use cofferdam_tests::{LIMIT, recorder};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Barrier, Semaphore, watch};
use tokio::time::timeout;

/// The secret of all webhooks.
pub const SECRET: &str = "a secret of the tests";
/// What each answered turn took.
pub const USED: Usage = Usage { input: 1200, cached_input: 1000, output: 34, reasoning: 20 };

/// What an agent does in a turn, in order.
#[derive(Clone)]
pub enum Act {
    /// Writes so far.
    Draft(&'static str),
    /// Posts in the middle of its turn.
    Post(&'static str),
    /// Cofferdam says something that is no end.
    Notice(&'static str),
    /// Waits for the test.
    Until(Arc<Semaphore>),
    /// The turn ends for another try.
    Again,
    /// Asks, and waits for the answer.
    Ask(&'static str),
    /// The turn ends with these replies.
    Say(Vec<&'static str>),
    /// The turn ends with the message's own text.
    Echo,
    /// The turn ends in what was posted, and no more.
    End,
    /// The same, and nobody is told.
    EndUnheard,
    /// The turn ends in a notice.
    Fail(&'static str),
}

/// A message that was taken.
#[derive(Debug, Clone)]
pub struct Message {
    pub arrival: Arrival,
    pub text: String,
    pub files: Vec<(String, Vec<u8>)>,
    pub schema: Option<String>,
}

#[derive(Default)]
struct Notes {
    messages: Vec<Message>,
    stands: HashMap<(ChatRef, String), Stand>,
    threads: HashMap<(String, [u8; 32]), String>,
    /// Where the next reads of those wait for each other.
    meet: Vec<Arc<Barrier>>,
    /// Words of what they are, and whether they were taken.
    calls: HashMap<(String, [u8; 32]), (String, bool)>,
    refused: Vec<String>,
    used: Vec<String>,
    hooks: HashMap<String, Hook>,
    keys: HashMap<[u8; 32], Key>,
    scripts: Vec<(String, Vec<Act>)>,
    answers: Vec<(String, Result<Taken, NotTaken>)>,
    turns: i64,
    replies: i64,
}

/// The agent, its book and its intake.
pub struct Agent {
    pub http: OnceLock<Arc<Http>>,
    notes: Mutex<Notes>,
    taken: watch::Sender<usize>,
    known: watch::Sender<usize>,
    looked: watch::Sender<usize>,
    ended: watch::Sender<usize>,
}

impl Agent {
    /// One without a channel yet.
    pub fn new() -> Self {
        Self {
            http: OnceLock::new(),
            notes: Mutex::default(),
            taken: watch::Sender::new(0),
            known: watch::Sender::new(0),
            looked: watch::Sender::new(0),
            ended: watch::Sender::new(0),
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("no test panicked here")
    }

    /// What it does with a message whose text ends so. Others are answered with their own text.
    pub fn script(&self, ends: &str, acts: impl Into<Vec<Act>>) {
        self.notes().scripts.push((ends.to_owned(), acts.into()));
    }

    /// What the intake answers to a message whose text ends so, instead of taking it.
    pub fn answers(&self, ends: &str, answer: Result<Taken, NotTaken>) {
        self.notes().answers.push((ends.to_owned(), answer));
    }

    /// From here on it takes every message.
    pub fn takes_all(&self) {
        self.notes().answers.clear();
    }

    pub fn hook(&self, name: &str, format: HookFormat) {
        self.put_hook(name, Self::a_hook(name, format));
    }

    /// A webhook without more.
    pub fn a_hook(name: &str, format: HookFormat) -> Hook {
        let chat_id = format!("hook/{name}");
        Hook { chat_id, secret: SECRET.into(), format, callback: None, events: Vec::new() }
    }

    pub fn put_hook(&self, name: &str, hook: Hook) {
        self.notes().hooks.insert(name.to_owned(), hook);
    }

    pub fn key(&self, name: &str) -> String {
        self.put_key(Self::a_key(name))
    }

    /// A key without more.
    pub fn a_key(name: &str) -> Key {
        let chat_id = format!("key/{name}");
        Key { name: name.into(), chat_id, model: "demo".into(), expires_at: None, revoked: false }
    }

    pub fn put_key(&self, key: Key) -> String {
        let (text, hash): (SecretString, _) = keys::fresh();
        self.notes().keys.insert(hash, key);
        text.expose_secret().to_owned()
    }

    pub fn messages(&self) -> Vec<Message> {
        self.notes().messages.clone()
    }

    pub fn texts(&self) -> Vec<String> {
        self.messages().into_iter().map(|message| message.text).collect()
    }

    /// The threads of its messages, in order.
    pub fn threads(&self) -> Vec<String> {
        self.messages().into_iter().map(|message| message.arrival.chat.thread_id.unwrap_or_default()).collect()
    }

    /// The reasons of what was refused so far, each after its chat.
    pub fn refused(&self) -> Vec<String> {
        self.notes().refused.clone()
    }

    pub fn used(&self) -> Vec<String> {
        self.notes().used.clone()
    }

    /// Waits until so many messages were taken.
    pub async fn has_taken(&self, messages: usize) {
        reaches(&self.taken, messages).await;
    }

    /// Waits until so many messages came that had been taken before.
    pub async fn has_known(&self, messages: usize) {
        reaches(&self.known, messages).await;
    }

    /// How many came that had been taken before.
    pub fn known(&self) -> usize {
        *self.known.borrow()
    }

    /// How many calls are remembered by their signatures.
    pub fn remembered(&self) -> usize {
        self.notes().calls.len()
    }

    /// Waits until waiting calls looked so often for their answer.
    pub async fn has_looked(&self, often: usize) {
        reaches(&self.looked, often).await;
    }

    /// Waits until so many turns ended, and their replies were handed over.
    pub async fn has_ended(&self, turns: usize) {
        reaches(&self.ended, turns).await;
    }

    /// The next two reads of what is kept of conversations are done before either goes on.
    pub fn next_two_reads_meet(&self) {
        let both = Arc::new(Barrier::new(2));
        self.notes().meet = vec![both.clone(), both];
    }

    /// What is kept of conversations is as older versions kept it: without stamps.
    pub fn forget_stamps(&self) {
        for kept in self.notes().threads.values_mut() {
            kept.truncate(kept.find(' ').unwrap_or(kept.len()));
        }
    }

    fn stand(&self, of: &(ChatRef, String), stand: Stand) {
        self.notes().stands.insert(of.clone(), stand);
    }

    fn turn(&self) -> TurnId {
        let mut notes = self.notes();
        notes.turns += 1;
        TurnId(notes.turns)
    }

    pub fn reply(&self, chat: &ChatRef, turn: TurnId, kind: ReplyKind, text: &str) -> Outbound {
        let mut notes = self.notes();
        notes.replies += 1;
        Outbound {
            id: ReplyId(notes.replies),
            key: format!("key-{}", notes.replies),
            turn: Some(turn),
            kind,
            ..recorder::reply(chat, text)
        }
    }

    async fn send(&self, reply: Outbound) {
        let http = self.http.get().expect("a channel");
        http.send(&reply, (0, &Piece::Whole), None).await.expect("taken, whoever waits");
    }

    async fn show(&self, chat: &ChatRef, turn: TurnId, status: Status) {
        let http = self.http.get().expect("a channel");
        http.progress(chat, &Progress { turn, status, reply_to: None }, None, &|_: Showing| true)
            .await
            .expect("shown");
    }

    async fn say(&self, of: &(ChatRef, String), turn: TurnId, said: &mut Vec<String>, texts: &[&str]) {
        said.extend(texts.iter().map(|text| (*text).to_owned()));
        self.stand(of, answered(said));
        for text in texts {
            self.send(self.reply(&of.0, turn, ReplyKind::Reply, text)).await;
        }
    }

    async fn run(self: Arc<Self>, of: (ChatRef, String), text: String, acts: Vec<Act>) {
        let chat = &of.0;
        let mut turn = self.turn();
        let mut said: Vec<String> = Vec::new();
        self.stand(&of, Stand::Running(turn));
        for act in acts {
            match act {
                Act::Draft(draft) => {
                    let status = Status::Working { status: "works".into(), draft: draft.into() };
                    self.show(chat, turn, status).await;
                }
                Act::Post(text) => {
                    said.push(text.to_owned());
                    self.send(self.reply(chat, turn, ReplyKind::Reply, text)).await;
                }
                Act::Notice(text) => self.send(self.reply(chat, turn, ReplyKind::Notice, text)).await,
                Act::Until(gate) => gate.acquire().await.expect("a gate").forget(),
                Act::Again => {
                    self.stand(&of, Stand::Waiting);
                    self.send(self.reply(chat, turn, ReplyKind::Notice, "It is tried again.")).await;
                    turn = self.turn();
                    self.stand(&of, Stand::Running(turn));
                }
                Act::Ask(question) => {
                    said.push(question.to_owned());
                    self.stand(&of, Stand::Asks(said.clone().into()));
                    let id = QuestionId(1);
                    let asked = Asked { id, question: question.into(), options: Vec::new(), expires_at: i64::MAX };
                    let mut reply = self.reply(chat, turn, ReplyKind::Reply, question);
                    reply.action = Some(Action::Question(asked));
                    self.send(reply).await;
                }
                Act::Say(texts) => self.say(&of, turn, &mut said, &texts).await,
                Act::Echo => self.say(&of, turn, &mut said, &[&format!("You said: {text}")]).await,
                Act::End => {
                    self.stand(&of, answered(&said));
                    self.show(chat, turn, Status::Ended).await;
                }
                Act::EndUnheard => self.stand(&of, answered(&said)),
                Act::Fail(notice) => {
                    self.stand(&of, Stand::Failed(notice.to_owned()));
                    self.send(self.reply(chat, turn, ReplyKind::Notice, notice)).await;
                }
            }
        }
        self.ended.send_modify(|ended| *ended += 1);
    }
}

fn answered(said: &[String]) -> Stand {
    Stand::Said(Answer { texts: said.to_owned(), usage: USED })
}

async fn reaches(count: &watch::Sender<usize>, least: usize) {
    let mut count = count.subscribe();
    let reached = timeout(LIMIT, count.wait_for(|count| *count >= least)).await;
    reached.expect("in time").expect("a sender");
}

/// Where the agent's messages come in.
pub struct Inbox(pub Arc<Agent>);

#[async_trait]
impl Intake for Inbox {
    async fn take(&self, arrival: Arrival) -> Result<Taken, NotTaken> {
        let agent = &self.0;
        let Content::Message(written) = arrival.content.clone() else { panic!("a message: {arrival:?}") };
        if let Some((_, answer)) = agent.notes().answers.iter().find(|(ends, _)| written.text.ends_with(ends)) {
            return answer.clone();
        }
        let of = (arrival.chat.clone(), arrival.platform_id.clone());
        // The thread is not part of a message's name, as in the inbox.
        let is_same = |(chat, id): &(ChatRef, String)| chat.chat_id == of.0.chat_id && *id == of.1;
        if agent.notes().stands.keys().any(is_same) {
            agent.known.send_modify(|known| *known += 1);
            return Ok(Taken::Known);
        }
        let mut files = Vec::new();
        for file in &written.files {
            let http = agent.http.get().expect("a channel").clone();
            let mut bytes = Vec::new();
            http.fetch(file, &mut bytes, 1 << 30).await.map_err(|error| NotTaken::Failed(error.to_string()))?;
            files.push((file.name.clone(), bytes));
        }
        let text = written.text.clone();
        let acts = {
            let mut notes = agent.notes();
            let (text, schema) = (written.text, written.output_schema);
            notes.messages.push(Message { arrival, text: text.clone(), files, schema });
            notes.stands.insert(of.clone(), Stand::Waiting);
            let script = notes.scripts.iter().find(|(ends, _)| text.ends_with(ends));
            script.map_or_else(|| vec![Act::Echo], |(_, acts)| acts.clone())
        };
        agent.taken.send_modify(|taken| *taken += 1);
        tokio::spawn(agent.clone().run(of, text, acts));
        Ok(Taken::Accepted)
    }

    async fn overflow(&self, arrival: Arrival, _: bool) -> Result<(), NotTaken> {
        panic!("a call waits for its answer, and for nothing else: {arrival:?}")
    }

    async fn present(&self, _: ChatRef) {}

    async fn cursor(&self) -> Result<Option<String>, NotTaken> {
        Ok(None)
    }

    async fn keep_cursor(&self, _: String) -> Result<(), NotTaken> {
        Ok(())
    }
}

/// The agent's book.
pub struct Shelf(pub Arc<Agent>);

#[async_trait]
impl Book for Shelf {
    async fn hook(&self, name: &str) -> Result<Option<Hook>, String> {
        Ok(self.0.notes().hooks.get(name).cloned())
    }

    async fn key(&self, sha256_of_key: [u8; 32]) -> Result<Option<Key>, String> {
        Ok(self.0.notes().keys.get(&sha256_of_key).cloned())
    }

    async fn used(&self, key: &str) {
        self.0.notes().used.push(key.to_owned());
    }

    async fn thread_of(&self, key: &str, fingerprint: [u8; 32]) -> Result<Option<String>, String> {
        let (found, meet) = {
            let mut notes = self.0.notes();
            (notes.threads.get(&(key.to_owned(), fingerprint)).cloned(), notes.meet.pop())
        };
        if let Some(meet) = meet {
            meet.wait().await;
        }
        Ok(found)
    }

    async fn keep_thread(&self, key: &str, fingerprint: [u8; 32], thread: &str) -> Result<(), String> {
        assert!(thread.len() <= MOST_KEPT, "{thread}");
        self.0.notes().threads.insert((key.to_owned(), fingerprint), thread.to_owned());
        Ok(())
    }

    async fn keep_first(&self, key: &str, fingerprint: [u8; 32], thread: &str) -> Result<String, String> {
        assert!(thread.len() <= MOST_KEPT, "{thread}");
        let mut notes = self.0.notes();
        let kept = notes.threads.entry((key.to_owned(), fingerprint));
        Ok(kept.or_insert_with(|| thread.to_owned()).clone())
    }

    async fn came(&self, hook: &str, sha256_of_tag: [u8; 32], call: &str) -> Result<Came, String> {
        Ok(match self.0.notes().calls.get(&(hook.to_owned(), sha256_of_tag)) {
            None => Came::New,
            Some((words, _)) if words != call => Came::Copied,
            Some((_, false)) => Came::Again,
            Some((_, true)) => Came::Taken,
        })
    }

    async fn admits(&self, hook: &str, sha256_of_tag: [u8; 32], call: &str) -> Result<bool, String> {
        let mut notes = self.0.notes();
        let entry = notes.calls.entry((hook.to_owned(), sha256_of_tag));
        Ok(entry.or_insert_with(|| (call.to_owned(), false)).0 == call)
    }

    async fn call_taken(&self, hook: &str, sha256_of_tag: [u8; 32]) {
        if let Some(call) = self.0.notes().calls.get_mut(&(hook.to_owned(), sha256_of_tag)) {
            call.1 = true;
        }
    }

    async fn refused(&self, chat: &str, reason: &'static str) {
        self.0.notes().refused.push(format!("{chat} {reason}"));
    }

    async fn answer(&self, chat: &ChatRef, platform_id: &str) -> Result<Stand, String> {
        let stand = self.0.notes().stands.get(&(chat.clone(), platform_id.to_owned())).cloned();
        self.0.looked.send_modify(|looked| *looked += 1);
        Ok(stand.unwrap_or(Stand::Unknown))
    }
}

/// A gate that is closed.
pub fn gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}
