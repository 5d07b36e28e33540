//! One SQLite file behind one writer thread.
//!
//! Callers send closures; the thread takes all that wait, runs each in its own savepoint inside **one** transaction,
//! commits once, and only then answers. So forty sessions that write at the same moment share one `fsync`, and
//! an answer always stands on a commit. A closure's error rolls back its own savepoint and nobody else's.
//!
//! A full disk fails the transaction and no more: the next one works when there is room. A damaged file ends the
//! thread's work for good: it is closed as it is, and every later call is refused ([`FileHealth`]).
//!
//! A file is opened by one process only ([`open`]).

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Savepoint, ffi};
use tokio::sync::{mpsc, oneshot};

use super::fault::{Fault, FileHealth, OnDamage, Refusal};
use super::ground::Ground;
use super::schema::Kind;
use super::{OpenError, StoreError, boot};

/// Whether a write must survive a power cut before it is answered.
///
/// Every write survives the death of our process. `Relaxed` is for what a promise to the outside does not stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Written; synced with the next durable commit or checkpoint.
    Relaxed,
    /// Synced to the disk before the answer.
    Durable,
}

/// Writes that wait for the thread. A full queue makes callers wait: back-pressure, not memory.
const QUEUE: usize = 1024;
/// The most closures in one transaction; bounds how long the first of them waits.
const BATCH: usize = 256;

type Answer = Box<dyn FnOnce(&Result<(), Refusal>) + Send>;
/// Gets the connection inside the transaction, or why there is none.
type Job = Box<dyn FnOnce(Result<&mut Connection, Refusal>) -> Answer + Send>;

enum Request {
    Write(Durability, Job),
    /// Checkpoint and end; answered when done.
    Close(oneshot::Sender<()>),
}

/// A handle to a database; clones share the thread, which ends (with a checkpoint) when the last one is dropped.
#[derive(Clone)]
pub struct Db {
    queue: mpsc::Sender<Request>,
    health: Arc<FileHealth>,
}

impl Db {
    /// Opens the file, makes it if need be, and brings its schema up to date.
    pub fn open(path: &Path, kind: Kind) -> Result<Self, StoreError> {
        Self::on(path, kind, &Ground::default(), Box::new(|_| {}))
    }

    /// [`Db::open`] on the home's ground, telling when the file is found to be damaged.
    pub(super) fn on(path: &Path, kind: Kind, ground: &Ground, told: OnDamage) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        let health = Arc::new(FileHealth::new(path, ground.note.clone(), told));
        let conn = not_hollow(path, kind).and_then(|()| connect(path, kind)).and_then(|mut conn| match kind {
            Kind::Central => Ok(conn),
            Kind::Group => boot::look(&mut conn).map(|()| conn),
        });
        let conn = conn.map_err(failed).inspect_err(|error| health.see(error))?;
        let (queue, requests) = mpsc::channel(QUEUE);
        let (ground, open) = (ground.clone(), ground.opened());
        let name = match kind {
            Kind::Central => "db-central",
            Kind::Group => "db-group",
        };
        let looks = health.clone();
        std::thread::Builder::new()
            .name(name.into())
            .stack_size(512 * 1024)
            .spawn(move || {
                serve(conn, requests, &looks, &ground);
                // Only now is the file nobody's.
                drop(open);
            })
            .map_err(|source| failed(source.into()))?;
        Ok(Self { queue, health })
    }

    /// Runs `work` in a savepoint and answers after the commit.
    pub async fn write<T, F>(&self, durability: Durability, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Savepoint<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let health = self.health.clone();
        let job: Job = Box::new(move |conn| {
            let done = match conn {
                Ok(conn) => in_savepoint(conn, work).inspect_err(|error| health.see(error)),
                Err(refusal) => Err(refusal.into()),
            };
            Box::new(move |commit| {
                let result = match (done, commit) {
                    (Ok(value), Ok(())) => Ok(value),
                    (Ok(_), Err(refusal)) => Err(refusal.clone().into()),
                    (Err(error), _) => Err(error),
                };
                // The caller may have gone; its write stands all the same.
                let _ = answer.send(result);
            })
        });
        self.queue.send(Request::Write(durability, job)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Ends the thread after what waits now, with a checkpoint. Later writes are refused.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Request::Close(done)).await.is_ok() {
            // A thread that ended without an answer is closed as well.
            let _ = closed.await;
        }
    }

    /// Runs `work`, which only reads. It sees every write that was answered before.
    pub async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Savepoint<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.write(Durability::Relaxed, work).await
    }
}

