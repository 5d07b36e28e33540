//! A request's body, read whole within its limits.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::hooks;

/// For the whole body.
const WHOLE: Duration = Duration::from_secs(60);
/// Between two pieces of it. It comes from a process on the same host that has it in its memory.
const STALL: Duration = Duration::from_secs(10);

/// Why a body was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("it has over {} MiB", .0 / (1024 * 1024))]
    TooLarge(usize),
    #[error("it broke off before its end")]
    Incomplete,
    #[error("nothing more of it came for {} s, so it was given up", .0.as_secs())]
    Stalled(Duration),
    #[error("it did not arrive within {} s", .0.as_secs())]
    Slow(Duration),
}

impl Broken {
    /// The status that says so.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete => StatusCode::BAD_REQUEST,
            Self::Stalled(_) | Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// In the words of OpenAI's errors.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::TooLarge(_) => "request_too_large",
            Self::Incomplete => "request_incomplete",
            Self::Stalled(_) => "request_stalled",
            Self::Slow(_) => "request_timeout",
        }
    }

    /// What its sender can do.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::TooLarge(_) => "send less of the conversation, or fewer images",
            Self::Incomplete | Self::Stalled(_) | Self::Slow(_) => "send it again",
        }
    }
}

/// Reads a body of at most so many bytes. Its pieces are copied together as they come: one of a byte would keep in memory
/// what it was read into.
pub(crate) async fn whole(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Broken> {
    let known = length_of(headers).unwrap_or(0).min(most);
    let patience = hooks::limit("body", WHOLE);
    timeout(patience, read(BytesMut::with_capacity(known), body, most)).await.unwrap_or(Err(Broken::Slow(patience)))
}

async fn read(mut whole: BytesMut, body: Body, most: usize) -> Result<Bytes, Broken> {
    let (mut body, stall) = (Limited::new(body, most), hooks::limit("body_stall", STALL));
    loop {
        match timeout(stall, body.frame()).await {
            Ok(Some(Ok(frame))) => whole.extend_from_slice(frame.data_ref().map_or(&[], Bytes::as_ref)),
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Err(error))) if error.downcast_ref::<LengthLimitError>().is_some() => {
                return Err(Broken::TooLarge(most));
            }
            Ok(Some(Err(_))) => return Err(Broken::Incomplete),
            Err(_) => return Err(Broken::Stalled(stall)),
        }
    }
}

/// A body's length in bytes, if its sender names one that holds.
pub(super) fn length_of(headers: &HeaderMap) -> Option<usize> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    match headers.get(header::CONTENT_LENGTH) {
        Some(length) => length.to_str().ok()?.parse().ok(),
        None => Some(0),
    }
}
