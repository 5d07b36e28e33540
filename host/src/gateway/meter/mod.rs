//! What a model call cost and what became of it, from its answer as that streams by.
//!
//! ```text
//! Gateway::handle ─▶ Meter::begin ─▶ Chooser ─▶ Meter::tap ─▶ the answer goes on, piece by piece, as it comes
//!                       │ dropped before: given up      └▶ Scan (bounded) ─▶ the end ─▶ Ledger ─▶ the group's state.db
//! ```
//!
//! A call is told once: when its answer says that it is over, at the answer's end, or when that breaks off or is dropped.
//! Nothing waits for any of it.

mod json;
mod ledger;
mod scan;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use cofferdam_protocol::admin::{CallOutcome, Missed};
use cofferdam_protocol::ids::Folder;
use http::{HeaderMap, Response, StatusCode, header};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::choose::Served;
use super::{Call, Caller, Route};
use crate::clock::now_ms;
use crate::store::group::usage::CallRow;
use crate::store::rfc3339;
use json::{Place, Reader};
use scan::{Scan, Told};

pub use ledger::Ledger;

/// How much of a request is looked through for its model at a time, in bytes: most name it first.
const LOOK: usize = 4096;
/// The longest name of a model that is kept, in characters.
const LONGEST_MODEL: usize = 128;
/// The longest reason that is kept, in characters.
const LONGEST_WHY: usize = 200;

/// Follows one call to its end. Dropped before, the call was given up.
pub(super) struct Meter {
    ledger: Ledger,
    group: Folder,
    /// What is known of it; none when it was told.
    row: Option<CallRow>,
    begun: Instant,
    /// Of the answer; none before that begins.
    status: Option<StatusCode>,
    scan: Scan,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    /// All of it came.
    Whole,
    /// It broke off, and why.
    Broke(String),
    /// Nobody wanted the rest; for so long the last piece had not been taken.
    Left(Duration),
}

impl Meter {
    /// Begins with a call that is to be served; a list of models costs nothing.
    pub(super) fn begin(ledger: &Ledger, caller: &Caller, call: &Call) -> Option<Self> {
        let row = CallRow {
            at: 0,
            session: caller.session.clone(),
            account: None,
            missed: Vec::new(),
            model: model_of_request(&call.body),
            route: call.route.path().to_owned(),
            outcome: CallOutcome::GivenUp,
            why: None,
            millis: 0,
            tokens: None,
        };
        (call.route != Route::Models).then(|| Self {
            ledger: ledger.clone(),
            group: caller.group.clone(),
            row: Some(row),
            begun: Instant::now(),
            status: None,
            scan: Scan::Begun,
        })
    }

    /// Follows the answer.
    pub(super) fn tap(mut self, served: Served) -> Response<Body> {
        if let Some(row) = &mut self.row {
            row.missed.extend(served.limited.into_iter().map(|(account, until)| {
                let why = format!("not asked: its limit is reached until {}", rfc3339(until));
                Missed { account, why }
            }));
            for asked in served.asked {
                match asked.miss {
                    None => row.account = Some(asked.account),
                    Some(miss) => {
                        row.missed.push(Missed { account: asked.account, why: miss.to_string() });
                    }
                }
            }
        }
        let (parts, body) = served.response.into_parts();
        self.status = Some(parts.status);
        if is_encoded(&parts.headers) {
            self.scan = Scan::Closed;
        }
        Response::from_parts(parts, Body::new(Tap { body, meter: self, handed: None }))
    }

    fn saw(&mut self, bytes: &[u8]) {
        if self.row.is_none() {
            return;
        }
        self.scan.push(bytes);
        // Told before the container can act on it: who looks after a turn sees its calls.
        if self.scan.told().is_some() {
            self.end(Ending::Whole);
        }
    }

