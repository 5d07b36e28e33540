//! What a vendor says of an account's allowances, in the headers of its answers.
//!
//! | headers | who sends them |
//! |---|---|
//! | `x-codex-{primary,secondary}-{used-percent,window-minutes,reset-at}` | the ChatGPT backend; the reset in seconds since 1970 |
//! | `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` | OpenAI's API; the reset as `6m0s` or `20ms` from now |

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::Value;

/// The longest time to a reset that is believed: a week's window and a day.
const LONGEST: Duration = Duration::from_secs(8 * 24 * 3600);

/// The longest that Codex is told to wait with a call in its hand, in seconds: a turn that waits longer looks hung.
const MOST_WAITED: i64 = 60;
/// How long an allowance is taken to last of which that is not known, in minutes.
const MINUTES: u32 = 60;

/// One of an account's allowances.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// `primary`, `secondary`, `requests` or `tokens`.
    pub name: &'static str,
    /// How much of it is used, 0 to 100.
    pub used_percent: f64,
    /// How long it is, in minutes, if that is said.
    pub minutes: Option<u32>,
    /// When it begins anew, ms since 1970, if that is said.
    pub resets_at: Option<i64>,
}

/// An account's allowances, as its vendor told them last.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimits {
    /// None is empty.
    pub windows: Vec<Window>,
    /// When they were told, ms since 1970.
    pub seen_at: i64,
}

impl RateLimits {
    /// Those of an answer's headers; none if it says nothing of them. `now` in ms since 1970.
    pub(super) fn of(headers: &HeaderMap, now: i64) -> Option<Self> {
        let codex = ["primary", "secondary"].into_iter().filter_map(|name| codex(headers, name, now));
        let api = ["requests", "tokens"].into_iter().filter_map(|name| api(headers, name, now));
        let windows: Vec<Window> = codex.chain(api).collect();
        (!windows.is_empty()).then_some(Self { windows, seen_at: now })
    }

    /// The share that is left of the allowance that is used most, 0 to 1. One that began anew since is whole, and so is one of
    /// which that is not known, when it was told as long ago as it lasts.
    pub fn remaining(&self, now: i64) -> f64 {
        let left = |window: &Window| {
            let lasts = i64::from(window.minutes.unwrap_or(MINUTES)) * 60_000;
            let anew = window.resets_at.unwrap_or(self.seen_at + lasts);
            if anew <= now { 1.0 } else { (100.0 - window.used_percent) / 100.0 }
        };
        self.windows.iter().map(left).fold(1.0, f64::min)
    }

    /// When the last of those that are used up begins anew.
    pub(super) fn exhausted_until(&self) -> Option<i64> {
        self.windows
            .iter()
            .filter(|window| window.used_percent >= 100.0)
            .filter_map(|window| window.resets_at)
            .max()
    }
}

fn codex(headers: &HeaderMap, name: &'static str, now: i64) -> Option<Window> {
    let field = |what: &str| text(headers, &format!("x-codex-{name}-{what}"));
    let used_percent = percent(field("used-percent")?.parse().ok()?)?;
    let minutes = field("window-minutes").and_then(|text| text.parse().ok());
    let at = field("reset-at").and_then(|text| text.parse::<i64>().ok()?.checked_mul(1000));
    Some(Window { name, used_percent, minutes, resets_at: at.and_then(|at| within(at, now)) })
}

fn api(headers: &HeaderMap, name: &'static str, now: i64) -> Option<Window> {
    let field = |what: &str| text(headers, &format!("x-ratelimit-{what}-{name}"));
    let (limit, remaining): (f64, f64) = (field("limit")?.parse().ok()?, field("remaining")?.parse().ok()?);
    let used_percent = percent(100.0 - remaining / limit * 100.0)?;
    let at = field("reset").and_then(span).and_then(|span| after(span, now));
    Some(Window { name, used_percent, minutes: None, resets_at: at })
}

