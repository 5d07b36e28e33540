//! Chaos: the real daemon, containers and engine under a load of messages, while everything is killed, frozen, filled and
//! cut off; then the books are checked. docs/chaos.md says how to run it and what it shows.
//!
//! ```text
//! plan (seed) ─┬─▶ load ──▶ platform ◀──▶ daemon ──▶ containers
//!              └─▶ faults ────┴─────────────┴──────────┴─── engine, disk
//! then: quiet ─▶ an orderly end ─▶ check (databases × the platform's record), left (files, containers, processes)
//! ```

mod check;
mod course;
mod disk;
mod engine;
mod explained;
mod faults;
mod keeper;
mod left;
mod load;
mod outcome;
pub mod plan;
mod procs;
mod recovery;
pub mod report;
mod rows;
mod story;
mod timeline;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::models::ContainerSummary;
use cofferdam::channels::platform::Sending;
use cofferdam::config::home::Home;
use cofferdam::sandbox::docker::LABEL_INSTALL;
use cofferdam::sandbox::image::{ImageBuilder, Silent};
use fastrand::Rng;
use serde_json::json;
use tempfile::TempDir;

use crate::home::{TestHome, cache_home};
use crate::platform::{Fault, Platform};
use crate::{LIMIT, eventually};
use check::Verdict;
use course::Course;
use disk::Disk;
use engine::Engine;
use faults::Victims;
use keeper::Keeper;
use load::Load;
use plan::{Agent, Plan, Settings};
use report::Report;
use rows::Rows;

/// Without any change for so long, a run that has messages without an outcome is stuck. A reply may wait out the pauses
/// after three doubts: 10 s, 30 s and 90 s; a message of Codex those after three failures: 15 s, 60 s and 300 s. Each is
/// stretched by a fifth.
fn patience(agent: Agent) -> Duration {
    match agent {
        Agent::Mock => Duration::from_secs(150),
        Agent::Codex => Duration::from_secs(400),
    }
}

/// Sends that the platform fails, in a thousand.
const STORMY: u32 = 30;

