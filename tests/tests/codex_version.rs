//! One place names the Codex that Cofferdam runs, and trying another version changes it only on success.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

fn lock() -> String {
    std::fs::read_to_string(root().join("container/codex.lock")).expect("container/codex.lock")
}

fn value(name: &str) -> String {
    let lock = lock();
    let found = lock.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'));
    found.unwrap_or_else(|| panic!("the lock has no {name}")).to_owned()
}

#[test]
fn only_the_lock_names_the_pinned_version_and_its_hash() {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("git");
    assert!(output.status.success(), "{output:?}");
    let (version, integrity) = (value("version"), value("integrity"));
    let hash = integrity.strip_prefix("sha512-").expect("a SHA-512");
    let mut found = Vec::new();
    for name in String::from_utf8(output.stdout).expect("names").split_terminator('\0') {
        // What a release ran on is history, and stays.
        if name == "container/codex.lock" || name == "CHANGELOG.md" {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root().join(name)) else { continue };
        // A comment in code may say with which version something was seen.
        let evidence = |line: &str| name.ends_with(".rs") && line.trim_start().starts_with("//");
        let names = |line: &&str| (line.contains(&version) || line.contains(hash)) && !evidence(line);
        found.extend(text.lines().filter(names).map(|line| format!("{name}: {line}")));
    }
    assert!(found.is_empty(), "say it in container/codex.lock only:\n{}", found.join("\n"));
}

/// Runs the script with an npm that answers as this shell function does, on an empty PATH otherwise as usual.
fn update(version: &str, npm: &str) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("npm");
    std::fs::write(&program, format!("#!/bin/bash\n{npm}\n")).expect("npm");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("npm");
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").expect("PATH"));
    let mut script = Command::new(root().join("scripts/codex-update.sh"));
    script.env("PATH", path).env("VERSION", version).env_remove("KEEP").output().expect("the script")
}

fn refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{output:?}");
    assert!(said.contains(why) && said.contains("unchanged"), "{said}");
}

#[test]
fn a_version_that_is_none_or_is_not_served_or_is_not_what_was_promised_changes_nothing() {
    let before = lock();
    for wrong in ["latest", "1.2", "1.2.3;id", "../1.2.3"] {
        refused(&update(wrong, "exit 9"), "is not a version");
    }
    let unknown = "[ \"$3\" = versions ] || [ \"$3\" = --json ] && { echo '[\"1.2.3\",'; echo ' \"1.2.4\",'; echo ' \"1.2.4-x\"]'; exit; }\necho 'npm error code E404' >&2; exit 1";
    refused(&update("99.0.0", unknown), "does not serve @openai/codex@99.0.0");
    let integrity = value("integrity");
    let other = format!("if [ $1 = view ]; then echo {integrity}; else echo x >\"$5/package.tgz\"; fi");
    let output = update("99.0.0", &other);
    refused(&output, "is not there to try");
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing was unpacked"), "{output:?}");
    assert_eq!(lock(), before);
    assert!(!root().join("data/cache/codex/99.0.0").exists());
}
