//! An endpoint that speaks OpenAI's Responses API, whatever credential it is reached with.
//!
//! The answer streams unbuffered: each piece that the upstream sends goes to the container as it comes.

use std::error::Error as _;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::{HeaderValue, Method, Response, StatusCode};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::answer::{Answered, Miss};
use super::error::vendor_error;
use super::rate_limits::{self, RateLimits};
use super::redact::Redactor;
use super::words::Whose;
use super::{Call, Caller, GatewayError, Limits, Route, headers};
use crate::clock::now_ms;
use crate::trust::is_loopback;

/// Idle connections stay open so long; below the time after which common load balancers close them.
const POOL_IDLE: Duration = Duration::from_secs(55);
/// How much of a refusal is read for the time of its end, in bytes; and how long it may take to come.
const REFUSAL: (usize, Duration) = (64 * 1024, Duration::from_secs(5));

/// One endpoint, and the connections to it.
pub(super) struct Endpoint {
    client: reqwest::Client,
    /// Ends with `/`.
    base: Url,
    whose: Whose,
    limits: Limits,
}

impl Endpoint {
    /// Checks the address; opens no connection.
    pub(super) fn new(base_url: Url, whose: Whose, limits: Limits) -> Result<Self, GatewayError> {
        let base = normalised(base_url)?;
        if base.scheme() == "http" && !is_loopback(&base) {
            tracing::warn!(
                endpoint = %base,
                "model calls go to this endpoint unencrypted, the API key with them: use https unless the network is yours"
            );
        }
        let client = limits.trust.client(&base);
        let client = client.connect_timeout(limits.connect).pool_idle_timeout(POOL_IDLE).tcp_nodelay(true);
        Ok(Self { client: client.build().map_err(GatewayError::Client)?, base, whose, limits })
    }

    /// Whose credential its calls have.
    pub(super) fn whose(&self) -> &Whose {
        &self.whose
    }

    /// A call without a credential. None when the base URL takes no path; [`normalised`] lets no such URL through.
    pub(super) fn request(&self, call: &Call) -> Option<reqwest::RequestBuilder> {
        let mut url = self.base.join(call.route.path()).ok()?;
        url.set_query(call.query.as_deref());
        let method = if call.route == Route::Models { Method::GET } else { Method::POST };
        let request = self.client.request(method, url).headers(call.headers.clone());
        Some(if call.route == Route::Models { request } else { request.body(call.body.clone()) })
    }

    /// Sends a call; an answer of ours when none comes.
    pub(super) async fn send(
        &self,
        caller: &Caller,
        request: Option<reqwest::RequestBuilder>,
    ) -> Result<reqwest::Response, Answered> {
        let Some(request) = request else {
            let answer = vendor_error(StatusCode::BAD_GATEWAY, "upstream_url", &self.whose.unusable_url());
            return Err(Answered::missed(Miss::Unreachable, answer));
        };
        match tokio::time::timeout(self.limits.headers, request.send()).await {
            Ok(Ok(upstream)) => Ok(upstream),
            Ok(Err(error)) => Err(Answered::missed(Miss::Unreachable, self.failed(caller, error))),
            Err(_) => Err(Answered::missed(Miss::Silent, self.timed_out(caller))),
        }
    }

    fn failed(&self, caller: &Caller, error: reqwest::Error) -> Response<Body> {
        let timeout = error.is_timeout();
        let chain = chain(&error.without_url());
        tracing::warn!(group = %caller.group, session = %caller.session, endpoint = %self.base, error = %chain, "model call failed");
        let what = if timeout { "could not be reached in time" } else { "could not be reached" };
        let host = self.base.host_str().unwrap_or_default();
        let message = self.whose.unreachable(host, what, &chain);
        vendor_error(StatusCode::BAD_GATEWAY, "upstream_unreachable", &message)
    }

