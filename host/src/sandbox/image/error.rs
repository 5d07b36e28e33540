//! What can go wrong while making the image, and what to do about it.

use std::path::{Path, PathBuf};

/// A failed step of making the image. `Display` says the step and the mend; `source()` has the rest.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The machine is not one that the pinned Codex package is for.
    #[error(
        "the agent image is for x86_64 Linux only, and this machine is {0}: run Cofferdam on an x86_64 machine"
    )]
    Architecture(String),
    /// One of the embedded recipe files does not parse; a test keeps this from shipping.
    #[error("container/{file} does not parse: put it back as it was released")]
    Recipe {
        /// The file's name under `container/`.
        file: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No usable runner binary.
    #[error(
        "no static cofferdam-runner found (looked at {}): run `make build`, or set COFFERDAM_RUNNER to the binary",
        show(.looked)
    )]
    RunnerMissing {
        /// Where it was looked for, in order.
        looked: Vec<PathBuf>,
    },
    /// The runner needs a loader and libraries that the image does not promise.
    #[error("{} is not a static x86_64 binary: build it with `make build`", .0.display())]
    RunnerNotStatic(PathBuf),
    /// A file or directory of ours could not be used.
    #[error("cannot {what} {}: check its rights and the free space there", .path.display())]
    Io {
        /// The verb: "read", "write", …
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A program that we need is not there.
    #[error("{program} is not installed, and {why}: {mend}")]
    Missing {
        /// The program.
        program: &'static str,
        /// What it is needed for.
        why: &'static str,
        /// How to get it.
        mend: &'static str,
    },
    /// Codex could not be fetched.
    #[error("npm could not fetch {package}: check the network and npm's settings, then try again\n{tail}")]
    Fetch {
        /// The package as npm was asked for it.
        package: String,
        /// The end of what npm said.
        tail: String,
    },
    /// What was fetched is not what the repository names.
    #[error(
        "{package} does not match container/codex.lock and was not unpacked (expected {wanted}, got {found}): \
         something between here and the package's source changes it; do not use it, and try again from another network"
    )]
    Integrity {
        /// The package as npm was asked for it.
        package: String,
        /// The lock's integrity.
        wanted: String,
        /// The file's.
        found: String,
    },
    /// The package is authentic but not laid out as the lock says.
    #[error("the Codex package has no {0}: correct [files] in container/codex.lock")]
    Incomplete(String),
    /// The engine refused, or could not be reached.
    #[error("the Docker engine could not {what}: see `cofferdam doctor`")]
    Engine {
        /// The verb: "build the image", …
        what: &'static str,
        /// Why.
        #[source]
        source: Box<bollard::errors::Error>,
    },
    /// A build step failed.
    #[error("building {image} failed: fix what the last lines say, then run `cofferdam image build`\n{tail}")]
    Build {
        /// The tag that was being built.
        image: String,
        /// The end of the build's output.
        tail: String,
    },
    /// There is no way to a base image.
    #[error(
        "no base image: pulling failed ({pull}), and so did making one with mmdebstrap ({bootstrap}): \
         connect the engine to a registry, or install mmdebstrap and connect this machine to a Debian mirror"
    )]
    NoBase {
        /// Why the pull failed.
        pull: String,
        /// Why the bootstrap failed.
        bootstrap: String,
    },
    /// Codex did not start in the new image.
    #[error("Codex does not start in {image}: run `cofferdam image build` again\n{tail}")]
    Seed {
        /// The image that was tried.
        image: String,
        /// The end of what Codex said.
        tail: String,
    },
    /// A worker thread of ours died.
    #[error("an internal task of the image build died")]
    Task(#[source] tokio::task::JoinError),
}

impl ImageError {
    /// For `map_err` on file operations.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }

    /// For `map_err` on the engine's answers.
    pub(super) fn engine(what: &'static str) -> impl FnOnce(bollard::errors::Error) -> Self {
        move |source| Self::Engine { what, source: Box::new(source) }
    }

    /// The whole chain in one line.
    pub(super) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            text = format!("{text}: {error}");
            next = error.source();
        }
        text
    }
}

fn show(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The last lines of a child's or a build's output.
#[derive(Debug, Default)]
pub(super) struct Tail(std::collections::VecDeque<String>);

impl Tail {
    /// Enough to see a failing command and its message.
    const LINES: usize = 20;

    /// Adds what may be several lines.
    pub(super) fn push(&mut self, text: &str) {
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            if self.0.len() == Self::LINES {
                self.0.pop_front();
            }
            self.0.push_back(line.to_owned());
        }
    }

    /// The lines, indented for an error's text.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_the_last_lines_only() {
        let mut tail = Tail::default();
        for n in 0..50 {
            tail.push(&format!("line {n}\n\n"));
        }
        let text = tail.text();
        assert_eq!(text.lines().count(), Tail::LINES);
        assert!(text.starts_with("  line 30\n") && text.ends_with("  line 49"), "{text}");
    }
}
