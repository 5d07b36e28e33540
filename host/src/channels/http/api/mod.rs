//! An API that OpenAI's clients speak: chat completions and responses, whose model is an agent.

mod asked;
mod chat;
mod content;
mod conversation;
mod error;
mod origins;
mod params;
mod recent;
mod responses;
mod said;
mod stream;
mod usage;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use cofferdam_protocol::runner::Usage;
use serde_json::{Value, json};
use uuid::Uuid;

use self::asked::Asked;
use self::chat::Completion;
use self::conversation::{Shelf, Thread};
use self::error::ApiError;
use self::stream::{Noted, Script};
use super::book::{Key, Stand};
use super::places::{Bytes, KEYS, Unread};
use super::waiting::{Of, Over};
use super::{Desk, keys, sender_of};
use crate::channels::{Arrival, Content, Offered, Sender, Taken, Written};
use crate::clock::now_ms;
use crate::model::chat::{ChatKind, ChatRef};

pub(super) use self::recent::Recent;

/// The largest body, in bytes: with its files.
const MOST_BODY: usize = 20 * 1024 * 1024;
/// The most values in a body: parsed, each takes up to 72 bytes, whatever it takes in JSON.
const MOST_VALUES: usize = 300_000;
/// What callers may say instead of their key's model.
const DEFAULT: &str = "default";

/// Which API a call came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Chat,
    Responses,
}

type Answer = Result<Response, ApiError>;

/// Its routes; pages of these origins may call them from browsers.
pub(super) fn routes(origins: &[String]) -> Router<Desk> {
    let routes = Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{*id}", get(model))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/responses", post(respond))
        .route("/v1/responses/{id}", get(response))
        .route("/v1/{*path}", any(nowhere))
        .method_not_allowed_fallback(no_method);
    let routes = match origins::layer(origins) {
        Some(layer) => routes.route_layer(layer),
        None => routes,
    };
    routes.fallback(nowhere)
}

async fn nowhere(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::not_found("unknown_url", format!("There is nothing at {method} {path}."))
}

async fn no_method(method: Method) -> ApiError {
    let message = format!("{method} is not done here.");
    ApiError { status: StatusCode::METHOD_NOT_ALLOWED, ..ApiError::not_found("method_not_allowed", message) }
}

/// Whose key a call has. The work is the same whatever is wrong with it.
async fn key_of(desk: &Desk, headers: &HeaderMap) -> Result<Key, ApiError> {
    let inner = &desk.inner;
    if inner.stopping.is_cancelled() {
        return Err(ApiError::unavailable("Cofferdam is ending; call again"));
    }
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split_once(' ')).filter(|(how, _)| how.eq_ignore_ascii_case("bearer"));
    let given = given.map_or("", |(_, key)| key.trim());
    let known = inner.book.key(keys::hash_of(given)).await.map_err(|why| ApiError::book(&why))?;
    let known = known.filter(|_| keys::has_form(given));
    let (chat, reason, message) = match known {
        None if given.is_empty() => {
            ("key".to_owned(), "no-key", "No API key was given: send it as 'Authorization: Bearer cfd_…'.")
        }
        None => ("key".to_owned(), "wrong-key", "The API key is not right."),
        Some(key) if key.revoked => (key.chat_id, "revoked-key", "The API key was taken back."),
        Some(key) if key.expires_at.is_some_and(|until| until <= now_ms()) => {
            (key.chat_id, "expired-key", "The API key is no longer good: its time is over.")
        }
        Some(key) => {
            inner.book.used(&key.name).await;
            return Ok(key);
        }
    };
    inner.book.refused(&chat, reason).await;
    Err(ApiError::unauthorized(message))
}

fn model_of(desk: &Desk, key: &Key) -> Value {
    json!({"id": key.model, "object": "model", "created": desk.inner.began, "owned_by": "cofferdam"})
}

async fn models(State(desk): State<Desk>, headers: HeaderMap) -> Answer {
    let key = key_of(&desk, &headers).await?;
    Ok(Json(json!({"object": "list", "data": [model_of(&desk, &key)]})).into_response())
}

async fn model(State(desk): State<Desk>, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let key = key_of(&desk, &headers).await?;
    counted(&desk, &key.chat_id, is_model(&key, &id)).await?;
    Ok(Json(model_of(&desk, &key)).into_response())
}

