//! `account key …`: the key that the accounts are sealed with, which is never shown.

use cofferdam_protocol::admin::{KeyMove, KeyMoved, KeyPlace, KeyRotated, VaultKey};

use crate::cli::client::Client;
use crate::cli::connect::{self, Mode};
use crate::cli::error::CliError;
use crate::cli::terminal::clean_line;
use crate::cli::{Context, terminal};

/// Where the key is.
pub(in crate::cli) async fn state(client: &Client) -> Result<VaultKey, CliError> {
    Ok(client.get("/v1/vault").await?)
}

pub(super) async fn rotate(context: &Context) -> Result<(), CliError> {
    let post = async |client: &Client| Ok(client.post_for::<KeyRotated>("/v1/vault/rotate").await?);
    let rotated = connect::with(&context.home, Mode::Query, post).await?;
    if context.json {
        return terminal::out_json(&rotated);
    }
    terminal::out(&of_rotation(&rotated))
}

pub(super) async fn move_to(context: &Context, to: KeyPlace) -> Result<(), CliError> {
    let put = async |client: &Client| Ok(client.put_with::<KeyMoved>("/v1/vault/place", &KeyMove { to }).await?);
    let moved = connect::with(&context.home, Mode::Query, put).await?;
    if context.json {
        return terminal::out_json(&moved);
    }
    if let Some(note) = &moved.note {
        terminal::err(&format!("note: {}", clean_line(note, 400)));
    }
    let is = if moved.moved { "is now" } else { "was already" };
    terminal::out(&format!("the vault's key {is} in {}", place(moved.place, &moved.at)))
}

/// A place in words.
pub(in crate::cli) fn place(place: KeyPlace, at: &str) -> String {
    let at = clean_line(at, 200);
    match place {
        KeyPlace::Keyring => format!("the operating system's keyring ({at})"),
        KeyPlace::File => at,
    }
}

/// What should be known of the key's place, if anything.
pub(in crate::cli) fn note(key: &VaultKey) -> Option<String> {
    let is = key.place?;
    if key.moving {
        return Some(
            "a move of the vault's key was cut off: the file has it, and the keyring may have it too".to_owned(),
        );
    }
    let wanted = key.wanted.filter(|wanted| *wanted != is)?;
    Some(format!(
        "the vault's key is in {}, and the configuration says `{wanted}`: `cofferdam account key move --to {wanted}`",
        place(is, &key.at)
    ))
}

fn of_rotation(rotated: &KeyRotated) -> String {
    let what = match rotated.sealed {
        1 => "1 account is".to_owned(),
        n => format!("{n} accounts are"),
    };
    let mut text = format!("the vault has the new key {}; {what} sealed with it", rotated.key);
    for name in &rotated.left {
        text += &format!("\nnote: {name} did not open before and does not now: log it in again");
    }
    text
}
