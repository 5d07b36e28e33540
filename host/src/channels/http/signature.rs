//! Signatures of webhooks and of callbacks: HMAC-SHA256, compared in constant time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tokio::time::Instant;

use super::keys::{hex, unhex};

/// Our own header: `t=UNIX,v1=HEX` over `t.body`.
pub const HEADER: &str = "x-cofferdam-signature";
/// GitHub's header: `sha256=HEX` over the body.
pub(super) const GITHUB_HEADER: &str = "x-hub-signature-256";

/// How far the time in a signature may be from ours, in seconds, in either direction.
pub(super) const WINDOW: i64 = 300;
/// Signatures that are remembered at most; the oldest are forgotten first.
const MOST_SEEN: usize = 10_000;
/// How long a signature is remembered. Ours is refused by its time long before that; GitHub's has none.
const SEEN_FOR: Duration = Duration::from_secs(24 * 3600);

/// The value of our header, for a body that is sent at this time (s since 1970).
pub fn sign(secret: &SecretString, at: i64, body: &[u8]) -> String {
    let tag = mac(secret, &[at.to_string().as_bytes(), b".", body]).map(|mac| mac.finalize().into_bytes());
    // A key of any length is taken, so there is always a tag.
    format!("t={at},v1={}", hex(tag.as_deref().unwrap_or_default()))
}

/// Checks our header; answers the tag that was right, or why it is refused. The work is the same whatever is wrong.
pub(super) fn check(
    secret: &SecretString,
    header: Option<&str>,
    now: i64,
    body: &[u8],
) -> Result<Vec<u8>, &'static str> {
    let parts = header.and_then(|header| {
        let (at, tag) = header.trim().strip_prefix("t=")?.split_once(",v1=")?;
        let plain = !at.is_empty() && at.bytes().all(|byte| byte.is_ascii_digit());
        Some((at.parse::<i64>().ok().filter(|_| plain)?, unhex(tag)?))
    });
    let (at, tag) = parts.unwrap_or_default();
    if !is_right(secret, &[at.to_string().as_bytes(), b".", body], &tag) {
        return Err("bad-signature");
    }
    if now.abs_diff(at) > WINDOW.unsigned_abs() {
        return Err("stale-signature");
    }
    Ok(tag)
}

/// Checks GitHub's header; answers the tag that was right.
pub(super) fn check_github(
    secret: &SecretString,
    header: Option<&str>,
    body: &[u8],
) -> Result<Vec<u8>, &'static str> {
    let tag = header.and_then(|header| unhex(header.trim().strip_prefix("sha256=")?)).unwrap_or_default();
    if is_right(secret, &[body], &tag) { Ok(tag) } else { Err("bad-signature") }
}

fn is_right(secret: &SecretString, parts: &[&[u8]], tag: &[u8]) -> bool {
    mac(secret, parts).is_some_and(|mac| mac.verify_slice(tag).is_ok())
}

fn mac(secret: &SecretString, parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    Some(mac)
}

/// Signatures that were right, each with the id of its call. The id is not signed, so who copies a call could send it again
/// under another one.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<Vec<u8>, (String, Instant)>>);

impl Seen {
    /// Whether this signature may come with this id: it is new, or came with that id before.
    pub(super) fn admits(&self, tag: Vec<u8>, id: &str) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        seen.retain(|_, (_, at)| now.duration_since(*at) < SEEN_FOR);
        if seen.len() >= MOST_SEEN
            && let Some(oldest) = seen.iter().min_by_key(|(_, (_, at))| *at).map(|(tag, _)| tag.clone())
        {
            seen.remove(&oldest);
        }
        seen.entry(tag).or_insert_with(|| (id.to_owned(), now)).0 == id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        text.to_owned().into()
    }

    /// GitHub's own example, from its page on validating deliveries.
    #[test]
    fn githubs_example_is_right_and_nothing_near_it() {
        let its = secret("It's a Secret to Everybody");
        let header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(check_github(&its, Some(header), b"Hello, World!").is_ok());
        for (secret, header, body) in [
            (&its, Some(header), "Hello, World?"),
            (&secret("it's a Secret to Everybody"), Some(header), "Hello, World!"),
            (&its, Some(&header[..70]), "Hello, World!"),
            (&its, Some(&header[7..]), "Hello, World!"),
            (&its, Some("sha256="), "Hello, World!"),
            (&its, None, "Hello, World!"),
        ] {
            assert_eq!(check_github(secret, header, body.as_bytes()), Err("bad-signature"), "{header:?}");
        }
    }

    #[test]
    fn our_own_signature_is_good_for_five_minutes_in_both_directions() {
        let (its, now) = (secret("s"), 1_800_000_000);
        for (at, fine) in [(0, true), (-300, true), (300, true), (-301, false), (301, false)] {
            let header = sign(&its, now + at, b"body");
            let checked = check(&its, Some(&header), now, b"body");
            assert_eq!(checked.is_ok(), fine, "{at}");
            assert!(fine || checked == Err("stale-signature"));
        }
    }

    #[test]
    fn a_signature_is_of_its_time_and_its_body() {
        let its = secret("s");
        let header = sign(&its, 1000, b"body");
        let tag = header.split_once("v1=").unwrap().1;
        for (header, body) in [
            (Some(header.clone()), "bodY"),
            (Some(format!("t=1001,v1={tag}")), "body"),
            (Some(format!("t=+1000,v1={tag}")), "body"),
            (Some(format!("t=1000,v1={}", &tag[2..])), "body"),
            (Some(format!("v1={tag}")), "body"),
            (Some("t=,v1=".into()), "body"),
            (Some(String::new()), "body"),
            (None, "body"),
        ] {
            assert_eq!(check(&its, header.as_deref(), 1000, body.as_bytes()), Err("bad-signature"), "{header:?}");
        }
        assert!(check(&its, Some(&header), 1000, b"body").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_copied_call_cannot_get_another_id_and_what_is_remembered_is_bounded() {
        let seen = Seen::default();
        assert!(seen.admits(vec![1], "a") && seen.admits(vec![1], "a") && !seen.admits(vec![1], "b"));
        for number in 0..MOST_SEEN + 5 {
            seen.admits(number.to_be_bytes().to_vec(), "x");
        }
        assert_eq!(seen.0.lock().unwrap().len(), MOST_SEEN);
        tokio::time::advance(SEEN_FOR).await;
        assert!(seen.admits(vec![2], "x"));
        assert_eq!(seen.0.lock().unwrap().len(), 1);
    }
}
