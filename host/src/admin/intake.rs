//! How many of people's messages are taken in at once. Who comes when all places are taken waits; after a while it is
//! told to come again, and nothing was accepted. So a flood waits where it comes from, not in our memory.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, Request};
use cofferdam_protocol::admin::{ChatRequest, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error::Failed;

/// Messages that are read and accepted at once. Each may take 2 MiB while it is parsed; one that is accepted is on the
/// disk, and a disk has no more to do at once than one group commit of these.
const ACCEPTED_AT_ONCE: usize = 32;
/// Messages whose senders wait for the answer at once; each takes some 45 KiB, its connection included. Only sending
/// waits: whoever looks after the daemon is let in.
const FOLLOWED_AT_ONCE: usize = 1024;
/// How long a client waits for a place before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client may take to send its message.
const SLOWEST: Duration = Duration::from_secs(30);

/// The places.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    accepted: Arc<Semaphore>,
    followed: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Intake {
    fn default() -> Self {
        Self::new(ACCEPTED_AT_ONCE, FOLLOWED_AT_ONCE, PATIENCE)
    }
}

impl Intake {
    fn new(accepted: usize, followed: usize, patience: Duration) -> Self {
        Self {
            accepted: Arc::new(Semaphore::new(accepted)),
            followed: Arc::new(Semaphore::new(followed)),
            patience,
        }
    }

    async fn place(&self, of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failed> {
        match timeout(self.patience, of.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            // Never closed.
            Ok(Err(_)) | Err(_) => Err(Failed::busy("too many messages are being sent at once")),
        }
    }
}

/// A message that was read, and its places: the first until it is accepted, the second until it was followed.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) request: ChatRequest,
    pub(super) accepting: OwnedSemaphorePermit,
    pub(super) following: OwnedSemaphorePermit,
}

impl<S: Send + Sync> FromRequest<S> for Admitted {
    type Rejection = axum::response::Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        use axum::response::IntoResponse;
        let intake = request.extensions().get::<Intake>().cloned().unwrap_or_default();
        // Before a byte of the body is read: what waits here waits in the client.
        let following = intake.place(&intake.followed).await.map_err(IntoResponse::into_response)?;
        let accepting = intake.place(&intake.accepted).await.map_err(IntoResponse::into_response)?;
        match timeout(SLOWEST, Json::from_request(request, state)).await {
            Ok(Ok(Json(request))) => Ok(Self { request, accepting, following }),
            Ok(Err(refusal)) => Err(refusal.into_response()),
            Err(_) => {
                let seconds = SLOWEST.as_secs();
                let message = format!("the message did not arrive within {seconds} s");
                Err(Failed::new(ErrorKind::Usage, message, "send it again").into_response())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;
    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;

    fn request(intake: &Intake, body: impl Into<Body>) -> Request {
        let mut request = Request::post("/v1/chat").header("content-type", "application/json");
        if let Some(extensions) = request.extensions_mut() {
            extensions.insert(intake.clone());
        }
        request.body(body.into()).unwrap()
    }

    fn message(intake: &Intake) -> Request {
        request(intake, r#"{"group": "demo", "message_id": "1", "sender": "me", "text": "hi"}"#)
    }

    async fn taken(request: Request) -> Result<Admitted, StatusCode> {
        Admitted::from_request(request, &()).await.map_err(|refusal| refusal.status())
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_to_a_full_house_waits_and_is_told_to_come_again() {
        let intake = Intake::new(1, 9, PATIENCE);
        let first = taken(message(&intake)).await.unwrap();
        assert_eq!(taken(message(&intake)).await.unwrap_err(), StatusCode::SERVICE_UNAVAILABLE);
        let second = tokio::spawn(taken(message(&intake)));
        tokio::task::yield_now().await;
        assert!(!second.is_finished(), "it waits");
        drop(first.accepting);
        assert_eq!(second.await.unwrap().unwrap().request.text, "hi", "as soon as the first is on the disk");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_read_of_a_message_that_waits() {
        let intake = Intake::new(1, 1, PATIENCE);
        let _first = taken(message(&intake)).await.unwrap();
        let read = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = read.clone();
        let body = futures_util::stream::once(async move {
            seen.store(true, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::new())
        });
        assert!(taken(request(&intake, Body::from_stream(body))).now_or_never().is_none());
        assert!(!read.load(std::sync::atomic::Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_in_the_middle_does_not_keep_its_place() {
        let intake = Intake::new(1, 9, 2 * SLOWEST);
        let stuck = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let (stuck, next) = tokio::join!(taken(request(&intake, stuck)), taken(message(&intake)));
        assert_eq!(stuck.unwrap_err(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(next.unwrap().request.text, "hi");
    }
}
