//! The envelope in which a secret lies on the disk. Pure: bytes in, bytes out.
//!
//! ```text
//! 1 byte    version (1)
//! 8 bytes   the key's id
//! 24 bytes  nonce, fresh each time
//! rest      XChaCha20-Poly1305: the text and its tag
//! ```
//!
//! What it belongs to (installation, account, purpose) and the first 9 bytes are authenticated with it, so an envelope that
//! is moved to another row, or whose beginning is changed, does not open. No error has any of its content.

use std::sync::Arc;

use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretBox, SecretSlice};
use sha2::{Digest, Sha256};

/// The form that this file describes.
const VERSION: u8 = 1;
const ID: usize = 8;
const NONCE: usize = 24;
const HEAD: usize = 1 + ID;
const TAG: usize = 16;
/// The size of a key, in bytes.
pub(super) const KEY: usize = 32;

/// Which key sealed an envelope: the beginning of a hash of it, which tells nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; ID]);

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A key of the vault. Clones share its one copy in memory.
#[derive(Debug, Clone)]
pub(super) struct SealKey {
    bytes: Arc<SecretBox<[u8; KEY]>>,
    id: KeyId,
}

impl SealKey {
    /// A new one, from the system's random numbers.
    pub(super) fn fresh() -> Self {
        Self::of(Key::generate().into())
    }

    pub(super) fn of(bytes: [u8; KEY]) -> Self {
        let hash = Sha256::new().chain_update("cofferdam vault key id").chain_update(bytes).finalize();
        let mut id = [0; ID];
        id.copy_from_slice(&hash[..ID]);
        Self { bytes: Arc::new(SecretBox::new(Box::new(bytes))), id: KeyId(id) }
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn expose(&self) -> &[u8; KEY] {
        self.bytes.expose_secret()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.expose()))
    }
}

/// What an envelope belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Belongs<'a> {
    /// The installation.
    pub(super) install: &'a str,
    /// The account.
    pub(super) account: &'a str,
    /// What the text is for.
    pub(super) purpose: &'a str,
}

impl Belongs<'_> {
    /// None of the three has a NUL in it.
    fn bound(&self, head: &[u8]) -> Vec<u8> {
        [head, self.install.as_bytes(), b"\0", self.account.as_bytes(), b"\0", self.purpose.as_bytes()].concat()
    }
}

/// Why an envelope does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is none, or of a form that this version does not know.
    #[error("it is not in a form that this version knows")]
    Form,
    /// It was sealed with a key that is not here.
    #[error("it was sealed with the key {0}, which the vault has not")]
    OtherKey(KeyId),
    /// It was changed, or moved from another place.
    #[error("it was changed since it was sealed, or belongs to another account or installation")]
    Changed,
}

/// Seals a text.
pub(super) fn seal(key: &SealKey, belongs: &Belongs<'_>, text: &[u8]) -> Vec<u8> {
    let mut envelope = Vec::with_capacity(HEAD + NONCE + text.len() + TAG);
    envelope.push(VERSION);
    envelope.extend_from_slice(&key.id.0);
    let nonce = XNonce::generate();
    let aad = belongs.bound(&envelope);
    envelope.extend_from_slice(&nonce);
    // It fails for texts of 256 GiB and more.
    let sealed = key.cipher().encrypt(&nonce, Payload { msg: text, aad: &aad }).unwrap_or_default();
    envelope.extend_from_slice(&sealed);
    envelope
}

/// The key that sealed an envelope.
pub(super) fn key_of(envelope: &[u8]) -> Result<KeyId, OpenError> {
    match envelope {
        [VERSION, rest @ ..] if rest.len() >= ID + NONCE + TAG => {
            let mut id = [0; ID];
            id.copy_from_slice(&rest[..ID]);
            Ok(KeyId(id))
        }
        _ => Err(OpenError::Form),
    }
}

/// Opens an envelope with the one of these keys that sealed it.
pub(super) fn open(keys: &[SealKey], belongs: &Belongs<'_>, envelope: &[u8]) -> Result<SecretSlice<u8>, OpenError> {
    let id = key_of(envelope)?;
    let key = keys.iter().find(|key| key.id == id).ok_or(OpenError::OtherKey(id))?;
    let (head, rest) = envelope.split_at(HEAD);
    let (nonce, sealed) = rest.split_at(NONCE);
    let nonce = XNonce::try_from(nonce).map_err(|_| OpenError::Form)?;
    let payload = Payload { msg: sealed, aad: &belongs.bound(head) };
    key.cipher().decrypt(&nonce, payload).map(Into::into).map_err(|_| OpenError::Changed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: Belongs<'_> = Belongs { install: "i", account: "work", purpose: "secret" };

    fn opened(keys: &[SealKey], belongs: &Belongs<'_>, envelope: &[u8]) -> Result<Vec<u8>, OpenError> {
        open(keys, belongs, envelope).map(|text| text.expose_secret().to_vec())
    }

    #[test]
    fn what_is_moved_to_another_place_does_not_open() {
        let keys = [SealKey::fresh()];
        let envelope = seal(&keys[0], &HERE, b"sk-secret");
        assert_eq!(opened(&keys, &HERE, &envelope).unwrap(), b"sk-secret");
        for elsewhere in [
            Belongs { install: "j", ..HERE },
            Belongs { account: "home", ..HERE },
            Belongs { purpose: "other", ..HERE },
            Belongs { install: "i\0work", account: "secret", purpose: "" },
        ] {
            assert_eq!(opened(&keys, &elsewhere, &envelope), Err(OpenError::Changed), "{elsewhere:?}");
        }
    }

    #[test]
    fn the_key_is_found_by_its_id_and_a_missing_one_is_named() {
        let (old, new) = (SealKey::fresh(), SealKey::fresh());
        let envelope = seal(&old, &HERE, b"x");
        let missing = OpenError::OtherKey(old.id());
        assert_eq!(opened(&[SealKey::of(*new.expose())], &HERE, &envelope), Err(missing));
        assert_eq!(opened(&[new, old], &HERE, &envelope).unwrap(), b"x");
    }

    #[test]
    fn one_text_is_sealed_in_another_way_each_time() {
        let key = SealKey::fresh();
        assert_ne!(seal(&key, &HERE, b"x"), seal(&key, &HERE, b"x"));
    }

    proptest! {
        #[test]
        fn any_text_comes_back_and_any_change_is_noticed(
            text in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<proptest::sample::Index>(),
            bit in 0u8..8,
        ) {
            let keys = [SealKey::of([7; KEY])];
            let mut envelope = seal(&keys[0], &HERE, &text);
            prop_assert!(text.len() < 8 || !envelope.windows(text.len()).any(|window| window == text));
            prop_assert_eq!(opened(&keys, &HERE, &envelope), Ok(text));
            let at = at.index(envelope.len());
            envelope[at] ^= 1 << bit;
            prop_assert!(opened(&keys, &HERE, &envelope).is_err());
        }

        #[test]
        fn no_bytes_make_it_fall_over(envelope in proptest::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(opened(&[SealKey::of([7; KEY])], &HERE, &envelope).is_err());
        }
    }
}
