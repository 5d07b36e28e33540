//! Mending a group whose database is damaged, from what can be read of it. The damaged file stays beside the fresh one.

use std::fs::File;
use std::path::{Path, PathBuf};

use cofferdam_protocol::ids::Folder;

use super::place::{Fresh, sync_parent};
use super::{BackupError, beside, io};
use crate::config::home::Home;
use crate::store::backup::{Origin, renew};
use crate::store::salvage::{Table, salvage as read};

/// The parts of a database on the disk.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];
/// Says, while the files change places, which damaged ones are the whole of it.
const MARK: &str = "state.db.salvaging";

/// What was saved.
#[derive(Debug)]
pub struct Salvaged {
    /// Table by table.
    pub tables: Vec<Table>,
    /// The damaged file, where it is now.
    pub aside: PathBuf,
}

/// Reads what can be read of a group's database into a fresh one, and puts that in its place; blocks. Where nothing can
/// be read it is refused, unless `empty` takes an empty one. Nobody may use the group meanwhile.
pub fn salvage(home: &Home, folder: &Folder, empty: bool) -> Result<Salvaged, BackupError> {
    let place = home.group_db(folder);
    let (source, aside) = source(&place)?;
    let data = home.group_data(folder);
    let fresh = Fresh::beside(&place).map_err(io(&data))?;
    let (broken, new) = (fresh.path().join("broken.db"), fresh.path().join("state.db"));
    for part in PARTS {
        copy_part(&with(&source, part), &with(&broken, part))?;
    }
    if !broken.exists() {
        // Lost altogether: nothing can be read of it.
        File::create(&broken).map_err(io(&broken))?;
    }
    let tables = read(&broken, &new)?;
    if !empty && tables.iter().all(|table| table.saved == 0) && !tables.iter().all(Table::is_read) {
        return Err(BackupError::Nothing(folder.clone()));
    }
    renew(&new, Origin::Salvage)?;
    keep_broken(&source, &aside)?;
    swap(&new, &place, &aside)?;
    Ok(Salvaged { tables, aside })
}

/// The database to read, and where it will stay: its place, or, after a crash of an earlier try, where that one kept it.
fn source(place: &Path) -> Result<(PathBuf, PathBuf), BackupError> {
    let mark = place.with_file_name(MARK);
    if let Ok(name) = std::fs::read_to_string(&mark) {
        let kept = place.with_file_name(name.trim());
        if kept.exists() {
            return Ok((kept.clone(), kept));
        }
    }
    Ok((place.to_owned(), beside(place, "state.db.broken-")))
}

/// Gives the damaged files a second name each.
fn keep_broken(source: &Path, aside: &Path) -> Result<(), BackupError> {
    if source == aside {
        return Ok(());
    }
    for part in PARTS {
        let (from, to) = (with(source, part), with(aside, part));
        match std::fs::hard_link(&from, &to) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            linked => linked.map_err(io(&to))?,
        }
    }
    sync_parent(aside).map_err(io(aside))
}

/// Puts the fresh database in its place. The damaged one's journal has to go before: SQLite would take it for the fresh
/// one's. All of it has another name by then, which the mark tells to whoever goes on after a crash.
fn swap(new: &Path, place: &Path, aside: &Path) -> Result<(), BackupError> {
    let mark = place.with_file_name(MARK);
    let name = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let write = || {
        std::fs::write(&mark, &name)?;
        File::open(&mark)?.sync_all()?;
        sync_parent(&mark)
    };
    write().map_err(io(&mark))?;
    for part in ["-wal", "-shm"] {
        match std::fs::remove_file(with(place, part)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(place)(error)),
            _ => {}
        }
    }
    std::fs::rename(new, place).and_then(|()| sync_parent(place)).map_err(io(place))?;
    std::fs::remove_file(&mark).map_err(io(&mark))
}

fn copy_part(from: &Path, to: &Path) -> Result<(), BackupError> {
    match std::fs::copy(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        copied => copied.map(drop).map_err(io(to)),
    }
}

fn with(path: &Path, part: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(part);
    name.into()
}
