//! `POST /hooks/NAME`: programs that write to an agent.
//!
//! Who may not call learns nothing, also not which names there are: whatever is wrong, the answer is the same 401 after
//! the same work, and each name has as many places, whether there is such a webhook or not.
//!
//! Only the body is signed, and in our own form its time. So a signature is remembered with what else says what the call is,
//! and who repeats a call gets little: it is handed in once, and its answer is shown while its signature's time is fresh.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::book::{Came, Hook, HookFormat};
use super::keys::hex;
use super::places::{HOOKS, Place, Unread};
use super::signature::Right;
use super::waiting::{Call, Of, Over};
use super::{Desk, github, plain, sender_of, signature};
use crate::channels::{Arrival, Content, NotTaken, Sender, Taken, Written};
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
    right: Right,
    place: Place,
    wait: Option<Duration>,
}

/// A call, read.
struct Message {
    id: String,
    /// What its signature is remembered with.
    call: String,
    /// None: it is nothing for the agent.
    said: Option<Said>,
}

/// What a call says.
struct Said {
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
    // What cannot be a name is none, whatever it is.
    let counted = if plain::is_name(&name) { name.as_str() } else { "" };
    let unsigned = inner.places.unsigned(counted, hook.is_some()).ok_or_else(full)?;
    // Names that nobody made are not counted by name: there is no end of them.
    let chat = hook.as_ref().map_or_else(|| "hook".to_owned(), |hook| hook.chat_id.clone());
    let body = match unsigned.read(&parts.headers, body, (MOST_BODY, inner.limits.unsigned_body)).await {
        Ok(body) => body,
        Err(why) => return Err(unread(desk, &chat, why).await),
    };
    let Some(hook) = hook else {
        signature::check_nobodys(body.sent);
        return Err(stranger(desk, &chat, "unknown-hook").await);
    };
    let checked = match hook.format {
        HookFormat::GitHub => {
            signature::check_github(&hook.secret, text(&parts.headers, signature::GITHUB_HEADER), &body.bytes)
        }
        HookFormat::Plain => {
            let header = text(&parts.headers, signature::HEADER);
            signature::check(&hook.secret, header, now_ms() / 1000, &body.bytes)
        }
    };
    let right = match checked {
        Ok(right) => right,
        Err(reason) => return Err(stranger(desk, &chat, reason).await),
    };
    let Some(place) = inner.places.take(&chat) else { return Err(full()) };
    let wait = wait(parts.uri.query(), &parts.headers).map_err(|(status, why)| error(status, why))?;
    let wait = wait.map(|wait| wait.min(inner.settings.max_wait()));
    Ok(Signed { name, hook, headers: parts.headers, body, right, place, wait })
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
    let message = match call.hook.format {
        HookFormat::Plain => of_plain(&call),
        HookFormat::GitHub => of_github(&call),
    };
    let message = message.map_err(|(status, why)| error(status, why))?;
    let tag = Sha256::digest(&call.right.tag).into();
    let came = admitted(desk, &call, tag, &message).await?;
    let Some(said) = message.said else { return Ok(Json(json!({"status": "ignored"})).into_response()) };
    let Signed { name, hook, place, body, right, wait, .. } = call;
    let chat =
        ChatRef { channel: inner.name.clone(), chat_id: hook.chat_id.clone(), thread_id: said.thread.clone() };
    let wait = match (hook.format, came) {
        // No time is signed, so that a copy is as good as the call; and GitHub waits for nothing.
        (HookFormat::GitHub, _) => None,
        (HookFormat::Plain, Came::New) => wait,
        (HookFormat::Plain, _) => wait.map(|wait| wait.min(right.fresh)),
    };
    let waits = wait.map(|wait| {
        inner.waiting.call(Of {
            book: inner.book.clone(),
            chat: chat.clone(),
            platform_id: message.id.clone(),
            wait,
            look: inner.limits.look,
        })
    });
    if came == Came::Taken {
        drop((place, body));
        return repeated(desk, &chat.chat_id, waits).await;
    }
    let arrival = Arrival {
        chat,
        kind: ChatKind::Direct,
        title: Some(name.clone()),
        platform_id: message.id,
        sender: Sender { id: sender_of(&hook.chat_id), name: said.sender.unwrap_or_else(|| name.clone()) },
        content: Content::Message(Written { text: said.text, addressed: true, ..Written::default() }),
    };
    let place = std::sync::Arc::new(place);
    let status = match handed_in(desk, arrival, (place.clone(), body), (name, tag)).await {
        Ok(Taken::Accepted) => StatusCode::ACCEPTED,
        Ok(Taken::Known) => StatusCode::OK,
        Ok(Taken::Dropped(reason)) => return Err(error(StatusCode::FORBIDDEN, reason)),
        Ok(Taken::Done(words)) => return Ok(Json(json!({ "reply": words })).into_response()),
        Err(why) => return Err(again(StatusCode::SERVICE_UNAVAILABLE, why.to_string())),
    };
    waited(status, waits).await
}

