//! The composition root: makes every part, and owns the order in which they end.
//!
//! Start: lock → store → gateway, channels, delivery → supervisor begins to recover (doors, then adopts and removes, and
//! wakes) → admin socket, which waits for none of that.
//! End: admin socket (intake; a daemon goes on answering who looks) → sessions (grace, then stop) → delivery (deadline), progress → the databases
//! checkpoint as their last handles go. A second signal skips the waits. One that lost its home to another daemon ends
//! where it stands ([`lock`]).

mod lock;
#[cfg(feature = "test-hooks")]
mod platform;

use std::fs::Permissions;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_protocol::admin::ErrorKind;
use cofferdam_protocol::ids::AccountName;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

use crate::admin::{Admin, AdminServer};
use crate::channels::Channels;
use crate::channels::terminal::Terminal;
use crate::clock;
use crate::config::home::Home;
use crate::config::host::{Environment, HostConfig};
use crate::config::retries::Retries;
use crate::delivery::Delivery;
use crate::error_chain;
use crate::gateway::accounts::Sources;
use crate::gateway::{Account, Accounts, Gateway, GatewayError};
use crate::live::Hub;
use crate::model::backoff::Backoff;
use crate::progress::Reporter;
use crate::sandbox::docker::DockerSandbox;
use crate::store::Stores;
use crate::store::ground::Ground;
pub(crate) use crate::store::{Fault, StoreError};
use crate::supervisor::{Parts, Supervisor};
use crate::vault::issuer::{Address, Issuer, IssuerError};
use crate::vault::{Refresher, Vault};

use lock::HomeLock;

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
    home: Home,
    /// Follows the wall clock.
    clock: Option<AbortOnDropHandle<()>>,
    #[cfg(feature = "test-hooks")]
    platform: Option<crate::channels::platform::Platform>,
    /// Holds the lock to the end.
    _watch: AbortOnDropHandle<()>,
}

