//! A session's next container: from its configuration to a running container, in steps that can each fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use cofferdam_protocol::admin::{ErrorKind, Outlook};
use cofferdam_protocol::ids::{Attempt, Folder, SessionId};
use cofferdam_protocol::runner::{
    CompactionSettings, DOOR_SOCKET, ENV_ATTEMPT, ENV_DOOR, FORWARD_PORT, McpServer, Settings,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;

use super::calls::{Call, RunnerCalls};
use super::{Inner, credentials, instructions, remote};
use crate::config::group::{GroupConfig, LoadedGroup};
use crate::config::process_env;
use crate::door::{Door, DoorSpec, TOKEN_SINK};
use crate::error_chain;
use crate::files;
use crate::gateway::Caller;
use crate::gateway::login::NoLogin;
use crate::hooks;
use crate::live::Blocked;
use crate::sandbox::mounts::credentials::issued;
use crate::sandbox::mounts::{self, Plan, PrepareError};
use crate::sandbox::{ContainerId, Limits, Mount, Owner, Running, Sandbox, SandboxError, Spec, User};
use crate::store::{GroupDb, StoreError};
use crate::tools;

/// Why a container could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    /// Only a person can mend it; the waiting messages are told.
    #[error("{0}")]
    Config(String),
    /// Files could not be made ready.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The door could not be opened.
    #[error("cannot open the session's door")]
    Door(#[source] std::io::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sandbox refused.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Its account's login, of which it has a copy, is not to be had.
    #[error(transparent)]
    Login(NoLogin),
    /// The runner never came, and the container ended.
    #[error("the container ended before its runner said hello ({0})")]
    Died(String),
}

impl LaunchError {
    /// What people are told while it is tried again for a session of that group.
    pub(super) fn blocked(&self, folder: &Folder) -> Blocked {
        let restore =
            format!("`cofferdam restore {folder}` mends it; the message stays accepted where it can be saved");
        let (kind, hint) = match self {
            Self::Config(_) => (ErrorKind::Config, "mend container.json"),
            Self::Store(error) if error.is_set_aside() => (ErrorKind::Database, restore.as_str()),
            Self::Prepare(_) | Self::Door(_) | Self::Store(_) => (
                ErrorKind::Disk,
                "see that the disk is not full and the home can be written; `cofferdam doctor` looks",
            ),
            Self::Sandbox(SandboxError::Build(_)) => (ErrorKind::Image, "`cofferdam image build` shows what fails"),
            Self::Sandbox(SandboxError::NoImage(_)) => {
                (ErrorKind::Image, "give the engine that image, or take 'image' out of the group's container.json")
            }
            Self::Sandbox(SandboxError::Full { .. }) => {
                (ErrorKind::Engine, "free space on the engine's disk (`docker system df` shows what takes it)")
            }
            Self::Sandbox(SandboxError::Hanging { .. }) => {
                (ErrorKind::Engine, "it goes on when the engine answers; restart the engine if it does not")
            }
            Self::Sandbox(SandboxError::TimedOut { .. }) => {
                (ErrorKind::Engine, "see the engine's own log; `cofferdam doctor` looks")
            }
            Self::Sandbox(SandboxError::Log { .. }) => (
                ErrorKind::Disk,
                "see that the disk is not full and the home can be written; `cofferdam doctor` looks",
            ),
            Self::Sandbox(SandboxError::Refused { .. }) => (
                ErrorKind::Engine,
                "see 'limits' and 'image' in the group's container.json, then `cofferdam doctor`",
            ),
            Self::Sandbox(_) => (ErrorKind::Engine, "see that the Docker engine runs; `cofferdam doctor` looks"),
            Self::Login(_) => (ErrorKind::Account, "`cofferdam account list` shows what is wrong with it"),
            Self::Died(_) => (ErrorKind::Image, "`cofferdam session logs` has its last words"),
        };
        Blocked { kind, message: error_chain(self), hint: Some(hint.to_owned()), outlook: Outlook::Waits }
    }
}

/// What a start has ready before the engine is asked.
pub(super) struct Ready {
    pub(super) attempt: Attempt,
    pub(super) config: Arc<LoadedGroup>,
    pub(super) door: Door,
    user: User,
    mounts: Vec<Mount>,
}

/// Step one: configuration, a fresh attempt (from here on older ones are refused), files, the door.
pub(super) async fn get_ready(
    inner: Arc<Inner>,
    store: Arc<GroupDb>,
    session: SessionId,
    calls: mpsc::UnboundedSender<Call>,
) -> Result<Ready, LaunchError> {
    let (inner, store, session) = (&inner, &*store, &session);
    let folder = store.folder().clone();
    let config = load_config(inner, &folder).await?;
    // An engine that is away costs no attempt.
    inner.ask_engine().await?;
    if config.config.image.is_none() {
        inner.parts.sandbox.default_image(false).await?;
    }
    let attempt = store.begin_attempt(session, config.config.provider, config.hash.clone()).await?;
    hooks::crash_point("attempt.after_commit");
    let user = mounts::container_user();
    sweep_sent(inner, store, session).await;
    let mounts = prepare_files(inner, folder.clone(), session.clone(), user, config.clone()).await?;
    let door = open_door(inner, &folder, session, attempt, None, &calls).map_err(LaunchError::Door)?;
    Ok(Ready { attempt, config, door, user, mounts })
}

/// Old copies of files that the agent sent go at a start; nothing waits for it, and a failure only leaves them.
async fn sweep_sent(inner: &Arc<Inner>, store: &GroupDb, session: &SessionId) {
    let waiting = match store.files_on_their_way(session).await {
        Ok(waiting) => waiting,
        Err(error) => {
            tracing::warn!(error = %error_chain(&error), "old copies of sent files were not cleared");
            return;
        }
    };
    let (data, dir) = (inner.parts.home.group_data(store.folder()), inner.parts.home.sent(session));
    tokio::task::spawn_blocking(move || files::sent::sweep(&data, &dir, &waiting));
}

/// The group's `container.json`, as it is now.
pub(super) async fn load_config(inner: &Arc<Inner>, folder: &Folder) -> Result<Arc<LoadedGroup>, LaunchError> {
    let (home, name) = (inner.parts.home.clone(), folder.clone());
    let loaded = tokio::task::spawn_blocking(move || GroupConfig::load(&home, &name)).await;
    match loaded {
        Ok(Ok(config)) => Ok(Arc::new(config)),
        Ok(Err(error)) => Err(LaunchError::Config(error_chain(&error))),
        Err(_) => Err(LaunchError::Store(StoreError::Closed)),
    }
}

/// What a group has whose own settings cannot be read just now.
pub(super) fn usual_config() -> Arc<LoadedGroup> {
    let raw = serde_json::Value::Null;
    Arc::new(LoadedGroup { config: GroupConfig::default(), hash: String::new(), raw })
}

async fn prepare_files(
    inner: &Arc<Inner>,
    folder: Folder,
    session: SessionId,
    user: User,
    config: Arc<LoadedGroup>,
) -> Result<Vec<Mount>, LaunchError> {
    // A login that is taken back meanwhile is wiped after this.
    let _copying = inner.copying.read().await;
    let credentials = credentials::issue(inner, &folder, &session, &config.config).await?;
    let inner = inner.clone();
    tokio::task::spawn_blocking(move || {
        let seed = inner.parts.sandbox.seed();
        let model = model_of(&inner, &config.config);
        let plan = Plan {
            folder: &folder,
            session: &session,
            user,
            config: &config.config,
            credentials: &credentials,
            model: model.as_deref(),
            seed: seed.as_deref(),
            env: &process_env,
        };
        mounts::prepare(&inner.parts.home, &plan)
    })
    .await
    .map_err(|_| LaunchError::Store(StoreError::Closed))?
    .map(|prepared| prepared.mounts)
    .map_err(|error| match error {
        PrepareError::Config(error) => LaunchError::Config(error_chain(&error)),
        error => LaunchError::Prepare(error),
    })
}

/// Opens a session's door for one attempt.
pub(super) fn open_door(
    inner: &Arc<Inner>,
    folder: &Folder,
    session: &SessionId,
    attempt: Attempt,
    token_hash: Option<Vec<u8>>,
    calls: &mpsc::UnboundedSender<Call>,
) -> std::io::Result<Door> {
    let dir = inner.parts.home.door(session);
    let spec = DoorSpec {
        dir: &dir,
        user: mounts::container_user(),
        caller: Caller {
            group: folder.clone(),
            session: session.clone(),
            serving: mounts::serving_of(&inner.parts.home, folder, session)?,
        },
        attempt,
        token_hash,
        issued: issued(&inner.parts.home, folder, session)?,
        servers: remote::servers(&inner.parts.home, folder, session),
        trust: inner.parts.trust.clone(),
    };
    Door::open(spec, Arc::new(RunnerCalls(calls.clone())), inner.parts.gateway.clone())
}

/// A started container.
pub(super) struct Started {
    pub(super) running: Running,
    pub(super) millis: f64,
}

/// A start under way. Dropping it leaves nothing behind: what comes of it is removed.
pub(super) struct Starting {
    /// What it comes to.
    pub(super) answer: BoxFuture<'static, Result<Started, LaunchError>>,
    builds: Arc<AtomicBool>,
}

impl Starting {
    /// Whether the image is being built for it: it has not asked for a container, or for none that came to be.
    pub(super) fn waits_for_the_image(&self) -> bool {
        self.builds.load(Ordering::Acquire)
    }
}

/// Step two: the image, built if it is missing, and the container. When the answer is dropped it waits for no build, and
/// removes what it started.
pub(super) fn start(inner: &Arc<Inner>, folder: &Folder, session: &SessionId, ready: &Ready) -> Starting {
    let config = &ready.config.config;
    let owner = Owner {
        install: inner.parts.install.clone(),
        group: folder.clone(),
        session: session.clone(),
        attempt: ready.attempt,
    };
    let spec = Spec {
        owner,
        image: String::new(),
        user: ready.user,
        limits: limits_of(config),
        env: env_of(config, ready.attempt),
        mounts: ready.mounts.clone(),
        network: config.network,
        log: inner.parts.home.log(folder, session, ready.attempt),
    };
    let (inner, own_image) = (inner.clone(), config.image.clone());
    let (mut answer, answered) = oneshot::channel();
    let (span, builds) = (tracing::Span::current(), Arc::new(AtomicBool::new(false)));
    let building = builds.clone();
    let start = async move {
        let wanted = Wanted { builds: &building, answer: &mut answer };
        let start = image_and_container(&*inner.parts.sandbox, spec, own_image, wanted);
        let Some(started) = inner.while_watched(start).await.transpose() else { return };
        if let Err(Ok(unwanted)) = answer.send(started) {
            inner.remove_unwatched(unwanted.running.id);
        }
    };
    tokio::spawn(start.instrument(span));
    Starting { answer: async move { Ok(answered.await.map_err(|_| StoreError::Closed)??) }.boxed(), builds }
}

/// Who waits for a start, while its image is built.
struct Wanted<'a> {
    builds: &'a AtomicBool,
    answer: &'a mut oneshot::Sender<Result<Started, SandboxError>>,
}