/// Lets a call in that did not come before and is in its webhook's pace, or that comes again as it was. What is nothing for the
/// agent costs none, and is remembered all the same: what says so is not signed.
async fn admitted(desk: &Desk, call: &Signed, tag: [u8; 32], message: &Message) -> Result<Came, Response> {
    let (book, chat) = (&desk.inner.book, &call.hook.chat_id);
    let came = book.came(&call.name, tag, &message.call).await.map_err(|why| not_looked_up(&why))?;
    let is_new = came == Came::New;
    if is_new && message.said.is_some() && !desk.inner.places.in_pace(chat, HOOKS) {
        book.refused(chat, "flood").await;
        return Err(again(StatusCode::TOO_MANY_REQUESTS, "too many calls of this webhook; call again"));
    }
    let admits = match came {
        Came::New => book.admits(&call.name, tag, &message.call).await.map_err(|why| not_looked_up(&why))?,
        Came::Again | Came::Taken => true,
        Came::Copied => false,
    };
    if admits { Ok(came) } else { Err(stranger(desk, chat, "replayed").await) }
}

/// Hands an arrival in, and notes when it was taken, also when the caller leaves.
async fn handed_in(
    desk: &Desk,
    arrival: Arrival,
    keeps: impl Send + 'static,
    (hook, tag): (String, [u8; 32]),
) -> Result<Taken, NotTaken> {
    let desk = desk.clone();
    let task = tokio::spawn(async move {
        let taken = desk.hand_in(arrival, keeps).await;
        // What was dropped may come again when its chat is wired, and what there was no room for.
        if matches!(taken, Ok(Taken::Accepted | Taken::Known | Taken::Done(_))) {
            desk.inner.book.call_taken(&hook, tag).await;
        }
        taken
    });
    task.await.unwrap_or_else(|_| Err(NotTaken::Failed("the message was not taken".to_owned())))
}

/// The answer of a call that was taken before: it waits in a place of those, as a copy holds up no other call.
async fn repeated(desk: &Desk, chat: &str, waits: Option<Call>) -> Result<Response, Response> {
    let place = waits.as_ref().and_then(|_| desk.inner.places.repeat(chat));
    waited(StatusCode::OK, waits.filter(|_| place.is_some())).await
}

async fn waited(status: StatusCode, waits: Option<Call>) -> Result<Response, Response> {
    let so_far = if status == StatusCode::OK { "known" } else { "accepted" };
    let so_far = (status, Json(json!({ "status": so_far }))).into_response();
    let Some(mut waits) = waits else { return Ok(so_far) };
    Ok(match waits.end().await.map_err(|why| not_looked_up(&why))? {
        Over::Said(answer) => Json(json!({ "reply": answer.texts.join("\n\n") })).into_response(),
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
        None => format!("sig-{}", hex(&Sha256::digest(&call.right.tag)[..16])),
    };
    let said = Said { text: plain.text, thread: plain.thread, sender: plain.sender };
    Ok(Message { call: id.clone(), id, said: Some(said) })
}

fn of_github(call: &Signed) -> Result<Message, Wrong> {
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
    let is_wanted = events.is_empty() || events.iter().any(|wanted| wanted == event);
    let told = if is_wanted { github::tell(&call.name, event, &payload) } else { None };
    let said = told.map(|told| Said { text: told.text, thread: told.thread, sender: Some("GitHub".to_owned()) });
    // Its event is not signed.
    Ok(Message { call: format!("{event} {id}"), id, said })
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

/// How long the caller wants to wait: `?wait=SECS`, or `Prefer: wait=SECS` (RFC 7240).
fn wait(query: Option<&str>, headers: &HeaderMap) -> Result<Option<Duration>, Wrong> {
    let asked = query.into_iter().flat_map(|query| query.split('&')).find_map(|part| part.strip_prefix("wait="));
    let seconds =
        match asked {
            Some(said) => Some(said.parse().map_err(|_| {
                (StatusCode::BAD_REQUEST, "`wait` is a number of seconds, such as wait=60".to_owned())
            })?),
            // What is wrong in a preference is left out (RFC 7240).
            None => {
                let prefers = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
                let mut parts = prefers.flat_map(|value| value.split([',', ';']));
                parts.find_map(|part| part.trim().strip_prefix("wait=")?.parse::<u32>().ok())
            }
        };
    Ok(seconds.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_asked_for_in_the_query_or_as_a_preference() {
        let with = |prefer: &str| [("prefer".parse().unwrap(), prefer.parse().unwrap())].into_iter().collect();
        let secs = |query, headers: &HeaderMap| wait(query, headers).unwrap().map(|wait| wait.as_secs());
        assert_eq!(secs(Some("a=b&wait=7"), &HeaderMap::new()), Some(7));
        assert_eq!(secs(None, &with("respond-async, wait=9")), Some(9));
        for query in [None, Some("wait=0"), Some("await=3")] {
            assert_eq!(secs(query, &HeaderMap::new()), None, "{query:?}");
        }
        for query in ["wait=-1", "wait=x", "wait="] {
            assert!(wait(Some(query), &HeaderMap::new()).is_err(), "{query}");
        }
        assert_eq!(secs(None, &with("wait=x")), None);
    }
}
