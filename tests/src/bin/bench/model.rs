//! Model endpoints on the host's loopback, served by this process.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::serve::ListenerExt;
use cofferdam::gateway::{Account, Caller, Gateway};
use futures_util::stream;
use tokio::net::TcpListener;

use crate::Trouble;

/// The offline model itself, for an app-server without Cofferdam. Answers the port.
pub async fn offline() -> Result<u16, Trouble> {
    async fn answer(State((gateway, caller)): State<(Arc<Gateway>, Caller)>, request: Request) -> Response {
        gateway.handle(&caller, request).await
    }
    let caller = Caller {
        group: "floor".parse().map_err(|_| Trouble::Odd("group".to_owned()))?,
        session: "0".repeat(32).parse().map_err(|_| Trouble::Odd("session".to_owned()))?,
        serving: cofferdam::config::pool::Serving::default(),
    };
    let gateway = Arc::new(Gateway::new(Account::Offline)?);
    serve(Router::new().route("/v1/{*path}", any(answer)).with_state((gateway, caller))).await
}

/// An endpoint that begins its answer as soon as it has read the call, and goes on 2 ms later. Answers the port.
pub async fn streaming() -> Result<u16, Trouble> {
    async fn answer(_call: Bytes) -> Response {
        const EVENTS: [&str; 3] = [
            "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n\n",
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"hello\"}\n\n",
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\"}}\n\n",
        ];
        let pieces = stream::unfold(0, |at| async move {
            if at > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            EVENTS.get(at).map(|event| (Ok::<_, Infallible>(Bytes::from_static(event.as_bytes())), at + 1))
        });
        ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(pieces)).into_response()
    }
    serve(Router::new().route("/v1/responses", post(answer))).await
}

/// Events of a paced answer, and the time between two of them: about what a fast model says.
pub const PACED: usize = 50;
pub const PACE: Duration = Duration::from_millis(20);

/// The time since some moment of this process: of the endpoints and their callers alike.
pub fn clock() -> Duration {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGUN.elapsed()
}

/// An endpoint whose answer is one event after another, each with the time at which it was made. Answers the port.
pub async fn paced() -> Result<u16, Trouble> {
    async fn answer(_call: Bytes) -> Response {
        let begun = tokio::time::Instant::now();
        let pieces = stream::unfold(0, move |at| async move {
            // The first comes at once, with the answer's head.
            if at > 0 {
                tokio::time::sleep_until(begun + PACE * at).await;
            }
            let more = at as usize <= PACED;
            more.then(|| (Ok::<_, Infallible>(event(at, at as usize == PACED)), at + 1))
        });
        ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(pieces)).into_response()
    }
    serve(Router::new().route("/v1/responses", post(answer))).await
}

fn event(at: u32, last: bool) -> Bytes {
    let kind = if last { "response.completed" } else { "response.output_text.delta" };
    let text = "a word or two of an answer";
    let made = clock().as_nanos();
    Bytes::from(format!(
        "event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{at},\"item_id\":\"msg_1\",\
         \"output_index\":0,\"content_index\":0,\"delta\":\"{text}\",\"response\":{{\"id\":\"resp_1\"}},\
         \"made\":{made}}}\n\n"
    ))
}

/// When an event of [`paced`] was made, by [`clock`].
pub fn made_at(event: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(event).ok()?;
    let number = text.rsplit_once("\"made\":")?.1.split('}').next()?;
    number.parse().ok().map(Duration::from_nanos)
}

async fn serve(app: Router) -> Result<u16, Trouble> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    // As servers of streams do: else a small event waits until the one before was acknowledged, up to 40 ms.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(port)
}
