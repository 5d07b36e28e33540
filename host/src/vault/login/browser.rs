//! The login in a browser.

use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::callback::{Callback, Page};
use super::port::{Holder, holder};
use super::{LoginError, PATIENCE, pasted};
use crate::vault::Tokens;
use crate::vault::issuer::{Authorization, Issuer, Redirect};

/// A login that was begun: the person opens [`Self::url`], and comes back by themselves ([`Self::received`]) or with something to
/// paste ([`Self::pasted`]).
pub struct Browser {
    issuer: Issuer,
    login: Arc<Authorization>,
    callback: Option<Callback>,
    busy: Vec<Holder>,
    ends: Instant,
}

/// What came back, checked.
pub struct Received {
    code: SecretString,
    /// The browser waits for its page.
    page: Option<oneshot::Sender<Page>>,
}

impl Browser {
    /// Begins a login, and listens on the first of the issuer's ports that is free. When none is, pasting is left.
    pub async fn begin(issuer: &Issuer) -> Self {
        Self::begin_on(issuer, &Redirect::PORTS).await
    }

    /// The same with other ports, which only an issuer that a test plays takes.
    pub async fn begin_on(issuer: &Issuer, ports: &[u16]) -> Self {
        let mut busy = Vec::new();
        let mut listener = None;
        for port in ports {
            match tokio::net::TcpListener::bind(("127.0.0.1", *port)).await {
                Ok(bound) => {
                    listener = Some(bound);
                    break;
                }
                Err(_) => busy.push(holder(*port)),
            }
        }
        let bound = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let port = bound.map(|address| address.port()).or(ports.first().copied());
        let login = Arc::new(issuer.authorize(port.map(Redirect::to_port).unwrap_or_default()));
        let callback = listener.map(|listener| Callback::serve(listener, login.clone()));
        Self { issuer: issuer.clone(), login, callback, busy, ends: Instant::now() + PATIENCE }
    }

    /// The page that the person opens.
    pub fn url(&self) -> &str {
        self.login.url()
    }

    /// Who holds the ports that were tried before.
    pub fn busy(&self) -> &[Holder] {
        &self.busy
    }

    /// Whether the browser can come back by itself.
    pub fn listens(&self) -> bool {
        self.callback.is_some()
    }

    /// Waits until the browser comes back with this login's answer; what else calls is sent away. May be dropped and called
    /// again. Without a port it waits for the end of the login.
    pub async fn received(&mut self) -> Result<Received, LoginError> {
        let came = async {
            match &mut self.callback {
                Some(callback) => callback.next().await,
                None => std::future::pending().await,
            }
        };
        let (code, page) = timeout_at(self.ends, came).await.map_err(|_| LoginError::TooLate)??;
        Ok(Received { code, page: Some(page) })
    }

    /// Takes what the person pasted: the address that the browser ended at, or the code in it.
    pub fn pasted(&self, text: &str) -> Result<Received, LoginError> {
        pasted::of_text(&self.login, text).map(|code| Received { code, page: None })
    }

    /// Buys the tokens, and shows in the browser what came of it.
    pub async fn finish(self, received: Received) -> Result<Tokens, LoginError> {
        let outcome = self.login.finish(&self.issuer, &received.code).await.map_err(LoginError::Issuer);
        if let Some(page) = received.page {
            // The browser may be gone.
            let _ = page.send(if outcome.is_ok() { Page::Done } else { Page::Failed });
        }
        if let Some(callback) = self.callback {
            callback.end().await;
        }
        outcome
    }
}
