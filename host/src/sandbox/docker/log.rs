//! A container's output, kept on the host.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::AttachContainerOptionsBuilder;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::io::AsyncWriteExt;

use super::link::{Link, SHORT};
use crate::sandbox::{ContainerId, SandboxError};

/// The most of one attempt's output that is kept on the host, in bytes: a container cannot fill the disk by talking.
const LOG_BYTES: usize = 16 * 1024 * 1024;

type Output = BoxStream<'static, Result<LogOutput, Error>>;

/// Keeps what the container says from now on. `replay` begins with what the engine kept of it.
pub(super) async fn keep(link: &Link, id: &ContainerId, log: &Path, replay: bool) -> Result<(), SandboxError> {
    let id = id.clone();
    let attach = |client: Docker| async move { attach(&client, &id, replay).await };
    let output = link.call("attach to a container", SHORT, attach).await?;
    let log = open(log).await?;
    tokio::spawn(write(output, log));
    Ok(())
}

async fn attach(client: &Docker, id: &ContainerId, replay: bool) -> Result<Output, Error> {
    let options =
        AttachContainerOptionsBuilder::default().stdout(true).stderr(true).stream(true).logs(replay).build();
    Ok(client.attach_container(&id.0, Some(options)).await?.output.boxed())
}

/// Opens a log anew.
pub(super) async fn open(path: &Path) -> Result<tokio::fs::File, SandboxError> {
    let open = async {
        if let Some(parent) = path.parent() {
            tokio::fs::create_dir_all(parent).await?;
            forget_old_logs(parent).await?;
        }
        tokio::fs::File::create(path).await
    };
    open.await.map_err(|source| SandboxError::Log { path: path.to_owned(), source: Arc::new(source) })
}

/// Removes all but the newest logs: attempts are many, disks are not.
async fn forget_old_logs(dir: &Path) -> std::io::Result<()> {
    const KEPT: usize = 20;
    let mut attempts: Vec<(i64, PathBuf)> = Vec::new();
    let mut entries = tokio::fs::read_dir(dir).await?;
    while let Some(entry) = entries.next_entry().await? {
        let path = entry.path();
        let attempt = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<i64>().ok());
        attempts.extend(attempt.map(|attempt| (attempt, path)));
    }
    attempts.sort_unstable();
    for (_, path) in attempts.iter().rev().skip(KEPT - 1) {
        tokio::fs::remove_file(path).await?;
    }
    Ok(())
}

async fn write(mut output: Output, mut log: tokio::fs::File) {
    let mut left = LOG_BYTES;
    while let Some(Ok(chunk)) = output.next().await {
        let bytes = chunk.into_bytes();
        let kept = &bytes[..bytes.len().min(left)];
        left -= kept.len();
        // A full disk costs the log, not the session.
        if !kept.is_empty() && (log.write_all(kept).await.is_err() || log.flush().await.is_err()) {
            left = 0;
        }
    }
}
