//! What the daemon's parts share, and the parts that are made of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Mode, StartError};
use crate::admin::Admin;
use crate::channels::Channels;
use crate::channels::terminal::Terminal;
use crate::config::home::Home;
use crate::config::host::{AccountChoice, HostConfig};
use crate::config::retries::Retries;
use crate::delivery::Delivery;
use crate::gateway::{Account, Gateway, GatewayError};
use crate::live::Hub;
use crate::model::backoff::Backoff;
use crate::sandbox::docker::DockerSandbox;
use crate::store::Stores;
use crate::supervisor::{Parts, Supervisor};

/// What more than one part works with.
pub(super) struct Shared {
    pub(super) home: Home,
    config: HostConfig,
    mode: Mode,
    install: String,
    pub(super) stores: Stores,
    pub(super) gateway: Arc<Gateway>,
    terminal: Terminal,
    pub(super) channels: Channels,
    pub(super) delivery: Delivery,
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
        let gateway = Arc::new(Gateway::new(account_of(&config.account)?)?);
        let delivery = Delivery::new(stores.clone(), channels.clone(), mode == Mode::Serve);
        let hub = Hub::default();
        Ok(Self { home, config, mode, install, stores, gateway, terminal, channels, delivery, hub })
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

    /// What the socket answers from.
    pub(super) fn admin(&self, supervisor: Supervisor) -> Admin {
        Admin {
            home: self.home.clone(),
            install: self.install.clone(),
            stores: self.stores.clone(),
            supervisor,
            delivery: self.delivery.clone(),
            terminal: self.terminal.clone(),
            hub: self.hub.clone(),
            account: self.gateway.account_name().to_owned(),
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

fn account_of(choice: &AccountChoice) -> Result<Account, GatewayError> {
    match choice {
        AccountChoice::Offline => Ok(Account::Offline),
        AccountChoice::OpenAi { base_url, key } => {
            let base_url = base_url.parse().map_err(|_| GatewayError::BaseUrl("is not a URL"))?;
            Ok(Account::OpenAi { base_url, key: key.clone() })
        }
    }
}
