//! What can go wrong with the sandbox, and whose trouble it is.

use std::path::PathBuf;
use std::sync::Arc;

use bollard::errors::Error;

use super::image::ImageError;

/// What can go wrong with the sandbox.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SandboxError {
    /// The engine cannot be reached, or went away within a call.
    #[error("the Docker engine does not answer")]
    Unreachable(#[source] Arc<Error>),
    /// The engine takes calls and does not answer them, not even the simplest.
    #[error("the Docker engine hangs: it took a call ({doing}) and did not answer within {secs} s")]
    Hanging {
        /// What it was asked.
        doing: &'static str,
        /// How long it had, in seconds.
        secs: u64,
    },
    /// The engine's disk is full.
    #[error("the disk of the Docker engine is full: it could not {doing}")]
    Full {
        /// What it was asked.
        doing: &'static str,
        /// Its words.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The engine did not do it in time, and answers other calls.
    #[error("the Docker engine did not {doing} within {secs} s, though it answers other calls")]
    TimedOut {
        /// What it was asked.
        doing: &'static str,
        /// How long it had, in seconds.
        secs: u64,
    },
    /// The image is not there.
    #[error("the image {0} is missing")]
    NoImage(String),
    /// Our own image cannot be built.
    #[error("the image cannot be built")]
    Build(#[source] Arc<ImageError>),
    /// The engine refused.
    #[error("the Docker engine refused to {doing}")]
    Refused {
        /// What it was asked.
        doing: &'static str,
        /// Its words.
        #[source]
        source: Arc<Error>,
    },
    /// The log file cannot be written.
    #[error("cannot write the log {path}")]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
}

impl SandboxError {
    /// What an error of the engine's client means.
    pub fn of(doing: &'static str, error: Error) -> Self {
        match Sort::of(&error) {
            Sort::Full => Self::Full { doing, source: Arc::new(error) },
            Sort::Away => Self::Unreachable(Arc::new(error)),
            Sort::Refusal => Self::Refused { doing, source: Arc::new(error) },
        }
    }

    /// What a failed build of our own image means: an engine that goes away or is full is the same trouble in a build.
    pub fn of_build(error: ImageError) -> Self {
        const DOING: &str = "build the image";
        match error {
            ImageError::Engine { source, .. } if !matches!(Sort::of(&source), Sort::Refusal) => {
                Self::of(DOING, *source)
            }
            ImageError::Build { ref tail, .. } if is_full(tail) => {
                Self::Full { doing: DOING, source: Arc::new(error) }
            }
            error => Self::Build(Arc::new(error)),
        }
    }

    /// What the engine said, for tests outside of this room.
    #[cfg(test)]
    pub(crate) fn said(status_code: u16, message: &str) -> Self {
        Self::of("start a container", Error::DockerResponseServerError { status_code, message: message.to_owned() })
    }

    /// Whether the engine itself cannot be used just now, by nobody.
    pub fn is_the_engines(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Hanging { .. } | Self::Full { .. })
    }

    /// Whether it is trouble of the surroundings, which every session has: it waits without end and costs no try. The
    /// other errors are about this session.
    pub fn is_the_surroundings(&self) -> bool {
        self.is_the_engines() || matches!(self, Self::Build(_) | Self::Log { .. })
    }

    /// Whether the engine may do later what it was asked.
    pub(super) fn may_come_true(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Hanging { .. } | Self::TimedOut { .. })
    }
}

/// What sort of answer an error is, if it is one.
enum Sort {
    Full,
    Away,
    Refusal,
}

impl Sort {
    fn of(error: &Error) -> Self {
        match error {
            Error::DockerResponseServerError { message, .. } | Error::DockerStreamError { error: message }
                if is_full(message) =>
            {
                Self::Full
            }
            Error::DockerResponseServerError { status_code: 500.., message } if is_going(message) => Self::Away,
            Error::DockerResponseServerError { .. } | Error::DockerStreamError { .. } => Self::Refusal,
            _ => Self::Away,
        }
    }
}

fn is_full(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    words.contains("no space left on device") || words.contains("disk quota exceeded")
}

/// What an engine says that ends just now, or whose own parts are not there yet.
fn is_going(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    [
        "client connection is closing",
        "transport is closing",
        "connection error",
        "containerd.sock",
        "context canceled",
        "is shutting down",
        "ttrpc: closed",
    ]
    .iter()
    .any(|sign| words.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status_code: u16, message: &str) -> SandboxError {
        let message = message.to_owned();
        SandboxError::of("create a container", Error::DockerResponseServerError { status_code, message })
    }

    #[test]
    fn a_full_disk_is_the_engines_trouble_and_not_the_sessions() {
        let full = refusal(500, "mkdir /var/lib/docker/overlay2/1-init: no space left on device");
        assert!(matches!(full, SandboxError::Full { .. }) && full.is_the_engines(), "{full:?}");
        let tail = "write /x: No space left on device".to_owned();
        let built = SandboxError::of_build(ImageError::Build { image: "x".into(), tail });
        assert!(built.is_the_engines(), "{built:?}");
    }

    #[test]
    fn an_engine_that_ends_within_a_call_is_away_and_not_a_refusal() {
        for words in [
            "rpc error: code = Canceled desc = grpc: the client connection is closing: unknown",
            "connection error: desc = \"transport: Error while dialing dial unix /run/containerd.sock: no such file\"",
        ] {
            assert!(matches!(refusal(500, words), SandboxError::Unreachable(_)), "{words}");
        }
        assert!(matches!(SandboxError::of("x", Error::RequestTimeoutError), SandboxError::Unreachable(_)));
    }

    #[test]
    fn what_the_engine_refuses_is_the_sessions_trouble() {
        for (status, words) in [(400, "invalid CPUs"), (409, "name in use"), (500, "OCI runtime create failed")] {
            let refused = refusal(status, words);
            assert!(matches!(refused, SandboxError::Refused { .. }), "{refused:?}");
            assert!(!refused.is_the_surroundings());
        }
    }
}
