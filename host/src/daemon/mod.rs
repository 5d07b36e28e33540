//! The composition root: makes every part, and owns the order in which they end.
//!
//! Start: lock → store → gateway, channels, delivery → supervisor begins to recover (doors, then adopts and removes, and
//! wakes) → admin socket, which waits for none of that.
//! End: admin socket (intake; a daemon goes on answering who looks) → sessions (grace, then stop) → delivery (deadline), progress → the databases
//! checkpoint as their last handles go. A second signal hurries all that is left of it: each of these waits becomes a short
//! one, and what is not done by then is the next start's. One that lost its home to another daemon ends
//! where it stands ([`lock`]).

mod lock;
mod parts;
#[cfg(feature = "test-hooks")]
mod platform;

use std::fs::Permissions;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_protocol::admin::ErrorKind;
use cofferdam_protocol::ids::AccountName;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::admin::AdminServer;
use crate::channels::Channels;
use crate::channels::terminal::Terminal;
use crate::clock;
use crate::config::home::Home;
use crate::config::host::HostConfig;
use crate::delivery::Delivery;
use crate::error_chain;
use crate::gateway::{Accounts, Gateway, GatewayError};
use crate::progress::Reporter;
use crate::store::Stores;
use crate::store::ground::Ground;
pub(crate) use crate::store::{Fault, StoreError};
use crate::supervisor::Supervisor;
use crate::switchboard::Switchboard;
use crate::trust::BadCa;
use crate::vault::issuer::IssuerError;

use lock::HomeLock;
use parts::Shared;
pub(crate) use parts::{channel_kinds, trust_of};

/// What a daemon is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `cofferdam up`.
    Serve,
    /// One command that needs sessions, such as `chat`.
    InProcess,
    /// One command that only looks or registers: containers are left alone.
    Query,
}

/// Why a daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another one has the home.
    #[error("another daemon has this home (process {pid})")]
    Locked {
        /// Its process, as it wrote it.
        pid: String,
    },
    /// A directory, the lock or the socket cannot be made.
    #[error("cannot use {path}")]
    Home {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key of the host's configuration cannot be used.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The host's configuration names certificates that cannot be trusted.
    #[error("the certificates of {path} cannot be used (ca_file, or COFFERDAM_CA_FILE)")]
    Ca {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: BadCa,
    },
    /// The client for logins could not be set up.
    #[error("the HTTPS client for logins could not be set up")]
    Issuer(#[source] IssuerError),
    /// The host's configuration names an account that is not there.
    #[error("there is no account '{0}', which the host's configuration names")]
    NoAccount(AccountName),
}

impl StartError {
    /// Whether a database is damaged.
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::Store(error) if error.fault() == Fault::Damaged)
    }

    /// Whether a newer program has written a database.
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Store(error) if error.fault() == Fault::Newer)
    }
}

/// SIGINT and SIGTERM. Caught before anything is started, so that also a daemon that starts ends in order.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on they end nothing by themselves.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next one; those that came since the last are one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A running daemon.
pub struct Daemon {
    admin: AdminServer,
    supervisor: Option<Supervisor>,
    delivery: Delivery,
    reporter: Reporter,
    stores: Stores,
    accounts: Accounts,
    gateway: Arc<Gateway>,
    home: Home,
    /// The channels of the home.
    switchboard: Switchboard,
    /// The desk does what is due by itself until this is dropped.
    attends: DropGuard,
    /// Follows the wall clock.
    clock: Option<AbortOnDropHandle<()>>,
    #[cfg(feature = "test-hooks")]
    platform: Option<CancellationToken>,
    /// Holds the lock to the end.
    _watch: AbortOnDropHandle<()>,
}

