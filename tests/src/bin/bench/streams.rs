//! What the door and the gateway add to each event of a stream: one by itself, and one of many at once.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::calls::{Caller, body};
use crate::report::{Goal, Row, progress};
use crate::stats::{Samples, Summary};
use crate::{Bench, Trouble, gateway, model, procs};

/// Streams at once.
const MANY: usize = 64;
/// Over so many sessions: a door lets in four calls at a time until their answers begin.
pub const SESSIONS: usize = 16;
/// Answers that one caller reads in a row.
const ANSWERS: usize = 3;

/// How the calls get to the endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way<'d> {
    Direct,
    Through(&'d [PathBuf]),
}

/// What came of some streams, in µs.
#[derive(Default)]
struct Seen {
    /// From the call to its first byte.
    first: Samples,
    /// From the moment at which the endpoint made an event until the caller had it.
    event: Samples,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.first.extend(other.first);
        self.event.extend(other.event);
    }
}

/// Streams of paced events. Directly and through doors take turns.
pub async fn at_one_and_many(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let port = model::paced().await?;
    let (home, daemon) = gateway::before(bench, port).await?;
    let mut doors = Vec::new();
    for session in 0..SESSIONS {
        doors.push(gateway::door(&home, &daemon, session).await?);
    }
    let mut rows = Vec::new();
    for count in [1, MANY] {
        progress(&format!("{count} streams"));
        let (mut without, mut with, mut busy) = (Seen::default(), Seen::default(), 0.0);
        // Connections, pools and pages are there afterwards.
        streams(port, Way::Through(&doors), count, 1).await?;
        for _ in 0..bench.samples(8, 2) {
            without.add(streams(port, Way::Direct, count, ANSWERS).await?);
            let before = procs::cpu_seconds(daemon.pid())?;
            with.add(streams(port, Way::Through(&doors), count, ANSWERS).await?);
            busy += procs::cpu_seconds(daemon.pid())? - before;
        }
        let events = with.event.summary().n as f64;
        let cost = format!("the daemon used {:.0} µs of processor time per event", busy * 1e6 / events);
        rows.extend(told(count, "first byte", &without.first, &with.first, None, String::new()));
        rows.extend(told(count, "event", &without.event, &with.event, Some(1000.0), cost));
    }
    daemon.down().await?;
    Ok(rows)
}

/// What was added, the floor, and both together.
fn told(count: usize, what: &str, without: &Samples, with: &Samples, most: Option<f64>, note: String) -> [Row; 3] {
    let name = |how: &str| format!("{what} of {count} stream{}, {how}", if count == 1 { "" } else { "s at once" });
    let (floor, all) = (without.summary(), with.summary());
    // Quantile by quantile: which event of one way belongs to which of the other nobody can say.
    let added = Summary {
        n: all.n,
        p50: all.p50 - floor.p50,
        p95: all.p95 - floor.p95,
        p99: all.p99 - floor.p99,
        max: all.max - floor.max,
    };
    let row = Row::new("gateway", name("added"), "µs", added).note(note);
    let row = match most {
        Some(most) => row.goal(Goal::at_most(added.p50, most, format!("p50 ≤ {most:.0} µs"))),
        None => row,
    };
    [
        row,
        Row::new("gateway", name("directly (floor)"), "µs", floor),
        Row::new("gateway", name("door and gateway"), "µs", all),
    ]
}

/// So many streams at once, each reading some answers in a row. They begin spread over the length of an answer, so that there
/// are as many all the time, and no two work in step.
async fn streams(port: u16, way: Way<'_>, count: usize, answers: usize) -> Result<Seen, Trouble> {
    let callers = (0..count).map(|index| async move {
        let mut caller = match way {
            Way::Direct => Caller::direct(port).await?,
            Way::Through(doors) => Caller::through(&doors[index % doors.len()]).await?,
        };
        let length = model::PACE * model::PACED as u32;
        Ok::<_, Trouble>(tokio::spawn(async move {
            tokio::time::sleep(length * index as u32 / count as u32).await;
            one(&mut caller, answers).await
        }))
    });
    let mut seen = Seen::default();
    for caller in try_join_all(callers).await? {
        seen.add(caller.await??);
    }
    Ok(seen)
}

async fn one(caller: &mut Caller, answers: usize) -> Result<Seen, Trouble> {
    let (mut seen, body) = (Seen::default(), body());
    for _ in 0..answers {
        let mut text = Vec::new();
        let first = caller
            .call(&body, |piece| {
                let now = model::clock();
                text.extend_from_slice(piece);
                // Whole events only; those that come together were each made at a time of their own.
                while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
                    let event: Vec<u8> = text.drain(..end + 2).collect();
                    if let Some(made) = model::made_at(&event) {
                        seen.event.push(now.saturating_sub(made).as_secs_f64() * 1e6);
                    }
                }
            })
            .await?;
        seen.first.push(first * 1e3);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..20))).await;
    }
    Ok(seen)
}
