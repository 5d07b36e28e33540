//! Changes of accounts: each is durable when it is answered, and serves from the next call on.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cofferdam_protocol::admin::{AccountKind, KeyPlace};
use cofferdam_protocol::ids::AccountName;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::keep::expires_at;
use super::{AccountError, Accounts};
use crate::error_chain;
use crate::gateway::choose::Unserved;
use crate::gateway::endpoint::{bearer, normalised};
use crate::gateway::{GatewayError, ProbeError};
use crate::hooks;
use crate::store::StoreError;
use crate::store::accounts::{LoginRow, NewAccount, Put};
use crate::trust::is_loopback;
use crate::vault::{Claims, KeyId, KeyState, Moved, Owner, Secret, Shared, Tokens};

/// What an account is given.
#[derive(Debug, Clone)]
pub struct Login {
    /// What it is with.
    pub kind: AccountKind,
    /// Its credential.
    pub given: Given,
    /// The endpoint; none is the one that it has, or the kind's.
    pub base_url: Option<String>,
    /// The model of groups that name none; none is the one that it has.
    pub model: Option<String>,
}

/// A credential.
#[derive(Debug, Clone)]
pub enum Given {
    /// A key; an empty one is none.
    Key(SecretString),
    /// A login that nobody else has.
    Tokens(Tokens),
    /// A login that the host's own Codex goes on using, in this `auth.json`.
    Shared(PathBuf),
}

/// What a rotation of the vault's key did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The key that seals from now on.
    pub key: KeyId,
    /// Accounts that are sealed with it.
    pub sealed: usize,
    /// Accounts that did not open before, and do not now.
    pub left: Vec<String>,
}

/// An account that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tested {
    /// Models that the endpoint lists, if it has a list.
    pub models: Option<u64>,
    /// How long that took.
    pub took: Duration,
}

impl Accounts {
    /// Makes an account, or gives one that is there a new credential. Answers what should be known about it.
    pub async fn login(&self, name: &AccountName, login: Login) -> Result<Option<String>, AccountError> {
        if name.is_built_in() {
            return Err(AccountError::BuiltIn(name.clone()));
        }
        let known = self.read(|now| now.accounts.get(name).map(|entry| entry.row.clone()));
        if let Some(known) = known.as_ref().filter(|known| known.kind != login.kind) {
            return Err(AccountError::OtherKind { name: name.clone(), kind: known.kind });
        }
        match (login.kind, login.given) {
            (AccountKind::ChatGpt, Given::Tokens(tokens)) => self.put_login(name, login.model, tokens, None).await,
            (AccountKind::ChatGpt, Given::Shared(path)) => {
                let read = Shared::new(path.clone(), None).read().await.map_err(AccountError::Shared)?;
                let Secret::Tokens(tokens) = read else { return Err(AccountError::NoLogin(login.kind)) };
                let path = path.to_str().ok_or(AccountError::NoLogin(login.kind))?;
                self.put_login(name, login.model, tokens, Some(path.to_owned())).await
            }
            (kind @ (AccountKind::OpenAi | AccountKind::Compatible), Given::Key(key)) => {
                let has_url = login.base_url.is_some() || known.is_some_and(|known| known.base_url.is_some());
                match kind {
                    AccountKind::Compatible if !has_url => Err(AccountError::NoBaseUrl),
                    _ => self.put_key(name, kind, key, login.base_url, login.model).await,
                }
            }
            (kind, _) => Err(AccountError::NoLogin(kind)),
        }
    }

    async fn put_key(
        &self,
        name: &AccountName,
        kind: AccountKind,
        key: SecretString,
        base_url: Option<String>,
        model: Option<String>,
    ) -> Result<Option<String>, AccountError> {
        let key = SecretString::from(key.expose_secret().trim());
        bearer(&key)?;
        if kind == AccountKind::OpenAi && key.expose_secret().is_empty() {
            return Err(AccountError::NoKey);
        }
        let base = base_url.as_deref().map(self::base_url).transpose()?;
        let note = base.as_ref().and_then(|url| open_wire(url, &key));
        let base_url = base.map(|url| url.as_str().trim_end_matches('/').to_owned());
        let row =
            NewAccount { name: name.clone(), kind, base_url, model, secret: None, login: LoginRow::default() };
        self.put(row, Some(Secret::Key(key))).await?;
        Ok(note)
    }

