//! Sessions whose engine and disk are played by the test.

mod adoption;
mod ending;
mod interruption;

use std::path::PathBuf;
use std::time::SystemTime;

use async_trait::async_trait;
use cofferdam_protocol::runner::ProviderKind;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::Instant;

use super::calls::Rest;
use super::*;
use crate::gateway::Account;
use crate::model::chat::{ChatRef, Inbound};
use crate::model::session::Phase;
use crate::sandbox::{ContainerId, Exit, Found, Owner, Running, SandboxError, Spec};
use crate::store::Errand;
use crate::store::group::commands::Due;

/// An engine that is away until it is told what it has.
struct Engine {
    has: Mutex<Option<Vec<Found>>>,
    removed: Mutex<Vec<ContainerId>>,
    /// Whether it is the one that started the containers; it hangs while it has no answer.
    its_own: watch::Sender<Option<bool>>,
    /// Whether the containers have ended.
    ended: watch::Sender<bool>,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            has: Mutex::default(),
            removed: Mutex::default(),
            its_own: watch::Sender::new(Some(true)),
            ended: watch::Sender::new(false),
        }
    }
}

fn away() -> SandboxError {
    SandboxError::Hanging { doing: "anything", secs: 1 }
}

#[async_trait]
impl Sandbox for Engine {
    async fn start(&self, _: &Spec) -> Result<Running, SandboxError> {
        Err(away())
    }

    fn adopt(&self, id: &ContainerId, _: PathBuf) -> Running {
        let mut ended = self.ended.subscribe();
        let exit = async move {
            let _ = ended.wait_for(|ended| *ended).await;
            Exit::default()
        };
        Running { id: id.clone(), exit: exit.boxed() }
    }

    async fn stop(&self, _: &ContainerId, _: Duration) -> Result<(), SandboxError> {
        Ok(())
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), SandboxError> {
        lock(&self.removed).push(id.clone());
        Ok(())
    }

    async fn default_image(&self, _: bool) -> Result<String, SandboxError> {
        Ok("image".to_owned())
    }

    fn building(&self) -> Option<SystemTime> {
        None
    }

    fn seed(&self) -> Option<PathBuf> {
        None
    }

    async fn clear_up(&self, _: &str) -> Result<(), SandboxError> {
        Ok(())
    }

    async fn owned(&self, _: &str) -> Result<Vec<Found>, SandboxError> {
        lock(&self.has).clone().ok_or_else(away)
    }

    async fn is_its_engine(&self, _: &ContainerId) -> Result<bool, SandboxError> {
        let mut its_own = self.its_own.subscribe();
        let answer = its_own.wait_for(Option::is_some).await.map_err(|_| away())?;
        Ok(answer.unwrap_or_default())
    }

    async fn ping(&self) -> Result<(), SandboxError> {
        lock(&self.has).as_ref().map(drop).ok_or_else(away)
    }
}

struct Fixture {
    _dir: tempfile::TempDir,
    home: Home,
    engine: Arc<Engine>,
    supervisor: Supervisor,
    stores: Stores,
    folder: Folder,
    session: SessionId,
}

/// The session's first message.
fn hi() -> Inbound {
    Inbound {
        chat: ChatRef { channel: "terminal".into(), chat_id: "demo".into(), thread_id: None },
        platform_id: "1".into(),
        sender: "me".into(),
        sender_id: None,
        text: "hi".into(),
        quote: None,
        output_schema: None,
        files: Vec::new(),
    }
}

const ID: &str = "0123456789abcdef";

