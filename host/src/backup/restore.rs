//! Taking a group back from a backup. Nothing is deleted: what was there is moved aside, under a name with the time.

use std::path::{Path, PathBuf};

use cofferdam_protocol::ids::Folder;

use super::manifest::{self, Manifest};
use super::place::{Fresh, sweep};
use super::{BackupError, beside, io};
use crate::config::home::Home;
use crate::files::tree::{Copied, Take, Tree};
use crate::store::backup::{Origin, read_central, renew};
use crate::store::central::{GroupRow, Wiring};

/// A backup that was looked through and is one.
pub struct Backup {
    dir: PathBuf,
    /// What it has.
    pub manifest: Manifest,
    groups: Vec<GroupRow>,
    wirings: Vec<Wiring>,
}

/// What became of a group's files.
#[derive(Debug)]
pub struct Restored {
    /// What was there before, where it is now.
    pub aside: Vec<PathBuf>,
    /// Whether the group's folder is the backup's.
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
        Ok(Self { dir: dir.to_owned(), manifest, groups, wirings })
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
            return Err(BackupError::NoGroup { folder: folder.clone(), place: "in that backup" });
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
        let tell = |copied: &Copied| {
            if copied.files.is_multiple_of(256) {
                progress(format!("{folder}: {} files, {} MiB", copied.files, copied.bytes >> 20));
            }
        };
        let tree = Tree { take: &|_| Take::Whole, progress: &tell };
        let mut restored = Restored { aside: Vec::new(), folder: false, copied: Copied::default() };
        let data = self.stage(home, (entry, &source), &tree, &mut restored)?;
        let own = home.group(folder);
        if source.join("folder").is_dir() && (replace || own.symlink_metadata().is_err()) {
            std::fs::create_dir_all(home.groups()).map_err(io(&home.groups()))?;
            let fresh = Fresh::beside(&own).map_err(io(&home.groups()))?;
            let inner = fresh.path().join("folder");
            restored.copied.add(tree.copy(&source.join("folder"), &inner)?);
            swap(fresh, Some(&inner), &own, &mut restored.aside)?;
            restored.folder = true;
        }
        swap(data, None, &home.group_data(folder), &mut restored.aside)?;
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
            restored.copied.add(tree.copy(&source.join("data/sessions"), &fresh.path().join("sessions"))?);
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