/// Says when a limit ends, ms since 1970, where Codex and the session's retry look for it. Only for a short time Codex is to
/// wait with the call in its hand: it tells nobody that it does.
pub(super) fn tell_end(headers: &mut HeaderMap, until: i64, now: i64) {
    let left = (until - now).max(0) / 1000 + 1;
    headers.remove("retry-after-ms");
    match left <= MOST_WAITED {
        true => headers.insert(header::RETRY_AFTER, HeaderValue::from(left)),
        false => headers.remove(header::RETRY_AFTER),
    };
    if !headers.contains_key("x-codex-primary-reset-at") {
        headers.insert("x-codex-primary-used-percent", HeaderValue::from(100));
        headers.insert("x-codex-primary-window-minutes", HeaderValue::from(left / 60 + 1));
        headers.insert("x-codex-primary-reset-at", HeaderValue::from(until.div_euclid(1000) + 1));
    }
}

/// Whether a limit lasts longer than Codex may wait for its end without a word.
pub(super) fn is_long(until: i64, now: i64) -> bool {
    until.saturating_sub(now) > MOST_WAITED * 1000
}

/// When a refused call may be tried again, ms since 1970: what `retry-after` says, in ms or seconds.
pub(super) fn retry_after(headers: &HeaderMap, now: i64) -> Option<i64> {
    let ms = text(headers, "retry-after-ms").and_then(|text| text.parse().ok()).map(Duration::from_millis);
    let secs = || text(headers, "retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
    after(ms.or_else(secs)?, now)
}

/// What a refusal's body says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// When the limit ends, ms since 1970: `resets_at` or `resets_in_seconds` of its error.
    pub(super) until: Option<i64>,
    /// Whether it is the account's, and not the model's or the call's.
    pub(super) whole: bool,
}

/// The words of an error that is the account's.
const WHOLE: &[&str] =
    &["usage_limit_reached", "usage_not_included", "insufficient_quota", "billing_hard_limit_reached"];

/// What a refusal's body says. It is read up to `most` bytes, which may take so long, and goes on as it was.
pub(super) async fn told_in(response: &mut Response<Body>, now: i64, (most, patience): (usize, Duration)) -> Told {
    let mut body = std::mem::take(response.body_mut()).into_data_stream().fuse();
    let (mut read, mut bytes) = (Vec::new(), 0);
    let whole = async {
        while bytes < most {
            let Some(piece) = body.next().await else { return };
            bytes += piece.as_ref().map_or(0, Bytes::len);
            let broken = piece.is_err();
            read.push(piece);
            if broken {
                return;
            }
        }
    };
    // What takes longer says nothing to us, but all of it to the caller.
    let _ = tokio::time::timeout(patience, whole).await;
    let text = read.iter().flatten().flat_map(|piece| piece.iter().copied()).collect::<Vec<u8>>();
    *response.body_mut() = Body::from_stream(stream::iter(read).chain(body));
    let Ok(body) = serde_json::from_slice::<Value>(&text) else { return Told::default() };
    let error = &body["error"];
    let at = error["resets_at"].as_i64().and_then(|at| within(at.checked_mul(1000)?, now));
    let span = || error["resets_in_seconds"].as_u64().and_then(|secs| after(Duration::from_secs(secs), now));
    let is_whole = |key: &str| error[key].as_str().is_some_and(|word| WHOLE.contains(&word));
    Told { until: at.or_else(span), whole: is_whole("type") || is_whole("code") }
}

fn after(span: Duration, now: i64) -> Option<i64> {
    within(now.checked_add(i64::try_from(span.as_millis()).ok()?)?, now)
}

/// A time to come that is not absurd.
fn within(at: i64, now: i64) -> Option<i64> {
    let longest = i64::try_from(LONGEST.as_millis()).ok()?;
    at.checked_sub(now).filter(|left| (0..=longest).contains(left)).map(|_| at)
}

