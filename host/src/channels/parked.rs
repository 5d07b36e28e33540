//! A channel of the home that does not run: its secret is missing, or it is being changed. What is on its way to it waits.

use async_trait::async_trait;
use tokio::io::AsyncWrite;

use super::{Abilities, Channel, Offered, Piece, Receipt, SendError, State, Writers};
use crate::model::chat::ChatRef;
use crate::model::reply::Outbound;

/// In the place of a channel that does not run.
pub struct Parked {
    name: String,
    why: String,
}

impl Parked {
    /// The channel of this name does not run, for this reason.
    pub fn new(name: &str, why: &str) -> Self {
        Self { name: name.to_owned(), why: why.to_owned() }
    }
}

#[async_trait]
impl Channel for Parked {
    fn name(&self) -> &str {
        &self.name
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn writers(&self) -> Writers {
        Writers::Unknown
    }

    fn state(&self) -> State {
        State::Stopped { why: self.why.clone() }
    }

    async fn test(&self) -> Result<String, SendError> {
        Err(SendError::Refused { why: self.why.clone() })
    }

    fn is_there(&self, _: &ChatRef) -> bool {
        false
    }

    /// Later: the channel is there again.
    async fn fetch(&self, _: &Offered, _: &mut (dyn AsyncWrite + Send + Unpin), _: u64) -> Result<u64, SendError> {
        Err(SendError::Absent)
    }

    async fn send(&self, _: &Outbound, _: (usize, &Piece), _: Option<&str>) -> Result<Receipt, SendError> {
        Err(SendError::Absent)
    }
}
