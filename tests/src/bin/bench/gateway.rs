//! What the door and the gateway add to a model call.

use std::path::PathBuf;

use crate::calls::{Caller, body};
use crate::daemon::{BenchHome, Daemon};
use crate::report::{Goal, Row, progress};
use crate::stats::Samples;
use crate::{Bench, Trouble, model, streams};

/// Figure `gateway`: the first byte of a call by itself, then the events of streams.
pub async fn all(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let mut rows = first_byte(bench).await?;
    rows.extend(streams::at_one_and_many(bench).await?);
    Ok(rows)
}

/// A direct call and one through a live session's door take turns.
async fn first_byte(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let port = model::streaming().await?;
    let (home, daemon) = before(bench, port).await?;
    let mut direct = Caller::direct(port).await?;
    let mut through = Caller::through(&door(&home, &daemon, 0).await?).await?;
    let body = body();
    for _ in 0..20 {
        direct.call(&body, |_| {}).await?;
        through.call(&body, |_| {}).await?;
    }
    let (mut without, mut with, mut added) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..bench.samples(500, 100) {
        let (a, b) = (direct.call(&body, |_| {}).await?, through.call(&body, |_| {}).await?);
        without.push(a);
        with.push(b);
        added.push(b - a);
    }
    daemon.down().await?;
    let goal = Goal::at_most(added.p50(), 1.0, "p50 ≤ 1 ms");
    Ok(vec![
        Row::new("gateway", "added to the first byte", "ms", added.summary()).goal(goal),
        Row::new("gateway", "first byte, directly (floor)", "ms", without.summary()),
        Row::new("gateway", "first byte, door and gateway", "ms", with.summary()),
    ])
}

/// A daemon before an endpoint on loopback, with a group for its sessions.
pub async fn before(bench: &Bench, port: u16) -> Result<(BenchHome, Daemon), Trouble> {
    let home = BenchHome::new(bench)?;
    home.group("gate", "mock")?;
    let env = [
        ("COFFERDAM_ACCOUNT", "openai".to_owned()),
        ("OPENAI_API_KEY", "sk-bench-0123456789abcdef0123456789abcdef".to_owned()),
        ("OPENAI_BASE_URL", format!("http://127.0.0.1:{port}/v1")),
        ("COFFERDAM_MAX_SESSIONS", streams::SESSIONS.to_string()),
    ];
    let daemon = home.up(bench, &env).await?;
    daemon.register("gate").await?;
    Ok((home, daemon))
}

/// The door of a session, which it has while it lives.
pub async fn door(home: &BenchHome, daemon: &Daemon, session: usize) -> Result<PathBuf, Trouble> {
    progress(&format!("session {session}"));
    let thread = format!("t{session}");
    let (_, finished) = daemon.client().await?.turn("gate", Some(&thread), "hello").await?;
    Ok(home.home.door(&finished.session).join("door.sock"))
}