/// None when nobody waited any more for its image to be built; the build goes on for others.
async fn image_and_container(
    sandbox: &dyn Sandbox,
    mut spec: Spec,
    own_image: Option<String>,
    wanted: Wanted<'_>,
) -> Result<Option<Started>, SandboxError> {
    if let Some(image) = own_image {
        spec.image = image;
        return timed(sandbox, &spec).await.map(Some);
    }
    spec.image = sandbox.default_image(false).await?;
    match timed(sandbox, &spec).await {
        // Somebody pruned it: built again, not a crash loop.
        Err(SandboxError::NoImage(_)) => {}
        other => return other.map(Some),
    }
    wanted.builds.store(true, Ordering::Release);
    spec.image = tokio::select! {
        image = sandbox.default_image(true) => image?,
        () = wanted.answer.closed() => return Ok(None),
    };
    wanted.builds.store(false, Ordering::Release);
    timed(sandbox, &spec).await.map(Some)
}

async fn timed(sandbox: &dyn Sandbox, spec: &Spec) -> Result<Started, SandboxError> {
    let begun = Instant::now();
    hooks::crash_point("start.before_create");
    let running = sandbox.start(spec).await?;
    hooks::crash_point("start.after_start");
    Ok(Started { running, millis: begun.elapsed().as_secs_f64() * 1e3 })
}

