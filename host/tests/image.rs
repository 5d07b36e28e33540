//! The agent image on a real engine, with the real Codex. The home is `COFFERDAM_TEST_HOME`, or the checkout, so that what
//! `make image` made is used again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptions, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptions,
};
use cofferdam::config::group::GroupConfig;
use cofferdam::config::home::Home;
use cofferdam::sandbox::User;
use cofferdam::sandbox::image::{Bars, ImageBuilder, ImageKind, ImageRef, Silent};
use cofferdam::sandbox::mounts::credentials::Credentials;
use cofferdam::sandbox::mounts::{Plan, container_user, prepare};
use cofferdam_protocol::ids::{Folder, SessionId};
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;

/// Marks what these tests start.
const LABEL: &str = "cofferdam.test";
/// Far more than any of it takes; a hang becomes a failure.
const LIMIT: Duration = Duration::from_secs(120);

async fn engine() -> Docker {
    let docker = Docker::connect_with_local_defaults().unwrap();
    docker.negotiate_version().await.expect("a Docker engine: run `make engine`")
}

fn home() -> Home {
    let root = std::env::var_os("COFFERDAM_TEST_HOME").map(PathBuf::from);
    Home::new(&root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))).unwrap()
}

async fn builder() -> ImageBuilder {
    let runner = std::env::var_os("COFFERDAM_RUNNER").map(PathBuf::from);
    ImageBuilder::new(engine().await, home(), runner)
}

async fn image(builder: &ImageBuilder) -> ImageRef {
    let made = builder.ensure(&Bars::new()).await;
    made.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
}

