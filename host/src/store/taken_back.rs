//! What comes back of a backup's `central.db`: a group with what is its own, and for a whole home all that chats need. **Nothing
//! that is here is overwritten**: a row of the backup is taken where none stands in its place.
//!
//! Row by row, straight from a copy of the backup's file, as some tables have many.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Savepoint, params, params_from_iter};

use super::backup::NUMBERS_BEYOND;
use super::central::GroupRow;
use super::db::{Durability, open};
use super::wirings::{self, Wiring};
use super::{Central, StoreError, identities, moves};

mod people;
mod row;

use people::{group_is_here, people, roles_in};
use row::{Copying, Line};

/// A copy of a backup's `central.db`, brought up to date. It has to be there while something of it is taken.
#[derive(Debug, Clone)]
pub struct Source(pub PathBuf);

/// What of a group came back besides its own database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupBack {
    /// Wirings of chats that reach another group by now; they stay so.
    pub elsewhere: Vec<Wiring>,
    /// Channels of its chats that this home does not have.
    pub no_channel: Vec<String>,
    /// The people who have their role in it again.
    pub roles: Vec<String>,
}

/// What came back of a whole home.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HomeBack {
    /// Channels: names and kinds.
    pub channels: Vec<(String, String)>,
    /// Channels that were here, and stay as they are.
    pub kept: Vec<String>,
    /// People whom nobody knew here, each with their roles.
    pub people: Vec<String>,
    /// Approvals that wait.
    pub approvals: u64,
    /// Cofferdam's own words that are on their way, or wait as dead letters.
    pub posts: u64,
}

impl Source {
    fn open(&self) -> Result<Connection, StoreError> {
        open(&self.0, OpenFlags::default())
            .map_err(|source| StoreError::Open { path: self.0.clone(), source: source.into() })
    }
}

impl Central {
    /// Registers a group as a backup has it, with its wirings, what is known of their chats, and the mark that it may have due
    /// work. A group that is registered, and a chat that is wired, stay as they are. Only one that was not registered gets the
    /// roles of people who are known here, as what somebody took away since does not come back; and, where it comes `alone` and
    /// [`Central::take_home`] does not follow, its approvals.
    pub async fn take_in(
        &self,
        (group, wirings): (GroupRow, Vec<Wiring>),
        source: Source,
        alone: bool,
    ) -> Result<GroupBack, StoreError> {
        let has_moves = self.has_moves.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                has_moves.store(true, Ordering::Release);
                let from = source.open()?;
                let folder = group.folder.as_str();
                let new = tx.execute(
                    "INSERT OR IGNORE INTO groups (folder, config, config_hash, registered_at) VALUES (?1, ?2, ?3, ?4)",
                    params![folder, group.config, group.config_hash, group.registered_at],
                )? > 0;
                tx.execute("INSERT OR IGNORE INTO busy_groups (folder) VALUES (?1)", [folder])?;
                let mut back = wired(tx, &from, folder, wirings)?;
                moved(tx, &from, None)?;
                moves::note_for_group(tx, folder)?;
                if new {
                    back.roles = roles_in(tx, &from, folder)?;
                }
                if new && alone {
                    approvals(tx, &from, &HashSet::new(), Some(folder))?;
                    beyond(tx, &from, &["approvals"])?;
                }
                Ok(back)
            })
            .await
    }

    /// Takes all that chats need and this home does not have: channels with how far they read, their webhooks and keys; chats;
    /// people; what waits. To be called when the groups are there.
    pub async fn take_home(&self, source: Source) -> Result<HomeBack, StoreError> {
        let has_moves = self.has_moves.clone();
        self.db
            .write(Durability::Durable, move |tx| {
                has_moves.store(true, Ordering::Release);
                let from = source.open()?;
                let (mut back, others) = channels(tx, &from)?;
                let fresh: HashSet<String> = back.channels.iter().map(|(name, _)| name.clone()).collect();
                for table in ["hooks", "hook_calls", "api_keys", "api_threads"] {
                    Copying::of(table).all(&from, tx, |line| Ok(fresh.contains(line.text("channel"))))?;
                }
                Copying::of("late").each(&from, |mut line| {
                    line.unset("id");
                    if fresh.contains(line.text("channel")) { line.put(tx).map(drop) } else { Ok(()) }
                })?;
                // Also of channels that are not there: one of the name may be again.
                Copying::of("gone_programs").all(&from, tx, |_| Ok(true))?;
                secrets(tx, &from, &fresh)?;
                for table in ["chats", "answered"] {
                    Copying::of(table).all(&from, tx, |line| is_there(tx, line, &others))?;
                }
                back.people = people(tx, &from, &others)?;
                moved(tx, &from, Some(&others))?;
                let asked = approvals(tx, &from, &others, None)?;
                back.approvals = count_open(tx, &asked)?;
                back.posts = posts(tx, &from, &fresh, &asked)?;
                beyond(tx, &from, &["approvals", "posts"])?;
                Ok(back)
            })
            .await
    }
}

