//! What can be read of a damaged database, row by row, into a fresh one.
//!
//! A broken page hides the rows on it, not those after it: each table is read forward to the first break, backward to
//! the last, and the gap between them is halved until what is left is unreadable.

use std::collections::BTreeMap;
use std::path::Path;

use cofferdam_protocol::ids::{MessageId, TurnId};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Row, Savepoint, params_from_iter};
use rusqlite_migration::SchemaVersion;

use super::StoreError;
use super::db::{connect, open};
use super::group::chat_of;
use super::group::outbox::insert_reply;
use super::group::states::{step_message, step_turn};
use super::schema::Kind;
use crate::model::chat::ChatRef;
use crate::model::message::MessageEvent;
use crate::model::notice;
use crate::model::reply::ReplyKind;
use crate::model::turn::TurnEvent;

/// Statements that may fail in one table before the rest of a gap is given up.
const MOST_PROBES: u32 = 20_000;

/// What became of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Rows that are in the fresh database.
    pub saved: u64,
    /// Numbers of rows, at most, that could not be read; none when some could not and nothing says how many.
    pub lost: Option<u64>,
    /// Rows that were read but make no sense, or belong to what was lost.
    pub unusable: u64,
}

impl Table {
    /// Whether everything was read, whatever became of it.
    pub fn is_read(&self) -> bool {
        self.lost == Some(0)
    }
}

/// Copies what can be read of `broken` into the new file `fresh`. `broken` must be a copy, with its journal beside it: it
/// is opened, which brings the journal into it. What a newer Cofferdam has written is refused: this one's tables have no
/// place for all of it.
pub fn salvage(broken: &Path, fresh: &Path) -> Result<Vec<Table>, StoreError> {
    let source = open(broken, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .map_err(|source| StoreError::Open { path: broken.to_owned(), source: source.into() })?;
    // One whose version cannot be read is read as one of ours.
    if let Ok(SchemaVersion::Outside(_)) = Kind::Group.migrations().current_version(&source) {
        return Err(StoreError::Newer);
    }
    let mut target =
        connect(fresh, Kind::Group).map_err(|source| StoreError::Open { path: fresh.to_owned(), source })?;
    target.pragma_update(None, "foreign_keys", false)?;
    // Without it a broken schema of one table hides all the others.
    source.pragma_update(None, "writable_schema", true)?;
    let tx = target.savepoint()?;
    let mut saved = Vec::new();
    for name in names(&tx)? {
        saved.push(Reader::new(&source, &tx, &name)?.read()?);
    }
    if saved.iter().any(|table| table.name == "outbox" && (!table.is_read() || table.unusable > 0)) {
        tell_of_lost_words(&tx)?;
    }
    mend(&tx, &mut saved)?;
    tx.commit()?;
    target.close().map_err(|(_, error)| error)?;
    Ok(saved)
}

fn names(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement = conn.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rootpage",
    )?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// The columns of a table, and whether its rows have numbers. Empty when the table cannot be read at all.
fn columns(conn: &Connection, table: &str) -> (Vec<String>, bool) {
    let columns = || -> rusqlite::Result<Vec<String>> {
        conn.prepare("SELECT name FROM pragma_table_info(?1)")?.query_map([table], |row| row.get(0))?.collect()
    };
    let numbered = conn.query_row(
        "SELECT wr = 0 FROM pragma_table_list WHERE name = ?1 AND schema = 'main'",
        [table],
        |row| row.get(0),
    );
    (columns().unwrap_or_default(), numbered.unwrap_or(true))
}

struct Reader<'a> {
    source: &'a Connection,
    target: &'a Connection,
    columns: Vec<String>,
    numbered: bool,
    /// Of a table whose definition could not be read.
    unknown: bool,
    probes: u32,
    table: Table,
}

/// How far one reading came: the number of the last row, if any; or to the end.
enum Came {
    End,
    Broke(Option<i64>),
}

impl<'a> Reader<'a> {
    fn new(source: &'a Connection, target: &'a Connection, name: &str) -> Result<Self, StoreError> {
        let (theirs, _) = columns(source, name);
        let (ours, numbered) = columns(target, name);
        let columns: Vec<String> = ours.into_iter().filter(|column| theirs.contains(column)).collect();
        let table = Table { name: name.to_owned(), saved: 0, lost: Some(0), unusable: 0 };
        Ok(Self { source, target, unknown: columns.is_empty(), columns, numbered, probes: 0, table })
    }

    fn read(mut self) -> Result<Table, StoreError> {
        if self.unknown {
            self.table.lost = None;
        } else if self.numbered {
            match self.bounds() {
                Some((low, high)) => self.range(low, high)?,
                None => self.table.lost = None,
            }
        } else {
            self.unnumbered()?;
        }
        Ok(self.table)
    }

