//! A session as it goes on: its log, and what the agent does, one JSON line each, until the client leaves.
//!
//! Nothing is read here that `session logs` and `chat` do not show: the log is what the container wrote, and no secret
//! is in a container.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use cofferdam_protocol::admin::{ErrorKind, FollowEvent, SessionState};
use cofferdam_protocol::ids::Attempt;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::sync::{broadcast, mpsc};

use super::Admin;
use super::answers::find_session;
use super::error::Failed;
use super::log_tail::{LogTail, Place};
use crate::live::Live;

/// Events that a slow client may be behind before reading waits for it.
const BACKLOG: usize = 256;
/// How often a log is looked at: soon enough for people, and nothing that a disk notices.
const LOOK: Duration = Duration::from_millis(200);
/// A line of an agent's words that is longer is told in pieces, in bytes.
const MAX_LINE: usize = 4096;

#[derive(Deserialize)]
pub(super) struct FollowQuery {
    attempt: Option<i64>,
    offset: Option<u64>,
}

pub(super) async fn follow(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    Query(query): Query<FollowQuery>,
) -> Result<Response, Failed> {
    let session = find_session(&admin, &id).await?;
    // Before the log is looked at, so that nothing falls between.
    let live = admin.hub.watch(&session.id);
    let log = admin.home.log(&session.group, &session.id, Attempt(0));
    let dir = log.parent().map(std::path::Path::to_owned).unwrap_or_default();
    let place = query.attempt.map(|attempt| Place { attempt: Attempt(attempt), offset: query.offset.unwrap_or(0) });
    let tail = blocking(move || LogTail::open(dir, place)).await.map_err(|error| {
        let message = format!("the log of session {} cannot be read: {error}", session.id);
        Failed::new(ErrorKind::Disk, message, "see that the home can be read")
    })?;
    let (events, body) = mpsc::channel(BACKLOG);
    let follower = Follower { live, tail, events, joiner: Joiner::default(), state: None };
    tokio::spawn(follower.run(session.state, session.note));
    let lines = futures_util::stream::unfold(body, async |mut body| Some((body.recv().await?, body)));
    let lines = lines.map(|event| Ok::<_, std::convert::Infallible>(line(&event)));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

fn line(event: &FollowEvent) -> Bytes {
    let mut text = serde_json::to_vec(event).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(std::io::Error::other("the log reader died")))
}

/// Follows one session for one client.
struct Follower {
    live: broadcast::Receiver<Arc<Live>>,
    tail: LogTail,
    events: mpsc::Sender<FollowEvent>,
    joiner: Joiner,
    /// What was said last of the session's life.
    state: Option<(SessionState, Option<String>)>,
}

/// The client is gone, or there is nothing more to read from.
struct Gone;

impl Follower {
    async fn run(mut self, state: SessionState, note: Option<String>) {
        // Its end is the client's leaving: nothing to tell.
        let _: Result<(), Gone> = self.follow(state, note).await;
    }

