//! The daemon when nobody talks to it.

use std::time::Duration;

use crate::daemon::BenchHome;
use crate::report::{Goal, Row, progress};
use crate::stats::Samples;
use crate::{Bench, Trouble, procs};

/// Registered groups.
const GROUPS: [usize; 3] = [1, 100, 1000];
/// Megabytes that the daemon may have resident.
const RSS_MB: f64 = 30.0;
/// Per cent of one core that it may use.
const CPU_PERCENT: f64 = 0.1;
/// Flat: what a thousand groups may cost over one group, as a share.
const FLAT: f64 = 0.10;

/// Figure `rest`.
pub async fn at_rest(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let mut rows = Vec::new();
    let mut least = None;
    for count in GROUPS {
        progress(&format!("{count} groups"));
        let (rss, pss, cpu) = one(bench, count).await?;
        let least = *least.get_or_insert(rss.p50());
        let flat = least * (1.0 + FLAT);
        let limit = if count == 1 { RSS_MB } else { RSS_MB.min(flat) };
        let text = if count == 1 { format!("≤ {RSS_MB} MB") } else { format!("≤ {RSS_MB} MB, flat") };
        let name = |what: &str| format!("{what}, {count} groups");
        let rss_goal = Goal::at_most(rss.p50(), limit, text);
        let cpu_goal = Goal::at_most(cpu.p50(), CPU_PERCENT, "≤ 0.1 % of a core");
        rows.extend([
            Row::new("rest", name("resident memory"), "MB", rss.summary()).goal(rss_goal),
            Row::new("rest", name("proportional share of it"), "MB", pss.summary()),
            Row::new("rest", name("processor"), "%", cpu.summary()).goal(cpu_goal),
        ]);
    }
    Ok(rows)
}

/// Registers the groups, starts the daemon anew, and watches it.
async fn one(bench: &Bench, count: usize) -> Result<(Samples, Samples, Samples), Trouble> {
    let home = BenchHome::new(bench)?;
    let daemon = home.up(bench, &[]).await?;
    for index in 0..count {
        let folder = format!("group-{index}");
        home.group(&folder, "codex")?;
        daemon.register(&folder).await?;
    }
    daemon.down().await?;
    let daemon = home.up(bench, &[]).await?;
    // Threads of the start that are not needed any more end after ten seconds.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let (mut rss, mut pss, mut cpu) = (Samples::default(), Samples::default(), Samples::default());
    // The kernel's clock for this has ticks of 10 ms: a window of 30 s tells 0.03 %.
    let window = Duration::from_secs(bench.samples(30, 20) as u64);
    for _ in 0..bench.samples(2, 1) {
        let (before, begun) = (procs::cpu_seconds(daemon.pid())?, std::time::Instant::now());
        tokio::time::sleep(window).await;
        let used = procs::cpu_seconds(daemon.pid())? - before;
        cpu.push(used / begun.elapsed().as_secs_f64() * 100.0);
        rss.push(procs::rss_mb(daemon.pid())?);
        pss.push(procs::pss_mb(daemon.pid())?);
    }
    let groups = daemon.status().await?.groups;
    if groups != count {
        return Err(Trouble::Odd(format!("{groups} groups instead of {count}")));
    }
    daemon.down().await?;
    Ok((rss, pss, cpu))
}
