//! Sends a message and follows it to the end of its turn, over restarts of the daemon.

use std::collections::BTreeSet;
use std::time::Duration;

use cofferdam_protocol::admin::{ChatEvent, ChatRequest, ErrorKind, Finished, Status};
use cofferdam_protocol::ids::ReplyId;
use tokio::time::{Instant, sleep};

use crate::cli::client::{Client, ClientError};
use crate::cli::error::CliError;

/// How long a daemon that went away may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for.
const RETRY: Duration = Duration::from_millis(200);

/// Somebody who watches a message's way.
pub(super) trait Listener {
    /// Something happened; not called with the end.
    fn event(&mut self, event: &ChatEvent) -> Result<(), CliError>;
    /// The daemon went away; what it streamed of an unfinished answer will come again.
    fn lost(&mut self);
}

/// Sends the message until its turn ended. Sending it again after the connection broke is harmless: the daemon knows
/// the message by its id.
pub(super) async fn follow(
    client: &Client,
    request: &ChatRequest,
    listener: &mut impl Listener,
) -> Result<Finished, CliError> {
    let mut way = Way::default();
    loop {
        let error = match way.attempt(client, request, listener).await {
            Ok(finished) => return Ok(finished),
            Err(Ended::Listener(error)) => return Err(error),
            Err(Ended::Client(error)) => error,
        };
        if !error.is_passing() {
            return Err(error.into());
        }
        // Too much to do is not gone: it says so itself.
        let refused = matches!(error, ClientError::Refused(_));
        if refused && !way.accepted && ends(client).await {
            return Err(error.into());
        }
        let since = match way.lost {
            Some(since) => since,
            None => {
                if !refused {
                    listener.lost();
                }
                *way.lost.insert(Instant::now())
            }
        };
        if since.elapsed() >= PATIENCE {
            return Err(if refused { error.into() } else { way.give_up(&error) });
        }
        sleep(RETRY).await;
    }
}

/// Whether the daemon is ending: what it was never given is not kept for the next one.
async fn ends(client: &Client) -> bool {
    client.get::<Status>("/v1/status").await.is_ok_and(|status| status.ends_within_secs.is_some())
}

/// Whoever restores a group may not want that what it did since is done again.
fn restored(request: &ChatRequest) -> CliError {
    let message =
        format!("group {} was restored, and this message is not in what it was restored from", request.group);
    CliError::new(ErrorKind::Conflict, message).with_hint("send it again if it should still be answered")
}

enum Ended {
    Client(ClientError),
    Listener(CliError),
}

/// What is known about the message so far.
#[derive(Default)]
struct Way {
    accepted: bool,
    /// Since when the daemon is away.
    lost: Option<Instant>,
    /// What was shown; it comes a second time after the connection broke.
    shown: BTreeSet<ReplyId>,
}

impl Way {
    async fn attempt(
        &mut self,
        client: &Client,
        request: &ChatRequest,
        listener: &mut impl Listener,
    ) -> Result<Finished, Ended> {
        let mut stream = client.chat(request).await.map_err(Ended::Client)?;
        loop {
            let event = stream.next().await.map_err(Ended::Client)?;
            self.lost = None;
            match event {
                ChatEvent::Finished(finished) => return Ok(finished),
                ChatEvent::Accepted { .. } => self.accepted = true,
                ChatEvent::Restored => return Err(Ended::Listener(restored(request))),
                _ => {}
            }
            if !self.is_repeated(&event) {
                listener.event(&event).map_err(Ended::Listener)?;
            }
        }
    }

    fn is_repeated(&mut self, event: &ChatEvent) -> bool {
        event.number().is_some_and(|number| !self.shown.insert(number))
    }

    fn give_up(&self, error: &ClientError) -> CliError {
        let fate = if self.accepted {
            "the message stays accepted: `cofferdam up` goes on with it"
        } else {
            "the message may not have been accepted: start the daemon with `cofferdam up` and send it again"
        };
        let secs = PATIENCE.as_secs();
        let message = format!("the daemon went away and did not come back in {secs} s: {}", error.chain());
        CliError::new(ErrorKind::Daemon, message).with_hint(fate)
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
