//! A session of its own with a real keyring: Debian's gnome-keyring on a private D-Bus. Both end with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use secret_service::{EncryptionType, SecretService};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::eventually;
use crate::home::{Ended, TestHome};
use crate::vendor::{KEY, Vendor};

/// A bus that starts nothing by itself.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#;
const PASSWORD: &[u8] = b"of the test";

/// A session. Dropping it ends its processes.
pub struct Session {
    dir: TempDir,
    bus: Option<Child>,
    keyring: Option<Child>,
}

impl Session {
    /// One with a keyring that is unlocked.
    pub async fn start() -> Self {
        let mut session = Self::without_keyring().await;
        session.unlocked().await;
        session
    }

    /// One with nothing but a bus.
    pub async fn without_keyring() -> Self {
        let dir = tempfile::Builder::new().prefix("cofferdam-bus-").tempdir().expect("a directory");
        let mut session = Self { dir, bus: None, keyring: None };
        session.bus_begins().await;
        session
    }

    /// Where the bus is.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.path("bus").display())
    }

    /// Lets a home's programs see the bus from now on.
    pub fn enter(&self, home: &mut TestHome) {
        home.env("DBUS_SESSION_BUS_ADDRESS", &self.address());
    }

    /// Ends the bus, and the keyring with it.
    pub async fn bus_ends(&mut self) {
        self.keyring_ends().await;
        end(self.bus.take()).await;
        let _ = std::fs::remove_file(self.path("bus"));
    }

    /// Starts the bus, at the same address.
    pub async fn bus_begins(&mut self) {
        let config = self.path("bus.conf");
        let text = BUS.replace("SOCKET", self.path("bus").to_str().expect("UTF-8"));
        std::fs::write(&config, text).expect("a configuration");
        let mut command = self.command("dbus-daemon");
        command.arg(format!("--config-file={}", config.display())).args(["--nofork", "--nopidfile"]);
        self.bus = Some(command.spawn().expect("dbus-daemon of Debian's package of that name: scripts/keyring.sh"));
        let address = self.address();
        drop(eventually("the bus answers", || connect(address.clone())).await);
    }

    /// Ends the keyring; what is in it stays on the disk.
    pub async fn keyring_ends(&mut self) {
        end(self.keyring.take()).await;
    }

    /// Starts the keyring anew, as after a login with its password.
    pub async fn unlocked(&mut self) {
        self.keyring(Some(PASSWORD)).await;
    }

    /// Starts the keyring anew, as after a login without a password.
    pub async fn locked(&mut self) {
        self.keyring(None).await;
    }

    async fn keyring(&mut self, password: Option<&[u8]>) {
        self.keyring_ends().await;
        let mut command = self.command("gnome-keyring-daemon");
        command.args(["--foreground", "--components=secrets"]).stdin(Stdio::piped());
        command.arg(format!("--control-directory={}", self.path("control").display()));
        if password.is_some() {
            command.arg("--unlock");
        }
        let mut keyring = command.spawn().expect("gnome-keyring of Debian: scripts/keyring.sh installs it");
        let mut stdin = keyring.stdin.take().expect("a pipe");
        stdin.write_all(password.unwrap_or_default()).await.expect("written");
        drop(stdin);
        self.keyring = Some(keyring);
        let (address, locked) = (self.address(), password.is_none());
        eventually("the keyring is as it should be", || {
            let address = address.clone();
            async move {
                let service =
                    SecretService::connect_with_existing(EncryptionType::Dh, connect(address).await?).await.ok()?;
                let default = service.get_default_collection().await.ok()?;
                (default.is_locked().await.ok()? == locked).then_some(())
            }
        })
        .await;
    }

    /// What Cofferdam has in the keyring: entries, and their texts.
    pub async fn entries(&self) -> BTreeMap<String, String> {
        let connection = connect(self.address()).await.expect("the bus");
        let service =
            SecretService::connect_with_existing(EncryptionType::Dh, connection).await.expect("a keyring");
        let found = service.search_items([("service", "cofferdam")].into()).await.expect("an answer");
        assert!(found.locked.is_empty(), "the keyring is locked");
        let mut entries = BTreeMap::new();
        for item in found.unlocked {
            let mut attributes = item.get_attributes().await.expect("attributes");
            let secret = item.get_secret().await.expect("a secret");
            let text = String::from_utf8(secret).expect("text");
            assert!(
                entries.insert(attributes.remove("entry").expect("an entry"), text).is_none(),
                "two of one name"
            );
        }
        entries
    }

    /// The only text that is there.
    pub async fn text(&self) -> String {
        let entries: Vec<String> = self.entries().await.into_values().collect();
        <[String; 1]>::try_from(entries).unwrap_or_else(|all| panic!("{} entries", all.len())).into_iter().collect()
    }

    /// Removes all of them.
    pub async fn forget(&self) {
        let connection = connect(self.address()).await.expect("the bus");
        let service =
            SecretService::connect_with_existing(EncryptionType::Dh, connection).await.expect("a keyring");
        let found = service.search_items([("service", "cofferdam")].into()).await.expect("an answer");
        for item in found.unlocked {
            item.delete().await.expect("removed");
        }
    }

    /// Puts another entry beside the one that is there, under the same name.
    pub async fn doubled(&self, text: &str) {
        let connection = connect(self.address()).await.expect("the bus");
        let service =
            SecretService::connect_with_existing(EncryptionType::Dh, connection).await.expect("a keyring");
        let found = service.search_items([("service", "cofferdam")].into()).await.expect("an answer");
        let has = found.unlocked[0].get_attributes().await.expect("attributes");
        let has = has.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let collection = service.get_default_collection().await.expect("a collection");
        collection.create_item("another", has, text.as_bytes(), false, "text/plain").await.expect("made");
    }

    /// Removes the entries with this text. Answers how many there were.
    pub async fn remove_those_with(&self, text: &str) -> usize {
        let connection = connect(self.address()).await.expect("the bus");
        let service =
            SecretService::connect_with_existing(EncryptionType::Dh, connection).await.expect("a keyring");
        let found = service.search_items([("service", "cofferdam")].into()).await.expect("an answer");
        let mut removed = 0;
        for item in found.unlocked {
            if item.get_secret().await.expect("a secret") == text.as_bytes() {
                item.delete().await.expect("removed");
                removed += 1;
            }
        }
        removed
    }

    /// The directory of the session.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let root = self.root();
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", root).env("XDG_RUNTIME_DIR", root).env("XDG_DATA_HOME", root.join("data"));
        command.env("DBUS_SESSION_BUS_ADDRESS", self.address());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command
    }
}

