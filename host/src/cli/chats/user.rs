//! `cofferdam user`, `role` and `pair`: people whom channels know, and what they may do.

use cofferdam_protocol::admin::{GivenRole, NewPerson, PairCode, PairRequest, Person, PersonLink, RoleChange};

use super::args::{PairArgs, RoleVerb, UserVerb};
use crate::cli::client::Client;
use crate::cli::connect::{self, Mode};
use crate::cli::error::CliError;
use crate::cli::table::Table;
use crate::cli::{Context, terminal};

const PATH: &str = "/v1/people";

pub(in crate::cli) async fn run(context: &Context, verb: UserVerb) -> Result<u8, CliError> {
    match verb {
        UserVerb::List => list(context).await?,
        UserVerb::Add { user, name, role, group } => {
            let role = GivenRole { group, role };
            let new = NewPerson { channel: user.channel, user_id: user.chat_id, name, role };
            let post = async |client: &Client| Ok(client.post::<Person>(PATH, &new).await?);
            told(context, &connect::with(&context.home, Mode::Query, post).await?)?;
        }
        UserVerb::Link { person, other } => {
            let path = format!("{PATH}/{person}/link");
            let post = async |client: &Client| Ok(client.post::<Person>(&path, &PersonLink { other }).await?);
            told(context, &connect::with(&context.home, Mode::Query, post).await?)?;
        }
        UserVerb::Remove { person } => {
            let path = format!("{PATH}/{person}");
            let delete = async |client: &Client| Ok(client.delete(&path).await?);
            connect::with(&context.home, Mode::Query, delete).await?;
            context.tell("removed", person, &format!("person {person} is forgotten"))?;
        }
    }
    Ok(0)
}

pub(in crate::cli) async fn role(context: &Context, verb: RoleVerb) -> Result<u8, CliError> {
    let (person, change) = match verb {
        RoleVerb::Set { person, role, group } => (person, RoleChange { group, role: Some(role) }),
        RoleVerb::Remove { person, group } => (person, RoleChange { group, role: None }),
    };
    let path = format!("{PATH}/{person}/role");
    let put = async |client: &Client| Ok(client.put_with::<Person>(&path, &change).await?);
    told(context, &connect::with(&context.home, Mode::Query, put).await?)?;
    Ok(0)
}

async fn list(context: &Context) -> Result<(), CliError> {
    let get = async |client: &Client| Ok(client.get::<Vec<Person>>(PATH).await?);
    let people = connect::with(&context.home, Mode::Query, get).await?;
    if context.json {
        return terminal::out_json(&people);
    }
    if people.is_empty() {
        return terminal::out("nobody is known yet: `cofferdam pair` makes a code for the first, the owner");
    }
    terminal::out(&table(&people))
}

fn told(context: &Context, person: &Person) -> Result<(), CliError> {
    if context.json {
        return terminal::out_json(person);
    }
    terminal::out(&table(std::slice::from_ref(person)))
}

fn table(people: &[Person]) -> String {
    let mut table = Table::new(["PERSON", "NAME", "USERS", "ROLES"]);
    for person in people {
        let users: Vec<_> = person.users.iter().map(|user| format!("{}:{}", user.channel, user.user_id)).collect();
        let roles: Vec<_> = person
            .roles
            .iter()
            .map(|given| match &given.group {
                Some(group) => format!("{} of {group}", given.role),
                None => given.role.clone(),
            })
            .collect();
        let words = |words: Vec<String>| if words.is_empty() { "-".to_owned() } else { words.join(", ") };
        table.row([person.id.to_string(), person.name.clone(), words(users), words(roles)]);
    }
    table.render()
}

pub(in crate::cli) async fn pair(context: &Context, args: PairArgs) -> Result<u8, CliError> {
    let asked = PairRequest { role: args.role, group: args.group, person: args.person, minutes: args.minutes };
    let post = async |client: &Client| Ok(client.post::<PairCode>("/v1/pairings", &asked).await?);
    let code = connect::with(&context.home, Mode::Query, post).await?;
    if context.json {
        terminal::out_json(&code)?;
        return Ok(0);
    }
    let of = code.group.as_ref().map(|group| format!(", and wires the chat to {group}")).unwrap_or_default();
    let who = match (code.person, &code.role) {
        (None, role) => role.clone().unwrap_or_else(|| "known".to_owned()),
        (Some(person), Some(role)) => format!("person {person} then, and {role} unless they are more already"),
        (Some(person), None) => format!("person {person} then, with the roles that person has"),
    };
    let then = if code.person.is_none() { " then" } else { "" };
    terminal::out(&format!(
        "send this to the bot, until {}:\n\n  /pair {}\n\nwhoever does is {who}{then}{of}",
        code.expires_at, code.code
    ))?;
    Ok(0)
}
