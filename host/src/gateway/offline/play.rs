//! Sends a planned answer, in its pace. Dropping it stops everything: no task is left behind.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};

use super::events::{Beat, Ending, Score};
use super::plan::{Act, Plan};
use crate::gateway::error::json_response;

/// The end of a stream that a message asked to cut: the connection breaks instead of ending properly.
#[derive(Debug, thiserror::Error)]
#[error("cut off, as the message asked")]
struct Cut;

/// The answer to a call: events when `stream`, else the response object.
///
/// Silence at the plan's beginning comes before the response's headers, as with a model that is slow to begin.
pub(super) async fn play(mut plan: Plan, model: &str, stream: bool) -> Response<Body> {
    let silent = plan.acts.iter().take_while(|act| matches!(act, Act::Pause(_))).count();
    for act in plan.acts.drain(..silent) {
        if let Act::Pause(pause) = act {
            tokio::time::sleep(pause).await;
        }
    }
    match plan.acts.first() {
        Some(Act::Fail(failure)) if !failure.in_stream() => return failure.response(),
        // The caller drops this when its client goes.
        Some(Act::Hang) => return std::future::pending().await,
        _ => {}
    }
    let score = Score::of(plan, model);
    if stream { streamed(score) } else { whole(score).await }
}

fn streamed(score: Score) -> Response<Body> {
    let ending = match score.ending {
        Ending::Proper => None,
        ending => Some(Err(ending)),
    };
    let beats = score.beats.into_iter().map(Ok).chain(ending);
    let body = stream::unfold(beats, |mut beats| async {
        let item = match beats.next()? {
            Ok(Beat { pause, bytes }) => {
                rest(pause).await;
                Ok(bytes)
            }
            Err(Ending::Silence) => std::future::pending().await,
            Err(_) => {
                // Lets the connection send what it has before it breaks.
                tokio::task::yield_now().await;
                Err(Cut)
            }
        };
        Some((item, beats))
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

async fn whole(score: Score) -> Response<Body> {
    rest(score.beats.iter().map(|beat| beat.pause).sum()).await;
    if score.ending == Ending::Silence {
        return std::future::pending().await;
    }
    if score.ending == Ending::Cut {
        let body = stream::iter([Ok(Bytes::from_static(b"{\"object\":")), Err(Cut)]);
        let mut response = Response::new(Body::from_stream(body));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return response;
    }
    json_response(StatusCode::OK, &score.response)
}

async fn rest(pause: Duration) {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}
