//! Making a backup, while the home is in use.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cofferdam_protocol::admin::{BackupReport, FilesCopied, GroupBackup};
use cofferdam_protocol::ids::Folder;

use super::manifest::{self, Database, Manifest};
use super::place::{Fresh, sweep};
use super::{BackupError, io, telling};
use crate::config::home::{Home, SHARED};
use crate::error_chain;
use crate::files::tree::{Copied, Take, Tree};
use crate::hooks;
use crate::store::Stores;
use crate::store::backup::{CopyError, copy, copy_central, read_central};

/// What is copied, and for whom.
pub struct Wish<'w> {
    /// Where everything lies.
    pub home: &'w Home,
    /// Its databases: nobody replaces a group while it is copied.
    pub stores: &'w Stores,
    /// The installation's id.
    pub install: &'w str,
    /// The directory that the backup will be, absolute.
    pub dir: &'w Path,
    /// These groups; none are all.
    pub only: &'w [Folder],
    /// Told how far it is.
    pub progress: &'w (dyn Fn(String) + Sync),
}

/// Makes a backup; blocks. It is at its place only when all of it is there and on the disk.
pub fn take(wish: &Wish<'_>) -> Result<BackupReport, BackupError> {
    check_place(wish)?;
    let at = jiff::Timestamp::now().to_string();
    let parent = wish.dir.parent().unwrap_or(Path::new("/"));
    sweep(parent, None, is_of_backups);
    let fresh = Fresh::beside(wish.dir).map_err(io(parent))?;
    let root = fresh.path();
    let central = root.join("central.db");
    let only = (!wish.only.is_empty()).then_some(wish.only);
    let schema = copy_central(&wish.home.central_db(), &central, only).map_err(not_copied(&central))?;
    let mut manifest = Manifest {
        format: manifest::FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        install: wish.install.to_owned(),
        at,
        central: Database::of(&central, schema)?,
        groups: Vec::new(),
    };
    make_dir(&root.join("groups"))?;
    let mut groups = Vec::new();
    for (folder, aside) in folders(wish, &central)? {
        let (entry, report) = group(wish, root, folder, aside)?;
        manifest.groups.push(entry);
        groups.push(report);
    }
    let mut shared = Copied::default();
    if is_there(&wish.home.shared()) {
        shared = whole(wish, SHARED, &wish.home.shared(), &root.join(SHARED))?;
    }
    (wish.progress)("writes it to the disk".to_owned());
    // Everything else first, so that a manifest never stands beside a part.
    fresh.sync().map_err(io(root))?;
    hooks::crash_point("backup.before_manifest");
    write_manifest(root, &manifest)?;
    fresh.settle(wish.dir).map_err(|error| match error.kind() {
        // Of another one into the same place, which goes on in the daemon also without its client.
        ErrorKind::DirectoryNotEmpty => {
            BackupError::Place { path: wish.dir.to_owned(), what: "was made meanwhile, by another backup" }
        }
        _ => io(wish.dir)(error),
    })?;
    Ok(report(wish.dir, manifest.at, groups, shared.into()))
}

fn report(dir: &Path, at: String, groups: Vec<GroupBackup>, shared: FilesCopied) -> BackupReport {
    BackupReport {
        dir: dir.display().to_string(),
        at,
        files: shared.files + groups.iter().map(|group| group.copied.files).sum::<u64>(),
        bytes: shared.bytes + groups.iter().map(|group| group.copied.bytes).sum::<u64>(),
        groups,
        shared,
    }
}

/// The groups to copy, with why the database of one is not used.
fn folders(wish: &Wish<'_>, central: &Path) -> Result<Vec<(Folder, Option<String>)>, BackupError> {
    // Of a copy: what reads it may bring its schema up to date.
    let look = central.with_extension("look");
    std::fs::copy(central, &look).map_err(io(&look))?;
    let read = read_central(&look);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(look.with_extension(format!("look{end}")));
    }
    let known = read?.0;
    if let Some(folder) = wish.only.iter().find(|folder| known.iter().all(|row| row.folder != **folder)) {
        return Err(BackupError::NoGroup(folder.clone()));
    }
    Ok(known.into_iter().map(|row| (row.folder, row.set_aside)).collect())
}

fn group(
    wish: &Wish<'_>,
    root: &Path,
    folder: Folder,
    aside: Option<String>,
) -> Result<(manifest::Group, GroupBackup), BackupError> {
    let _copying = wish.stores.copying(&folder)?;
    let dir = root.join("groups").join(folder.as_str());
    make_dir(&dir)?;
    (wish.progress)(format!("{folder}: the database"));
    let (database, missing) = match aside {
        Some(why) => (None, Some(why)),
        None => database(wish.home, &folder, &dir.join("state.db"))?,
    };
    let mut copied = Copied::default();
    let (data, own) = (wish.home.group_data(&folder), wish.home.group(&folder));
    if is_there(&data) {
        let tree = Tree { take: &of_sessions, progress: &telling(folder.as_str(), wish.progress) };
        copied.add(tree.copy(&data, &dir.join("data"))?);
    }
    // Also when it is not there: then that is said.
    copied.add(whole(wish, folder.as_str(), &own, &dir.join("folder"))?);
    let report = GroupBackup {
        group: folder.clone(),
        database: database.is_some(),
        missing: missing.clone(),
        copied: copied.into(),
    };
    Ok((manifest::Group { folder, database, missing }, report))
}

