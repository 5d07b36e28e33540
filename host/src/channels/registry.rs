//! The channels of a daemon, by name. They come and go while it runs.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Abilities, Channel};

/// All channels. Clones are the same.
#[derive(Clone, Default)]
pub struct Channels {
    by_name: Arc<RwLock<HashMap<String, Arc<dyn Channel>>>>,
}

impl Channels {
    /// Adds a channel, in the place of one of the same name.
    pub fn add(&self, channel: Arc<dyn Channel>) {
        let name = channel.name().to_owned();
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).insert(name, channel);
    }

    /// Takes a channel away.
    pub fn remove(&self, name: &str) {
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// What the channel with this name can do; a channel that is not there can nothing.
    pub fn abilities(&self, name: &str) -> Abilities {
        self.get(name).map(|channel| channel.abilities()).unwrap_or_default()
    }

    /// The channel with this name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Channel>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}
