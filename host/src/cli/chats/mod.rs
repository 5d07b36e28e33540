//! Channels, wirings and people, from the command line.

pub(super) mod approval;
pub(super) mod args;
pub(super) mod channel;
pub(super) mod user;
pub(super) mod wiring;

/// A path's part that a person typed, so that it is one.
fn segment(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    word.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
