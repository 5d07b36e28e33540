//! Browsers: pages of other origins that may call the API (CORS).

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// How long a browser may remember that it may call.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What lets pages of these origins call; none without any. Who calls is known by its key alone, never by cookies, so that
/// such a page may send what headers it likes: clients have many of their own, such as `X-Stainless-…`.
pub(super) fn layer(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::RETRY_AFTER, HeaderName::from_static("x-should-retry")])
        .max_age(REMEMBERED);
    Some(layer)
}
