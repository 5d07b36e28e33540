//! Reaching the daemon, or being it: the only file of the CLI that knows the daemon.

use std::time::Duration;

use cofferdam_protocol::admin::{ErrorKind, Status};
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::error::CliError;
use super::{logging, signals, terminal};
use crate::config::home::Home;
use crate::config::host::HostConfig;
use crate::config::process_env;
use crate::daemon::{Daemon, Signals, StartError, trust_of};
use crate::error_chain;
use crate::trust::Trust;

pub(super) use crate::daemon::{Mode, channel_kinds};

/// How long another starter of the same home may take until its socket answers.
const STARTING: Duration = Duration::from_secs(20);
/// How long `up` waits for a command that hosts itself: a turn or two.
const HOSTED: Duration = Duration::from_secs(60);
/// How long a command waits without a word.
const QUIET: Duration = Duration::from_secs(1);
/// How often that is tried.
const RETRY: Duration = Duration::from_millis(50);

/// A way to a daemon: another process, or this one.
pub(super) struct Connection {
    client: Client,
    hosted: Option<Daemon>,
}

impl Connection {
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the daemon is another process, which goes on when this one ends.
    pub fn is_remote(&self) -> bool {
        self.hosted.is_none()
    }

    /// Ends the daemon that this process hosts, if it does, in order. A signal leaves without waiting: the next daemon of
    /// this home takes over what still runs.
    pub async fn close(self) {
        if let Some(daemon) = self.hosted {
            tokio::select! {
                () = daemon.shutdown() => {}
                _ = signals::told_to_end() => {}
            }
        }
    }
}

