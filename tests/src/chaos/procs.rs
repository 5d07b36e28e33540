//! Processes, as `/proc` shows them to root.

use std::fs;

use rustix::process::Pid;

/// A process below another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id, here and not in its container.
    pub pid: Pid,
    /// The first 15 bytes of its program's name.
    pub name: String,
}

/// The processes below `pid`, parents first. Some may have ended meanwhile.
pub fn below(pid: i64) -> Vec<Process> {
    let Some(top) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Vec::new() };
    let (mut found, mut at) = (children(top), 0);
    while at < found.len() {
        let next = children(found[at].pid);
        found.extend(next);
        at += 1;
    }
    found
}

fn children(parent: Pid) -> Vec<Process> {
    let root = format!("/proc/{}/task", parent.as_raw_nonzero());
    let Ok(threads) = fs::read_dir(root) else { return Vec::new() };
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    let text: String = threads.flatten().map(of_thread).collect();
    text.split_whitespace().filter_map(|pid| process(Pid::from_raw(pid.parse().ok()?)?)).collect()
}

fn process(pid: Pid) -> Option<Process> {
    let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).ok()?;
    Some(Process { pid, name: name.trim().to_owned() })
}

/// The command lines of processes that name `what`, other than this one's.
pub fn naming(what: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = all.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name != own && name.bytes().all(|byte| byte.is_ascii_digit())
    });
    let line = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    let lines = numbered.filter_map(line).map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(what)).collect()
}
