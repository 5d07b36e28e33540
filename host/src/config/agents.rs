//! The instructions that people give: `AGENTS.md` of all groups and of one.

use cofferdam_protocol::ids::Folder;

use super::home::Home;
use super::{ConfigError, read};

/// The largest `AGENTS.md`, in bytes. Codex would cut a larger one without a word.
pub const MAX_BYTES: u64 = 64 * 1024;

/// Checks a group's `AGENTS.md`, where it has one, and reads that of all groups. Files that are too large, are no
/// regular files or are not UTF-8 are errors: half of somebody's instructions is worse than none.
pub fn load(home: &Home, folder: &Folder) -> Result<Option<String>, ConfigError> {
    let large = |error: ConfigError| match error.problem.contains("larger") {
        true => error.with_hint("keep what is always needed; the rest belongs into skills or files"),
        false => error,
    };
    read::text_file(&home.agents_md(folder), MAX_BYTES).map_err(large)?;
    read::text_file(&home.shared_agents_md(), MAX_BYTES).map_err(large)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        let folder: Folder = "g".parse().unwrap();
        std::fs::create_dir_all(home.group(&folder)).unwrap();
        std::fs::create_dir_all(home.shared()).unwrap();
        (dir, home, folder)
    }

    #[test]
    fn neither_needs_to_be_there() {
        let (_dir, home, folder) = home();
        assert_eq!(load(&home, &folder).unwrap(), None);
        std::fs::write(home.shared_agents_md(), "all").unwrap();
        assert_eq!(load(&home, &folder).unwrap().as_deref(), Some("all"));
    }

    #[test]
    fn a_file_that_would_be_cut_is_named_with_its_size() {
        let (_dir, home, folder) = home();
        for path in [home.agents_md(&folder), home.shared_agents_md()] {
            std::fs::write(&path, vec![b'a'; MAX_BYTES as usize]).unwrap();
            load(&home, &folder).unwrap();
            std::fs::write(&path, vec![b'a'; 70_000]).unwrap();
            let error = load(&home, &folder).unwrap_err();
            assert_eq!(error.file, path);
            assert!(error.problem.contains("64 KiB") && error.problem.contains("70000"), "{error}");
            std::fs::remove_file(&path).unwrap();
        }
    }
}
