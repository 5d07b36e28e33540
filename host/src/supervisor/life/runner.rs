//! What a container's runner says, and what it waits for.

use cofferdam_protocol::ids::Seq;
use cofferdam_protocol::runner::{Control, ControlRequest, Next};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::door::Door;
use crate::supervisor::interruption::Question;

/// A runner, through its door.
pub(in crate::supervisor) struct Runner {
    door: Option<Door>,
    pub(in crate::supervisor) said_hello: bool,
    /// Its open wish for work.
    pub(in crate::supervisor) parked: Option<oneshot::Sender<Next>>,
    /// Its open wish to know what changes for its turn.
    pub(in crate::supervisor) control: Option<(ControlRequest, oneshot::Sender<Control>)>,
    /// What its events, and the container's end, wait for.
    pub(in crate::supervisor) question: Option<Question>,
    pub(in crate::supervisor) last_sign: Instant,
    /// The newest event that was looked at.
    heard: Seq,
    /// It reported an MCP server that the group has not; told once.
    reported_strange: bool,
}

impl Runner {
    /// One that has not spoken yet.
    pub(super) fn behind(door: Door) -> Self {
        Self {
            door: Some(door),
            said_hello: false,
            parked: None,
            control: None,
            question: None,
            last_sign: Instant::now(),
            heard: Seq(0),
            reported_strange: false,
        }
    }

    /// One that spoke to another daemon.
    pub(super) fn known_behind(door: Door) -> Self {
        Self { said_hello: true, ..Self::behind(door) }
    }

    /// Whether an event is heard for the first time.
    pub(in crate::supervisor) fn is_news(&mut self, seq: Seq) -> bool {
        let news = seq > self.heard;
        self.heard = self.heard.max(seq);
        news
    }

    /// Whether this is the first strange thing that it reports.
    pub(super) fn is_strange_once(&mut self) -> bool {
        !std::mem::replace(&mut self.reported_strange, true)
    }

    /// Whether it asks for work now.
    pub(in crate::supervisor) fn asks(&self) -> bool {
        self.parked.as_ref().is_some_and(|parked| !parked.is_closed())
    }

    /// Its wish for work, if it has one, is answered with stop.
    pub(super) fn answer_stop(&mut self) {
        if let Some(parked) = self.parked.take() {
            let _ = parked.send(Next::Stop);
        }
    }

    /// Nothing more is heard from it.
    pub(super) fn close(&mut self) {
        self.door = None;
        self.question = None;
        self.parked = None;
        self.control = None;
    }
}