/// Whether something is at that path, also when nobody can tell.
fn is_there(path: &Path) -> bool {
    !path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Copies a group's database. One that is damaged or cannot be read does not keep the others from being copied; its reason
/// is answered.
fn database(home: &Home, folder: &Folder, to: &Path) -> Result<(Option<Database>, Option<String>), BackupError> {
    let from = home.group_db(folder);
    if !is_there(&from) {
        return Ok((None, None));
    }
    match copy(&from, to) {
        Ok(schema) => Ok((Some(Database::of(to, schema)?), None)),
        Err(CopyError::Source(error)) => {
            let _ = std::fs::remove_file(to);
            Ok((None, Some(error_chain(&error))))
        }
        Err(error) => Err(not_copied(to)(error)),
    }
}

fn not_copied(to: &Path) -> impl FnOnce(CopyError) -> BackupError {
    move |error| match error {
        CopyError::Source(error) => error.into(),
        CopyError::Target(error) => io(to)(std::io::Error::other(error_chain(&error))),
    }
}

/// What of a group's data is copied: no database of ours, no uploads on their way, no logs of containers; of a codex home
/// its threads as far as they are whole lines, but not its databases, which Codex makes anew from the threads and which
/// may not be read while it writes them, and not what stands for a key, also half written.
fn of_sessions(path: &Path) -> Take {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    match parts.as_slice() {
        ["sessions"] | ["sessions", _] => Take::Whole,
        ["sessions", _, "logs", ..] | ["sessions", _, "credentials"] => Take::Not,
        ["sessions", _, "codex", "tmp" | ".tmp" | "log"] => Take::Not,
        ["sessions", _, "codex", name] if name.starts_with("auth.") => Take::Not,
        ["sessions", _, "codex", name] if name.contains(".sqlite") => Take::Not,
        ["sessions", _, "codex", .., name] if name.ends_with(".jsonl") => Take::Lines,
        ["sessions", ..] => Take::Whole,
        _ => Take::Not,
    }
}

fn whole(wish: &Wish<'_>, name: &str, from: &Path, to: &Path) -> Result<Copied, BackupError> {
    Ok(Tree { take: &|_| Take::Whole, progress: &telling(name, wish.progress) }.copy(from, to)?)
}

/// Refuses a place that has something already, or that would be copied into itself.
fn check_place(wish: &Wish<'_>) -> Result<(), BackupError> {
    let refuse = |what| Err(BackupError::Place { path: wish.dir.to_owned(), what });
    let parent = wish.dir.parent().unwrap_or(Path::new("/"));
    if !parent.is_dir() {
        return Err(BackupError::NoParent(parent.to_owned()));
    }
    match std::fs::read_dir(wish.dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return refuse("is not empty"),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return refuse("is not a directory"),
        _ => {}
    }
    let real = parent.canonicalize().map_err(io(parent))?;
    let inside = |path: PathBuf| path.canonicalize().is_ok_and(|path| real.starts_with(path));
    if inside(wish.home.groups()) || inside(wish.home.data()) {
        return refuse("lies in what is to be copied");
    }
    Ok(())
}

/// Whether a backup, also half of one, has a file or directory of this name at its top.
fn is_of_backups(name: &str) -> bool {
    matches!(name, manifest::NAME | "groups" | SHARED) || name.starts_with("central.")
}

fn make_dir(path: &Path) -> Result<(), BackupError> {
    DirBuilder::new().mode(0o700).create(path).map_err(io(path))
}

fn write_manifest(root: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let path = root.join(manifest::NAME);
    let write = || {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&serde_json::to_vec_pretty(manifest)?)?;
        file.sync_all()?;
        File::open(root)?.sync_all()
    };
    write().map_err(io(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_session_its_threads_go_and_its_databases_logs_and_keys_stay() {
        let take = |path: &str| of_sessions(Path::new(path));
        assert_eq!(take("sessions/1/codex/sessions/2026/01/01/rollout-x.jsonl"), Take::Lines);
        assert_eq!(take("sessions/1/codex/config.toml"), Take::Whole);
        assert_eq!(take("sessions/1/sent/a.png"), Take::Whole);
        for path in [
            "state.db",
            "state.db-wal",
            "staging",
            "sessions/1/logs",
            "sessions/1/credentials",
            "sessions/1/codex/auth.json",
            "sessions/1/codex/auth.0f.new",
            "sessions/1/codex/state_5.sqlite",
            "sessions/1/codex/state_5.sqlite-wal",
        ] {
            assert_eq!(take(path), Take::Not, "{path}");
        }
    }
}
