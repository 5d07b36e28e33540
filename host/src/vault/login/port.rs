//! Who has a port of this machine, as far as `/proc` tells.

use std::fs;
use std::path::Path;

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The port.
    pub port: u16,
    /// The process and its name; none when it is another user's or in another namespace.
    pub process: Option<(u32, String)>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.process {
            Some((pid, name)) => write!(f, "port {} is held by {name} (process {pid})", self.port),
            None => write!(f, "port {} is held by another program", self.port),
        }
    }
}

/// Looks for who listens on a port.
pub(super) fn holder(port: u16) -> Holder {
    let inodes: Vec<_> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    Holder { port, process: process(&inodes) }
}

/// The inodes of the sockets that listen on a port, of a table as in `/proc/net/tcp`.
fn listening(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let local = format!(":{port:04X}");
    let rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && row[1].ends_with(&local) && row[3] == LISTEN)
        .map(|row| row[9].to_owned())
        .collect()
}

fn process(sockets: &[String]) -> Option<(u32, String)> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| has_one(&Path::new("/proc").join(pid.to_string()), sockets))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
    Some((pid, if name.is_empty() { "a program".to_owned() } else { name }))
}

fn has_one(process: &Path, sockets: &[String]) -> bool {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let mut links = files.filter_map(|file| fs::read_link(file.path()).ok());
    links.any(|link| sockets.iter().any(|socket| Path::new(socket) == link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_listens_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = holder(port);
        assert_eq!(found.process.as_ref().map(|(pid, _)| *pid), Some(std::process::id()));
        assert!(found.to_string().contains(&format!("port {port} is held by ")), "{found}");
    }

    #[test]
    fn a_port_of_nobody_is_nobodys() {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        assert_eq!(holder(port), Holder { port, process: None });
    }
}
