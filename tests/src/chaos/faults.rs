//! What is done to the system, and what is noted of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::models::ContainerSummary;
use bollard::query_parameters::{InspectContainerOptions, KillContainerOptions};
use cofferdam::sandbox::docker::{LABEL_INSTALL, LABEL_SESSION};
use rustix::process::{Signal, kill_process};

use super::course::Course;
use super::disk::Disk;
use super::engine::Engine;
use super::keeper::Keeper;
use super::plan::{Fault, Kind};
use super::procs;
use crate::platform::Platform;

/// A fault that met something.
#[derive(Debug, Clone)]
pub struct Struck {
    /// What it was.
    pub kind: Kind,
    /// When it struck.
    pub at: Instant,
    /// From when on things could recover: at once, or when what was held was let go.
    pub over: Instant,
    /// The session that it met; none is all of them.
    pub session: Option<String>,
}

/// What can be hurt.
pub struct Victims {
    /// Runs the containers.
    pub engine: Engine,
    /// Runs the daemon.
    pub keeper: Keeper,
    /// The daemon's data.
    pub disk: Arc<Disk>,
    /// The chats.
    pub platform: Arc<Platform>,
    struck: Mutex<Vec<Struck>>,
}

type Outcome = Result<Option<Struck>, bollard::errors::Error>;

impl Victims {
    /// Whole so far.
    pub fn new(engine: Engine, keeper: Keeper, disk: Arc<Disk>, platform: Arc<Platform>) -> Self {
        Self { engine, keeper, disk, platform, struck: Mutex::default() }
    }

    /// What was done so far.
    pub fn struck(&self) -> Vec<Struck> {
        self.struck.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The session whose container was met last.
    fn last_met(&self) -> Option<String> {
        let struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        struck.iter().rev().find_map(|fault| fault.session.clone())
    }

    /// Does one after the other at its time; those that are held go on beside the next. A fault that finds nothing to
    /// meet, such as no container, is tried until it does.
    pub async fn suffer(self: Arc<Self>, faults: Vec<Fault>, course: Arc<Course>) {
        let mut held = tokio::task::JoinSet::new();
        for fault in faults {
            course.reach(fault.at).await;
            let me = self.clone();
            if fault.kind.kills() {
                let begun = Instant::now();
                me.insist(&fault).await;
                course.hold(begun.elapsed());
            } else {
                held.spawn(async move { me.insist(&fault).await });
            }
        }
        held.join_all().await;
    }

    async fn insist(&self, fault: &Fault) {
        const AGAIN: Duration = Duration::from_millis(50);
        /// A system that has nothing to be hurt for so long is stuck; the end of the run says how.
        const GIVES_UP: Duration = Duration::from_secs(60);
        let until = Instant::now() + GIVES_UP;
        while Instant::now() < until {
            // An engine that is down has no containers now.
            if let Ok(Some(struck)) = self.strike(fault).await {
                self.struck.lock().unwrap_or_else(PoisonError::into_inner).push(struck);
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn strike(&self, fault: &Fault) -> Outcome {
        let begun = Instant::now();
        let everything = |over| Ok(Some(Struck { kind: fault.kind, at: begun, over, session: None }));
        match fault.kind {
            Kind::DaemonKilled | Kind::DaemonEnded => {
                let signal = if fault.kind == Kind::DaemonKilled { Signal::KILL } else { Signal::TERM };
                if self.keeper.signal(signal) { everything(begun) } else { Ok(None) }
            }
            Kind::EngineKilled | Kind::EngineEnded => {
                let signal = if fault.kind == Kind::EngineKilled { Signal::KILL } else { Signal::TERM };
                self.engine.restart(signal).await;
                everything(Instant::now())
            }
            Kind::EngineStopped => {
                self.engine.freeze(fault.hold).await;
                everything(Instant::now())
            }
            Kind::DiskFull => {
                self.disk.fill(fault.hold).await;
                everything(Instant::now())
            }
            Kind::Cut => {
                self.platform.cut();
                everything(begun)
            }
            Kind::ContainerKilled | Kind::RunnerKilled | Kind::AppServerKilled | Kind::Paused => {
                self.hurt_container(fault).await
            }
        }
    }

    /// Meets one of the containers that run now.
    async fn hurt_container(&self, fault: &Fault) -> Outcome {
        let mut running = self.engine.containers(LABEL_INSTALL).await?;
        running.retain(|container| container.status.as_ref().is_some_and(|status| status.starts_with("Up")));
        running.sort_by_key(session);
        if running.is_empty() {
            return Ok(None);
        }
        let last = self.last_met().filter(|_| fault.again);
        let again =
            last.and_then(|last| running.iter().position(|container| session(container).as_ref() == Some(&last)));
        let container = running.swap_remove(again.unwrap_or(fault.pick % running.len()));
        let (Some(id), session) = (container.id.as_deref(), session(&container)) else { return Ok(None) };
        let docker = self.engine.docker().await?;
        let at = Instant::now();
        match fault.kind {
            Kind::ContainerKilled => docker.kill_container(id, None::<KillContainerOptions>).await?,
            Kind::Paused => {
                docker.pause_container(id).await?;
                tokio::time::sleep(fault.hold).await;
                // It may have been killed, or its engine; nothing else lets a frozen one go.
                let _ = docker.unpause_container(id).await;
            }
            _ => {
                let name = if fault.kind == Kind::RunnerKilled { "cofferdam-runne" } else { "codex" };
                let seen = docker.inspect_container(id, None::<InspectContainerOptions>).await?;
                let init = seen.state.and_then(|state| state.pid).unwrap_or(0);
                let Some(found) = procs::below(init).into_iter().find(|process| process.name == name) else {
                    return Ok(None);
                };
                if kill_process(found.pid, Signal::KILL).is_err() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(Struck { kind: fault.kind, at, over: Instant::now(), session }))
    }
}

fn session(container: &ContainerSummary) -> Option<String> {
    container.labels.as_ref()?.get(LABEL_SESSION).cloned()
}
