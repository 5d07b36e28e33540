//! Whose trouble a start that failed is: the surroundings', the session's own, or a person's.

use std::io;

use super::launch::LaunchError;
use crate::sandbox::SandboxError;
use crate::sandbox::mounts::PrepareError;

/// What follows from a start that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// Every session has it: waited for without end, and no try is counted.
    Surroundings(Surroundings),
    /// This session has it: tried a few times, then its messages become dead letters.
    Session,
    /// Only a person can mend it: its messages become dead letters at once.
    Person,
}

/// What a session waits for that every other one waits for too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surroundings {
    Engine,
    EnginesDisk,
    Image,
    Disk,
}

impl Surroundings {
    /// The end of "Your message will be answered when …".
    pub(super) fn until(self) -> &'static str {
        match self {
            Self::Engine => "the Docker engine answers again",
            Self::EnginesDisk => "there is room on the Docker engine's disk",
            Self::Image => "the agent image is built",
            Self::Disk => "the home's disk can be written again",
        }
    }
}

/// Whose trouble it is.
pub(super) fn blame(error: &LaunchError) -> Blame {
    match error {
        LaunchError::Config(_) | LaunchError::Prepare(PrepareError::Config(_)) => Blame::Person,
        LaunchError::Prepare(PrepareError::File { source, .. }) | LaunchError::Door(source) => of_file(source),
        // Nothing can be counted in a store that refuses.
        LaunchError::Store(_) => Blame::Surroundings(Surroundings::Disk),
        LaunchError::Sandbox(error) => of_sandbox(error),
        LaunchError::Login(_) | LaunchError::Died(_) => Blame::Session,
    }
}

fn of_sandbox(error: &SandboxError) -> Blame {
    match error {
        SandboxError::Unreachable(_) | SandboxError::Hanging { .. } => Blame::Surroundings(Surroundings::Engine),
        SandboxError::Full { .. } => Blame::Surroundings(Surroundings::EnginesDisk),
        SandboxError::Build(_) => Blame::Surroundings(Surroundings::Image),
        SandboxError::Log { source, .. } => of_file(source),
        // The engine is well, and does not do it for this session.
        SandboxError::TimedOut { .. } | SandboxError::NoImage(_) | SandboxError::Refused { .. } => Blame::Session,
    }
}

/// A disk that takes no writes, or a system without memory or file handles, is everybody's; a file that is in the way, or
/// whose rights are wrong, is the session's.
fn of_file(error: &io::Error) -> Blame {
    use io::ErrorKind as K;
    let handles = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE, rustix::io::Errno::IO];
    let system = error.raw_os_error().is_some_and(|raw| handles.iter().any(|errno| errno.raw_os_error() == raw));
    match error.kind() {
        K::StorageFull | K::QuotaExceeded | K::ReadOnlyFilesystem | K::OutOfMemory => {
            Blame::Surroundings(Surroundings::Disk)
        }
        _ if system => Blame::Surroundings(Surroundings::Disk),
        _ => Blame::Session,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::ConfigError;
    use crate::sandbox::image::ImageError;
    use crate::store::StoreError;

    const ENGINE: Blame = Blame::Surroundings(Surroundings::Engine);
    const DISK: Blame = Blame::Surroundings(Surroundings::Disk);

    fn file(kind: io::ErrorKind) -> LaunchError {
        LaunchError::Prepare(PrepareError::File { path: "/x".into(), source: kind.into() })
    }

    fn log(kind: io::ErrorKind) -> SandboxError {
        SandboxError::Log { path: "/x".into(), source: Arc::new(kind.into()) }
    }

    /// Every variant; the matches above name each, so that a new one does not compile without a decision.
    #[test]
    fn every_failed_start_is_somebodys_trouble() {
        let doing = "start";
        for (error, expected) in [
            (LaunchError::Config("x".into()), Blame::Person),
            (LaunchError::Prepare(PrepareError::Config(ConfigError::new("/x".as_ref(), "x"))), Blame::Person),
            (file(io::ErrorKind::StorageFull), DISK),
            (file(io::ErrorKind::ReadOnlyFilesystem), DISK),
            (file(io::ErrorKind::PermissionDenied), Blame::Session),
            (LaunchError::Door(io::ErrorKind::AddrInUse.into()), Blame::Session),
            (LaunchError::Door(io::Error::from(rustix::io::Errno::MFILE)), DISK),
            (LaunchError::Store(StoreError::Closed), DISK),
            (LaunchError::Sandbox(SandboxError::Hanging { doing, secs: 1 }), ENGINE),
            (LaunchError::Sandbox(SandboxError::TimedOut { doing, secs: 1 }), Blame::Session),
            (LaunchError::Sandbox(SandboxError::NoImage("x".into())), Blame::Session),
            (LaunchError::Sandbox(SandboxError::said(400, "invalid CPUs")), Blame::Session),
            (LaunchError::Sandbox(SandboxError::said(500, "transport is closing")), ENGINE),
            (LaunchError::Sandbox(log(io::ErrorKind::StorageFull)), DISK),
            (LaunchError::Sandbox(log(io::ErrorKind::PermissionDenied)), Blame::Session),
            (LaunchError::Died("exit code 1".into()), Blame::Session),
        ] {
            assert_eq!(blame(&error), expected, "{error}");
        }
        let source: Arc<dyn std::error::Error + Send + Sync> =
            Arc::new(io::Error::other("no space left on device"));
        let full = SandboxError::Full { doing, source };
        assert_eq!(of_sandbox(&full), Blame::Surroundings(Surroundings::EnginesDisk));
        let build = SandboxError::Build(Arc::new(ImageError::Architecture("arm64".into())));
        assert_eq!(of_sandbox(&build), Blame::Surroundings(Surroundings::Image));
    }
}