/// SQLite's own way to a file that one process alone has open: any number of its connections share it, and everybody else
/// is refused until the last is closed. So the index of the journal lies in our memory and not in a file that all would map:
/// a disk that fails under a mapped page ends the process (`SIGBUS`), where a write that fails is an error.
const OURS_ALONE: &str = "unix-excl";

/// How long another process is waited for: a daemon that lost the home ends within a second of that.
const OTHERS: Duration = Duration::from_secs(10);

/// Opens a file of SQLite, for this process alone. No other way leads to a database of a home: closing any other handle of
/// the file would give up what keeps others out.
pub(super) fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags_and_vfs(path, flags, OURS_ALONE)?;
    conn.busy_timeout(OTHERS)?;
    Ok(conn)
}

/// Refuses a group's database that is missing or empty though the group has sessions: it was lost. SQLite would make a new
/// one, and what waited in the old would be forgotten without a word.
pub(super) fn not_hollow(path: &Path, kind: Kind) -> Result<(), OpenError> {
    let sessions = path.with_file_name("sessions");
    let had_one = || sessions.read_dir().is_ok_and(|mut all| all.next().is_some());
    let is_empty = path.metadata().map_or_else(|error| error.kind() == ErrorKind::NotFound, |file| file.len() == 0);
    if kind == Kind::Group && is_empty && had_one() {
        let why = "it is missing or empty, though the group has sessions";
        let lost = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(why.to_owned()));
        return Err(OpenError::Sql(lost));
    }
    Ok(())
}

pub(super) fn connect(path: &Path, kind: Kind) -> Result<Connection, OpenError> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut conn = open(path, OpenFlags::default())?;
    // Before the journal, which takes over the mode.
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    // Bytes that the journal keeps after a burst or a long copy; what is over is given back.
    conn.pragma_update(None, "journal_size_limit", 8 * 1024 * 1024)?;
    // KiB, as a negative number: many groups may be open at once, and their pages are few.
    conn.pragma_update(None, "cache_size", -512)?;
    // Otherwise a statement whose plan looks at a bound value, such as one with `LIMIT ?`, is compiled anew each time.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if kind == Kind::Central {
        // A credential that is wiped leaves nothing behind, also not sealed.
        conn.pragma_update(None, "secure_delete", true)?;
    }
    kind.migrations().to_latest(&mut conn)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

