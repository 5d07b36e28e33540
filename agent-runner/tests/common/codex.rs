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
