//! What a power cut may have taken from a group's database.
//!
//! A claim is not synced to the disk, since that would cost every turn a wait for it. So after a power cut a message may
//! wait as if nobody had it, while the provider's thread has it, and the answer. The first opening after each boot therefore
//! marks what waits as possibly offered: its runner looks into the thread before it asks the model, as after a crash.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, params};

use super::OpenError;
use super::group::claim::BATCH_MESSAGES;

/// The kernel's name for this boot; none where it has no such file, and then nothing is marked.
static BOOT: LazyLock<Option<String>> = LazyLock::new(|| {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
});

/// Looks whether the database was last opened in this boot.
pub(super) fn look(conn: &mut Connection) -> Result<(), OpenError> {
    let Some(boot) = BOOT.as_deref() else { return Ok(()) };
    let last: Option<String> =
        conn.query_row("SELECT value FROM meta WHERE key = 'boot'", [], |row| row.get(0)).optional()?;
    if last.as_deref() == Some(boot) {
        return Ok(());
    }
    let tx = conn.transaction()?;
    // A turn has so many of one chat at most, and whatever was accepted or answered after a claim has synced that too: what
    // waits behind these was in none. They go together again, as far as they would have.
    tx.execute(
        "UPDATE inbox SET offered = 1 WHERE id IN (
             SELECT id FROM (
                 SELECT id, row_number() OVER (PARTITION BY session, channel, chat_id, thread_id ORDER BY id) AS place
                 FROM inbox WHERE state = 'pending' AND kind = 'message' AND turn IS NULL)
             WHERE place <= ?1)",
        [i64::try_from(BATCH_MESSAGES).unwrap_or(i64::MAX)],
    )?;
    tx.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('boot', ?1)", params![boot])?;
    tx.commit()?;
    Ok(())
}
