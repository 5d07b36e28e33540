//! What the kernel says of processes and control groups.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::Trouble;

/// Clock ticks a second in `/proc/<pid>/stat`: fixed for user space on every Linux that we run on.
const TICKS: f64 = 100.0;

/// Seconds of processor time that a process has used, its ended threads included.
pub fn cpu_seconds(pid: u32) -> Result<f64, Trouble> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; the fields are counted behind it.
    let fields: Vec<&str> = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let ticks = |at: usize| fields.get(at).and_then(|n| n.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok((user + system) / TICKS),
        _ => Err(Trouble::Odd(format!("/proc/{pid}/stat"))),
    }
}

/// Seconds that all processors together were busy since the boot.
pub fn machine_busy_seconds() -> Result<f64, Trouble> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields: Vec<f64> =
        stat.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    let (idle, all) = (fields[3] + fields[4], fields.iter().take(8).sum::<f64>());
    Ok((all - idle) / TICKS)
}

/// Resident memory of a process in MB (10^6 bytes).
pub fn rss_mb(pid: u32) -> Result<f64, Trouble> {
    field_mb(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// Its share of resident memory, pages shared with others divided among them, in MB.
pub fn pss_mb(pid: u32) -> Result<f64, Trouble> {
    field_mb(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn field_mb(path: &str, name: &str) -> Result<f64, Trouble> {
    let text = fs::read_to_string(path)?;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok())
        .map(|kib| kib * 1024.0 / 1e6)
        .ok_or_else(|| Trouble::Odd(format!("{path} has no {name}")))
}

/// A container's control group.
pub enum Cgroup {
    /// Version 1: one tree for each controller.
    V1 {
        /// In the memory controller's tree.
        memory: PathBuf,
        /// In the processor accounting's tree.
        cpu: PathBuf,
    },
    /// Version 2: one tree.
    V2(PathBuf),
}

impl Cgroup {
    /// The group of a process on the host.
    pub fn of(pid: u32) -> Result<Self, Trouble> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let path_of = |controller: &str| {
            text.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let names = parts.next()?;
                let path = parts.next()?;
                names.split(',').any(|name| name == controller).then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let root = PathBuf::from("/sys/fs/cgroup");
        match (path_of("memory"), path_of("cpuacct"), path_of("")) {
            (Some(memory), Some(cpu), _) => {
                Ok(Self::V1 { memory: root.join("memory").join(memory), cpu: root.join("cpuacct").join(cpu) })
            }
            (_, _, Some(path)) => Ok(Self::V2(root.join(path))),
            _ => Err(Trouble::Odd(format!("/proc/{pid}/cgroup"))),
        }
    }

    /// Memory charged to the container in MiB, without page cache that is out of use: what `docker stats` shows.
    pub fn memory_mib(&self) -> Result<f64, Trouble> {
        let (used, stat, inactive) = match self {
            Self::V1 { memory, .. } => {
                (memory.join("memory.usage_in_bytes"), memory.join("memory.stat"), "total_inactive_file ")
            }
            Self::V2(path) => (path.join("memory.current"), path.join("memory.stat"), "inactive_file "),
        };
        let used = number(&used)?;
        let stat = fs::read_to_string(stat)?;
        let inactive: f64 =
            stat.lines().find_map(|line| line.strip_prefix(inactive)?.trim().parse().ok()).unwrap_or(0.0);
        Ok((used - inactive) / f64::from(1 << 20))
    }

    /// Seconds of processor time that the container has used.
    pub fn cpu_seconds(&self) -> Result<f64, Trouble> {
        match self {
            Self::V1 { cpu, .. } => Ok(number(&cpu.join("cpuacct.usage"))? / 1e9),
            Self::V2(path) => {
                let stat = fs::read_to_string(path.join("cpu.stat"))?;
                let micros: Option<f64> =
                    stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
                micros.map(|micros| micros / 1e6).ok_or_else(|| Trouble::Odd(path.display().to_string()))
            }
        }
    }

    /// The container's processes, by their ids on the host.
    pub fn processes(&self) -> Result<Vec<u32>, Trouble> {
        let dir = match self {
            Self::V1 { memory, .. } => memory,
            Self::V2(path) => path,
        };
        Ok(fs::read_to_string(dir.join("cgroup.procs"))?.lines().filter_map(|pid| pid.parse().ok()).collect())
    }

    /// The container's process with this name.
    pub fn process(&self, name: &str) -> Result<u32, Trouble> {
        // The kernel keeps fifteen bytes of a name.
        let wanted = &name[..name.len().min(15)];
        let is = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|found| found.trim_end() == wanted)
        };
        self.processes()?.into_iter().find(is).ok_or_else(|| Trouble::Odd(format!("no {name} in a container")))
    }
}

fn number(path: &std::path::Path) -> Result<f64, Trouble> {
    let text = fs::read_to_string(path)?;
    text.trim().parse().map_err(|_| Trouble::Io(io::Error::other(format!("{} is not a number", path.display()))))
}