    fn end(&mut self, ending: Ending) {
        let Some(mut row) = self.row.take() else { return };
        (row.outcome, row.why) = outcome(self.status, &self.scan, ending);
        row.why = row.why.map(|why| why.chars().take(LONGEST_WHY).collect());
        row.at = now_ms();
        row.millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Some(facts) = self.scan.facts() {
            row.tokens = facts.tokens();
            row.model = facts.model.as_deref().and_then(model_name).or(row.model);
        }
        self.ledger.note(&self.group, row);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.end(Ending::Left(Duration::ZERO));
    }
}

fn outcome(status: Option<StatusCode>, scan: &Scan, ending: Ending) -> (CallOutcome, Option<String>) {
    let Some(status) = status else {
        return (CallOutcome::GivenUp, Some("before an answer came".to_owned()));
    };
    let facts = scan.facts();
    let code = || facts.and_then(|facts| facts.code.clone().or_else(|| facts.error_kind.clone()));
    if !status.is_success() {
        let why = [Some(status.as_u16().to_string()), code()].into_iter().flatten().collect::<Vec<_>>();
        return (CallOutcome::Failed, Some(why.join(" ")));
    }
    let incomplete = || facts.and_then(|facts| facts.reason.clone());
    match (scan.told(), ending) {
        (Some(Told::Completed), _) => (CallOutcome::Completed, None),
        (Some(Told::Incomplete), _) => {
            (CallOutcome::Completed, Some(incomplete().unwrap_or_else(|| "incomplete".to_owned())))
        }
        (Some(Told::Failed), _) => (CallOutcome::Failed, code()),
        (None, Ending::Broke(why)) => (CallOutcome::Cut, Some(why)),
        (None, Ending::Left(untaken)) => {
            let why = match untaken.as_secs() {
                0 => "while the answer came".to_owned(),
                secs => format!("nothing of the answer was taken for {secs} s"),
            };
            (CallOutcome::GivenUp, Some(why))
        }
        (None, Ending::Whole) if scan.is_stream() => {
            (CallOutcome::Cut, Some("the stream ended before the response did".to_owned()))
        }
        (None, Ending::Whole) => match code() {
            Some(code) => (CallOutcome::Failed, Some(code)),
            None => (CallOutcome::Completed, incomplete()),
        },
    }
}

/// The containers' wish for an encoding goes nowhere (`headers`), so an answer has none unless its endpoint is odd. It is passed on
/// uncounted.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// The model that a call names.
pub(super) fn model_of_request(body: &[u8]) -> Option<String> {
    let mut reader = Reader::of(Place::Response);
    body.chunks(LOOK).find_map(|piece| {
        reader.push(piece);
        reader.facts().model.as_deref().map(model_name)
    })?
}

/// A name that can be one; nothing else is kept.
fn model_name(name: &str) -> Option<String> {
    let good = (1..=LONGEST_MODEL).contains(&name.len()) && name.chars().all(|c| c.is_ascii_graphic());
    good.then(|| name.to_owned())
}

/// An answer's body that is looked at as it passes. As long as the original, to whoever asks.
struct Tap {
    body: Body,
    meter: Meter,
    /// When the last piece was handed on, until the next is asked for: none while the vendor is waited for.
    handed: Option<Instant>,
}

impl HttpBody for Tap {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        this.handed = None;
        let polled = ready!(Pin::new(&mut this.body).poll_frame(context));
        this.handed = Some(Instant::now());
        match &polled {
            Some(Ok(frame)) => {
                this.meter.saw(frame.data_ref().map_or(&[], Bytes::as_ref));
                if this.body.is_end_stream() {
                    this.meter.end(Ending::Whole);
                }
            }
            Some(Err(error)) => this.meter.end(Ending::Broke(error.to_string())),
            None => this.meter.end(Ending::Whole),
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let untaken = self.handed.map_or(Duration::ZERO, |handed| handed.elapsed());
        self.meter.end(if self.body.is_end_stream() { Ending::Whole } else { Ending::Left(untaken) });
    }
}