/// Wires a group's chats, and notes what is known of them.
fn wired(
    tx: &Savepoint<'_>,
    from: &Connection,
    folder: &str,
    wirings: Vec<Wiring>,
) -> Result<GroupBack, StoreError> {
    let mut back = GroupBack::default();
    let mut mine = HashSet::new();
    for mut wiring in wirings {
        mine.insert((wiring.channel.clone(), wiring.chat_id.clone()));
        let there = listeners(from, &wiring.channel, &wiring.chat_id)?;
        // A chat that has another id by now is known by that.
        if let Some(gone) = moves::now_of(tx, &wiring.channel, &wiring.chat_id)? {
            wiring.chat_id = gone.to;
        }
        let known = "SELECT EXISTS (SELECT 1 FROM channels WHERE name = ?1) OR ?1 = 'terminal'";
        if !tx.query_row(known, [&wiring.channel], |row| row.get::<_, bool>(0))?
            && !back.no_channel.contains(&wiring.channel)
        {
            back.no_channel.push(wiring.channel.clone());
        }
        // Several may listen in one chat. Who joins one that another group has by now is for a person to say.
        let mut here = listeners(tx, &wiring.channel, &wiring.chat_id)?;
        here.remove(folder);
        if here.is_subset(&there) {
            wirings::put(tx, &wiring, false)?;
        } else {
            back.elsewhere.push(wiring);
        }
    }
    Copying::of("chats").all(from, tx, |line| {
        let key = (line.text("channel").to_owned(), line.text("chat_id").to_owned());
        Ok(mine.contains(&key) && moves::now_of(tx, &key.0, &key.1)?.is_none())
    })?;
    Copying::of("engaged_threads").all(from, tx, |line| Ok(line.text("folder") == folder))?;
    Ok(back)
}

/// The groups that a chat reaches.
fn listeners(conn: &Connection, channel: &str, chat_id: &str) -> Result<HashSet<String>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT folder FROM wirings WHERE channel = ?1 AND chat_id = ?2")?;
    let rows = statement.query_map([channel, chat_id], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Channels that this home does not have come back; those that are others here, of another kind or at their platform, are named
/// in the second.
fn channels(tx: &Savepoint<'_>, from: &Connection) -> Result<(HomeBack, HashSet<String>), StoreError> {
    let (mut back, mut others) = (HomeBack::default(), HashSet::new());
    Copying::of("channels").each(from, |line| {
        let (name, kind) = (line.text("name").to_owned(), line.text("kind").to_owned());
        if line.put(tx)? {
            back.channels.push((name, kind));
            return Ok(());
        }
        let here: String = tx.query_row("SELECT kind FROM channels WHERE name = ?1", [&name], |row| row.get(0))?;
        let (itself, there) = (identities::identity(tx, &name)?, identities::identity(from, &name)?);
        if here != kind || there.is_some_and(|there| itself.is_some_and(|itself| itself != there)) {
            others.insert(name.clone());
        }
        back.kept.push(name);
        Ok(())
    })?;
    Copying::of("channel_identities").all(from, tx, |line| Ok(!others.contains(line.text("channel"))))?;
    Ok((back, others))
}

/// Whether a row is of a channel that is the same one here.
fn is_there(tx: &Savepoint<'_>, line: &Line, others: &HashSet<String>) -> Result<bool, StoreError> {
    let channel = line.text("channel");
    if others.contains(channel) {
        return Ok(false);
    }
    Ok(moves::now_of(tx, channel, line.text("chat_id"))?.is_none())
}

/// Which secrets are to be given again.
fn secrets(tx: &Savepoint<'_>, from: &Connection, fresh: &HashSet<String>) -> Result<(), StoreError> {
    Copying::of("lost_secrets").all(from, tx, |line| {
        let name = line.text("name");
        Ok(match line.text("purpose") {
            "channel" => fresh.contains(name),
            _ => name.split_once('/').is_some_and(|(channel, _)| fresh.contains(channel)),
        })
    })
}

/// Ids that chats got. The wirings and the rest of the backup may be of before.
fn moved(tx: &Savepoint<'_>, from: &Connection, others: Option<&HashSet<String>>) -> Result<(), StoreError> {
    Copying::of("moved_chats")
        .all(from, tx, |line| Ok(others.is_none_or(|others| !others.contains(line.text("channel")))))
}

/// Approvals and what is held for them: what was asked is asked once, so one of the same moment is here already. Answers which
/// came, by their numbers there; `only` takes those of one group.
fn approvals(
    tx: &Savepoint<'_>,
    from: &Connection,
    others: &HashSet<String>,
    only: Option<&str>,
) -> Result<HashMap<i64, i64>, StoreError> {
    let mut came = HashMap::new();
    Copying::of("approvals").each(from, |mut line| {
        let folder = line.maybe("folder").map(str::to_owned);
        let wanted = match (only, &folder) {
            (Some(only), folder) => folder.as_deref() == Some(only),
            (None, Some(folder)) => group_is_here(tx, folder)?,
            (None, None) => true,
        };
        if !wanted || others.contains(line.text("channel")) || was_asked(tx, &line)? {
            return Ok(());
        }
        let old = line.number("id");
        if let Some(new) = line.put_numbered(tx)? {
            came.insert(old, new);
        }
        Ok(())
    })?;
    for (old, new) in &came {
        Copying::some("held", "approval", *old).each(from, |mut held| {
            held.unset("id");
            held.set("approval", *new);
            held.put(tx).map(drop)
        })?;
    }
    Ok(came)
}

fn was_asked(tx: &Savepoint<'_>, line: &Line) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM approvals WHERE kind = ?1 AND channel = ?2 AND chat_id = ?3
                   AND coalesce(user_id, '') = coalesce(?4, '') AND coalesce(folder, '') = coalesce(?5, '')
                   AND asked_at = ?6)";
    let subject = params![
        line.text("kind"),
        line.text("channel"),
        line.text("chat_id"),
        line.maybe("user_id"),
        line.maybe("folder"),
        line.number("asked_at"),
    ];
    Ok(tx.prepare_cached(sql)?.query_row(subject, |row| row.get(0))?)
}

