//! `POST /hooks/NAME`: programs that write to an agent.
//!
//! Who may not call learns nothing, also not which names there are: whatever is wrong, the answer is the same 401 after
//! the same work.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::book::{Hook, HookFormat};
use super::keys::hex;
use super::places::{Place, Unread};
use super::waiting::{Of, Over};
use super::{Desk, github, plain, signature};
use crate::channels::{Arrival, Content, Sender, Taken, Written};
use crate::clock::now_ms;
use crate::model::chat::{ChatKind, ChatRef};

/// The largest body, in bytes.
const MOST_BODY: usize = 1024 * 1024;
/// The longest id of a call, in bytes.
const MOST_ID: usize = 255;
/// When a call that was not taken may be made again, in seconds.
const AGAIN: u64 = 5;

/// A call whose signature was right.
struct Signed {
    name: String,
    hook: Hook,
    headers: HeaderMap,
    body: super::places::Bytes,
    tag: Vec<u8>,
    place: Place,
    wait: Option<Duration>,
}

/// What a call says.
struct Message {
    id: String,
    text: String,
    thread: Option<String>,
    sender: Option<String>,
}

/// Answers a call.
pub(super) async fn post(State(desk): State<Desk>, Path(name): Path<String>, request: Request) -> Response {
    match signed(&desk, name, request).await {
        Ok(call) => match taken(&desk, call).await {
            Ok(answer) | Err(answer) => answer,
        },
        Err(answer) => answer,
    }
}

fn error(status: StatusCode, why: impl Into<String>) -> Response {
    let why: String = why.into();
    (status, Json(json!({ "error": why }))).into_response()
}

fn again(status: StatusCode, why: impl Into<String>) -> Response {
    let mut answer = error(status, why);
    answer.headers_mut().insert(header::RETRY_AFTER, AGAIN.into());
    answer
}

/// Lets a call in, or answers why not.
async fn signed(desk: &Desk, name: String, request: Request) -> Result<Signed, Response> {
    let inner = &desk.inner;
    if inner.stopping.is_cancelled() {
        return Err(again(StatusCode::SERVICE_UNAVAILABLE, "Cofferdam is ending; call again"));
    }
    let full = || again(StatusCode::TOO_MANY_REQUESTS, "too many calls at once; call again");
    let (parts, body) = request.into_parts();
    let hook = if plain::is_name(&name) { inner.book.hook(&name).await } else { Ok(None) };
    let hook = hook.map_err(|why| not_looked_up(&why))?;
    let _stranger = inner.places.stranger(hook.is_some()).ok_or_else(full)?;
    // Names that nobody made are not counted by name: there is no end of them.
    let chat = if hook.is_some() { chat_id(&name) } else { "hook".to_owned() };
    let body = match inner.places.read_unsigned(&parts.headers, body, (MOST_BODY, inner.limits.unsigned_body)).await
    {
        Ok(body) => body,
        Err(why) => return Err(unread(desk, &chat, why).await),
    };
    let is_github = match &hook {
        Some(hook) => hook.format == HookFormat::GitHub,
        None => parts.headers.contains_key(signature::GITHUB_HEADER),
    };
    // Nobody's secret takes as long as a real one's.
    let nobodys = SecretString::from("no hook has this name; its secret is as long as any other");
    let secret = hook.as_ref().map_or(&nobodys, |hook| &hook.secret);
    let checked = if is_github {
        signature::check_github(secret, text(&parts.headers, signature::GITHUB_HEADER), &body.bytes)
    } else {
        signature::check(secret, text(&parts.headers, signature::HEADER), now_ms() / 1000, &body.bytes)
    };
    let (hook, tag) = match (hook, checked) {
        (Some(hook), Ok(tag)) => (hook, tag),
        (None, _) => return Err(stranger(desk, &chat, "unknown-hook").await),
        (_, Err(reason)) => return Err(stranger(desk, &chat, reason).await),
    };
    let Some(place) = inner.places.take(&chat) else { return Err(full()) };
    let wait = wait(parts.uri.query(), &parts.headers).map(|wait| wait.min(inner.settings.max_wait()));
    Ok(Signed { name, hook, headers: parts.headers, body, tag, place, wait })
}

async fn stranger(desk: &Desk, chat: &str, reason: &'static str) -> Response {
    desk.inner.book.refused(chat, reason).await;
    error(StatusCode::UNAUTHORIZED, "no such hook, or its signature is not right")
}

async fn unread(desk: &Desk, chat: &str, why: Unread) -> Response {
    let (status, reason, words) = match why {
        Unread::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is larger than 1 MiB"),
        Unread::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "the body took too long"),
        Unread::Broken => (StatusCode::BAD_REQUEST, "broken", "the body ended early"),
        Unread::NoRoom => {
            return again(StatusCode::TOO_MANY_REQUESTS, "too much is being sent at once; call again");
        }
    };
    desk.inner.book.refused(chat, reason).await;
    let mut answer = error(status, words);
    // What is left of the body is nobody's next request.
    answer.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    answer
}

fn not_looked_up(why: &str) -> Response {
    tracing::warn!(why, "a call could not be looked up");
    again(StatusCode::SERVICE_UNAVAILABLE, "Cofferdam cannot look the call up now; call again")
}

