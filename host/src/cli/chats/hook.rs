//! `cofferdam hook …`: programs that write to a group.

use cofferdam_protocol::admin::{Hidden, Hook, HookMade, HookPut};
use secrecy::ExposeSecret;

use super::args::{HookArgs, HookVerb};
use super::{http_channel, reached, segment};
use crate::cli::account::prompt::{self, Asked};
use crate::cli::client::Client;
use crate::cli::connect::{self, Mode};
use crate::cli::error::CliError;
use crate::cli::table::Table;
use crate::cli::{Context, terminal};

/// Ctrl-C at a prompt.
const INTERRUPTED: u8 = 130;

pub(in crate::cli) async fn run(context: &Context, verb: HookVerb) -> Result<u8, CliError> {
    match verb {
        HookVerb::Add(args) => return add(context, args).await,
        HookVerb::List => list(context).await?,
        HookVerb::Remove { name, channel } => {
            let call = async |client: &Client| {
                let channel = http_channel(client, channel.as_deref()).await?;
                Ok(client.delete(&path(&channel, &name)).await?)
            };
            connect::with(&context.home, Mode::Query, call).await?;
            context.tell("removed", &name, &format!("the webhook {name} is removed"))?;
        }
    }
    Ok(0)
}

fn path(channel: &str, name: &str) -> String {
    format!("/v1/channels/{}/hooks/{}", segment(channel), segment(name))
}

async fn add(context: &Context, args: HookArgs) -> Result<u8, CliError> {
    connect::require(&context.home)?;
    let mut read = [None, None];
    let files = [
        (&args.secret_file, "secret of the webhook", "--secret-file"),
        (&args.callback_file, "callback address", "--callback-file"),
    ];
    for (at, (file, what, option)) in files.into_iter().enumerate() {
        let Some(file) = file else { continue };
        match prompt::secret(Some(file), what, option).await? {
            Asked::Secret(secret) => read[at] = Some(Hidden(secret.expose_secret().trim().to_owned())),
            Asked::Nothing => return Ok(INTERRUPTED),
        }
    }
    let [secret, callback] = read;
    let put = HookPut {
        format: args.form().map(str::to_owned),
        group: args.group,
        events: events(args.events),
        callback: callback.or(args.callback.map(Hidden)),
        no_callback: args.no_callback,
        secret,
        fresh_secret: args.new_secret,
    };
    let call = async |client: &Client| {
        let channel = http_channel(client, args.channel.as_deref()).await?;
        Ok(client.put_with::<HookMade>(&path(&channel, &args.name), &put).await?)
    };
    let made = connect::with(&context.home, Mode::Query, call).await?;
    if context.json {
        terminal::out_json(&made)?;
        return Ok(0);
    }
    let Hook { name, groups, url, format, .. } = &made.hook;
    terminal::out(&format!("the webhook {name} ({format}) reaches {}: {url}", reached(groups)))?;
    if let Some(Hidden(secret)) = &made.secret {
        terminal::out(&format!("its secret, shown this once: {secret}"))?;
    }
    Ok(0)
}

/// The events that are said; the word `all` is a list of none.
fn events(said: Vec<String>) -> Option<Vec<String>> {
    match said.as_slice() {
        [] => None,
        [all] if all == "all" => Some(Vec::new()),
        _ => Some(said),
    }
}

async fn list(context: &Context) -> Result<(), CliError> {
    let get = async |client: &Client| Ok(client.get::<Vec<Hook>>("/v1/hooks").await?);
    let hooks = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&hooks);
    }
    if hooks.is_empty() {
        return terminal::out("no webhooks yet: `cofferdam hook add NAME GROUP` adds one");
    }
    let mut table = Table::new(["WEBHOOK", "GROUP", "FORM", "EVENTS", "CALLBACK", "URL"]);
    for hook in &hooks {
        let events = if hook.events.is_empty() { "all".to_owned() } else { hook.events.join(", ") };
        table.row([
            format!("{}:{}", hook.channel, hook.chat),
            reached(&hook.groups),
            hook.format.clone(),
            if hook.has_events { events } else { "-".to_owned() },
            hook.callback.clone().unwrap_or_else(|| "-".to_owned()),
            hook.url.clone(),
        ]);
    }
    terminal::out(&table.render())
}
