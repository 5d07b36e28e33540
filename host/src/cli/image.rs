//! `cofferdam image …`: the image of the containers.

use std::io::IsTerminal;

use jiff::Timestamp;
use serde_json::json;

use super::args::ImageVerb;
use super::engine::Engine;
use super::error::CliError;
use super::table::{Table, ago};
use super::{Context, logging, terminal};
use crate::config::host::HostConfig;
use crate::config::process_env;

pub(super) async fn run(context: &Context, verb: ImageVerb) -> Result<u8, CliError> {
    let config = HostConfig::load(&context.home, &process_env)?;
    logging::start(&config.log, logging::Use::Command);
    let engine = Engine::connect(&context.home, &config).await?;
    match verb {
        ImageVerb::Build => {
            let image = engine.build(std::io::stderr().is_terminal()).await?;
            if context.json { terminal::out_json(&json!({ "image": image }))? } else { terminal::out(&image)? }
        }
        ImageVerb::List => {
            let images = engine.images().await?;
            if context.json {
                terminal::out_json(&images)?;
                return Ok(0);
            }
            let mut table = Table::new(["IMAGE", "CODEX", "SIZE", "MADE", "CURRENT"]);
            for image in images {
                let made = Timestamp::from_second(image.created).map(|at| at.to_string()).unwrap_or_default();
                table.row([
                    image.tag,
                    image.codex.unwrap_or_else(|| "-".to_owned()),
                    format!("{} MB", image.size / 1_000_000),
                    ago(&made, Timestamp::now()),
                    if image.current { "yes".to_owned() } else { String::new() },
                ]);
            }
            terminal::out(&table.render())?;
        }
    }
    Ok(0)
}