/// How long running turns may go on after the first signal.
const GRACE: Duration = Duration::from_secs(20);
/// How long the engine may take after that to stop the containers. One that has not by then will not; the next start removes
/// them.
const ENGINE_DEADLINE: Duration = Duration::from_secs(20);
/// How long replies may be handed over after the sessions ended.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(5);
/// How soon a daemon that has nothing to write notices that it lost its home.
const WATCH: Duration = Duration::from_secs(1);
/// How long a refresh of a login that runs may take: one that is cut off can cost the login.
const REFRESHES: Duration = Duration::from_secs(20);
/// How long clients may read their last lines after that.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// After a second signal: how long the engine may take to stop the containers, and how long the databases may close. A
/// container is killed within 0.3 s, a journal is closed within 1 s.
const HURRIED: Duration = Duration::from_secs(2);
/// After a second signal: how long replies may be handed over.
const HURRIED_DELIVERY: Duration = Duration::from_millis(500);

impl Daemon {
    /// Starts all parts. When it returns the admin socket answers.
    pub async fn start(home: Home, config: HostConfig, mode: Mode) -> Result<Self, StartError> {
        let lock = Arc::new(make_home(&home)?);
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let guard = lock.clone();
        let ground = Ground::new(Arc::new(move || stand_down_if_lost(&guard)));
        let stores = Stores::on(home.clone(), ground)?;
        let watch = AbortOnDropHandle::new(tokio::spawn(watch(lock)));
        let terminal = Terminal::default();
        let channels = Channels::default();
        channels.add(Arc::new(terminal.clone()));
        #[cfg(feature = "test-hooks")]
        let platform = platform::add(&channels, mode);
        let shared = Shared::new(home, config, mode, stores, (terminal, channels)).await?;
        let reporter = shared.reporter();
        let supervisor = shared.supervisor();
        let desk = shared.desk(&supervisor);
        let switchboard = shared.switchboard(&desk, &supervisor);
        if mode == Mode::Serve {
            switchboard.hold_places().await?;
        }
        if mode != Mode::Query {
            supervisor.recover();
        }
        #[cfg(feature = "test-hooks")]
        let platform = platform.map(|platform| platform::start(&platform, &shared.stores, &desk));
        let socket = shared.home.admin_socket();
        let admin =
            AdminServer::start(shared.admin(supervisor.clone(), desk.clone(), switchboard.clone()), &socket)
                .map_err(|source| StartError::Home { path: socket, source })?;
        if mode == Mode::Serve {
            let (home, account) = (shared.home.root().display(), shared.gateway.account_name());
            tracing::info!(%home, account, "ready; talk to a group with `cofferdam chat GROUP`, end with Ctrl-C");
        }
        if mode == Mode::Serve {
            switchboard.start().await;
        }
        let attends = CancellationToken::new();
        if mode == Mode::Serve {
            let (desk, stop) = (desk.clone(), attends.clone());
            tokio::spawn(async move { desk.attend(stop).await });
        }
        let supervisor = (mode != Mode::Query).then_some(supervisor);
        let clock = supervisor.clone().map(|supervisor| follow_clock(supervisor, shared.delivery.clone()));
        Ok(Self {
            admin,
            supervisor,
            delivery: shared.delivery,
            reporter,
            stores: shared.stores,
            accounts: shared.accounts,
            gateway: shared.gateway,
            home: shared.home,
            clock,
            switchboard,
            attends: attends.drop_guard(),
            #[cfg(feature = "test-hooks")]
            platform,
            _watch: watch,
        })
    }

    /// Serves until a signal, then ends in order; a second one hurries that.
    pub async fn run_until(self, mut signals: Signals) {
        signals.next().await;
        tracing::info!("ends after the running turns, at most {} s; a second signal ends now", GRACE.as_secs());
        self.end(signals.next()).await;
    }

    /// Ends in order.
    pub async fn shutdown(self) {
        self.end(std::future::pending()).await;
    }

    async fn end(self, hurry: impl Future<Output = ()>) {
        let hurried = CancellationToken::new();
        let mut order = std::pin::pin!(self.in_order(&hurried));
        tokio::select! {
            () = &mut order => return,
            () = hurry => {}
        }
        tracing::info!("a second signal: ends now");
        hurried.cancel();
        order.await;
    }

