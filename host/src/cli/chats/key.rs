//! `cofferdam key …`: keys of the API that OpenAI's clients speak.

use cofferdam_protocol::admin::{ApiKey, ApiKeyMade, ApiKeyNew, Hidden};

use super::args::{KeyArgs, KeyVerb};
use super::{http_channel, reached, segment};
use crate::cli::client::Client;
use crate::cli::connect::{self, Mode};
use crate::cli::error::CliError;
use crate::cli::table::Table;
use crate::cli::{Context, terminal};

pub(in crate::cli) async fn run(context: &Context, verb: KeyVerb) -> Result<u8, CliError> {
    match verb {
        KeyVerb::Add(args) => add(context, args).await?,
        KeyVerb::List => list(context).await?,
        KeyVerb::Revoke { name, channel } => {
            let call = async |client: &Client| {
                let channel = http_channel(client, channel.as_deref()).await?;
                Ok(client.post_nothing(&format!("{}/revoke", path(&channel, &name))).await?)
            };
            connect::with(&context.home, Mode::Query, call).await?;
            context.tell("revoked", &name, &format!("the key {name} is revoked: it opens nothing any more"))?;
        }
        KeyVerb::Remove { name, channel } => {
            let call = async |client: &Client| {
                let channel = http_channel(client, channel.as_deref()).await?;
                Ok(client.delete(&path(&channel, &name)).await?)
            };
            connect::with(&context.home, Mode::Query, call).await?;
            context.tell("removed", &name, &format!("the key {name} is removed"))?;
        }
    }
    Ok(0)
}

fn path(channel: &str, name: &str) -> String {
    format!("/v1/channels/{}/keys/{}", segment(channel), segment(name))
}

async fn add(context: &Context, args: KeyArgs) -> Result<(), CliError> {
    connect::require(&context.home)?;
    let new = ApiKeyNew { group: args.group, model: args.model, days: (!args.no_expiry).then_some(args.days) };
    let call = async |client: &Client| {
        let channel = http_channel(client, args.channel.as_deref()).await?;
        Ok(client.post::<ApiKeyMade>(&path(&channel, &args.name), &new).await?)
    };
    let made = connect::with(&context.home, Mode::Query, call).await?;
    if context.json {
        return terminal::out_json(&made);
    }
    let ApiKeyMade { shown, key: Hidden(key) } = &made;
    let until = shown.expires_at.as_deref().unwrap_or("it is revoked: it has no end");
    terminal::out(&format!(
        "the key {} reaches {} as the model {}, good until {until}\nbase URL: {}\nthe key, shown this once: {key}",
        shown.name,
        reached(&shown.groups),
        shown.model,
        shown.url
    ))
}

async fn list(context: &Context) -> Result<(), CliError> {
    let get = async |client: &Client| Ok(client.get::<Vec<ApiKey>>("/v1/keys").await?);
    let keys = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&keys);
    }
    if keys.is_empty() {
        return terminal::out("no keys yet: `cofferdam key add NAME GROUP` makes one");
    }
    let mut table = Table::new(["KEY", "GROUP", "MODEL", "STATE", "GOOD UNTIL", "USED"]);
    for key in &keys {
        table.row([
            format!("{}:{}", key.channel, key.chat),
            reached(&key.groups),
            key.model.clone(),
            key.state.clone(),
            key.expires_at.clone().unwrap_or_else(|| "no end".to_owned()),
            key.used_at.clone().unwrap_or_else(|| "never".to_owned()),
        ]);
    }
    terminal::out(&table.render())
}
