//! New homes and groups: files are made where they are missing, and nothing that is there is changed.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cofferdam_protocol::ids::Folder;
use tempfile::Builder;

use super::error::CliError;
use crate::config::group::GroupConfig;
use crate::config::home::Home;

const COFFERDAM_TOML: &str = include_str!("scaffold/cofferdam.toml");
const DEMO_AGENTS: &str = include_str!("../../../groups/demo/AGENTS.md");
const CONTAINER_JSON: &str = include_str!("../../../groups/demo/container.json");

/// Makes the home's directories and files; returns what was made.
pub(super) fn home(home: &Home) -> Result<Vec<PathBuf>, CliError> {
    let mut made = Vec::new();
    directory(home.root(), 0o755, &mut made)?;
    directory(&home.groups(), 0o755, &mut made)?;
    // State holds conversations, and a socket in `run` is the right to command the daemon.
    directory(&home.data(), 0o700, &mut made)?;
    directory(&home.run(), 0o700, &mut made)?;
    file(&home.config_file(), 0o600, COFFERDAM_TOML, &mut made)?;
    let schemas = home.root().join("schemas");
    directory(&schemas, 0o755, &mut made)?;
    file(&schemas.join("container.schema.json"), 0o644, &GroupConfig::schema(), &mut made)?;
    Ok(made)
}

/// Makes a group's folder, its two files and its workspace; returns what was made.
pub(super) fn group(home: &Home, folder: &Folder) -> Result<Vec<PathBuf>, CliError> {
    let agents = if folder.as_str() == "demo" { DEMO_AGENTS.to_owned() } else { agents_md(folder) };
    let mut made = Vec::new();
    directory(&home.groups(), 0o755, &mut made)?;
    directory(&home.group(folder), 0o755, &mut made)?;
    file(&home.container_json(folder), 0o644, CONTAINER_JSON, &mut made)?;
    file(&home.agents_md(folder), 0o644, &agents, &mut made)?;
    directory(&home.workspace(folder), 0o755, &mut made)?;
    Ok(made)
}

fn agents_md(folder: &Folder) -> String {
    format!(
        "# {folder}\n\nYou are the agent of the group `{folder}`. You work in `/group/workspace`; only that directory \
         outlives you.\n\n- Say here who the agent is, what it is for, and how it should answer.\n"
    )
}

fn directory(path: &Path, mode: u32, made: &mut Vec<PathBuf>) -> Result<(), CliError> {
    if path.is_dir() {
        return Ok(());
    }
    let result = DirBuilder::new().recursive(true).mode(mode).create(path);
    result.map_err(|error| CliError::io(format!("cannot make {}", path.display()), &error))?;
    made.push(path.to_owned());
    Ok(())
}

/// Makes a file, whole or not at all: a piece of one would be taken for somebody's own the next time.
fn file(path: &Path, mode: u32, text: &str, made: &mut Vec<PathBuf>) -> Result<(), CliError> {
    let whole = |new: &mut File| new.write_all(text.as_bytes()).and_then(|()| new.sync_all());
    match file_of(path, mode, whole) {
        Ok(true) => made.push(path.to_owned()),
        Ok(false) => {}
        Err(error) => return Err(CliError::io(format!("cannot make {}", path.display()), &error)),
    }
    Ok(())
}

/// Makes a file where there is none, in its place only after all of it was written. Answers whether it did.
fn file_of(path: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<bool> {
    if path.symlink_metadata().is_ok() {
        return Ok(false);
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut new = Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(dir)?;
    write(new.as_file_mut())?;
    match new.persist_noclobber(path) {
        Ok(_) => Ok(true),
        // Somebody made it meanwhile.
        Err(taken) if taken.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(other) => Err(other.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::host::HostConfig;

    fn fresh() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(&dir.path().join("deep/home")).unwrap();
        (dir, home)
    }

    #[test]
    fn what_is_made_is_valid_and_a_second_time_changes_nothing() {
        let (_dir, at) = fresh();
        let folder: Folder = "demo".parse().unwrap();
        assert!(!home(&at).unwrap().is_empty());
        assert_eq!(group(&at, &folder).unwrap().len(), 4);
        HostConfig::load(&at, &|_| None).unwrap();
        GroupConfig::load(&at, &folder).unwrap();
        std::fs::write(at.agents_md(&folder), "mine").unwrap();
        assert!(home(&at).unwrap().is_empty());
        assert!(group(&at, &folder).unwrap().is_empty());
        assert_eq!(std::fs::read_to_string(at.agents_md(&folder)).unwrap(), "mine");
    }

    #[test]
    fn a_file_that_the_disk_does_not_take_leaves_nothing_that_blocks_the_next_try() {
        let (_dir, at) = fresh();
        home(&at).unwrap();
        let folder: Folder = "demo".parse().unwrap();
        std::fs::create_dir_all(at.group(&folder)).unwrap();
        let path = at.container_json(&folder);
        let full = |new: &mut File| new.write_all(b"{").and(Err(io::Error::from(ErrorKind::StorageFull)));
        assert_eq!(file_of(&path, 0o644, full).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(std::fs::read_dir(at.group(&folder)).unwrap().count(), 0, "nor a piece beside it");
        group(&at, &folder).unwrap();
        GroupConfig::load(&at, &folder).unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o600, 0o600);
    }

    #[test]
    fn state_and_configuration_are_for_the_owner_only() {
        let (_dir, at) = fresh();
        home(&at).unwrap();
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(at.data()), mode(at.run()), mode(at.config_file())), (0o700, 0o700, 0o600));
    }

    #[test]
    fn the_commented_configuration_is_valid_when_the_comments_are_taken_off() {
        let (_dir, at) = fresh();
        home(&at).unwrap();
        let lines = COFFERDAM_TOML.lines().filter(|line| !line.starts_with("# "));
        let text: Vec<_> = lines.map(|line| line.strip_prefix('#').unwrap_or(line)).collect();
        std::fs::write(at.config_file(), text.join("\n")).unwrap();
        let config = HostConfig::load(&at, &|_| None).unwrap();
        assert_eq!(config.max_sessions, 8);
    }
}