fn count_open(tx: &Savepoint<'_>, came: &HashMap<i64, i64>) -> Result<u64, StoreError> {
    let mut open = 0;
    for new in came.values() {
        let sql = "SELECT state = 'open' FROM approvals WHERE id = ?1";
        open += u64::from(tx.query_row(sql, [new], |row| row.get::<_, bool>(0))?);
    }
    Ok(open)
}

/// Cofferdam's own words of channels that came back: those on their way, those that are dead letters, and the questions of
/// approvals, which are changed when somebody decides. Answers how many of the first two.
fn posts(
    tx: &Savepoint<'_>,
    from: &Connection,
    fresh: &HashSet<String>,
    asked: &HashMap<i64, i64>,
) -> Result<u64, StoreError> {
    let mut came: HashMap<i64, i64> = HashMap::new();
    let mut on_their_way = 0;
    Copying::of("posts").each(from, |mut line| {
        let (old, approval) = (line.number("id"), line.maybe_number("approval"));
        // One whose number is taken here is asked anew, with its number in the words.
        let is_asked = approval.is_none_or(|approval| asked.get(&approval) == Some(&approval));
        let state = line.text("state").to_owned();
        let waits = matches!(state.as_str(), "pending" | "leased");
        let dead = state == "dead" && letter_of(from, old)?;
        if !fresh.contains(line.text("channel")) || !is_asked || !(waits || dead || approval.is_some()) {
            return Ok(());
        }
        if waits {
            // The original may have handed it over since.
            line.set("doubt", line.number("doubt") + 1);
        }
        let of = line.maybe("action").and_then(|of| of.parse::<i64>().ok()).and_then(|of| came.get(&of).copied());
        line.set("action", of.map_or(Value::Null, |of| Value::Text(of.to_string())));
        if let Some(new) = line.put_numbered(tx)? {
            came.insert(old, new);
            on_their_way += u64::from(waits || dead);
        }
        Ok(())
    })?;
    Copying::of("dead_letters").each(from, |mut letter| {
        let Some(post) = came.get(&letter.number("post")).filter(|_| letter.text("state") == "open") else {
            return Ok(());
        };
        letter.set("post", *post);
        letter.put_numbered(tx).map(drop)
    })?;
    Ok(on_their_way)
}

fn letter_of(from: &Connection, post: i64) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM dead_letters WHERE post = ?1 AND state = 'open')";
    Ok(from.query_row(sql, [post], |row| row.get(0))?)
}

/// Numbers of new rows begin beyond those that the original may have given since: behind a button of its, of before, is the number
/// of another approval.
fn beyond(tx: &Savepoint<'_>, from: &Connection, tables: &[&str]) -> Result<(), StoreError> {
    for table in tables {
        let last: Option<i64> = from
            .query_row("SELECT seq FROM sqlite_sequence WHERE name = ?1", [table], |row| row.get(0))
            .optional()?;
        let Some(last) = last else { continue };
        let first = last.saturating_add(NUMBERS_BEYOND);
        tx.execute("UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1", params![table, first])?;
        tx.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, ?2
             WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?1)",
            params![table, first],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
