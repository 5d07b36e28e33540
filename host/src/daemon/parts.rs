//! What the daemon's parts share, and the parts that are made of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Mode, StartError};
use crate::admin::Admin;
use crate::channels::terminal::Terminal;
use crate::channels::{Channels, Shown, kinds};
use crate::config::home::Home;
use crate::config::host::{Environment, HostConfig};
use crate::config::retries::Retries;
use crate::delivery::Delivery;
use crate::desk::{Desk, Stillness, Tells};
use crate::gateway::accounts::Sources;
use crate::gateway::{Account, Accounts, Gateway, Ledger};
use crate::live::Hub;
use crate::model::backoff::Backoff;
use crate::pace::Gates;
use crate::progress::Reporter;
use crate::sandbox::docker::DockerSandbox;
use crate::store::Stores;
use crate::supervisor::{Parts, Supervisor};
use crate::switchboard::{Board, Switchboard};
use crate::trust::Trust;
use crate::vault::issuer::{Address, Issuer};
use crate::vault::{Refresher, Vault};

/// What more than one part works with.
pub(super) struct Shared {
    pub(super) home: Home,
    config: HostConfig,
    mode: Mode,
    install: String,
    pub(super) stores: Stores,
    trust: Trust,
    pub(super) accounts: Accounts,
    pub(super) gateway: Arc<Gateway>,
    terminal: Terminal,
    pub(super) channels: Channels,
    pub(super) delivery: Delivery,
    /// What delivery and progress both change, and the pace that both keep to.
    shown: (Shown, Gates),
    pub(super) hub: Hub,
}

impl Shared {
    /// Everything below the sessions. `terminal` is one of the channels.
    pub(super) async fn new(
        home: Home,
        config: HostConfig,
        mode: Mode,
        stores: Stores,
        (terminal, channels): (Terminal, Channels),
    ) -> Result<Self, StartError> {
        let install = stores.central().install_id().await?;
        let trust = trust_of(&config)?;
        let accounts = open_accounts(&home, &stores, (&install, &config, &trust), mode).await?;
        let ledger = Ledger::start(stores.clone(), home.clone());
        let gateway = Arc::new(Gateway::with_accounts(accounts.clone()).with_ledger(ledger));
        let shown = (Shown::default(), Gates::default());
        let delivery = Delivery::new(stores.clone(), channels.clone(), shown.clone(), mode == Mode::Serve);
        let hub = Hub::default();
        Ok(Self {
            home,
            config,
            mode,
            install,
            stores,
            trust,
            accounts,
            gateway,
            terminal,
            channels,
            delivery,
            shown,
            hub,
        })
    }

    /// Shows what turns do.
    pub(super) fn reporter(&self) -> Reporter {
        Reporter::start(&self.hub, &self.stores, self.channels.clone(), self.shown.clone())
    }

    /// Runs sessions.
    pub(super) fn supervisor(&self) -> Supervisor {
        let config = &self.config;
        let sandbox = DockerSandbox::new(self.home.clone(), config.docker_host.clone(), config.runner.clone());
        let (nudge, look, channels) = (self.delivery.clone(), self.delivery.clone(), self.channels.clone());
        Supervisor::new(Parts {
            home: self.home.clone(),
            install: self.install.clone(),
            sandbox: Arc::new(sandbox),
            stores: self.stores.clone(),
            gateway: self.gateway.clone(),
            trust: self.trust.clone(),
            hub: self.hub.clone(),
            deliver: Box::new(move |due| nudge.nudge(due)),
            look: Box::new(move |due| look.look(due)),
            abilities: Box::new(move |channel| channels.abilities(channel)),
            max_sessions: config.max_sessions,
            default_model: config.default_model.clone(),
            starts: starts_of(config.retries),
            tell_after: Duration::from_secs(config.retries.tell_after_secs),
        })
    }

    /// Takes in what channels hand in.
    pub(super) fn desk(&self, supervisor: &Supervisor) -> Desk {
        let (accepts, deliver) = (supervisor.clone(), self.delivery.clone());
        let (post, still) = (self.delivery.clone(), self.delivery.clone());
        let tells = Tells {
            accepted: Box::new(move |folder, accepted| accepts.accepted(folder, accepted)),
            deliver: Box::new(move |due| deliver.nudge(due)),
            post: Box::new(move |chat| post.look_own(chat)),
            still: Box::new(move |chat| {
                let still = still.clone();
                Box::pin(async move { Box::new(still.still(&chat).await) as Stillness })
            }),
        };
        Desk::new(self.home.clone(), self.stores.clone(), self.channels.clone(), tells)
    }

    /// The channels of the home.
    pub(super) fn switchboard(&self, desk: &Desk, supervisor: &Supervisor) -> Switchboard {
        let (look, sweep) = (self.delivery.clone(), supervisor.clone());
        Switchboard::new(Board {
            home: self.home.clone(),
            stores: self.stores.clone(),
            secrets: self.accounts.clone(),
            channels: self.channels.clone(),
            desk: desk.clone(),
            trust: self.trust.clone(),
            changed: Box::new(move || {
                look.look_again();
                sweep.look_soon();
            }),
        })
    }

    /// What the socket answers from.
    pub(super) fn admin(&self, supervisor: Supervisor, desk: Desk, switchboard: Switchboard) -> Admin {
        Admin {
            desk,
            switchboard,
            home: self.home.clone(),
            install: self.install.clone(),
            stores: self.stores.clone(),
            supervisor,
            delivery: self.delivery.clone(),
            terminal: self.terminal.clone(),
            hub: self.hub.clone(),
            gateway: self.gateway.clone(),
            accounts: self.accounts.clone(),
            max_sessions: self.config.max_sessions,
            default_model: self.config.default_model.clone(),
            since: (self.mode == Mode::Serve).then(Instant::now),
        }
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

/// The names of the kinds of channels that there are.
pub(crate) fn channel_kinds() -> impl Iterator<Item = &'static str> {
    kinds::ALL.iter().map(|kind| kind.name.as_str())
}

/// What the host's own calls trust.
pub(crate) fn trust_of(config: &HostConfig) -> Result<Trust, StartError> {
    let Some(ca) = &config.ca else { return Ok(Trust::MACHINE) };
    Trust::with_ca(&ca.pem).map_err(|source| StartError::Ca { path: ca.path.clone(), source })
}

/// The accounts of the home. One that only looks or registers may make the account that is missing.
async fn open_accounts(
    home: &Home,
    stores: &Stores,
    (install, config, trust): (&str, &HostConfig, &Trust),
    mode: Mode,
) -> Result<Accounts, StartError> {
    let of_key = |of: &Environment| Account::open_ai(&of.base_url, of.key.clone());
    let logins = home.logins();
    let issuer = Issuer::new(Address::of_vendor(), trust).map_err(StartError::Issuer)?;
    let refresher =
        Refresher::new(issuer, logins.clone()).map_err(|source| StartError::Home { path: logins, source })?;
    let accounts = Accounts::new(Sources {
        central: stores.central().clone(),
        vault: Vault::new(home, install, &config.vault_key),
        refresher,
        environment: config.environment.as_ref().map(of_key).transpose()?,
        named: config.account.clone(),
        trust: trust.clone(),
    })?;
    accounts.load().await?;
    match accounts.missing() {
        Some(name) if mode != Mode::Query => Err(StartError::NoAccount(name)),
        _ => Ok(accounts),
    }
}
