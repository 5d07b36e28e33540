//! A session's codex home: what Cofferdam writes into it before each start, and what it takes out.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use super::files::{at, own_dir, replace_file};
use super::{Plan, PrepareError, codex_config};
use crate::config::mcp::resolve::Resolved;
use crate::sandbox::image;

/// The files of Codex's home that people's instructions are mounted over. Both, so that no agent can put the second
/// beside the first: Codex prefers it, unless it is empty.
pub(super) const INSTRUCTIONS: [&str; 2] = ["AGENTS.md", "AGENTS.override.md"];

/// Makes the home ready for a start.
pub(super) fn make_ready(codex: &Path, plan: &Plan<'_>, servers: &[Resolved]) -> Result<(), PrepareError> {
    if let Some(seed) = plan.seed.filter(|_| !codex.exists()) {
        start_from(seed, codex)?;
    }
    own_dir(codex, plan.user)?;
    // Its agent may have taken our rights to it away.
    fs::set_permissions(codex, fs::Permissions::from_mode(0o700)).map_err(at(codex))?;
    forget_planted(codex)?;
    for name in INSTRUCTIONS {
        // Where the mounts go.
        replace_file(&codex.join(name), b"", plan.user)?;
    }
    // The agent can write there: replaced, never written through.
    let base_url = plan.credentials.copy.as_ref().map(|copy| copy.base_url.as_str());
    let config = codex_config::text(plan.model, base_url, servers);
    replace_file(&codex.join("config.toml"), config.as_bytes(), plan.user)
}

/// Removes what Codex would read as instructions from its home: only an agent can have put it there, and what a turn
/// was talked into must not outlive its container as an order.
fn forget_planted(codex: &Path) -> Result<(), PrepareError> {
    const PLANTED: &[&str] = &[
        "AGENTS.md",
        "AGENTS.override.md",
        "prompts",
        "skills",
        "rules",
        "hooks.json",
        "hooks",
        "plugins",
        "memories",
    ];
    for name in PLANTED {
        let path = codex.join(name);
        let removed = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        removed.map_err(at(&path))?;
    }
    Ok(())
}

/// Copies the seeded codex home; renamed into place when complete.
fn start_from(seed: &Path, codex: &Path) -> Result<(), PrepareError> {
    let partial = codex.with_extension("partial");
    let copy = || {
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        if let Some(parent) = partial.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::DirBuilder::new().mode(0o700).create(&partial)?;
        image::copy_seed(seed, &partial)?;
        fs::rename(&partial, codex)
    };
    copy().map_err(at(codex))
}