fn percent(value: f64) -> Option<f64> {
    value.is_finite().then(|| value.clamp(0.0, 100.0))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// A time as Go writes it, such as `1h2m3.5s` or `20ms`.
fn span(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        seconds += number
            * match &rest[digits..unit_end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(header).collect()
    }

    #[test]
    fn what_the_chatgpt_backend_tells_is_read() {
        let told = headers(&[
            ("x-codex-primary-used-percent", "25.5"),
            ("x-codex-primary-window-minutes", "300"),
            ("x-codex-primary-reset-at", "1700003600"),
            ("x-codex-secondary-used-percent", "100"),
        ]);
        let limits = RateLimits::of(&told, NOW).unwrap();
        assert_eq!(
            limits.windows[0],
            Window { name: "primary", used_percent: 25.5, minutes: Some(300), resets_at: Some(NOW + 3_600_000) }
        );
        assert_eq!((limits.remaining(NOW), limits.exhausted_until()), (0.0, None), "the second is used up");
        let left = limits.remaining(NOW + 3_600_000);
        assert!((left - 1.0).abs() < 1e-9, "an hour later nothing is known of that any more");
        let left = limits.remaining(NOW + 3_600_000);
        assert!((left - 1.0).abs() < 1e-9, "an hour later nothing is known of that any more");
    }

    #[test]
    fn what_openais_api_tells_is_read() {
        let told = headers(&[
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "45"),
            ("x-ratelimit-reset-requests", "1m0.5s"),
            ("x-ratelimit-limit-tokens", "1000"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "20ms"),
        ]);
        let limits = RateLimits::of(&told, NOW).unwrap();
        assert_eq!(limits.windows[0].resets_at, Some(NOW + 60_500));
        assert!((limits.windows[0].used_percent - 25.0).abs() < 1e-9);
        assert_eq!(limits.exhausted_until(), Some(NOW + 20));
        assert!((limits.remaining(NOW + 20) - 0.75).abs() < 1e-9, "the tokens are whole again");
    }

    #[test]
    fn nonsense_is_no_limit() {
        for told in [
            headers(&[]),
            headers(&[("x-codex-primary-used-percent", "NaN")]),
            headers(&[("x-ratelimit-limit-tokens", "0"), ("x-ratelimit-remaining-tokens", "0")]),
            headers(&[("x-ratelimit-limit-tokens", "many"), ("x-ratelimit-remaining-tokens", "3")]),
        ] {
            assert_eq!(RateLimits::of(&told, NOW), None, "{told:?}");
        }
        for far in ["9223372036854775807", "9223372036854775", "-9223372036854775", "0"] {
            let far = headers(&[("x-codex-primary-used-percent", "-7"), ("x-codex-primary-reset-at", far)]);
            let limits = RateLimits::of(&far, NOW).unwrap();
            assert_eq!((limits.windows[0].used_percent, limits.windows[0].resets_at), (0.0, None));
        }
        for odd in ["", "1", "1d", "-1s", "1e9s", "s", "99999999999999999999h"] {
            let at = span(odd).and_then(|span| after(span, NOW));
            assert!(at.is_none_or(|at| at == NOW), "{odd}: {at:?}");
        }
    }

    #[test]
    fn a_long_limit_is_told_and_not_waited_for() {
        let mut told = headers(&[("retry-after", "600"), ("retry-after-ms", "600000")]);
        tell_end(&mut told, NOW + 600_000, NOW);
        assert!(!told.contains_key("retry-after") && !told.contains_key("retry-after-ms"));
        let limits = RateLimits::of(&told, NOW).unwrap();
        assert!((NOW + 600_000..=NOW + 601_000).contains(&limits.exhausted_until().unwrap()), "{limits:?}");
        let mut own = headers(&[("x-codex-primary-used-percent", "100"), ("x-codex-primary-reset-at", "7")]);
        tell_end(&mut own, NOW + 5_000, NOW);
        assert_eq!((text(&own, "x-codex-primary-reset-at"), text(&own, "retry-after")), (Some("7"), Some("6")));
        assert!(is_long(NOW + 60_001, NOW) && !is_long(NOW + 60_000, NOW));
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        assert_eq!(retry_after(&headers(&[("retry-after", "30")]), NOW), Some(NOW + 30_000));
        assert_eq!(retry_after(&headers(&[("retry-after", "30"), ("retry-after-ms", "5")]), NOW), Some(NOW + 5));
        assert_eq!(retry_after(&headers(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]), NOW), None);
        assert_eq!(retry_after(&headers(&[("retry-after", "99999999999")]), NOW), None);
    }
}