async fn connect(address: String) -> Option<zbus::Connection> {
    zbus::connection::Builder::address(address.as_str()).ok()?.build().await.ok()
}

async fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        child.kill().await.expect("it ends");
    }
}

/// Logs an account in with the vendor's key.
pub async fn try_login(home: &TestHome, name: &str, vendor: &Vendor) -> Ended {
    let words =
        ["account", "login", name, "--kind", "compatible", "--base-url", vendor.base_url(), "--key-file", "-"];
    home.cli_given(&words, &format!("{KEY}\n")).await
}

/// The same, which works.
pub async fn login(home: &TestHome, name: &str, vendor: &Vendor) {
    let ended = try_login(home, name, vendor).await;
    assert_eq!(ended.code, 0, "{ended:?}");
}

/// Its account can be opened and is taken by its vendor.
pub async fn serves(home: &TestHome, name: &str) {
    let test = home.cli(&["account", "test", name]).await;
    assert_eq!(test.code, 0, "{test:?}");
}

/// What `vault.key` has.
pub fn file(home: &TestHome) -> String {
    std::fs::read_to_string(home.root().join("vault.key")).expect("a file")
}

/// The lines with keys.
pub fn keys(text: &str) -> Vec<String> {
    text.lines().filter(|line| line.contains("vault-key-1:")).map(str::to_owned).collect()
}

/// The line with the place.
pub fn place(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("cofferdam-vault-keyring-1:"))
}

/// What `doctor` says of the key: the outcome, and all of it.
pub async fn doctor(home: &TestHome) -> (String, String) {
    let report = home.cli(&["doctor", "--json"]).await.json();
    let is = |check: &&Value| check["name"] == "vault key";
    let check = report["checks"].as_array().expect("checks").iter().find(is).expect("the check").clone();
    (check["outcome"].as_str().expect("a word").to_owned(), check.to_string())
}

/// A home whose key is in the keyring, with the account `work`.
pub async fn kept_in(session: &Session) -> (TestHome, Vendor) {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.take_only(KEY);
    session.enter(&mut home);
    login(&home, "work", &vendor).await;
    assert!(place(&file(&home)).is_some(), "{}", file(&home));
    (home, vendor)
}
