//! A session's home, workspace, model and door, and the real codex.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofferdam_protocol::runner::*;

use super::door::{AGAIN, Door, LIMIT, settings};
use super::model::Model;
use super::runner::{Extra, Runner};

/// An image of one red dot.
#[rustfmt::skip]
pub const PNG: [u8; 69] = [
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0,
    0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0, 144, 119, 83, 222, 0, 0, 0,
    12, 73, 68, 65, 84, 120, 156, 99, 248, 207, 192, 0, 0, 3, 1, 1, 0, 201,
    254, 146, 239, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
];

pub struct Setup {
    pub directory: tempfile::TempDir,
    pub model: Arc<Model>,
    pub door: Arc<Door>,
    /// The program that the runner takes for codex.
    pub codex: PathBuf,
    settings: Settings,
}

impl Setup {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let model = Model::start().await;
        super::codex::write_home(&directory.path().join("codex"), model.port);
        std::fs::create_dir(directory.path().join("workspace")).unwrap();
        let mut settings = settings(ProviderKind::Codex, &directory.path().join("workspace"));
        change(&mut settings);
        let codex = super::codex::binary();
        Self { door: Door::open(settings.clone(), None), directory, model, codex, settings }
    }

    pub fn home(&self) -> PathBuf {
        self.directory.path().join("codex")
    }

    pub fn workspace(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }

    pub fn runner(&self) -> Runner {
        let codex_home = Some(self.home());
        Runner::start_with(&self.door, &Extra { codex: Some(self.codex.clone()), codex_home, forward_port: 0 })
    }

    /// Adds lines to the end of codex's configuration, as the host does for MCP servers.
    pub fn configure(&self, lines: &str) {
        let path = self.home().join("config.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{text}{lines}")).unwrap();
    }

    /// Switches one of codex's features.
    pub fn feature(&self, name: &str, on: bool) {
        let path = self.home().join("config.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text.replace("[features]\n", &format!("[features]\n{name} = {on}\n"))).unwrap();
    }

    /// A door as after a new start of the container, on the same home and settings.
    pub fn new_attempt(&mut self, continuation: &str) {
        self.new_attempt_on(Thread { continuation: Some(continuation.to_owned()), ..Thread::default() });
    }

    /// The same for a conversation that stands there.
    pub fn new_attempt_on(&mut self, thread: Thread) {
        self.door = Door::open_on(self.settings.clone(), thread);
    }

    pub async fn say(&self, text: &str) -> Finish {
        self.door.finish(self.door.say(text)).await
    }

    /// Waits until a file under this directory contains the words.
    pub async fn until_written(&self, directory: &Path, words: &str) {
        let begun = std::time::Instant::now();
        while !files(directory).iter().any(|file| std::fs::read_to_string(file).unwrap_or_default().contains(words))
        {
            assert!(begun.elapsed() < LIMIT, "nothing under {directory:?} contains {words}");
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The files in which codex keeps its threads.
    pub fn rollouts(&self) -> Vec<PathBuf> {
        files(&self.home().join("sessions"))
    }

    /// Ends the runner as the host does, so that the next one finds the thread free.
    pub async fn end(&self, mut runner: Runner) {
        self.door.stop();
        assert_eq!(runner.ended().await.code(), Some(0));
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

pub fn failure(finish: &Finish) -> &Failure {
    match &finish.outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("not failed: {other:?}"),
    }
}

/// The thread that a turn ended on.
pub fn thread_of(finish: &Finish) -> String {
    finish.thread.as_ref().unwrap().continuation.clone().unwrap()
}

/// Waits until something outside of the runner is so.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(AGAIN).await;
    }
}
