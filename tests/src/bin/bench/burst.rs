//! More messages at once than can be answered at once.

use std::time::{Duration, Instant};

use crate::daemon::{BenchHome, Daemon};
use crate::report::{Goal, Row, progress};
use crate::stats::Samples;
use crate::{Bench, Trouble, procs};

/// Messages of a burst into one live session.
const BURST: usize = 25;
/// What overloads the daemon: so many groups, each sent so many messages, with so many places.
const GROUPS: usize = 50;
const EACH: usize = 20;
const PLACES: usize = 8;

/// Figure `burst`: messages to a session whose container runs, all sent before the first is answered.
pub async fn into_a_live_session(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let home = BenchHome::new(bench)?;
    home.group("burst", "mock")?;
    let daemon = home.up(bench, &[]).await?;
    daemon.register("burst").await?;
    daemon.client().await?.turn("burst", None, "hello").await?;
    let rounds = bench.samples(20, 5);
    let (mut last, mut in_order) = (Samples::default(), 0);
    for _ in 0..rounds {
        let begun = Instant::now();
        let mut sent = Vec::new();
        for _ in 0..BURST {
            let mut client = daemon.client().await?;
            let accepted = client.send("burst", None, "hello").await?;
            sent.push(tokio::spawn(async move {
                let (_, finished) = accepted.end().await?.replied()?;
                drop(client);
                Ok::<_, Trouble>(finished.turn)
            }));
        }
        let mut turns = Vec::new();
        for sent in sent {
            turns.push(sent.await??);
        }
        last.push(begun.elapsed().as_secs_f64() * 1e3);
        // Each was accepted before the next was sent; turns are numbered as they begin, and a session runs one at a time.
        in_order += usize::from(turns.is_sorted());
    }
    daemon.down().await?;
    let goal = Goal::at_least(in_order as f64, rounds as f64, "all answered, in order");
    let name = format!("{BURST} messages into a live session: first sent → last answered");
    Ok(vec![
        Row::new("burst", name, "ms", last.summary())
            .goal(goal)
            .note(format!("{in_order} of {rounds} rounds in order, none lost")),
    ])
}

/// Figure `overload`: a thousand messages at once to fifty groups without a container, with eight places.
pub async fn over_many_groups(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let home = BenchHome::new(bench)?;
    let names: Vec<String> = (0..GROUPS).map(|index| format!("crowd-{index}")).collect();
    for name in &names {
        home.group(name, "mock")?;
    }
    let daemon = home.up(bench, &[("COFFERDAM_MAX_SESSIONS", PLACES.to_string())]).await?;
    for name in &names {
        daemon.register(name).await?;
    }
    let before = procs::rss_mb(daemon.pid())?;
    let (mut rates, mut peaks) = (Samples::default(), Vec::new());
    for round in 0..bench.samples(8, 2) {
        progress(&format!("{} messages at once, round {}", GROUPS * EACH, round + 1));
        let (seconds, peak) = crowd(&daemon, &names).await?;
        rates.push((GROUPS * EACH) as f64 / seconds);
        peaks.push(peak);
    }
    daemon.down().await?;
    let (first, last) = (peaks.first().copied().unwrap_or(f64::NAN), peaks.last().copied().unwrap_or(f64::NAN));
    let flat = Goal::at_most(last, first * 1.1, "flat: last peak ≤ first + 10 %");
    let rounds: Vec<String> = peaks.iter().map(|peak| format!("{peak:.0}")).collect();
    let what = format!("{} messages, {GROUPS} groups, {PLACES} places", GROUPS * EACH);
    Ok(vec![
        Row::new("overload", format!("{what}: messages/s"), "/s", rates.summary()),
        Row::new(
            "overload",
            format!("{what}: peak memory of the daemon"),
            "MB",
            peaks.into_iter().collect::<Samples>().summary(),
        )
        .goal(flat)
        .note(format!("{before:.1} MB before; by round {} MB", rounds.join(", "))),
    ])
}

/// Sends everything at once; answers how many seconds the last answer took, and the daemon's most memory on the way.
async fn crowd(daemon: &Daemon, names: &[String]) -> Result<(f64, f64), Trouble> {
    const LOOK: Duration = Duration::from_millis(20);
    let begun = Instant::now();
    let mut sent = Vec::new();
    for _ in 0..EACH {
        for name in names {
            let (mut client, name) = (daemon.client().await?, name.clone());
            sent.push(tokio::spawn(async move { client.turn(&name, None, "hello").await.map(drop) }));
        }
    }
    let pid = daemon.pid();
    let mut peak = procs::rss_mb(pid)?;
    let all = futures_util::future::join_all(sent);
    tokio::pin!(all);
    let ends = loop {
        tokio::select! {
            ends = &mut all => break ends,
            () = tokio::time::sleep(LOOK) => peak = peak.max(procs::rss_mb(pid)?),
        }
    };
    for end in ends {
        end??;
    }
    Ok((begun.elapsed().as_secs_f64(), peak))
}
