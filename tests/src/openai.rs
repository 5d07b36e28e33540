//! OpenAI's official Python client, installed where the tests can use it, and a way for it into a session's door.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio::process::Command;

/// The client that is installed. Another version is another directory.
const CLIENT: &str = "openai==3.57.0";
/// Where the scripts lie that are run with it.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openai");

/// The Python that has the client. Installs it the first time, from PyPI, beside the built programs.
pub async fn python() -> PathBuf {
    // target/debug/deps/TEST
    let test = std::env::current_exe().expect("an executable");
    let target = test.ancestors().nth(3).expect("a target directory").to_owned();
    let venv = target.join(format!("openai-{}", CLIENT.replace("==", "-")));
    let (python, ready) = (venv.join("bin/python"), venv.join("ready"));
    std::fs::create_dir_all(&target).expect("the target directory");
    // Held by whoever installs; another test waits for it.
    let lock = File::create(target.join("openai.lock")).expect("a lock");
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await;
    let _lock = lock.expect("a thread").expect("locked");
    if !ready.exists() {
        let made = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv)).await;
        assert!(
            made.status.success(),
            "`python3 -m venv` does not work, which this test needs: install Python 3 with its venv (on Debian: \
             apt-get install python3 python3-venv)\n{}",
            words(&made)
        );
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", CLIENT];
        let installed = run(Command::new(&python).args(pip)).await;
        assert!(installed.status.success(), "{CLIENT} cannot be installed from PyPI:\n{}", words(&installed));
        File::create(ready).expect("a mark");
    }
    python
}

async fn run(command: &mut Command) -> Output {
    command.kill_on_drop(true).output().await.unwrap_or_else(|error| {
        panic!("{command:?} cannot be started ({error}): install Python 3 with its venv (on Debian: python3-venv)")
    })
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs cases through the client against a door's socket; what it made of each, by name.
pub async fn ask(door: &Path, cases: &[String]) -> Value {
    let base_url = forward(door.to_owned()).await;
    run_script("client.py", &[std::slice::from_ref(&base_url), cases].concat()).await
}

/// Runs a script with the client; the JSON that it prints.
pub async fn run_script(script: &str, arguments: &[String]) -> Value {
    let python = python().await;
    let asked = run(Command::new(python).arg(Path::new(SCRIPTS).join(script)).args(arguments)).await;
    assert!(asked.status.success(), "{}", words(&asked));
    serde_json::from_slice(&asked.stdout).unwrap_or_else(|error| panic!("{error}: {}", words(&asked)))
}

/// A port on loopback that leads to the socket, as the runner's does in the container; its base URL. It closes with the test's
/// runtime.
async fn forward(socket: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base_url = format!("http://{}/v1", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut inner, _)) = listener.accept().await {
            let mut outer = UnixStream::connect(&socket).await.expect("the door");
            tokio::spawn(async move { copy_bidirectional(&mut inner, &mut outer).await });
        }
    });
    base_url
}