/// A session's flags, without a door.
fn body(image: &ImageRef, program: &str, args: &[&str], binds: Vec<String>) -> ContainerCreateBody {
    let User { uid, gid } = container_user();
    ContainerCreateBody {
        image: Some(image.to_string()),
        entrypoint: Some(vec![program.to_owned()]),
        cmd: Some(args.iter().map(|arg| (*arg).to_owned()).collect()),
        user: (!binds.is_empty()).then(|| format!("{uid}:{gid}")),
        labels: Some(HashMap::from([(LABEL.to_owned(), "image".to_owned())])),
        open_stdin: Some(true),
        stdin_once: Some(true),
        host_config: Some(HostConfig {
            network_mode: Some("none".into()),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".into()]),
            security_opt: Some(vec!["no-new-privileges".into()]),
            init: Some(true),
            tmpfs: Some(HashMap::from([
                ("/tmp".into(), "mode=1777".into()),
                ("/home/agent".into(), format!("mode=0700,uid={uid},gid={gid}")),
            ])),
            binds: Some(binds),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

async fn remove(docker: &Docker, id: &str) {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    docker.remove_container(id, Some(options)).await.unwrap();
}

/// Runs a shell script in the image as its own user; the script's output.
async fn run(docker: &Docker, image: &ImageRef, script: &str) -> String {
    let body = body(image, "/bin/sh", &["-c", script], Vec::new());
    let id = docker.create_container(None::<CreateContainerOptions>, body).await.unwrap().id;
    docker.start_container(&id, None::<StartContainerOptions>).await.unwrap();
    let waited = docker.wait_container(&id, None::<WaitContainerOptions>).try_collect::<Vec<_>>();
    let ended = tokio::time::timeout(LIMIT, waited).await.unwrap();
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
    let logs: Vec<LogOutput> = docker.logs(&id, Some(options)).try_collect().await.unwrap();
    remove(docker, &id).await;
    let text = logs.iter().map(ToString::to_string).collect::<String>();
    assert!(ended.is_ok(), "{script}: {ended:?}\n{text}");
    text
}

#[tokio::test]
async fn the_image_is_made_once_and_then_only_asked_for() {
    let builder = builder().await;
    let first = image(&builder).await;
    assert_eq!(first, builder.wanted().unwrap());
    let id = builder.list().await.unwrap().into_iter().find(|info| info.tag == first.as_str()).unwrap().id;
    let started = Instant::now();
    assert_eq!(builder.ensure(&Silent).await.unwrap(), first);
    assert!(started.elapsed() < Duration::from_secs(5), "a second run took {:?}", started.elapsed());
    let listed = builder.list().await.unwrap();
    let agent = listed.iter().find(|info| info.tag == first.as_str()).unwrap();
    assert_eq!(agent.id, id, "it was made again");
    assert!(agent.current && agent.kind == ImageKind::Agent && agent.size > 300_000_000);
    assert_eq!(agent.codex, Some(builder.codex_version().unwrap()));
    assert!(listed.iter().any(|info| info.kind == ImageKind::Base && info.current));
}

#[tokio::test]
async fn the_image_has_what_an_agent_needs_and_runs_as_nobody_special() {
    let builder = builder().await;
    let image = image(&builder).await;
    let docker = engine().await;
    let text = run(
        &docker,
        &image,
        "set -e; id; pwd; codex --version 2>/dev/null; rg --version | head -1; git --version; \
         curl --version | head -1; python3 -c 'import json, ssl; print(json.dumps([1]))'; \
         test -x /usr/local/bin/codex-code-mode-host; test -f /group/AGENTS.md; test -f /group/container.json; \
         test -d /run/cofferdam; test -s /etc/ssl/certs/ca-certificates.crt; \
         grep CapEff /proc/self/status; ls /sys/class/net; find / -xdev -perm /6000 -type f 2>/dev/null | wc -l",
    )
    .await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "uid=10001(agent) gid=10001(agent) groups=10001(agent)");
    assert_eq!(lines[1], "/group/workspace");
    assert_eq!(lines[2], format!("codex-cli {}", builder.codex_version().unwrap()));
    assert!(text.contains("CapEff:\t0000000000000000"), "{text}");
    assert_eq!(lines[lines.len() - 2..], ["lo", "0"], "{text}");
}

#[tokio::test]
async fn the_image_holds_no_secret_and_starts_the_runner() {
    let builder = builder().await;
    let image = image(&builder).await;
    let found = engine().await.inspect_image(image.as_str()).await.unwrap();
    let config = found.config.unwrap();
    assert_eq!(config.entrypoint, Some(vec!["/usr/local/bin/cofferdam-runner".to_owned()]));
    assert_eq!(config.user.as_deref(), Some("10001:10001"));
    let env = config.env.unwrap();
    let mut names: Vec<_> = env.iter().map(|pair| pair.split('=').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["CODEX_HOME", "HOME", "LANG", "PATH"]);
    assert_eq!(config.labels.unwrap()["cofferdam.content"], image.hash());
}

/// Starts the app-server on `home` in a container; the time from its start to the answer of `initialize`, and the id of
/// the thread that it then starts.
async fn app_server(docker: &Docker, image: &ImageRef, home: &Path) -> (Duration, String) {
    let binds = vec![format!("{}:/home/agent/.codex:rw", home.display())];
    let body = body(image, "/usr/local/bin/codex", &["app-server"], binds);
    let id = docker.create_container(None::<CreateContainerOptions>, body).await.unwrap().id;
    let options =
        AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).stderr(true).build();
    let mut pipes = docker.attach_container(&id, Some(options)).await.unwrap();
    docker.start_container(&id, None::<StartContainerOptions>).await.unwrap();
    let started = Instant::now();
    let hello = r#"{"id":1,"method":"initialize","params":{"clientInfo":{"name":"t","title":"t","version":"0"}}}"#;
    pipes.input.write_all(format!("{hello}\n").as_bytes()).await.unwrap();
    let (mut out, mut err, mut ready) = (String::new(), String::new(), None);
    let talk = async {
        while let Some(piece) = pipes.output.next().await {
            match piece.unwrap() {
                LogOutput::StdOut { message } => out.push_str(&String::from_utf8_lossy(&message)),
                other => err.push_str(&other.to_string()),
            }
            if ready.is_none() && out.contains(r#""id":1,"#) {
                ready = Some(started.elapsed());
                let start = r#"{"id":2,"method":"thread/start","params":{"cwd":"/group/workspace"}}"#;
                let text = format!("{{\"method\":\"initialized\"}}\n{start}\n");
                pipes.input.write_all(text.as_bytes()).await.unwrap();
            }
            if let Some(line) = out.lines().find(|line| line.starts_with(r#"{"id":2,"#))
                && let Ok(answer) = serde_json::from_str::<serde_json::Value>(line)
            {
                return answer["result"]["thread"]["id"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
            }
        }
        String::new()
    };
    let thread = tokio::time::timeout(LIMIT, talk).await.unwrap();
    remove(docker, &id).await;
    (ready.unwrap_or_else(|| panic!("no answer: {err}")), thread)
}

/// A session of a new home, prepared as the supervisor does it, from the seed or without; its home and its codex home.
fn session(seed: Option<&Path>) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path()).unwrap();
    let folder: Folder = "demo".parse().unwrap();
    let session: SessionId = "0123456789abcdef0123456789abcdef".parse().unwrap();
    std::fs::create_dir_all(home.group(&folder)).unwrap();
    std::fs::write(home.container_json(&folder), "{}").unwrap();
    let (user, config) = (container_user(), &GroupConfig::default());
    let env = |_: &str| None;
    let (model, credentials) = (None, &Credentials::sealed(&session));
    let plan = Plan { folder: &folder, session: &session, user, config, credentials, model, seed, env: &env };
    prepare(&home, &plan).unwrap();
    (dir, home.codex_home(&folder, &session))
}

#[tokio::test]
async fn two_sessions_copied_from_one_seed_work_at_once_and_apart() {
    let builder = builder().await;
    let image = image(&builder).await;
    let seed = builder.ensure_seed(&image, &Bars::new()).await.unwrap();
    assert_eq!(seed, builder.seed_dir(&image));
    let before = listing(&seed);
    assert!(before.iter().any(|(name, _)| name.starts_with("state_")), "{before:?}");
    let database = |name: &str| name.ends_with(".sqlite") || name.ends_with(".sqlite-wal");
    assert!(before.iter().all(|(name, _)| database(name)), "{before:?}");
    let docker = engine().await;
    let (one, two) = (session(Some(&seed)), session(Some(&seed)));
    let (a, b) = tokio::join!(app_server(&docker, &image, &one.1), app_server(&docker, &image, &two.1));
    assert!(!a.1.is_empty() && a.1 != b.1, "{a:?} {b:?}");
    assert_eq!(listing(&seed), before, "a session changed the seed");
    let ids = [&one.1, &two.1].map(|home| std::fs::read_to_string(home.join("installation_id")).unwrap());
    assert_ne!(ids[0], ids[1]);
    let (mut seeded, mut empty) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        empty.push(app_server(&docker, &image, &session(None).1).await.0);
        seeded.push(app_server(&docker, &image, &session(Some(&seed)).1).await.0);
    }
    println!("`initialize` answered after {seeded:.0?} on a copied seed, {empty:.0?} on an empty home");
    let least = |all: &[Duration]| all.iter().min().copied().unwrap();
    assert!(least(&seeded) < least(&empty), "a seed saves nothing");
}

fn listing(dir: &Path) -> Vec<(String, u64)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut all: Vec<_> =
        entries.map(|e| (e.file_name().into_string().unwrap(), e.metadata().unwrap().len())).collect();
    all.sort();
    all
}
