//! The seeded codex home: what Codex's first start on an empty directory makes (its databases with all migrations applied),
//! made once per image, so that a session's first start takes as long as any other (about 40 ms instead of 90 to 290).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::error::{ImageError, Tail};
use super::progress::Progress;
use super::recipe::ImageRef;
use super::{ImageBuilder, LABEL_KIND};
use crate::sandbox::User;
use crate::sandbox::mounts::container_user;

/// How long Codex may say nothing; it takes a third of a second on a cold disk.
const SILENCE: Duration = Duration::from_secs(60);
/// Nothing leaves the container anyway; this keeps Codex from trying.
const CONFIG: &str = "check_for_update_on_startup = false\nweb_search = \"disabled\"\n\
    [features]\nplugins = false\napps = false\nmemories = false\n[analytics]\nenabled = false\n[feedback]\nenabled = false\n\
    [skills]\nbundled = { enabled = false }\n[history]\npersistence = \"none\"\n";
const INITIALIZE: &str = concat!(
    r#"{"id":1,"method":"initialize","params":{"clientInfo":{"name":"cofferdam","title":"Cofferdam","version":"0"},"#,
    r#""capabilities":{"experimentalApi":true}}}"#,
    "\n"
);

impl ImageBuilder {
    /// Where the seeded codex home of `image` lies once it is complete.
    pub fn seed_dir(&self, image: &ImageRef) -> PathBuf {
        self.home.cache().join("codex-home").join(image.hash())
    }

    /// The seeded codex home of `image`, made by starting Codex in it if it is not there.
    pub async fn ensure_seed(&self, image: &ImageRef, progress: &dyn Progress) -> Result<PathBuf, ImageError> {
        let place = self.seed_dir(image);
        if place.exists() {
            return Ok(place);
        }
        let _alone = self.alone().await?;
        if place.exists() {
            return Ok(place);
        }
        let started = Instant::now();
        progress.step("seed a codex home", None);
        let parent = self.home.cache().join("codex-home");
        fs::create_dir_all(&parent).map_err(ImageError::io("create", &parent))?;
        sweep(&parent).map_err(ImageError::io("clean", &parent))?;
        let work = parent.join(format!(".partial-{}", image.hash()));
        prepare(&work).map_err(ImageError::io("write", &work))?;
        self.start_codex(image, &work).await?;
        strip(&work).map_err(ImageError::io("clean", &work))?;
        fs::rename(&work, &place).map_err(ImageError::io("write", &place))?;
        progress.done(started.elapsed());
        Ok(place)
    }

    /// One start of the app-server in a throwaway container, up to its answer to `initialize` and its own end.
    async fn start_codex(&self, image: &ImageRef, home: &Path) -> Result<(), ImageError> {
        let failed = ImageError::engine("start a container of the new image");
        let created = self.docker.create_container(None::<CreateContainerOptions>, throwaway(image, home)).await;
        let id = created.map_err(failed)?.id;
        let said = tokio::time::timeout(SILENCE, converse(&self.docker, &id)).await;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed = self.docker.remove_container(&id, Some(options)).await;
        if let Err(error) = removed {
            tracing::debug!(%error, container = %id, "the throwaway container is gone already");
        }
        let tail = match said {
            Ok(Ok((true, _))) => return Ok(()),
            Ok(Ok((false, tail))) => tail,
            Ok(Err(error)) => return Err(ImageError::engine("start a container of the new image")(error)),
            Err(_) => {
                let mut tail = Tail::default();
                tail.push(&format!("no answer to `initialize` within {} s", SILENCE.as_secs()));
                tail
            }
        };
        Err(ImageError::Seed { image: image.to_string(), tail: tail.text() })
    }
}

