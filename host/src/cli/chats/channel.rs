//! `cofferdam channel …`: the chat platforms where people write.

use std::io::IsTerminal;

use cofferdam_protocol::admin::{Channel, ChannelKind, ChannelPut, ChannelTested, ErrorKind, Hidden};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use super::args::{AddArgs, ChannelVerb};
use super::segment;
use crate::cli::account::prompt::{self, Asked};
use crate::cli::client::Client;
use crate::cli::connect::{self, Mode};
use crate::cli::error::CliError;
use crate::cli::table::Table;
use crate::cli::{Context, terminal};

const PATH: &str = "/v1/channels";
pub(super) const KINDS: &str = "/v1/channel-kinds";
/// Where a secret comes from when nobody is asked.
const FROM_FILE: &str = "--secret-file";
/// Ctrl-C at a prompt.
const INTERRUPTED: u8 = 130;

pub(in crate::cli) async fn run(context: &Context, verb: ChannelVerb) -> Result<u8, CliError> {
    match verb {
        ChannelVerb::Add(args) => return add(context, args).await,
        ChannelVerb::List => list(context).await?,
        ChannelVerb::Show { name } => show(context, &name).await?,
        ChannelVerb::Test { name } => test(context, &name).await?,
        ChannelVerb::Remove { name, yes } => return remove(context, &name, yes).await,
    }
    Ok(0)
}

async fn add(context: &Context, args: AddArgs) -> Result<u8, CliError> {
    connect::require(&context.home)?;
    let before = before(context, &args).await?;
    let settings = settings(&args, before.as_ref())?;
    let secret = match (args.secret_file.as_deref(), args.no_secret) {
        (_, true) => None,
        // Only its settings change.
        (None, false) if before.is_some() => None,
        (None, false) => match needs(context, &args.kind).await? {
            // It may do without, and nobody is there to be asked.
            None => None,
            Some(what) => match prompt::secret(None, &format!("secret of {}: {what}", args.name), FROM_FILE).await?
            {
                Asked::Nothing => return Ok(INTERRUPTED),
                asked => hidden(asked),
            },
        },
        (Some(file), false) => hidden(prompt::secret(Some(file), "secret", FROM_FILE).await?),
    };
    let put = ChannelPut { kind: args.kind.clone(), settings, secret };
    let path = format!("{PATH}/{}", segment(&args.name));
    let call = async |client: &Client| Ok(client.put_with::<ChannelTested>(&path, &put).await?);
    let tested = connect::with(&context.home, Mode::Query, call).await?;
    if context.json {
        terminal::out_json(&tested)?;
    } else {
        let words = terminal::clean_line(&tested.words, 400);
        let next = tested.next.map(|next| format!("\nnext: {next}")).unwrap_or_default();
        terminal::out(&format!("{}: {words}{next}", args.name))?;
    }
    Ok(0)
}

/// The channel that single settings are changed of.
async fn before(context: &Context, args: &AddArgs) -> Result<Option<Channel>, CliError> {
    if args.settings.is_some() || args.set.is_empty() {
        return Ok(None);
    }
    let get = async |client: &Client| Ok(client.get::<Vec<Channel>>(PATH).await?);
    let mut channels = connect::with(&context.home, Mode::Query, get).await?;
    channels.retain(|channel| channel.name == args.name && channel.kind == args.kind);
    Ok(channels.pop())
}

/// The secret that this kind of channel cannot be without, in words.
async fn needs(context: &Context, kind: &str) -> Result<Option<String>, CliError> {
    let get = async |client: &Client| Ok(client.get::<Vec<ChannelKind>>(KINDS).await?);
    let kinds = connect::with(&context.home, Mode::Query, get).await?;
    // What is none, the change refuses.
    Ok(kinds.into_iter().find(|known| known.name == kind).and_then(|known| known.needs))
}

fn hidden(asked: Asked) -> Option<Hidden> {
    match asked {
        Asked::Secret(secret) => Some(Hidden(secret.expose_secret().trim().to_owned())),
        Asked::Nothing => None,
    }
}

/// Asks on the terminal; without one, only `--yes` will do.
fn confirmed(name: &str) -> Result<bool, CliError> {
    if !std::io::stdin().is_terminal() {
        let message =
            format!("removing {name} forgets its secret, its wirings and its users, and nobody is there to ask");
        return Err(CliError::usage(message).with_hint("add --yes"));
    }
    terminal::ask(&format!("Remove the channel {name} with its secret, its wirings and its users? [y/N] "))
}

