//! How many of people's messages are taken in at once, shared out over groups. Who comes when its group has all places
//! that it may have waits; after a while it is told to come again, and nothing was accepted. So a flood waits where it
//! comes from, not in our memory, and a group's flood is nobody else's.
//!
//! The call names the message's group, so that it is known before a byte of the message is read.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Query, Request};
use axum::response::{IntoResponse, Response};
use cofferdam_protocol::admin::{ChatRequest, ErrorKind};
use cofferdam_protocol::ids::Folder;
use serde::Deserialize;
use tokio::time::timeout;

use super::Admin;
use super::error::Failed;
use crate::channels::terminal;
use crate::fair::{Bounds, Fair, Place};

/// Messages that are read and accepted at once. Each may take 2 MiB while it is parsed: 64 MiB, and 2 MiB for each
/// group more that writes when others have all. One that is accepted is on the disk, and a disk has no more to do at once
/// than one group commit of these.
const ACCEPTED: Bounds = Bounds { own: 1, group: 8, whole: 32, line: LINE };
/// Messages whose senders wait for the answer at once; each takes some 45 KiB, its connection included: 45 MiB, and
/// 180 KiB for each group that writes. Only sending waits: whoever looks after the daemon is let in.
const FOLLOWED: Bounds = Bounds { own: 4, group: 256, whole: 1024, line: LINE };
/// Senders of one group that wait for a place. The next is told to come again at once.
const LINE: usize = 1024;
/// How long a client waits for a place before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client may take to send its message.
const SLOWEST: Duration = Duration::from_secs(30);

/// Whose place it is. Names that are no group's share what one group may have.
type Whose = Option<Folder>;

/// The places.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    accepted: Fair<Whose, ()>,
    followed: Fair<Whose, ()>,
    patience: Duration,
}

impl Default for Intake {
    fn default() -> Self {
        Self::new(ACCEPTED, FOLLOWED, PATIENCE)
    }
}

impl Intake {
    fn new(accepted: Bounds, followed: Bounds, patience: Duration) -> Self {
        Self { accepted: Fair::new(accepted), followed: Fair::new(followed), patience }
    }

    /// Waits for a message's places, and then for the message.
    async fn admit(&self, group: Folder, whose: Whose, request: Request) -> Result<Admitted, Refusal> {
        // Before a byte of the body is read: what waits here waits in the client.
        let following = self.place(&self.followed, &group, &whose, "wait for their answers").await?;
        let accepting = self.place(&self.accepted, &group, &whose, "are being sent").await?;
        match timeout(SLOWEST, Json::<ChatRequest>::from_request(request, &())).await {
            Ok(Ok(Json(request))) if request.group == group => Ok(Admitted { request, accepting, following }),
            Ok(Ok(Json(request))) => Err(another(&group, &request.group).into()),
            Ok(Err(rejection)) => Err(Refusal::Unreadable(rejection)),
            Err(_) => {
                let seconds = SLOWEST.as_secs();
                let message = format!("the message did not arrive within {seconds} s");
                Err(Failed::new(ErrorKind::Usage, message, "send it again").into())
            }
        }
    }

    async fn place(
        &self,
        of: &Fair<Whose, ()>,
        group: &Folder,
        whose: &Whose,
        what: &str,
    ) -> Result<Place, Failed> {
        match timeout(self.patience, of.take(whose.clone(), (), 1)).await {
            Ok(Some(place)) => Ok(place),
            Ok(None) | Err(_) => {
                let taken = of.taken(whose);
                let message = format!(
                    "{} messages to the group '{group}' {what} already, {} to all groups: no more are taken in just now",
                    taken.group, taken.all
                );
                let hint = "nothing was accepted; send it again when some are answered, or end a turn that takes too \
                            long with `cofferdam session stop`";
                Err(Failed::new(ErrorKind::Daemon, message, hint))
            }
        }
    }
}

/// A call's group is not its message's.
fn another(named: &Folder, group: &Folder) -> Failed {
    let message = format!("the call names the group '{named}', and its message is for '{group}'");
    Failed::new(ErrorKind::Usage, message, "nothing was accepted; name the message's group in the call")
}

/// A message that was read, and its places: the first until it is accepted, the second until it was followed.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) request: ChatRequest,
    pub(super) accepting: Place,
    pub(super) following: Place,
}

/// Why a message was not taken in.
#[derive(Debug)]
pub(super) enum Refusal {
    Failed(Failed),
    /// It is none.
    Unreadable(JsonRejection),
}

impl From<Failed> for Refusal {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Failed(failed) => failed.into_response(),
            Self::Unreadable(rejection) => rejection.into_response(),
        }
    }
}

/// What a call says before its message.
#[derive(Deserialize)]
struct Named {
    group: Folder,
}

impl FromRequest<Arc<Admin>> for Admitted {
    type Rejection = Refusal;