/// The session's flags (container/README.md), with the work directory as codex home and no door.
fn throwaway(image: &ImageRef, home: &Path) -> ContainerCreateBody {
    let User { uid, gid } = container_user();
    let tmpfs = format!("rw,nosuid,nodev,mode=0700,uid={uid},gid={gid}");
    ContainerCreateBody {
        image: Some(image.to_string()),
        entrypoint: Some(vec!["/usr/local/bin/codex".into()]),
        cmd: Some(vec!["app-server".into()]),
        user: Some(format!("{uid}:{gid}")),
        labels: Some(HashMap::from([(LABEL_KIND.into(), "seed".into())])),
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(HostConfig {
            network_mode: Some("none".into()),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".into()]),
            security_opt: Some(vec!["no-new-privileges".into()]),
            init: Some(true),
            tmpfs: Some(HashMap::from([("/tmp".into(), tmpfs.clone()), ("/home/agent".into(), tmpfs)])),
            binds: Some(vec![format!("{}:/home/agent/.codex:rw", home.display())]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// Says `initialize`, waits for the answer, closes stdin and waits for the end. Whether it answered, and its last words.
async fn converse(docker: &Docker, id: &str) -> Result<(bool, Tail), bollard::errors::Error> {
    let options =
        AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).stderr(true).build();
    let mut pipes = docker.attach_container(id, Some(options)).await?;
    docker.start_container(id, None::<StartContainerOptions>).await?;
    pipes.input.write_all(INITIALIZE.as_bytes()).await?;
    pipes.input.flush().await?;
    let (mut answered, mut out, mut tail) = (false, String::new(), Tail::default());
    while let Some(piece) = pipes.output.next().await {
        match piece? {
            LogOutput::StdOut { message } => out.push_str(&String::from_utf8_lossy(&message)),
            other => tail.push(&other.to_string()),
        }
        if !answered && out.contains('\n') {
            answered = out.lines().any(|line| line.contains(r#""id":1"#) && line.contains(r#""result""#));
            if !answered {
                tail.push(&out);
            }
            pipes.input.write_all(b"{\"method\":\"initialized\"}\n").await?;
            pipes.input.shutdown().await?;
        }
    }
    Ok((answered, tail))
}

fn prepare(work: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(work)?;
    let config = work.join("config.toml");
    fs::write(&config, CONFIG)?;
    if rustix::process::geteuid().is_root() {
        let User { uid, gid } = container_user();
        chown(work, Some(uid), Some(gid))?;
        chown(config, Some(uid), Some(gid))?;
    }
    Ok(())
}

/// Removes what an interrupted run left.
fn sweep(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(".partial-") {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Leaves the databases only: no configuration, credential, identity, lock or transcript goes into a seed. Codex
/// often ends without closing its databases, and then a database and its write-ahead log are one thing: SQLite brings the log
/// in at the next open, with nothing but these two (`-shm` is rebuilt), and just as fast (39 ms against 40).
fn strip(home: &Path) -> io::Result<()> {
    for name in names(home)? {
        let path = home.join(&name);
        let log = name.ends_with(".sqlite-wal") && path.symlink_metadata()?.len() > 0;
        if log || name.ends_with(".sqlite") {
            continue;
        }
        if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Copies a seed into a session's new codex home, which must exist. Owners are kept where we may set them.
pub fn copy_seed(seed: &Path, codex_home: &Path) -> io::Result<()> {
    let root = rustix::process::geteuid().is_root();
    for name in names(seed)? {
        let (from, to) = (seed.join(&name), codex_home.join(&name));
        fs::copy(&from, &to)?;
        if root {
            let meta = from.metadata()?;
            chown(&to, Some(meta.uid()), Some(meta.gid()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_holds_databases_and_nothing_personal() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "auth.json",
            "config.toml",
            "installation_id",
            "state_5.sqlite",
            "state_5.sqlite-wal",
            "state_5.sqlite-shm",
        ] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fs::create_dir_all(dir.path().join("sessions/2026")).unwrap();
        fs::write(dir.path().join("goals_1.sqlite-wal"), "").unwrap();
        strip(dir.path()).unwrap();
        let mut left = names(dir.path()).unwrap();
        left.sort();
        assert_eq!(left, ["state_5.sqlite", "state_5.sqlite-wal"]);
    }
}
