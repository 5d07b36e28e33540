//! Channels, wirings and people, from the command line.

pub(super) mod approval;
pub(super) mod args;
pub(super) mod channel;
pub(super) mod hook;
pub(super) mod key;
pub(super) mod user;
pub(super) mod wiring;

use cofferdam_protocol::admin::Channel;
use cofferdam_protocol::ids::Folder;

use super::client::Client;
use super::error::CliError;

/// The channel that webhooks and keys are of: the named one, or the only one that has any.
async fn http_channel(client: &Client, named: Option<&str>) -> Result<String, CliError> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let mut channels = client.get::<Vec<Channel>>("/v1/channels").await?;
    channels.retain(|channel| channel.programs);
    match (channels.pop(), channels.is_empty()) {
        (Some(channel), true) => Ok(channel.name),
        (Some(_), false) => {
            Err(CliError::usage("there are several channels of the kind http")
                .with_hint("say which with --channel"))
        }
        (None, _) => Err(CliError::usage("there is no channel of the kind http")
            .with_hint("`cofferdam channel add http http` adds one: it listens on 127.0.0.1 only")),
    }
}

/// The groups that calls reach, in words.
fn reached(groups: &[Folder]) -> String {
    let names: Vec<_> = groups.iter().map(Folder::as_str).collect();
    if names.is_empty() { "(none)".to_owned() } else { names.join(", ") }
}

/// A path's part that a person typed, so that it is one.
fn segment(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    word.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