fn is_model(key: &Key, named: &str) -> Result<(), ApiError> {
    if named == key.model || named == DEFAULT {
        return Ok(());
    }
    let named: String = named.chars().take(100).collect();
    let message = format!("The model '{named}' does not exist for this key, whose model is '{}'.", key.model);
    Err(ApiError { param: Some("model".to_owned()), ..ApiError::not_found("model_not_found", message) })
}

async fn response(State(desk): State<Desk>, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let key = key_of(&desk, &headers).await?;
    let found = found(&desk, &key, &id).await;
    counted(&desk, &key.chat_id, found).await
}

async fn found(desk: &Desk, key: &Key, id: &str) -> Answer {
    let unknown = || ApiError::not_found("response_not_found", "There is no response with this id.");
    let (thread, message) = conversation::parts(id).ok_or_else(unknown)?;
    let chat = ChatRef {
        channel: desk.inner.name.clone(),
        chat_id: key.chat_id.clone(),
        thread_id: Some(thread.to_owned()),
    };
    let stand = desk.inner.book.answer(&chat, &message.simple().to_string()).await;
    let mut response = object(key, thread, &message);
    response.metadata = json!({});
    Ok(Json(match stand.map_err(|why| ApiError::book(&why))? {
        Stand::Unknown => return Err(unknown()),
        Stand::Waiting | Stand::Running(_) => response.in_progress(),
        Stand::Said(answer) | Stand::Asks(answer) => response.completed(&answer.texts.join("\n\n"), answer.usage),
        Stand::Failed(notice) => response.failed(&notice),
    })
    .into_response())
}

async fn chat(State(desk): State<Desk>, request: Request) -> Answer {
    create(desk, Api::Chat, request).await
}

async fn respond(State(desk): State<Desk>, request: Request) -> Answer {
    create(desk, Api::Responses, request).await
}

async fn create(desk: Desk, api: Api, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let key = key_of(&desk, &parts.headers).await?;
    let chat = key.chat_id.clone();
    let inner = &desk.inner;
    if !inner.places.in_pace(&chat, KEYS) {
        inner.book.refused(&chat, "flood").await;
        return Err(ApiError::too_many("Too many calls of this key."));
    }
    let Some(place) = inner.places.take(&chat) else {
        inner.book.refused(&chat, "too-many-calls").await;
        return Err(ApiError::too_many("Too many calls of this key, or of all, at once."));
    };
    let place = Arc::new(place);
    let body = read(&desk, &chat, &parts.headers, body).await?;
    let asked = asked(api, &key, &parts.headers, &body);
    let mut asked = counted(&desk, &chat, asked).await?;
    let shelf = Shelf { book: inner.book.clone(), chat: chat.clone() };
    let whose = shelf.whose(&asked, &inner.recent, (&parts.headers, parts.uri.path(), &body.bytes)).await;
    let (thread, message) = counted(&desk, &chat, whose).await?;
    let files = inner.files.hold(std::mem::take(&mut asked.files));
    let arrival = arrival(&desk, &key, (&thread, &message), &asked, files.offered.clone());
    let call = inner.waiting.call(Of {
        book: inner.book.clone(),
        chat: arrival.chat.clone(),
        platform_id: arrival.platform_id.clone(),
        wait: inner.settings.max_wait(),
        look: inner.limits.look,
    });
    let script = script(api, &key, &thread.id, (&message, &asked));
    let (streams, prints) = (asked.stream, asked.prints());
    drop(asked);
    match desk.hand_in(arrival, (files, body, place.clone())).await {
        Ok(Taken::Accepted) => unnoted(shelf.taken(&thread.id, &prints).await),
        Ok(Taken::Known) => unnoted(shelf.known(&thread.id, &prints).await),
        Ok(Taken::Dropped(reason)) => return Err(ApiError::dropped(reason)),
        Ok(Taken::Done(words)) if streams => return Ok(script.at_once(&words)),
        Ok(Taken::Done(words)) => return Ok(whole(&script, &words, Usage::default())),
        Err(why) => return Err(ApiError::unavailable(why.to_string())),
    }
    let noted = Noted { shelf, thread: thread.id, prints };
    if streams {
        return Ok(stream::answer(script, (call, noted), inner.limits.keep_alive, place));
    }
    waited(script, call, noted).await
}

/// Counts what a key may not see: another's model, and another's conversation. Nobody learns whether it is there.
async fn counted<T>(desk: &Desk, chat: &str, looked: Result<T, ApiError>) -> Result<T, ApiError> {
    let reason = match looked.as_ref().err().and_then(|error| error.code) {
        Some("model_not_found") => Some("wrong-model"),
        Some("response_not_found" | "previous_response_not_found") => Some("wrong-response"),
        _ => None,
    };
    if let Some(reason) = reason {
        desk.inner.book.refused(chat, reason).await;
    }
    looked
}

