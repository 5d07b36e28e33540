//! The codex binaries of the tests, and a codex home such as the host writes.

use std::path::{Path, PathBuf};

/// The binary: `COFFERDAM_TEST_CODEX`, or the pinned one, which `make codex` fetches.
pub fn binary() -> PathBuf {
    named("COFFERDAM_TEST_CODEX", "codex.lock", "make codex")
}

/// An older binary: `COFFERDAM_TEST_CODEX_OLDER`, or the one of the older lock, which `make codex-older` fetches.
pub fn older() -> PathBuf {
    named("COFFERDAM_TEST_CODEX_OLDER", "codex-older.lock", "make codex-older")
}

/// The version that a lock file under `container/` names.
pub fn locked_version(lock: &str) -> String {
    let text = std::fs::read_to_string(root().join("container").join(lock)).unwrap();
    let version = text.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    version.unwrap().to_owned()
}

/// By a variable, or else what a lock file names, from the cache.
fn named(variable: &str, lock: &str, fetch: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let path = root().join("data/cache/codex").join(locked_version(lock)).join("bin/codex");
    assert!(path.is_file(), "no codex binary at {}: run `{fetch}`, or set {variable}", path.display());
    path
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Writes a codex home that speaks to a model on this port.
pub fn write_home(home: &Path, port: u16) {
    write_home_of(home, port, "gpt-5.5");
}

/// The same with another model.
pub fn write_home_of(home: &Path, port: u16, model: &str) {
    std::fs::create_dir_all(home).unwrap();
    let config = format!(
        r#"model = "{model}"
model_provider = "cofferdam"
web_search = "disabled"
check_for_update_on_startup = false
[model_providers.cofferdam]
name = "Cofferdam"
base_url = "http://127.0.0.1:{port}/v1"
wire_api = "responses"
requires_openai_auth = true
supports_websockets = false
request_max_retries = 1
stream_max_retries = 1
[features]
plugins = false
apps = false
goals = false
hooks = false
shell_snapshot = false
image_generation = false
memories = false
[agents]
enabled = false
[analytics]
enabled = false
[feedback]
enabled = false
[skills]
bundled = {{ enabled = false }}
[history]
persistence = "none"
"#
    );
    std::fs::write(home.join("config.toml"), config).unwrap();
    std::fs::write(home.join("auth.json"), r#"{"OPENAI_API_KEY":"placeholder-of-the-test"}"#).unwrap();
}

/// What a [`shim`] does with the first line of codex's output that it looks for.
#[derive(Clone, Copy)]
pub enum Deed {
    /// Kills codex instead of passing the line on.
    Kill,
    /// Passes something on that is not JSON.
    Garble,
}

/// A program between the runner and codex, in this directory. It does its deed `times` times, at lines that contain
/// `words`; while the file `swap` is there, its words are another thread's id in whatever codex is asked.
pub fn shim(directory: &Path, deed: Deed, words: &str, times: u32) -> PathBuf {
    shim_after(directory, deed, words, 0, times)
}

/// The same, which lets so many such lines of each process pass first. Where it has done its deed, the file `done` is.
pub fn shim_after(directory: &Path, deed: Deed, words: &str, pass: usize, times: u32) -> PathBuf {
    let deed = match deed {
        Deed::Kill => "kill -KILL $codex; exit 1",
        Deed::Garble => "line='codex: warning: this is no JSON'",
    };
    let script = SHIM
        .replace("@CODEX@", binary().to_str().unwrap())
        .replace("@DIRECTORY@", directory.to_str().unwrap())
        .replace("@DEED@", deed)
        .replace("@WORDS@", words)
        .replace("@PASS@", &pass.to_string())
        .replace("@TIMES@", &times.to_string());
    let path = directory.join("codex-shim");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// Another thread's id, which codex does not know.
pub const NO_THREAD: &str = "01a1fcba-9e4d-76d1-8c02-23c3560d227f";

const SHIM: &str = r#"#!/bin/bash
exec 4<&0
ask() {
    while IFS= read -r line <&4; do
        [[ -e @DIRECTORY@/swap ]] && line=${line//$(< @DIRECTORY@/swap)/01a1fcba-9e4d-76d1-8c02-23c3560d227f}
        printf '%s\n' "$line"
    done
}
exec 5< <(exec @CODEX@ "$@" < <(ask))
codex=$!
while IFS= read -r line <&5; do
    [[ "$line" == *'@WORDS@'* ]] && seen=$((seen + 1))
    if [[ "$line" == *'@WORDS@'* && $seen -gt @PASS@ && $(cat @DIRECTORY@/done 2>/dev/null | wc -l) -lt @TIMES@ ]]; then
        echo >> @DIRECTORY@/done
        @DEED@
    fi
    printf '%s\n' "$line"
done
"#;