/// What the runner is told at hello.
pub(super) fn settings_of(inner: &Inner, config: &GroupConfig) -> Settings {
    Settings {
        provider: config.provider,
        model: model_of(inner, config),
        instructions: instructions::instructions(config),
        cwd: mounts::CWD.to_owned(),
        silence_secs: config.timeouts.silence_secs,
        compaction: CompactionSettings {
            threshold_tokens: config.compaction.threshold_tokens,
            timeout_secs: config.compaction.timeout_secs,
        },
        tools: tools::specs(),
        mcp_servers: mcp_servers_of(config),
    }
}

fn mcp_servers_of(config: &GroupConfig) -> Vec<McpServer> {
    let used = config.mcp_servers.iter().filter(|(_, server)| !server.disabled);
    used.map(|(name, server)| McpServer {
        name: name.clone(),
        startup_timeout_secs: server.terms.startup_timeout_sec,
    })
    .collect()
}

fn model_of(inner: &Inner, config: &GroupConfig) -> Option<String> {
    config.model.clone().or_else(|| inner.default_model(config))
}

fn limits_of(config: &GroupConfig) -> Limits {
    let bytes = |mb: u64| i64::try_from(mb.saturating_mul(1024 * 1024)).unwrap_or(i64::MAX);
    Limits {
        memory_bytes: bytes(config.limits.memory_mb),
        cpus: config.limits.cpus,
        pids: i64::try_from(config.limits.pids).unwrap_or(i64::MAX),
        tmp_bytes: bytes(config.limits.tmp_mb),
    }
}

fn env_of(config: &GroupConfig, attempt: Attempt) -> Vec<(String, String)> {
    let own = [
        (ENV_ATTEMPT.to_owned(), attempt.to_string()),
        (ENV_DOOR.to_owned(), DOOR_SOCKET.to_owned()),
        ("HOME".to_owned(), "/home/agent".to_owned()),
        ("CODEX_HOME".to_owned(), "/home/agent/.codex".to_owned()),
        ("CODEX_REFRESH_TOKEN_URL_OVERRIDE".to_owned(), format!("http://127.0.0.1:{FORWARD_PORT}{TOKEN_SINK}")),
    ];
    config.environment.iter().map(|(name, value)| (name.clone(), value.clone())).chain(own).collect()
}

/// Container ids as people see them.
pub(super) fn short(id: &ContainerId) -> String {
    id.to_string()
}