    async fn follow(&mut self, state: SessionState, note: Option<String>) -> Result<(), Gone> {
        if self.tail.attempt() > Attempt(0) {
            self.tell(FollowEvent::Attempt { attempt: self.tail.attempt() }).await?;
        }
        self.read_log().await?;
        self.on_live(&Live::State(state, note)).await?;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                live = self.live.recv() => match live {
                    Ok(live) => self.on_live(&live).await?,
                    Err(broadcast::error::RecvError::Lagged(events)) => self.tell(FollowEvent::Missed { events }).await?,
                    Err(broadcast::error::RecvError::Closed) => return Err(Gone),
                },
                _ = look.tick() => self.read_log().await?,
                () = self.events.closed() => return Err(Gone),
            }
        }
    }

    async fn read_log(&mut self) -> Result<(), Gone> {
        loop {
            let events = match self.tail.read_on() {
                Ok(events) => events,
                Err(error) => {
                    // Such as a group that was removed: what the session does is still told.
                    tracing::debug!(%error, "a log cannot be read on");
                    return Ok(());
                }
            };
            if events.is_empty() {
                return Ok(());
            }
            for event in events {
                self.tell(event).await?;
            }
        }
    }

    async fn on_live(&mut self, live: &Live) -> Result<(), Gone> {
        if let Live::Delta(text) = live {
            for line in self.joiner.feed(text) {
                self.tell(FollowEvent::Text { line }).await?;
            }
            return Ok(());
        }
        // What an agent writes is whole when it does something else.
        if let Some(line) = self.joiner.rest() {
            self.tell(FollowEvent::Text { line }).await?;
        }
        if let Live::State(state, note) = live {
            let now = Some((*state, note.clone()));
            if self.state == now {
                return Ok(());
            }
            self.state = now;
        }
        match event_of(live) {
            Some(event) => self.tell(event).await,
            None => Ok(()),
        }
    }

    async fn tell(&self, event: FollowEvent) -> Result<(), Gone> {
        self.events.send(event).await.map_err(|_| Gone)
    }
}

fn event_of(live: &Live) -> Option<FollowEvent> {
    Some(match live {
        Live::State(state, note) => FollowEvent::State { state: *state, note: note.clone() },
        Live::Blocked(blocked) => {
            let hint = blocked.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            FollowEvent::Blocked { kind: blocked.kind, message: format!("{}{hint}", blocked.message) }
        }
        Live::Retrying { turn, at, .. } => FollowEvent::Retrying { turn: *turn, at: at.clone() },
        Live::Started { turn, attempt, .. } => FollowEvent::Started { turn: *turn, attempt: *attempt },
        // A sign of life is nothing to see.
        Live::Activity(cofferdam_protocol::runner::ActivityKind::Alive, _)
        | Live::Delta(_)
        | Live::Working { .. } => {
            return None;
        }
        Live::Activity(kind, text) => FollowEvent::Activity { kind: *kind, text: text.clone() },
        Live::Ended(ended) => {
            FollowEvent::Ended { turn: ended.turn, outcome: ended.outcome.clone(), usage: ended.usage }
        }
    })
}

/// Makes lines of pieces.
#[derive(Debug, Default)]
struct Joiner {
    open: String,
}

impl Joiner {
    /// The lines that the next piece completes.
    fn feed(&mut self, piece: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for part in piece.split_inclusive('\n') {
            self.open.push_str(part);
            if self.open.ends_with('\n') {
                self.open.pop();
                lines.push(std::mem::take(&mut self.open));
            }
            while self.open.len() > MAX_LINE {
                let rest = self.open.split_off(self.open.floor_char_boundary(MAX_LINE));
                lines.push(std::mem::replace(&mut self.open, rest));
            }
        }
        lines
    }

    /// What was begun, when nothing more of it comes.
    fn rest(&mut self) -> Option<String> {
        Some(std::mem::take(&mut self.open)).filter(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces_are_joined_to_lines() {
        let mut joiner = Joiner::default();
        assert!(joiner.feed("hel").is_empty());
        assert_eq!(joiner.feed("lo\nwor"), ["hello"]);
        assert_eq!(joiner.feed("ld\n\n"), ["world", ""]);
        assert_eq!(joiner.rest(), None);
        joiner.feed("end");
        assert_eq!(joiner.rest().as_deref(), Some("end"));
    }

    proptest! {
        #[test]
        fn no_word_is_lost_and_no_line_is_endless(pieces in proptest::collection::vec("[a-zü]{0,3000}", 0..8)) {
            let mut joiner = Joiner::default();
            let mut lines: Vec<String> = pieces.iter().flat_map(|piece| joiner.feed(piece)).collect();
            lines.extend(joiner.rest());
            prop_assert!(lines.iter().all(|line| line.len() <= MAX_LINE));
            prop_assert_eq!(lines.concat(), pieces.concat());
        }
    }
}
