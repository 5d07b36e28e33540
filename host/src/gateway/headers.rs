//! Which headers pass the gateway. Both lists name what may pass; everything else is dropped, so that no
//! credential, cookie, account id or hop-by-hop header needs to be thought of by name.

use http::{HeaderMap, HeaderName};

/// Request headers that pass: what Codex and the official clients say about the call itself.
const REQUEST: &[&str] = &[
    "accept",
    "content-type",
    "conversation_id",
    "idempotency-key",
    "openai-beta",
    "originator",
    "session-id",
    "session_id",
    "thread-id",
    "user-agent",
    "version",
    "x-client-request-id",
];
const REQUEST_PREFIXES: &[&str] = &["x-codex-", "x-openai-internal-codex-", "x-stainless-"];

/// Response headers that pass. `content-encoding` must: without it an encoded body is noise.
const RESPONSE: &[&str] = &["content-encoding", "content-type", "retry-after", "retry-after-ms", "x-request-id"];
const RESPONSE_PREFIXES: &[&str] = &["openai-", "x-codex-", "x-ratelimit-"];
/// Whose account it is concerns the host only.
const RESPONSE_DROPPED: &[&str] = &["openai-organization", "openai-project"];

/// The container's headers that go to the upstream.
pub(super) fn request(from: &HeaderMap) -> HeaderMap {
    filter(from, |name| REQUEST.contains(&name) || REQUEST_PREFIXES.iter().any(|p| name.starts_with(p)))
}

/// The upstream's headers that go to the container.
pub(super) fn response(from: &HeaderMap) -> HeaderMap {
    filter(from, |name| {
        (RESPONSE.contains(&name) || RESPONSE_PREFIXES.iter().any(|p| name.starts_with(p)))
            && !RESPONSE_DROPPED.contains(&name)
    })
}

fn filter(from: &HeaderMap, pass: impl Fn(&str) -> bool) -> HeaderMap {
    let passing = |name: &HeaderName| pass(name.as_str());
    from.iter().filter(|(name, _)| passing(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn names(map: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    fn map(names: &'static [&'static str]) -> HeaderMap {
        names.iter().map(|n| (HeaderName::from_static(n), HeaderValue::from_static("v"))).collect()
    }

    #[test]
    fn credentials_and_hop_by_hop_headers_of_a_request_are_dropped() {
        let from = map(&[
            "authorization",
            "proxy-authorization",
            "cookie",
            "chatgpt-account-id",
            "openai-organization",
            "openai-project",
            "api-key",
            "x-api-key",
            "connection",
            "transfer-encoding",
            "te",
            "upgrade",
            "host",
            "content-length",
            "x-forwarded-for",
            "accept-encoding",
            "content-type",
            "x-codex-turn-metadata",
        ]);
        assert_eq!(names(&request(&from)), ["content-type", "x-codex-turn-metadata"]);
    }

    #[test]
    fn only_listed_headers_of_a_response_pass() {
        let from = map(&[
            "set-cookie",
            "content-type",
            "x-codex-primary-used-percent",
            "x-request-id",
            "retry-after",
            "openai-processing-ms",
            "openai-organization",
            "x-ratelimit-reset-tokens",
            "server",
            "location",
        ]);
        let passed = [
            "content-type",
            "openai-processing-ms",
            "retry-after",
            "x-codex-primary-used-percent",
            "x-ratelimit-reset-tokens",
            "x-request-id",
        ];
        assert_eq!(names(&response(&from)), passed);
    }
}
