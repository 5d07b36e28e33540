//! Chat platforms. A channel hands in messages and takes replies; it knows nothing of groups, sessions or containers.

pub mod terminal;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::model::reply::Outbound;

/// A chat platform's adapter.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Its name in wirings.
    fn name(&self) -> &'static str;

    /// Hands a reply over. `Ok` means that the platform has it.
    async fn send(&self, reply: &Outbound) -> Result<(), SendError>;
}

/// Why a channel did not take a reply.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Nobody is there to take it; the channel nudges delivery when somebody is.
    #[error("nobody is connected")]
    Absent,
}

/// All channels, by name.
#[derive(Clone, Default)]
pub struct Channels {
    by_name: HashMap<&'static str, Arc<dyn Channel>>,
}

impl Channels {
    /// Adds a channel.
    pub fn add(&mut self, channel: Arc<dyn Channel>) {
        self.by_name.insert(channel.name(), channel);
    }

    /// The channel with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Channel>> {
        self.by_name.get(name)
    }
}
