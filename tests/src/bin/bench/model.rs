//! Model endpoints on the host's loopback, served by this process.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
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

async fn serve(app: Router) -> Result<u16, Trouble> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(port)
}