    /// The numbers of the first and the last row.
    fn bounds(&self) -> Option<(i64, i64)> {
        let name = &self.table.name;
        let one = |sql: &str| self.source.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
        let high = match one(&format!("SELECT max(rowid) FROM \"{name}\"")) {
            Ok(None) => return Some((1, 0)),
            Ok(Some(high)) => Some(high),
            // The way to the last row is broken; the table's own count may not be.
            Err(_) => one(&format!("SELECT seq FROM sqlite_sequence WHERE name = '{name}'")).ok().flatten(),
        };
        Some((1, high?))
    }

    fn range(&mut self, mut low: i64, mut high: i64) -> Result<(), StoreError> {
        if low > high {
            return Ok(());
        }
        match self.rows("ASC", low, high)? {
            Came::End => return Ok(()),
            Came::Broke(last) => low = last.map_or(low, |last| last + 1),
        }
        match self.rows("DESC", low, high)? {
            Came::End => return Ok(()),
            Came::Broke(first) => high = first.map_or(high, |first| first - 1),
        }
        if low >= high || self.probes >= MOST_PROBES {
            let gap = u64::try_from(high - low + 1).unwrap_or(0);
            self.table.lost = self.table.lost.map(|lost| lost + gap);
            return Ok(());
        }
        let middle = low + (high - low) / 2;
        self.range(low, middle)?;
        self.range(middle + 1, high)
    }

    fn rows(&mut self, order: &str, low: i64, high: i64) -> Result<Came, StoreError> {
        let sql = format!(
            "SELECT rowid, {} FROM \"{}\" NOT INDEXED WHERE rowid BETWEEN ?1 AND ?2 ORDER BY rowid {order}",
            self.columns.join(", "),
            self.table.name
        );
        let (source, mut last) = (self.source, None);
        let Ok(mut statement) = source.prepare_cached(&sql) else { return Ok(self.broke(None)) };
        let Ok(mut rows) = statement.query([low, high]) else { return Ok(self.broke(None)) };
        loop {
            match rows.next() {
                Ok(None) => return Ok(Came::End),
                Ok(Some(row)) => {
                    let Ok(number) = row.get(0) else { return Ok(self.broke(last)) };
                    last = Some(number);
                    self.keep(row, 1)?;
                }
                Err(_) => return Ok(self.broke(last)),
            }
        }
    }

    fn broke(&mut self, last: Option<i64>) -> Came {
        self.probes += 1;
        Came::Broke(last)
    }

    /// A table in the order of its key: from both ends, up to the first break of each.
    fn unnumbered(&mut self) -> Result<(), StoreError> {
        for order in ["ASC", "DESC"] {
            let by: Vec<String> = self.columns.iter().take(2).map(|column| format!("{column} {order}")).collect();
            let sql = format!(
                "SELECT {} FROM \"{}\" ORDER BY {}",
                self.columns.join(", "),
                self.table.name,
                by.join(", ")
            );
            let (source, mut whole) = (self.source, true);
            if let Ok(mut statement) = source.prepare(&sql)
                && let Ok(mut rows) = statement.query([])
            {
                loop {
                    match rows.next() {
                        Ok(Some(row)) => self.keep(row, 0)?,
                        Ok(None) => break,
                        Err(_) => {
                            whole = false;
                            break;
                        }
                    }
                }
            } else {
                whole = false;
            }
            if whole {
                return Ok(());
            }
        }
        self.table.lost = None;
        Ok(())
    }

    /// Puts a row into the fresh database; what makes no sense there is counted. `first` is where its columns begin.
    fn keep(&mut self, row: &Row<'_>, first: usize) -> Result<(), StoreError> {
        let values: rusqlite::Result<Vec<Value>> =
            (0..self.columns.len()).map(|column| row.get(first + column)).collect();
        let marks = vec!["?"; self.columns.len()].join(", ");
        let sql =
            format!("INSERT OR IGNORE INTO \"{}\" ({}) VALUES ({marks})", self.table.name, self.columns.join(", "));
        let put = values.and_then(|values| self.target.prepare_cached(&sql)?.execute(params_from_iter(values)));
        match put {
            Ok(0) if !self.numbered => {}
            Ok(0) => self.table.unusable += 1,
            Ok(_) => self.table.saved += 1,
            Err(error) if super::Fault::of(&error) == super::Fault::Disk => return Err(error.into()),
            Err(_) => self.table.unusable += 1,
        }
        Ok(())
    }
}

