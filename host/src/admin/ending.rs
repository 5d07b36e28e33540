//! What the socket of a daemon that ends still answers: who looks is told how far the end is, and nobody begins anything.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cofferdam_protocol::admin::ErrorKind;

use super::error::Failed;

/// Whether the daemon ends, and until when its running turns may go on. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Ending(Arc<OnceLock<Instant>>);

impl Ending {
    /// The end has begun; turns may go on for `grace`.
    pub(super) fn begin(&self, grace: Duration) {
        // A second signal does not give more time.
        let _ = self.0.set(Instant::now() + grace);
    }

    /// Seconds that turns still have, rounded up; none while the daemon does not end.
    pub(super) fn secs_left(&self) -> Option<u64> {
        let until = self.0.get()?;
        Some(
            until
                .saturating_duration_since(Instant::now())
                .as_millis()
                .div_ceil(1000)
                .try_into()
                .unwrap_or(u64::MAX),
        )
    }

    /// How far the end is, in words, when so many turns run.
    pub(super) fn note(&self, turns: usize) -> Option<String> {
        let secs = self.secs_left()?;
        Some(match turns {
            0 => "the daemon ends: no turn runs any more, its containers are stopped".to_owned(),
            1 => format!("the daemon ends: 1 turn still runs, at most {secs} s more"),
            turns => format!("the daemon ends: {turns} turns still run, at most {secs} s more"),
        })
    }
}

/// Lets through what only looks; refuses the rest while the daemon ends.
pub(super) async fn gate(State(ending): State<Ending>, request: Request, next: Next) -> Response {
    match ending.secs_left() {
        Some(secs) if !matches!(*request.method(), Method::GET | Method::HEAD) => refusal(secs).into_response(),
        _ => next.run(request).await,
    }
}

fn refusal(secs: u64) -> Failed {
    let pid = std::process::id();
    Failed::new(
        ErrorKind::Daemon,
        format!("the daemon (process {pid}) is ending; running turns have at most {secs} s more"),
        "nothing was accepted; try again when it has ended, `cofferdam status` shows how far it is",
    )
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use hyper_util::rt::TokioIo;

    use super::*;

    /// The status and the body of one call through the gate.
    async fn call(ending: &Ending, method: Method) -> (StatusCode, String) {
        let app = Router::new()
            .route("/", get(async || "seen").post(async || "done"))
            .layer(axum::middleware::from_fn_with_state(ending.clone(), gate));
        let (near, far) = tokio::io::duplex(4096);
        tokio::spawn(async move {
            let service = hyper_util::service::TowerToHyperService::new(app);
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service).await
        });
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        let request = axum::http::Request::builder().method(method).uri("/").header("host", "x");
        let answer = sender.send_request(request.body(String::new()).unwrap()).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_daemon_that_ends_answers_who_looks_and_begins_nothing() {
        let ending = Ending::default();
        assert_eq!(call(&ending, Method::POST).await, (StatusCode::OK, "done".to_owned()));
        assert_eq!(ending.note(2), None);
        ending.begin(Duration::from_secs(20));
        assert_eq!(call(&ending, Method::GET).await, (StatusCode::OK, "seen".to_owned()));
        let (status, body) = call(&ending, Method::POST).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains(r#""kind":"daemon""#) && body.contains("is ending"), "{body}");
    }

    #[test]
    fn the_note_counts_turns_and_seconds() {
        let ending = Ending::default();
        ending.begin(Duration::ZERO);
        assert_eq!(ending.note(2).unwrap(), "the daemon ends: 2 turns still run, at most 0 s more");
        assert!(ending.note(0).unwrap().contains("no turn runs"));
    }
}