/// Hands the call in, and waits for its reply when it wants one.
async fn taken(desk: &Desk, call: Signed) -> Result<Response, Response> {
    let inner = &desk.inner;
    let chat_id = chat_id(&call.name);
    let message = match call.hook.format {
        HookFormat::Plain => of_plain(&call).map(Some),
        HookFormat::GitHub => of_github(&call),
    };
    let Some(message) = message.map_err(|(status, why)| error(status, why))? else {
        return Ok(Json(json!({"status": "ignored"})).into_response());
    };
    let Signed { name, place, body, tag, wait, .. } = call;
    let admitted = inner.book.admits(&name, Sha256::digest(&tag).into(), &message.id).await;
    if !admitted.map_err(|why| not_looked_up(&why))? {
        return Err(stranger(desk, &chat_id, "replayed").await);
    }
    if !inner.places.in_pace(&chat_id) {
        inner.book.refused(&chat_id, "flood").await;
        return Err(again(StatusCode::TOO_MANY_REQUESTS, "too many calls of this webhook; call again"));
    }
    let chat = ChatRef { channel: inner.name.clone(), chat_id, thread_id: message.thread };
    let waits = wait.map(|wait| {
        inner.waiting.call(Of {
            book: inner.book.clone(),
            chat: chat.clone(),
            platform_id: message.id.clone(),
            wait,
            look: inner.limits.look,
        })
    });
    let arrival = Arrival {
        chat,
        kind: ChatKind::Direct,
        title: Some(name.clone()),
        platform_id: message.id,
        sender: Sender { id: format!("hook:{name}"), name: message.sender.unwrap_or(name) },
        content: Content::Message(Written { text: message.text, addressed: true, ..Written::default() }),
    };
    let place = std::sync::Arc::new(place);
    let status = match desk.hand_in(arrival, (place.clone(), body)).await {
        Ok(Taken::Accepted) => StatusCode::ACCEPTED,
        Ok(Taken::Known) => StatusCode::OK,
        Ok(Taken::Dropped(reason)) => return Err(error(StatusCode::FORBIDDEN, reason)),
        Ok(Taken::Done(words)) => return Ok(Json(json!({ "reply": words })).into_response()),
        Err(why) => return Err(again(StatusCode::SERVICE_UNAVAILABLE, why.to_string())),
    };
    let so_far = if status == StatusCode::OK { "known" } else { "accepted" };
    let so_far = (status, Json(json!({ "status": so_far }))).into_response();
    let Some(mut waits) = waits else { return Ok(so_far) };
    Ok(match waits.end().await.map_err(|why| not_looked_up(&why))? {
        Over::Said(texts) => Json(json!({ "reply": texts.join("\n\n") })).into_response(),
        Over::Failed(notice) => error(StatusCode::BAD_GATEWAY, notice),
        Over::Late | Over::Closed => so_far,
    })
}

/// What is wrong with a call that may be made.
type Wrong = (StatusCode, String);

fn of_plain(call: &Signed) -> Result<Message, Wrong> {
    let plain = plain::read(&call.headers, &call.body.bytes)?;
    let id = match text(&call.headers, "idempotency-key") {
        Some(id) => checked_id("Idempotency-Key", id)?,
        None => format!("sig-{}", hex(&Sha256::digest(&call.tag)[..16])),
    };
    Ok(Message { id, text: plain.text, thread: plain.thread, sender: plain.sender })
}

fn of_github(call: &Signed) -> Result<Option<Message>, Wrong> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    let event = text(&call.headers, "x-github-event").unwrap_or_default();
    if !plain::is_name(event) {
        return Err(bad("X-GitHub-Event is missing".to_owned()));
    }
    let id = checked_id("X-GitHub-Delivery", text(&call.headers, "x-github-delivery").unwrap_or_default())?;
    let kind = text(&call.headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        let why = "set the webhook's content type on GitHub to application/json";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why.to_owned()));
    }
    let payload: Value =
        serde_json::from_slice(&call.body.bytes).map_err(|error| bad(format!("the payload: {error}")))?;
    let events = &call.hook.events;
    if !events.is_empty() && !events.iter().any(|wanted| wanted == event) {
        return Ok(None);
    }
    Ok(github::tell(&call.name, event, &payload).map(|told| Message {
        id,
        text: told.text,
        thread: told.thread,
        sender: Some("GitHub".to_owned()),
    }))
}

fn checked_id(header: &str, id: &str) -> Result<String, Wrong> {
    if (1..=MOST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(id.to_owned());
    }
    Err((StatusCode::BAD_REQUEST, format!("{header} is not 1 to {MOST_ID} visible characters")))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let name: HeaderName = name.parse().ok()?;
    headers.get(name)?.to_str().ok()
}

fn chat_id(name: &str) -> String {
    format!("hook/{name}")
}

/// How long the caller wants to wait: `?wait=SECS`, or `Prefer: wait=SECS` (RFC 7240).
fn wait(query: Option<&str>, headers: &HeaderMap) -> Option<Duration> {
    let asked = query.into_iter().flat_map(|query| query.split('&'));
    let prefers = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let asked = asked.chain(prefers.flat_map(|value| value.split([',', ';'])));
    let seconds = asked.filter_map(|part| part.trim().strip_prefix("wait=")?.parse::<u32>().ok()).next()?;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_asked_for_in_the_query_or_as_a_preference() {
        let with = |prefer: &str| [("prefer".parse().unwrap(), prefer.parse().unwrap())].into_iter().collect();
        let secs = |query, headers: &HeaderMap| wait(query, headers).map(|wait| wait.as_secs());
        assert_eq!(secs(Some("a=b&wait=7"), &HeaderMap::new()), Some(7));
        assert_eq!(secs(None, &with("respond-async, wait=9")), Some(9));
        for query in [None, Some("wait=0"), Some("wait=-1"), Some("wait=x"), Some("await=3")] {
            assert_eq!(secs(query, &HeaderMap::new()), None, "{query:?}");
        }
    }
}
