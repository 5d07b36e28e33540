//! What a session costs while it waits.

use std::time::{Duration, Instant};

use crate::daemon::BenchHome;
use crate::floor::{Bare, Floor, codex_home_of};
use crate::procs::{self, Cgroup};
use crate::report::{Goal, Row, progress};
use crate::stats::Samples;
use crate::{Bench, Trouble};

/// Sessions that are watched, and bare app-servers beside them.
const SESSIONS: usize = 10;
const BARE: usize = 10;
/// MiB charged to a container.
const MEMORY_MIB: f64 = 45.0;
/// MB of a runner.
const RUNNER_MB: f64 = 8.0;
/// Per cent of a core over the bare app-server.
const CPU_OVER: f64 = 0.02;
/// After the last turn, before anything is measured.
const SETTLE: Duration = Duration::from_secs(5);

/// Figure `live`. Sessions and bare app-servers have had one turn each and are watched over the same seconds.
pub async fn sessions(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let home = BenchHome::new(bench)?;
    home.group("live", "codex")?;
    let daemon = home.up(bench, &[("COFFERDAM_MAX_SESSIONS", SESSIONS.to_string())]).await?;
    daemon.register("live").await?;
    let mut client = daemon.client().await?;
    let (mut groups, mut floor) = (Vec::new(), None);
    for index in 0..SESSIONS {
        let (_, finished) = client.turn("live", Some(&format!("s{index}")), "hello").await?;
        let container = finished.container.ok_or_else(|| Trouble::Odd("no container".to_owned()))?;
        groups.push(cgroup_of(bench, &container).await?);
        if floor.is_none() {
            let codex = codex_home_of(&home.home, "live", &finished.session)?;
            floor = Some(Floor::after(bench, &container, &codex).await?);
        }
    }
    let mut bare: Vec<Bare> = Vec::new();
    if let Some(floor) = &floor {
        for _ in 0..BARE {
            bare.push(floor.start().await?.1);
        }
    }
    let bare_groups = bare.iter().map(|app| Cgroup::of(app.pid)).collect::<Result<Vec<_>, _>>()?;
    progress("idle sessions are watched");
    tokio::time::sleep(SETTLE).await;
    let window = Duration::from_secs(bench.samples(40, 20) as u64);
    let (cpu, bare_cpu) = watch(&groups, &bare_groups, window).await?;
    let memory = groups.iter().map(Cgroup::memory_mib).collect::<Result<Samples, _>>()?;
    let bare_memory = bare_groups.iter().map(Cgroup::memory_mib).collect::<Result<Samples, _>>()?;
    let runners = groups
        .iter()
        .map(|group| group.process("cofferdam-runner").and_then(procs::rss_mb))
        .collect::<Result<Samples, _>>()?;
    for app in bare {
        app.end().await?;
    }
    drop(client);
    daemon.down().await?;
    let memory_goal = Goal::at_most(memory.p50(), MEMORY_MIB, "≤ 45 MiB");
    let runner_goal = Goal::at_most(runners.p50(), RUNNER_MB, "≤ 8 MB");
    let limit = bare_cpu.p50() + CPU_OVER;
    let cpu_goal = Goal::at_most(cpu.p50(), limit, format!("≤ bare + 0.02 % = {limit:.3} %"));
    Ok(vec![
        Row::new("live", "memory charged to the container", "MiB", memory.summary()).goal(memory_goal),
        Row::new("live", "the same, bare app-server (floor)", "MiB", bare_memory.summary()),
        Row::new("live", "runner's resident memory", "MB", runners.summary()).goal(runner_goal),
        Row::new("live", "idle processor, container", "%", cpu.summary()).goal(cpu_goal),
        Row::new("live", "idle processor, bare app-server (floor)", "%", bare_cpu.summary()),
    ])
}

/// Per cent of a core that each used.
async fn watch(ours: &[Cgroup], bare: &[Cgroup], window: Duration) -> Result<(Samples, Samples), Trouble> {
    let read = |groups: &[Cgroup]| groups.iter().map(Cgroup::cpu_seconds).collect::<Result<Vec<_>, _>>();
    let (before, before_bare, begun) = (read(ours)?, read(bare)?, Instant::now());
    tokio::time::sleep(window).await;
    let (after, after_bare, time) = (read(ours)?, read(bare)?, begun.elapsed().as_secs_f64());
    let shares = |before: Vec<f64>, after: Vec<f64>| {
        before.iter().zip(after).map(|(before, after)| (after - before) / time * 100.0).collect()
    };
    Ok((shares(before, after), shares(before_bare, after_bare)))
}

async fn cgroup_of(bench: &Bench, container: &str) -> Result<Cgroup, Trouble> {
    let seen = bench.docker.inspect_container(container, None).await?;
    let pid = seen.state.and_then(|state| state.pid).and_then(|pid| u32::try_from(pid).ok());
    Cgroup::of(pid.ok_or_else(|| Trouble::Odd(format!("container {container} does not run")))?)
}