    fn timed_out(&self, caller: &Caller) -> Response<Body> {
        let seconds = self.limits.headers.as_secs();
        tracing::warn!(group = %caller.group, session = %caller.session, endpoint = %self.base, seconds, "model call unanswered");
        let host = self.base.host_str().unwrap_or_default();
        let message = format!(
            "The model endpoint {host} took the call but sent no answer within {seconds} s. Its status page may say why."
        );
        vendor_error(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", &message)
    }

    /// Passes an answer on, without `secret` wherever it is repeated.
    pub(super) async fn pass(
        &self,
        caller: &Caller,
        upstream: reqwest::Response,
        secret: &SecretString,
    ) -> Answered {
        let (status, now) = (upstream.status(), now_ms());
        if !status.is_success() {
            tracing::warn!(group = %caller.group, session = %caller.session, endpoint = %self.base, %status, "model call refused by the endpoint");
        }
        let limits = RateLimits::of(upstream.headers(), now);
        if let Some(response) = replaced(status, &self.whose) {
            let miss = if status == StatusCode::UNAUTHORIZED { Miss::NoCredential } else { Miss::Unreachable };
            return Answered { limits, ..Answered::missed(miss, response) };
        }
        if status.is_server_error() {
            let response = self.streamed(caller, upstream, secret);
            return Answered { limits, ..Answered::missed(Miss::Failing(status), response) };
        }
        if status != StatusCode::TOO_MANY_REQUESTS {
            return Answered { response: self.streamed(caller, upstream, secret), miss: None, limits };
        }
        let stated = rate_limits::retry_after(upstream.headers(), now);
        let exhausted = limits.as_ref().and_then(RateLimits::exhausted_until);
        let mut response = self.streamed(caller, upstream, secret);
        let told = rate_limits::told_in(&mut response, now, REFUSAL).await;
        let whole = told.whole || exhausted.is_some();
        let until = told.until.or(stated).or(exhausted);
        if let Some(until) = until.filter(|until| rate_limits::is_long(*until, now)) {
            rate_limits::tell_end(response.headers_mut(), until, now);
        }
        Answered { limits, ..Answered::missed(Miss::Limited { until, whole }, response) }
    }

    /// An answer that goes on as it comes.
    fn streamed(&self, caller: &Caller, upstream: reqwest::Response, secret: &SecretString) -> Response<Body> {
        let status = upstream.status();
        let redactor = Redactor::new(secret.clone());
        let mut passed = headers::response(upstream.headers());
        let leaking: Vec<_> =
            passed.iter().filter(|(_, v)| redactor.matches(v.as_bytes())).map(|(n, _)| n.clone()).collect();
        for name in leaking {
            passed.remove(name);
        }
        let flow = Flow {
            source: Some(upstream.bytes_stream().boxed()),
            redactor,
            stall: self.limits.stall,
            caller: caller.clone(),
        };
        let mut response = Response::new(Body::from_stream(flow.into_stream()));
        *response.status_mut() = status;
        *response.headers_mut() = passed;
        response
    }
}

/// A response on its way to the container.
struct Flow {
    /// None after the end.
    source: Option<BoxStream<'static, reqwest::Result<Bytes>>>,
    redactor: Redactor,
    stall: Duration,
    caller: Caller,
}

/// The answer broke off; the connection to the container is closed without a proper end, so that the client
/// sees a cut stream and not a short answer.
#[derive(Debug, thiserror::Error)]
#[error("the model endpoint's answer broke off: {0}")]
struct Broken(String);

impl Flow {
    fn into_stream(self) -> impl futures_util::Stream<Item = Result<Bytes, Broken>> + Send {
        stream::unfold(self, |mut flow| async {
            let item = flow.next().await?;
            Some((item, flow))
        })
    }

    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        loop {
            let source = self.source.as_mut()?;
            let why = match tokio::time::timeout(self.stall, source.next()).await {
                Ok(Some(Ok(piece))) => {
                    let piece = self.redactor.push(piece);
                    if piece.is_empty() {
                        continue;
                    }
                    return Some(Ok(piece));
                }
                Ok(None) => {
                    self.source = None;
                    let rest = self.redactor.finish();
                    return (!rest.is_empty()).then_some(Ok(rest));
                }
                Ok(Some(Err(error))) => chain(&error.without_url()),
                Err(_) => format!("nothing came for {} s", self.stall.as_secs()),
            };
            self.source = None;
            tracing::warn!(group = %self.caller.group, session = %self.caller.session, error = %why, "model answer broke off");
            return Some(Err(Broken(why)));
        }
    }
}

/// Answers for statuses that concern the host's account or set-up: the endpoint's own words stay out, since
/// they tend to repeat part of the key.
fn replaced(status: StatusCode, whose: &Whose) -> Option<Response<Body>> {
    if status == StatusCode::UNAUTHORIZED {
        return Some(vendor_error(status, "invalid_api_key", &whose.refused()));
    }
    if status.is_redirection() {
        return Some(vendor_error(StatusCode::BAD_GATEWAY, "upstream_redirect", &whose.redirected(status)));
    }
    None
}

/// `Bearer …`, marked as sensitive; none when the key is empty.
pub(super) fn bearer(key: &SecretString) -> Result<Option<HeaderValue>, GatewayError> {
    let key = key.expose_secret();
    if key.is_empty() {
        return Ok(None);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| GatewayError::Key)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The base URL with a `/` at its end, so that paths can be joined to it.
pub(super) fn normalised(mut url: Url) -> Result<Url, GatewayError> {
    let problem = match url.scheme() {
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => Some("has a password in it"),
        "http" | "https" if url.query().is_some() || url.fragment().is_some() => Some("has a query or fragment"),
        "http" | "https" => None,
        _ => Some("is neither http nor https"),
    };
    if let Some(problem) = problem {
        return Err(GatewayError::BaseUrl(problem));
    }
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

/// An error and its causes in one line.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(url: &str) -> Result<String, GatewayError> {
        normalised(url.parse().unwrap()).map(String::from)
    }

    #[test]
    fn a_base_url_means_the_same_with_and_without_a_final_slash() {
        for url in ["https://host/v1", "https://host/v1/", "https://host/v1//"] {
            assert_eq!(normal(url).unwrap(), "https://host/v1/");
        }
        assert_eq!(normal("http://127.0.0.1:1234").unwrap(), "http://127.0.0.1:1234/");
    }

    #[test]
    fn base_urls_that_cannot_work_are_refused_without_showing_them() {
        for url in ["ftp://host/v1", "https://user:hunter2@host/v1", "https://host/v1?key=hunter2"] {
            let error = normal(url).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn keys_that_no_header_can_carry_are_refused_and_empty_ones_send_none() {
        assert!(bearer(&"sk\nx".into()).is_err());
        assert!(bearer(&"".into()).unwrap().is_none());
        assert!(bearer(&"sk-1".into()).unwrap().unwrap().is_sensitive());
    }
}
