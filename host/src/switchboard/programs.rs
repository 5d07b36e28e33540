//! Webhooks: their secrets are sealed like the channels'.

use cofferdam_protocol::ids::Folder;
use secrecy::SecretString;

use super::{ChannelError, Switchboard};
use crate::channels::http::keys;
use crate::store::channels::SecretOf;
use crate::store::hooks::{HookRow, Put};

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
    /// Adds a webhook or changes one, and wires its chat to the group. Answers what became of it, and the secret when one was
    /// made.
    pub async fn put_hook(
        &self,
        row: HookRow,
        folder: Folder,
        secret: HookSecret,
    ) -> Result<(Put, Option<SecretString>), ChannelError> {
        let _alone = self.inner.changing.lock().await;
        let board = &self.inner.board;
        let central = board.stores.central();
        let of = SecretOf::hook(&row.channel, &row.name);
        let (secret, made) = match secret {
            HookSecret::Given(secret) => (secret, None),
            HookSecret::Keep if central.sealed(of.clone()).await?.is_some() => {
                return Ok((central.put_hook(row, folder, None).await?, None));
            }
            HookSecret::Keep | HookSecret::Fresh => {
                let made = keys::fresh_secret();
                (made.clone(), Some(made))
            }
        };
        let keep = async |sealed| central.put_hook(row, folder, Some(sealed)).await;
        let put = board.secrets.seal_other(of, secret, keep).await??;
        Ok((put, made.filter(|_| put == Put::Done)))
    }
}
