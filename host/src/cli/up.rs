//! `cofferdam up`: the daemon, in the foreground.

use super::error::CliError;
use super::{Context, connect};

pub(super) async fn run(context: &Context) -> Result<u8, CliError> {
    connect::serve(&context.home).await?;
    Ok(0)
}
