//! Channels are added, changed and taken away while the daemon serves.
//!
//! ```text
//!  runs ─ park ─▶ its place is held: what is due waits ─ plug ─▶ runs, as it is now
//!                                   └── the change failed ──────▶ runs, as it was
//! ```

use std::sync::Arc;

use serde_json::Value;

use super::{ChannelError, NewChannel, Switchboard, end, kinds, settled, tested};
use crate::channels::{BadSettings, Channel, Parked};
use crate::error_chain;
use crate::store::channels::{ChannelRow, SecretOf};
use crate::store::now_ms;

/// Why a channel does not run while it is changed.
const CHANGING: &str = "it is being changed";

impl Switchboard {
    /// Adds a channel or changes one: tried first, kept only when its platform says that all is well. Answers what it said.
    /// Goes on when whoever asked leaves: half of it would leave the channel parked.
    pub async fn put(&self, new: NewChannel) -> Result<String, ChannelError> {
        let this = self.clone();
        let work = tokio::spawn(async move { this.put_alone(new).await });
        work.await.map_err(|_| ChannelError::BrokeOff)?
    }

    /// Takes a channel away, with all that is its own. Answers whether it was there. Goes on when whoever asked leaves.
    pub async fn remove(&self, name: &str) -> Result<bool, ChannelError> {
        let (this, name) = (self.clone(), name.to_owned());
        let work = tokio::spawn(async move { this.remove_alone(&name).await });
        work.await.map_err(|_| ChannelError::BrokeOff)?
    }

    async fn put_alone(&self, new: NewChannel) -> Result<String, ChannelError> {
        let _alone = self.inner.changing.lock().await;
        let known = self.row(&new.name).await?;
        if known.as_ref().is_some_and(|known| known.kind != new.kind.name) {
            return Err(ChannelError::OtherKind(new.name));
        }
        let settings = match (&new.settings, &known) {
            (Some(settings), _) => settings.clone(),
            (None, Some(known)) => parsed(known)?,
            (None, None) => Value::Object(serde_json::Map::new()),
        };
        let secret = match &new.secret {
            Some(secret) => Some(secret.clone()),
            None => self.inner.board.secrets.open_other(SecretOf::channel(&new.name)).await?,
        };
        let channel = kinds::make(&self.inner.board, (&new.name, new.kind), settings.clone(), secret)?;
        self.is_itself(&new.name, known.as_ref(), channel.as_ref()).await?;
        self.is_only_one(&new.kind.name, channel.as_ref()).await?;
        let parked = !channel.tests_beside() && self.park(&new.name).await;
        let name = new.name.clone();
        let words = match self.try_and_keep(new, settings, channel.as_ref()).await {
            Ok(words) => words,
            Err(error) => {
                if let Some(known) = known.filter(|_| parked) {
                    self.plug_or_park(&known).await;
                }
                return Err(error);
            }
        };
        if !self.inner.serves.is_cancelled() {
            return Ok(words);
        }
        self.park(&name).await;
        self.plug(channel.clone());
        Ok(if channel.tests_alone() { words } else { settled(channel.as_ref()).await })
    }

    /// Answers what its platform said.
    async fn try_and_keep(
        &self,
        new: NewChannel,
        settings: Value,
        channel: &dyn Channel,
    ) -> Result<String, ChannelError> {
        let words = if channel.tests_alone() { tested(channel).await? } else { "added".to_owned() };
        let NewChannel { name, kind, secret, .. } = new;
        let (kind, settings) = (kind.name.clone(), settings.to_string());
        let row = ChannelRow { name: name.clone(), kind, settings, created_at: now_ms() };
        let board = &self.inner.board;
        let central = board.stores.central().clone();
        let kept = match secret {
            Some(secret) => {
                let keep = async |sealed| central.put_channel(row, Some(sealed)).await;
                board.secrets.seal_other(SecretOf::channel(&name), secret, keep).await??
            }
            None => central.put_channel(row, None).await?,
        };
        if !kept {
            return Err(ChannelError::OtherKind(name));
        }
        self.note_identity(channel).await?;
        Ok(words)
    }

    async fn remove_alone(&self, name: &str) -> Result<bool, ChannelError> {
        let _alone = self.inner.changing.lock().await;
        let row = self.row(name).await?;
        let parked = self.park(name).await;
        match self.inner.board.stores.central().remove_channel(name).await {
            Ok(was_there) => {
                self.inner.board.channels.remove(name);
                self.lock_broken().remove(name);
                Ok(was_there)
            }
            Err(error) => {
                if let Some(row) = row.filter(|_| parked) {
                    self.plug_or_park(&row).await;
                }
                Err(error.into())
            }
        }
    }

    /// Ends a channel that runs. Its place is held: what is on its way to it waits. Answers whether it ran.
    async fn park(&self, name: &str) -> bool {
        let Some(line) = self.lock().remove(name) else { return false };
        self.hold_place(name, CHANGING);
        end(line).await;
        true
    }

    /// Runs a channel as its row has it; when that cannot be, its place is held.
    pub(super) async fn plug_or_park(&self, row: &ChannelRow) {
        if let Err(error) = self.plug_row(row).await {
            let why = error_chain(&error);
            tracing::error!(channel = row.name, why, "the channel does not run");
            self.hold_place(&row.name, &why);
        }
    }

    fn hold_place(&self, name: &str, why: &str) {
        self.inner.board.channels.add(Arc::new(Parked::new(name, why)));
        self.lock_broken().insert(name.to_owned(), why.to_owned());
    }
}

/// A row's settings.
pub(super) fn parsed(row: &ChannelRow) -> Result<Value, BadSettings> {
    serde_json::from_str(&row.settings).map_err(|error| BadSettings(error.to_string()))
}