/// The message is taken all the same: an error would have the caller send it twice. Its conversation goes on in another
/// thread.
fn unnoted(noted: Result<(), ApiError>) {
    if let Err(error) = noted {
        tracing::warn!(error = error.message, "a conversation's end was not noted");
    }
}

/// What a body asks of the key's agent.
fn asked(api: Api, key: &Key, headers: &HeaderMap, body: &Bytes) -> Result<Asked, ApiError> {
    let values = body.bytes.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    if values > MOST_VALUES {
        return Err(ApiError::unreadable("The body has too many values."));
    }
    let request: Value = serde_json::from_slice(&body.bytes)
        .map_err(|error| ApiError::unreadable(format!("The body is not the JSON that is expected: {error}.")))?;
    let named = request["model"].as_str().ok_or_else(|| ApiError::bad("model", "'model' is missing"))?;
    is_model(key, named)?;
    match api {
        Api::Chat => chat::read(headers, &request),
        Api::Responses => responses::read(headers, &request),
    }
}

fn arrival(
    desk: &Desk,
    key: &Key,
    (thread, message): (&Thread, &Uuid),
    asked: &Asked,
    files: Vec<Offered>,
) -> Arrival {
    let written = Written {
        text: asked.text(thread.begins),
        quote: None,
        addressed: true,
        files,
        output_schema: asked.schema.clone(),
    };
    Arrival {
        chat: ChatRef {
            channel: desk.inner.name.clone(),
            chat_id: key.chat_id.clone(),
            thread_id: Some(thread.id.clone()),
        },
        kind: ChatKind::Direct,
        title: Some(key.name.clone()),
        platform_id: message.simple().to_string(),
        sender: Sender { id: sender_of(&key.chat_id), name: key.name.clone() },
        content: Content::Message(written),
    }
}

/// The answer of a call without a stream.
async fn waited(script: Script, mut call: super::waiting::Call, noted: Noted) -> Answer {
    let over = call.end().await.map_err(|why| ApiError::book(&why))?;
    let Over::Said(answer) = &over else {
        noted.end(Err(&over)).await?;
        return Err(ApiError::late());
    };
    let text = answer.texts.join("\n\n");
    unnoted(noted.end(Ok(&text)).await);
    Ok(whole(&script, &text, answer.usage))
}

fn whole(script: &Script, text: &str, usage: Usage) -> Response {
    Json(match script {
        Script::Chat(completion) => completion.whole(text, usage),
        Script::Responses(response) => response.completed(text, usage),
    })
    .into_response()
}

fn script(api: Api, key: &Key, thread: &str, (message, asked): (&Uuid, &Asked)) -> Script {
    match api {
        Api::Chat => Script::Chat(Completion {
            id: format!("chatcmpl-{}", message.simple()),
            created: conversation::created(message).unwrap_or_else(|| now_ms() / 1000),
            model: key.model.clone(),
            include_usage: asked.include_usage,
        }),
        Api::Responses => Script::Responses(responses::Response {
            previous: asked.previous.clone(),
            metadata: asked.metadata.clone(),
            ..object(key, thread, message)
        }),
    }
}

fn object(key: &Key, thread: &str, message: &Uuid) -> responses::Response {
    responses::Response {
        id: conversation::response_id(thread, message),
        message: format!("msg_{}", message.simple()),
        created: conversation::created(message).unwrap_or_else(|| now_ms() / 1000),
        model: key.model.clone(),
        previous: None,
        metadata: Value::Null,
        sequence: 0,
    }
}

async fn read(desk: &Desk, chat: &str, headers: &HeaderMap, body: axum::body::Body) -> Result<Bytes, ApiError> {
    let inner = &desk.inner;
    let (reason, error) = match inner.places.read(headers, body, (MOST_BODY, inner.limits.body)).await {
        Ok(body) => return Ok(body),
        Err(Unread::TooLarge) => ("too-large", ApiError::too_large("The body is larger than 20 MiB.")),
        Err(Unread::TooSlow) => ("too-slow", ApiError::too_slow()),
        Err(Unread::NoRoom) => ("too-much", ApiError::too_many("Too much is being sent at once.")),
        Err(Unread::Broken) => ("broken", ApiError::unreadable("The body ended early.")),
    };
    inner.book.refused(chat, reason).await;
    Err(error)
}
