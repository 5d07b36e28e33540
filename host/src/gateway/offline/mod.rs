//! The offline model: a small scripted Responses model inside the host, for a fresh machine without an account.
//!
//! It keeps nothing between calls. As with a real model, everything it knows is in the request: the newest user
//! message scripts the turn with lines that start with `!`, and the items after that message show how far the
//! script has been served. docs/offline-model.md has the directives.
//!
//! ```text
//! request ─▶ conversation ─┐
//!            script ───────┼─▶ plan (pure: what this one call says) ─▶ play (events, pace) ─▶ answer
//!            tools ────────┘
//! ```

mod conversation;
mod events;
mod failure;
mod plan;
mod play;
mod recap;
mod script;
mod tools;
mod wrapper;

use async_trait::async_trait;
use axum::body::Body;
use http::{Response, StatusCode, header};
use serde_json::{Value, json};

use super::answer::Answered;
use super::error::{json_response, vendor_error};
use super::probe::ProbeError;
use super::{Call, Caller, Route, Upstream};
use conversation::Conversation;
use plan::Plan;
use script::Verdict;

/// Begins every text of the offline model.
pub(super) const MARK: &str = "[offline model] ";
/// The model's name in `GET /v1/models`, and in answers to requests that name none.
const MODEL: &str = "offline";
/// Bytes of a request that count as one token. A coarse figure for English text and code.
const BYTES_PER_TOKEN: u64 = 4;

/// The upstream of [`super::Account::Offline`].
pub(super) struct Offline;

#[async_trait]
impl Upstream for Offline {
    async fn call(&self, _caller: &Caller, call: Call) -> Answered {
        if call.route == Route::Models {
            return Answered::of(models());
        }
        let answer = answer(&call);
        // However long the answer takes, the request takes no room any more.
        drop(call);
        Answered::of(match answer {
            Answer::Whole(response) => response,
            Answer::Never => std::future::pending().await,
            Answer::Play { plan, model, stream } => play::play(plan, &model, stream).await,
        })
    }

    async fn probe(&self) -> Result<Option<u64>, ProbeError> {
        Ok(Some(1))
    }
}

/// What becomes of a call, with nothing left of its request.
enum Answer {
    Whole(Response<Body>),
    Never,
    Play { plan: Plan, model: String, stream: bool },
}

fn answer(call: &Call) -> Answer {
    if call.headers.contains_key(header::CONTENT_ENCODING) {
        let message = "The offline model reads plain JSON only: turn request compression off.";
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", message);
    }
    let request: Value = match serde_json::from_slice(&call.body) {
        Ok(request) => request,
        Err(error) => {
            let message = format!("The request's body is not JSON: {error}.");
            return refused(StatusCode::BAD_REQUEST, "invalid_json", &message);
        }
    };
    let Some(conversation) = Conversation::read(&request["input"]) else {
        let message = "The request has no 'input': a text, or a list of items.";
        return refused(StatusCode::BAD_REQUEST, "missing_required_parameter", message);
    };
    let input_tokens = call.body.len() as u64 / BYTES_PER_TOKEN;
    if call.route == Route::Compact {
        return match &conversation.verdict {
            Verdict::Ok => {
                Answer::Whole(json_response(StatusCode::OK, &recap::compacted(&conversation, input_tokens)))
            }
            Verdict::Fail(failure) => Answer::Whole(failure.response()),
            Verdict::Hang => Answer::Never,
        };
    }
    Answer::Play {
        plan: Plan::make(&conversation, &tools::Toolbox::of(&request), input_tokens),
        model: request["model"].as_str().unwrap_or(MODEL).to_owned(),
        stream: request["stream"] == true,
    }
}

fn refused(status: StatusCode, code: &str, message: &str) -> Answer {
    Answer::Whole(vendor_error(status, code, message))
}

fn models() -> Response<Body> {
    // `models` is where Codex looks, `data` where OpenAI's clients look.
    let list = json!({
        "object": "list",
        "data": [{ "id": MODEL, "object": "model", "created": 0, "owned_by": "cofferdam" }],
        "models": [],
    });
    json_response(StatusCode::OK, &list)
}