fn in_savepoint<T>(
    conn: &mut Connection,
    work: impl FnOnce(&Savepoint<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // Dropped without `commit` it rolls back.
    let savepoint = conn.savepoint()?;
    let value = work(&savepoint)?;
    savepoint.commit()?;
    Ok(value)
}

fn serve(mut conn: Connection, mut requests: mpsc::Receiver<Request>, health: &FileHealth, ground: &Ground) {
    let mut batch = Vec::new();
    let mut synchronous = None;
    while requests.blocking_recv_many(&mut batch, BATCH) > 0 {
        let (mut wanted, mut jobs, mut closing) = (Durability::Relaxed, Vec::new(), Vec::new());
        for request in batch.drain(..) {
            match request {
                Request::Write(durability, job) => {
                    wanted = wanted.max(durability);
                    jobs.push(job);
                }
                Request::Close(done) => closing.push(done),
            }
        }
        if synchronous != Some(wanted) {
            let level = if wanted == Durability::Durable { "FULL" } else { "NORMAL" };
            synchronous = conn.pragma_update(None, "synchronous", level).is_ok().then_some(wanted);
        }
        let begun = run(&conn, "BEGIN IMMEDIATE").map_err(|refusal| health.named(refusal));
        // With the write lock in hand, which may have taken seconds: whoever takes the home from here on finds what is
        // committed below.
        ground.stand();
        let mut answers: Vec<Answer> = Vec::with_capacity(jobs.len());
        for job in jobs {
            answers.push(job(usable(&mut conn, &begun, health)));
        }
        let outcome = usable(&mut conn, &begun, health)
            .and_then(|conn| run(conn, "COMMIT").map_err(|refusal| health.named(refusal)));
        if let Err(why) = &outcome {
            tracing::error!(error = %why, "a group commit failed");
            if !conn.is_autocommit() {
                let _ = conn.execute_batch("ROLLBACK");
            }
        }
        health.see_commit(&outcome);
        for answer in answers {
            answer(&outcome);
        }
        let damaged = health.intact().is_err();
        if damaged || !closing.is_empty() {
            if damaged {
                leave_as_it_is(conn);
            } else {
                requests.close();
                checkpoint(conn);
            }
            for done in closing.drain(..) {
                requests.close();
                let _ = done.send(());
            }
            return refuse(requests, health);
        }
    }
    checkpoint(conn);
}

/// Answers whoever still asks a database that is closed.
fn refuse(mut requests: mpsc::Receiver<Request>, health: &FileHealth) {
    while let Some(request) = requests.blocking_recv() {
        match (request, health.intact()) {
            (Request::Write(_, job), Err(refusal)) => job(Err(refusal.clone()))(&Err(refusal)),
            // Its caller is told that the database is closed.
            (Request::Write(..), Ok(())) => {}
            (Request::Close(done), _) => {
                requests.close();
                let _ = done.send(());
            }
        }
    }
}

/// Closes a damaged database without moving its journal into it: whoever salvages it finds what was there.
fn leave_as_it_is(conn: Connection) {
    let _ = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    if let Err((_, error)) = conn.close() {
        tracing::warn!(%error, "a damaged database was not closed in order");
    }
}

/// Moves what is in the journal into the database and closes it; SQLite then removes the journal.
fn checkpoint(conn: Connection) {
    if let Err((_, error)) = conn.close() {
        tracing::warn!(%error, "a database was not closed in order; its journal stays for the next start");
    }
}

/// Runs a statement that is kept compiled.
fn run(conn: &Connection, sql: &str) -> Result<(), Refusal> {
    let done = conn.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
    Ok(done.map(drop)?)
}

/// The connection while its transaction is open. SQLite ends one by itself when the disk fails; a write after
/// that would commit alone, though its neighbours are told that they failed. Nor may anything be written to a damaged
/// file.
fn usable<'a>(
    conn: &'a mut Connection,
    begun: &Result<(), Refusal>,
    health: &FileHealth,
) -> Result<&'a mut Connection, Refusal> {
    begun.clone()?;
    health.intact()?;
    if conn.is_autocommit() {
        let why = "SQLite rolled the transaction back".to_owned();
        return Err(health.named(Refusal { fault: Fault::Disk, why }));
    }
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("x.db"), Kind::Central).unwrap();
        (dir, db)
    }

    async fn put(db: &Db, key: &'static str) -> Result<(), StoreError> {
        db.write(Durability::Durable, move |tx| {
            tx.execute("INSERT INTO meta (key, value) VALUES (?1, '')", [key])?;
            Ok(())
        })
        .await
    }

    #[tokio::test]
    async fn one_failed_write_does_not_undo_its_neighbours() {
        let (_dir, db) = open();
        let (a, again, b) = tokio::join!(put(&db, "a"), put(&db, "a"), put(&db, "b"));
        assert!(a.is_ok() && b.is_ok());
        assert!(matches!(again, Err(StoreError::Sql(_))));
        let count: i64 =
            db.read(|tx| Ok(tx.query_row("SELECT count(*) FROM meta", [], |row| row.get(0))?)).await.unwrap();
        assert_eq!(count, 2);
    }

    #[tokio::test]
    async fn what_was_answered_is_there_after_a_reopen() {
        let (dir, db) = open();
        put(&db, "a").await.unwrap();
        drop(db);
        let db = Db::open(&dir.path().join("x.db"), Kind::Central).unwrap();
        assert!(matches!(put(&db, "a").await, Err(StoreError::Sql(_))));
    }

    /// Otherwise somebody could take the home, and write, while we wait for the lock.
    #[tokio::test]
    async fn whose_the_home_is_is_asked_when_nobody_else_can_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        drop(Db::open(&path, Kind::Central).unwrap());
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (seen, of) = (asked.clone(), path.clone());
        let guard = move || {
            let other = Connection::open(&of).unwrap();
            other.busy_timeout(Duration::ZERO).unwrap();
            seen.lock().unwrap().push(other.execute_batch("BEGIN IMMEDIATE").is_err());
        };
        let db = Db::on(&path, Kind::Central, &Ground::new(Arc::new(guard)), Box::new(|_| {})).unwrap();
        put(&db, "a").await.unwrap();
        assert_eq!(*asked.lock().unwrap(), [true]);
    }
}
