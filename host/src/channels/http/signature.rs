//! Signatures of webhooks and of callbacks: HMAC-SHA256, compared in constant time.

use std::hint::black_box;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::keys::{hex, unhex};

/// Our own header: `t=UNIX,v1=HEX` over `t.body`.
pub const HEADER: &str = "x-cofferdam-signature";
/// GitHub's header: `sha256=HEX` over the body.
pub(super) const GITHUB_HEADER: &str = "x-hub-signature-256";

/// How far the time in a signature may be from ours, in seconds, in either direction.
pub(super) const WINDOW: i64 = 300;

/// A signature that was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Right {
    pub(super) tag: Vec<u8>,
    /// How much longer its time lets it be right; none where no time is signed.
    pub(super) fresh: Duration,
}

/// The value of our header, for a body that is sent at this time (s since 1970).
pub fn sign(secret: &SecretString, at: i64, body: &[u8]) -> String {
    let tag = mac(secret, &[at.to_string().as_bytes(), b".", body]).map(|mac| mac.finalize().into_bytes());
    header(at, tag.as_deref())
}

/// The same for a callback, over `callback.t.body`: so what is posted to a callback's address is no call.
pub fn sign_callback(secret: &SecretString, at: i64, body: &[u8]) -> String {
    let head = format!("callback.{at}.");
    let tag = mac(secret, &[head.as_bytes(), body]).map(|mac| mac.finalize().into_bytes());
    header(at, tag.as_deref())
}

fn header(at: i64, tag: Option<&[u8]>) -> String {
    // A key of any length is taken, so there is always a tag.
    format!("t={at},v1={}", hex(tag.unwrap_or_default()))
}

/// Does what a check of so many bytes takes, for a webhook that there is not.
pub(super) fn check_nobodys(bytes: usize) {
    const BLANK: [u8; 8192] = [0; 8192];
    let nobodys = SecretString::from("no hook has this name; its secret is as long as any other");
    let Some(mut mac) = mac(&nobodys, &[]) else { return };
    let mut left = bytes;
    while left > 0 {
        let now = left.min(BLANK.len());
        mac.update(black_box(&BLANK[..now]));
        left -= now;
    }
    let _ = black_box(mac.verify_slice(&[]));
}

/// Checks our header; answers why it is refused. The work is the same whatever is wrong.
pub(super) fn check(
    secret: &SecretString,
    header: Option<&str>,
    now: i64,
    body: &[u8],
) -> Result<Right, &'static str> {
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
    let fresh = u64::try_from(at + WINDOW - now).map(Duration::from_secs).unwrap_or_default();
    Ok(Right { tag, fresh })
}

/// Checks GitHub's header.
pub(super) fn check_github(
    secret: &SecretString,
    header: Option<&str>,
    body: &[u8],
) -> Result<Right, &'static str> {
    let tag = header.and_then(|header| unhex(header.trim().strip_prefix("sha256=")?)).unwrap_or_default();
    let right = is_right(secret, &[body], &tag);
    if right { Ok(Right { tag, fresh: Duration::ZERO }) } else { Err("bad-signature") }
}

fn is_right(secret: &SecretString, parts: &[&[u8]], tag: &[u8]) -> bool {
    mac(secret, parts).is_some_and(|mac| mac.verify_slice(tag).is_ok())
}

fn mac(secret: &SecretString, parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    Some(mac)
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
            match checked {
                Ok(right) => assert_eq!(right.fresh.as_secs(), (at + 300).unsigned_abs(), "what is left of it"),
                Err(why) => assert_eq!(why, "stale-signature"),
            }
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

    #[test]
    fn a_callback_is_no_call_and_a_call_no_callback() {
        let (its, body) = (secret("s"), b"{\"text\": \"x\"}");
        let callback = sign_callback(&its, 1000, body);
        assert_eq!(check(&its, Some(&callback), 1000, body), Err("bad-signature"));
        assert_ne!(callback, sign(&its, 1000, body));
        let github = callback.split_once("v1=").map(|(_, tag)| format!("sha256={tag}")).unwrap();
        assert_eq!(check_github(&its, Some(&github), body), Err("bad-signature"));
    }
}
