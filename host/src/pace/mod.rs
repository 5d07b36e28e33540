//! What keeps everything that goes to a platform to its pace, by what its [`Pace`](crate::channels::Pace) says.
//!
//! ```text
//!  replies ──▶ each chat's line ──▶ slots, turnstile ──▶ counted      wait until they may go
//!  what is shown ─────────────────▶ now? ──────────────▶ counted      goes now or not at all, and never before a reply
//! ```
//!
//! One [`gate`] per channel, for delivery and for progress alike; [`meters`] is what it counts.

mod gate;
mod meters;

#[cfg(test)]
mod gate_tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use gate::Gate;

use crate::channels::Channel;
use crate::model::chat::ChatRef;

/// The gates of all channels, by name. Clones are the same.
#[derive(Clone, Default)]
pub struct Gates {
    by_name: Arc<Mutex<HashMap<String, Arc<Gate>>>>,
}

impl Gates {
    /// A channel's gate. One that was made anew has its new pace.
    pub fn of(&self, channel: &dyn Channel) -> Arc<Gate> {
        let mut gates = self.lock();
        if let Some(gate) = gates.get(channel.name()).filter(|gate| gate.pace() == channel.pace()) {
            return gate.clone();
        }
        let gate = Arc::new(Gate::new(channel.pace()));
        gates.insert(channel.name().to_owned(), gate.clone());
        gate
    }

    /// How long a chat still pauses because its platform asked for that.
    pub fn rest_of_pause(&self, chat: &ChatRef) -> Option<Duration> {
        let gate = self.lock().get(&chat.channel)?.clone();
        gate.rest_of_pause(chat)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Gate>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