/// A client of the daemon that runs on this home, if one does.
pub(super) async fn running(home: &Home) -> Result<Option<Client>, CliError> {
    let client = Client::new(&home.admin_socket());
    match client.probe().await {
        Ok(()) => Ok(Some(client)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Connects to the daemon of this home, or hosts one in this process.
pub(super) async fn connect_or_host(home: &Home, mode: Mode) -> Result<Connection, CliError> {
    require(home)?;
    let begun = Instant::now();
    let (mut config, mut told) = (None, false);
    loop {
        if let Some(client) = running(home).await? {
            return Ok(Connection { client, hosted: None });
        }
        let config = match &config {
            Some(config) => config,
            None => config.insert(load_config(home, logging::Use::Command)?),
        };
        match Daemon::start(home.clone(), HostConfig::clone(config), mode).await {
            Ok(daemon) => {
                return Ok(Connection { client: Client::new(&home.admin_socket()), hosted: Some(daemon) });
            }
            // Another one starts or stops right now: its socket will answer, or its lock will be free.
            Err(StartError::Locked { pid }) => {
                if begun.elapsed() >= STARTING {
                    return Err(silent(&pid));
                }
                if begun.elapsed() >= QUIET && !std::mem::replace(&mut told, true) {
                    terminal::err(&format!(
                        "waits for process {pid}, which has this home and starts or ends just now"
                    ));
                }
                sleep(RETRY).await;
            }
            Err(error) => return Err(start_error(error)),
        }
    }
}

/// Runs one call's worth of work on a connection and closes it in order, whatever came out.
pub(super) async fn with<T>(
    home: &Home,
    mode: Mode,
    work: impl AsyncFnOnce(&Client) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let connection = connect_or_host(home, mode).await?;
    let result = work(connection.client()).await;
    connection.close().await;
    result
}

/// Runs the daemon in this process until a signal ends it.
pub(super) async fn serve(home: &Home) -> Result<(), CliError> {
    require(home)?;
    let config = load_config(home, logging::Use::Daemon)?;
    let mut signals = Signals::catch().map_err(|error| CliError::internal(error_chain(&error)))?;
    if let Some(daemon) = start_when_free(home, config, &mut signals).await? {
        daemon.run_until(signals).await;
    }
    Ok(())
}

/// Starts the daemon; waits for one that ends, and for a command that hosts itself on this home, or for a signal: then
/// there is none.
async fn start_when_free(
    home: &Home,
    config: HostConfig,
    signals: &mut Signals,
) -> Result<Option<Daemon>, CliError> {
    let until = Instant::now() + HOSTED;
    let mut told = false;
    loop {
        let error = match Daemon::start(home.clone(), config.clone(), Mode::Serve).await {
            Ok(daemon) => return Ok(Some(daemon)),
            Err(error) => error,
        };
        let StartError::Locked { pid } = &error else { return Err(start_error(error)) };
        let Some(holder) = passing(home).await.filter(|_| Instant::now() < until) else {
            return Err(start_error(error));
        };
        if !std::mem::replace(&mut told, true) {
            tracing::info!(%pid, "waits for {holder}");
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            () = signals.next() => return Ok(None),
        }
    }
}

/// Who has the home, in words, if it leaves it by itself.
async fn passing(home: &Home) -> Option<&'static str> {
    /// A daemon that hangs is not waited for.
    const ANSWER: Duration = Duration::from_secs(2);
    let client = Client::new(&home.admin_socket());
    let asked = tokio::time::timeout(ANSWER, client.get::<Status>("/v1/status")).await;
    match asked {
        Ok(Ok(status)) => holder(&status),
        Ok(Err(error)) if error.is_passing() => Some("another process, which starts or ends just now"),
        Ok(Err(_)) | Err(_) => None,
    }
}

fn holder(status: &Status) -> Option<&'static str> {
    if status.ends_within_secs.is_some() {
        return Some("the daemon that has this home to end");
    }
    status.uptime_secs.is_none().then_some("a command that serves this home itself, such as `chat`, to end")
}

/// Of a process that has the home and did not answer for [`STARTING`].
fn silent(pid: &str) -> CliError {
    let message = format!("process {pid} has this home and does not answer: it starts or ends just now");
    CliError::new(ErrorKind::Daemon, message).with_hint("try again when it has ended or answers")
}

/// Fails when the home is not there.
pub(super) fn require(home: &Home) -> Result<(), CliError> {
    if home.root().is_dir() {
        return Ok(());
    }
    let message = format!("there is no home at {}", home.root().display());
    Err(CliError::new(ErrorKind::NotFound, message)
        .with_hint(format!("`cofferdam --home {} init` makes one", home.root().display())))
}

/// What the home's configuration trusts, for a command that calls somebody itself.
pub(super) fn trust(home: &Home) -> Result<Trust, CliError> {
    trust_of(&HostConfig::load(home, &process_env)?).map_err(start_error)
}

fn load_config(home: &Home, log: logging::Use) -> Result<HostConfig, CliError> {
    let config = HostConfig::load(home, &process_env)?;
    logging::start(&config.log, log);
    Ok(config)
}

/// What to do about a file of certificates.
pub(super) const CA_HINT: &str = "it holds the authority's certificate, not its key, as PEM; \
                                  `openssl x509 -in FILE -noout -subject` shows it";

fn start_error(error: StartError) -> CliError {
    match error {
        StartError::Locked { .. } => CliError::new(ErrorKind::Conflict, error_chain(&error))
            .with_hint("one daemon serves a home: use it, stop it, or choose another home with --home"),
        StartError::Home { .. } => CliError::new(ErrorKind::Disk, error_chain(&error))
            .with_hint("see that the home can be written and its disk is not full; `cofferdam doctor` looks"),
        StartError::Store(ref store) if store.is_disk() => CliError::new(ErrorKind::Disk, error_chain(&error))
            .with_hint("see that the home can be written and its disk is not full; `cofferdam doctor` looks"),
        StartError::NoAccount(ref name) => CliError::new(ErrorKind::Config, error_chain(&error)).with_hint(format!(
            "name another in COFFERDAM_ACCOUNT, or in `account` of cofferdam.toml (`cofferdam account list` shows them); \
             `cofferdam account login {name} --kind openai` makes it, OPENAI_API_KEY is the account `environment`"
        )),
        StartError::Gateway(_) => CliError::new(ErrorKind::Config, error_chain(&error))
            .with_hint("see OPENAI_API_KEY and OPENAI_BASE_URL in the environment, .env or cofferdam.toml"),
        StartError::Store(_) if error.is_damaged() => CliError::new(ErrorKind::Database, error_chain(&error)).with_hint(
            "move that file and the -wal and -shm beside it away (do not delete them); `cofferdam restore --from DIR` then \
             takes the groups and wirings of a backup, `cofferdam group add NAME` registers one that is there: \
             the groups' own databases are whole",
        ),
        StartError::Store(_) if error.is_newer() => {
            CliError::new(ErrorKind::Database, error_chain(&error))
                .with_hint("run that version, or restore a backup of this one's time into another home")
        }
        StartError::Ca { .. } => CliError::new(ErrorKind::Config, error_chain(&error)).with_hint(CA_HINT),
        StartError::Issuer(_) => CliError::internal(error_chain(&error)),
        StartError::Store(_) => CliError::internal(error_chain(&error)),
    }
}
