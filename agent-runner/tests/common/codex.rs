//! The pinned codex binary, and a codex home such as the host writes.

use std::path::{Path, PathBuf};

/// The binary: `COFFERDAM_TEST_CODEX`, or the one that `make codex` fetched.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("COFFERDAM_TEST_CODEX") {
        return path.into();
    }
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/cache/codex");
    let fetched = std::fs::read_dir(&cache).into_iter().flatten().flatten();
    let binaries = fetched.map(|version| version.path().join("bin/codex")).filter(|path| path.is_file());
    binaries.max().unwrap_or_else(|| {
        panic!("no codex binary under {}: run `make codex`, or set COFFERDAM_TEST_CODEX", cache.display())
    })
}

/// Writes a codex home that speaks to a model on this port.
pub fn write_home(home: &Path, port: u16) {
    std::fs::create_dir_all(home).unwrap();
    let config = format!(
        r#"model = "gpt-5.5"
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
