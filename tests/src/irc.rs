//! A real IRC server, Debian's ngircd, on a port of its own, and people who are on it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::{LIMIT, eventually};

/// A server. Dropping it ends its process.
pub struct Server {
    dir: TempDir,
    port: u16,
    tls_port: u16,
    process: Option<Child>,
}

impl Server {
    /// One that anybody may use; with a certificate and its key, it speaks TLS on a second port.
    pub async fn start(password: Option<&str>, tls: Option<(&str, &str)>) -> Self {
        let dir = tempfile::Builder::new().prefix("cofferdam-irc-").tempdir().expect("a directory");
        let mut server = Self { dir, port: free_port(), tls_port: free_port(), process: None };
        let mut config = format!(
            "[Global]\nName = irc.test\nInfo = tests\nListen = 127.0.0.1\nPorts = {}\nServerUID = nobody\n\
             ServerGID = nogroup\nMotdPhrase = hello\n",
            server.port
        );
        if let Some(password) = password {
            config += &format!("Password = {password}\n");
        }
        config += "[Limits]\nMaxConnectionsIP = 0\n[Options]\nDNS = no\nIdent = no\nPAM = no\n";
        if let Some((certificate, key)) = tls {
            server.write("cert.pem", certificate);
            server.write("key.pem", key);
            let path = |name| server.path(name).display().to_string();
            let (certificate, key) = (path("cert.pem"), path("key.pem"));
            config += &format!("[SSL]\nCertFile = {certificate}\nKeyFile = {key}\nPorts = {}\n", server.tls_port);
        }
        server.write("ngircd.conf", &config);
        server.begins().await;
        server
    }

    /// It runs again, on the same port.
    pub async fn begins(&mut self) {
        let log = std::fs::File::create(self.path("log")).expect("a log");
        let process = Command::new("/usr/sbin/ngircd")
            .args(["--nodaemon", "--config"])
            .arg(self.path("ngircd.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("ngircd; `make irc` installs it");
        self.process = Some(process);
        eventually("the server listens", || async { TcpStream::connect(("127.0.0.1", self.port)).await.ok() })
            .await;
    }

    /// It is killed.
    pub async fn ends(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.expect("killed");
        }
    }

    /// Where it is.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it speaks TLS.
    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// Its certificate, as a client is to trust it.
    pub fn certificate(&self) -> PathBuf {
        self.path("cert.pem")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }
}

/// Somebody on a server.
pub struct Person {
    lines: Lines<BufReader<OwnedReadHalf>>,
    out: OwnedWriteHalf,
}

/// What somebody reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Who wrote it.
    pub from: String,
    /// Where.
    pub to: String,
    /// What.
    pub text: String,
}

impl Person {
    /// Comes to the server, and into a channel.
    pub async fn comes(server: &Server, nick: &str, channel: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).await.expect("a server");
        let (reading, out) = stream.into_split();
        let mut person = Self { lines: BufReader::new(reading).lines(), out };
        person.says(&format!("NICK {nick}\r\nUSER {nick} 0 * :{nick}")).await;
        person.until(|line| line.contains(" 001 ")).await;
        person.says(&format!("JOIN {channel}")).await;
        person.until(|line| line.contains(" 366 ")).await;
        person
    }

    /// Waits until somebody else came into the channel.
    pub async fn sees(&mut self, nick: &str) {
        let (names, joined) = (format!("{nick}\r"), format!(":{nick}!"));
        self.says("NAMES").await;
        self.until(|line| {
            let named =
                line.contains(" 353 ") && format!("{}\r", line.replace([' ', '@', ':'], "\r")).contains(&names);
            named || (line.starts_with(&joined) && line.contains(" JOIN "))
        })
        .await;
    }

    /// Writes a line of the protocol.
    pub async fn says(&mut self, line: &str) {
        self.out.write_all(format!("{line}\r\n").as_bytes()).await.expect("written");
    }

    /// The next message of somebody's.
    pub async fn hears(&mut self) -> Heard {
        let line = self.until(|line| line.contains(" PRIVMSG ")).await;
        let (from, rest) = line.trim_start_matches(':').split_once('!').expect("a sender");
        let (to, text) = rest.split_once(" PRIVMSG ").and_then(|(_, rest)| rest.split_once(" :")).expect("a text");
        Heard { from: from.to_owned(), to: to.to_owned(), text: text.to_owned() }
    }

    /// Whether nothing more was written to this person until the server answered it.
    pub async fn hears_no_more(&mut self) -> bool {
        self.says("PING :end").await;
        let line = self.until(|line| line.contains(" PRIVMSG ") || line.contains(" PONG ")).await;
        line.contains(" PONG ")
    }

    async fn until(&mut self, is_it: impl Fn(&str) -> bool) -> String {
        let looking = async {
            loop {
                let line = self.lines.next_line().await.expect("a line").expect("a connection");
                if let Some(token) = line.strip_prefix("PING ") {
                    self.out.write_all(format!("PONG {token}\r\n").as_bytes()).await.expect("written");
                }
                if is_it(&line) {
                    return line;
                }
            }
        };
        timeout(LIMIT, looking).await.expect("the line comes")
    }
}

/// The example, which is what is tested.
pub fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join("examples/irc/irc.py")
}

/// What the example says that it keeps to: so many lines at once, then one each so often.
pub const PACE: (usize, Duration) = (4, Duration::from_millis(700));

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
