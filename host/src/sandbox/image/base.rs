//! The base image: pulled where a registry answers, else made with mmdebstrap.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use super::build::Build;
use super::context::Context;
use super::error::{ImageError, Tail};
use super::progress::Progress;
use super::recipe::{BASE_DOCKERFILE, Recipe};
use super::{LABEL_KIND, exists};

/// How long a registry may take to say anything at all.
const FIRST_WORD: Duration = Duration::from_secs(20);
/// How long it may then fall silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Where mmdebstrap's root goes, before the base image is built from it.
const BOOTSTRAP: &str = "cofferdam/bootstrap";
/// What nobody reads in a container, left out of a bootstrapped root.
const LEFT_OUT: [&str; 3] = ["/usr/share/man/*", "/usr/share/doc/*/*", "/usr/share/locale/*"];

/// The base image's tag, made if the engine does not have it.
pub(super) async fn ensure(
    docker: &Docker,
    recipe: &Recipe,
    progress: &dyn Progress,
) -> Result<String, ImageError> {
    let tag = recipe.base_tag();
    if exists(docker, &tag).await? {
        return Ok(tag);
    }
    let pulled = match pull(docker, recipe, progress).await {
        Ok(()) => build(docker, recipe, &tag, &recipe.base.image, progress).await.map_err(|error| error.chain()),
        Err(reason) => Err(reason),
    };
    let Err(pull) = pulled else { return Ok(tag) };
    tracing::info!(reason = %pull, "no base image by pulling; making one with mmdebstrap");
    let source = format!("{BOOTSTRAP}:{}", recipe.base.debian);
    let made = match bootstrap(docker, recipe, progress).await {
        Ok(()) => build(docker, recipe, &tag, &source, progress).await,
        Err(error) => Err(error),
    };
    made.map_err(|error| ImageError::NoBase { pull, bootstrap: error.chain() })?;
    // Its layers live on in the base; the name has done its work.
    if let Err(error) =
        docker.remove_image(&source, None::<bollard::query_parameters::RemoveImageOptions>, None).await
    {
        tracing::debug!(%error, image = %source, "the bootstrap's name stays");
    }
    Ok(tag)
}

async fn build(
    docker: &Docker,
    recipe: &Recipe,
    tag: &str,
    source: &str,
    progress: &dyn Progress,
) -> Result<(), ImageError> {
    let packages = recipe.base.packages.join(" ");
    let build = Build {
        title: "base image",
        tag,
        context: Context::default().text("Dockerfile", BASE_DOCKERFILE),
        args: HashMap::from([("SOURCE", source), ("PACKAGES", &packages)]),
        labels: HashMap::from([(LABEL_KIND, "base")]),
        network: true,
    };
    build.run(docker, progress).await
}

/// Pulls the recipe's image. The reason of a failure is only told if the other way fails too.
async fn pull(docker: &Docker, recipe: &Recipe, progress: &dyn Progress) -> Result<(), String> {
    let (image, tag) = recipe.base.image.rsplit_once(':').unwrap_or((&recipe.base.image, "latest"));
    let options = CreateImageOptionsBuilder::default().from_image(image).tag(tag).build();
    let started = Instant::now();
    progress.step(&format!("pull {}", recipe.base.image), None);
    let mut events = docker.create_image(Some(options), None, None);
    let mut limit = FIRST_WORD;
    loop {
        match tokio::time::timeout(limit, events.next()).await {
            Err(_) => return Err(format!("the registry said nothing for {} s", limit.as_secs())),
            Ok(Some(Err(error))) => return Err(error.to_string()),
            Ok(Some(Ok(CreateImageInfo { error_detail: Some(detail), .. }))) => {
                return Err(detail.message.unwrap_or_else(|| "no reason given".to_owned()));
            }
            Ok(Some(Ok(_))) => limit = SILENCE,
            Ok(None) => break,
        }
    }
    progress.done(started.elapsed());
    Ok(())
}

/// mmdebstrap's output straight into the engine's import.
async fn bootstrap(docker: &Docker, recipe: &Recipe, progress: &dyn Progress) -> Result<(), ImageError> {
    let started = Instant::now();
    progress.step("make a Debian root with mmdebstrap", None);
    if !installed("mmdebstrap") {
        return Err(ImageError::Missing {
            program: "mmdebstrap",
            why: "no registry answered with a base image",
            mend: "run `scripts/engine.sh`, or on Debian: apt-get install mmdebstrap",
        });
    }
    let mut child = command(recipe).await.spawn().map_err(ImageError::io("run", Path::new("mmdebstrap")))?;
    let (words, mut said) = mpsc::unbounded_channel();
    let root = output(&mut child, words);
    let options =
        CreateImageOptionsBuilder::default().from_src("-").repo(BOOTSTRAP).tag(&recipe.base.debian).build();
    let body = bollard::body_try_stream(root.chain(end(Stopper(child))));
    let imported = docker.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await;
    if let Err(error) = imported {
        let mut tail = Tail::default();
        while let Ok(line) = said.try_recv() {
            tail.push(&line);
        }
        tail.push(&error.to_string());
        return Err(ImageError::Build { image: BOOTSTRAP.to_owned(), tail: tail.text() });
    }
    progress.done(started.elapsed());
    Ok(())
}