    async fn put_login(
        &self,
        name: &AccountName,
        model: Option<String>,
        tokens: Tokens,
        auth_json: Option<String>,
    ) -> Result<Option<String>, AccountError> {
        let claims = Claims::of(&tokens);
        let login = LoginRow {
            account_id: tokens.account_id.clone().or(claims.account_id),
            email: claims.email,
            plan: claims.plan,
            expires_at: expires_at(&tokens),
            auth_json,
        };
        let secret = login.auth_json.is_none().then_some(Secret::Tokens(tokens));
        let kind = AccountKind::ChatGpt;
        let row = NewAccount { name: name.clone(), kind, base_url: None, model, secret: None, login };
        self.put(row, secret).await?;
        Ok(None)
    }

    /// Puts an account with its secret, which is sealed for that.
    async fn put(&self, mut row: NewAccount, secret: Option<Secret>) -> Result<(), AccountError> {
        let _no_rotation = self.inner.sealing.read().await;
        let (name, kind) = (row.name.clone(), row.kind);
        if let Some(secret) = secret {
            let (vault, of) = (self.inner.vault.clone(), name.clone());
            let sealed = self.read(|now| now.accounts.values().any(|entry| entry.row.secret.is_some()))
                || self.inner.central.has_sealed().await?;
            row.secret = Some(blocking(move || vault.seal_beside(&of, &secret, sealed)).await??);
        }
        match self.inner.central.put_account(row).await? {
            Put::Done => Ok(self.refresh().await?),
            Put::OtherKind => Err(AccountError::OtherKind { name, kind }),
            Put::Same(same) => Err(AccountError::Same(same)),
        }
    }

    /// Makes an account the default. Answers what keeps it from being that, if something does.
    pub async fn choose_default(&self, name: &AccountName) -> Result<Option<String>, AccountError> {
        self.known(name)?;
        self.inner.central.set_default_account(name).await?;
        self.refresh().await?;
        let default = self.default_name();
        if default == *name {
            return Ok(None);
        }
        let why = match &self.inner.named {
            Some(_) => "the host's configuration names it (COFFERDAM_ACCOUNT, or `account` in cofferdam.toml)",
            None => "the host's configuration has a key (OPENAI_API_KEY)",
        };
        Ok(Some(format!("the default stays '{default}', because {why}; '{name}' is it when that is gone")))
    }

    /// Wipes an account's credential; its settings stay. Answers what should be known.
    pub async fn logout(&self, name: &AccountName) -> Result<Option<String>, AccountError> {
        self.ours(name)?;
        let note = self.revoke(name).await;
        if !self.inner.central.wipe_account(name, "it is logged out").await? {
            return Err(AccountError::Unknown(name.clone()));
        }
        self.refresh().await?;
        Ok(note)
    }

    /// Ends an account's login at its issuer, unless somebody else has it too. Answers what should be known.
    async fn revoke(&self, name: &AccountName) -> Option<String> {
        let row = self.read(|now| now.accounts.get(name).map(|entry| entry.row.clone()))?;
        if row.kind != AccountKind::ChatGpt {
            return None;
        }
        if let Some(path) = &row.login.auth_json {
            return Some(format!("the login stays in {path}, and good: the host's own Codex has it"));
        }
        row.secret.as_ref()?;
        let revoked = self.inner.refresher.revoke(name, &self.keep_of(&row)).await;
        let why = error_chain(&revoked.err()?);
        Some(format!(
            "the issuer was not told that the login ended ({why}): end the session in the account's settings there"
        ))
    }

    /// Forgets an account. Answers what should be known.
    pub async fn remove(&self, name: &AccountName) -> Result<Option<String>, AccountError> {
        self.ours(name)?;
        if self.inner.named.as_ref() == Some(name) {
            return Err(AccountError::Named(name.clone()));
        }
        let note = self.revoke(name).await;
        if !self.inner.central.remove_account(name).await? {
            return Err(AccountError::Unknown(name.clone()));
        }
        self.refresh().await?;
        Ok(note)
    }

    /// Tries an account on its endpoint.
    pub async fn test(&self, name: &AccountName) -> Result<Tested, AccountError> {
        self.known(name)?;
        let upstream = self.upstream(name).await.map_err(|Unserved(why)| AccountError::Unusable(why))?;
        let begun = Instant::now();
        let probed = upstream.probe().await;
        match &probed {
            Ok(_) => self.inner.standings.looked(name, false),
            Err(ProbeError::Refused(_)) => self.inner.standings.looked(name, true),
            Err(_) => {}
        }
        let models = probed.map_err(|error| AccountError::Probe { name: name.clone(), error })?;
        Ok(Tested { models, took: begun.elapsed() })
    }

