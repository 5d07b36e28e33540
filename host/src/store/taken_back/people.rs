//! People and their roles, out of a backup.

use super::*;

/// The people of the backup whom nobody knows here, with their roles; who is known stays as they are. Answers them in words.
pub(super) fn people(
    tx: &Savepoint<'_>,
    from: &Connection,
    others: &HashSet<String>,
) -> Result<Vec<String>, StoreError> {
    let mut back = Vec::new();
    Copying::of("people").each(from, |mut person| {
        let old = person.number("id");
        let mut users = Vec::new();
        Copying::some("users", "person", old).each(from, |user| {
            if !others.contains(user.text("channel")) {
                users.push(user);
            }
            Ok(())
        })?;
        let known = |user: &Line| user_of(tx, user.text("channel"), user.text("user_id"));
        let is_known = users.iter().map(known).collect::<Result<Vec<_>, _>>()?.iter().any(Option::is_some);
        if users.is_empty() || is_known {
            return Ok(());
        }
        person.unset("id");
        person.put(tx)?;
        let new = tx.last_insert_rowid();
        for mut user in users {
            user.set("person", new);
            user.put(tx)?;
        }
        let roles = roles_of(tx, from, (old, new))?;
        let roles = if roles.is_empty() { "no role".to_owned() } else { roles.join(", ") };
        back.push(format!("{} ({roles})", person.text("name")));
        Ok(())
    })?;
    Ok(back)
}

fn user_of(tx: &Savepoint<'_>, channel: &str, user_id: &str) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT person FROM users WHERE channel = ?1 AND user_id = ?2";
    Ok(tx.prepare_cached(sql)?.query_row([channel, user_id], |row| row.get(0)).optional()?)
}

/// A new person's roles, of groups that are here.
fn roles_of(tx: &Savepoint<'_>, from: &Connection, (old, new): (i64, i64)) -> Result<Vec<String>, StoreError> {
    let mut words = Vec::new();
    Copying::some("roles", "person", old).each(from, |mut role| {
        let folder = role.maybe("folder").map(str::to_owned);
        if !folder.as_deref().map_or(Ok(true), |folder| group_is_here(tx, folder))? {
            return Ok(());
        }
        role.set("person", new);
        if role.put(tx)? {
            let of = folder.map(|folder| format!(" of {folder}")).unwrap_or_default();
            words.push(format!("{}{of}", role.text("role")));
        }
        Ok(())
    })?;
    Ok(words)
}

pub(super) fn group_is_here(tx: &Savepoint<'_>, folder: &str) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM groups WHERE folder = ?1)";
    Ok(tx.prepare_cached(sql)?.query_row([folder], |row| row.get(0))?)
}

/// The roles in one group, of people who are known here by one of their users. Answers them in words.
pub(super) fn roles_in(tx: &Savepoint<'_>, from: &Connection, folder: &str) -> Result<Vec<String>, StoreError> {
    let mut back = Vec::new();
    Copying::some("roles", "folder", folder.to_owned()).each(from, |mut role| {
        let mut here = None;
        Copying::some("users", "person", role.number("person")).each(from, |user| {
            here = here.or(user_of(tx, user.text("channel"), user.text("user_id"))?);
            Ok(())
        })?;
        let Some(person) = here else { return Ok(()) };
        role.set("person", person);
        if role.put(tx)? {
            let name: String = tx.query_row("SELECT name FROM people WHERE id = ?1", [person], |row| row.get(0))?;
            back.push(format!("{name}: {}", role.text("role")));
        }
        Ok(())
    })?;
    Ok(back)
}
