//! The host's own Codex CLI, the real binary, in a home of its own and without a way to the vendor.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::LIMIT;
use crate::issuer::Issuer;

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9";

/// A home of the CLI.
pub struct CodexCli {
    program: PathBuf,
    dir: tempfile::TempDir,
    issuer: Issuer,
    /// Where it refreshes.
    token_url: String,
}

/// A running `codex app-server`.
pub struct AppServer {
    _process: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    next: u64,
}

impl CodexCli {
    /// The pinned Codex, which refreshes its login at this issuer.
    pub fn new(issuer: &Issuer) -> Self {
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../container/codex.lock");
        let lock = std::fs::read_to_string(lock).expect("container/codex.lock");
        let version = lock.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
        let path = format!("../data/cache/codex/{}/bin/codex", version.expect("a version"));
        let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        Self::of(std::env::var_os("COFFERDAM_TEST_CODEX").map_or(pinned, PathBuf::from), issuer)
    }

    /// The one of the older lock.
    pub fn older(issuer: &Issuer) -> Option<Self> {
        Some(Self::of(std::env::var_os("COFFERDAM_TEST_CODEX_OLDER")?.into(), issuer))
    }

    fn of(program: PathBuf, issuer: &Issuer) -> Self {
        assert!(program.is_file(), "{} is missing: make codex", program.display());
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join(".codex")).expect("a directory");
        let config = format!(
            "chatgpt_base_url = \"{NOWHERE}/\"\ncheck_for_update_on_startup = false\n\
             cli_auth_credentials_store = \"file\"\n[features]\nplugins = false\napps = false\n\
             [analytics]\nenabled = false\n[feedback]\nenabled = false\n"
        );
        std::fs::write(dir.path().join(".codex/config.toml"), config).expect("written");
        Self { program, dir, issuer: issuer.clone(), token_url: issuer.token_url() }
    }

    /// Has it refresh elsewhere than at its issuer.
    pub fn refreshing_at(self, token_url: String) -> Self {
        Self { token_url, ..self }
    }

    /// Its `auth.json`.
    pub fn auth_json(&self) -> PathBuf {
        self.dir.path().join(".codex/auth.json")
    }

    /// A command of it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.dir.path()).current_dir(self.dir.path());
        command.env("CODEX_HOME", self.dir.path().join(".codex"));
        command.env("CODEX_REFRESH_TOKEN_URL_OVERRIDE", &self.token_url);
        command.env("HTTPS_PROXY", NOWHERE).env("NO_PROXY", "127.0.0.1").kill_on_drop(true);
        command
    }

    /// `codex login --device-auth` against the issuer, in the background.
    pub fn login(&self) -> impl Future<Output = Output> + use<> {
        let mut command = self.command();
        command.args(["login", "--experimental_issuer", &self.issuer.url(), "--device-auth"]);
        let output = command.stdin(Stdio::null()).output();
        async { tokio::time::timeout(LIMIT, output).await.expect("in time").expect("codex") }
    }

    /// Starts its app-server.
    pub async fn app_server(&self) -> AppServer {
        let mut command = self.command();
        command.arg("app-server").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("codex");
        let stdin = process.stdin.take().expect("piped");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut server = AppServer { _process: process, stdin, lines, next: 0 };
        let client = json!({"name": "cofferdam-tests", "title": "tests", "version": "0"});
        let capabilities = json!({"experimentalApi": true});
        server.call("initialize", json!({"clientInfo": client, "capabilities": capabilities})).await;
        server.send(&json!({"method": "initialized"})).await;
        server
    }
}

impl AppServer {
    async fn send(&mut self, message: &Value) {
        self.stdin.write_all(format!("{message}\n").as_bytes()).await.expect("a message");
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(&json!({"id": id, "method": method, "params": params})).await;
        let answer = async {
            loop {
                let line = self.lines.next_line().await.expect("a line").expect("codex is there");
                let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
                if message["id"] == id {
                    return message;
                }
            }
        };
        tokio::time::timeout(LIMIT, answer).await.expect("an answer in time")
    }

    /// The access token that it uses; refreshed first when that is wanted. None when it has no login that works.
    pub async fn access_token(&mut self, refresh: bool) -> Option<SecretString> {
        let answer = self.call("getAuthStatus", json!({"includeToken": true, "refreshToken": refresh})).await;
        answer["result"]["authToken"].as_str().map(Into::into)
    }

    /// Whether it uses this one.
    pub async fn uses(&mut self, access_token: &SecretString) -> bool {
        self.access_token(false).await.is_some_and(|token| token.expose_secret() == access_token.expose_secret())
    }
}
