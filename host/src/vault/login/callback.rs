//! The server on loopback that the browser comes back to.
//!
//! Any page in the browser, and any program on this machine, can call it. So it answers only whoever has the login's state, once,
//! and what it answers has nothing of what it was sent.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{LoginError, pasted};
use crate::vault::issuer::{Authorization, Redirect};

/// How long the last page may take to reach the browser.
const LAST_PAGE: Duration = Duration::from_secs(5);

/// What the browser shows in the end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Page {
    Done,
    Failed,
    NotGranted,
    OtherLogin,
    Used,
}

type Came = Result<(SecretString, oneshot::Sender<Page>), LoginError>;

/// The running server; it ends when it is dropped.
pub(super) struct Callback {
    came: mpsc::Receiver<Came>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Desk {
    login: Arc<Authorization>,
    used: Arc<AtomicBool>,
    tell: mpsc::Sender<Came>,
}

impl Callback {
    pub(super) fn serve(listener: TcpListener, login: Arc<Authorization>) -> Self {
        let (tell, came) = mpsc::channel(1);
        let desk = Desk { login, used: Arc::default(), tell };
        let app = Router::new().route(Redirect::PATH, get(back)).with_state(desk);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = axum::serve(listener, app).with_graceful_shutdown(async move {
            // Dropped counts too.
            let _ = stopped.await;
        });
        let server = tokio::spawn(async move {
            let _ = server.into_future().await;
        });
        Self { came, stop: Some(stop), server }
    }

    pub(super) async fn next(&mut self) -> Came {
        // The server ends with us only.
        self.came.recv().await.unwrap_or(Err(LoginError::TooLate))
    }

    /// Lets the last page go out, and frees the port.
    pub(super) async fn end(mut self) {
        drop(self.stop.take());
        let _ = tokio::time::timeout(LAST_PAGE, &mut self.server).await;
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn back(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Response {
    let came = pasted::of_query(&desk.login, query.as_deref().unwrap_or_default());
    if matches!(came, Err(LoginError::OtherLogin)) {
        return Page::OtherLogin.into_response();
    }
    if desk.used.swap(true, Ordering::AcqRel) {
        return Page::Used.into_response();
    }
    let (show, page) = oneshot::channel();
    let (came, failed) = match came {
        Ok(code) => (Ok((code, show)), None),
        Err(error) => (Err(error), Some(Page::NotGranted)),
    };
    if desk.tell.send(came).await.is_err() {
        return Page::Failed.into_response();
    }
    match failed {
        Some(page) => page.into_response(),
        None => page.await.unwrap_or(Page::Failed).into_response(),
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let (status, title, text) = match self {
            Self::Done => (StatusCode::OK, "Logged in", "You can close this page and go back to the terminal."),
            Self::Failed => (
                StatusCode::BAD_GATEWAY,
                "Not logged in",
                "The login could not be completed. The terminal says why.",
            ),
            Self::NotGranted => {
                (StatusCode::OK, "Not logged in", "The login was not granted. The terminal says more.")
            }
            Self::OtherLogin => (
                StatusCode::BAD_REQUEST,
                "Not this login",
                "This page belongs to another login. Use the newest address that the terminal shows.",
            ),
            Self::Used => {
                (StatusCode::GONE, "Already used", "This login was completed before. Go back to the terminal.")
            }
        };
        let html = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Cofferdam: {title}</title>\
             <body style=\"font-family: sans-serif; margin: 4em\"><h1>{title}</h1><p>{text}</p></body></html>\n"
        );
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
            (
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            ),
            (header::CONNECTION, "close"),
        ];
        (status, headers, html).into_response()
    }
}
