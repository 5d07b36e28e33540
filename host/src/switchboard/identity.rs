//! A channel's name is one identity's at its platform. Another one numbers its messages anew: they would be taken for those of
//! before, and lost without a word.

use std::sync::Arc;

use super::{ChannelError, Switchboard, change, kinds};
use crate::channels::Channel;
use crate::model::channel::KindName;
use crate::store::StoreError;
use crate::store::channels::{ChannelRow, SecretOf};

impl Switchboard {
    /// Refuses a name's channel to be another one than before. Who it was does not matter once the channel was taken away and no
    /// group has anything of it.
    pub(super) async fn is_itself(
        &self,
        name: &str,
        known: Option<&ChannelRow>,
        channel: &dyn Channel,
    ) -> Result<(), ChannelError> {
        let Some(now) = channel.identity() else { return Ok(()) };
        let before = match (self.inner.board.stores.central().identity(name).await?, known) {
            (Some(before), _) => Some(before),
            // It was added before that was noted.
            (None, Some(row)) => self.identity_of(row).await,
            (None, None) => None,
        };
        match before {
            Some(before) if before != now && (known.is_some() || self.has_messages_of(name).await?) => {
                Err(ChannelError::OtherIdentity { name: name.to_owned(), before, now })
            }
            _ => Ok(()),
        }
    }

    /// Notes who a channel is that is kept.
    pub(super) async fn note_identity(&self, channel: &dyn Channel) -> Result<(), StoreError> {
        let Some(now) = channel.identity() else { return Ok(()) };
        let central = self.inner.board.stores.central();
        if central.identity(channel.name()).await?.as_ref() == Some(&now) {
            return Ok(());
        }
        central.put_identity(channel.name(), now).await
    }

    /// Who a channel is as it is kept; none where it cannot be made.
    async fn identity_of(&self, row: &ChannelRow) -> Option<String> {
        self.as_kept(row).await?.identity()
    }

    /// A channel as it is kept, not run; none where it cannot be made.
    async fn as_kept(&self, row: &ChannelRow) -> Option<Arc<dyn Channel>> {
        let board = &self.inner.board;
        let secret = board.secrets.open_other(SecretOf::channel(&row.name)).await.ok()?;
        kinds::make(board, (&row.name, kinds::of(row).ok()?), change::parsed(row).ok()?, secret).ok()
    }

    /// Why a channel, whether it runs or not, can have no chat and no user of this id, in words. One that cannot be made just now, as
    /// its secret is lost, has nothing against any.
    pub async fn unfit_id(&self, name: &str, id: &str) -> Result<Option<String>, StoreError> {
        let channel = match (self.running(name), self.row(name).await?) {
            (None, Some(row)) => self.as_kept(&row).await,
            (running, _) => running,
        };
        Ok(channel.and_then(|channel| channel.check_id(id).err()))
    }

    /// Refuses an identity that another channel of the kind has: a platform serves only one of them at a time.
    pub(super) async fn is_only_one(&self, kind: &KindName, channel: &dyn Channel) -> Result<(), ChannelError> {
        let Some(now) = channel.identity() else { return Ok(()) };
        let channels = self.inner.board.stores.central().channels().await?;
        for row in channels.into_iter().filter(|row| row.kind == *kind && row.name != channel.name()) {
            if self.identity_of(&row).await.as_ref() == Some(&now) {
                return Err(ChannelError::SameIdentity { name: row.name, now });
            }
        }
        Ok(())
    }

    /// Whether a group has anything of a channel. One that cannot be read may.
    async fn has_messages_of(&self, channel: &str) -> Result<bool, StoreError> {
        let stores = &self.inner.board.stores;
        for group in stores.central().groups().await? {
            let Ok(store) = stores.group(&group.folder).await else { return Ok(true) };
            if store.has_of_channel(channel).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