/// Runs a plan. `say` is told how it goes, a line at a time. When something is wrong the home is kept, and the report
/// names it.
pub async fn run(settings: Settings, say: impl Fn(&str)) -> Report {
    let plan = Plan::of(&settings);
    say("starts an engine of its own");
    let engine = Engine::start().await;
    engine.load(&image().await).await;
    let mut run = Run::new(&settings, &plan, engine).await;
    let began = Instant::now();
    let mut wrong = run.play(&plan, &settings, &say).await;
    say("ends the daemon");
    let (platform, load) = (run.platform, run.load);
    let victims = Arc::into_inner(run.victims).expect("nobody else has it");
    let struck = victims.struck();
    let starts = victims.keeper.starts();
    wrong.extend(victims.keeper.end().await);
    wrong.extend(left_behind(&victims.engine, &run.home).await);
    let (mut verdict, groups) = judged(&run.home, &platform, &load);
    verdict.wrong.splice(0..0, wrong);
    victims.engine.end().await;
    let repeats = platform.repeats();
    let log = std::fs::read(run.home.root().join("daemon.log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let report = Report::new(settings, began, &struck, verdict, &groups, &log);
    let mut report = Report { starts, repeats, ..report };
    if !report.is_clean() {
        let kept = run.home.keep();
        victims.disk.copy(&kept.join("data-of-the-run"));
        report.verdict.wrong.push(format!("the home with its log is kept: {}", kept.display()));
    }
    report
}

/// Everything that runs.
struct Run {
    home: TestHome,
    /// Where the platform's socket is: it is no part of the home.
    _cloud: TempDir,
    platform: Arc<Platform>,
    victims: Arc<Victims>,
    load: Arc<Load>,
}

impl Run {
    async fn new(settings: &Settings, plan: &Plan, engine: Engine) -> Self {
        let mut home = TestHome::new();
        let cloud = tempfile::tempdir().expect("a temporary directory");
        let disk = Arc::new(Disk::mount(home.root()));
        let platform = Arc::new(Platform::start(&cloud.path().join("platform.sock"), knows_keys));
        let sessions = (plan.chats.len() * 2 / 3).max(1);
        home.configure(&format!("max_sessions = {sessions}\n"));
        let tmp = home.root().join("tmp");
        std::fs::create_dir(&tmp).expect("a directory for temporary files");
        home.env("DOCKER_HOST", &engine.host()).env("TMPDIR", &tmp.display().to_string());
        // For the timelines: who waits for a place, what is handed out, and which nudges are lost.
        home.env("COFFERDAM_LOG", "info,cofferdam::supervisor=debug,cofferdam::delivery=debug");
        home.env("COFFERDAM_TEST_PLATFORM", &platform.socket().display().to_string());
        let log = std::fs::File::create(home.root().join("daemon.log")).expect("a log");
        let make = home.maker();
        let make = Box::new(move |lost: u32| {
            let mut command = make();
            command.arg("up").env("COFFERDAM_LOSE_NUDGES", lost.to_string());
            command
        });
        let keeper = Keeper::start(make, plan.lost_nudges.clone(), log, disk.clone());
        let admin = home.admin();
        eventually("the daemon's socket answers", || async { admin.pid().await }).await;
        let agent = match settings.agent {
            Agent::Mock => json!({"provider": "mock"}),
            Agent::Codex => json!({}),
        };
        for group in 0..settings.groups {
            home.group(&format!("g{group}"), &agent).await;
        }
        let victims = Arc::new(Victims::new(engine, keeper, disk, platform.clone()));
        Self { home, _cloud: cloud, platform, victims, load: Arc::default() }
    }

    /// Sends and hurts until both are through, then waits until every message has its outcome. Answers what never came.
    async fn play(&mut self, plan: &Plan, settings: &Settings, say: &impl Fn(&str)) -> Vec<String> {
        let mut rng = Rng::with_seed(settings.seed ^ 1);
        self.platform.set_weather(Some(Box::new(move |sending| weather(&mut rng, sending))));
        let course = Arc::new(Course::begin());
        let (chats, messages, platform) = (plan.chats.clone(), plan.messages.clone(), self.platform.clone());
        let load = self.load.clone().send(chats, messages, platform, course.clone());
        let both = async { tokio::join!(load, self.victims.clone().suffer(plan.faults.clone(), course)) };
        tokio::pin!(both);
        loop {
            tokio::select! {
                _ = &mut both => break,
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    let (posted, answered) = self.load.counts(&self.platform);
                    let (messages, faults) = (settings.messages, plan.faults.len());
                    let struck = self.victims.struck().len();
                    say(&format!("{posted} of {messages} messages sent, {answered} answered, {struck} of {faults} faults"));
                }
            }
        }
        self.platform.set_weather(None);
        self.quiet(patience(settings.agent), say).await
    }

    /// Waits until nothing is open, as long as anything changes.
    async fn quiet(&self, patience: Duration, say: &impl Fn(&str)) -> Vec<String> {
        let (mut before, mut changed) = (None, Instant::now());
        loop {
            let waiting = self.platform.unacknowledged();
            let ends: Result<Vec<usize>, _> = rows::databases(&self.home.root().join("data"))[1..]
                .iter()
                .map(|path| rows::open_ends(path))
                .collect();
            let now = ends.map(|ends| (waiting, ends.iter().sum::<usize>()));
            match now {
                Ok((0, 0)) => return Vec::new(),
                Ok((waiting, open)) => say(&format!("{waiting} messages not accepted, {open} ends open")),
                Err(ref error) => say(&format!("the databases cannot be read: {error}")),
            }
            let now = now.ok();
            if now != before {
                (before, changed) = (now, Instant::now());
            }
            if changed.elapsed() > patience {
                return vec![format!("stuck for {} s: (not accepted, open) is {now:?}", patience.as_secs())];
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Every second chat of a group is on a platform that knows a repeated send by its key.
fn knows_keys(chat: &str) -> bool {
    chat.ends_with(['1', '3', '5', '7', '9'])
}

fn weather(rng: &mut Rng, _: &Sending) -> Option<Fault> {
    if rng.u32(0..1000) >= STORMY {
        return None;
    }
    let later = Fault::Later(rng.u64(20..500));
    let faults =
        [Fault::TakenUnanswered, Fault::Unanswered, Fault::AnsweredTwice, Fault::TakenCut, Fault::Cut, later];
    rng.choice(faults)
}

/// The agent image, made on the machine's engine if it is not there.
async fn image() -> String {
    let home = Home::new(&cache_home()).expect("a home");
    let runner = std::env::var_os("COFFERDAM_RUNNER").map(PathBuf::from);
    let builder = ImageBuilder::new(crate::engine::engine().await, home, runner);
    let image = builder.ensure(&Silent).await.expect("the agent image: `make image`");
    image.as_str().to_owned()
}

/// Containers, processes and files that an ended daemon should not have left.
async fn left_behind(engine: &Engine, home: &TestHome) -> Vec<String> {
    let mut wrong = left::in_home(home.root());
    wrong.extend(left_on(engine).await);
    let root = home.root().display().to_string();
    wrong.extend(procs::naming(&root).into_iter().map(|line| format!("a process is left: {line}")));
    wrong
}

/// Containers that are left once the engine has removed those that have ended. Dead ones that it says it is
/// removing already are told, and are no fault of the daemon's.
async fn left_on(engine: &Engine) -> Vec<String> {
    let until = Instant::now() + LIMIT;
    loop {
        let (mut wrong, mut stuck) = (Vec::new(), Vec::new());
        match engine.containers(LABEL_INSTALL).await {
            Ok(left) => {
                for container in left {
                    match engine.keeps(&container).await {
                        Some((why, true)) => stuck.push(format!("{}: {why}", container_left(&container))),
                        Some((why, false)) => wrong.push(format!("{}: {why}", container_left(&container))),
                        None => wrong.push(container_left(&container)),
                    }
                }
            }
            Err(error) => wrong.push(format!("the engine does not say which containers are left: {error}")),
        }
        let over = Instant::now() > until;
        if over || (wrong.is_empty() && stuck.is_empty()) {
            for told in stuck {
                println!("note: the engine cannot remove it: {told}");
            }
            return wrong;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn container_left(container: &ContainerSummary) -> String {
    let names = container.names.as_deref().unwrap_or_default().join(" ");
    let (id, status) = (container.id.as_deref(), container.status.as_deref());
    format!("a container is left: {names} {} {}", id.unwrap_or_default(), status.unwrap_or_default())
}

/// Reads the books.
fn judged(home: &TestHome, platform: &Platform, load: &Load) -> (Verdict, Vec<Rows>) {
    let (mut wrong, mut groups) = (Vec::new(), Vec::new());
    for (at, path) in rows::databases(&home.root().join("data")).iter().enumerate() {
        match rows::faults(path) {
            Ok(faults) => wrong.extend(faults.into_iter().map(|fault| format!("{}: {fault}", path.display()))),
            Err(error) => wrong.push(format!("{}: {error}", path.display())),
        }
        if at > 0 {
            match rows::read(path) {
                Ok(rows) => groups.push(rows),
                Err(error) => wrong.push(format!("{}: {error}", path.display())),
            }
        }
    }
    let mut verdict = check::judge(&load.posted(), &platform.taken(), &groups);
    verdict.wrong.splice(0..0, wrong);
    (verdict, groups)
}
