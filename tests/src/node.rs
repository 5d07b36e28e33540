//! Clients of TypeScript, installed where the tests can use them: OpenAI's own, and Vercel's, which is stricter.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

/// The clients that are installed. Other versions are another directory.
const CLIENTS: [&str; 4] = ["openai@6.49.0", "ai@6.0.326", "@ai-sdk/openai@3.0.141", "zod@4.6.7"];
/// Where the scripts lie that are run with them.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openai");

/// The directory with the clients. Installs them the first time, with npm, beside the built programs.
async fn modules() -> PathBuf {
    // target/debug/deps/TEST
    let test = std::env::current_exe().expect("an executable");
    let target = test.ancestors().nth(3).expect("a target directory").to_owned();
    let at = target.join(format!("node-{}", CLIENTS.join("-").replace(['@', '/'], "-")));
    let ready = at.join("ready");
    std::fs::create_dir_all(&at).expect("a directory for the clients");
    // Held by whoever installs; another test waits for it.
    let lock = File::create(target.join("node.lock")).expect("a lock");
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await;
    let _lock = lock.expect("a thread").expect("locked");
    if !ready.exists() {
        let how = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--prefix"];
        let installed = run(Command::new("npm").args(how).arg(&at).args(CLIENTS)).await;
        assert!(installed.status.success(), "npm cannot install {CLIENTS:?}:\n{}", words(&installed));
        File::create(ready).expect("a mark");
    }
    at.join("node_modules")
}

async fn run(command: &mut Command) -> Output {
    command.kill_on_drop(true).output().await.unwrap_or_else(|error| {
        panic!("{command:?} cannot be started ({error}): install Node.js 18 or newer with its npm")
    })
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a script with the clients; the JSON that it prints.
pub async fn run_script(script: &str, arguments: &[String]) -> Value {
    let modules = modules().await;
    let mut node = Command::new("node");
    node.arg(Path::new(SCRIPTS).join(script)).args(arguments).env("NODE_PATH", modules);
    let asked = run(&mut node).await;
    assert!(asked.status.success(), "{}", words(&asked));
    serde_json::from_slice(&asked.stdout).unwrap_or_else(|error| panic!("{error}: {}", words(&asked)))
}
