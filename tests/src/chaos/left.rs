//! What an installation leaves behind when its daemon has ended.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Everything below `home` that should not be there, in words.
///
/// What may be: the groups' folders, the databases without their journals, each session's codex home, logs, copies of sent
/// files and instructions, the digest of its handle, the cache, the lock's file, and the daemon's log. Directories are no harm: a session keeps the
/// one of its door.
pub fn in_home(home: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    walk(home, home, &mut wrong);
    wrong.sort();
    wrong
}

fn walk(home: &Path, dir: &Path, wrong: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        let inside = path.strip_prefix(home).expect("below").to_string_lossy().into_owned();
        if kind.is_socket() {
            wrong.push(format!("a socket: {inside}"));
        } else if kind.is_dir() {
            walk(home, &path, wrong);
        } else if !is_kept(&inside) {
            wrong.push(format!("a file: {inside}"));
        }
    }
}

fn is_kept(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["cofferdam.toml" | "daemon.log"] | ["groups", ..] | ["run", "daemon.lock"] => true,
        ["data", "central.db" | "cache"] | ["data", "groups", _, "state.db"] => true,
        ["data", "groups", _, "sessions", _, "codex" | "sent", _, ..] => true,
        ["data", "groups", _, "sessions", _, "AGENTS.md" | "mcp.json" | "credentials"] => true,
        ["data", "groups", _, "sessions", _, "logs", log] => {
            log.strip_suffix(".log").is_some_and(|number| number.parse::<u64>().is_ok())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journals_sockets_and_strangers_are_told() {
        let home = tempfile::tempdir().expect("a directory");
        let at = |path: &str| home.path().join(path);
        for dir in ["data/groups/g/sessions/s/logs", "run/doors/s", "groups/g/workspace"] {
            std::fs::create_dir_all(at(dir)).expect("made");
        }
        for file in [
            "data/central.db",
            "data/central.db-wal",
            "data/groups/g/state.db",
            "data/groups/g/sessions/s/logs/1.log",
            "data/groups/g/sessions/s/mcp.json.tmp",
            "groups/g/workspace/any",
            "run/daemon.lock",
        ] {
            std::fs::write(at(file), "").expect("written");
        }
        let _socket = std::os::unix::net::UnixListener::bind(at("run/admin.sock")).expect("a socket");
        assert_eq!(
            in_home(home.path()),
            [
                "a file: data/central.db-wal",
                "a file: data/groups/g/sessions/s/mcp.json.tmp",
                "a socket: run/admin.sock"
            ]
        );
    }
}
