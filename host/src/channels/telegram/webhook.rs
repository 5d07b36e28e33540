//! Has Telegram call us. What it posts is taken before it is answered; what cannot be taken now it posts again by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State as Shared};
use axum::http::{Method, StatusCode};
use frankenstein::methods::SetWebhookParams;
use http_body_util::LengthLimitError;
use serde_json::Value;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::{OwnedMutexGuard, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::socket::{self, Bounds};
use super::Inner;
use super::poll::{Leftovers, WANTED};
use super::seen::{self, Moving, Refused, TOO_LARGE, UNREADABLE};
use super::settings::Webhook;
use super::taking::{Taking, Task};
use super::watch::{Over, Watch};
use super::wire::Me;
use crate::channels::{Intake, Pauses};
use crate::model::chat::ChatRef;

/// What Telegram calls its secret.
const SECRET: &str = "x-telegram-bot-api-secret-token";
/// The largest body that is read, in bytes.
const MAX_BODY: usize = 256 * 1024;
/// How long a body may take.
const READING: Duration = Duration::from_secs(10);
/// The most calls at once, ours to bound; Telegram is asked to make fewer.
const AT_ONCE: usize = 64;
const FROM_TELEGRAM: u32 = 40;
/// Whoever finds the address can connect.
const CONNECTIONS: Bounds =
    Bounds { connections: 256, head: Some(Duration::from_secs(30)), untaken: Duration::from_secs(30) };
/// How long calls that are under way get at the end, and how long a call of ours may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// A webhook that stood for so long was lost to something new.
const STOOD: Duration = Duration::from_secs(120);

struct Hook {
    name: String,
    me: Me,
    taking: Taking,
    secret: String,
    /// The path that Telegram posts to.
    path: String,
    /// How many calls were taken.
    taken: watch::Sender<u64>,
    slots: Semaphore,
    chats: Mutex<HashMap<ChatRef, Arc<tokio::sync::Mutex<()>>>>,
}

/// Until the stop, or until a person is needed.
pub(super) async fn run(
    inner: Arc<Inner>,
    webhook: Webhook,
    intake: Arc<dyn Intake>,
    me: Me,
    stop: CancellationToken,
) {
    let ends = stop.child_token();
    let leftovers = Leftovers::new(inner.clone(), intake.clone(), me.clone(), ends.clone());
    let leftovers = tokio::spawn(leftovers.take());
    let taking = inner.taking(intake);
    let hook = Arc::new(Hook {
        name: inner.name.clone(),
        me,
        taking,
        // Hexadecimal, which Telegram allows; new at every start.
        secret: format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()),
        path: webhook.url.path().to_owned(),
        taken: watch::Sender::new(0),
        slots: Semaphore::new(AT_ONCE),
        chats: Mutex::default(),
    });
    let mut pauses = Pauses::default();
    loop {
        let since = Instant::now();
        let Some(why) = serve(&inner, &webhook, hook.clone(), &stop).await else { break };
        if since.elapsed() > STOOD {
            pauses.reset();
        }
        if !pauses.wait(&inner.name, &inner.standing, (why, None), &stop).await {
            break;
        }
    }
    ends.cancel();
    let _ = leftovers.await;
}

/// Listens, and tells Telegram so. Answers what went wrong, if it is to be tried again.
async fn serve(inner: &Arc<Inner>, webhook: &Webhook, hook: Arc<Hook>, stop: &CancellationToken) -> Option<String> {
    let listener = match TcpListener::bind(webhook.listen).await {
        Ok(listener) => listener,
        Err(error) => return Some(format!("cannot listen at {} for Telegram's calls: {error}", webhook.listen)),
    };
    let ends = stop.child_token();
    // No route: what a path may have means something there.
    let app = Router::new().fallback(called).with_state(hook.clone());
    let server = tokio::spawn(socket::serve(listener, CONNECTIONS, app, ends.clone()));
    let failed = match tell(inner, webhook, &hook.secret, stop).await {
        Told::Yes => match (Watch { inner, stop, taken: hook.taken.subscribe() }).run().await {
            Over::End => None,
            Over::Lost(why) => Some(why),
        },
        Told::End => None,
        Told::Failed(why) => Some(why),
    };
    ends.cancel();
    let abort = server.abort_handle();
    if tokio::time::timeout(PATIENCE, server).await.is_err() {
        abort.abort();
    }
    failed
}

enum Told {
    Yes,
    End,
    Failed(String),
}