impl Fixture {
    /// A session with a message; nothing was begun.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (home, folder): (_, Folder) = (Home::new(dir.path()).unwrap(), "demo".parse().unwrap());
        std::fs::create_dir_all(home.group(&folder)).unwrap();
        let stores = Stores::open(home.clone()).unwrap();
        stores.central().put_group(&folder, "{}".into(), String::new()).await.unwrap();
        let (_, accepted) = stores.accept(&folder, hi(), "key".into(), None).await.unwrap();
        let engine = Arc::new(Engine::default());
        let supervisor = Supervisor::new(Parts {
            home: home.clone(),
            install: "install".into(),
            sandbox: engine.clone(),
            stores: stores.clone(),
            gateway: Arc::new(Gateway::new(Account::Offline).unwrap()),
            trust: Trust::MACHINE,
            hub: Hub::default(),
            deliver: Box::new(|_| {}),
            look: Box::new(|_| {}),
            abilities: Box::new(|_| panic!("no channel is asked")),
            max_sessions: 1,
            default_model: None,
            starts: Backoff { first: 1000, longest: 1000, tries: 3 },
            tell_after: Duration::from_millis(50),
        });
        Self { _dir: dir, home, engine, supervisor, stores, folder, session: accepted.session }
    }

    /// What a daemon leaves whose container runs.
    async fn leave_a_container(&self) -> Attempt {
        let store = self.stores.group(&self.folder).await.unwrap();
        let attempt = store.begin_attempt(&self.session, ProviderKind::Mock, String::new()).await.unwrap();
        store.set_container(&self.session, attempt, ID.into()).await.unwrap();
        store.hello(&self.session, attempt, vec![1]).await.unwrap();
        std::fs::create_dir_all(self.home.door(&self.session)).unwrap();
        attempt
    }

    fn found(&self, attempt: Attempt) -> Found {
        let (group, session) = (self.folder.clone(), self.session.clone());
        let owner = Owner { install: "install".into(), group, session, attempt };
        Found { id: ContainerId(ID.into()), owner: Some(owner), running: true }
    }

    /// The session's actor, run by nobody.
    fn actor(&self) -> Actor {
        let (post, mailbox) = mailbox();
        let view = View {
            state: SessionState::Stopped,
            note: None,
            attempt: Attempt(0),
            container: None,
            config_hash: None,
        };
        let (inner, calls) = (self.supervisor.inner.clone(), post.calls());
        Actor::new(inner, self.folder.clone(), self.session.clone(), calls, mailbox, Arc::new(Mutex::new(view)))
    }

    /// The session's state and note, once they are as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&View) -> bool) {
        for _ in 0..6000 {
            if self.supervisor.views().get(&self.session).is_some_and(|(_, view)| wanted(view)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}: {:?}", self.supervisor.views());
    }

    /// The database cannot be opened as long as the answer is kept.
    fn in_the_way(&self) -> InTheWay {
        let place = self.home.group_db(&self.folder);
        let kept = place.with_extension("kept");
        std::fs::rename(&place, &kept).unwrap();
        std::fs::create_dir(&place).unwrap();
        InTheWay { place, kept }
    }
}

struct InTheWay {
    place: PathBuf,
    kept: PathBuf,
}

impl Drop for InTheWay {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.place).unwrap();
        std::fs::rename(&self.kept, &self.place).unwrap();
    }
}

fn in_doubt(view: &View) -> bool {
    view.note.as_deref() == Some(super::adoption::IN_DOUBT)
}

#[tokio::test]
async fn a_container_that_two_lists_found_is_adopted_once_and_left_alone() {
    let it = Fixture::new().await;
    let attempt = it.leave_a_container().await;
    it.supervisor.recover();
    it.until("in doubt", in_doubt).await;
    for _ in 0..2 {
        let running = it.engine.adopt(&ContainerId(ID.into()), PathBuf::new());
        it.supervisor.call(&it.folder, &it.session, Call::Adopt(attempt, running));
    }
    it.until("adopted", |view| view.note.is_none()).await;
    // Its answer comes after both calls were done.
    let (reply, answer) = tokio::sync::oneshot::channel();
    it.supervisor.call(&it.folder, &it.session, Call::Digest(attempt, reply));
    assert!(matches!(answer.await, Ok(Ok(_))));
    tokio::task::yield_now().await;
    assert_eq!(*lock(&it.engine.removed), []);
}

#[tokio::test]
async fn a_container_whose_rows_cannot_be_read_just_now_is_not_taken_for_gone() {
    let it = Fixture::new().await;
    let attempt = it.leave_a_container().await;
    it.supervisor.recover();
    it.until("in doubt", in_doubt).await;
    let hold = it.stores.hold(&it.folder, Errand::Restore).await.unwrap();
    hold.close().await;
    *lock(&it.engine.has) = Some(vec![it.found(attempt)]);
    while !it.supervisor.inner.recovery.is_listed() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    it.until("still in doubt", in_doubt).await;
    drop(hold);
    it.supervisor.inner.recovery.list_again();
    it.until("adopted", |view| view.note.is_none()).await;
    assert_eq!(*lock(&it.engine.removed), []);
}