/// How long running turns may go on after the first signal.
const GRACE: Duration = Duration::from_secs(20);
/// How long replies may be handed over after the sessions ended.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(5);
/// How soon a daemon that has nothing to write notices that it lost its home.
const WATCH: Duration = Duration::from_secs(1);
/// How long a refresh of a login that runs may take: one that is cut off can cost the login.
const REFRESHES: Duration = Duration::from_secs(20);
/// How long clients may read their last lines after that.
const LAST_WORDS: Duration = Duration::from_millis(200);

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
        let install = stores.central().install_id().await?;
        let accounts = open_accounts(&home, &stores, &install, &config, mode).await?;
        let gateway = Arc::new(Gateway::with_accounts(accounts.clone()));
        let terminal = Terminal::default();
        let mut channels = Channels::default();
        channels.add(Arc::new(terminal.clone()));
        #[cfg(feature = "test-hooks")]
        let platform = platform::add(&mut channels, mode);
        let delivery = Delivery::new(stores.clone(), channels.clone(), mode == Mode::Serve);
        let hub = Hub::default();
        let reporter = Reporter::start(&hub, &stores, channels.clone());
        let sandbox = Arc::new(DockerSandbox::new(home.clone(), config.docker_host.clone(), config.runner.clone()));
        let (nudge, look) = (delivery.clone(), delivery.clone());
        let supervisor = Supervisor::new(Parts {
            home: home.clone(),
            install: install.clone(),
            sandbox,
            stores: stores.clone(),
            gateway: gateway.clone(),
            hub: hub.clone(),
            deliver: Box::new(move |due| nudge.nudge(due)),
            look: Box::new(move |due| look.look(due)),
            abilities: Box::new(move |channel| channels.abilities(channel)),
            max_sessions: config.max_sessions,
            default_model: config.default_model.clone(),
            starts: starts_of(config.retries),
            tell_after: Duration::from_secs(config.retries.tell_after_secs),
        });
        if mode != Mode::Query {
            supervisor.recover();
        }
        #[cfg(feature = "test-hooks")]
        if let Some(platform) = &platform {
            platform::start(platform, &stores, &supervisor, &delivery);
        }
        let admin = Admin {
            home: home.clone(),
            install,
            stores: stores.clone(),
            supervisor: supervisor.clone(),
            delivery: delivery.clone(),
            terminal,
            hub,
            gateway: gateway.clone(),
            accounts: accounts.clone(),
            max_sessions: config.max_sessions,
            default_model: config.default_model.clone(),
            since: (mode == Mode::Serve).then(Instant::now),
        };
        let socket = home.admin_socket();
        let admin =
            AdminServer::start(admin, &socket).map_err(|source| StartError::Home { path: socket, source })?;
        if mode == Mode::Serve {
            let (home, account) = (home.root().display(), gateway.account_name());
            tracing::info!(%home, account, "ready; talk to a group with `cofferdam chat GROUP`, end with Ctrl-C");
        }
        let supervisor = (mode != Mode::Query).then_some(supervisor);
        let clock = supervisor.clone().map(|supervisor| follow_clock(supervisor, delivery.clone()));
        Ok(Self {
            admin,
            supervisor,
            delivery,
            reporter,
            stores,
            accounts,
            home,
            clock,
            #[cfg(feature = "test-hooks")]
            platform,
            _watch: watch,
        })
    }

    /// Serves until a signal, then ends in order; a second one skips the waits.
    pub async fn run_until(self, mut signals: Signals) {
        signals.next().await;
        tracing::info!("ends after the running turns, at most {} s; a second signal ends now", GRACE.as_secs());
        self.end(GRACE, signals.next()).await;
    }

    /// Ends in order.
    pub async fn shutdown(self) {
        self.end(GRACE, std::future::pending()).await;
    }

    async fn end(self, grace: Duration, hurry: impl Future<Output = ()>) {
        drop(self.clock);
        self.admin.stop_intake(grace);
        #[cfg(feature = "test-hooks")]
        if let Some(platform) = &self.platform {
            platform.stop_intake();
        }
        if let Some(supervisor) = &self.supervisor {
            tokio::select! {
                () = supervisor.shutdown(grace) => {}
                () = hurry => supervisor.shutdown(Duration::ZERO).await,
            }
        }
        self.delivery.shutdown(DELIVERY_DEADLINE).await;
        self.reporter.shutdown(LAST_WORDS).await;
        self.admin.finish(LAST_WORDS).await;
        if tokio::time::timeout(REFRESHES, self.accounts.settle()).await.is_err() {
            tracing::warn!("a login is still being refreshed; the next start goes on with it");
        }
        self.stores.close().await;
        if let Err(error) = std::fs::remove_file(self.home.admin_socket()) {
            tracing::debug!(%error, "the admin socket was gone");
        }
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

fn starts_of(retries: Retries) -> Backoff {
    // All are within bounds that the configuration holds.
    let ms = |secs: u64| i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(1000);
    Backoff {
        first: ms(retries.start_first_secs),
        longest: ms(retries.start_longest_secs),
        tries: u32::try_from(retries.start_tries).unwrap_or(u32::MAX),
    }
}

/// The accounts of the home. One that only looks or registers may make the account that is missing.
async fn open_accounts(
    home: &Home,
    stores: &Stores,
    install: &str,
    config: &HostConfig,
    mode: Mode,
) -> Result<Accounts, StartError> {
    let of_key = |of: &Environment| Account::open_ai(&of.base_url, of.key.clone());
    let logins = home.logins();
    let refresher = Refresher::new(Issuer::new(Address::of_vendor()).map_err(StartError::Issuer)?, logins.clone());
    let accounts = Accounts::new(Sources {
        central: stores.central().clone(),
        vault: Vault::new(home, install),
        refresher: refresher.map_err(|source| StartError::Home { path: logins, source })?,
        environment: config.environment.as_ref().map(of_key).transpose()?,
        named: config.account.clone(),
    })?;
    accounts.load().await?;
    match accounts.missing() {
        Some(name) if mode != Mode::Query => Err(StartError::NoAccount(name)),
        _ => Ok(accounts),
    }
}
