//! Taking a group back from a backup. Nothing is deleted: what was there is moved aside, under a name with the time.

use std::path::{Path, PathBuf};

use cofferdam_protocol::ids::Folder;
use tempfile::TempDir;

use super::manifest::{self, Manifest};
use super::place::{Fresh, sweep};
use super::{BackupError, beside, io, telling};
use crate::config::home::{Home, SHARED};
use crate::files::tree::{Copied, Take, Tree};
use crate::store::backup::{Origin, read_central, renew};
use crate::store::central::GroupRow;
use crate::store::taken_back::Source;
use crate::store::wirings::Wiring;

/// A backup that was looked through and is one.
pub struct Backup {
    dir: PathBuf,
    /// What it has.
    pub manifest: Manifest,
    groups: Vec<GroupRow>,
    wirings: Vec<Wiring>,
    /// Its `central.db`, to be read from.
    source: Source,
    /// Where that lies.
    _look: TempDir,
}

/// What became of a group's files, or of those that all groups share.
#[derive(Debug, Default)]
pub struct Restored {
    /// What was there before, where it is now.
    pub aside: Vec<PathBuf>,
    /// Whether the folder is the backup's.
    pub folder: bool,
    /// What was copied.
    pub copied: Copied,
}

impl Backup {
    /// Opens the backup in `dir`; blocks, as all of it.
    pub fn open(dir: &Path) -> Result<Self, BackupError> {
        let manifest = Manifest::read(dir)?;
        let central = dir.join("central.db");
        manifest.central.check(&central)?;
        let look = tempfile::tempdir().map_err(io(Path::new("the directory for temporary files")))?;
        let copy = look.path().join("central.db");
        std::fs::copy(&central, &copy).map_err(io(&central))?;
        let (groups, wirings) = read_central(&copy)?;
        Ok(Self { dir: dir.to_owned(), manifest, groups, wirings, source: Source(copy), _look: look })
    }

    /// What it has besides its groups' own databases and files.
    pub fn source(&self) -> Source {
        self.source.clone()
    }

    /// Its groups.
    pub fn folders(&self) -> impl Iterator<Item = &Folder> {
        self.manifest.groups.iter().map(|group| &group.folder)
    }

    /// A group's entry and row, if both are there.
    pub fn group(&self, folder: &Folder) -> Result<(&manifest::Group, GroupRow, Vec<Wiring>), BackupError> {
        let entry = self.manifest.groups.iter().find(|group| group.folder == *folder);
        let row = self.groups.iter().find(|row| row.folder == *folder);
        let (Some(entry), Some(row)) = (entry, row) else {
            let has: Vec<&str> = self.folders().map(Folder::as_str).collect();
            let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
            return Err(BackupError::NotInBackup { folder: folder.clone(), has });
        };
        if let Some(why) = &entry.missing {
            return Err(BackupError::NoDatabase { folder: folder.clone(), why: why.clone() });
        }
        let wirings = self.wirings.iter().filter(|wiring| wiring.folder == *folder).cloned().collect();
        Ok((entry, row.clone(), wirings))
    }

    /// Puts a group's state in its place, and its folder where none is, or where `replace` says so. Nobody may use the
    /// group meanwhile.
    pub fn put(
        &self,
        home: &Home,
        folder: &Folder,
        replace: bool,
        progress: &dyn Fn(String),
    ) -> Result<Restored, BackupError> {
        let (entry, ..) = self.group(folder)?;
        let source = self.dir.join("groups").join(folder.as_str());
        let tell = telling(folder.as_str(), progress);
        let tree = Tree { take: &|_| Take::Whole, progress: &tell };
        let mut restored = Restored::default();
        let data = self.stage(home, (entry, &source), &tree, &mut restored)?;
        put_folder(&tree, &source.join("folder"), (home, &home.group(folder)), replace, &mut restored)?;
        swap(data, None, &home.group_data(folder), &mut restored.aside)?;
        Ok(restored)
    }

    /// Puts what all groups share in its place, where nothing is, or where `replace` says so.
    pub fn put_shared(
        &self,
        home: &Home,
        replace: bool,
        progress: &dyn Fn(String),
    ) -> Result<Restored, BackupError> {
        let tell = telling(SHARED, progress);
        let tree = Tree { take: &|_| Take::Whole, progress: &tell };
        let mut restored = Restored::default();
        put_folder(&tree, &self.dir.join(SHARED), (home, &home.shared()), replace, &mut restored)?;
        Ok(restored)
    }

    /// The group's data, complete, beside its place.
    fn stage(
        &self,
        home: &Home,
        (entry, source): (&manifest::Group, &Path),
        tree: &Tree<'_>,
        restored: &mut Restored,
    ) -> Result<Fresh, BackupError> {
        let place = home.group_data(&entry.folder);
        let parent = place.parent().unwrap_or(&place).to_owned();
        std::fs::create_dir_all(&parent).map_err(io(&parent))?;
        // Nobody else restores the group, so what is there is of somebody who died.
        sweep(&parent, Some(entry.folder.as_str()), |name| name.starts_with("state.db") || name == "sessions");
        sweep(&home.groups(), Some(entry.folder.as_str()), |_| true);
        let fresh = Fresh::beside(&place).map_err(io(&parent))?;
        if source.join("data/sessions").is_dir() {
            restored.copied.add(copy(tree, &source.join("data/sessions"), &fresh.path().join("sessions"))?);
        }
        if let Some(database) = &entry.database {
            let (from, to) = (source.join("state.db"), fresh.path().join("state.db"));
            database.check(&from)?;
            std::fs::copy(&from, &to).map_err(io(&to))?;
            renew(&to, Origin::Backup)?;
        }
        Ok(fresh)
    }
}

/// Puts a folder of people's in its place, if the backup has it.
fn put_folder(
    tree: &Tree<'_>,
    source: &Path,
    (home, place): (&Home, &Path),
    replace: bool,
    restored: &mut Restored,
) -> Result<(), BackupError> {
    if !source.is_dir() || (!replace && place.symlink_metadata().is_ok()) {
        return Ok(());
    }
    std::fs::create_dir_all(home.groups()).map_err(io(&home.groups()))?;
    let fresh = Fresh::beside(place).map_err(io(&home.groups()))?;
    let inner = fresh.path().join("folder");
    restored.copied.add(copy(tree, source, &inner)?);
    swap(fresh, Some(&inner), place, &mut restored.aside)?;
    restored.folder = true;
    Ok(())
}

/// Copies a directory that must be readable itself: nothing is put in the place of something.
fn copy(tree: &Tree<'_>, from: &Path, to: &Path) -> Result<Copied, BackupError> {
    std::fs::read_dir(from).map_err(io(from))?;
    Ok(tree.copy(from, to)?)
}

/// Gives a complete directory, or the one in it, its place.
fn swap(fresh: Fresh, inner: Option<&Path>, place: &Path, aside: &mut Vec<PathBuf>) -> Result<(), BackupError> {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let old = beside(place, &format!("{name}.aside-"));
    fresh.sync().map_err(io(fresh.path()))?;
    let fresh = match inner {
        Some(inner) => fresh.only(inner).map_err(io(inner))?,
        None => fresh,
    };
    if fresh.replace(place, &old).map_err(io(place))? {
        aside.push(old);
    }
    Ok(())
}
