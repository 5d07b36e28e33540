//! Keys of the API: `cfd_` and 32 random bytes in base64url. Only their SHA-256 is kept.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

/// What a key begins with, so that people and scanners for secrets know it.
pub const PREFIX: &str = "cfd_";
/// A key's characters: the prefix, and 32 bytes in base64url.
const LENGTH: usize = PREFIX.len() + 43;

/// A fresh secret of a webhook.
pub fn fresh_secret() -> SecretString {
    chance().into()
}

/// 256 bits of the system's chance: a hash of the 488 in four UUIDs.
fn chance() -> String {
    let chance = [(); 4].map(|()| *uuid::Uuid::new_v4().as_bytes()).concat();
    URL_SAFE_NO_PAD.encode(Sha256::digest(chance))
}

/// A fresh key, and what is kept of it.
pub fn fresh() -> (SecretString, [u8; 32]) {
    let key = format!("{PREFIX}{}", chance());
    let hash = hash_of(&key);
    (key.into(), hash)
}

/// What is kept of a key.
pub fn hash_of(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Whether it can be a key: no other text is looked up.
pub(super) fn has_form(key: &str) -> bool {
    key.len() == LENGTH && key.starts_with(PREFIX)
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[digit as usize]))
        .collect()
}

/// Bytes of hex in either case; none when it is not hex.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_fresh_key_has_the_form_and_no_other_has_it() {
        let (key, hash) = fresh();
        assert!(has_form(key.expose_secret()));
        assert_eq!(hash, hash_of(key.expose_secret()));
        assert_ne!(fresh().1, hash);
        assert!(!has_form("cfd_") && !has_form(&"x".repeat(LENGTH)));
    }

    #[test]
    fn hex_reads_back_in_either_case() {
        assert_eq!(hex(&[0, 0x9f, 255]), "009fff");
        assert_eq!(unhex("009FfF"), Some(vec![0, 0x9f, 255]));
        for wrong in ["0", "0g", "é", "+1"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }
}