/// What is put right where rows that belong together were not all saved. A session that was lost is made anew for its
/// messages, without its conversation; a message whose turn was lost waits again.
const MENDS: &[&str] = &[
    "INSERT OR IGNORE INTO sessions (id, key, channel, chat_id, thread_id, created_at, active_at)
     SELECT session, 'salvaged:' || session, channel, chat_id, thread_id, min(accepted_at), max(accepted_at)
     FROM inbox WHERE session NOT IN (SELECT id FROM sessions) GROUP BY session",
    "INSERT OR IGNORE INTO sessions (id, key, channel, chat_id, thread_id, created_at, active_at)
     SELECT session, 'salvaged:' || session, channel, chat_id, thread_id, min(created_at), max(created_at)
     FROM outbox WHERE session NOT IN (SELECT id FROM sessions) GROUP BY session",
    "UPDATE inbox SET turn = NULL WHERE turn NOT IN (SELECT id FROM turns)",
    "UPDATE inbox SET notice = NULL WHERE notice NOT IN (SELECT id FROM outbox)",
    "UPDATE outbox SET turn = NULL WHERE turn NOT IN (SELECT id FROM turns)",
    "UPDATE outbox SET told = NULL WHERE told NOT IN (SELECT id FROM turns)",
    "UPDATE turns SET earlier = NULL WHERE earlier NOT IN (SELECT id FROM turns)",
    "UPDATE compactions SET turn = NULL WHERE turn NOT IN (SELECT id FROM turns)",
    "UPDATE questions SET message = NULL WHERE message NOT IN (SELECT id FROM inbox)",
    "UPDATE questions SET reply = NULL WHERE reply NOT IN (SELECT id FROM outbox)",
];

/// Messages of a turn that was lost.
const OF_NO_TURN: &str = "SELECT id FROM inbox WHERE state = 'claimed' AND turn IS NULL";
/// A turn that nobody waits for is over.
const FOR_NOBODY: &str = "SELECT id FROM turns WHERE state = 'running'
     AND id NOT IN (SELECT turn FROM inbox WHERE state = 'claimed' AND turn IS NOT NULL)";

/// What hangs in the air goes, children first.
const ORPHANS: &[(&str, &str)] = &[
    ("attachments", "message NOT IN (SELECT id FROM inbox)"),
    ("dead_letters", "message NOT IN (SELECT id FROM inbox) OR reply NOT IN (SELECT id FROM outbox)"),
    ("dead_letters", "session NOT IN (SELECT id FROM sessions)"),
    ("tool_calls", "turn NOT IN (SELECT id FROM turns) OR session NOT IN (SELECT id FROM sessions)"),
    ("questions", "turn NOT IN (SELECT id FROM turns) OR session NOT IN (SELECT id FROM sessions)"),
    ("compactions", "session NOT IN (SELECT id FROM sessions)"),
    ("mcp_servers", "session NOT IN (SELECT id FROM sessions)"),
    ("turns", "session NOT IN (SELECT id FROM sessions)"),
];

/// Messages that are done, and of whose words nothing was saved. Looked for before anything is mended: also what was lost is
/// known by its number then.
const WITHOUT_WORDS: &str = "SELECT id, session, channel, chat_id, thread_id FROM inbox
     WHERE state = 'done' AND CASE WHEN notice IS NOT NULL THEN notice NOT IN (SELECT id FROM outbox)
         ELSE turn IS NOT NULL AND turn NOT IN (SELECT turn FROM outbox WHERE turn IS NOT NULL) END
     ORDER BY id";

/// Gives messages whose replies were lost a notice, one in each chat. They do not wait again: most were answered long ago,
/// and what the agent did for them is done.
fn tell_of_lost_words(tx: &Savepoint<'_>) -> Result<(), StoreError> {
    let mut chats: BTreeMap<(String, ChatRef), Vec<i64>> = BTreeMap::new();
    let mut statement = tx.prepare(WITHOUT_WORDS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        chats.entry((row.get(1)?, chat_of(row, 2)?)).or_default().push(row.get(0)?);
    }
    for ((session, chat), messages) in chats {
        // One whose session has no sensible id is nobody's any more.
        let Ok(session) = session.parse() else { continue };
        let text = notice::answers_lost(messages.len());
        let reply = insert_reply(tx, &session, None, &chat, ReplyKind::Notice, &text)?;
        for message in messages {
            tx.execute("UPDATE inbox SET notice = ?1 WHERE id = ?2", [reply.0, message])?;
        }
    }
    Ok(())
}

fn ids(conn: &Connection, sql: &str) -> Result<Vec<i64>, StoreError> {
    Ok(conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

fn mend(conn: &Connection, saved: &mut [Table]) -> Result<(), StoreError> {
    for sql in MENDS {
        conn.execute(sql, [])?;
    }
    for message in ids(conn, OF_NO_TURN)? {
        step_message(conn, MessageId(message), MessageEvent::Release)?;
    }
    for turn in ids(conn, FOR_NOBODY)? {
        step_turn(conn, TurnId(turn), TurnEvent::ContainerGone)?;
        conn.execute("UPDATE turns SET finished_at = started_at WHERE id = ?1", [turn])?;
    }
    for (name, which) in ORPHANS {
        let gone = conn.execute(&format!("DELETE FROM {name} WHERE {which}"), [])? as u64;
        if let Some(table) = saved.iter_mut().find(|table| table.name == *name) {
            table.saved -= gone;
            table.unusable += gone;
        }
    }
    Ok(())
}