async fn tell(inner: &Inner, webhook: &Webhook, secret: &str, stop: &CancellationToken) -> Told {
    let params = SetWebhookParams::builder()
        .url(webhook.url.as_str())
        .max_connections(FROM_TELEGRAM)
        .allowed_updates(WANTED.to_vec())
        .secret_token(secret)
        .build();
    let told = tokio::select! {
        () = stop.cancelled() => return Told::End,
        told = inner.api.call::<bool>("setWebhook", &params, PATIENCE) => told,
    };
    match told {
        Ok(_) => Told::Yes,
        Err(failure) if failure.is_bad_token() => {
            inner.stopped();
            Told::End
        }
        Err(failure) => Told::Failed(failure.to_string()),
    }
}

/// One call of Telegram's, or of somebody who pretends to be.
async fn called(Shared(hook): Shared<Arc<Hook>>, request: Request) -> StatusCode {
    if request.uri().path() != hook.path {
        return StatusCode::NOT_FOUND;
    }
    if request.method() != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED;
    }
    let said = request.headers().get(SECRET).map(|value| value.as_bytes()).unwrap_or_default();
    if !bool::from(said.ct_eq(hook.secret.as_bytes())) {
        hook.taking.intake.refused("webhook", "wrong-secret").await;
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(_slot) = hook.slots.try_acquire() else { return StatusCode::SERVICE_UNAVAILABLE };
    let update = match read(request.into_body()).await {
        Ok(update) => update,
        Err(Unread::Late) => return StatusCode::REQUEST_TIMEOUT,
        Err(Unread::Never(reason)) => {
            tracing::warn!(channel = hook.name, reason, "an update is passed over");
            hook.taking.intake.refused(Refused::NOWHERE, reason).await;
            return StatusCode::OK;
        }
    };
    let id = update.get("update_id").and_then(Value::as_i64);
    let bytes = update.to_string().len();
    // What cannot be read now cannot be read later.
    let update = seen::read(&hook.name, &hook.me, id, &update, bytes);
    let Some(task) = Task::of(update, hook.taking.intake.as_ref()).await else { return StatusCode::OK };
    // A caller that leaves does not end the taking.
    let own = hook.clone();
    let taken = tokio::spawn(async move {
        let _alone = own.alone(&task.chat(&own.name)).await;
        // A group's move is told in both; what follows in the new one is behind this.
        let _there = match &task {
            Task::Move(moving) => Some(own.alone(&there(&own.name, moving)).await),
            Task::Take(..) => None,
        };
        own.taking.done(task).await
    });
    match taken.await {
        Ok(Ok(())) => {
            hook.taken.send_modify(|taken| *taken += 1);
            StatusCode::OK
        }
        Ok(Err(why)) => {
            tracing::warn!(update = id, %why, "not taken; Telegram sends it again");
            StatusCode::SERVICE_UNAVAILABLE
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn there(channel: &str, moving: &Moving) -> ChatRef {
    ChatRef { channel: channel.to_owned(), chat_id: moving.to.to_string(), thread_id: None }
}

/// Why there is no update in a call.
enum Unread {
    Late,
    /// It will be the same the next time, and Telegram would hold back what follows; why, as it is counted.
    Never(&'static str),
}

async fn read(body: Body) -> Result<Value, Unread> {
    let body = tokio::time::timeout(READING, to_bytes(body, MAX_BODY)).await;
    let body =
        body.map_err(|_| Unread::Late)?.map_err(|error| match error.into_inner().is::<LengthLimitError>() {
            true => Unread::Never(TOO_LARGE),
            // It broke off on its way.
            false => Unread::Late,
        })?;
    serde_json::from_slice(&body).map_err(|_| Unread::Never(UNREADABLE))
}

impl Hook {
    /// One of a chat after the other.
    async fn alone(&self, chat: &ChatRef) -> OwnedMutexGuard<()> {
        let alone = {
            let mut chats = self.chats.lock().unwrap_or_else(PoisonError::into_inner);
            chats.retain(|_, alone| Arc::strong_count(alone) > 1);
            chats.entry(chat.clone()).or_default().clone()
        };
        alone.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_breaks_off_comes_again_and_one_that_is_too_large_does_not() {
        let pieces = [Ok("{"), Err(std::io::Error::other("gone"))];
        let broken = read(Body::from_stream(futures_util::stream::iter(pieces))).await;
        assert!(matches!(broken, Err(Unread::Late)));
        let large = read(Body::from(vec![b' '; MAX_BODY + 1])).await;
        assert!(matches!(large, Err(Unread::Never(TOO_LARGE))));
        assert!(matches!(read(Body::from("no")).await, Err(Unread::Never(UNREADABLE))));
    }
}