    /// Gives the vault a new key and seals everything with it.
    pub async fn rotate(&self) -> Result<Rotated, AccountError> {
        let _nobody_seals = self.inner.sealing.write().await;
        let vault = self.inner.vault.clone();
        let key = blocking(move || vault.begin_rotation()).await??;
        let (secrets, left) = self.seal_again().await?;
        tracing::info!(%key, accounts = secrets, "the vault has a new key");
        Ok(Rotated { key, sealed: secrets - left.len(), left })
    }

    /// Brings the vault's key to another place. Nothing is sealed or opened meanwhile.
    pub async fn move_key(&self, to: KeyPlace) -> Result<Moved, AccountError> {
        let _nobody_seals = self.inner.sealing.write().await;
        let vault = self.inner.vault.clone();
        Ok(blocking(move || vault.move_key(to)).await??)
    }

    /// Where the vault's key is, and whether it can be read.
    pub async fn key_state(&self) -> Result<KeyState, AccountError> {
        let vault = self.inner.vault.clone();
        Ok(blocking(move || vault.key_state()).await?)
    }

    /// Ends what a crash left of a move or a rotation of the vault's key. A failure leaves what opens everything.
    pub(super) async fn end_changes_of_key(&self) {
        let _nobody_seals = self.inner.sealing.write().await;
        let vault = self.inner.vault.clone();
        let moved = blocking(move || vault.settle_move()).await;
        if let Ok(Err(error)) = moved {
            tracing::warn!(error = %error_chain(&error), "a move of the vault's key is not ended");
        }
        let vault = self.inner.vault.clone();
        let ended = match blocking(move || vault.is_rotating()).await {
            Ok(Ok(false)) => return,
            Ok(Ok(true)) => self.seal_again().await.map(|(secrets, _)| secrets),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(error.into()),
        };
        match ended {
            Ok(accounts) => tracing::info!(accounts, "a rotation of the vault's key was ended"),
            Err(error) => tracing::warn!(error = %error_chain(&error), "the vault's key cannot be used"),
        }
    }

    /// Seals what is sealed with an older key, then gives up the keys that nothing needs. Answers how many secrets there
    /// are, and whose did not open.
    async fn seal_again(&self) -> Result<(usize, Vec<String>), AccountError> {
        // Read here: a keyring would keep the database's thread waiting.
        let vault = self.inner.vault.clone();
        let renewal = blocking(move || vault.renewal()).await??;
        let resealed = self
            .inner
            .central
            .reseal(move |of, sealed| renewal.of(Owner::other(&of.purpose, &of.name), sealed))
            .await?;
        hooks::crash_point("rotate.after_commit");
        self.refresh().await?;
        let (vault, secrets) = (self.inner.vault.clone(), resealed.secrets.clone());
        blocking(move || vault.finish_rotation(secrets.iter().map(Vec::as_slice))).await??;
        for account in &resealed.left {
            tracing::warn!(account, "its secret does not open, and stayed as it was");
        }
        Ok((resealed.secrets.len(), resealed.left))
    }

    /// Refuses what is not there.
    pub(super) fn known(&self, name: &AccountName) -> Result<(), AccountError> {
        if self.exists(name) { Ok(()) } else { Err(AccountError::Unknown(name.clone())) }
    }

    /// Refuses what is not in the vault.
    pub(super) fn ours(&self, name: &AccountName) -> Result<(), AccountError> {
        if name.is_built_in() { Err(AccountError::BuiltIn(name.clone())) } else { self.known(name) }
    }
}

fn base_url(text: &str) -> Result<Url, AccountError> {
    let url: Url = text.trim().parse().map_err(|_| GatewayError::BaseUrl("is not a URL"))?;
    Ok(normalised(url)?)
}

/// That the key goes over the network for everybody to read, if so.
fn open_wire(url: &Url, key: &SecretString) -> Option<String> {
    let open = url.scheme() == "http" && !is_loopback(url) && !key.expose_secret().is_empty();
    let host = url.host_str().unwrap_or_default();
    open.then(|| format!("the key goes to {host} without encryption; use https unless the network is yours"))
}

/// Does what reads or writes the vault's key.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)
}
