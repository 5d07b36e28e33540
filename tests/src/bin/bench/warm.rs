//! Warm messages: the container runs and waits.

use cofferdam_protocol::admin::Finished;

use crate::daemon::BenchHome;
use crate::report::{Goal, Row};
use crate::stats::Samples;
use crate::{Bench, Trouble};

/// Messages before the first that counts.
const WARM_UP: usize = 10;
/// The goal of both figures, in milliseconds.
const GOAL_MS: f64 = 5.0;

/// Figure `warm-mock`.
pub async fn mock(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let turns = turns(bench, "mock", bench.samples(500, 100)).await?;
    let all: Samples = turns.iter().map(|(reply_ms, _)| *reply_ms).collect();
    let daemon: Samples = turns.iter().map(|(_, finished)| finished.timings_ms.total).collect();
    let goal = Goal::at_most(all.p50(), GOAL_MS, "p50 ≤ 5 ms");
    Ok(vec![
        Row::new("warm-mock", "message sent → reply read", "ms", all.summary()).goal(goal),
        Row::new("warm-mock", "the same on the daemon's own clock", "ms", daemon.summary()),
    ])
}

/// Figure `warm-codex`.
pub async fn codex(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let turns = turns(bench, "codex", bench.samples(200, 30)).await?;
    let provider = |finished: &Finished| finished.timings_ms.provider.unwrap_or(0.0);
    let ours: Samples = turns.iter().map(|(reply_ms, finished)| reply_ms - provider(finished)).collect();
    let own: Samples = turns.iter().map(|(_, finished)| provider(finished)).collect();
    let whole: Samples = turns.iter().map(|(reply_ms, _)| *reply_ms).collect();
    let goal = Goal::at_most(ours.p50(), GOAL_MS, "p50 ≤ 5 ms");
    Ok(vec![
        Row::new("warm-codex", "message sent → reply read, minus the app-server's turn", "ms", ours.summary())
            .goal(goal),
        Row::new("warm-codex", "the app-server's turn", "ms", own.summary()),
        Row::new("warm-codex", "both", "ms", whole.summary()),
    ])
}

async fn turns(bench: &Bench, provider: &str, count: usize) -> Result<Vec<(f64, Finished)>, Trouble> {
    let home = BenchHome::new(bench)?;
    home.group("warm", provider)?;
    let daemon = home.up(bench, &[]).await?;
    daemon.register("warm").await?;
    let mut client = daemon.client().await?;
    for _ in 0..WARM_UP {
        client.turn("warm", None, "hello").await?;
    }
    let mut turns = Vec::new();
    for _ in 0..count {
        turns.push(client.turn("warm", None, "hello").await?);
    }
    drop(client);
    daemon.down().await?;
    Ok(turns)
}
