//! People and their roles.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cofferdam_protocol::admin::{
    ErrorKind, GivenRole, NewPerson, PairCode, PairRequest, Person, PersonLink, RoleChange, User,
};
use cofferdam_protocol::ids::Folder;

use super::Admin;
use super::answers::{Answer, no_group};
use super::error::Failed;
use super::wirings::{id_fits, usage};
use crate::desk::NewCode;
use crate::model::people::Role;
use crate::store::people::{NewUser, PersonRow};
use crate::store::{now_ms, rfc3339};

/// How long a code is good for, in minutes, when nobody says; and at most, a day.
const MINUTES: u32 = 10;
const MOST_MINUTES: u32 = 24 * 60;

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Answer<Vec<Person>> {
    Ok(Json(admin.stores.central().people().await?.into_iter().map(view).collect()))
}

pub(super) async fn show(State(admin): State<Arc<Admin>>, Path(id): Path<i64>) -> Answer<Person> {
    person(&admin, id).await
}

pub(super) async fn add(State(admin): State<Arc<Admin>>, Json(new): Json<NewPerson>) -> Answer<Person> {
    let role = role(&new.role.role, new.role.group.as_ref())?;
    group_is_there(&admin, new.role.group.as_ref()).await?;
    let central = admin.stores.central();
    if !central.channels().await?.iter().any(|row| row.name == new.channel) {
        let message = format!("there is no channel '{}'", new.channel);
        return Err(Failed::not_found(message, "`cofferdam channel list` shows the channels"));
    }
    id_fits(&admin, &new.channel, &new.user_id).await?;
    if let Some(known) = person_of(&admin, &new.channel, &new.user_id).await? {
        let message = format!("{}:{} is known as person {known}", new.channel, new.user_id);
        let hint =
            format!("`cofferdam role set {known} ROLE` changes what they may, `user remove {known}` forgets them");
        return Err(Failed::new(ErrorKind::Conflict, message, hint));
    }
    let name = new.name.unwrap_or_else(|| new.user_id.clone());
    let user = NewUser { channel: new.channel, user_id: new.user_id, name, direct: None };
    let id = central.put_user(user, Some((role, new.role.group)), "the host").await?;
    admin.desk.look_soon();
    person(&admin, id).await
}

pub(super) async fn set_role(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<i64>,
    Json(change): Json<RoleChange>,
) -> Answer<Person> {
    let role = change.role.as_ref().map(|word| role(word, change.group.as_ref())).transpose()?;
    if role.is_none() {
        has_role(&admin, id, change.group.as_ref()).await?;
    }
    group_is_there(&admin, change.group.as_ref()).await?;
    if !admin.stores.central().set_role(id, change.group, role, "the host").await? {
        return Err(unknown(id));
    }
    admin.desk.look_soon();
    person(&admin, id).await
}

pub(super) async fn link(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<i64>,
    Json(link): Json<PersonLink>,
) -> Answer<Person> {
    if id == link.other {
        return Err(usage("that is one person already", "name two"));
    }
    if !admin.stores.central().link(id, link.other).await? {
        let known = admin.stores.central().person(id).await?.is_some();
        return Err(unknown(if known { link.other } else { id }));
    }
    admin.desk.look_soon();
    person(&admin, id).await
}

pub(super) async fn remove(State(admin): State<Arc<Admin>>, Path(id): Path<i64>) -> Result<StatusCode, Failed> {
    if admin.stores.central().remove_person(id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(unknown(id)) }
}

pub(super) async fn pair(State(admin): State<Arc<Admin>>, Json(asked): Json<PairRequest>) -> Answer<PairCode> {
    group_is_there(&admin, asked.group.as_ref()).await?;
    let role = match &asked.role {
        Some(word) => Some(role(word, None)?),
        // Another platform of somebody who is known.
        None if asked.person.is_some() => None,
        None if !admin.stores.central().has_owner().await? => Some(Role::Owner),
        None => {
            let hint = "say whose code it is: --person N for another platform of somebody in `cofferdam user list`, or for \
                        somebody else --role owner, admin, member or guest";
            return Err(usage("there is an owner already", hint));
        }
    };
    if let Some(id) = asked.person
        && admin.stores.central().person(id).await?.is_none()
    {
        return Err(unknown(id));
    }
    let minutes = asked.minutes.unwrap_or(MINUTES);
    if minutes == 0 || minutes > MOST_MINUTES {
        return Err(usage("a code is good for one minute to a day", "say 1 to 1440 minutes"));
    }
    let lasts = Duration::from_secs(u64::from(minutes) * 60);
    let new = NewCode { role, folder: asked.group.clone(), person: asked.person, lasts };
    let code = admin.desk.new_code(new).await?;
    let expires_at = rfc3339(now_ms() + i64::from(minutes) * 60_000);
    let role = role.map(|role| role.as_str().to_owned());
    Ok(Json(PairCode { code, role, group: asked.group, person: asked.person, expires_at }))
}

/// A role that can be given there.
fn role(word: &str, group: Option<&Folder>) -> Result<Role, Failed> {
    let role = Role::parse(word)
        .ok_or_else(|| usage(&format!("there is no role '{word}'"), "say owner, admin, member or guest"))?;
    if role == Role::Owner && group.is_some() {
        return Err(usage("an owner owns all groups", "leave the group out, or give the role admin"));
    }
    Ok(role)
}

/// The person who has a platform's user.
async fn person_of(admin: &Admin, channel: &str, user_id: &str) -> Result<Option<i64>, Failed> {
    let people = admin.stores.central().people().await?;
    let has = |row: &PersonRow| row.users.iter().any(|user| user.channel == channel && user.user_id == user_id);
    Ok(people.into_iter().find(has).map(|row| row.id))
}

/// Only a role that is there can be taken away.
async fn has_role(admin: &Admin, id: i64, group: Option<&Folder>) -> Result<(), Failed> {
    let row = admin.stores.central().person(id).await?.ok_or_else(|| unknown(id))?;
    if row.roles.iter().any(|role| role.folder.as_ref() == group) {
        return Ok(());
    }
    let of = group.map_or_else(|| "of all groups".to_owned(), |group| format!("in {group}"));
    let hint = "`cofferdam user list` shows who has which";
    Err(Failed::new(ErrorKind::NotFound, format!("person {id} has no role {of}"), hint))
}

async fn group_is_there(admin: &Admin, group: Option<&Folder>) -> Result<(), Failed> {
    match group {
        Some(group) if admin.stores.central().group(group).await?.is_none() => Err(no_group(group)),
        _ => Ok(()),
    }
}

async fn person(admin: &Admin, id: i64) -> Answer<Person> {
    let row = admin.stores.central().person(id).await?.ok_or_else(|| unknown(id))?;
    Ok(Json(view(row)))
}

fn unknown(id: i64) -> Failed {
    Failed::new(ErrorKind::NotFound, format!("there is no person {id}"), "`cofferdam user list` shows the people")
}

fn view(row: PersonRow) -> Person {
    let users = row.users.into_iter().map(|user| User {
        channel: user.channel,
        user_id: user.user_id,
        name: user.name,
        direct: user.direct,
    });
    let roles =
        row.roles.into_iter().map(|row| GivenRole { group: row.folder, role: row.role.as_str().to_owned() });
    Person { id: row.id, name: row.name, users: users.collect(), roles: roles.collect() }
}
