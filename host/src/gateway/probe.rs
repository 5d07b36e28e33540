//! Whether an account can be used, asked with its list of models: that costs nothing.

use std::time::Duration;

use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest list that is counted, in bytes.
const MAX_LIST: usize = 8 * 1024 * 1024;

/// Why an account cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The endpoint did not take the credential.
    #[error("the endpoint refused the credential ({0})")]
    Refused(StatusCode),
    /// The account's login is not to be had.
    #[error("{0}")]
    NoLogin(String),
    /// No answer came.
    #[error("the endpoint could not be reached ({0})")]
    Unreachable(String),
    /// It answered with something else.
    #[error("the endpoint answered {0}")]
    Odd(StatusCode),
}

/// Sends the call for the models; answers how many there are. None when the endpoint has no list of them, and so did not look
/// at the credential.
pub(super) async fn probe(request: reqwest::RequestBuilder) -> Result<Option<u64>, ProbeError> {
    let unreachable = |why: String| ProbeError::Unreachable(why);
    let slow = || unreachable(format!("nothing came within {} s", PATIENCE.as_secs()));
    let sent = tokio::time::timeout(PATIENCE, request.send()).await.map_err(|_| slow())?;
    let response = sent.map_err(|error| unreachable(crate::error_chain(&error.without_url())))?;
    match response.status() {
        status if status.is_success() => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(ProbeError::Refused(response.status())),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => return Ok(None),
        status => return Err(ProbeError::Odd(status)),
    }
    let body = Limited::new(reqwest::Body::from(response), MAX_LIST).collect();
    let list = tokio::time::timeout(PATIENCE, body).await.map_err(|_| slow())?;
    let list = list.map_err(|_| unreachable("its answer broke off".to_owned()))?.to_bytes();
    // `data` is where OpenAI's form has them, `models` Codex's.
    let list: Value = serde_json::from_slice(&list).unwrap_or_default();
    let count =
        |key: &str| list[key].as_array().filter(|models| !models.is_empty()).map(|models| models.len() as u64);
    Ok(Some(count("data").or_else(|| count("models")).unwrap_or(0)))
}