#[tokio::test]
async fn an_attempt_whose_runner_never_spoke_leaves_no_container() {
    let it = Fixture::new().await;
    it.stores.central().clear_busy(&it.folder).await.unwrap();
    *lock(&it.engine.has) = Some(Vec::new());
    it.supervisor.recover();
    while !it.supervisor.inner.recovery.is_listed() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let store = it.stores.group(&it.folder).await.unwrap();
    let attempt = store.begin_attempt(&it.session, ProviderKind::Mock, String::new()).await.unwrap();
    store.set_container(&it.session, attempt, ID.into()).await.unwrap();
    *lock(&it.engine.has) = Some(vec![it.found(attempt)]);
    it.supervisor.call(&it.folder, &it.session, Call::Broken);
    for _ in 0..6000 {
        if !lock(&it.engine.removed).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("its container runs on");
}

#[tokio::test]
async fn a_session_whose_database_does_not_open_waits_without_a_loop() {
    let it = Fixture::new().await;
    let mut actor = it.actor();
    let _way = it.in_the_way();
    actor.wake().await;
    assert!(actor.wait.trouble.is_some() && actor.wait.telling.is_some());
    tokio::time::sleep(Duration::from_millis(60)).await;
    let now = Instant::now();
    actor.tell_if_it_waits(now).await;
    assert!(actor.deadline().expect("it looks again") > now, "and not at once");
}

#[tokio::test]
async fn a_session_that_waits_for_the_first_list_after_other_trouble_does_so_without_a_loop_and_says_so() {
    let it = Fixture::new().await;
    let mut actor = it.actor();
    let way = it.in_the_way();
    it.supervisor.inner.engine_failed(&away());
    actor.wake().await;
    let trouble = actor.wait.trouble.as_ref().expect("its database does not open");
    assert!(trouble.waits_for.is_some());
    drop(way);
    tokio::time::sleep_until(trouble.again).await;
    actor.wake().await;
    assert!(actor.wait.held);
    tokio::time::sleep(Duration::from_millis(60)).await;
    actor.tell_if_it_waits(Instant::now()).await;
    assert_eq!(actor.deadline(), None, "the list wakes it");
    let told = it.stores.group(&it.folder).await.unwrap().due_chats().await.unwrap();
    assert_eq!(told.len(), 1, "its chat is told that it waits");
}

#[tokio::test]
async fn a_stop_takes_back_nothing_that_was_accepted_and_the_end_of_the_group_does() {
    let it = Fixture::new().await;
    it.supervisor.recover();
    it.until("waits for the engine", |view| view.note.is_some()).await;
    let store = it.stores.group(&it.folder).await.unwrap();
    it.supervisor.stop(&it.session).await.unwrap();
    assert!(matches!(store.due(&it.session).await.unwrap(), Due::Turn), "it waits on");
    let quiet = it
        .supervisor
        .end_group(&it.folder, GroupEnd::Removal)
        .await
        .expect("without a container it needs no engine");
    it.supervisor.call(&it.folder, &it.session, Call::Wake);
    assert!(it.supervisor.views().is_empty(), "no session begins");
    it.supervisor.last_words(&store).await.unwrap();
    drop(quiet);
    assert!(!matches!(store.due(&it.session).await.unwrap(), Due::Turn), "it ended in words");
}

#[tokio::test]
async fn a_container_that_may_run_is_left_to_the_next_start_but_not_to_whoever_wants_its_files() {
    let it = Fixture::new().await;
    it.leave_a_container().await;
    for (rest, ended) in [(Rest::Nothing, false), (Rest::ForTheNextStart, true)] {
        let mut actor = it.actor();
        actor.arrive().await;
        actor.on_cut_off(rest).await;
        assert_eq!((actor.life.is_none(), actor.phase == Phase::STOPPED), (ended, ended), "{rest:?}");
    }
}