async fn command(recipe: &Recipe) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        // As root it mounts /proc, /sys and /dev/shm in its root; in a namespace of its own they go when it is killed.
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "mmdebstrap"]);
        command
    } else {
        Command::new("mmdebstrap")
    };
    command.args(["--variant=minbase", "--format=tar"]);
    command.arg(format!("--include={}", recipe.base.packages.join(",")));
    for path in LEFT_OUT {
        command.arg(format!("--dpkgopt=path-exclude={path}"));
    }
    if let Some(proxy) = apt_proxy().await {
        command.arg(format!("--aptopt=Acquire::http::Proxy \"{proxy}\""));
    }
    command.arg(&recipe.base.debian).arg("-").args(mirror(Path::new("/etc/apt"), &recipe.base.debian));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// The host's own source list where it is for the same release, so that a site's mirror is used; else mmdebstrap's choice.
fn mirror(apt: &Path, debian: &str) -> Option<PathBuf> {
    let lists = [apt.join("sources.list.d/debian.sources"), apt.join("sources.list")];
    lists.into_iter().find(|list| {
        std::fs::read_to_string(list).is_ok_and(|text| {
            text.lines().any(|line| {
                !line.trim_start().starts_with('#') && line.split([' ', '/']).any(|word| word == debian)
            })
        })
    })
}

/// The proxy that this machine's apt uses, which mmdebstrap does not read by itself.
async fn apt_proxy() -> Option<String> {
    let mut dump = Command::new("apt-config");
    let output = dump.args(["dump", "--format=%v", "Acquire::http::Proxy"]).output().await.ok()?;
    let proxy = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!proxy.is_empty() && !proxy.contains('"')).then_some(proxy)
}

/// The child's stdout as a stream; its stderr's lines go to `words`.
fn output(
    child: &mut Child,
    words: mpsc::UnboundedSender<String>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                // The build may be over; the pipe is read to its end all the same.
                let _ = words.send(line);
            }
        });
    }
    let pipe = child.stdout.take().map(|stdout| ReaderStream::with_capacity(stdout, 1 << 18));
    futures_util::stream::iter(pipe).flatten()
}

/// Nothing when the child ended well, else an error that breaks the upload off, so that no half root is imported.
fn end(mut child: Stopper) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let ended = async move {
        match child.0.wait().await {
            Ok(status) if status.success() => None,
            Ok(status) => Some(Err(io::Error::other(format!("mmdebstrap: {status}")))),
            Err(error) => Some(Err(error)),
        }
    };
    futures_util::stream::once(ended).filter_map(std::future::ready)
}

/// Asks the child to end and clean up after itself when the build is given up; mmdebstrap would leave its root behind if
/// it were killed.
struct Stopper(Child);

impl Drop for Stopper {
    fn drop(&mut self) {
        let pid = self.0.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid {
            // It may just have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_sources_are_used_for_the_same_release_only() {
        let apt = tempfile::tempdir().unwrap();
        assert_eq!(mirror(apt.path(), "bookworm"), None);
        let list = apt.path().join("sources.list");
        std::fs::write(&list, "# deb http://m/debian bookworm main\ndeb http://m/debian trixie main\n").unwrap();
        assert_eq!(mirror(apt.path(), "bookworm"), None);
        std::fs::write(&list, "deb http://m/debian bookworm main\n").unwrap();
        assert_eq!(mirror(apt.path(), "bookworm"), Some(list));
    }

    #[tokio::test]
    async fn a_failing_child_breaks_the_upload_off() {
        let mut child = Command::new("sh")
            .args(["-c", "echo part; echo why >&2; exit 3"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (words, mut said) = mpsc::unbounded_channel();
        let all: Vec<_> = output(&mut child, words).chain(end(Stopper(child))).collect().await;
        assert_eq!(all.first().unwrap().as_ref().unwrap(), "part\n");
        assert!(all.last().unwrap().as_ref().unwrap_err().to_string().contains('3'));
        assert_eq!(said.recv().await.unwrap(), "why");
    }
}
