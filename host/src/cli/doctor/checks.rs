//! The checks of this machine, the home and the groups.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, SystemTime};

use cofferdam_protocol::admin::Group;
use cofferdam_protocol::ids::Folder;
use jiff::Timestamp;
use rustix::fs::Access;

use super::Check;
use crate::cli::client::Client;
use crate::cli::connect::{self, Mode};
use crate::config::ConfigError;
use crate::config::group::GroupConfig;
use crate::config::home::{Home, SHARED};
use crate::config::host::{CaFile, HostConfig};
use crate::config::network::Network;
use crate::error_chain;
use crate::trust::Trust;
use crate::unix_socket::Reach;

/// Free space below which a check fails, in bytes: building the image writes about 1.5 GB.
const MIN_FREE: u64 = 2_000_000_000;
/// How far a file's time may lie ahead before the clock is suspect: more than what file servers are off by.
const AHEAD: Duration = Duration::from_secs(300);

/// In the names of folders that a restore moved aside.
const ASIDE: &str = ".aside-";

/// The rights on the home and on its private directories.
pub(super) fn home(home: &Home) -> Vec<Check> {
    let root = home.root();
    if !root.is_dir() {
        let problem = format!("there is no directory {}", root.display());
        return vec![Check::failed("home", problem, "`cofferdam init` makes it")];
    }
    vec![writable("home", root), private("data", &home.data()), private("run", &home.run())]
}

fn writable(name: &'static str, path: &Path) -> Check {
    match rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Check::ok(name, path.display().to_string()),
        Err(errno) => {
            let problem = format!("{} cannot be written: {}", path.display(), std::io::Error::from(errno));
            Check::failed(
                name,
                problem,
                "run as its owner, give yourself the rights, or choose another with --home",
            )
        }
    }
}

fn private(name: &'static str, path: &Path) -> Check {
    let Ok(meta) = std::fs::metadata(path) else {
        return Check::ok(name, format!("{} will be made at the first start", path.display()));
    };
    let me = rustix::process::geteuid().as_raw();
    let (mode, shown) = (meta.permissions().mode() & 0o777, path.display());
    if meta.uid() != me && me != 0 {
        let problem = format!("{shown} belongs to uid {}, and this is uid {me}", meta.uid());
        return Check::failed(name, problem, "run as its owner, or choose another home with --home");
    }
    if mode & 0o077 != 0 {
        return Check::failed(
            name,
            format!("{shown} is open to others (mode {mode:o})"),
            format!("chmod 700 {shown}"),
        );
    }
    writable(name, path)
}

/// `cofferdam.toml`, `.env` and the environment.
pub(super) fn configuration(loaded: &Result<HostConfig, ConfigError>) -> Vec<Check> {
    let config = match loaded {
        Ok(config) => config,
        Err(error) => {
            let mend = error.hint.clone().unwrap_or_else(|| "correct the file".to_owned());
            return vec![Check::failed("configuration", error.message(), mend)];
        }
    };
    let mut checks = vec![Check::ok("configuration", format!("at most {} sessions at once", config.max_sessions))];
    checks.extend(config.ca.as_ref().map(certificates));
    for warning in &config.warnings {
        let (detail, mend) = warning.split_once(": ").unwrap_or((warning, "correct it"));
        checks.push(Check::warning("configuration", detail, mend));
    }
    checks
}

/// Certificate authorities besides the machine's.
fn certificates(ca: &CaFile) -> Check {
    const NAME: &str = "certificates";
    let path = ca.path.display();
    match Trust::with_ca(&ca.pem) {
        Ok(trust) => Check::ok(NAME, format!("{} of {path} trusted besides the machine's", trust.authorities())),
        Err(error) => Check::failed(NAME, format!("{path}: {}", error_chain(&error)), connect::CA_HINT),
    }
}

/// Free space on each of the disks that the home lies on.
pub(super) fn disks(home: &Home) -> Vec<Check> {
    // A home that is not there yet will lie on the disk of its nearest parent.
    let root = home.root().ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let mut seen = Vec::new();
    let places = [root.to_owned(), home.data(), home.groups()].into_iter().filter(|place| {
        let device = place.metadata().ok().map(|about| about.dev());
        let fresh = device.is_some_and(|device| !seen.contains(&device));
        seen.extend(device);
        fresh
    });
    places.map(|place| disk(&place)).collect()
}