/// The settings as the file and the options say, those before them staying; none: what is there stays.
fn settings(args: &AddArgs, before: Option<&Channel>) -> Result<Option<Value>, CliError> {
    let mut settings = match &args.settings {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                CliError::new(ErrorKind::Config, format!("{} cannot be read: {error}", path.display()))
            })?;
            let unfit = |why: String| CliError::new(ErrorKind::Config, format!("{}: {why}", path.display()));
            match serde_json::from_str(&text).map_err(|error| unfit(error.to_string()))? {
                Value::Object(settings) => settings,
                _ => return Err(unfit("it is not a JSON object".to_owned())),
            }
        }
        None => before.and_then(|channel| channel.settings.as_object().cloned()).unwrap_or_default(),
    };
    for pair in &args.set {
        let (key, value) = pair.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
            CliError::usage(format!("'{pair}' is no setting")).with_hint("write it as --set KEY=VALUE")
        })?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        put(&mut settings, key, value).ok_or_else(|| {
            CliError::usage(format!("'{key}' is a value and an object at once"))
                .with_hint("give an object as a whole, or its keys one by one")
        })?;
    }
    Ok((args.settings.is_some() || !args.set.is_empty()).then_some(Value::Object(settings)))
}

/// Puts a value where a key says, whose dots lead into objects. None: something else than an object is on the way.
fn put(settings: &mut Map<String, Value>, key: &str, value: Value) -> Option<()> {
    match key.split_once('.') {
        Some((outer, inner)) => {
            let object = settings.entry(outer).or_insert_with(|| Value::Object(Map::new()));
            put(object.as_object_mut()?, inner, value)
        }
        None => {
            settings.insert(key.to_owned(), value);
            Some(())
        }
    }
}

async fn list(context: &Context) -> Result<(), CliError> {
    let get = async |client: &Client| {
        let channels = client.get::<Vec<Channel>>(PATH).await?;
        let kinds = if channels.is_empty() { client.get::<Vec<ChannelKind>>(KINDS).await? } else { Vec::new() };
        Ok((channels, kinds))
    };
    let (channels, kinds) = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&channels);
    }
    if channels.is_empty() {
        let example = kinds.first().map_or("cofferdam channel add NAME KIND", |kind| kind.example.as_str());
        return terminal::out(&terminal::clean_line(
            &format!("no channels yet but the terminal: `{example}` adds one"),
            160,
        ));
    }
    let mut table = Table::new(["CHANNEL", "KIND", "STATE"]);
    for channel in &channels {
        table.row([channel.name.clone(), channel.kind.clone(), state(channel)]);
    }
    terminal::out(&table.render())
}

/// How it stands, in words.
pub(in crate::cli) fn state(channel: &Channel) -> String {
    let again = channel.again_at.as_ref().map(|at| format!(", again at {at}")).unwrap_or_default();
    let why = channel.why.as_ref().map(|why| format!(": {}", terminal::clean_line(why, 200))).unwrap_or_default();
    match channel.state.as_str() {
        "off" => "off (no daemon serves it)".to_owned(),
        state => format!("{state}{why}{again}"),
    }
}

async fn show(context: &Context, name: &str) -> Result<(), CliError> {
    let path = format!("{PATH}/{}", segment(name));
    let get = async |client: &Client| Ok(client.get::<Channel>(&path).await?);
    let channel = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&channel);
    }
    let settings = serde_json::to_string_pretty(&channel.settings).unwrap_or_default();
    terminal::out(&format!("{} · {} · {}\nsettings: {settings}", channel.name, channel.kind, state(&channel)))
}

async fn test(context: &Context, name: &str) -> Result<(), CliError> {
    let path = format!("{PATH}/{}/test", segment(name));
    let post = async |client: &Client| Ok(client.post_for::<ChannelTested>(&path).await?);
    let tested = connect::with(&context.home, Mode::Query, post).await?;
    if context.json {
        return terminal::out_json(&tested);
    }
    terminal::out(&terminal::clean_line(&format!("{name}: {}", tested.words), 400))
}

async fn remove(context: &Context, name: &str, yes: bool) -> Result<u8, CliError> {
    if !yes && !confirmed(name)? {
        context.tell("removed", None::<&str>, "nothing was removed")?;
        return Ok(INTERRUPTED);
    }
    let path = format!("{PATH}/{}", segment(name));
    let delete = async |client: &Client| Ok(client.delete(&path).await?);
    connect::with(&context.home, Mode::Query, delete).await?;
    context.tell("removed", name, &format!("{name} is removed"))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dots_in_a_key_lead_into_objects() {
        let mut settings = Map::new();
        for (key, value) in [("a", json!(1)), ("webhook.url", json!("u")), ("webhook.listen", json!("l"))] {
            assert!(put(&mut settings, key, value).is_some());
        }
        assert_eq!(Value::Object(settings.clone()), json!({"a": 1, "webhook": {"url": "u", "listen": "l"}}));
        assert!(put(&mut settings, "a.b", json!(1)).is_none());
    }
}
