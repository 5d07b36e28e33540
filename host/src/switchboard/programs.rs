//! Webhooks: their secrets are sealed like the channels', and the addresses of their callbacks, which may have a token in
//! them.

use secrecy::SecretString;

use super::{ChannelError, Switchboard};
use crate::channels::http::{keys, shown};
use crate::error_chain;
use crate::store::channels::SecretOf;
use crate::store::hooks::{For, HookRow, HookSeals, Put};

/// What becomes of a webhook's secret.
#[derive(Debug)]
pub enum HookSecret {
    /// What is there stays; where there is none, one is made.
    Keep,
    /// One is made.
    Fresh,
    /// This one.
    Given(SecretString),
}

impl Switchboard {
    /// Adds a webhook or changes one, and wires its chat to the group that it is for; `callback` is the address that the row shows. Answers
    /// what became of it, and the secret when one was made.
    pub async fn put_hook(
        &self,
        row: HookRow,
        of: For,
        (secret, callback): (HookSecret, Option<SecretString>),
    ) -> Result<(Put, Option<SecretString>), ChannelError> {
        let _alone = self.inner.changing.lock().await;
        let board = &self.inner.board;
        let central = board.stores.central();
        if callback.is_none() && self.lacks_callback(&row).await? {
            let why = "no backup has the address of its callback: give it again with --callback or --callback-file, or \
                       say --no-callback";
            return Err(ChannelError::NoSecret(why.to_owned()));
        }
        let its = SecretOf::hook(&row.channel, &row.name);
        let (secret, made) = match secret {
            HookSecret::Given(secret) => (Some(secret), None),
            HookSecret::Keep if central.sealed(its.clone()).await?.is_some() => (None, None),
            HookSecret::Keep | HookSecret::Fresh => {
                let made = keys::fresh_secret();
                (Some(made.clone()), Some(made))
            }
        };
        let (has_secret, has_callback) = (secret.is_some(), callback.is_some());
        let callback = callback.map(|address| (SecretOf::callback(&row.channel, &row.name), address));
        let keep = async |sealed: Vec<Vec<u8>>| {
            let mut sealed = sealed.into_iter();
            let secret = if has_secret { sealed.next() } else { None };
            let callback = if has_callback { sealed.next() } else { None };
            central.put_hook(row, of, HookSeals { secret, callback }).await
        };
        let texts = secret.map(|secret| (its, secret)).into_iter().chain(callback).collect();
        let put = board.secrets.seal_others(texts, keep).await??;
        Ok((put.clone(), made.filter(|_| matches!(put, Put::Done(_)))))
    }

    /// Whether a webhook's callback is shown and its address is nowhere, as after a restore.
    async fn lacks_callback(&self, row: &HookRow) -> Result<bool, ChannelError> {
        let kept = row.callback.as_ref().is_some_and(|kept| shown(kept).as_ref() == Some(kept));
        let of = SecretOf::callback(&row.channel, &row.name);
        Ok(kept && self.inner.board.stores.central().sealed(of).await?.is_none())
    }

    /// Seals the callbacks of before they were sealed, such as a backup's. One that cannot be serves as it is until the next
    /// look.
    pub(super) async fn seal_callbacks(&self) {
        let rows = match self.inner.board.stores.central().hooks().await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(error = %error_chain(&error), "the callbacks of webhooks could not be read");
                return;
            }
        };
        for row in rows {
            let (channel, name) = (row.channel.clone(), row.name.clone());
            if let Err(error) = self.seal_callback(row).await {
                tracing::error!(channel, name, error = %error_chain(&error), "a webhook's callback is not sealed");
            }
        }
    }

    async fn seal_callback(&self, row: HookRow) -> Result<(), ChannelError> {
        let board = &self.inner.board;
        let Some(address) = row.callback.clone() else { return Ok(()) };
        let Some(shown) = shown(&address).filter(|shown| *shown != address) else { return Ok(()) };
        let of = SecretOf::callback(&row.channel, &row.name);
        let keep = async |sealed| board.stores.central().seal_callback(row, shown, sealed).await;
        Ok(board.secrets.seal_other(of, address.into(), keep).await??)
    }
}