fn disk(place: &Path) -> Check {
    let stat = match rustix::fs::statvfs(place) {
        Ok(stat) => stat,
        Err(errno) => {
            let error = std::io::Error::from(errno);
            return Check::failed("disk", format!("{}: {error}", place.display()), "check the disk");
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let detail = format!("{:.1} GB free at {}", free as f64 / 1e9, place.display());
    if free < MIN_FREE {
        return Check::failed(
            "disk",
            detail,
            "make room: Cofferdam wants 2 GB; `docker system df` shows what images take",
        );
    }
    if stat.f_favail == 0 && stat.f_files > 0 {
        return Check::failed(
            "disk",
            format!("no file can be made at {}: the disk is out of inodes", place.display()),
            "remove files that are not needed",
        );
    }
    Check::ok("disk", detail)
}

/// A Unix socket where the daemon's and the sessions' sockets will lie.
pub(super) fn socket(home: &Home) -> Check {
    let run = home.run();
    if !run.is_dir() {
        return Check::skipped("sockets", format!("{} is not there yet", run.display()));
    }
    let path = run.join(format!(".doctor-{}.sock", std::process::id()));
    let tried = Reach::new(&path).and_then(|reach| {
        let listener = UnixListener::bind(reach.path())?;
        let _client = UnixStream::connect(reach.path())?;
        listener.accept().map(drop)
    });
    let _ = std::fs::remove_file(&path);
    match tried {
        Ok(()) => Check::ok("sockets", format!("Unix sockets work in {}", run.display())),
        Err(error) => {
            let problem = format!("a Unix socket in {} does not work: {error}", run.display());
            Check::failed(
                "sockets",
                problem,
                "choose a home on a local disk with --home; network and shared folders often have no sockets",
            )
        }
    }
}

/// The clock against what the home's own files remember.
pub(super) fn clock(home: &Home) -> Check {
    let files = [home.config_file(), home.central_db(), home.lock()];
    let newest = files.iter().filter_map(|path| std::fs::metadata(path).ok()?.modified().ok()).max();
    clock_at(SystemTime::now(), newest)
}

fn clock_at(now: SystemTime, newest: Option<SystemTime>) -> Check {
    const MEND: &str = "set the clock, and switch on time synchronisation (`timedatectl set-ntp true`)";
    let shown = Timestamp::try_from(now).map_or_else(|_| "far off".to_owned(), |at| format!("{at:.0}"));
    let year = Timestamp::try_from(now).map_or(0, |at| at.to_zoned(jiff::tz::TimeZone::UTC).year());
    if !(2025..2100).contains(&year) {
        return Check::failed("clock", format!("it says {shown}"), MEND);
    }
    match newest.and_then(|newest| newest.duration_since(now).ok()) {
        Some(ahead) if ahead > AHEAD => {
            let problem =
                format!("it says {shown}, but the home was written {} min after that", ahead.as_secs() / 60);
            Check::failed("clock", problem, MEND)
        }
        _ => Check::ok("clock", shown),
    }
}

/// Whether a daemon runs on the home.
pub(super) async fn daemon(home: &Home) -> Check {
    match connect::running(home).await {
        Ok(Some(_)) => Check::ok("daemon", "running"),
        Ok(None) => Check::ok("daemon", "not running; commands host what they need"),
        Err(error) => Check::from_error("daemon", &error, "run as the daemon's person"),
    }
}

/// The databases that are opened at a start, and the groups that are set aside.
pub(super) async fn databases(home: &Home, configured: bool) -> Check {
    const NAME: &str = "databases";
    if !configured || !home.central_db().exists() {
        return Check::skipped(NAME, "needs a home with a valid configuration");
    }
    let groups = async |client: &Client| Ok(client.get::<Vec<Group>>("/v1/groups").await?);
    match connect::with(home, Mode::Query, groups).await {
        Ok(groups) => of_groups(NAME, &groups),
        Err(error) => {
            let mend = error.hint().unwrap_or("see the message").to_owned();
            Check::failed(NAME, error.message(), mend)
        }
    }
}

fn of_groups(name: &'static str, groups: &[Group]) -> Check {
    let aside: Vec<&str> =
        groups.iter().filter(|group| group.set_aside.is_some()).map(|group| group.folder.as_str()).collect();
    match aside.first() {
        None if groups.len() == 1 => Check::ok(name, "1 group is in use"),
        None => Check::ok(name, format!("{} groups are in use", groups.len())),
        Some(first) => Check::failed(
            name,
            format!("set aside because their database is damaged: {}", aside.join(", ")),
            format!("`cofferdam restore {first}`, or `cofferdam restore {first} --from DIR` with a backup"),
        ),
    }
}

/// Every group's `container.json`.
pub(super) fn groups(home: &Home) -> Vec<Check> {
    let names = folders(home);
    let mut checks: Vec<_> = names.iter().filter_map(|name| group(home, name)).collect();
    if checks.is_empty() {
        checks.push(match names.len() {
            0 => Check::warning("groups", "there are none", "`cofferdam group add NAME` makes one"),
            n => Check::ok("groups", format!("{n} with a valid container.json")),
        });
    }
    checks
}

/// The names of the folders in `groups/` that are or could be groups.
fn folders(home: &Home) -> Vec<String> {
    let entries = std::fs::read_dir(home.groups()).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        // The second is what all groups share.
        .filter(|name| !name.starts_with('.') && !name.contains(ASIDE) && name != SHARED)
        .collect();
    names.sort();
    names
}

/// The groups whose `container.json` can be read, and their settings.
pub(super) fn settings(home: &Home) -> Vec<(Folder, GroupConfig)> {
    let loaded = |name: String| {
        let folder: Folder = name.parse().ok()?;
        let config = GroupConfig::load(home, &folder).ok()?.config;
        Some((folder, config))
    };
    folders(home).into_iter().filter_map(loaded).collect()
}

/// The groups whose containers reach more than their door, if there are any.
pub(super) fn network(settings: &[(Folder, GroupConfig)]) -> Option<Check> {
    let open = settings.iter().filter(|(_, config)| config.network == Network::Open);
    let open: Vec<&str> = open.map(|(folder, _)| folder.as_str()).collect();
    (!open.is_empty()).then(|| Check::ok("network", format!("open for the containers of {}", open.join(", "))))
}

/// What is wrong with one group, if anything.
fn group(home: &Home, name: &str) -> Option<Check> {
    let folder = match name.parse() {
        Ok(folder) => folder,
        Err(error) => {
            return Some(Check::warning("groups", format!("{error}"), "rename the folder, or move it away"));
        }
    };
    let error = GroupConfig::load(home, &folder).err()?;
    let mend = error.hint.clone().unwrap_or_else(|| "correct the file".to_owned());
    Some(Check::failed("groups", error.message(), mend))
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    fn fresh() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path()).unwrap();
        crate::cli::scaffold::home(&home).unwrap();
        (dir, home)
    }

    #[test]
    fn a_fresh_home_passes() {
        let (_dir, at) = fresh();
        let all = [home(&at), disks(&at), vec![socket(&at), clock(&at)]].concat();
        for check in all {
            assert_eq!(check.outcome, Outcome::Ok, "{check:?}");
        }
    }

    #[test]
    fn a_home_that_is_not_there_fails_with_the_mend() {
        let check = &home(&Home::new(Path::new("/nonexistent/home")).unwrap())[0];
        assert_eq!(check.outcome, Outcome::Failed);
        assert!(check.mend.as_ref().unwrap().contains("init"));
    }

    #[test]
    fn state_that_others_can_read_fails() {
        let (_dir, at) = fresh();
        std::fs::set_permissions(at.data(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let check = home(&at).into_iter().find(|check| check.name == "data").unwrap();
        assert_eq!(check.outcome, Outcome::Failed);
        assert!(check.mend.unwrap().contains("chmod 700"));
    }

    #[test]
    fn a_clock_that_went_back_fails() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let at = |secs| clock_at(now, Some(now + Duration::from_secs(secs))).outcome;
        assert_eq!((at(0), at(100), at(4000)), (Outcome::Ok, Outcome::Ok, Outcome::Failed));
        assert_eq!(clock_at(SystemTime::UNIX_EPOCH, None).outcome, Outcome::Failed);
    }

    #[test]
    fn every_group_with_a_bad_file_is_named() {
        let (_dir, at) = fresh();
        for (name, text) in [("good", "{}"), ("bad", "{"), ("Odd Name", "{}")] {
            std::fs::create_dir(at.groups().join(name)).unwrap();
            std::fs::write(at.groups().join(name).join("container.json"), text).unwrap();
        }
        let checks = groups(&at);
        assert_eq!(checks.len(), 2, "{checks:?}");
        assert_eq!(checks[0].outcome, Outcome::Warning);
        assert!(checks[1].detail.contains("bad/container.json"));
    }
}