    async fn from_request(request: Request, admin: &Arc<Admin>) -> Result<Self, Refusal> {
        let intake = request.extensions().get::<Intake>().cloned().unwrap_or_default();
        let Query(Named { group }) = Query::try_from_uri(request.uri()).map_err(|error| {
            let message = format!("the call does not name its message's group: {error}");
            let hint = "use the `cofferdam` of the daemon's version, or call `POST /v1/chat?group=GROUP`";
            Failed::new(ErrorKind::Usage, message, hint)
        })?;
        let wirings = admin.stores.central().wirings_of(terminal::NAME, group.as_str()).await;
        let whose = wirings.map_err(Failed::from)?.into_iter().next().map(|wiring| wiring.folder);
        intake.admit(group, whose, request).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::body::Body;
    use axum::http::StatusCode;
    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;

    fn few(own: u32, group: u32, whole: u32) -> Bounds {
        Bounds { own, group, whole, line: LINE }
    }

    const MANY: Bounds = Bounds { own: 0, group: 9, whole: 9, line: LINE };

    fn message(group: &str) -> Body {
        format!(r#"{{"group": "{group}", "message_id": "1", "sender": "me", "text": "hi"}}"#).into()
    }

    async fn sent(intake: &Intake, group: &str, body: Body) -> Result<Admitted, StatusCode> {
        let request = Request::post("/v1/chat").header("content-type", "application/json").body(body).unwrap();
        let group: Folder = group.parse().unwrap();
        let admitted = intake.admit(group.clone(), Some(group), request).await;
        admitted.map_err(|refusal| refusal.into_response().status())
    }

    async fn taken(intake: &Intake, group: &str) -> Result<Admitted, StatusCode> {
        sent(intake, group, message(group)).await
    }

    fn endless() -> Body {
        Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>())
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_to_a_full_house_waits_and_is_told_to_come_again() {
        let intake = Intake::new(few(0, 1, 1), MANY, PATIENCE);
        let first = taken(&intake, "demo").await.unwrap();
        assert_eq!(taken(&intake, "demo").await.unwrap_err(), StatusCode::SERVICE_UNAVAILABLE);
        let again = intake.clone();
        let second = tokio::spawn(async move { taken(&again, "demo").await });
        tokio::task::yield_now().await;
        assert!(!second.is_finished(), "it waits");
        drop(first.accepting);
        assert_eq!(second.await.unwrap().unwrap().request.text, "hi", "as soon as the first is on the disk");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_is_told_how_many_wait_and_what_to_do() {
        let intake = Intake::new(MANY, few(1, 1, 2), PATIENCE);
        let _held = [taken(&intake, "noisy").await.unwrap(), taken(&intake, "noisy").await.unwrap()];
        let _other = taken(&intake, "other").await.unwrap();
        let group: Folder = "noisy".parse().unwrap();
        let refused = intake.place(&intake.followed, &group, &Some(group.clone()), "wait for their answers").await;
        let Failed(body) = refused.unwrap_err();
        assert_eq!(
            body.message,
            "2 messages to the group 'noisy' wait for their answers already, 3 to all groups: no more are taken in just now"
        );
        assert!(body.hint.unwrap().contains("nothing was accepted; send it again"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_noisy_group_keeps_nobody_else_out() {
        let intake = Intake::default();
        let mut noisy = Vec::new();
        while let Some(next) = taken(&intake, "noisy").now_or_never() {
            // Accepted, and its turn is long.
            noisy.push(next.unwrap().following);
        }
        assert_eq!(noisy.len(), 4 + 256);
        assert!(taken(&intake, "quiet").now_or_never().is_some());
        // Also when there are many of its kind.
        let mut others = Vec::new();
        for other in ["b", "c", "d", "e"] {
            while let Some(next) = taken(&intake, other).now_or_never() {
                others.push(next.unwrap().following);
            }
        }
        assert_eq!(noisy.len() + others.len(), 1024 + 5 * 4);
        let quiet: Vec<_> = std::iter::from_fn(|| taken(&intake, "quiet").now_or_never()).take(9).collect();
        assert_eq!(quiet.len(), 4, "a few are let in beyond all bounds");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_messages_of_one_group_hold_up_no_other() {
        let intake = Intake::default();
        let mut slow: Vec<_> = (0..40).map(|_| Box::pin(sent(&intake, "slow", endless()))).collect();
        for one in &mut slow {
            assert!(one.as_mut().now_or_never().is_none());
        }
        assert_eq!(intake.accepted.taken(&Some("slow".parse().unwrap())).group, 9);
        assert!(taken(&intake, "quick").now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn names_of_no_group_have_one_groups_places_together() {
        let intake = Intake::default();
        let mut places = Vec::new();
        for number in 0..300 {
            let name = format!("nobody-{number}");
            let request = Request::post("/v1/chat").header("content-type", "application/json");
            let request = request.body(message(&name)).unwrap();
            let admitted = intake.admit(name.parse().unwrap(), None, request).now_or_never();
            places.extend(admitted.map(|admitted| admitted.unwrap().following));
        }
        assert_eq!(places.len(), 4 + 256);
    }

    #[tokio::test]
    async fn a_message_for_another_group_than_the_call_names_is_refused() {
        let intake = Intake::default();
        assert_eq!(sent(&intake, "a", message("b")).await.unwrap_err(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(intake.followed.taken(&Some("a".parse().unwrap())).all, 0, "it keeps no place");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_read_of_a_message_that_waits() {
        let intake = Intake::new(few(0, 1, 1), MANY, PATIENCE);
        let _first = taken(&intake, "demo").await.unwrap();
        let read = Arc::new(AtomicBool::new(false));
        let seen = read.clone();
        let body = futures_util::stream::once(async move {
            seen.store(true, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::new())
        });
        assert!(sent(&intake, "demo", Body::from_stream(body)).now_or_never().is_none());
        assert!(!read.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_in_the_middle_does_not_keep_its_place() {
        let intake = Intake::new(few(0, 1, 1), MANY, 2 * SLOWEST);
        let (stuck, next) = tokio::join!(sent(&intake, "demo", endless()), taken(&intake, "demo"));
        assert_eq!(stuck.unwrap_err(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(next.unwrap().request.text, "hi");
    }
}
