//! Channels, wirings and people, from the command line.

pub(super) mod approval;
pub(super) mod args;
pub(super) mod channel;
pub(super) mod hook;
pub(super) mod key;
pub(super) mod user;
pub(super) mod wiring;

use cofferdam_protocol::admin::{Channel, ChannelKind};
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
            Err(CliError::usage("there are several channels that programs call")
                .with_hint("say which with --channel"))
        }
        (None, _) => {
            let mut kinds = client.get::<Vec<ChannelKind>>(channel::KINDS).await?;
            kinds.retain(|kind| kind.programs);
            let adds = |kind: &ChannelKind| format!("`{}` adds one: {}", kind.example, kind.about);
            let hint = kinds.first().map_or_else(|| "`cofferdam channel add` adds one".to_owned(), adds);
            Err(CliError::usage("there is no channel that programs call").with_hint(hint))
        }
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
