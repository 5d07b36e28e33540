//! Pools: who stands in for whom, changed and shown.

use cofferdam_protocol::admin::PoolStrategy;
use cofferdam_protocol::ids::AccountName;
use secrecy::{ExposeSecret, SecretString};

use super::change::blocking;
use super::{AccountError, Accounts, Shown, base_url_of};
use crate::gateway::answer::Miss;
use crate::gateway::rate_limits::RateLimits;
use crate::gateway::standing::Cooling;
use crate::model::pool::Pool;
use crate::store::pools::PutPool;
use crate::store::rfc3339;
use crate::vault::Secret;

impl Accounts {
    /// Gives an account a pool, in the place of the one that it has.
    pub async fn put_pool(
        &self,
        owner: &AccountName,
        strategy: PoolStrategy,
        members: &[AccountName],
    ) -> Result<(), AccountError> {
        self.ours(owner)?;
        let pool = Pool::new(owner, strategy, members)?;
        for member in &pool.accounts {
            self.known(member)?;
        }
        self.refuse_one_twice(&pool).await?;
        match self.inner.central.put_pool(owner, pool).await? {
            PutPool::Done => Ok(self.refresh().await?),
            PutPool::Unknown(name) => Err(AccountError::Unknown(name)),
            PutPool::IsMember { of } => Err(AccountError::IsMember { name: owner.clone(), of }),
            PutPool::OwnsOne(name) => Err(AccountError::OwnsPool(name)),
        }
    }

    /// Takes an account's pool away.
    pub async fn remove_pool(&self, owner: &AccountName) -> Result<(), AccountError> {
        self.ours(owner)?;
        if !self.inner.central.remove_pool(owner).await? {
            return Err(AccountError::NoPool(owner.clone()));
        }
        Ok(self.refresh().await?)
    }

    /// One real account behind two names would be asked twice. The store sees to that for logins; keys are looked at here.
    async fn refuse_one_twice(&self, pool: &Pool) -> Result<(), AccountError> {
        let _no_rotation = self.inner.sealing.read().await;
        let mut seen: Vec<(AccountName, String, SecretString)> = Vec::new();
        for name in &pool.accounts {
            let Some(row) = self.read(|now| now.accounts.get(name).map(|entry| entry.row.clone())) else {
                continue;
            };
            let Some(sealed) = row.secret.clone().filter(|_| row.login.account_id.is_none()) else { continue };
            let (vault, of) = (self.inner.vault.clone(), name.clone());
            let Secret::Key(key) = blocking(move || vault.open(&of, &sealed)).await?? else { continue };
            let url = base_url_of(&row);
            let same = |(_, other, of): &&(AccountName, String, SecretString)| {
                *other == url && of.expose_secret() == key.expose_secret()
            };
            if let Some((other, ..)) = seen.iter().find(same) {
                return Err(AccountError::OneTwice(other.clone(), name.clone()));
            }
            seen.push((name.clone(), url, key));
        }
        Ok(())
    }

    /// What the default account's vendor told last of its allowances.
    pub fn default_limits(&self) -> Option<RateLimits> {
        self.inner.standings.limits(&self.default_name())
    }

    /// The accounts that are at their limit, or that pools pass over, in words for people.
    pub fn at_rest(&self) -> Vec<String> {
        let mut names: Vec<AccountName> = self.read(|now| now.accounts.keys().cloned().collect());
        names.push(AccountName::environment());
        let now = self.now();
        let of = |name: AccountName| {
            let pooled = self.is_pooled(&name);
            let words = |(model, cooling): (Option<String>, Cooling)| {
                let what = match (pooled, cooling.miss) {
                    (true, _) => "pools pass it over",
                    (false, Miss::Limited { .. }) => "its vendor refuses calls",
                    // It is asked all the same.
                    (false, _) => return None,
                };
                let of_model = model.map(|model| format!(" for the model {model}")).unwrap_or_default();
                let until = rfc3339(cooling.until(now));
                Some(format!("account {name}: {}{of_model}; {what} until {until}", cooling.miss))
            };
            let resting = self.inner.standings.at_rest(&name, now);
            resting.into_iter().filter_map(words).collect::<Vec<_>>()
        };
        names.into_iter().flat_map(of).collect()
    }

    /// The owners of the pools in which an account stands in for others.
    pub fn stands_in_for(&self, name: &AccountName) -> Vec<AccountName> {
        let is_member = |(owner, pool): &(&AccountName, &Pool)| *owner != name && pool.accounts.contains(name);
        self.read(|now| now.pools.iter().filter(is_member).map(|(owner, _)| owner.clone()).collect())
    }

    fn is_pooled(&self, name: &AccountName) -> bool {
        self.read(|now| now.pools.values().any(|pool| pool.accounts.contains(name)))
    }

    /// With the account's pool, its allowances, and whether it is passed over.
    pub(super) fn with_standing(&self, shown: Shown) -> Shown {
        let standings = &self.inner.standings;
        let pool = self.read(|now| now.pools.get(&shown.name).cloned());
        let cooling = standings.cooling(&shown.name, None, self.now()).filter(|_| self.is_pooled(&shown.name));
        let refused = standings.is_refused(&shown.name).then(|| refused(&shown.name));
        Shown {
            trouble: shown.trouble.or(refused),
            limits: standings.limits(&shown.name),
            cooling: cooling.map(|cooling| (cooling.until(self.now()), cooling.miss.to_string())),
            pool,
            ..shown
        }
    }
}

/// What the last call says of an account whose credential can be read now.
fn refused(name: &AccountName) -> String {
    format!(
        "Account '{name}' could not serve its last call: its credential was refused, or could not be read then. `cofferdam account login {name}` \
         gives it another one; `cofferdam account test {name}` looks again"
    )
}
