//! Signatures of webhooks and of callbacks: HMAC-SHA256, compared in constant time.

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
}
