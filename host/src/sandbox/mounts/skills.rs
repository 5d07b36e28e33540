//! Skills: folders with a `SKILL.md` that people put beside a group, or beside all groups.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cofferdam_protocol::ids::Folder;

use super::PrepareError;
use super::files::{at, readable_tree};
use crate::config::ConfigError;
use crate::config::home::Home;

/// Where Codex looks for them in the container, besides its own home.
pub(super) const ROOT: &str = "/home/agent/.agents/skills";
/// The most skills of a session; each is a mount.
const MOST: usize = 100;

/// A session's skills by name. A group's own wins over one of all groups with the same name, since Codex would list
/// both. Only real directories with a real `SKILL.md` count: a link could lead anywhere on the host.
pub(super) fn find(home: &Home, folder: &Folder) -> Result<BTreeMap<String, PathBuf>, PrepareError> {
    let mut skills = BTreeMap::new();
    for root in [home.shared_skills(), home.skills(folder)] {
        skills.extend(in_folder(&root)?);
    }
    if skills.len() > MOST {
        let problem = format!("with those of all groups it has {} skills; the most are {MOST}", skills.len());
        return Err(ConfigError::new(&home.skills(folder), problem).with_hint("join some, or remove some").into());
    }
    for path in skills.values() {
        readable_tree(path)?;
    }
    Ok(skills)
}

fn in_folder(root: &Path) -> Result<BTreeMap<String, PathBuf>, PrepareError> {
    match fs::symlink_metadata(root) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            tracing::warn!(path = %root.display(), "no skills are taken from there: it is no real directory");
            return Ok(BTreeMap::new());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(at(root)(error)),
    }
    let mut skills = BTreeMap::new();
    for entry in fs::read_dir(root).map_err(at(root))? {
        let path = entry.map_err(at(root))?.path();
        match problem(&path) {
            None => drop(skills.insert(name_of(&path).to_owned(), path)),
            Some(problem) => tracing::warn!(path = %path.display(), problem, "a skill is left out"),
        }
    }
    Ok(skills)
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn problem(path: &Path) -> Option<&'static str> {
    let is = |path: &Path, wanted: fn(&fs::Metadata) -> bool| fs::symlink_metadata(path).is_ok_and(|m| wanted(&m));
    let name = name_of(path);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(plain) {
        return Some("its name is not 1 to 64 letters, digits and `._-`, beginning with no dot");
    }
    if !is(path, fs::Metadata::is_dir) {
        return Some("it is no real directory");
    }
    if !is(&path.join("SKILL.md"), fs::Metadata::is_file) {
        return Some("it has no real file SKILL.md");
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn skill(root: &Path, name: &str, text: &str) {
        fs::create_dir_all(root.join(name)).unwrap();
        fs::write(root.join(name).join("SKILL.md"), text).unwrap();
    }

    fn home() -> (tempfile::TempDir, Home, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        (dir, home, "demo".parse().unwrap())
    }

    #[test]
    fn a_groups_skill_wins_over_the_shared_one_of_its_name() {
        let (_dir, home, folder) = home();
        assert!(find(&home, &folder).unwrap().is_empty(), "missing folders are fine");
        skill(&home.shared_skills(), "both", "shared");
        skill(&home.shared_skills(), "shared", "shared");
        skill(&home.skills(&folder), "both", "own");
        let found = find(&home, &folder).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["both", "shared"]);
        assert_eq!(found["both"], home.skills(&folder).join("both"));
    }

    #[test]
    fn links_and_odd_names_are_left_out() {
        let (dir, home, folder) = home();
        let (elsewhere, skills) = (dir.path().join("elsewhere"), home.skills(&folder));
        skill(&elsewhere, "secret", "x");
        skill(&skills, "good", "x");
        for odd in ["a b", ".hidden", "a,b"] {
            skill(&skills, odd, "x");
        }
        symlink(elsewhere.join("secret"), skills.join("link")).unwrap();
        fs::create_dir(skills.join("linked-file")).unwrap();
        symlink(elsewhere.join("secret/SKILL.md"), skills.join("linked-file/SKILL.md")).unwrap();
        fs::create_dir(skills.join("empty")).unwrap();
        fs::write(skills.join("README.md"), "x").unwrap();
        assert_eq!(find(&home, &folder).unwrap().keys().collect::<Vec<_>>(), ["good"]);
        fs::create_dir_all(home.shared()).unwrap();
        symlink(&elsewhere, home.shared_skills()).unwrap();
        assert_eq!(find(&home, &folder).unwrap().len(), 1, "nor through a linked folder");
    }

    #[test]
    fn the_containers_user_can_read_them_and_what_a_link_in_them_points_to_is_left_alone() {
        let (dir, home, folder) = home();
        skill(&home.skills(&folder), "s", "x");
        let (path, victim) = (home.skills(&folder).join("s"), dir.path().join("victim"));
        fs::write(&victim, "x").unwrap();
        symlink(&victim, path.join("link")).unwrap();
        for (path, mode) in [(path.join("SKILL.md"), 0o600), (path.clone(), 0o700), (victim.clone(), 0o600)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        find(&home, &folder).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("SKILL.md")), mode(&victim)), (0o755, 0o644, 0o600));
    }

    #[test]
    fn there_is_a_bound() {
        let (_dir, home, folder) = home();
        for at in 0..=MOST {
            skill(&home.shared_skills(), &format!("s{at}"), "x");
        }
        let error = find(&home, &folder).unwrap_err();
        assert!(matches!(&error, PrepareError::Config(error) if error.problem.contains("101")), "{error}");
    }
}