    async fn in_order(self, hurried: &CancellationToken) {
        drop(self.clock);
        self.admin.stop_intake(GRACE);
        self.switchboard.stop_intake();
        drop(self.attends);
        #[cfg(feature = "test-hooks")]
        if let Some(platform) = &self.platform {
            platform.cancel();
        }
        if let Some(supervisor) = &self.supervisor {
            let (calm, quick) =
                (supervisor.shutdown(GRACE, ENGINE_DEADLINE), supervisor.shutdown(Duration::ZERO, HURRIED));
            unless(hurried, calm, quick).await;
        }
        let (calm, quick) = (self.delivery.shutdown(DELIVERY_DEADLINE), self.delivery.shutdown(HURRIED_DELIVERY));
        unless(hurried, calm, quick).await;
        self.reporter.shutdown(LAST_WORDS).await;
        let quick = async { _ = tokio::time::timeout(HURRIED_DELIVERY, self.switchboard.close()).await };
        unless(hurried, self.switchboard.close(), quick).await;
        self.admin.finish(LAST_WORDS).await;
        settle_logins(&self.accounts, hurried).await;
        settle_calls(&self.gateway, hurried).await;
        let quick = async {
            if tokio::time::timeout(HURRIED, self.stores.close()).await.is_err() {
                tracing::warn!("databases were still closing at the end; their journals stay for the next start");
            }
        };
        unless(hurried, self.stores.close(), quick).await;
        if let Err(error) = std::fs::remove_file(self.home.admin_socket()) {
            tracing::debug!(%error, "the admin socket was gone");
        }
    }
}

/// A refresh that runs comes to its end: one that is cut off can cost the login. So a second signal only shortens it.
async fn settle_logins(accounts: &Accounts, hurried: &CancellationToken) {
    let within = async |limit: Duration| {
        if tokio::time::timeout(limit, accounts.settle()).await.is_err() {
            tracing::warn!("a login is still being refreshed; the next start goes on with it");
        }
    };
    unless(hurried, within(REFRESHES), within(HURRIED)).await;
}

/// What the last model calls cost is written down before the databases close.
async fn settle_calls(gateway: &Gateway, hurried: &CancellationToken) {
    unless(hurried, gateway.settle(), async {
        if tokio::time::timeout(HURRIED, gateway.settle()).await.is_err() {
            tracing::warn!("what the last model calls cost was not written down");
        }
    })
    .await;
}

/// A step of the end: `calm`, unless a second signal came or comes; then `quick`.
async fn unless(hurried: &CancellationToken, calm: impl Future<Output = ()>, quick: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = hurried.cancelled() => quick.await,
        () = calm => {}
    }
}

/// Tells whoever waits for a time that the wall clock jumped, as long as the answer is kept.
fn follow_clock(supervisor: Supervisor, delivery: Delivery) -> AbortOnDropHandle<()> {
    let mut watch = clock::Watch::begin();
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let jump = watch.jump().await;
            tracing::warn!(
                ms = jump,
                "the wall clock jumped, or the machine slept; what is due is looked at again"
            );
            if let Err(error) = supervisor.clock_jumped(jump).await {
                tracing::error!(error = %error_chain(&error), "due times were not put right");
            }
            delivery.look_again();
        }
    }))
}

/// Makes the directories and takes the lock that only one daemon of a home can hold.
fn make_home(home: &Home) -> Result<HomeLock, StartError> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let at = |path: PathBuf| move |source| StartError::Home { path, source };
    // Also one that an image build or a person made: what lies in it is nobody else's.
    let private = |path: PathBuf| {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o700))).map_err(at(path))
    };
    private(home.data())?;
    private(home.run())?;
    private(home.run().join("doors"))?;
    std::fs::create_dir_all(home.groups()).map_err(at(home.groups()))?;
    HomeLock::take(home.lock())
}

/// Ends the process where it stands if another has the home. Nothing is dropped: the sockets under our names are its.
fn stand_down_if_lost(lock: &HomeLock) {
    if let Some(who) = lock.lost_to() {
        tracing::error!(%who, "this daemon has lost its home (run/daemon.lock is another's) and ends, touching nothing");
        std::process::exit(i32::from(ErrorKind::Conflict.exit_code()));
    }
}

async fn watch(lock: Arc<HomeLock>) {
    loop {
        tokio::time::sleep(WATCH).await;
        stand_down_if_lost(&lock);
    }
}
