//! The machine that the figures are of.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::Path;
use std::time::Instant;

use bollard::Docker;
use serde::Serialize;

use crate::Trouble;
use crate::stats::{Samples, Summary};

/// Where it ran.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Processors that we may use.
    pub cores: usize,
    /// Processor's name.
    pub cpu: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Kernel's release.
    pub kernel: String,
    /// Docker engine's version.
    pub engine: String,
    /// Version of the engine's control groups.
    pub cgroups: String,
    /// Milliseconds of one append of 4 KiB and its `fdatasync`, where the homes are.
    pub fsync_ms: Summary,
    /// Runnable processes over the last minute when the run began: over 0.5, something else was at work.
    pub load: f64,
}

impl Machine {
    pub async fn look(docker: &Docker, dir: &Path) -> Result<Self, Trouble> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let memory_kib: u64 = memory.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let engine = docker.version().await?.version.unwrap_or_default();
        let cgroups = docker.info().await?.cgroup_version.map(|v| v.to_string()).unwrap_or_default();
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            memory_mib: memory_kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            engine,
            cgroups,
            fsync_ms: fsync(dir)?,
            load: read("/proc/loadavg").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0),
        })
    }

    pub fn describe(&self) -> String {
        format!(
            "{} cores ({}), {} MiB, Linux {}, Docker engine {} (cgroups v{}), fsync p50 {:.2} ms, load {:.2}",
            self.cores,
            self.cpu,
            self.memory_mib,
            self.kernel,
            self.engine,
            self.cgroups,
            self.fsync_ms.p50,
            self.load
        )
    }
}

/// What a durable commit costs at least: the log grows and is synced.
fn fsync(dir: &Path) -> std::io::Result<Summary> {
    let path = dir.join("fsync");
    let mut file = File::create(&path)?;
    let mut samples = Samples::default();
    for _ in 0..200 {
        file.seek(std::io::SeekFrom::End(0))?;
        let begun = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        samples.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    fs::remove_file(path)?;
    Ok(samples.summary())
}
