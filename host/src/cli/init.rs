//! `cofferdam init`: a home with a group to try.

use std::path::Path;

use cofferdam_protocol::admin::Group;
use cofferdam_protocol::ids::Folder;
use serde_json::json;

use super::client::Client;
use super::connect::{self, Mode};
use super::error::CliError;
use super::{Context, scaffold, terminal};

pub(super) async fn run(context: &Context) -> Result<u8, CliError> {
    let demo: Folder = "demo".parse().map_err(|error| CliError::internal(format!("{error}")))?;
    let mut made = scaffold::home(&context.home)?;
    made.extend(scaffold::group(&context.home, &demo)?);
    let put = async |client: &Client| Ok(client.put::<Group>(&format!("/v1/groups/{demo}")).await?);
    connect::with(&context.home, Mode::Query, put).await?;
    let root = context.home.root();
    if context.json {
        terminal::out_json(&json!({ "home": root, "made": made }))?;
        return Ok(0);
    }
    for path in &made {
        terminal::out(&format!("made {}", path.display()))?;
    }
    let option = if context.is_default_home() { String::new() } else { format!(" --home {}", quoted(root)) };
    terminal::out(&format!(
        "{} is ready. Next:\n  cofferdam{option} doctor      check what Cofferdam needs\n  cofferdam{option} chat demo   talk to the demo agent",
        root.display()
    ))?;
    Ok(0)
}

/// The path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
